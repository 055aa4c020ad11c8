"""Fading means of the labels of late, as they stood when an event was scored."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_detector.detectors.stored import read_array, read_count
from stream_detector.events import Float64, Int64, State

HALF_LIVES = np.array([4.0, 32.0])
MEMORIES = len(HALF_LIVES)
LEAST, MOST = 0.02, 0.98
CALLS = 256
"""Chunks remembered, of 32 events at the least: labels older than that are not asked for."""


class LabelHistory:
    """What the last labels were, now and so many events ago.

    Attacks and failures come in runs, so the last labels say something of the next; but only as
    much as they said with the delay that labels have. So a row's memories are learnt as they stood
    when it was scored.

    State, of fixed size: the means, and those of the last calls with the events scored by then.
    """

    def __init__(self) -> None:
        self._means: Float64 = np.full(MEMORIES, 0.5)
        self._seen = 0
        self._calls = 0
        self._began: Int64 = np.zeros(CALLS, dtype=np.int64)
        self._held: Float64 = np.full((CALLS, MEMORIES), 0.5)

    @property
    def logits(self) -> Float64:
        """(memories,) as of now."""
        return _logits(self._means)

    def pass_by(self, rows: int) -> None:
        """So many events were scored with the memories as they are."""
        if not rows:
            return
        place = self._calls % CALLS
        self._began[place], self._held[place] = self._seen, self._means
        self._seen += rows
        self._calls += 1

    def logits_at(self, ages: Int64) -> Float64:
        """(rows, memories) as of so many events ago, or the oldest that are remembered."""
        if not self._calls:
            return np.tile(self.logits, (len(ages), 1))
        held = min(self._calls, CALLS)
        order = np.arange(self._calls - held, self._calls) % CALLS
        began = self._began[order]
        at = np.searchsorted(began, self._seen - ages, side="right") - 1
        return _logits(self._held[order[np.maximum(at, 0)]])

    def learn(self, positive: NDArray[np.bool_]) -> None:
        """Take labels in, the older ones first."""
        count = len(positive)
        steps = np.arange(count)[::-1, None]
        weights = (1.0 - 2.0 ** (-1.0 / HALF_LIVES)) * np.exp2(-steps / HALF_LIVES)
        faded = self._means * np.exp2(-count / HALF_LIVES)
        self._means = faded + (weights * positive[:, None]).sum(axis=0)

    def state(self) -> State:
        """Means and the last calls."""
        return {
            "means": self._means.copy(),
            "began": self._began.copy(),
            "held": self._held.copy(),
            "seen": self._seen,
            "calls": self._calls,
        }

    def restore(self, state: State) -> None:
        """Take the state in. Raises ``StateMismatchError`` where it does not fit."""
        self._means = read_array(state, "means", (MEMORIES,), low=0.0, high=1.0)
        self._began = read_array(state, "began", (CALLS,), np.int64, low=0)
        self._held = read_array(state, "held", (CALLS, MEMORIES), low=0.0, high=1.0)
        self._seen, self._calls = read_count(state, "seen"), read_count(state, "calls")


def _logits(means: Float64) -> Float64:
    p = np.clip(means, LEAST, MOST)
    logits: Float64 = np.log(p / (1.0 - p))
    return logits
