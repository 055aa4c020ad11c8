"""The default detector: forest, LODA, random Fourier features and an autoencoder, summed."""

from __future__ import annotations

import numpy as np

from stream_detector.detectors.autoencoder import Autoencoder
from stream_detector.detectors.base import BLOCK_ROWS, Rows, whole_blocks
from stream_detector.detectors.half_space_forest import HalfSpaceForest
from stream_detector.detectors.loda import Loda
from stream_detector.detectors.moments import RunningMoments
from stream_detector.detectors.random_fourier import RandomFourier
from stream_detector.detectors.stored import read_branch, read_count
from stream_detector.events import Float64, State

LODA_WEIGHT = 2.0
FOURIER_WEIGHT = 0.5
"""Weights beside the forest's 1. All three are in nats, so they need no scale of their own."""

AUTOENCODER_WEIGHT = 0.3
"""Deviations of the sum that one deviation of the autoencoder's score above its mean adds."""


class Ensemble:
    """Rarity by three counting members, and the autoencoder's surprise on top.

    Score: S + 0.3 sd(S) max(0, (A - mean(A)) / sd(A)), where S = forest + 2 LODA + 0.5 Fourier and
    A is the autoencoder's score. Means and deviations are running ones, of the scores that the
    first 32 rows of each chunk had before the chunk was learnt.

    Only an error above the mean counts: a small one says that the row can be put together from a
    bottleneck, not that it is common, and excuses nothing. Counted both ways it costs three times
    as much ROC AUC at the same weight (.009 against .003 at 0.5, mean of twelve public streams).

    State, of fixed size: that of the members and of the two running moments.
    """

    block_rows = BLOCK_ROWS

    def __init__(
        self,
        features: int,
        *,
        half_life: float = 100_000.0,
        autoencoder: bool = True,
        refuse_share: float = 0.05,
        seed: int = 0,
    ) -> None:
        self._forest = HalfSpaceForest(features, half_life=half_life, seed=seed)
        self._loda = Loda(features, half_life=half_life, seed=seed)
        self._fourier = RandomFourier(features, half_life=half_life, seed=seed)
        self._autoencoder = (
            Autoencoder(features, refuse_share=refuse_share, seed=seed) if autoencoder else None
        )
        self._rarity_moments = RunningMoments(half_life)
        self._error_moments = RunningMoments(half_life)
        self._rows_learnt = 0

    def score(self, rows: Rows) -> Float64:
        """Rarity in nats and more, (events,) float64; 0 before anything was learnt."""
        scores = self._rarity(rows)
        if self._autoencoder is not None:
            scores += self._surprise(self._autoencoder.score(rows))
        return scores

    def learn(self, rows: Rows, labels: Float64 | None = None) -> None:  # noqa: ARG002 - unsupervised
        """Let every member learn the chunk, and the moments its scores by the members before."""
        if len(rows) == 0:
            return
        if self._autoencoder is not None:
            if self._rows_learnt > 0:
                # A block of each chunk tells the spread as well as all of it, and costs an eighth.
                sample = rows.take(slice(BLOCK_ROWS))
                padded = Rows(whole_blocks(sample.features), whole_blocks(sample.standardised))
                self._rarity_moments.learn(self._rarity(padded)[: len(sample)])
                self._error_moments.learn(self._autoencoder.score(padded)[: len(sample)])
            self._autoencoder.learn(rows)
        self._forest.learn(rows)
        self._loda.learn(rows)
        self._fourier.learn(rows)
        self._rows_learnt += len(rows)

    def contributions(self, rows: Rows) -> Float64:
        """Nats of forest and LODA, and each feature's part of the autoencoder's surprise."""
        shares = self._forest.contributions(rows)
        shares += LODA_WEIGHT * self._loda.contributions(rows)
        if self._autoencoder is not None:
            surprise = self._surprise(self._autoencoder.score(rows))
            errors = self._autoencoder.contributions(rows)
            total = np.maximum(errors.sum(axis=1), np.finfo(float).tiny)
            shares += errors * (surprise / total)[:, None]
        return shares

    def state(self) -> State:
        """The states of members and moments."""
        state = {
            "forest": self._forest.state(),
            "loda": self._loda.state(),
            "fourier": self._fourier.state(),
            "rows_learnt": self._rows_learnt,
        }
        if self._autoencoder is not None:
            state["autoencoder"] = self._autoencoder.state()
            state["rarity_moments"] = self._rarity_moments.state()
            state["error_moments"] = self._error_moments.state()
        return state

    def restore(self, state: State) -> None:
        """Take the state in. Raises ``StateMismatchError`` where shapes do not fit."""
        self._forest.restore(read_branch(state, "forest"))
        self._loda.restore(read_branch(state, "loda"))
        self._fourier.restore(read_branch(state, "fourier"))
        if self._autoencoder is not None:
            self._autoencoder.restore(read_branch(state, "autoencoder"))
            self._rarity_moments.restore(read_branch(state, "rarity_moments"))
            self._error_moments.restore(read_branch(state, "error_moments"))
        self._rows_learnt = read_count(state, "rows_learnt")

    def _rarity(self, rows: Rows) -> Float64:
        scores = self._forest.score(rows)
        scores += LODA_WEIGHT * self._loda.score(rows)
        scores += FOURIER_WEIGHT * self._fourier.score(rows)
        return scores

    def _surprise(self, errors: Float64) -> Float64:
        """What the autoencoder's scores add, (events,) at least 0; 0 before they have a spread."""
        deviation = self._error_moments.deviation
        if deviation == 0:
            return np.zeros(len(errors))
        standardised = np.maximum((errors - self._error_moments.mean) / deviation, 0.0)
        return AUTOENCODER_WEIGHT * self._rarity_moments.deviation * standardised
