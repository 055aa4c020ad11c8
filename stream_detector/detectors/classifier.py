"""Network and trees that learn from late labels; an unsupervised detector until there are some."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from stream_detector.detectors.base import (
    BLOCK_ROWS,
    Detector,
    DetectorConfig,
    Rows,
    clipped,
    log_losses,
)
from stream_detector.detectors.boosted_trees import BoostedTrees
from stream_detector.detectors.experience_replay import ReplayBuffer, Resampling
from stream_detector.detectors.loda import Loda
from stream_detector.detectors.mixture import Mixture
from stream_detector.detectors.mlp import OnlineNetwork, adam
from stream_detector.detectors.moments import RunningMoments
from stream_detector.detectors.recent_experts import RecentExperts
from stream_detector.detectors.search_space import INPUT_CLIP, SearchSpace, log_uniform, one_of
from stream_detector.detectors.stored import read_branch, read_count
from stream_detector.events import Float64, Int64, State
from stream_detector.parameters import Clip

ASSUMED_LOGIT = math.log(0.01 / 0.99)
"""Of an event as rare as the mean, before labels tell how many are positive."""


class ClassifierConfig(DetectorConfig):
    """MLPClassifier learnt from labels that arrive late; before them, an unsupervised detector."""

    kind: Literal["classifier"] = "classifier"
    hidden: Annotated[
        list[Annotated[int, Field(ge=1, le=4096)]], Field(min_length=1, max_length=8)
    ] = Field(default=[32, 16], description="Hidden layer sizes.")
    learning_rate: float = Field(0.002, gt=0, le=1, description="Adam's step size.")
    alpha: float = Field(0.01, ge=0, le=1e6, description="L2 penalty on the weights.")
    replay: int = Field(
        10, ge=1, le=1000, description="Rows drawn from those kept to learn for each new one."
    )
    replay_rows: int = Field(
        20_000, ge=256, le=1_000_000, description="Labelled rows kept to be learnt again."
    )
    trees: bool = Field(
        True,
        description="Whether boosted trees, fitted again from time to time on the rows kept, score "
        "beside the network; their weight follows from the losses of late.",
    )
    recent: bool = Field(
        True,
        description="Whether experts with short memories score beside network and trees where "
        "labels come soon: within some 4,000 events.",
    )
    rarity: bool = Field(
        False,
        description="Whether the unsupervised detector goes on, and its score is a feature.",
    )
    positive_share: float = Field(
        0.1, gt=0, le=0.5, description="Share of positives in a batch, reached by resampling."
    )
    resampling: Literal["none", "over", "under"] = Field(
        "none",
        description="How the positive share is reached where it is higher than the kept rows'; the "
        "score is corrected for it. `none`: they are learnt as they come.",
    )
    min_positives: int = Field(
        20,
        ge=1,
        le=1_000_000,
        description="Positives to have seen before the classifier takes over.",
    )
    clip: Clip = Field(20.0, description="Standardised inputs are clipped at ± this.")


class Classifier(Detector):
    """A network and boosted trees on labelled rows; LODA has the word until there are enough.

    ``learn`` may be called with a chunk as it passed by (labels unknown) and again with those of
    its rows whose labels became known. LODA learns every row that comes before the take-over, and
    goes on where ``rarity`` makes its score a feature of network and trees. A row
    with a label goes into two memories of the last such rows: scikit-learn's ``MLPClassifier``
    takes steps on batches drawn from one, the trees are fitted again on the other now and then.

    Score, by ``score_scale``:

    - 0: LODA's rarity R as a logit: -4.6 (a hundredth) + log(1 + z) for z = (R - mean) / sd > 0, or
      + z below. Odds that rise with the deviation; the order is LODA's.
    - 1: logit of the probability of being positive, a mixture of two. The network's is corrected
      for the resampling: minus the log odds of a positive among the rows it learnt, plus those
      among the labelled rows seen (King and Zeng 2001, "Logistic regression in rare events data",
      eq. 7). The weight of the trees' follows from the losses of late. Where labels come soon, a
      stack of these two and of experts with short memories has the word (``recent_experts``).

    The change is a jump all the same: a running quantile of scores has to start afresh there. But
    early scores do not lie above all that come later, as rarities would. The scale changes once,
    from 0 to 1, in ``learn``: when ``min_positives``
    positives and as many negatives have been seen.

    State, bounded: network, LODA, trees, experts, labelled rows remembered, and counts of labels.
    """

    Config = ClassifierConfig
    labels = "needed"
    search_space: ClassVar[SearchSpace] = {
        "hidden": one_of([[8], [16], [32], [64], [16, 8], [32, 16], [64, 32], [128, 64]]),
        "learning_rate": log_uniform(1e-4, 3e-2),
        "alpha": log_uniform(1e-6, 1e-1),
        "positive_share": one_of([0.02, 0.05, 0.1, 0.2, 0.3, 0.5]),
        "resampling": one_of(["none", "over", "under"]),
        "replay": one_of([5, 10, 25, 50]),
        "trees": one_of([True, False]),
        "recent": one_of([True, False]),
        "clip": INPUT_CLIP,
    }
    members: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "network": ("network", "positives_learnt", "negatives_learnt"),
        "trees": ("trees", "mixture"),
        "recent": ("recent",),
    }

    def __init__(
        self,
        features: int,
        *,
        hidden: Sequence[int] = (32, 16),
        learning_rate: float = 0.002,
        alpha: float = 0.01,
        replay: int = 10,
        replay_rows: int = 20_000,
        trees: bool = True,
        recent: bool = True,
        rarity: bool = False,
        positive_share: float = 0.1,
        resampling: Resampling = "none",
        min_positives: int = 20,
        clip: float = 20.0,
        seed: int = 0,
    ) -> None:
        from sklearn.neural_network import MLPClassifier  # a second, for those who build one

        super().__init__(features)
        model = MLPClassifier(  # type: ignore[no-untyped-call]
            hidden_layer_sizes=tuple(hidden),
            activation="relu",
            **adam(learning_rate_init=learning_rate, alpha=alpha),
        )
        inputs = features + rarity
        self._network = OnlineNetwork(model, [inputs, *hidden, 1], seed)
        self._fallback = Loda(features, seed=seed)
        self._rarity_moments = RunningMoments(10_000.0)
        self._replay = ReplayBuffer(inputs, replay_rows, replay, resampling, positive_share, seed)
        self._trees = BoostedTrees(inputs, replay_rows if trees or recent else 0, seed)
        self._recent = RecentExperts(inputs, clip, seed) if recent else None
        self._with_trees, self._with_rarity = trees, rarity
        self._mixture = Mixture(0.75)
        self._min_positives = min_positives
        self._clip = clip
        self._positives_seen = 0
        self._negatives_seen = 0
        self._positives_learnt = 0
        self._negatives_learnt = 0

    @property
    def score_scale(self) -> int:
        """0 while LODA scores, 1 once the network does."""
        return int(min(self._positives_seen, self._negatives_seen) >= self._min_positives)

    @classmethod
    def check_parameters(cls, features: int, **parameters: Any) -> None:
        """``Config`` says it all, and building one imports scikit-learn, which takes a second."""

    def score(self, rows: Rows) -> Float64:
        """Logits, (events,) float64."""
        if self.score_scale == 0:
            return self._unsupervised(rows)
        rows = self._widened(rows)
        network = self._network_logits(rows)
        share = self._mixture.share if self._trees.fits else 0.0
        part = self._recent.share if self._recent is not None else 0.0
        if share == part == 0.0:
            return network
        trees = self._trees.logits(rows.features)
        mixed = (1.0 - share) * network + share * trees
        if part == 0.0:
            return mixed
        assert self._recent is not None
        return (1.0 - part) * mixed + part * self._recent.logits(rows, network, trees)

    def _rarity(self, rows: Rows) -> Float64:
        """LODA's score in deviations from its mean, (events,); ``rows`` in whole blocks."""
        rarity = self._fallback.score(rows) - self._rarity_moments.mean
        return rarity / (self._rarity_moments.deviation or 1.0)

    def _widened(self, rows: Rows) -> Rows:
        """``rows`` with their rarity, as it is now, for a further feature where that is asked."""
        if not self._with_rarity:
            return rows
        count = len(rows)
        z = self._rarity(rows.in_blocks())[:count]
        # Its tail is long, and the network would lose the rest of it where it is clipped.
        z = np.sign(z) * np.log1p(np.abs(z))
        features, standardised = (
            np.column_stack([each, z]) for each in (rows.features, rows.standardised)
        )
        return Rows(features, standardised, rows.ids, rows.ages)

    def _unsupervised(self, rows: Rows) -> Float64:
        z = self._rarity(rows)
        logits: Float64 = ASSUMED_LOGIT + np.where(z > 0, np.log1p(np.maximum(z, 0.0)), z)
        return logits

    def _network_logits(self, rows: Rows) -> Float64:
        logits = self._network.forward(clipped(rows.standardised, self._clip))
        return logits[:, 0] + self._prior_correction()

    def learn(self, rows: Rows, labels: Float64 | None = None) -> None:
        """Remember the labelled rows and learn from memory; those with NaN as label are left out.

        Rows without labels are new: the unsupervised detector learns them, until the takeover.
        """
        if labels is None:
            if self._recent is not None:
                self._recent.pass_by(len(rows))
            if self.score_scale == 0 or self._with_rarity:
                sample = rows.take(slice(BLOCK_ROWS))  # of each chunk tells the spread
                rarity = self._fallback.score(sample.in_blocks())[: len(sample)]
                self._rarity_moments.learn(rarity)
                self._fallback.learn(rows)
            return
        known = ~np.isnan(labels)
        if not known.any():
            return
        rows = self._widened(rows)
        inputs = clipped(rows.standardised[known], self._clip)
        positive = labels[known] > 0
        self._positives_seen += int(positive.sum())
        self._negatives_seen += int((~positive).sum())
        rows = rows.take(known)
        self._learn_trees(rows, positive)
        self._replay.add(inputs, positive, rows.ids)
        while (batch := self._replay.next_batch()) is not None:
            self._step(*batch)

    def losses(self, rows: Rows, labels: Float64) -> Float64:
        """(events,) log losses in nats; (0,) while LODA scores."""
        if self.score_scale == 0:
            return np.empty(0)
        return log_losses(self.score(rows.in_blocks())[: len(rows)], labels > 0)

    def correct(self, ids: Int64, labels: Float64) -> NDArray[np.bool_]:
        """Take other labels for rows remembered: from now on they are drawn and fitted with these.

        What the network has learnt from them it forgets by and by.
        """
        found = self._replay.correct(ids, labels > 0)
        if self._with_trees or self._recent is not None:
            found |= self._trees.correct(ids, labels > 0)
        return found

    def state(self) -> State:
        """States of the parts, and the counts of labels."""
        return {
            "network": self._network.state(),
            "fallback": self._fallback.state(),
            "rarity_moments": self._rarity_moments.state(),
            "replay": self._replay.state(),
            "trees": self._trees.state(),
            "mixture": self._mixture.state(),
            "recent": self._recent.state() if self._recent is not None else None,
            "positives_seen": self._positives_seen,
            "negatives_seen": self._negatives_seen,
            "positives_learnt": self._positives_learnt,
            "negatives_learnt": self._negatives_learnt,
            "score_regime": self.score_scale,  # its name in states
        }

    def scoring_state(self) -> State:
        """The state without the labelled rows that are learnt again and again."""
        return {
            **self.state(),
            "replay": self._replay.scoring_state(),
            "trees": self._trees.scoring_state(),
        }

    def restore(self, state: State) -> None:
        """Take the state in. Raises ``StateMismatchError`` where shapes do not fit."""
        self._network.restore(read_branch(state, "network"))
        self._fallback.restore(read_branch(state, "fallback"))
        if "rarity_moments" in state:  # states of older versions have none
            self._rarity_moments.restore(read_branch(state, "rarity_moments"))
        self._replay.restore(read_branch(state, "replay"))
        self._trees.restore(read_branch(state, "trees"))
        self._mixture.restore(read_branch(state, "mixture"))
        if self._recent is not None and "recent" in state:  # older versions had none
            self._recent.restore(read_branch(state, "recent"))
        self._positives_seen = read_count(state, "positives_seen")
        self._negatives_seen = read_count(state, "negatives_seen")
        self._positives_learnt = read_count(state, "positives_learnt")
        self._negatives_learnt = read_count(state, "negatives_learnt")

    def _learn_trees(self, rows: Rows, positive: NDArray[np.bool_]) -> None:
        ages = rows.ages
        recent = self._recent if ages is not None else None
        if not self._with_trees and recent is None:
            return
        network = trees = np.zeros(len(rows))
        if self._trees.fits or recent is not None:
            network = self._network_logits(rows.in_blocks())[: len(rows)]
        if self._trees.fits:
            trees = self._trees.logits(rows.features)
            self._mixture.learn(network, trees, positive)
        often = self._recent is None or self._recent.share < 1.0
        self._trees.learn(rows.features, positive, rows.ids, fit=self._with_trees, often=often)
        if recent is not None:
            assert ages is not None
            recent.learn(rows, positive, ages, (network, trees), self._trees.memory)

    def _step(self, inputs: Float64, positive: NDArray[np.bool_]) -> None:
        if len(inputs) == 0:
            return
        self._positives_learnt += int(positive.sum())
        self._negatives_learnt += int((~positive).sum())
        self._network.step(inputs, positive.astype(np.float64))

    def _prior_correction(self) -> float:
        seen = (self._positives_seen + 0.5) / (self._negatives_seen + 0.5)
        learnt = (self._positives_learnt + 0.5) / (self._negatives_learnt + 0.5)
        return math.log(seen / learnt)
