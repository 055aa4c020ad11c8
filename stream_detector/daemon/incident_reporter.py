"""Reports incidents to the metrics and to the status page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from stream_detector.alerts import SEVERITIES
from stream_detector.daemon.shard import Shard
from stream_detector.incidents import CHANGES
from stream_detector.pipeline import BatchResult
from stream_detector.telemetry.metrics import Metrics
from stream_detector.telemetry.status.recent import Recent

_Increase = Callable[[Shard, str, int], int]


class IncidentReporter:
    """Counts what changes, and shows what is open.

    Args:
        metrics: take the counts.
        recent: takes what the page shows.
        increase: gives the growth of a running total since it was asked last.
    """

    def __init__(self, metrics: Metrics, recent: Recent, increase: _Increase) -> None:
        self._metrics, self._recent, self._increase = metrics, recent, increase

    def begin(self, shard: Shard) -> None:
        """Show what a shard knows of before; its counters begin at zero."""
        if (tracker := shard.pipeline.decisions.incidents.tracker) is None:
            return
        self._increase(shard, "incident values", tracker.evicted_values)
        self._metrics.incidents.add(shard.number, dict.fromkeys(CHANGES, 0), 0, 0)
        self._show(shard)

    def take(self, shard: Shard, outcome: BatchResult) -> None:
        """Count what a batch has changed; what is open then is looked at in ``observe``."""
        if not outcome.incidents and not outcome.snoozed:
            return
        changes = Counter(str(body["change"]) for body in outcome.incident_bodies)
        self._metrics.incidents.add(shard.number, changes, outcome.snoozed, 0)

    def observe(self, shard: Shard) -> None:
        """Look at what the tracker holds, every few seconds."""
        if (tracker := shard.pipeline.decisions.incidents.tracker) is None:
            return
        evicted = self._increase(shard, "incident values", tracker.evicted_values)
        self._metrics.incidents.add(shard.number, {}, 0, evicted)
        self._show(shard)

    def _show(self, shard: Shard) -> None:
        tracker = shard.pipeline.decisions.incidents.tracker
        if tracker is None:
            return
        found = tracker.open_bodies()
        severities = Counter(body["severity"] for body in found)
        self._metrics.incidents.set_open(shard.number, {s: severities[s] for s in SEVERITIES})
        self._recent.incidents.put(shard.number, found)
