"""What a monitor of levels knows of each of its keys, beside what every monitor of buckets does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from stream_detector.detectors.stored import LARGEST_COUNT
from stream_detector.events import Float64, Int64
from stream_detector.monitors.history import BOUNDS, FRESH, MOST_SEEN, Bounds, KeyHistory
from stream_detector.tables.history import Occurrences

LARGEST_AMOUNT = 1e120
"""What sums and means come to at most: so many events of the largest value."""

LEAST_UNIT = 1e-9
"""A value that never changes spreads by so much."""

RECENT = 31
"""Values remembered of a key, whose median nothing single moves."""

FAR = 100.0
"""A value farther off than so many units counts as if it were as far."""

_KNOWN = 8
"""Buckets with events after which a key's unit is known well enough to hold values to it."""

_FARTHEST = 2
"""Values that have no part in what values spread by, where most of them are alike."""

_GROWTH = 2.0
_OF_MEDIAN = 1e-3
_NORMAL = 1.4826
_EARLY = 4.0


class LevelHistory(KeyHistory):
    """Columns of a monitor of levels, beside those of every monitor of buckets.

    Attributes:
        total: (keys,) sum of the values in the open bucket.
        weights: (keys, buckets) events in the last closed buckets.
        unit: (keys,) what an event usually comes to, or what values spread by.
        center: (keys,) median of the last values, as of the last bucket that had any.
        crowd: (keys,) running mean of the events in a bucket that has any.
        met: (keys,) buckets that had events.
        scored: (keys,) buckets that were held against what is usual.
        recent: (keys, values) the last values, in a ring.
        put: (keys,) values put into the ring so far; those of full rounds but one are forgotten.
    """

    bounds: ClassVar[Bounds] = {
        **BOUNDS,
        **dict.fromkeys(
            ("usual", "actual", "expected", "total", "center", "recent"),
            (-LARGEST_AMOUNT, LARGEST_AMOUNT),
        ),
        "weights": (0.0, LARGEST_COUNT),
        "unit": (LEAST_UNIT, LARGEST_AMOUNT),
        "crowd": (0.0, LARGEST_COUNT),
        "met": (0.0, MOST_SEEN),
        "scored": (0.0, MOST_SEEN),
        "put": (0.0, 2.0 * RECENT - 1),
    }
    fresh: ClassVar[Mapping[str, float]] = {**FRESH, "unit": 1.0}
    rings: ClassVar[tuple[str, ...]] = (*KeyHistory.rings, "weights")

    def __init__(self, slots: int, buckets: int, widths: int) -> None:
        super().__init__(slots, buckets, widths)
        self.total: Float64 = np.zeros(0)
        self.unit: Float64 = np.zeros(0)
        self.center: Float64 = np.zeros(0)
        self.crowd: Float64 = np.zeros(0)
        self.met: Float64 = np.zeros(0)
        self.scored: Float64 = np.zeros(0)
        self.recent: Float64 = np.zeros((0, RECENT))
        self.put: Float64 = np.zeros(0)

    def add(self, slots: Int64, events: Occurrences, values: Float64) -> None:
        """Take values in, in the order of the events; ``slots``: (events,) row of each."""
        reach = np.where(self.met >= _KNOWN, FAR * self.unit, np.inf)[slots]
        middle = self.center[slots]
        # One after the other, so that sums are the same however events are cut into calls.
        np.add.at(self.total, slots, np.clip(values, middle - reach, middle + reach))
        each = np.repeat(np.arange(len(events.starts)), events.lengths)
        ranks = np.arange(len(slots)) - events.starts[each]
        last = events.lengths[each] - ranks <= RECENT
        places = (self.put[events.slots] + ranks).astype(np.int64) % RECENT
        self.recent[events.slots[last], places[last]] = values[events.order][last]
        rows = events.slots[events.starts]
        put = self.put[rows] + events.lengths
        self.put[rows] = np.where(put < 2 * RECENT, put, RECENT + put % RECENT)

    def learn_scale(self, rows: Int64, least: float, *, amounts: bool) -> None:
        """Learn units, centers and crowds of keys that had events in the open bucket.

        Args:
            rows: of these keys.
            least: weight of a bucket at least.
            amounts: whether units are what an event comes to; else what values spread by.
        """
        full = np.arange(RECENT) < self.put[rows][:, None]
        middle = _median(self.recent[rows], full)
        if amounts:
            unit = _spread(np.abs(self.recent[rows]), full, 1.0)
            self.center[rows] = 0.0
        else:
            away = np.abs(self.recent[rows] - middle[:, None])
            unit = np.maximum(_spread(away, full, _NORMAL), _OF_MEDIAN * np.abs(middle))
            self.center[rows] = middle
        unit = np.maximum(unit, LEAST_UNIT)
        met, held = self.met[rows], self.unit[rows]
        weight = np.maximum(least, 1 / (met + 1))
        near = np.where(met >= _KNOWN, np.clip(unit, held / _GROWTH, held * _GROWTH), unit)
        self.unit[rows] = np.maximum(held + weight * (near - held), LEAST_UNIT)
        self.crowd[rows] += weight * (self.counts[rows] - self.crowd[rows])
        self.met[rows] = np.minimum(met + 1, MOST_SEEN)

    def dispersion_weight(self, least: float) -> Float64:
        """As of every history: the first deviations of a key count more."""
        weight: Float64 = np.maximum(least, 1 / (self.scored + _EARLY))
        return weight

    def count_judged(self, judged: NDArray[np.bool_]) -> None:
        """As of every history."""
        self.scored = np.minimum(self.scored + judged, MOST_SEEN)

    @property
    def weights(self) -> Float64:
        """As the class says."""
        return self._rings["weights"]

    def _newest(self, actual: Float64, expected: Float64) -> Iterator[tuple[str, Float64]]:
        """As of every history, and how many events there were."""
        yield from super()._newest(actual, expected)
        yield "weights", self.counts

    def empty_bucket(self) -> None:
        """Make the open bucket as new."""
        self.total[:] = 0.0


def _median(values: Float64, full: NDArray[np.bool_]) -> Float64:
    """(keys,) median of the values that are there; at least one is."""
    ordered = np.sort(np.where(full, values, np.inf), axis=1)
    count, rows = full.sum(axis=1), np.arange(len(values))
    middle: Float64 = (ordered[rows, (count - 1) // 2] + ordered[rows, count // 2]) / 2
    return middle


def _spread(sizes: Float64, full: NDArray[np.bool_], factor: float) -> Float64:
    """(keys,) median of sizes times a factor, or, if that is more, the mean but for the largest.

    Where most values are alike the median is nothing; the mean alone one value would carry off.
    """
    ordered = np.sort(np.where(full, sizes, np.inf), axis=1)
    count = full.sum(axis=1)
    kept = np.arange(sizes.shape[1]) < np.maximum(count - _FARTHEST, 1)[:, None]
    mean = np.where(kept, ordered, 0.0).sum(axis=1) / kept.sum(axis=1)
    median = factor * _median(sizes, full)
    return np.where(median > 0, median, mean)
