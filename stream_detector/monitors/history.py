"""What a rate monitor knows of each of its keys, as columns with a row a key."""

from __future__ import annotations

import numpy as np

from stream_detector.detectors.stored import LARGEST_COUNT, read_array
from stream_detector.events import Float64, Int64, State
from stream_detector.tables.keys import grown

LEAST_DISPERSION = 0.02
"""A timetable that is always kept would make a single event an incident."""

QUIET_BUCKETS = 6
"""Buckets without a deviation after which an incident is over; what follows is another one."""

MOST_SEEN = 1000.0
"""Counts of what was learnt stop here: beyond it nothing hangs on them."""

LARGEST_UNREST = 16.0
"""What a deviation squared counts in the unrest at most."""

_BOUNDS: dict[str, tuple[float, float]] = {
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
_FRESH = {"dispersion": 1.0, "unrest": 1.0, "quiet": float(QUIET_BUCKETS)}


class KeyHistory:
    """Columns of what is known of each key.

    Attributes:
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

    def __init__(self, slots: int, buckets: int, widths: int) -> None:
        self._shapes = (slots, buckets, widths)
        self.counts: Float64 = np.zeros(0)
        self.usual: Float64 = np.zeros((0, slots))
        self.seen: Float64 = np.zeros((0, slots))
        self.actual: Float64 = np.zeros((0, buckets))
        self.expected: Float64 = np.zeros((0, buckets))
        self.run: Float64 = np.zeros(0)
        self.dispersion: Float64 = np.zeros((0, widths))
        self.unrest: Float64 = np.zeros(0)
        self.quiet: Float64 = np.zeros(0)
        self.told: Float64 = np.zeros(0)

    def __len__(self) -> int:
        return len(self.counts)

    def grow(self, rows: int) -> None:
        """Have a row for each slot of the table of keys."""
        if len(self) < rows:
            for name in _BOUNDS:
                setattr(self, name, grown(getattr(self, name), rows, _FRESH.get(name, 0.0)))

    def forget(self, rows: Int64) -> None:
        """Make rows as new: their keys were forgotten."""
        if len(rows):
            for name in _BOUNDS:
                getattr(self, name)[rows] = _FRESH.get(name, 0.0)

    def push(self, expected: Float64) -> None:
        """Put the open bucket, and what was usual in it, behind the last buckets."""
        for ring, newest in ((self.actual, self.counts), (self.expected, expected)):
            ring[:, :-1] = ring[:, 1:]
            ring[:, -1] = newest

    def restart(self) -> None:
        """Begin windows anew; what is usual stays known."""
        self.counts[:] = 0.0
        self.run[:] = 0.0
        self.quiet[:] = QUIET_BUCKETS

    def state(self, rows: Int64) -> State:
        """The columns, of these rows in this order."""
        return {name: getattr(self, name)[rows] for name in _BOUNDS}

    def restore(self, state: State, count: int, rows: int) -> None:
        """Take the columns of ``count`` keys in, with room for ``rows``.

        Raises ``StateMismatchError`` where they have other shapes, or values that cannot be.
        """
        fresh = KeyHistory(*self._shapes)
        fresh.grow(rows)
        for name, (low, high) in _BOUNDS.items():
            column = getattr(fresh, name)
            shape = (count, *column.shape[1:])
            column[:count] = read_array(state, name, shape, low=low, high=high)
        self.__dict__.update(fresh.__dict__)
