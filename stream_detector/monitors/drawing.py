"""Bands of monitors of buckets, for people to see: nothing is changed by looking."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from stream_detector.events import Int64
from stream_detector.monitors.bands import Bands
from stream_detector.monitors.deviations import Deviations
from stream_detector.monitors.history import KeyHistory
from stream_detector.monitors.scales import Scale


def drawn(
    history: KeyHistory,
    scale: Scale,
    deviations: Deviations,
    found: Mapping[str, int],
    reach: tuple[int, int],
    groups: Int64 | None,
) -> Bands:
    """What keys came to, and the bands around it; times are the caller's to fill in.

    Args:
        history: of all keys.
        scale: on which they are judged.
        deviations: that judge them.
        found: rows of the keys wanted.
        reach: width, and how many ends of buckets at most.
        groups: (keys,) equal where keys are held against one another; None: all are.
    """
    width, buckets = reach
    rows = np.array(list(found.values()), dtype=np.int64)
    actual, expected, known = scale.last(history, rows, width, buckets)
    root = np.tile(deviations.root(history, groups)[rows][:, None], (1, actual.shape[1]))
    judged = deviations.judged
    if judged is not None and (rows < len(judged.expected)).all():
        expected[:, -1], root[:, -1] = judged.expected[rows], judged.root[rows]
    low, high = scale.ends(history, rows, width, expected, deviations.threshold * root)
    seen = known | (np.maximum.accumulate(np.abs(actual), axis=1) > 0)
    return Bands(
        feature=scale.feature,
        keys=tuple(found),
        width_ms=0,
        ends_ms=np.zeros(actual.shape[1], dtype=np.int64),
        actual=np.where(seen, actual, np.nan),
        expected=np.where(known, expected, np.nan),
        low=np.where(known, low, np.nan),
        high=np.where(known, high, np.nan),
    )


def heaviest(
    history: KeyHistory, rows: Int64, key_of: Callable[[int], str], count: int
) -> list[str]:
    """Return the keys, of these rows, with most in the last buckets."""
    totals = np.abs(history.actual[rows]).sum(axis=1)
    most = np.argpartition(-totals, count)[:count] if len(rows) > count else slice(None)
    pairs = zip((-totals[most]).tolist(), rows[most].tolist(), strict=True)
    return [key for _, key in sorted((total, key_of(row)) for total, row in pairs)]
