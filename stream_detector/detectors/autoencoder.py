"""Autoencoder: what cannot be put together again from a bottleneck is strange."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from stream_detector.detectors.base import (
    Detector,
    DetectorConfig,
    Rows,
    clipped,
)
from stream_detector.detectors.draws import frozen_stream
from stream_detector.detectors.mlp import OnlineNetwork, adam
from stream_detector.detectors.search_space import (
    INPUT_CLIP,
    REFUSED_SHARE,
    SearchSpace,
    log_uniform,
    one_of,
)
from stream_detector.detectors.stored import read_branch, read_count
from stream_detector.events import Float64, State
from stream_detector.parameters import Clip

REFUSE_AFTER_ROWS = 1024
"""Rows from which on the strangest are refused; before, the model cannot tell which they are."""

SMALLEST_ERROR = 1e-12
"""Keeps the logarithm finite for a perfect reconstruction."""


class AutoencoderConfig(DetectorConfig):
    """MLPRegressor learnt from X to X; the score is the log of the reconstruction error."""

    kind: Literal["autoencoder"] = "autoencoder"
    hidden: Annotated[list[Annotated[int, Field(ge=1, le=4096)]], Field(max_length=8)] | None = (
        Field(None, description="Hidden layer sizes; default d/2, d/3, d/2 of d features.")
    )
    learning_rate: float = Field(0.001, gt=0, le=1, description="Adam's step size.")
    alpha: float = Field(0.0001, ge=0, le=1e6, description="L2 penalty on the weights.")
    passes: int = Field(1, ge=1, le=100, description="Steps of learning over each chunk.")
    input_dropout: float = Field(
        0.0, ge=0, lt=1, description="Share of the inputs hidden while it learns (denoising)."
    )
    refuse_share: float = Field(
        0.05, ge=0, lt=0.5, description="Share of highest-scoring rows that are not learnt."
    )
    clip: Clip = Field(10.0, description="Standardised inputs are clipped at ± this.")


class Autoencoder(Detector):
    """``MLPRegressor`` with tanh units, learnt from X to X on standardised, clipped inputs.

    The ``refuse_share`` of each chunk's rows with the highest scores are not learnt, so that an
    attack does not become normal. With ``input_dropout`` it is a denoising autoencoder (Vincent et
    al. 2008): a share of the inputs is put to its mean, and the whole row is to be put together
    again.

    Score: natural logarithm of the mean squared reconstruction error.

    State, of fixed size: that of the network, and the number of rows seen.
    """

    Config = AutoencoderConfig
    search_space: ClassVar[SearchSpace] = {
        # None: d/2, d/3, d/2 of d features.
        "hidden": one_of([None, [4], [8], [16], [8, 3, 8], [16, 6, 16], [32, 8, 32], [64, 16, 64]]),
        "learning_rate": log_uniform(1e-4, 2e-2),
        "alpha": log_uniform(1e-6, 1e-1),
        "passes": one_of([1, 2, 3, 5]),
        "input_dropout": one_of([0.0, 0.1, 0.3]),
        "refuse_share": REFUSED_SHARE,
        "clip": INPUT_CLIP,
    }

    def __init__(
        self,
        features: int,
        *,
        hidden: Sequence[int] | None = None,
        learning_rate: float = 0.001,
        alpha: float = 0.0001,
        passes: int = 1,
        input_dropout: float = 0.0,
        refuse_share: float = 0.05,
        clip: float = 10.0,
        seed: int = 0,
    ) -> None:
        from sklearn.neural_network import MLPRegressor  # a second, for those who build one

        super().__init__(features)
        if hidden is None:
            hidden = [max(1, features // part) for part in (2, 3, 2)]
        model = MLPRegressor(  # type: ignore[no-untyped-call]
            hidden_layer_sizes=tuple(hidden),
            activation="tanh",
            **adam(learning_rate_init=learning_rate, alpha=alpha),
        )
        self._network = OnlineNetwork(model, [features, *hidden, features], seed)
        self._passes = passes
        self._input_dropout, self._seed = input_dropout, seed
        self._refuse_share = refuse_share
        self._clip = clip
        self._rows_seen = 0

    @classmethod
    def check_parameters(cls, features: int, **parameters: Any) -> None:
        """``Config`` says it all, and building one imports scikit-learn, which takes a second."""

    def score(self, rows: Rows) -> Float64:
        """Log of the mean squared error, (events,) float64; 0 before anything was learnt."""
        if self._rows_seen == 0:
            return np.zeros(len(rows))
        return self.score_of(self._squared_errors(rows))

    @staticmethod
    def score_of(contributions: Float64) -> Float64:
        """Return the scores of rows by their contributions; changes nothing."""
        error = np.maximum(contributions.mean(axis=1), SMALLEST_ERROR)
        score: Float64 = np.log(error, out=error)
        return score

    def contributions(self, rows: Rows) -> Float64:
        """Squared reconstruction error of each feature, (events, features)."""
        if self._rows_seen == 0:
            return np.zeros(rows.standardised.shape)
        return self._squared_errors(rows)

    def learn(self, rows: Rows, labels: Float64 | None = None) -> None:  # noqa: ARG002 - unsupervised
        """Take ``passes`` steps on the rows of the chunk that are not refused."""
        if len(rows) == 0:
            return
        inputs = clipped(rows.standardised, self._clip)[self._accepted(rows)]
        self._rows_seen += len(rows)
        for step in range(self._passes):
            self._network.step(self._damaged(inputs, step), inputs)

    def _damaged(self, inputs: Float64, step: int) -> Float64:
        """``inputs`` with some at their mean; which ones follows from seed and rows seen."""
        if self._input_dropout == 0.0:
            return inputs
        random = frozen_stream(self._seed, "input dropout", self._rows_seen, step)
        return np.where(random.uniform(size=inputs.shape) < self._input_dropout, 0.0, inputs)

    def state(self) -> State:
        """The network's state and the number of rows seen."""
        return {"network": self._network.state(), "rows_seen": self._rows_seen}

    def restore(self, state: State) -> None:
        """Take the state in. Raises ``StateMismatchError`` where shapes do not fit."""
        rows_seen = read_count(state, "rows_seen")
        self._network.restore(read_branch(state, "network"))
        self._rows_seen = rows_seen

    def _accepted(self, rows: Rows) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Mask of the rows to learn."""
        accepted = np.ones(len(rows), dtype=bool)
        refused = int(self._refuse_share * len(rows))
        if self._rows_seen >= REFUSE_AFTER_ROWS and refused > 0:
            scores = self.score(rows.in_blocks())[: len(rows)]
            accepted[np.argsort(scores, kind="stable")[-refused:]] = False
        return accepted

    def _squared_errors(self, rows: Rows) -> Float64:
        inputs = clipped(rows.standardised, self._clip)
        errors = self._network.forward(inputs)
        errors -= inputs
        errors *= errors
        return errors
