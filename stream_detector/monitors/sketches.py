"""Sketches of the values of each key in the open bucket: how many different ones, and quantiles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from stream_detector.detectors.stored import LARGEST_COUNT
from stream_detector.errors import StateMismatchError
from stream_detector.events import Float64, Int64, State
from stream_detector.monitors.history import Bounds
from stream_detector.monitors.level_history import LevelHistory
from stream_detector.tables.history import Occurrences

HASHES = 256
"""Least hashes kept: below so many different values the number is exact, above good to 6 %."""

_NO_HASH = 2.0**32

BINS = 512
_STEP = 0.09
_FINE = 1e-3


class DistinctHistory(LevelHistory):
    """Columns with the least hashes of each key in the open bucket (Bar-Yossef et al. 2002).

    Attributes:
        sketch: (keys, hashes) ascending; ``2**32`` where there are fewer.
    """

    bounds: ClassVar[Bounds] = {**LevelHistory.bounds, "sketch": (0.0, _NO_HASH)}
    fresh: ClassVar[Mapping[str, float]] = {**LevelHistory.fresh, "sketch": _NO_HASH}

    def __init__(self, slots: int, buckets: int, widths: int) -> None:
        super().__init__(slots, buckets, widths)
        self.sketch: Float64 = np.zeros((0, HASHES))

    def add_hashes(self, events: Occurrences, hashes: Int64) -> None:
        """Take the hashes of texts in, in the order of the events."""
        ordered = hashes[events.order].astype(np.float64)
        ends = events.starts + events.lengths
        for start, end in zip(events.starts.tolist(), ends.tolist(), strict=True):
            row = self.sketch[events.slots[start]]
            least = np.unique(np.concatenate([row, ordered[start:end]]))[:HASHES]
            row[: len(least)] = least

    def estimates(self) -> Float64:
        """(keys,) number of different texts in the open bucket."""
        known = (self.sketch < _NO_HASH).sum(axis=1)
        beyond = (HASHES - 1) / ((self.sketch[:, -1] + 0.5) / _NO_HASH)
        return np.where(known < HASHES, known.astype(np.float64), beyond)

    def empty_bucket(self) -> None:
        """As of every monitor of levels."""
        super().empty_bucket()
        self.sketch[:] = _NO_HASH

    def restore(self, state: State, count: int, rows: int) -> None:
        """As of every history."""
        super().restore(state, count, rows)
        if (np.diff(self.sketch, axis=1) < 0).any():
            raise StateMismatchError("hashes are not in their order")


class QuantileHistory(LevelHistory):
    """Columns with counts of values in bins that are finer the nearer to the key's center they are.

    The bins are even on the scale asinh((v - center) / (unit / 1000)): 9 % wide far away, with what
    is between them interpolated (as DDSketch's, Masson et al. 2019, about a center of their own).

    Attributes:
        sketch: (keys, bins) values in each bin.
    """

    bounds: ClassVar[Bounds] = {**LevelHistory.bounds, "sketch": (0.0, LARGEST_COUNT)}

    def __init__(self, slots: int, buckets: int, widths: int) -> None:
        super().__init__(slots, buckets, widths)
        self.sketch: Float64 = np.zeros((0, BINS))

    def add_values(self, slots: Int64, values: Float64) -> None:
        """Take values in; ``slots``: (events,) row of each."""
        scaled = np.arcsinh((values - self.center[slots]) / (self.unit[slots] * _FINE))
        bins = np.clip(np.floor(scaled / _STEP) + BINS // 2, 0, BINS - 1).astype(np.int64)
        np.add.at(self.sketch, (slots, bins), 1.0)

    def quantiles(self, share: float) -> Float64:
        """(keys,) the value below which that share lies, in the open bucket; 0 without any."""
        result = np.zeros(len(self))
        rows = np.flatnonzero(self.sketch.any(axis=1))
        counts = self.sketch[rows]
        sums = counts.cumsum(axis=1)
        rank = share * (sums[:, -1] - 1)
        place = (sums > rank[:, None]).argmax(axis=1)
        inside, each = counts[np.arange(len(rows)), place], np.arange(len(rows))
        part = (rank - (sums[each, place] - inside) + 0.5) / inside
        scaled = (place - BINS // 2 + np.minimum(part, 1.0)) * _STEP
        result[rows] = self.center[rows] + np.sinh(scaled) * self.unit[rows] * _FINE
        return result

    def empty_bucket(self) -> None:
        """As of every monitor of levels."""
        super().empty_bucket()
        self.sketch[:] = 0.0
