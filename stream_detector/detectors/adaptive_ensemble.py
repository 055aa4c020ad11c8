"""The default: forest, LODA and neighbours, by whether anomalies come alone or in crowds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from stream_detector.detectors.base import BLOCK_ROWS, Detector, DetectorConfig, Rows
from stream_detector.detectors.half_space_forest import HalfSpaceForest
from stream_detector.detectors.loda import Loda
from stream_detector.detectors.moments import RunningMoments
from stream_detector.detectors.nearest_neighbours import NearestNeighbours
from stream_detector.detectors.search_space import HALF_LIFE, SearchSpace
from stream_detector.detectors.shares import distribute
from stream_detector.detectors.stored import read_branch
from stream_detector.events import Float64, State
from stream_detector.parameters import Events

NEARNESS_WEIGHT = 5.0
"""Of the neighbours' logarithm of a distance beside the nats of the forest, where anomalies come
alone."""

LEAST_ALONE = 0.05
"""Share of that weight which is left where they come in crowds."""

LODA_WEIGHTS = 1.0, 2.0
"""Of LODA beside the forest's 1 where anomalies come alone, and in crowds."""

NARROW_SPREAD = 0.36
"""Deviation of the neighbours' score up to which anomalies come alone. It is wide where most rows
have near copies and others none: traffic in which what is strange has copies, too."""

SPREAD_AFTER_ROWS = 256
"""Rows before which the spread is not looked at: first distances are to next to nothing."""


class AdaptiveEnsembleConfig(DetectorConfig):
    """The default: half-space forest, LODA and nearest neighbours, weighted as the stream asks."""

    kind: Literal["adaptive_ensemble"] = "adaptive_ensemble"
    half_life: Events = Field(
        100_000, description="Events after which a count counts half, in the members."
    )


class AdaptiveEnsemble(Detector):
    """Rarity by two counting members, and nearness of like rows as far as it says anything.

    Score: forest + (2 - a) LODA + 5 max(a, 0.05) N, all logarithms, where N is the score of the
    nearest neighbours at two scales and a = min(1, (0.36 / sd(N))^3). The deviation is a running
    one, of the scores that the first 32 rows of each chunk had before it was learnt.

    Where anomalies come alone, distance finds them best. But where most rows have near copies and
    others none, N spreads over many nats and would rule the sum; those are the streams in which
    anomalies come in crowds too (floods, scans), and one in a crowd is near another. So a is 1
    where N is narrow, and falls as it spreads (docs/decisions.md).

    State, of fixed size: that of the members and of the running moments.
    """

    Config = AdaptiveEnsembleConfig
    search_space: ClassVar[SearchSpace] = {"half_life": HALF_LIFE}
    members: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "forest": ("forest",),
        "loda": ("loda",),
        "neighbours": ("neighbours", "spread_moments"),
    }

    def __init__(self, features: int, *, half_life: float = 100_000.0, seed: int = 0) -> None:
        super().__init__(features)
        self._forest = HalfSpaceForest(features, half_life=half_life, seed=seed)
        self._loda = Loda(features, half_life=half_life, seed=seed)
        self._neighbours = NearestNeighbours(features, half_life=half_life, seed=seed)
        self._spread_moments = RunningMoments(half_life)

    @classmethod
    def check_parameters(cls, features: int, **parameters: Any) -> None:
        """``Config`` says it all."""

    def weights(self) -> Mapping[str, float]:
        """Of the members' scores; those for anomalies alone until a spread is known."""
        deviation = self._spread_moments.deviation
        alone = 1.0 if deviation <= NARROW_SPREAD else (NARROW_SPREAD / deviation) ** 3
        low, high = LODA_WEIGHTS
        return {
            "forest": 1.0,
            "loda": high - (high - low) * alone,
            "neighbours": NEARNESS_WEIGHT * max(alone, LEAST_ALONE),
        }

    def score(self, rows: Rows) -> Float64:
        """Rarity in nats and more, (events,) float64; 0 before anything was learnt."""
        weights = self.weights()
        scores = self._forest.score(rows)
        scores += weights["loda"] * self._loda.score(rows)
        scores += weights["neighbours"] * self._neighbours.at_two_scales(rows)
        return scores

    def learn(self, rows: Rows, labels: Float64 | None = None) -> None:  # noqa: ARG002 - unsupervised
        """Let every member learn the chunk, and the moments the neighbours' scores before."""
        if len(rows) == 0:
            return
        if self._neighbours.rows_learnt >= SPREAD_AFTER_ROWS:
            # A block of each chunk tells the spread as well as all of it, and costs an eighth.
            sample = rows.take(slice(BLOCK_ROWS))
            near = self._neighbours.at_two_scales(sample.in_blocks())[: len(sample)]
            self._spread_moments.learn(near)
        for member in (self._forest, self._loda, self._neighbours):
            member.learn(rows)

    def contributions(self, rows: Rows) -> Float64:
        """Nats of forest and LODA by feature, and each one's part of a distance above its mean."""
        weights = self.weights()
        shares = self._forest.contributions(rows)
        shares += weights["loda"] * self._loda.contributions(rows)
        scores, parts = self._neighbours.explained_at_two_scales(rows)
        beyond = np.maximum(scores - self._spread_moments.mean, 0.0)
        distribute(weights["neighbours"] * beyond, parts, shares)
        return shares

    def state(self) -> State:
        """The states of members and moments."""
        return {
            "forest": self._forest.state(),
            "loda": self._loda.state(),
            "neighbours": self._neighbours.state(),
            "spread_moments": self._spread_moments.state(),
        }

    def restore(self, state: State) -> None:
        """Take the state in. Raises ``StateMismatchError`` where shapes do not fit."""
        self._forest.restore(read_branch(state, "forest"))
        self._loda.restore(read_branch(state, "loda"))
        self._neighbours.restore(read_branch(state, "neighbours"))
        self._spread_moments.restore(read_branch(state, "spread_moments"))
