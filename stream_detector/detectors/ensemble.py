"""Two members that count, two that know where the crowd lies, a network.

The default until 0.2, and there for states that it learnt.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from stream_detector.detectors.autoencoder import Autoencoder
from stream_detector.detectors.base import (
    BLOCK_ROWS,
    Detector,
    DetectorConfig,
    Rows,
)
from stream_detector.detectors.half_space_forest import HalfSpaceForest
from stream_detector.detectors.loda import Loda
from stream_detector.detectors.moments import RunningMoments
from stream_detector.detectors.nearest_neighbours import NearestNeighbours
from stream_detector.detectors.random_fourier import RandomFourier
from stream_detector.detectors.search_space import HALF_LIFE, REFUSED_SHARE, SearchSpace, one_of
from stream_detector.detectors.shares import distribute
from stream_detector.detectors.stored import read_branch, read_count
from stream_detector.detectors.trimming import Trimming
from stream_detector.events import Float64, State
from stream_detector.parameters import Events

LODA_WEIGHT = 2.0
"""Weight beside the forest's 1. Both are in nats, so they need no scale of their own."""

ISOLATION_WEIGHT = 1.0
"""Deviations of the rarity that one of the neighbours' distance from its mean adds or takes."""

SURPRISE_WEIGHT = 0.3
"""Deviations of the rarity that one deviation of a member's score above its mean adds."""


class EnsembleConfig(DetectorConfig):
    """Half-space forest, LODA, neighbours, Fourier features and autoencoder; the default before."""

    kind: Literal["ensemble"] = "ensemble"
    half_life: Events = Field(
        100_000, description="Events after which a count counts half, in the members."
    )
    autoencoder: bool = Field(True, description="Whether the autoencoder is a member.")
    neighbours: bool = Field(True, description="Whether the nearest neighbours are a member.")
    refuse_share: float = Field(
        0.05, ge=0, lt=0.5, description="Share of highest-scoring rows the autoencoder refuses."
    )

    def has_member(self, member: str) -> bool:
        """Tell whether the member is there: autoencoder and neighbours can be left out."""
        return bool(getattr(self, member, True))


