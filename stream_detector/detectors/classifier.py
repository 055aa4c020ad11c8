"""Classifier that learns from late labels, and an unsupervised detector until there are some."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from sklearn.neural_network import MLPClassifier

from stream_detector.detectors.base import BLOCK_ROWS, Rows, clipped
from stream_detector.detectors.loda import Loda
from stream_detector.detectors.mlp import OnlineNetwork, adam
from stream_detector.detectors.resampling import Resampler, Resampling
from stream_detector.detectors.stored import read_branch, read_count
from stream_detector.events import Float64, State

LARGEST_BATCH = 256
"""Rows of one step of learning at most; a longer labelled batch is cut into equal parts."""


class Classifier:
    """``MLPClassifier`` on labelled rows; LODA has the word until enough positives were seen.

    ``learn`` may be called with a chunk as it passed by (labels unknown) and again with those of
    its rows whose labels became known. LODA learns every row that comes before the take-over, the
    network every row with a label.

    Score, by ``score_regime``:

    - 0: LODA's rarity in nats.
    - 1: logit of the probability of being positive, corrected for the resampling: the network's
      own logit, minus the log odds of a positive among the rows it learnt, plus those among the
      labelled rows seen (King and Zeng 2001, "Logistic regression in rare events data", eq. 7).

    The two are on different scales and the change is a jump: a running quantile of scores has to
    start afresh there. The regime changes once, from 0 to 1, in ``learn``: when ``min_positives``
    positives and as many negatives have been seen.

    State, of fixed size: network, LODA, remembered positives, and counts of labels.
    """

    block_rows = BLOCK_ROWS

    def __init__(
        self,
        features: int,
        *,
        hidden: Sequence[int] = (32, 16),
        learning_rate: float = 0.002,
        alpha: float = 0.001,
        passes: int = 3,
        positive_share: float = 0.1,
        resampling: Resampling = "over",
        min_positives: int = 20,
        clip: float = 20.0,
        seed: int = 0,
    ) -> None:
        model = MLPClassifier(  # type: ignore[no-untyped-call]
            hidden_layer_sizes=tuple(hidden),
            activation="relu",
            **adam(learning_rate_init=learning_rate, alpha=alpha),
        )
        self._network = OnlineNetwork(model, [features, *hidden, 1], seed)
        self._fallback = Loda(features, seed=seed)
        self._resampler = Resampler(features, resampling, positive_share, seed)
        self._passes = passes
        self._min_positives = min_positives
        self._clip = clip
        self._positives_seen = 0
        self._negatives_seen = 0
        self._positives_learnt = 0
        self._negatives_learnt = 0

    @property
    def uses_labels(self) -> bool:
        """True: this is what it learns from."""
        return True

    @property
    def score_regime(self) -> int:
        """0 while LODA scores, 1 once the network does."""
        return int(min(self._positives_seen, self._negatives_seen) >= self._min_positives)

    def score(self, rows: Rows) -> Float64:
        """Rarity in nats or corrected logit (see ``score_regime``), (events,) float64."""
        if self.score_regime == 0:
            return self._fallback.score(rows)
        logits = self._network.forward(clipped(rows.standardised, self._clip))
        return logits[:, 0] + self._prior_correction()

    def learn(self, rows: Rows, labels: Float64 | None = None) -> None:
        """Take ``passes`` passes over the labelled rows; rows with NaN as label are not learnt.

        Rows without labels are new: the unsupervised detector learns them, until the takeover.
        """
        if labels is None:
            if self.score_regime == 0:
                self._fallback.learn(rows)
            return
        known = ~np.isnan(labels)
        if not known.any():
            return
        inputs = clipped(rows.standardised[known], self._clip)
        positive = labels[known] > 0
        self._positives_seen += int(positive.sum())
        self._negatives_seen += int((~positive).sum())
        self._resampler.remember(inputs[positive])
        for _ in range(self._passes):
            self._learn_pass(*self._resampler.draw(inputs, positive))

    def contributions(self, rows: Rows) -> Float64:
        """How much each feature raised the score over what its mean would give, at least 0."""
        if self.score_regime == 0:
            return self._fallback.contributions(rows)
        inputs = clipped(rows.standardised, self._clip)
        products = self._network.first_layer(inputs)
        logits = self._network.forward_from(products.copy())[:, 0]
        shares = np.zeros(inputs.shape)
        for feature, weights in enumerate(self._network.first_weights):
            without = products - inputs[:, feature, None] * weights
            shares[:, feature] = logits - self._network.forward_from(without)[:, 0]
        return np.maximum(shares, 0.0, out=shares)

    def state(self) -> State:
        """States of the parts, and the counts of labels."""
        return {
            "network": self._network.state(),
            "fallback": self._fallback.state(),
            "resampler": self._resampler.state(),
            "positives_seen": self._positives_seen,
            "negatives_seen": self._negatives_seen,
            "positives_learnt": self._positives_learnt,
            "negatives_learnt": self._negatives_learnt,
            "score_regime": self.score_regime,
        }

    def restore(self, state: State) -> None:
        """Take the state in. Raises ``StateMismatchError`` where shapes do not fit."""
        self._network.restore(read_branch(state, "network"))
        self._fallback.restore(read_branch(state, "fallback"))
        self._resampler.restore(read_branch(state, "resampler"))
        self._positives_seen = read_count(state, "positives_seen")
        self._negatives_seen = read_count(state, "negatives_seen")
        self._positives_learnt = read_count(state, "positives_learnt")
        self._negatives_learnt = read_count(state, "negatives_learnt")

    def _learn_pass(
        self, inputs: Float64, positive: np.ndarray[tuple[int], np.dtype[np.bool_]]
    ) -> None:
        if len(inputs) == 0:
            return
        self._positives_learnt += int(positive.sum())
        self._negatives_learnt += int((~positive).sum())
        parts = math.ceil(len(inputs) / LARGEST_BATCH)
        targets = positive.astype(np.float64)
        for part in range(parts):  # every parts-th row: batches of one size, give or take a row
            self._network.step(
                np.ascontiguousarray(inputs[part::parts]),
                np.ascontiguousarray(targets[part::parts]),
            )

    def _prior_correction(self) -> float:
        seen = (self._positives_seen + 0.5) / (self._negatives_seen + 0.5)
        learnt = (self._positives_learnt + 0.5) / (self._negatives_learnt + 0.5)
        return math.log(seen / learnt)
