"""A small writer of charts: axes, lines, bands, bars and marks as plain SVG.

Colours and widths are the style sheet's, by class, so that a chart follows light, dark and paper.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from stream_detector.events import Float64
from stream_detector.markup import Markup, join, short, tag
from stream_detector.report.scales import Scale, Tick

Shape = Literal["dot", "ring", "cross", "diamond"]

_ABOVE, _BELOW, _RIGHT = 10, 34, 12
_LETTER = 6.6
"""Width of a digit at the charts' 12 units of text; tabular numerals are all alike."""
_TITLE = 16
_X_LABEL_ROOM, _Y_LABEL_ROOM = 66, 34


@dataclass(frozen=True, slots=True)
class Frame:
    """The rectangle that the data are drawn in, in units of the SVG."""

    left: float
    top: float
    right: float
    bottom: float


class Plot:
    """A chart. Draw from back to front, then ``render``.

    Args of the constructor: size in units, scales of the axes, what the axes mean (``y_title``
    stands above the axis; empty for none), ticks instead of the scale's own, the least room left of
    the vertical axis (so that charts one below the other share theirs).
    """

    def __init__(
        self,
        width: int,
        height: int,
        x: Scale,
        y: Scale,
        *,
        x_title: str = "",
        y_title: str = "",
        x_ticks: Sequence[Tick] | None = None,
        y_ticks: Sequence[Tick] | None = None,
        least_left: float = 0,
    ) -> None:
        self._width, self._height = width, height
        self._x, self._y = x, y
        inner = height - _ABOVE - _BELOW - (_TITLE if x_title else 0) - (_TITLE if y_title else 0)
        y_shown = y.ticks(max(2, int(inner / _Y_LABEL_ROOM))) if y_ticks is None else y_ticks
        labels = 10 + _LETTER * max((len(label) for _, label in y_shown), default=0)
        left = max(least_left, labels)
        top = _ABOVE + (_TITLE if y_title else 0)
        self.frame = Frame(left, top, width - _RIGHT, top + inner)
        room = self.frame.right - left
        x_shown = x.ticks(max(2, int(room / _X_LABEL_ROOM))) if x_ticks is None else x_ticks
        self._parts: list[Markup] = []
        self._axes(x_shown, y_shown, x_title, y_title)

    def xs(self, values: Float64) -> Float64:
        """Places along the horizontal axis."""
        parts = np.clip(self._x.part(np.asarray(values, np.float64)), 0, 1)
        return self.frame.left + parts * (self.frame.right - self.frame.left)

    def ys(self, values: Float64) -> Float64:
        """Places along the vertical axis."""
        parts = np.clip(self._y.part(np.asarray(values, np.float64)), 0, 1)
        return self.frame.bottom - parts * (self.frame.bottom - self.frame.top)

    def add(self, *parts: Markup) -> None:
        """Elements in the SVG's own units."""
        self._parts += parts

    def line(self, x: Float64, y: Float64, class_: str) -> None:
        """A line through the points, broken where one is NaN."""
        d = "".join(_path(run) for run in _runs(self.xs(x), self.ys(y)))
        self.add(tag("path", d=d, class_=f"line {class_}"))

    def steps(self, edges: Float64, values: Float64, class_: str, *, closed: bool = False) -> None:
        """A level from each edge to the next; ``closed`` down to the axis, to be filled."""
        x = np.repeat(edges, 2)[1:-1]
        y = np.repeat(values, 2)
        if not closed:
            self.line(x, y, class_)
            return
        bottom = np.full(1, self._y.low)
        x, y = np.concatenate([x[:1], x, x[-1:]]), np.concatenate([bottom, y, bottom])
        self.add(tag("path", d=_path((self.xs(x), self.ys(y))) + "Z", class_=f"area {class_}"))

    def band(self, x: Float64, low: Float64, high: Float64, class_: str) -> None:
        """The area between two lines, broken where one is NaN."""
        known = ~(np.isnan(low) | np.isnan(high))
        xs, lows, highs = self.xs(x), self.ys(low), self.ys(high)
        d = ""
        for start, end in _stretches(known):
            part = slice(start, end)
            outline = (
                np.concatenate([xs[part], xs[part][::-1]]),
                np.concatenate([highs[part], lows[part][::-1]]),
            )
            d += _path(outline) + "Z"
        self.add(tag("path", d=d, class_=f"area {class_}"))

    def marks(self, x: Float64, y: Float64, shape: Shape, class_: str, size: float = 3) -> None:
        """A mark at each point."""
        drawn = {
            "dot": f"m-{size},0a{size},{size} 0 1,0 {2 * size},0a{size},{size} 0 1,0 -{2 * size},0",
            "cross": f"m-{size},-{size}l{2 * size},{2 * size}m0,-{2 * size}l-{2 * size},{2 * size}",
            "diamond": f"m0,-{size}l{size},{size}l-{size},{size}l-{size},-{size}z",
        }
        way = drawn["dot" if shape == "ring" else shape]
        points = zip(self.xs(x), self.ys(y), strict=True)
        d = "".join(f"M{short(px)},{short(py)}{way}" for px, py in points)
        self.add(tag("path", d=d, class_=f"mark {shape} {class_}"))

    def bars(
        self,
        spans: tuple[Float64, Float64],
        bottoms: Float64,
        tops: Float64,
        class_: str,
        titles: Sequence[str] = (),
    ) -> None:
        """Bars from left to right ends, a hair apart; with a title each for who points at it."""
        lefts, rights = (self.xs(ends) for ends in spans)
        lows, highs = self.ys(bottoms), self.ys(tops)
        rights = rights - np.minimum(1.0, (rights - lefts) * 0.2)
        shapes = [
            f"M{short(left)},{short(low)}V{short(high)}H{short(right)}V{short(low)}Z"
            for left, right, low, high in zip(lefts, rights, lows, highs, strict=True)
        ]
        if titles:
            named = zip(shapes, titles, strict=True)
            bars = (tag("path", tag("title", title), d=shape) for shape, title in named)
            self.add(tag("g", *bars, class_=f"bar {class_}"))
        else:
            drawn = np.flatnonzero(tops != bottoms)
            d = "".join(shapes[index] for index in drawn)
            self.add(tag("path", d=d, class_=f"bar {class_}"))

    def whiskers(self, x: Float64, low: Float64, high: Float64, class_: str) -> None:
        """An upright line at each point, for the limits of its value; none where one is NaN."""
        known = ~(np.isnan(low) | np.isnan(high))
        ends = zip(self.xs(x[known]), self.ys(low[known]), self.ys(high[known]), strict=True)
        d = "".join(f"M{short(px)},{short(bottom)}V{short(top)}" for px, bottom, top in ends)
        self.add(tag("path", d=d, class_=f"line {class_}"))

    def level(self, value: float, class_: str) -> None:
        """A horizontal line from side to side."""
        (y,) = self.ys(np.array([value])).tolist()
        self.add(
            tag(
                "path",
                d=f"M{short(self.frame.left)},{short(y)}H{short(self.frame.right)}",
                class_=f"line {class_}",
            )
        )

    def upright(self, value: float, class_: str) -> None:
        """A vertical line from bottom to top."""
        (x,) = self.xs(np.array([value])).tolist()
        self.add(
            tag(
                "path",
                d=f"M{short(x)},{short(self.frame.top)}V{short(self.frame.bottom)}",
                class_=f"line {class_}",
            )
        )

    def shade(self, first: float, last: float, class_: str) -> None:
        """The whole height between two places on the horizontal axis."""
        left, right = self.xs(np.array([first, last])).tolist()
        self.add(
            tag(
                "rect",
                x=left,
                y=self.frame.top,
                width=right - left,
                height=self.frame.bottom - self.frame.top,
                class_=f"area {class_}",
            )
        )

    def render(self, label: str) -> Markup:
        """The chart; ``label`` is what is read to those who cannot see it."""
        return svg(self._width, self._height, label, self._parts)

    def _axes(
        self, x_ticks: Iterable[Tick], y_ticks: Iterable[Tick], x_title: str, y_title: str
    ) -> None:
        frame = self.frame
        for value, label in y_ticks:
            (y,) = self.ys(np.array([value])).tolist()
            self.add(
                tag(
                    "path", d=f"M{short(frame.left)},{short(y)}H{short(frame.right)}", class_="grid"
                ),
                tag("text", label, x=frame.left - 6, y=y + 4, class_="end"),
            )
        self.add(
            tag(
                "path",
                d=f"M{short(frame.left)},{short(frame.bottom)}H{short(frame.right)}",
                class_="axis",
            )
        )
        for value, label in x_ticks:
            (x,) = self.xs(np.array([value])).tolist()
            # A label at an end must not run out of the picture.
            half = _LETTER * len(label) / 2
            middle = min(x, self._width - half)
            self.add(
                tag("path", d=f"M{short(x)},{short(frame.bottom)}v5", class_="axis"),
                tag("text", label, x=middle, y=frame.bottom + 18, class_="middle"),
            )
        if x_title:
            middle = (frame.left + frame.right) / 2
            self.add(tag("text", x_title, x=middle, y=self._height - 6, class_="middle title"))
        if y_title:
            self.add(tag("text", y_title, x=0, y=_ABOVE + 2, class_="title"))


def svg(width: float, height: float, label: str, parts: Sequence[Markup]) -> Markup:
    """An image of this size in units, as wide as its place."""
    return tag(
        "svg",
        join(*parts),
        viewBox=f"0 0 {short(width)} {short(height)}",
        role="img",
        aria_label=label,
    )


def _path(points: tuple[Float64, Float64]) -> str:
    """``M`` to the first point, ``L`` to the others; points that round to one are left out."""
    places = [f"{short(x)},{short(y)}" for x, y in zip(*points, strict=True)]
    kept = [place for index, place in enumerate(places) if not index or place != places[index - 1]]
    return f"M{kept[0]}L{' '.join(kept[1:])}" if len(kept) > 1 else f"M{kept[0]}h.1"


def _runs(x: Float64, y: Float64) -> Iterable[tuple[Float64, Float64]]:
    for start, end in _stretches(~np.isnan(y)):
        yield x[start:end], y[start:end]


def _stretches(known: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Iterable[tuple[int, int]]:
    """(start, end) of each run of True."""
    padded = np.concatenate([[False], known, [False]])
    changes = np.flatnonzero(padded[1:] != padded[:-1])
    return zip(changes[::2].tolist(), changes[1::2].tolist(), strict=True)
