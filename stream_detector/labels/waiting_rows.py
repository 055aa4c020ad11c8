"""The store of events that wait for their labels, with whatever is wanted of them then."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_detector.config.models.config import LabelsConfig
from stream_detector.events import Float64, Int64, State
from stream_detector.labels.delay_queue import Columns, DelayQueue
from stream_detector.labels.gate import Gate
from stream_detector.labels.scored_events import ScoredEvents


class WaitingRows:
    """Chosen events of each chunk, until ``labels.delay`` has passed.

    State: the rows; at most ``labels.max_waiting``, the oldest leave first.
    """

    def __init__(
        self, labels: LabelsConfig, seed: int, columns: Mapping[str, tuple[type, int]]
    ) -> None:
        """Begin empty.

        Args:
            labels: the section.
            seed: of the choice by chance.
            columns: what is kept of each event: type and width (0: one number an event).
        """
        self._absent = 0.0 if labels.absent == "normal" else np.nan
        self._gate = Gate(labels.keep_first, labels.keep_top, labels.keep_random, seed)
        self._queue = DelayQueue(labels.delay, labels.max_waiting, columns)

    @property
    def waiting(self) -> int:
        """Rows that wait now."""
        return self._queue.waiting

    @property
    def dropped(self) -> int:
        """Rows that left before their label could come, because there were too many."""
        return self._queue.dropped

    def weigh(self, events: ScoredEvents) -> Float64:
        """Return how many events each event stands for; 0 where it need not wait."""
        return self._gate.weigh(events.scores, events.first)

    def add(self, events: ScoredEvents, weights: Float64, columns: Columns) -> None:
        """Let the events of a weight wait. ``columns``: a row for each event, waiting or not."""
        rows = np.flatnonzero(weights)
        chosen = {name: column[rows] for name, column in columns.items()}
        self._queue.add(events.times_ms[rows], events.ids[rows], events.labels[rows], chosen)

    def set_labels(self, ids: Int64, labels: Float64) -> NDArray[np.bool_]:
        """Labels of waiting rows, by identity; which of them found theirs."""
        return self._queue.set_labels(ids, labels)

    def mature(self, now_ms: int) -> dict[str, NDArray[Any]]:
        """Take out the rows whose delay is over at ``now_ms`` and whose label is known.

        Returns:
            The columns, with ``label`` (1 or 0), ``id`` and ``due`` beside; maybe without a row.
        """
        due = self._queue.mature(now_ms)
        if not len(due["label"]):
            return due
        labels = due["label"].astype(np.float64)
        labels[np.isnan(labels)] = self._absent
        known = np.flatnonzero(~np.isnan(labels))
        return {name: column[known] for name, column in {**due, "label": labels}.items()}

    def go_back(self, mark_ms: int) -> None:
        """The watermark was wrong and is ``mark_ms``."""
        self._queue.go_back(mark_ms)

    def state(self) -> State:
        """All rows."""
        return self._queue.state()

    def restore(self, state: State) -> None:
        """Take ``state`` in. Raises ``StateMismatchError`` where it does not fit."""
        self._queue.restore(state)
