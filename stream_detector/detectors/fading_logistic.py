"""Logistic regression that forgets: of features, or of what other models say."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_detector.detectors.stored import read_array
from stream_detector.events import Float64, State

PART_ROWS = 256
LEAST_CURVATURE = 0.02


class FadingLogistic:
    """Newton steps on the log loss of labelled rows, older ones fading.

    Online Newton step with forgetting (Hazan, Agarwal and Kale 2007, "Logarithmic regret
    algorithms for online convex optimization", in the form of a Kalman filter): for each part of at
    most ``PART_ROWS`` rows A fades by 2^(-rows / half-life) and grows by X'WX, and the weights take
    one step of (A + ridge I)^-1 against the gradient of the part and of the pull to where they
    began.

    State, of fixed size: weights and the matrix A.
    """

    def __init__(self, start: Float64, half_life: float, ridge: float) -> None:
        """``start``: (inputs,) weights at first, which they are drawn back to."""
        self._start = start.copy()
        self.weights: Float64 = start.copy()
        self._curvature: Float64 = np.zeros((len(start), len(start)))
        self._half_life, self._ridge = half_life, ridge

    def learn(self, inputs: Float64, positive: NDArray[np.bool_]) -> None:
        """Take labelled rows in, (rows, inputs), the older ones first."""
        for begin in range(0, len(inputs), PART_ROWS):
            self._step(inputs[begin : begin + PART_ROWS], positive[begin : begin + PART_ROWS])

    def _step(self, x: Float64, positive: NDArray[np.bool_]) -> None:
        p = 1.0 / (1.0 + np.exp(-np.clip((x * self.weights).sum(axis=1), -30.0, 30.0)))
        rows = len(x)
        self._curvature *= 2.0 ** (-rows / self._half_life)
        weighed = x * np.maximum(p * (1.0 - p), LEAST_CURVATURE)[:, None]
        self._curvature += x.T @ weighed
        gradient = x.T @ (p - positive)
        pull = self._ridge * (self.weights - self._start) * min(1.0, rows / self._half_life)
        matrix = self._curvature + self._ridge * np.eye(len(self.weights))
        self.weights = self.weights - np.linalg.solve(matrix, gradient + pull)

    def logits(self, inputs: Float64) -> Float64:
        """(rows,) log odds; sums in one order, so its bits do not depend on the rows beside it."""
        logits: Float64 = (inputs * self.weights).sum(axis=1)
        return logits

    def state(self) -> State:
        """Weights and curvature."""
        return {"weights": self.weights.copy(), "curvature": self._curvature.copy()}

    def restore(self, state: State) -> None:
        """Take the state in. Raises ``StateMismatchError`` where it does not fit."""
        size = len(self._start)
        self.weights = read_array(state, "weights", (size,), low=-1e12, high=1e12)
        self._curvature = read_array(state, "curvature", (size, size), low=-1e15, high=1e15)
