"""What a rate monitor knows of each of its keys, as columns with a row a key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from stream_detector.detectors.stored import LARGEST_COUNT, read_array
from stream_detector.events import Float64, Int64, State
from stream_detector.monitors.rings import Rings
from stream_detector.tables.keys import grown

LEAST_DISPERSION = 0.02
"""A timetable that is always kept would make a single event an incident."""

QUIET_BUCKETS = 6
"""Buckets without a deviation after which an incident is over; what follows is another one."""

MOST_SEEN = 1000.0
"""Counts of what was learnt stop here: beyond it nothing hangs on them."""

LARGEST_UNREST = 16.0
"""What a deviation squared counts in the unrest at most."""

BOUNDS: dict[str, tuple[float, float]] = {
    "counts": (0.0, LARGEST_COUNT),
    "usual": (0.0, LARGEST_COUNT),
    "seen": (0.0, MOST_SEEN),
    "actual": (0.0, LARGEST_COUNT),
    "expected": (0.0, LARGEST_COUNT),
    "run": (0.0, LARGEST_COUNT),
    "dispersion": (LEAST_DISPERSION, LARGEST_COUNT),
    "unrest": (0.0, LARGEST_UNREST),
    "quiet": (0.0, QUIET_BUCKETS),
    "told": (0.0, LARGEST_COUNT),
}
FRESH = {"dispersion": 1.0, "unrest": 1.0, "quiet": float(QUIET_BUCKETS)}

Bounds = Mapping[str, tuple[float, float]]


class KeyHistory:
    """Columns of what is known of each key.

    Attributes:
        bounds: least and largest value of each column, by its name.
        fresh: what a new key has in it, where that is not 0.
        rings: names of the columns of the last buckets.
        counts: (keys,) events in the open bucket.
        usual: (keys, slots) mean number of events in a slot of the season.
        seen: (keys, slots) how often the slot was seen.
        actual: (keys, buckets) events in the last closed buckets, the newest last.
        expected: (keys, buckets) events that were usual there.
        run: (keys,) closed buckets in a row of which it was known what is usual.
        dispersion: (keys, widths) variance of the deviations over that of chance.
        unrest: (keys,) running mean of the deviations squared.
        quiet: (keys,) buckets without a deviation.
        told: (keys,) largest score that was alerted in the incident.
    """

    bounds: ClassVar[Bounds] = BOUNDS
    fresh: ClassVar[Mapping[str, float]] = FRESH
    rings: ClassVar[tuple[str, ...]] = ("actual", "expected")

    def __init__(self, slots: int, buckets: int, widths: int) -> None:
        self._shapes = (slots, buckets, widths)
        self.counts: Float64 = np.zeros(0)
        self.usual: Float64 = np.zeros((0, slots))
        self.seen: Float64 = np.zeros((0, slots))
        self._rings = Rings(self.rings, buckets)
        self.run: Float64 = np.zeros(0)
        self.dispersion: Float64 = np.zeros((0, widths))
        self.unrest: Float64 = np.zeros(0)
        self.quiet: Float64 = np.zeros(0)
        self.told: Float64 = np.zeros(0)

    def empty(self) -> KeyHistory:
        """Return another one of the same shape, with no key."""
        return type(self)(*self._shapes)

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def actual(self) -> Float64:
        """As the class says."""
        return self._rings["actual"]

    @property
    def expected(self) -> Float64:
        """As the class says."""
        return self._rings["expected"]

    def grow(self, rows: int) -> None:
        """Have a row for each slot of the table of keys."""
        if len(self) < rows:
            for name in self.bounds.keys() - set(self.rings):
                setattr(self, name, grown(getattr(self, name), rows, self.fresh.get(name, 0.0)))
            self._rings.grow(rows)

    def forget(self, rows: Int64) -> None:
        """Make rows as new: their keys were forgotten."""
        if len(rows):
            for name in self.bounds:
                getattr(self, name)[rows] = self.fresh.get(name, 0.0)

    def push(self, actual: Float64, expected: Float64, muted: NDArray[np.bool_]) -> None:
        """Put what the open bucket came to, and what was usual in it, behind the last buckets.

        ``muted``: (keys,) where the bucket is left out.
        """
        self._rings.push(
            {name: np.where(muted, 0.0, one) for name, one in self._newest(actual, expected)}
        )

    def _newest(self, actual: Float64, expected: Float64) -> Iterator[tuple[str, Float64]]:
        """(keys,) the open bucket, for each column of the last ones."""
        yield "actual", actual
        yield "expected", expected

    def learn(
        self, slots: Int64, taken: Float64, learnt: NDArray[np.bool_], teaches: float
    ) -> None:
        """Move what is usual in a slot towards what there was.

        Args:
            slots: (keys,) slot of each.
            taken: (keys,) what there was, as far as it is let teach.
            learnt: (keys,) which keys learn.
            teaches: least weight of what there was.
        """
        every = np.arange(len(slots))
        seen, usual = self.seen[every, slots], self.usual[every, slots]
        weight = np.maximum(teaches, 1 / (seen + 1))  # 1 where nothing was known
        self.usual[every, slots] = np.where(learnt, usual + weight * (taken - usual), usual)
        self.seen[every, slots] = np.where(learnt, np.minimum(seen + 1, MOST_SEEN), seen)

    def dispersion_weight(self, least: float) -> Float64 | float:
        """What a bucket's deviation counts in the dispersion: ``least``, or more of a new key."""
        return least

    def count_judged(self, judged: NDArray[np.bool_]) -> None:
        """Note (keys,) which keys were held against what is usual."""

    def restart(self) -> None:
        """Begin windows anew; what is usual stays known."""
        self.counts[:] = 0.0
        self.run[:] = 0.0
        self.quiet[:] = QUIET_BUCKETS

    def state(self, rows: Int64) -> State:
        """The columns, of these rows in this order."""
        return {name: np.ascontiguousarray(getattr(self, name)[rows]) for name in self.bounds}

    def restore(self, state: State, count: int, rows: int) -> None:
        """Take the columns of ``count`` keys in, with room for ``rows``.

        Raises ``StateMismatchError`` where they have other shapes, or values that cannot be.
        """
        fresh = self.empty()
        fresh.grow(rows)
        for name, (low, high) in self.bounds.items():
            column = getattr(fresh, name)
            shape = (count, *column.shape[1:])
            column[:count] = read_array(state, name, shape, low=low, high=high)
        self.__dict__.update(fresh.__dict__)
