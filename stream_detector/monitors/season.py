"""The slot of a season that a bucket of time lies in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Protocol

import numpy as np

from stream_detector.cells.zones import zone_of
from stream_detector.events import Int64
from stream_detector.monitors.days import OWN_DAY

_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday
_LENGTHS_MS = {"none": 0, "hour_of_day": _DAY_MS, "hour_of_week": 7 * _DAY_MS}


class Seasonal(Protocol):
    """Settings that name a season."""

    @property
    def bucket(self) -> float:
        """Seconds."""

    @property
    def season(self) -> str:
        """One of ``none``, ``hour_of_day``, ``hour_of_week``."""

    @property
    def zone(self) -> str:
        """Name of a time zone."""


class Season:
    """A cycle of local time, cut into buckets. Stateless.

    Clocks that are put forward skip slots, and clocks that are put back use some twice: a bucket
    lies where the local time of its beginning says.
    """

    def __init__(self, config: Seasonal) -> None:
        self._bucket_ms = round(config.bucket * 1000)
        self._length_ms = _LENGTHS_MS[config.season]
        self._zone = zone_of(config.zone)
        self.slots = max(self._length_ms // self._bucket_ms, 1)

    def slot(self, bucket: int, weekday: int | None = None) -> int:
        """Slot of a bucket, given as its number since 1970.

        ``weekday``: the day that it is to be taken for, Monday as 0; None: its own.
        """
        if not self._length_ms:
            return 0
        moment = _EPOCH + timedelta(milliseconds=bucket * self._bucket_ms)
        offset = moment.astimezone(self._zone).utcoffset() or timedelta(0)
        local_ms = bucket * self._bucket_ms + offset // timedelta(milliseconds=1)
        in_cycle = (local_ms + _EPOCH_WEEKDAY * _DAY_MS) % self._length_ms
        if weekday is not None and self._length_ms > _DAY_MS:
            in_cycle = weekday * _DAY_MS + in_cycle % _DAY_MS
        return in_cycle // self._bucket_ms % self.slots

    def slots_of(self, bucket: int, weekdays: Int64) -> Int64:
        """(keys,) slot of a bucket for each, by the weekday that it is taken for."""
        slots: Int64 = np.full(len(weekdays), self.slot(bucket))
        for weekday in np.unique(weekdays[weekdays != OWN_DAY]).tolist():
            slots[weekdays == weekday] = self.slot(bucket, weekday)
        return slots
