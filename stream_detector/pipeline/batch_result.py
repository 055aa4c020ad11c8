"""Result of a batch."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stream_detector.alerts import dead_letter
from stream_detector.drift import DriftEvent
from stream_detector.events import EventBatch, Float64, Rejection
from stream_detector.messages import Outgoing
from stream_detector.stream_time import Shift


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
    changes: list[DriftEvent] = field(default_factory=list)
    shifts: list[Shift] = field(default_factory=list)
    chunks: int = 0
    rows_learned: int = 0
    challenger_scores: list[Float64] = field(default_factory=list)

    def add_alert(self, made: tuple[Outgoing, str, list[str]] | None) -> None:
        """Take in what ``AlertWriter.write`` gave; None was held back."""
        if made is None:
            self.suppressed += 1
            return
        message, severity, reasons = made
        self.alerts.append(message)
        self.severities.append(severity)
        self.reasons += reasons

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
