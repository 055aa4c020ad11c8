"""Metrics of the challenger beside the champion."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from stream_detector.events import Float64
from stream_detector.telemetry.histograms import BulkHistogram
from stream_detector.telemetry.label_metrics import RankingMetrics
from stream_detector.telemetry.series import Series


class ChallengerMetrics:
    """The challenger's part of ``Metrics``, under the same lock.

    State: a histogram; the rest is in the ``Series`` given.
    """

    def __init__(self, series: Series, lock: threading.Lock, buckets: Sequence[float]) -> None:
        self._series, self._lock = series, lock
        self._scores = BulkHistogram(buckets)
        self.ranking = RankingMetrics(series, lock, "challenger_")

    def observe_scores(self, scores: Float64) -> None:
        """Scores of a chunk: (events,) float64."""
        with self._lock:
            self._scores.observe_many(scores)

    def add_decisions(self, shard: int, champion: bool, challenger: bool, events: int) -> None:
        """Events that the champion has raised or not, and the challenger would have or not."""
        labels = (str(shard), str(champion).lower(), str(challenger).lower())
        with self._lock:
            self._series.add("challenger_decisions_total", events, labels)

    def set_threshold(self, shard: int, score: float) -> None:
        """Score from which it would raise an event."""
        with self._lock:
            self._series.set("challenger_threshold", score, (str(shard),))

    def samples(self) -> tuple[list[tuple[str, float]], float]:
        """Return the histogram's samples for the client library; the caller holds the lock."""
        return self._scores.samples()