class Ensemble(Detector):
    """Rarity by two counting members, and what three that know where the crowd lies add to it.

    Score: S + sd(S) (z(N) + 0.3 max(0, z(F)) + 0.3 max(0, z(A))), where S = forest + 2 LODA, N is
    the score of the nearest neighbours, F that of the random Fourier features, A that of the
    autoencoder, and z(X) = (X - mean(X)) / sd(X). Means and deviations are running ones, of the
    scores that the first 32 rows of each chunk had before the chunk was learnt.

    Of F and A only what lies above the mean counts: a small error says that the row lies where a
    smooth function of the crowd expects it, not that it is common, and excuses nothing. Counted
    both ways, the autoencoder costs three times as much ROC AUC at the same weight (.009 against
    .003 at 0.5, mean of twelve public streams), and the Fourier features .014 on NSL-KDD at 0.3.
    A row with many like it close by is common: N counts both ways (docs/quality.md).

    Fourier features learn the fifth of the rows with the highest S at a weight of .3
    (``Trimming``), so that the crowd's place is not where copies of an attack lie; the autoencoder
    refuses its own strangest rows. Forest, LODA and neighbours take every row: of what they do not
    know they cannot tell rare from never seen, and rare ordinary rows would fill the alerts
    (docs/decisions.md).

    State, of fixed size: that of the members, of the four running moments and of the trimming.
    """

    Config = EnsembleConfig
    search_space: ClassVar[SearchSpace] = {
        "half_life": HALF_LIFE,
        "autoencoder": one_of([True, False]),
        "neighbours": one_of([True, False]),
        "refuse_share": REFUSED_SHARE,
    }
    members: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "forest": ("forest", "rarity_moments", "trimming"),
        "loda": ("loda", "rarity_moments", "trimming"),
        "neighbours": ("neighbours", "nearness_moments"),
        "fourier": ("fourier", "distance_moments"),
        "autoencoder": ("autoencoder", "error_moments"),
    }
    """Each with the moments of its scores, which a fresh one's do not have."""

    def __init__(
        self,
        features: int,
        *,
        half_life: float = 100_000.0,
        autoencoder: bool = True,
        neighbours: bool = True,
        refuse_share: float = 0.05,
        seed: int = 0,
    ) -> None:
        super().__init__(features)
        self._forest = HalfSpaceForest(features, half_life=half_life, seed=seed)
        self._loda = Loda(features, half_life=half_life, seed=seed)
        self._neighbours = (
            NearestNeighbours(features, half_life=half_life, seed=seed) if neighbours else None
        )
        self._fourier = RandomFourier(features, half_life=half_life, seed=seed)
        self._autoencoder = (
            Autoencoder(features, refuse_share=refuse_share, seed=seed) if autoencoder else None
        )
        self._rarity_moments = RunningMoments(half_life)
        self._nearness_moments = RunningMoments(half_life)
        self._distance_moments = RunningMoments(half_life)
        self._error_moments = RunningMoments(half_life)
        self._trimming = Trimming()
        self._rows_learnt = 0

    @classmethod
    def check_parameters(cls, features: int, **parameters: Any) -> None:
        """``Config`` says it all, and building one imports scikit-learn, which takes a second."""

    def score(self, rows: Rows) -> Float64:
        """Rarity in nats and more, (events,) float64; 0 before anything was learnt."""
        scores = self._rarity(rows)
        if self._neighbours is not None:
            scores += self._isolation(self._neighbours.score(rows))
        scores += self._surprise(self._fourier.score(rows), self._distance_moments)
        if self._autoencoder is not None:
            scores += self._surprise(self._autoencoder.score(rows), self._error_moments)
        return scores

    def learn(self, rows: Rows, labels: Float64 | None = None) -> None:  # noqa: ARG002 - unsupervised
        """Let every member learn the chunk, and the moments its scores by the members before."""
        if len(rows) == 0:
            return
        # What the counting members look up for a row is what they then count it in.
        cells, bins = self._forest.place(rows), self._loda.place(rows)
        weights = None
        if self._rows_learnt > 0:
            rarity = self._forest.rarity_of(cells)
            rarity += LODA_WEIGHT * self._loda.rarity_of(bins)
            weights = self._trimming.weights(rarity)
            self._learn_moments(rows.take(slice(BLOCK_ROWS)), rarity[:BLOCK_ROWS])
        if self._autoencoder is not None:
            self._autoencoder.learn(rows)
        self._forest.count(cells)
        self._loda.count(bins)
        if self._neighbours is not None:
            self._neighbours.learn(rows)
        self._fourier.learn_weighted(rows, weights)
        self._rows_learnt += len(rows)

    def _learn_moments(self, sample: Rows, rarity: Float64) -> None:
        """A block of each chunk tells the spread as well as all of it, and costs an eighth."""
        count = len(sample)
        padded = sample.in_blocks()
        self._rarity_moments.learn(rarity)
        if self._neighbours is not None and self._neighbours.rows_learnt:
            self._nearness_moments.learn(self._neighbours.score(padded)[:count])
        self._distance_moments.learn(self._fourier.score(padded)[:count])
        if self._autoencoder is not None:
            self._error_moments.learn(self._autoencoder.score(padded)[:count])

    def contributions(self, rows: Rows) -> Float64:
        """Nats of forest and LODA, and each feature's part of what the other three add.

        Of random Fourier features the parts follow from replacing each feature by its mean: the
        one member that names two features whose relation is broken.
        """
        shares = self._forest.contributions(rows)
        shares += LODA_WEIGHT * self._loda.contributions(rows)
        if self._neighbours is not None:
            scores, parts = self._neighbours.explained(rows)
            distribute(np.maximum(self._isolation(scores), 0.0), parts, shares)
        scores, parts = self._fourier.falls(rows)
        distribute(self._surprise(scores, self._distance_moments), parts, shares)
        if self._autoencoder is not None:
            parts = self._autoencoder.contributions(rows)
            scores = self._autoencoder.score_of(parts)
            distribute(self._surprise(scores, self._error_moments), parts, shares)
        return shares

    def state(self) -> State:
        """The states of members and moments."""
        state = {
            "forest": self._forest.state(),
            "loda": self._loda.state(),
            "fourier": self._fourier.state(),
            "rarity_moments": self._rarity_moments.state(),
            "distance_moments": self._distance_moments.state(),
            "trimming": self._trimming.state(),
            "rows_learnt": self._rows_learnt,
        }
        if self._neighbours is not None:
            state["neighbours"] = self._neighbours.state()
            state["nearness_moments"] = self._nearness_moments.state()
        if self._autoencoder is not None:
            state["autoencoder"] = self._autoencoder.state()
            state["error_moments"] = self._error_moments.state()
        return state

    def restore(self, state: State) -> None:
        """Take the state in. Raises ``StateMismatchError`` where shapes do not fit."""
        self._forest.restore(read_branch(state, "forest"))
        self._loda.restore(read_branch(state, "loda"))
        self._fourier.restore(read_branch(state, "fourier"))
        self._rarity_moments.restore(read_branch(state, "rarity_moments"))
        self._distance_moments.restore(read_branch(state, "distance_moments"))
        # States of older versions have no such level: it is found from now on.
        if "trimming" in state:
            self._trimming.restore(read_branch(state, "trimming"))
        # Nor neighbours: they are met from now on.
        if self._neighbours is not None and "neighbours" in state:
            self._neighbours.restore(read_branch(state, "neighbours"))
            self._nearness_moments.restore(read_branch(state, "nearness_moments"))
        if self._autoencoder is not None:
            self._autoencoder.restore(read_branch(state, "autoencoder"))
            self._error_moments.restore(read_branch(state, "error_moments"))
        self._rows_learnt = read_count(state, "rows_learnt")

    def _rarity(self, rows: Rows) -> Float64:
        scores = self._forest.score(rows)
        scores += LODA_WEIGHT * self._loda.score(rows)
        return scores

    def _isolation(self, distances: Float64) -> Float64:
        """Return what the nearest neighbours' scores add, (events,), of either sign."""
        return self._added(ISOLATION_WEIGHT, distances, self._nearness_moments)

    def _surprise(self, scores: Float64, moments: RunningMoments) -> Float64:
        """Return what a member's scores add, (events,), at least 0."""
        return np.maximum(self._added(SURPRISE_WEIGHT, scores, moments), 0.0)

    def _added(self, weight: float, scores: Float64, moments: RunningMoments) -> Float64:
        """``weight`` sd(S) z(scores), (events,); 0 before the scores have a spread."""
        deviation = moments.deviation
        if deviation == 0:
            return np.zeros(len(scores))
        standardised = (scores - moments.mean) / deviation
        return weight * self._rarity_moments.deviation * standardised
