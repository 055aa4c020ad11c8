"""The nearest of the last labelled rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_detector.detectors.base import BLOCK_ROWS, blocked_matmul
from stream_detector.detectors.stored import read_array, read_count
from stream_detector.events import Float64, State

ROWS, NEAREST = 500, 5
SOFTENING = 0.05
LEAST_PROBABILITY = 1e-3


class LabelledNeighbours:
    """Share of positives among the five nearest of the last 500 labelled rows.

    Votes fall with the squared distance (Dudani 1976, "The distance-weighted k-nearest-neighbor
    rule"). Inputs are sign(z) log(1 + |z|): what is far off must not be all that counts.

    State, of fixed size: the rows and their labels.
    """

    def __init__(self, features: int) -> None:
        self._rows: Float64 = np.zeros((ROWS, features))
        self._positive: Float64 = np.zeros(ROWS)
        self._added = 0
        self._product: Float64 | None = None

    @property
    def fitted(self) -> bool:
        """Tell whether there are as many rows as are asked."""
        return self._added >= NEAREST

    def learn(self, inputs: Float64, positive: NDArray[np.bool_]) -> None:
        """Take rows in, (rows, features) clipped and standardised; the oldest leave."""
        inputs, positive = inputs[-ROWS:], positive[-ROWS:]
        places = np.arange(self._added, self._added + len(inputs)) % ROWS
        self._rows[places] = _compressed(inputs)
        self._positive[places] = positive
        self._added += len(inputs)
        self._product = None

    def logits(self, inputs: Float64) -> Float64:
        """(rows,) log odds of a positive; ``inputs`` in whole blocks."""
        held = min(self._added, ROWS)
        if not self.fitted:
            return np.zeros(len(inputs))
        if self._product is None:
            rows = np.zeros_like(self._rows)
            rows[:held] = self._rows[:held]
            lengths = (rows * rows).sum(axis=1)
            lengths[held:] = 1e30
            self._product = np.ascontiguousarray(np.vstack([-2.0 * rows.T, lengths]))
        values = _compressed(inputs)
        ones = np.ones((len(values), 1))
        squares = blocked_matmul(np.hstack([values, ones]), self._product)
        nearest = np.argpartition(squares, NEAREST - 1, axis=1)[:, :NEAREST]
        nearest.sort(axis=1)
        own = (values * values).sum(axis=1)
        distances = np.maximum(np.take_along_axis(squares, nearest, axis=1) + own[:, None], 0.0)
        votes = 1.0 / (distances + SOFTENING)
        p = ((votes * self._positive[nearest]).sum(axis=1) + 0.02) / (votes.sum(axis=1) + 0.04)
        p = np.clip(p, LEAST_PROBABILITY, 1.0 - LEAST_PROBABILITY)
        logits: Float64 = np.log(p / (1.0 - p))
        return logits

    def state(self) -> State:
        """The rows held."""
        return {
            "rows": self._rows.copy(),
            "positive": self._positive.copy(),
            "added": self._added,
        }

    def restore(self, state: State, limit: float) -> None:
        """Take the state in; inputs are clipped at ± ``limit``. Raises ``StateMismatchError``."""
        most = 1.001 * float(np.log1p(limit))
        rows = read_array(state, "rows", self._rows.shape, low=-most, high=most)
        positive = read_array(state, "positive", (ROWS,), low=0.0, high=1.0)
        self._added = read_count(state, "added")
        self._rows, self._positive, self._product = rows, positive, None


def _compressed(inputs: Float64) -> Float64:
    values: Float64 = np.sign(inputs) * np.log1p(np.abs(inputs))
    return np.ascontiguousarray(values)


assert BLOCK_ROWS > NEAREST
