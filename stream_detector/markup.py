"""HTML and SVG that cannot be broken by what is put into it: text is escaped where it enters.

Report and status page both write with this module, so what an event can do to one it can do to
neither: markup stays text, and characters that nobody sees are shown by their number.
"""

from __future__ import annotations

import html

from stream_detector.visible import visible

_VOID = frozenset({"meta", "br", "hr", "col"})


class Markup(str):
    """Text that is markup already. Made by the functions of this module only."""

    __slots__ = ()


Child = Markup | str | int | None


def escape(value: object) -> Markup:
    r"""Turn a value into markup: ``<``, ``>``, ``&``, quotes and unseen characters are escaped.

    >>> print(escape("<b>\u202e'"))
    &lt;b&gt;\u202e&#x27;
    """
    return Markup(html.escape(visible(str(value)), quote=True))


def escape_lines(text: str) -> Markup:
    r"""Turn a text of several lines into markup for ``pre``: its line breaks stay.

    >>> escape_lines("a: <\nb: \x1b")
    'a: &lt;\nb: \\x1b'
    """
    return Markup("\n".join(map(escape, text.split("\n"))))


def raw(text: str) -> Markup:
    """Take text of this package's own as markup: never anything from outside."""
    return Markup(text)


def join(*children: Child) -> Markup:
    """Put children one after the other; None is nothing."""
    parts = (
        child if isinstance(child, Markup) else escape(child)
        for child in children
        if child is not None
    )
    return Markup("".join(parts))


def tag(name: str, /, *children: Child, **attributes: str | float | None) -> Markup:
    """Make an element.

    Args:
        name: of the element.
        children: text (which is escaped) and markup; None is left out.
        attributes: a trailing underscore is dropped (``class_``), others become hyphens; None
            leaves the attribute out. Numbers are written with one decimal.

    >>> tag("p", "1 < 2", class_="a")
    '<p class="a">1 &lt; 2</p>'
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_value(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{join(*children)}</{name}>")


def short(number: float) -> str:
    """Write a coordinate with one decimal at most.

    >>> short(12.0), short(3.14159), short(-0.01)
    ('12', '3.1', '0')
    """
    text = f"{number:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


def _value(value: str | float) -> str:
    return escape(value) if isinstance(value, str) else short(value)
