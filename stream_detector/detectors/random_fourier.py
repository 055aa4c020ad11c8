"""Mahalanobis distance of random Fourier features, with a ridge."""

from __future__ import annotations

import functools
import math
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from stream_detector.detectors.base import (
    BLOCK_ROWS,
    Detector,
    DetectorConfig,
    Rows,
    blocked_matmul,
    clipped,
    whole_blocks,
)
from stream_detector.detectors.draws import frozen_stream
from stream_detector.detectors.moments import decay_of
from stream_detector.detectors.search_space import (
    HALF_LIFE,
    INPUT_CLIP,
    SearchSpace,
    log_uniform,
    one_of,
)
from stream_detector.detectors.stored import LARGEST_COUNT, read_array, read_float
from stream_detector.errors import StateMismatchError
from stream_detector.events import Float32, Float64, State
from stream_detector.parameters import Clip, Events

SMALLEST_RIDGE = 1e-9
"""Keeps the covariance of constant data invertible. The features are cosines, so variances are
of the order of 1 unless the data stand still."""

SMALLEST_DISTANCE = 1e-12
"""Keeps the logarithm finite for a row that is the mean itself."""


@functools.cache
def _lapack() -> tuple[Any, Any]:
    """LAPACK's Cholesky factor of a matrix, and the inverse made of it."""
    from scipy.linalg import get_lapack_funcs  # half a second, for those who score

    potrf, potri = get_lapack_funcs(("potrf", "potri"), dtype=np.float64)
    return potrf, potri


class RandomFourierConfig(DetectorConfig):
    """Mahalanobis distance of random Fourier features, with a ridge."""

    kind: Literal["random_fourier"] = "random_fourier"
    components: int = Field(100, ge=1, le=2000, description="Number of random features.")
    half_life: Events = Field(100_000, description="Events after which a moment counts half.")
    ridge: float = Field(0.1, gt=0, le=1e12, description="Ridge, as a share of the mean variance.")
    clip: Clip = Field(10.0, description="Standardised inputs are clipped at ± this.")


