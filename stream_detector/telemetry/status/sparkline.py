"""A line without axes, as SVG: the recent past at a glance."""

from __future__ import annotations

import math
from collections.abc import Sequence

from stream_detector.markup import escape

_WIDTH, _HEIGHT, _MARGIN = 300.0, 60.0, 3.0


def sparkline(
    values: Sequence[float], label: str, *, rule: float = math.nan, area: bool = True
) -> str:
    """An ``svg`` as wide as its place.

    Args:
        values: one a step, oldest first; NaN leaves a gap.
        label: what it shows, for those who do not see it.
        rule: a value to draw as a broken line, NaN for none.
        area: whether the ground below is filled; the scale then begins at 0.
    """
    known = [value for value in (*values, rule) if math.isfinite(value)]
    low = min(known, default=0.0)
    low = min(low, 0.0) if area else low
    high = max(known, default=1.0)
    span = high - low or 1.0

    def height(value: float) -> str:
        part = (value - low) / span
        return f"{_HEIGHT - _MARGIN - part * (_HEIGHT - 2 * _MARGIN):.1f}"

    step = _WIDTH / max(len(values) - 1, 1)
    shapes = []
    for run in _runs(values):
        points = " ".join(f"{index * step:.1f},{height(value)}" for index, value in run)
        if area:
            below = [f"{run[end][0] * step:.1f},{_HEIGHT - _MARGIN:.1f}" for end in (0, -1)]
            shapes.append(f'<polygon class="area" points="{below[0]} {points} {below[1]}"/>')
        shapes.append(
            f'<polyline class="line" vector-effect="non-scaling-stroke" points="{points}"/>'
        )
    if math.isfinite(rule):
        shapes.append(
            f'<line class="rule" vector-effect="non-scaling-stroke" x1="0" x2="{_WIDTH:g}" '
            f'y1="{height(rule)}" y2="{height(rule)}"/>'
        )
    return (
        f'<svg viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(label)}">{"".join(shapes)}</svg>'
    )


def _runs(values: Sequence[float]) -> list[list[tuple[int, float]]]:
    """The stretches of finite values, each with its index."""
    runs: list[list[tuple[int, float]]] = [[]]
    for index, value in enumerate(values):
        if math.isfinite(value):
            runs[-1].append((index, value))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]
