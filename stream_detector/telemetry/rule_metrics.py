"""Metrics of rules and acts."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from stream_detector.telemetry.series import Series


class RuleMetrics:
    """The part of ``Metrics`` about rules, under the same lock. State: in the ``Series``."""

    def __init__(self, series: Series, lock: threading.Lock) -> None:
        self._series, self._lock = series, lock

    def add_acts(self, shard: int, kind: str, result: str, count: int) -> None:
        """Acts of a kind were taken in, with a result."""
        with self._lock:
            self._series.add("acts_total", count, (str(shard), kind, result))

    def add_hidden(self, counts: Mapping[str, int]) -> None:
        """Events and findings hidden, by the id of the rule."""
        with self._lock:
            for rule, count in counts.items():
                self._series.add("rule_hidden_total", count, (rule,))

    def add_disabled(self, shard: int, count: int) -> None:
        """Rules have disabled themselves; with 0 it begins to exist."""
        with self._lock:
            self._series.add("rules_disabled_total", count, (str(shard),))

    def set_held(self, shard: int, phases: Mapping[Any, int], remembered: int) -> None:
        """Set how many rules there are in each phase, and how many hidden events are remembered."""
        with self._lock:
            for phase in ("waiting", "active", "disabled", "expired", "over"):
                self._series.set("rules", phases.get(phase, 0), (str(shard), phase))
            self._series.set("rule_events_remembered", remembered, (str(shard),))

    def add_forgotten(self, shard: int, count: int) -> None:
        """Hidden events were forgotten for want of room."""
        with self._lock:
            self._series.add("rule_events_forgotten_total", count, (str(shard),))
