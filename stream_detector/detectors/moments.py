"""Running mean and spread of one number, with a half-life."""

from __future__ import annotations

import math

from stream_detector.detectors.stored import LARGEST_COUNT, read_float
from stream_detector.errors import StateMismatchError
from stream_detector.events import Float64, State


def decay_of(rows: int, half_life: float) -> float:
    """Factor on everything counted before, once ``rows`` more events have been learnt."""
    return float(0.5 ** (rows / half_life))


class RunningMoments:
    """Mean and standard deviation of scores. State: three numbers.

    Chunks are merged as in Chan, Golub and LeVeque (1983), "Algorithms for computing the sample
    variance", eq. 2.1, older ones weighted down.
    """

    def __init__(self, half_life: float) -> None:
        self._half_life = half_life
        self._weight = 0.0
        self._mean = 0.0
        self._scatter = 0.0

    @property
    def mean(self) -> float:
        """0 before the first value."""
        return self._mean

    @property
    def deviation(self) -> float:
        """0 before the first value."""
        return math.sqrt(self._scatter / self._weight) if self._weight > 0 else 0.0

    def learn(self, values: Float64) -> None:
        """Take a chunk of finite values in."""
        count = len(values)
        if count == 0:
            return
        kept = decay_of(count, self._half_life)
        before = self._weight * kept
        mean = float(values.mean())
        difference = mean - self._mean
        self._weight = before + count
        self._mean += difference * count / self._weight
        self._scatter = (
            self._scatter * kept
            + float(((values - mean) ** 2).sum())
            + difference * difference * before * count / self._weight
        )

    def state(self) -> State:
        """The three numbers."""
        return {"weight": self._weight, "mean": self._mean, "scatter": self._scatter}

    def restore(self, state: State) -> None:
        """Take the numbers in. Raises ``StateMismatchError`` where one is missing."""
        weight = read_float(state, "weight", low=0.0, high=LARGEST_COUNT)
        mean = read_float(state, "mean")
        scatter = read_float(state, "scatter", low=0.0)
        if weight == 0 and (mean or scatter):
            raise StateMismatchError("state 'mean', 'scatter': they are of no values")
        self._weight, self._mean, self._scatter = weight, mean, scatter
