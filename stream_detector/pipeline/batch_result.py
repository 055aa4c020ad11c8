"""Result of a batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_detector.alerts import dead_letter
from stream_detector.drift import DriftEvent
from stream_detector.events import EventBatch, Float64, Rejection
from stream_detector.messages import Outgoing
from stream_detector.stream_time import Shift


@dataclass(frozen=True, slots=True)
class HiddenAlert:
    """A raised event, or a finding of a monitor, that is not alerted because of a rule.

    Attributes:
        rule: its id.
        alert: id that the alert would have.
        offset: of the event in its partition; -1 of a finding.
        time_ms: event time.
        rarity: one in so many is as strange.
    """

    rule: str
    alert: str
    offset: int
    time_ms: int
    rarity: float


@dataclass(slots=True)
class BatchResult:
    """Result of ``process`` for a batch.

    Attributes:
        scores: (events,) float64 in the order of the batch, NaN for rejected ones.
        raised: (events,) bool, above the threshold (before suppression).
        alerts: messages for the alert topic, in event order.
        severities: severity of each alert.
        reasons: the feature that contributed most to each alert that could be explained.
        dead_letters: messages for the dead-letter topic, in event order.
        rejections: why, one for each dead letter.
        monitor_alerts: how many of the alerts are a monitor's, by its name.
        suppressed: alerts held back.
        unadvised: alerts in a burst, that do not say what would have been ordinary.
        snoozed: alerts left out, since nobody is to hear of their incident just now.
        incidents: messages for the topic of incidents, in event order.
        incident_bodies: what each of them says.
        hidden: raised events and findings that a rule hides, or holds back after its end.
        rule_alerts: how many of the alerts say that a rule has disabled itself, or show late what
            one has hidden.
        disabled: rules that have disabled themselves, by their ids.
        rulings: messages for the control topic that say so to other shards.
        acts: acts taken in, by kind and what came of them.
        changes: drifts found.
        shifts: where the watermark was set to what most events say.
        chunks: chunks that became full.
        rows_learned: events in them that were learnt without labels.
        challenger_scores: the challenger's, (events,) of each chunk that became full.
    """

    scores: Float64
    raised: NDArray[np.bool_]
    alerts: list[Outgoing] = field(default_factory=list)
    severities: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    dead_letters: list[Outgoing] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    monitor_alerts: Counter[str] = field(default_factory=Counter)
    suppressed: int = 0
    unadvised: int = 0
    snoozed: int = 0
    incidents: list[Outgoing] = field(default_factory=list)
    incident_bodies: list[Mapping[str, Any]] = field(default_factory=list)
    hidden: list[HiddenAlert] = field(default_factory=list)
    rule_alerts: int = 0
    disabled: list[str] = field(default_factory=list)
    rulings: list[Outgoing] = field(default_factory=list)
    acts: Counter[tuple[str, str]] = field(default_factory=Counter)
    changes: list[DriftEvent] = field(default_factory=list)
    shifts: list[Shift] = field(default_factory=list)
    chunks: int = 0
    rows_learned: int = 0
    challenger_scores: list[Float64] = field(default_factory=list)

    @classmethod
    def empty(cls, events: int = 0) -> BatchResult:
        """Of so many events before any is scored; of none: of what happens between two."""
        return cls(np.full(events, np.nan), np.zeros(events, dtype=bool))

    def add_alert(self, made: tuple[Outgoing, str, Sequence[str]] | None) -> None:
        """Take in an alert, its severity and its first reason; None was held back."""
        if made is None:
            self.suppressed += 1
            return
        message, severity, reasons = made
        self.alerts.append(message)
        self.severities.append(severity)
        self.reasons += reasons

    def add_incident(self, message: Outgoing, body: Mapping[str, Any]) -> None:
        """Take in the message of an incident that has changed, and what it says."""
        self.incidents.append(message)
        self.incident_bodies.append(body)

    def accepted(self, batch: EventBatch, detector: str) -> tuple[NDArray[np.intp], EventBatch]:
        """The rows of a batch that are not rejected; dead letters are made of the others.

        ``detector``: its name.
        """
        if (accepted := batch.rejection == None).all():  # noqa: E711 - elementwise
            return np.arange(len(batch)), batch
        for row in np.flatnonzero(~accepted):
            rejection = batch.rejection[row]
            self.rejections.append(rejection)
            letter = dead_letter(batch.source[row], batch.record[row], rejection, detector)
            self.dead_letters.append(letter)
        rows = np.flatnonzero(accepted)
        return rows, batch.take(rows)
