"""Feature rows that a classifier is to learn once their labels are known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_detector.config.models.config import LabelsConfig
from stream_detector.events import Float64, Int64, State
from stream_detector.labels.gate import Gate
from stream_detector.labels.waiting import DelayQueue


class WaitingRows:
    """Chosen rows of each chunk, until ``labels.delay`` has passed.

    State: the rows; at most ``labels.max_waiting``, the oldest leave first.
    """

    def __init__(self, labels: LabelsConfig, features: int, seed: int) -> None:
        self._features = features
        self._absent = 0.0 if labels.absent == "normal" else np.nan
        self._gate = Gate(labels.keep_first, labels.keep_top, labels.keep_random, seed)
        self._queue = DelayQueue(
            labels.delay, labels.max_waiting, {"features": (np.float64, features)}
        )
        self.seen = 0
        self.most_waiting = 0

    @property
    def waiting(self) -> int:
        """Rows that wait now."""
        return self._queue.waiting

    @property
    def dropped(self) -> int:
        """Rows that left before their label could come, because there were too many."""
        return self._queue.dropped

    def offer(
        self,
        times_ms: Int64,
        ids: Int64,
        features: Float64,
        labels: Float64,
        scores: Float64,
        sequence: int,
    ) -> None:
        """Let the chunk's most instructive rows wait.

        Args:
            times_ms: (events,) event times.
            ids: (events,) identities of the events.
            features: (events, features), finite.
            labels: (events,) 1, 0 or NaN, of which nothing is used before its time.
            scores: (events,) as given on arrival.
            sequence: number of the chunk's first event.
        """
        rows = self._gate.choose(scores, sequence)
        self._queue.add(times_ms[rows], ids[rows], labels[rows], {"features": features[rows]})
        self.seen += len(scores)
        self.most_waiting = max(self.most_waiting, self._queue.waiting)

    def set_labels(self, ids: Int64, labels: Float64) -> NDArray[np.bool_]:
        """Labels of waiting rows, by identity; which of them found theirs."""
        return self._queue.set_labels(ids, labels)

    def mature(self, now_ms: int) -> tuple[Float64, Float64, Int64]:
        """Take out the rows whose delay is over at ``now_ms`` and whose label is known.

        Returns:
            (rows, features), (rows,) labels and (rows,) ids; empty where there is none.
        """
        due = self._queue.mature(now_ms)
        labels = due["label"].astype(np.float64)
        labels[np.isnan(labels)] = self._absent
        known = ~np.isnan(labels)
        features: Float64 = due["features"].astype(np.float64)
        return features[known], labels[known], due["id"].astype(np.int64)[known]

    def go_back(self, mark_ms: int) -> None:
        """The watermark was wrong and is ``mark_ms``."""
        self._queue.go_back(mark_ms)

    def state(self) -> State:
        """The rows and the counters."""
        return {
            **self._queue.state(),
            "seen": self.seen,
            "most_waiting": self.most_waiting,
        }

    def restore(self, state: State) -> None:
        """Take ``state`` in. Raises ``StateMismatchError`` where it does not fit."""
        if "rows" in state:  # format 1
            nameless = np.zeros(len(state["due"]), dtype=np.int64)
            state = {**state, "id": nameless, "label": state["labels"], "features": state["rows"]}
        self._queue.restore(state)
        self.seen = int(state.get("seen", 0))
        self.most_waiting = int(state.get("most_waiting", self._queue.waiting))
