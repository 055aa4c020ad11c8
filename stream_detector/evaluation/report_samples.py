"""Samples for a report beside scores and labels, taken as a back-test's events pass by."""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from stream_detector.drift import DriftEvent
from stream_detector.evaluation.feature_samples import FeatureSamples
from stream_detector.events import EventBatch, Float64, Int64
from stream_detector.pipeline import BatchResult, BeforeScoring

TOP_ALERTS = 20
_SETTLING_EVENTS = 10_000
_MAX_CHANGES = 20


@dataclass(frozen=True, slots=True)
class SeenAlert:
    """An alert and what was true of its event.

    Attributes:
        body: the alert as it would have been written.
        label: 1, 0 or NaN unknown.
        score_scale: on which it was raised; the one before while that had not settled, and -1 among
            the events that are skipped.
    """

    body: dict[str, Any]
    label: float
    score_scale: int

    @property
    def rank(self) -> tuple[int, float, float, int]:
        """Larger is rarer; of two alike the earlier one. The last score_scale counts for more."""
        body = self.body
        return self.score_scale, body["rarity"], body["score"], -body["receipt"]["sequence"]


class ReportSamples:
    """An observer of a back-test: keeps what a report shows beside scores and labels.

    State, bounded but for twelve bytes a chunk: samples of the features, the rarest alerts,
    counts by feature of what the alerts give as their first reason, each change of the threshold.

    Attributes:
        features: samples of them.
        changes: the first drifts that the section `drift` has found, each with the number of events
            at the end of its batch.
        reasons: by feature, how often it was an alert's first reason: [label 0, 1, unknown].
    """

    def __init__(self, *, skip: int = 0, top: int = TOP_ALERTS) -> None:
        """Begin with a stream's first event.

        Args:
            skip: first events that are left out of the samples, and whose alerts rank last.
            top: how many of the rarest alerts to keep.
        """
        self.features = FeatureSamples(skip)
        self.changes: list[tuple[int, DriftEvent]] = []
        self.reasons: dict[str, list[int]] = {}
        self._skip = skip
        self._top = top
        self._best: list[tuple[tuple[int, float, float, int], SeenAlert]] = []
        self._events = 0
        self._changed_at = array("q")
        self._thresholds = array("d")
        self._score_scales: list[tuple[int, int]] = [(0, 0)]

    def observe(self, events: BeforeScoring) -> None:
        """Features of events that are scored next, threshold and scale that they meet."""
        self.features.add(events.features)
        at = events.sequence
        self._events = at + len(events.features)
        if not self._thresholds or self._thresholds[-1] != events.threshold:
            self._changed_at.append(at)
            self._thresholds.append(events.threshold)
        if events.score_scale != self._score_scales[-1][1]:
            self._score_scales.append((at, events.score_scale))

    def see(self, batch: EventBatch, outcome: BatchResult) -> None:
        """Take in what was made of a batch."""
        room = _MAX_CHANGES - len(self.changes)
        self.changes += [(self._events, change) for change in outcome.changes[:room]]
        if not outcome.alerts:
            return
        rows = {offset: row for row, offset in enumerate(batch.offset.tolist())}
        for alert in outcome.alerts:
            body = msgspec.json.decode(alert.value or b"{}")
            if "monitor" in body:  # about many events, and shown by itself
                continue
            label = float(batch.label[rows[alert.offset]])
            seen = SeenAlert(body, label, self._settled_scale(body["receipt"]["sequence"]))
            self._count(seen)
            entry = (seen.rank, seen)
            if len(self._best) < self._top:
                heapq.heappush(self._best, entry)
            else:
                heapq.heappushpop(self._best, entry)

    def _settled_scale(self, sequence: int) -> int:
        if sequence < self._skip:
            return -1
        at, score_scale = self._score_scales[-1]
        # With few scores on the new scale, hardly anything is known of how rare one is.
        return score_scale if not at or sequence >= at + _SETTLING_EVENTS else score_scale - 1

    def _count(self, seen: SeenAlert) -> None:
        reasons = seen.body["reasons"]
        if not reasons or seen.body["receipt"]["sequence"] < self._skip:
            return
        counts = self.reasons.setdefault(reasons[0]["feature"], [0, 0, 0])
        counts[2 if np.isnan(seen.label) else int(seen.label)] += 1

    def top_alerts(self) -> list[SeenAlert]:
        """The rarest alerts, the rarest first."""
        return [seen for _, seen in sorted(self._best, key=lambda entry: entry[0], reverse=True)]

    def thresholds(self) -> tuple[Int64, Float64]:
        """First event of each threshold, and the threshold (infinite while none is known)."""
        return np.array(self._changed_at, np.int64), np.array(self._thresholds, np.float64)

    def score_scales(self, events: int) -> Iterator[tuple[int, int, int]]:
        """(score_scale, first event, end) of each stretch in which scores are on one scale."""
        ends = [at for at, _ in self._score_scales[1:]] + [events]
        for (at, score_scale), end in zip(self._score_scales, ends, strict=True):
            if end > at:
                yield score_scale, at, end
