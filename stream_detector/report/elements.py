"""Parts of the page that several sections use: figures, tables, notes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from stream_detector.markup import Child, Markup, tag

WIDE, HALF, NARROW = 912, 440, 356
"""Widths of charts in units: across the page, two side by side, on a phone."""

NO_LABELS = "Needs labels; the data has none (labels.field in the configuration, or --label)."

LEFT = 58
"""Room left of the vertical axis in charts along the stream, so that they stand in one line."""

Glyph = Literal["line", "dashed", "dot", "ring", "cross", "diamond", "area", "tick"]
Key = tuple[Glyph, str, str]
"""Glyph, class of the style sheet, text: one entry of a legend."""

_SHAPES = {
    "line": "M0,6H22",
    "dashed": "M0,6H22",
    "dot": "M8,6a3.5,3.5 0 1,0 7,0a3.5,3.5 0 1,0 -7,0",
    "ring": "M8,6a3.5,3.5 0 1,0 7,0a3.5,3.5 0 1,0 -7,0",
    "cross": "M8,3l6,6m0,-6l-6,6",
    "diamond": "M11,1l5,5l-5,5l-5,-5z",
    "area": "M0,1H22V11H0Z",
    "tick": "M4,6H18",
}
_CLASSES = {"line": "line", "dashed": "line", "tick": "line", "area": "area"}


def section(anchor: str, title: str, *children: Child) -> Markup:
    """A section with its heading."""
    return tag("section", tag("h2", title), *children, id=anchor)


def figure(
    title: str,
    chart: Callable[[int], Markup],
    caption: Child = None,
    *,
    legend: Sequence[Key] = (),
    half: bool = False,
) -> Markup:
    """A chart with heading, legend and caption, drawn once for wide pages and once for phones.

    Args:
        title: of the figure.
        chart: draws for a width in units.
        caption: what to see.
        legend: entries.
        half: whether two stand side by side on a wide page.
    """
    return tag(
        "figure",
        tag("h3", title),
        key_to(legend) if legend else None,
        tag("div", chart(HALF if half else WIDE), class_="wide"),
        tag("div", chart(NARROW), class_="narrow"),
        tag("figcaption", caption) if caption else None,
    )


def pair(*children: Markup) -> Markup:
    """Two things side by side where there is room."""
    return tag("div", *children, class_="pair")


def note(*children: Child) -> Markup:
    """A remark in a paragraph of its own."""
    return tag("p", *children, class_="note")


def table(
    caption: str,
    header: Sequence[str],
    rows: Iterable[Sequence[Child]],
    *,
    text_columns: int = 1,
    class_: str = "",
) -> Markup:
    """A table in a box that scrolls sideways where it must; the first cell of a row is its header.

    Args:
        caption: what it shows.
        header: of the columns.
        rows: cells.
        text_columns: how many columns, from the left, are text; the others are numbers.
        class_: for the style sheet.
    """

    def kind(column: int) -> str | None:
        return None if column < text_columns else "number"

    head = (tag("th", cell, scope="col", class_=kind(column)) for column, cell in enumerate(header))
    body = (
        tag(
            "tr",
            tag("th", row[0], scope="row"),
            *(tag("td", cell, class_=kind(i)) for i, cell in enumerate(row[1:], start=1)),
        )
        for row in rows
    )
    inner = tag(
        "table",
        tag("caption", caption),
        tag("thead", tag("tr", *head)),
        tag("tbody", *body),
        class_=class_ or None,
    )
    return tag("div", inner, class_="scroll", tabindex="0", role="region", aria_label=caption)


def details(summary: str, *children: Child) -> Markup:
    """Render a part that is folded away at first."""
    return tag("details", tag("summary", summary), *children)


def key_to(keys: Sequence[Key]) -> Markup:
    """Render the legend of marks and colours."""
    entries = []
    for glyph, class_, text in keys:
        dashed = " dashed" if glyph == "dashed" else ""
        classes = f"{_CLASSES.get(glyph, f'mark {glyph}')} {class_}{dashed}"
        image = tag(
            "svg",
            tag("path", d=_SHAPES[glyph], class_=classes),
            viewBox="0 0 22 12",
            aria_hidden="true",
        )
        entries.append(tag("li", image, text))
    return tag("ul", *entries, class_="legend")
