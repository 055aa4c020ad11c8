"""Metrics of monitors: what they count, and the bands of a few keys."""

from __future__ import annotations

import threading
from collections.abc import Collection

from stream_detector.telemetry.families import MONITOR_KEY
from stream_detector.telemetry.series import Series


class MonitorMetrics:
    """The monitors' part of ``Metrics``, under the same lock; all values are in its ``Series``."""

    def __init__(self, series: Series, lock: threading.Lock) -> None:
        self._series, self._lock = series, lock

    def set_keys(self, shard: int, monitor: str, held: int, judged: int) -> None:
        """Keys remembered, and those of which enough is known to judge them."""
        labels = (str(shard), monitor)
        with self._lock:
            self._series.set("monitor_keys_held", held, labels)
            self._series.set("monitor_keys_judged", judged, labels)

    def add(
        self, shard: int, monitor: str, closed: int, evicted: int, without_key: int, muted: int
    ) -> None:
        """Buckets closed, keys forgotten, events without key or value, findings left out."""
        labels = (str(shard), monitor)
        with self._lock:
            self._series.add("monitor_buckets_closed_total", closed, labels)
            self._series.add("monitor_keys_evicted_total", evicted, labels)
            self._series.add("monitor_events_without_key_total", without_key, labels)
            self._series.add("monitor_findings_muted_total", muted, labels)

    def add_alerts(self, shard: int, monitor: str, count: int) -> None:
        """Alerts that a monitor has raised; with 0 it begins to exist."""
        with self._lock:
            self._series.add("monitor_alerts_total", count, (str(shard), monitor))

    def set_band(self, shard: int, monitor: str, key: str, band: dict[str, float]) -> None:
        """Set ``actual``, ``expected``, ``low`` and ``high`` of a key's last closed bucket."""
        with self._lock:
            for name, value in band.items():
                self._series.set(f"monitor_{name}", value, (str(shard), monitor, key))

    def forget_keys(self, shard: int, monitor: str, keys: Collection[str]) -> None:
        """Drop the bands of keys that are shown no more."""
        with self._lock:
            self._series.forget(MONITOR_KEY, {(str(shard), monitor, key) for key in keys})
