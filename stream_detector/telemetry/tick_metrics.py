"""Metrics of ticks."""

from __future__ import annotations

import threading

from stream_detector.telemetry.series import Series


class TickMetrics:
    """The part of ``Metrics`` that counts ticks, under the same lock. State: in the ``Series``."""

    def __init__(self, series: Series, lock: threading.Lock) -> None:
        self._series, self._lock = series, lock

    def add(self, shard: int) -> None:
        """The monitors of a shard were told that time has gone on."""
        with self._lock:
            self._series.add("ticks_total", 1, (str(shard),))
