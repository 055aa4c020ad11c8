"""The open bucket of a monitor of silence: its slot of the season, and what calendars say of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stream_detector.events import Float64, Int64
from stream_detector.monitors.days import Day
from stream_detector.monitors.season import Season


@dataclass(frozen=True, slots=True)
class Opened:
    """Where what is usual of a bucket stands.

    Attributes:
        slot: of its own day.
        day: what calendars say of it, for each row of the table of keys; None: nothing.
        slots: (keys,) slot of the day that it is taken for; None: its own for all.
    """

    slot: int
    day: Day | None = None
    slots: Int64 | None = None

    @classmethod
    def on(cls, bucket: int, season: Season, day: Day) -> Opened:
        """A bucket, given as its number since 1970, of which calendars say something."""
        return cls(season.slot(bucket), day, season.slots_of(bucket, day.weekday))

    def slots_of(self, rows: Int64) -> Int64 | int:
        """(rows,) slots of keys, or one for all."""
        return self.slot if self.slots is None else self.slots[rows]

    def factors_of(self, rows: Int64) -> Float64 | float:
        """(rows,) factor of what is expected: 0 where nothing is to be found."""
        if self.day is None:
            return 1.0
        factors: Float64 = np.where(self.day.muted[rows], 0.0, self.day.factor[rows])
        return factors
