"""Metrics of the HTTP server itself."""

from __future__ import annotations

import threading

from stream_detector.telemetry.families import RequestRefusal
from stream_detector.telemetry.series import Series


class HttpMetrics:
    """The server's part of ``Metrics``, under the same lock; all values are in its ``Series``."""

    def __init__(self, series: Series, lock: threading.Lock) -> None:
        self._series, self._lock = series, lock

    def add_refused(self, reason: RequestRefusal) -> None:
        """Count a request that was not followed."""
        with self._lock:
            self._series.add("requests_refused_total", 1, (reason,))
