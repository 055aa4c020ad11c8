"""Labels that come late: feature rows wait until their label may be known."""

from __future__ import annotations

import numpy as np

from stream_detector.events import Float64, Int64, State


class PendingLabels:
    """Rows whose label is not known yet, in event order.

    State: features, label and due time of each row. Bounded by ``max_waiting``; the oldest rows
    are dropped first and counted in ``dropped``.
    """

    def __init__(self, features: int, delay_seconds: float, max_waiting: int) -> None:
        self._features = features
        self._delay_ms = int(delay_seconds * 1000)
        self._max_waiting = max_waiting
        self._rows: list[tuple[Int64, Float64, Float64]] = []
        self.waiting = 0
        self.dropped = 0

    def add(self, times_ms: Int64, features: Float64, labels: Float64) -> None:
        """Let rows wait; those without a label (NaN) never get one and are left out.

        Args:
            times_ms: (events,) event times.
            features: (events, features), finite.
            labels: (events,) 1, 0 or NaN.
        """
        known = np.flatnonzero(~np.isnan(labels))
        if not len(known):
            return
        self._rows.append((times_ms[known] + self._delay_ms, features[known], labels[known]))
        self.waiting += len(known)
        while self.waiting > self._max_waiting:
            due, rows, values = self._rows.pop(0)
            excess = min(self.waiting - self._max_waiting, len(due))
            self.waiting -= excess
            self.dropped += excess
            if excess < len(due):
                self._rows.insert(0, (due[excess:], rows[excess:], values[excess:]))

    def mature(self, now_ms: int) -> tuple[Float64, Float64]:
        """Take out the rows, oldest first, whose label is known at ``now_ms`` of event time.

        Returns:
            (rows, features) and (rows,) labels; empty where none is due.
        """
        features: list[Float64] = [np.empty((0, self._features))]
        labels: list[Float64] = [np.empty(0)]
        while self._rows:
            due, rows, values = self._rows[0]
            # In event order, not in order of due time: a late event waits for its elders.
            held = np.flatnonzero(due > now_ms)
            count = int(held[0]) if len(held) else len(due)
            features.append(rows[:count])
            labels.append(values[:count])
            self.waiting -= count
            if count < len(due):
                self._rows[0] = (due[count:], rows[count:], values[count:])
                break
            self._rows.pop(0)
        return np.concatenate(features), np.concatenate(labels)

    def state(self) -> State:
        """All waiting rows as one block."""
        return {
            "due": np.concatenate([due for due, _, _ in self._rows] or [np.empty(0, np.int64)]),
            "rows": np.concatenate(
                [rows for _, rows, _ in self._rows] or [np.empty((0, self._features))]
            ),
            "labels": np.concatenate([v for _, _, v in self._rows] or [np.empty(0)]),
            "dropped": self.dropped,
        }

    def restore(self, state: State) -> None:
        """Take ``state`` in."""
        due = np.array(state["due"], dtype=np.int64)
        rows, labels = np.array(state["rows"]), np.array(state["labels"])
        self._rows = [(due, rows, labels)] if len(due) else []
        self.waiting, self.dropped = len(due), int(state["dropped"])
