"""A key's counts beside the band in which no alert is raised, as SVG."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from stream_detector.events import Float64, Int64
from stream_detector.markup import escape
from stream_detector.monitors.bands import Bands
from stream_detector.telemetry.status.layout import duration, number

_WIDTH, _HEIGHT, _MARGIN = 600.0, 180.0, 6.0
_TABLE_ROWS = 24
_LONGEST_NAME = 80


def band_chart(bands: Bands, row: int, alerts_ms: list[int]) -> str:
    """A figure of one key: the band filled, the expected broken, the counts, and the alerts.

    Args:
        bands: of several keys.
        row: which of them.
        alerts_ms: end of each alert's stretch.
    """
    columns = (bands.actual[row], bands.expected[row], bands.low[row], bands.high[row])
    actual, expected, low, high = columns
    most = float(np.nanmax(np.concatenate([*columns, [1.0]])))
    places = _Places(bands.ends_ms, most)
    shapes = [_area(places, run, low, high) for run in _runs(low)]
    shapes += [places.line(run, expected, "rule") for run in _runs(expected)]
    shapes += [places.line(run, actual, "line") for run in _runs(actual)]
    ends = {int(end): column for column, end in enumerate(bands.ends_ms.tolist())}
    marked = [ends[each] for each in alerts_ms if each in ends]
    shapes += [
        f'<circle class="alerted" r="5" cx="{places.x(column)}" cy="{places.y(actual[column])}">'
        f"<title>alert, {_moment(bands.ends_ms[column])}</title></circle>"
        for column in marked
        if np.isfinite(actual[column])
    ]
    key = bands.keys[row][:_LONGEST_NAME] or "all together"
    stretch = duration(bands.width_ms / 1000).removesuffix(" 0 min").removesuffix(" 0 h")
    name = f"{escape(bands.feature)} in {stretch}"
    label = (
        f"{key}: {bands.feature} in {stretch}, {_moment(bands.ends_ms[0])} to "
        f"{_moment(bands.ends_ms[-1])}; {len(marked)} alerts"
    )
    return (
        f'<figure class="band"><figcaption><span>{name}</span><span>at most <b>{number(most)}</b>'
        f'</span></figcaption><svg viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" role="img" '
        f'aria-label="{escape(label)}">{"".join(shapes)}</svg>'
        f'<div class="dim"><small>{_moment(bands.ends_ms[0])} to {_moment(bands.ends_ms[-1])} UTC. '
        "Filled: the band in which no alert is raised; broken: expected; dots: alerts"
        f"</small></div></figure>{_table(bands, row)}"
    )


class _Places:
    """Places in the picture."""

    def __init__(self, ends_ms: Int64, most: float) -> None:
        self._step = _WIDTH / max(len(ends_ms) - 1, 1)
        self._most = most

    def x(self, column: int) -> str:
        return f"{column * self._step:.1f}"

    def y(self, value: float) -> str:
        return f"{_HEIGHT - _MARGIN - value / self._most * (_HEIGHT - 2 * _MARGIN):.1f}"

    def line(self, run: range, values: Float64, kind: str) -> str:
        points = " ".join(f"{self.x(column)},{self.y(values[column])}" for column in run)
        return f'<polyline class="{kind}" vector-effect="non-scaling-stroke" points="{points}"/>'


def _area(places: _Places, run: range, low: Float64, high: Float64) -> str:
    above = [f"{places.x(column)},{places.y(high[column])}" for column in run]
    below = [f"{places.x(column)},{places.y(low[column])}" for column in reversed(run)]
    return f'<polygon class="area" points="{" ".join(above + below)}"/>'


def _runs(values: Float64) -> list[range]:
    """The stretches of finite values."""
    known = np.isfinite(values)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], known, [False]]).astype(np.int8)))
    return [range(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _table(bands: Bands, row: int) -> str:
    """The last values as numbers, for those who do not see the picture."""
    last = range(max(len(bands.ends_ms) - _TABLE_ROWS, 0), len(bands.ends_ms))
    rows = "".join(
        f"<tr><td>{_moment(bands.ends_ms[column])}</td>"
        f'<td class="number">{number(bands.actual[row, column])}</td>'
        f'<td class="number">{number(bands.expected[row, column])}</td>'
        f'<td class="number">{number(bands.low[row, column])} to '
        f"{number(bands.high[row, column])}</td></tr>"
        for column in reversed(last)
    )
    return (
        f'<details class="card"><summary>The last {len(last)} as numbers</summary><table><thead>'
        "<tr><th>up to (UTC)</th><th>there were</th><th>expected</th><th>band</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></details>"
    )


def _moment(time_ms: int | np.int64) -> str:
    return f"{datetime.fromtimestamp(int(time_ms) / 1000, UTC):%Y-%m-%d %H:%M}"
