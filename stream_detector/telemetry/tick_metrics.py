"""Metrics of the stream's time: ticks, the watermark, and where that was set anew."""

from __future__ import annotations

import threading

from stream_detector.telemetry.series import Series


class TickMetrics:
    """The part of ``Metrics`` about time, under the same lock. State: in the ``Series``."""

    def __init__(self, series: Series, lock: threading.Lock) -> None:
        self._series, self._lock = series, lock

    def add(self, shard: int) -> None:
        """Monitors and incidents of a shard were told that time has gone on."""
        with self._lock:
            self._series.add("ticks_total", 1, (str(shard),))

    def add_shift(self, direction: str, count: int = 1) -> None:
        """The watermark was set to what most events say, ``forward`` or ``back``."""
        with self._lock:
            self._series.add("time_shifts_total", count, (direction,))

    def set_watermark(self, shard: int, timestamp_seconds: float) -> None:
        """A shard's watermark, seconds since 1970; not set before the first event."""
        if timestamp_seconds < 0:
            return
        with self._lock:
            self._series.set("watermark_timestamp_seconds", timestamp_seconds, (str(shard),))