class RandomFourier(Detector):
    """Log of the squared Mahalanobis distance in a random feature space.

    The features cos(R'z + b) approximate a Gaussian kernel of width sqrt(d) (Rahimi and Recht
    2007, "Random features for large-scale kernel machines", algorithm 1).

    Score: ln((f - m)' (C + ridge tr(C)/components I)^-1 (f - m)).

    State, of fixed size: ``weight``, ``mean`` (components,), ``scatter`` (components, components).
    """

    Config = RandomFourierConfig
    search_space: ClassVar[SearchSpace] = {
        "components": one_of([50, 100, 200, 400]),
        "half_life": HALF_LIFE,
        "ridge": log_uniform(1e-3, 1.0),
        "clip": INPUT_CLIP,
    }

    def __init__(
        self,
        features: int,
        *,
        components: int = 100,
        half_life: float = 100_000.0,
        ridge: float = 0.1,
        clip: float = 10.0,
        seed: int = 0,
    ) -> None:
        super().__init__(features)
        self._half_life = half_life
        self._ridge = ridge
        self._clip = clip
        random = frozen_stream(seed, "random_fourier")
        self._frequencies = random.standard_normal((features, components)) / math.sqrt(features)
        self._phases = random.uniform(0, 2 * math.pi, size=components)
        self._weight = 0.0
        self._mean: Float64 = np.zeros(components)
        self._scatter: Float64 = np.zeros((components, components))
        self._precision: Float32 | None = None  # made of the moments when first needed

    def score(self, rows: Rows) -> Float64:
        """Log of the squared distance, (events,) float64; 0 before anything was learnt."""
        if self._weight == 0:
            return np.zeros(len(rows))
        # In single precision, which takes half the time: the ridge keeps the inverse well
        # conditioned, and the logarithm of the distance is a rank among others.
        offset = self._cosines(rows.standardised)
        offset -= self._mean.astype(np.float32)
        weighted = blocked_matmul(offset, self._inverse())
        weighted *= offset
        distance = np.maximum(weighted.sum(axis=1, dtype=np.float64), SMALLEST_DISTANCE)
        score: Float64 = np.log(distance, out=distance)
        return score

    def learn(self, rows: Rows, labels: Float64 | None = None) -> None:  # noqa: ARG002 - unsupervised
        """Take every row into mean and covariance."""
        if len(rows):
            self.learn_weighted(rows, None)

    def learn_weighted(self, rows: Rows, weights: Float64 | None) -> None:
        """Take rows, at least one, into mean and covariance.

        Args:
            rows: the rows.
            weights: (events,) above 0, what each row counts; None: 1.
        """
        events = len(rows)
        cosines = self._cosines(whole_blocks(rows.standardised))[:events]
        count = float(events)
        if weights is None:
            mean = cosines.mean(axis=0, dtype=np.float64)
            cosines -= mean.astype(np.float32)
        else:
            count = float(weights.sum())
            mean = weights @ cosines / count
            cosines -= mean.astype(np.float32)
            # By the root, since the product below has each row twice.
            cosines *= np.sqrt(weights).astype(np.float32)[:, None]
        kept = decay_of(events, self._half_life)
        before = self._weight * kept
        difference = mean - self._mean
        self._weight = before + count
        self._mean += difference * (count / self._weight)
        self._scatter *= kept
        self._scatter += cosines.T @ cosines
        self._scatter += np.outer(difference, difference * (before * count / self._weight))
        self._precision = None

    def falls(self, rows: Rows) -> tuple[Float64, Float64]:
        """Return scores and their falls with each feature in turn at its mean, (events, features).

        Occlusion by single features, for a detector that this is a part of; rows of zeros, which
        fill a block up, get zeros for both.
        """
        width = rows.standardised.shape[1]
        falls, own = np.zeros((len(rows), width)), np.zeros(len(rows))
        for place in np.flatnonzero(rows.standardised.any(axis=1)).tolist():
            variants = np.zeros((-(-(width + 1) // BLOCK_ROWS) * BLOCK_ROWS, width))
            variants[: width + 1] = rows.standardised[place]
            variants[np.arange(1, width + 1), np.arange(width)] = 0.0
            scores = self.score(Rows(variants, variants))
            own[place] = scores[0]
            falls[place] = np.maximum(scores[0] - scores[1 : width + 1], 0.0)
        return own, falls

    def state(self) -> State:
        """Weight, mean and scatter of the features."""
        return {
            "weight": self._weight,
            "mean": self._mean.copy(),
            "scatter": self._scatter.copy(),
        }

    def restore(self, state: State) -> None:
        """Take the state in. Raises ``StateMismatchError`` where shapes do not fit."""
        weight = read_float(state, "weight", low=0.0, high=LARGEST_COUNT)
        # Cosines lie within ±1, and so does what is made of them, but for rounding.
        mean = read_array(state, "mean", self._mean.shape, low=-1.001, high=1.001)
        most = 1.001 * weight + 1.0
        scatter = read_array(state, "scatter", self._scatter.shape, low=-most, high=most)
        symmetric = np.allclose(scatter, scatter.T, rtol=1e-3, atol=1e-3 * most)
        if not symmetric or scatter.diagonal().min() < 0:
            raise StateMismatchError("state 'scatter': it is no scatter of anything")
        self._weight, self._mean = weight, mean
        self._scatter, self._precision = scatter, None

    def _cosines(self, standardised: Float64) -> Float32:
        """(events, components); a fresh array."""
        angles = blocked_matmul(clipped(standardised, self._clip), self._frequencies)
        angles += self._phases
        # Single precision is ten times as fast here, and its 1e-7 is nothing beside the ridge.
        cosines: Float32 = np.cos(angles.astype(np.float32))
        return cosines

    def _inverse(self) -> Float32:
        """Inverse of the covariance with its ridge, (components, components)."""
        if self._precision is None:
            covariance = self._scatter / self._weight
            ridge = self._ridge * float(np.trace(covariance)) / len(covariance)
            covariance[np.diag_indices_from(covariance)] += max(ridge, SMALLEST_RIDGE)
            # Half the time of a general inverse; only the lower triangle is written.
            potrf, potri = _lapack()
            factor, failed = potrf(covariance, lower=1)
            if failed:
                raise np.linalg.LinAlgError("covariance of the random features is not positive")
            lower, _ = potri(factor, lower=1)
            lower = np.tril(lower)
            whole = lower + np.tril(lower, -1).T
            self._precision = whole.astype(np.float32)
        return self._precision
