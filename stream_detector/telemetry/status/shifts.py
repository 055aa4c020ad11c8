"""Shifts of each feature's mean within the last minutes."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from stream_detector.events import Float64

WINDOW_SECONDS = 300.0
LEAST_BEFORE = 1000
LEAST_SINCE = 200
_APART_SECONDS = 10.0

Moments: TypeAlias = tuple[Float64, Float64, Float64]
"""(count, mean, deviation) of the columns."""


@dataclass(frozen=True, slots=True)
class Shift:
    """A feature's mean of late against that of all before.

    Attributes:
        feature: its name.
        before: mean of everything up to some minutes ago.
        now: mean since then.
        deviations: their difference in standard deviations of before.
    """

    feature: str
    before: float
    now: float
    deviations: float


class ShiftWatch:
    """Takes the running moments of the scaler, which learns for ever and never fades.

    From two of them follows the mean of what was learnt between: of (n, m) and (N, M) it is
    (N M - n m) / (N - n).

    State: the moments at ten-second steps of five minutes, so 31 times three numbers a column.
    """

    def __init__(self) -> None:
        self._past: deque[tuple[float, Moments]] = deque()
        self._latest: Moments | None = None
        self._groups: dict[str, Sequence[int]] = {}

    def observe(
        self,
        now: float,
        groups: Mapping[str, Sequence[int]],
        count: Float64,
        mean: Float64,
        deviation: Float64,
    ) -> None:
        """The moments at ``now``, monotonic seconds; the arrays are copied."""
        moments = (count.copy(), mean.copy(), deviation.copy())
        self._groups = dict(groups)
        if self._latest is not None and np.any(count < self._latest[0]):
            self._past.clear()  # the scaler was told to forget: what was before is no base
        self._latest = moments
        known = count.max(initial=0.0) >= LEAST_BEFORE
        if known and (not self._past or now - self._past[-1][0] >= _APART_SECONDS):
            self._past.append((now, moments))
        while len(self._past) > 1 and now - self._past[1][0] >= WINDOW_SECONDS:
            self._past.popleft()

    def shifts(self) -> list[Shift]:
        """Return the shift of each feature that has learnt enough; of several columns, the largest.

        Empty until enough events came since the first look.
        """
        if not self._past or self._latest is None:
            return []
        count, mean, deviation = self._past[0][1]
        latest_count, latest_mean, _ = self._latest
        since = latest_count - count
        usable = (since >= LEAST_SINCE) & (count >= LEAST_BEFORE) & (deviation > 0)
        divisor = np.where(usable, since, 1.0)
        now = np.where(usable, (latest_count * latest_mean - count * mean) / divisor, mean)
        moved = np.where(usable, (now - mean) / np.where(usable, deviation, 1.0), 0.0)
        found = []
        for name, columns in self._groups.items():
            among = [column for column in columns if usable[column]]
            if among:
                most = max(among, key=lambda column: abs(moved[column]))
                values = float(mean[most]), float(now[most]), float(moved[most])
                found.append(Shift(name, *values))
        return found
