"""Metrics of labels: their values, and whether they meet their events."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from stream_detector.telemetry.series import Series


class RankingMetrics:
    """Ranking quality of the latest labelled scores; part of ``Metrics``.

    ``prefix``: of the names of its families, for a model beside the champion.
    """

    def __init__(self, series: Series, lock: threading.Lock, prefix: str = "") -> None:
        self._series, self._lock, self._prefix = series, lock, prefix

    def set(
        self, shard: int, auc: float, average_precision: float, precision_at: Mapping[int, float]
    ) -> None:
        """Each 0 to 1."""
        owner, prefix = (str(shard),), self._prefix
        with self._lock:
            self._series.set(f"{prefix}label_auc_ratio", auc, owner)
            self._series.set(f"{prefix}label_average_precision_ratio", average_precision, owner)
            for k, precision in precision_at.items():
                labels = (*owner, str(k))
                self._series.set(f"{prefix}label_precision_at_ratio", precision, labels)


class LabelMetrics:
    """The labels' part of ``Metrics``, under the same lock; all values are in its ``Series``."""

    def __init__(self, series: Series, lock: threading.Lock) -> None:
        self._series, self._lock = series, lock
        self.ranking = RankingMetrics(series, lock)

    def add(self, shard: int, matched: int, unmatched: int) -> None:
        """Labels from their topic that met an event held, and those that met none."""
        with self._lock:
            for result, count in (("matched", matched), ("unmatched", unmatched)):
                self._series.add("labels_total", count, (str(shard), result))

    def set_waiting(self, shard: int, waiting: int) -> None:
        """Rows that wait for their label."""
        with self._lock:
            self._series.set("labels_waiting", waiting, (str(shard),))

    def set_risk_events(self, shard: int, key: str, state: str, held: int) -> None:
        """Events whose label ``labels.risk`` waits for, or counted and may correct."""
        with self._lock:
            self._series.set("risk_events", held, (str(shard), key, state))

    def add_labelled(self, shard: int, anomalous: bool, raised: bool, events: float) -> None:
        """Events (an estimate, from the rows kept) whose label is known, by what was decided."""
        labels = (str(shard), "anomalous" if anomalous else "normal", str(raised).lower())
        with self._lock:
            self._series.add("labelled_events_total", events, labels)
