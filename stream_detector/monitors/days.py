"""What calendars say of a bucket, for each key."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_detector.calendars.effects import Effect
from stream_detector.events import Float64, Int64

OWN_DAY = -1


@dataclass(frozen=True, slots=True)
class Day:
    """What is another than usual of a bucket.

    Attributes:
        muted: (keys,) of which nothing is to be found in it.
        unlearnt: (keys,) of which nothing is learnt from it.
        factor: (keys,) of what is expected.
        weekday: (keys,) that it is taken for, Monday as 0; ``OWN_DAY``: its own.
    """

    muted: NDArray[np.bool_]
    unlearnt: NDArray[np.bool_]
    factor: Float64
    weekday: Int64


def day_of(effects: Sequence[Effect], rows: int, find: Callable[[str], int | None]) -> Day:
    """Put together what calendars ask for.

    Of several that say what to expect, or what day it is, the first counts.

    Args:
        effects: what they ask for.
        rows: of the table of keys.
        find: gives the row of a key; None where it is not known.
    """
    day = Day(
        np.zeros(rows, dtype=np.bool_),
        np.zeros(rows, dtype=np.bool_),
        np.ones(rows),
        np.full(rows, OWN_DAY, dtype=np.int64),
    )
    for effect in reversed(effects):
        whose: slice | Int64 = slice(None)
        if effect.keys is not None:
            found = [find(key) for key in effect.keys]
            whose = np.array([row for row in found if row is not None], dtype=np.int64)
        day.muted[whose] |= effect.skips_alert
        day.unlearnt[whose] |= effect.skips_learning or effect.expect is not None
        if effect.expect is not None:
            day.factor[whose] = effect.expect
        if effect.like is not None:
            day.weekday[whose] = effect.like
    return day
