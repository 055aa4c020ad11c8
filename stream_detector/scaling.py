"""Running mean, deviation and range of every feature."""

from __future__ import annotations

import numpy as np

from stream_detector.detectors.stored import LARGEST_COUNT, read_array
from stream_detector.errors import StateMismatchError
from stream_detector.events import Float64, State

LARGEST = 1e100
"""Numbers are clipped at ± this before learning: their squares must stay finite."""

LARGEST_STANDARDISED = 1e6
"""Standardised numbers are clipped at ± this; detectors clip closer."""

LEAST_RELATIVE_DEVIATION = 1e-11
"""A deviation counts as at least this share of the mean's size. It lies above what rounding leaves
of a constant (about 1e-16) and below any real spread, so a feature that was always the same and
suddenly is not goes to the bound, and a constant with its last bit off stays near 0."""

_LEAST_COUNT = 1e-200


class RunningScaler:
    """Moments of a stream by the pairwise update of Chan, Golub and LeVeque (1979, eq. 1.5).

    Learns whole chunks; between them ``impute`` and ``standardise`` are pure and elementwise, so
    the bits of a row do not depend on the rows beside it.

    State: five numbers a feature, listed below; nothing grows.

    Attributes:
        count: (features,) how many values were learnt, fading with ``half_life``.
        mean: (features,), 0 before anything was learnt.
        deviation: (features,) standard deviation (of the population), 0 before.
        low: (features,) least value ever, 0 before. It never fades.
        high: (features,) largest value ever, 0 before. It never fades.
    """

    def __init__(self, features: int, half_life: float | None = None) -> None:
        """``half_life``: events after which a value counts half; None: all count for ever."""
        self._half_life = half_life
        self.count: Float64 = np.zeros(features)
        self.mean: Float64 = np.zeros(features)
        self.low: Float64 = np.zeros(features)
        self.high: Float64 = np.zeros(features)
        self._variance: Float64 = np.zeros(features)
        self._derive()

    def _derive(self) -> None:
        self.deviation: Float64 = np.sqrt(self._variance)
        least = np.maximum(np.abs(self.mean) * LEAST_RELATIVE_DEVIATION, np.finfo(np.float64).tiny)
        # Over infinity, whatever comes before the first value is 0.
        self._scale: Float64 = np.where(self.count > 0, np.maximum(self.deviation, least), np.inf)

    def impute(self, X: Float64) -> Float64:  # noqa: N803 - the field's name for such a matrix
        """``X`` with the running mean where it is NaN; ``X`` itself if nothing is missing.

        Args:
            X: (events, features) float64.
        """
        missing = np.isnan(X)
        return np.where(missing, self.mean, X) if missing.any() else X

    def standardise(self, X: Float64) -> Float64:  # noqa: N803 - the field's name
        """(X - mean) / deviation, within ±1e6; 0 for a feature that nothing is known of.

        Args:
            X: (events, features) float64, finite.
        """
        # A constant 0 has the least float for its deviation: whatever differs goes to the bound.
        with np.errstate(over="ignore"):
            standardised = (X - self.mean) / self._scale
        return np.clip(standardised, -LARGEST_STANDARDISED, LARGEST_STANDARDISED)

    def learn(self, X: Float64) -> None:  # noqa: N803 - the field's name
        """Learn a whole chunk; NaN entries are skipped, feature by feature.

        Args:
            X: (events, features) float64, finite or NaN, at least one event.

        Raises:
            ValueError: the number of features is another.
        """
        if X.ndim != 2 or X.shape[1] != len(self.mean):  # noqa: PLR2004 - rows and columns
            raise ValueError(f"expected (events, {len(self.mean)}), got {X.shape}")
        if len(X) == 0:
            return
        clipped = np.clip(np.ascontiguousarray(X), -LARGEST, LARGEST)
        present = ~np.isnan(clipped)
        number = present.sum(axis=0).astype(np.float64)
        divisor = np.maximum(number, 1.0)
        mean = np.where(present, clipped, 0.0).sum(axis=0) / divisor
        centred = np.where(present, clipped - mean, 0.0)
        variance = (centred * centred).sum(axis=0) / divisor
        low = np.where(present, clipped, np.inf).min(axis=0)
        high = np.where(present, clipped, -np.inf).max(axis=0)
        self._learn_range(low, high, number)
        self._merge(number, mean, variance, len(X))
        self._derive()

    def forget(self, kept: int) -> None:
        """Let what was learnt weigh no more than ``kept`` events, so that new ones tell.

        Mean and deviation stay until they come; the range stays for good.
        """
        self.count = np.minimum(self.count, max(float(kept), _LEAST_COUNT))

    def _learn_range(self, low: Float64, high: Float64, number: Float64) -> None:
        known = self.count > 0
        self.low = np.where(known, np.minimum(self.low, low), np.where(number > 0, low, 0.0))
        self.high = np.where(known, np.maximum(self.high, high), np.where(number > 0, high, 0.0))

    def _merge(self, number: Float64, mean: Float64, variance: Float64, events: int) -> None:
        """Merge a chunk's moments. Variances instead of sums of squares: fading leaves them be."""
        count = self.count
        if self._half_life is not None:
            # A feature that stays away for long keeps what is known of it.
            faded = count * 0.5 ** (events / self._half_life)
            count = np.where(count > 0, np.maximum(faded, _LEAST_COUNT), 0.0)
        total = count + number
        share = number / np.where(total > 0, total, 1.0)
        delta = mean - self.mean
        self.mean = self.mean + delta * share
        self._variance = (
            self._variance
            + (variance - self._variance) * share
            + delta * delta * share * (1 - share)
        )
        self.count = total

    def state(self) -> State:
        """The five arrays."""
        return {
            "count": self.count.copy(),
            "mean": self.mean.copy(),
            "variance": self._variance.copy(),
            "low": self.low.copy(),
            "high": self.high.copy(),
        }

    def restore(self, state: State) -> None:
        """Take the state in.

        Raises:
            StateMismatchError: it is of another number of features, or moments of no numbers.
        """
        shape = self.mean.shape
        count = read_array(state, "count", shape, low=0.0, high=LARGEST_COUNT)
        mean, low, high = (
            read_array(state, name, shape, low=-LARGEST, high=LARGEST)
            for name in ("mean", "low", "high")
        )
        variance = read_array(state, "variance", shape, low=0.0)
        # Within its range, and no further spread than over its ends (Popoviciu 1935); but for
        # rounding, which a mean of equal numbers has too.
        rounding = 1e-9 * np.maximum(np.abs(low), np.abs(high))
        reach = (high - low) / 2 + rounding
        inside = (low - rounding <= mean) & (mean <= high + rounding)
        if not (inside & (low <= high) & (variance <= 1.001 * reach * reach)).all():
            raise StateMismatchError("mean, deviation and range of a feature contradict each other")
        self.count, self.mean, self._variance = count, mean, variance
        self.low, self.high = low, high
        self._derive()
