"""What keys did in the last closed buckets beside what was expected of them: for people to see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stream_detector.events import Float64, Int64
from stream_detector.monitors.rings import sums

if TYPE_CHECKING:
    from stream_detector.monitors.history import KeyHistory


@dataclass(frozen=True, slots=True)
class MonitorFigures:
    """Figures of a monitor.

    Attributes:
        closed: buckets (or what else it judges at a time) closed since it was built or restored.
        keys: keys remembered.
        judged: keys of which so much is known that something can be said of them.
        evicted: keys forgotten for want of room, since the beginning.
        without_key: events that had no key, or not what is judged, since the beginning.
        muted: findings left out because of a calendar, since it was built or restored.
    """

    closed: int
    keys: int
    judged: int
    evicted: int
    without_key: int
    muted: int


@dataclass(frozen=True, slots=True)
class Bands:
    """Values of keys beside the band in which no alert is raised, as they are judged.

    Attributes:
        feature: what was counted or measured.
        keys: the keys, a row each.
        width_ms: stretch of event time that each value is about; the shortest that is judged.
        ends_ms: (buckets,) end of each stretch, ascending.
        actual: (keys, buckets) what there was; NaN before there was any.
        expected: (keys, buckets) what was to be expected, at the pace of the others; NaN while
            nobody knows.
        low: (keys, buckets) lower end of the band; NaN likewise.
        high: (keys, buckets) upper end of it.
    """

    feature: str
    keys: tuple[str, ...]
    width_ms: int
    ends_ms: Int64
    actual: Float64
    expected: Float64
    low: Float64
    high: Float64


@dataclass(frozen=True, slots=True)
class Judged:
    """What the last closed bucket was judged by, at the shortest width; a row for each key.

    Attributes:
        expected: (keys,) what was to be expected.
        root: (keys,) root of the variance that deviations were divided by; that of chance is 1.
    """

    expected: Float64
    root: Float64


def last_sums(
    history: KeyHistory, rows: Int64, width: int, buckets: int, others_events: float | None
) -> tuple[Float64, Float64, NDArray[np.bool_]]:
    """Sums over the last ``width`` buckets, as of the end of each of the last ``buckets``.

    Args:
        history: columns of all keys.
        rows: of the keys wanted.
        width: buckets that are taken together.
        buckets: how many ends, as far as the history reaches.
        others_events: events by which the pace of the others is drawn towards 1; None: keys are
            not held against it.

    Returns:
        (rows, ends) what there was, what was to be expected at the pace of all other keys, and
        whether that was known.
    """
    last = history.actual.shape[1]
    ends = range(max(width, last - buckets + 1), last + 1)
    shape = (len(rows), len(ends))
    actual, expected, known = np.zeros(shape), np.zeros(shape), np.zeros(shape, dtype=bool)
    for column, end in enumerate(ends):  # one at a time: of all keys at once would be a lot
        whole = history.run >= last - end + width
        there = sums(history.actual[:, end - width : end])
        usual = sums(history.expected[:, end - width : end])
        mine_there, mine_usual = there[rows], usual[rows]
        pace = np.ones(len(rows))
        if others_events is not None:
            mine = whole[rows]
            others = float(usual[whole].sum()) - np.where(mine, mine_usual, 0.0)
            did = float(there[whole].sum()) - np.where(mine, mine_there, 0.0)
            pace = (did + others_events) / (np.maximum(others, 0.0) + others_events)
        actual[:, column] = mine_there
        expected[:, column] = mine_usual * pace
        known[:, column] = whole[rows]
    return actual, expected, known
