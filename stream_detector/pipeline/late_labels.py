"""Labels that come later than their events: the rows that a detector is to learn with them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_detector.config.models.config import LabelsConfig
from stream_detector.detectors.base import Rows
from stream_detector.detectors.stored import read_count
from stream_detector.events import Float64, Int64, State
from stream_detector.labels import ScoredEvents, WaitingRows
from stream_detector.scaling import RunningScaler

_UNKNOWN = 2**40
"""Age of labels before any came."""


@dataclass(frozen=True, slots=True)
class LabelledRows:
    """Earlier events whose labels are known now; maybe none.

    Attributes:
        rows: as they are to be learnt.
        labels: (rows,) 1 or 0.
    """

    rows: Rows
    labels: Float64

    def __len__(self) -> int:
        return len(self.labels)


class LateLabels:
    """Lets chosen rows of each chunk wait for their labels, and counts the labels that came.

    State: the rows that wait; four counts.

    Attributes:
        pending: rows that a detector is to learn; None where none learns from labels.
        seen: rows of which ``pending`` was offered a choice.
        most_waiting: the most rows that have waited at once.
        age: mean age in events of the labelled rows that were given out last.
        taken: labels that came.
        unmatched: those of them that met no event that is remembered.
    """

    def __init__(
        self, labels: LabelsConfig | None, features: int, seed: int, *, learnt: bool
    ) -> None:
        """``learnt``: whether a detector learns from them; ``seed``: of what chance chooses."""
        self.pending: WaitingRows | None = None
        if labels is not None and learnt:
            columns = {"features": (np.float64, features), "number": (np.int64, 0)}
            self.pending = WaitingRows(labels, seed, columns)
        self.age = _UNKNOWN
        self.seen = self.most_waiting = 0
        self.taken = self.unmatched = 0

    @property
    def waiting(self) -> int | None:
        """Rows that wait to be learnt; None where none learns from labels."""
        return None if self.pending is None else self.pending.waiting

    def set_labels(self, ids: Int64, labels: Float64) -> NDArray[np.bool_]:
        """Labels of rows that wait, by identity; which of them found theirs."""
        if self.pending is None:
            return np.zeros(len(ids), dtype=bool)
        return self.pending.set_labels(ids, labels)

    def count(self, found: NDArray[np.bool_]) -> None:
        """Labels came; ``found``: which met an event."""
        self.taken += len(found)
        self.unmatched += int(np.count_nonzero(~found))

    def exchange(
        self, events: ScoredEvents, features: Float64, scaler: RunningScaler, now_ms: int
    ) -> LabelledRows:
        """Let a full chunk's most instructive rows wait, and take out those that have waited.

        Args:
            events: the chunk as it was scored.
            features: (events, features) of it, finite.
            scaler: as the rows are to be learnt.
            now_ms: the stream's watermark.
        """
        if self.pending is None:
            return LabelledRows(Rows(features[:0], features[:0]), np.empty(0))
        columns = {"features": features, "number": np.arange(events.first, events.end)}
        self.pending.add(events, self.pending.weigh(events), columns)
        self.seen += len(events)
        self.most_waiting = max(self.most_waiting, self.pending.waiting)
        due = self.pending.mature(now_ms)
        rows = due["features"]
        ages = events.end - due["number"]
        if len(ages):
            self.age = int(ages.mean())
        return LabelledRows(Rows(rows, scaler.standardise(rows), due["id"], ages), due["label"])

    def go_back(self, mark_ms: int) -> None:
        """The watermark was wrong and is ``mark_ms``."""
        if self.pending is not None:
            self.pending.go_back(mark_ms)

    def state(self) -> State | None:
        """The rows that wait and what was counted of them."""
        if self.pending is None:
            return None
        counts = {"seen": self.seen, "most_waiting": self.most_waiting, "age": self.age}
        return {**self.pending.state(), **counts}

    def restore(self, state: State) -> None:
        """Take a pipeline's ``state`` in. Raises ``StateMismatchError`` where it does not fit."""
        if self.pending is not None and (rows := state["pending"]) is not None:
            if "rows" in rows:  # format 1
                nameless = np.zeros(len(rows["due"]), dtype=np.int64)
                rows = {**rows, "id": nameless, "label": rows["labels"], "features": rows["rows"]}
            if "number" not in rows:  # older versions did not say
                rows = {**rows, "number": np.zeros(len(rows["due"]), dtype=np.int64)}
            self.pending.restore(rows)
            counts = {"age": _UNKNOWN, "seen": 0, "most_waiting": self.pending.waiting, **rows}
            self.seen = read_count(counts, "seen")
            self.most_waiting = read_count(counts, "most_waiting")
            self.age = read_count(counts, "age")
        counts = {"labels_taken": 0, "labels_unmatched": 0, **state}
        self.taken = read_count(counts, "labels_taken")
        self.unmatched = read_count(counts, "labels_unmatched")
