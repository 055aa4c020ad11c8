"""Intervals of ranking figures on a stream, whose rows depend on their neighbours.

Resampling rows one by one would take a burst of a thousand like events for a thousand independent
ones, and its intervals would be far too narrow. So whole stretches of the stream are drawn: the
block bootstrap of Künsch (1989, Annals of Statistics 17, 1217 to 1241), in the form of Politis and
Romano (1994, Journal of the American Statistical Association 89, 1303 to 1313), whose blocks have
a random, geometric length and wrap round at the end, so that a resample is stationary.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_detector.evaluation.figures import DAY_MS
from stream_detector.events import Float64, Int64

RESAMPLES = 1000
LEVEL = 0.95
MIN_DAYS = 14
"""Days from which on a day is the unit; a shorter stream is cut into stretches of rows."""

_STRETCHES = 200
_MIN_UNITS = 10
_MAX_BINS = 16_384
_RESAMPLES_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Units:
    """The smallest stretches that are drawn whole.

    Attributes:
        of_event: (events,) number of each event's unit.
        count: how many there are.
        kind: ``days`` (UTC) or ``rows`` (stretches of equally many events).
        mean_block: mean length of a block, in units.
    """

    of_event: Int64
    count: int
    kind: str
    mean_block: float

    @classmethod
    def of(cls, times_ms: Int64, *, has_time: bool) -> Units:
        """Days where the events have time and span enough of them, else 200 stretches of rows.

        The mean block is the cube root of the number of units, the rate that is best for a
        variance (Hall, Horowitz and Jing 1995, Biometrika 82, 561 to 574).
        """
        if has_time:
            days, of_event = np.unique(times_ms // DAY_MS, return_inverse=True)
            if len(days) >= MIN_DAYS:
                return cls(of_event, len(days), "days", len(days) ** (1 / 3))
        events = len(times_ms)
        count = max(1, min(_STRETCHES, events // 10))
        of_event = np.arange(events) * count // max(1, events)
        return cls(of_event, count, "rows", count ** (1 / 3))

    @property
    def enough(self) -> bool:
        """Tell whether there is anything to resample."""
        return self.count >= _MIN_UNITS


def draw_weights(units: Units, resamples: int = RESAMPLES, seed: int = 0) -> Int64:
    """Draw how often each resample takes each unit.

    Returns:
        (resamples, units) int64; every row sums to the number of units.
    """
    random = np.random.default_rng(seed)
    weights = np.zeros((resamples, units.count), np.int64)
    every = np.arange(resamples)
    here = random.integers(units.count, size=resamples)
    for _ in range(units.count):
        weights[every, here] += 1
        leap = random.random(resamples) < 1 / units.mean_block
        here = np.where(
            leap, random.integers(units.count, size=resamples), (here + 1) % units.count
        )
    return weights


class RankCounts:
    """Positives and negatives of each unit, by falling score: all that a ranking figure needs.

    The scores are sorted once. A run of negatives between two positives is one bin, and so are
    events of one score, so ROC AUC and average precision of any weights of the units are exact;
    only where that makes more than 16,384 bins are neighbouring ones put together.

    Attributes:
        exact: whether nothing was put together.
    """

    def __init__(self, labels: Float64, scores: Float64, units: Units) -> None:
        order = np.argsort(-scores, kind="stable")
        positive, falling = labels[order] > 0, scores[order]
        tie = np.concatenate([[0], np.cumsum(falling[1:] != falling[:-1])])
        mixed = np.bincount(tie, weights=positive) > 0
        # A bin begins at a score that has positives, and at the first after it that has none.
        begins = mixed.copy()
        begins[1:] |= mixed[:-1]
        bins = (np.cumsum(begins) - begins[0])[tie]
        count = int(bins[-1]) + 1
        self.exact = count <= _MAX_BINS
        if not self.exact:
            bins = bins * _MAX_BINS // count
            count = _MAX_BINS
        cell = units.of_event[order] * count + bins
        cells = units.count * count
        # Sums of counts below 2**24 are exact in float32, and the product takes half the time.
        self._positives = _counted(cell[positive], cells, units.count)
        self._negatives = _counted(cell[~positive], cells, units.count)

    def figures(self, weights: Int64) -> tuple[Float64, Float64]:
        """ROC AUC and average precision of each resample; NaN where one class is absent."""
        parts = [self._figures(each) for each in _slices(weights.astype(np.float32))]
        return (
            np.concatenate([roc_auc for roc_auc, _ in parts]),
            np.concatenate([average_precision for _, average_precision in parts]),
        )

    def found_and_false(self, weights: Int64) -> Iterator[tuple[Float64, Float64]]:
        """Positives and negatives of each resample at each of the falling thresholds.

        Yields:
            Two (up to 64, thresholds) arrays of counts, until all resamples are through.
        """
        for each in _slices(weights.astype(np.float32)):
            positives, negatives = self._counts(each)
            yield positives.cumsum(axis=1), negatives.cumsum(axis=1)

    def _counts(self, weights: NDArray[np.float32]) -> tuple[Float64, Float64]:
        return (
            (weights @ self._positives).astype(np.float64),
            (weights @ self._negatives).astype(np.float64),
        )

    def _figures(self, weights: NDArray[np.float32]) -> tuple[Float64, Float64]:
        positives, negatives = self._counts(weights)
        found, false = positives.cumsum(axis=1), negatives.cumsum(axis=1)
        all_positives, all_negatives = found[:, -1], false[:, -1]
        above = (positives * (false - negatives / 2)).sum(axis=1)
        precision = found / np.maximum(found + false, 1)
        with np.errstate(invalid="ignore", divide="ignore"):
            roc_auc = 1 - above / (all_positives * all_negatives)
            average_precision = (positives * precision).sum(axis=1) / all_positives
        average_precision[all_negatives == 0] = np.nan
        return roc_auc, average_precision


def interval(draws: Float64) -> tuple[float, float] | None:
    """The middle 95 % of resampled figures; None where half of the resamples have none."""
    known = draws[~np.isnan(draws)]
    if 2 * len(known) <= len(draws):
        return None
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _counted(cell: Int64, cells: int, units: int) -> NDArray[np.float32]:
    return np.bincount(cell, minlength=cells).reshape(units, -1).astype(np.float32)


def _slices(weights: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    for start in range(0, len(weights), _RESAMPLES_AT_ONCE):
        yield weights[start : start + _RESAMPLES_AT_ONCE]
