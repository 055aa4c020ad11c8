"""What the classifier adds where labels come soon: experts with short memories, and their stack."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from stream_detector.detectors.base import Rows, clipped
from stream_detector.detectors.fading_forest import FadingForest
from stream_detector.detectors.fading_logistic import FadingLogistic
from stream_detector.detectors.label_history import MEMORIES, LabelHistory
from stream_detector.detectors.labelled_neighbours import LabelledNeighbours
from stream_detector.detectors.memory import LabelledMemory
from stream_detector.detectors.stored import LARGEST_COUNT, read_branch, read_float
from stream_detector.events import Float64, Int64, State

SOON, LATE = 1000.0, 4000.0
"""Mean age of the labels, in events: up to the first the stack alone has the word, from the second
on the mixture: labels older than what is going on teach the stack the wrong thing."""

TOO_OLD = 2 * LATE
"""From this age on nothing is learnt here: it would be for nothing."""

AGE_HALF_LIFE = 500.0
LINEAR_FEATURES = 64
"""With more features the linear expert is left out: a step of it costs their cube."""

LINEAR_CLIP, LINEAR_HALF_LIFE, LINEAR_RIDGE = 5.0, 1000.0, 5.0
LOGIT_CLIP = 6.0
STACK_HALF_LIFE, STACK_RIDGE = 1000.0, 5.0

OTHERS = 2
"""Experts that are not here: the network and the boosted trees."""


class RecentExperts:
    """A forest that follows, neighbours, a linear model and memories of the labels, in a stack.

    State: theirs, the stack's, and the mean age of the labels.
    """

    def __init__(self, features: int, clip: float, seed: int) -> None:
        """``clip``: standardised inputs come clipped at ± this."""
        self._features, self._clip = features, clip
        self._forest = FadingForest(seed)
        self._neighbours = LabelledNeighbours(features)
        self._linear: FadingLogistic | None = None
        if features <= LINEAR_FEATURES:
            start = np.zeros(features + 1)
            self._linear = FadingLogistic(start, LINEAR_HALF_LIFE, LINEAR_RIDGE)
        self.history = LabelHistory()
        experts = OTHERS + 2 + (self._linear is not None)
        start = np.zeros(experts + MEMORIES + 1)
        start[:experts] = 1.0 / experts
        self._stack = FadingLogistic(start, STACK_HALF_LIFE, STACK_RIDGE)
        self._age = LARGEST_COUNT * 1.0

    @property
    def share(self) -> float:
        """Weight of the stack beside the mixture, by the mean age of the labels."""
        if not self._forest.fitted:
            return 0.0
        age = max(self._age, 1.0)
        return min(max(math.log(LATE / age) / math.log(LATE / SOON), 0.0), 1.0)

    def logits(self, rows: Rows, network: Float64, trees: Float64) -> Float64:
        """(rows,) of the stack; ``rows`` in whole blocks, with what the others say of them."""
        memories = np.tile(self.history.logits, (len(rows), 1))
        return self._stack.logits(self._inputs(rows, network, trees, memories))

    def _inputs(self, rows: Rows, network: Float64, trees: Float64, memories: Float64) -> Float64:
        inputs = clipped(rows.standardised, self._clip)
        said = [network, trees, self._forest.logits(rows.features), self._neighbours.logits(inputs)]
        if self._linear is not None:
            said.append(self._linear.logits(_with_one(np.clip(inputs, -LINEAR_CLIP, LINEAR_CLIP))))
        logits = np.column_stack([*said, memories])
        return _with_one(np.clip(logits, -LOGIT_CLIP, LOGIT_CLIP))

    def pass_by(self, rows: int) -> None:
        """So many events have been scored since the last call, with the memories as they are."""
        self.history.pass_by(rows)

    def learn(
        self,
        rows: Rows,
        positive: NDArray[np.bool_],
        ages: Int64,
        said: tuple[Float64, Float64],
        memory: LabelledMemory,
    ) -> None:
        """Learn labelled rows.

        Args:
            rows: the older ones first.
            positive: (rows,) their labels.
            ages: (rows,) how many events ago each was scored.
            said: (rows,) logits of network and trees, as they were before they learnt these.
            memory: holds these rows, and those before.
        """
        count = len(rows)
        fade = 2.0 ** (-count / AGE_HALF_LIFE)
        mean = float(ages.mean())
        self._age = mean if self._age >= LARGEST_COUNT else fade * self._age + (1 - fade) * mean
        if self._age >= TOO_OLD:
            return
        if self._forest.fitted:
            blocks = rows.in_blocks()
            network, trees = (_filled(one, len(blocks)) for one in said)
            memories = np.zeros((len(blocks), MEMORIES))
            memories[:count] = self.history.logits_at(ages)
            inputs = self._inputs(blocks, network, trees, memories)[:count]
            self._stack.learn(inputs, positive)
        self._forest.learn(memory, count)
        values = clipped(rows.standardised, self._clip)
        self._neighbours.learn(values, positive)
        if self._linear is not None:
            values = _with_one(np.clip(values, -LINEAR_CLIP, LINEAR_CLIP))
            self._linear.learn(values, positive)
        self.history.learn(positive)

    def state(self) -> State:
        """States of the parts."""
        return {
            "forest": self._forest.state(),
            "neighbours": self._neighbours.state(),
            "linear": self._linear.state() if self._linear is not None else None,
            "history": self.history.state(),
            "stack": self._stack.state(),
            "age": self._age,
        }

    def restore(self, state: State) -> None:
        """Take the state in. Raises ``StateMismatchError`` where it does not fit."""
        self._forest.restore(read_branch(state, "forest"), self._features)
        self._neighbours.restore(read_branch(state, "neighbours"), self._clip)
        if self._linear is not None:
            self._linear.restore(read_branch(state, "linear"))
        self.history.restore(read_branch(state, "history"))
        self._stack.restore(read_branch(state, "stack"))
        self._age = read_float(state, "age", low=0.0, high=LARGEST_COUNT)


def _with_one(values: Float64) -> Float64:
    return np.column_stack([values, np.ones(len(values))])


def _filled(values: Float64, count: int) -> Float64:
    return np.concatenate([values, np.zeros(count - len(values))])
