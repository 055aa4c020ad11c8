"""Labels that come later than their events: what waits for them, and what they say."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_detector.config.models.config import LabelsConfig
from stream_detector.detectors.base import Rows
from stream_detector.events import EventBatch, Float64, Int64, State
from stream_detector.labels import Feedback, WaitingRows
from stream_detector.pipeline.chunk import Chunk
from stream_detector.scaling import RunningScaler


class LateLabels:
    """Rows that wait for their label, and the verdict on the scores that were given.

    State: of the two parts; two counts.

    Attributes:
        pending: rows that a detector is to learn; None where none learns from labels.
        feedback: the verdict; None without labels.
        taken: labels that came.
        unmatched: those of them that met no event that is remembered.
    """

    def __init__(
        self, labels: LabelsConfig | None, features: int, seed: int, *, learnt: bool
    ) -> None:
        """``learnt``: whether a detector learns from them; ``seed``: of what chance chooses."""
        self.pending = WaitingRows(labels, features, seed) if labels and learnt else None
        self.feedback = Feedback(labels, seed) if labels else None
        self.taken = self.unmatched = 0

    def set(self, ids: Int64, labels: Float64, chunk: Chunk) -> NDArray[np.bool_]:
        """Labels of events in the chunk in hand and of those that wait; which found theirs."""
        found = np.zeros(len(ids), dtype=bool)
        for place, (identity, label) in enumerate(zip(ids.tolist(), labels.tolist(), strict=True)):
            rows = np.flatnonzero(chunk.ids[: chunk.filled] == identity)
            chunk.labels[rows] = label
            found[place] = len(rows) > 0
        if self.feedback is not None:
            found |= self.feedback.set_labels(ids, labels)
        if self.pending is not None:
            found |= self.pending.set_labels(ids, labels)
        return found

    def count(self, found: NDArray[np.bool_]) -> None:
        """Labels came; ``found``: which met an event."""
        self.taken += len(found)
        self.unmatched += int(np.count_nonzero(~found))

    def exchange(
        self,
        chunk: Chunk,
        features: Float64,
        scaler: RunningScaler,
        sequence: int,
        now_ms: int,
        score_scale: int,
    ) -> tuple[Rows, Float64]:
        """Let the full chunk's most instructive rows wait, and take out those that have waited.

        Args:
            chunk: as it was scored.
            features: (events, features) of it, finite.
            scaler: as the rows are to be learnt.
            sequence: number of its first event.
            now_ms: the stream's watermark.
            score_scale: of the model that scored it.

        Returns:
            Rows whose label is known now, and (rows,) their labels.
        """
        if self.feedback is not None:
            columns = (chunk.times_ms, chunk.ids, chunk.labels, chunk.scores, chunk.raised)
            self.feedback.offer(*columns, sequence, score_scale)
            self.feedback.judge(now_ms)
        if self.pending is None:
            return Rows(features[:0], features[:0]), np.empty(0)
        columns = (chunk.times_ms, chunk.ids, features, chunk.labels, chunk.scores)
        self.pending.offer(*columns, sequence)
        rows, labels, ids = self.pending.mature(now_ms)
        return Rows(rows, scaler.standardise(rows), ids), labels

    def go_back(self, mark_ms: int) -> None:
        """The watermark was wrong and is ``mark_ms``."""
        if self.feedback is not None:
            self.feedback.go_back(mark_ms)
        if self.pending is not None:
            self.pending.go_back(mark_ms)

    def state(self) -> State:
        """Both parts and the counts."""
        return {
            "pending": self.pending.state() if self.pending else None,
            "feedback": self.feedback.state() if self.feedback else None,
            "labels_taken": self.taken,
            "labels_unmatched": self.unmatched,
        }

    def restore(self, state: State) -> None:
        """Take ``state`` in. Raises ``StateMismatchError`` where it does not fit."""
        if self.pending is not None and state["pending"] is not None:
            self.pending.restore(state["pending"])
        if self.feedback is not None and state.get("feedback") is not None:
            self.feedback.restore(state["feedback"])  # states of older versions have none
        self.taken = int(state.get("labels_taken", 0))
        self.unmatched = int(state.get("labels_unmatched", 0))


def rows_of_topic(batch: EventBatch, topic: str | None) -> NDArray[np.bool_] | None:
    """Select the rows that come from a topic (that of the labels); None where there are none."""
    if topic is None:
        return None
    found = np.array([source.topic == topic for source in batch.source], dtype=bool)
    return found if found.any() else None
