"""Metrics of incidents."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from stream_detector.telemetry.series import Series


class IncidentMetrics:
    """The part of ``Metrics`` about incidents, under the same lock. State: in the ``Series``."""

    def __init__(self, series: Series, lock: threading.Lock) -> None:
        self._series, self._lock = series, lock

    def add(self, shard: int, changes: Mapping[str, int], snoozed: int, evicted: int) -> None:
        """Messages by what has changed, alerts that nobody was to hear of, values forgotten."""
        with self._lock:
            # What a rule asks for is there before the first of its kind.
            for change, count in {"evicted": 0, **changes}.items():
                self._series.add("incident_changes_total", count, (str(shard), change))
            self._series.add("snoozed_total", snoozed)
            self._series.add("incident_values_evicted_total", evicted, (str(shard),))

    def set_open(self, shard: int, by_severity: Mapping[str, int]) -> None:
        """Incidents that are open now."""
        with self._lock:
            for severity, count in by_severity.items():
                self._series.set("incidents_open", count, (str(shard), severity))
