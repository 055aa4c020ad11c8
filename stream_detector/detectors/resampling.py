"""Making batches of rare positives learnable: over- and under-sampling with a bounded memory."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from stream_detector.detectors.draws import frozen_stream
from stream_detector.detectors.stored import read_array, read_count
from stream_detector.events import Float64, State

Resampling: TypeAlias = Literal["none", "over", "under"]

REMEMBERED = 1024
"""Positives kept to draw from: older ones hurt a little where fraud changes its face."""


class Resampler:
    """Draws the rows that a classifier is to learn from a labelled batch, in random order.

    - ``over``: the whole batch, and as many positives of the last 1,024 seen, with replacement, as
      make up the share. A batch of 256 has two frauds or none; copies of these alone would teach
      the batch and not the class.
    - ``under``: the batch's positives, and as many of its negatives, without replacement, as leave
      them the share; nothing where the batch has no positive.
    - ``none``: the batch.

    State, of fixed size: the remembered positives, how many were seen, and the number of draws,
    which together with the seed is the state of the random generator.
    """

    def __init__(self, features: int, method: Resampling, positive_share: float, seed: int) -> None:
        self._method = method
        self._positives_per_negative = positive_share / (1 - positive_share)
        self._seed = seed
        self._memory: Float64 = np.zeros((REMEMBERED if method == "over" else 0, features))
        self._remembered = 0
        self._draws = 0

    def remember(self, positives: Float64) -> None:
        """Take positives (rows, features) into the memory, the oldest leave."""
        if len(self._memory) == 0:
            return
        newest = positives[-len(self._memory) :]
        first = self._remembered + len(positives) - len(newest)
        self._memory[np.arange(first, first + len(newest)) % len(self._memory)] = newest
        self._remembered += len(positives)

    def draw(
        self, inputs: Float64, positive: NDArray[np.bool_]
    ) -> tuple[Float64, NDArray[np.bool_]]:
        """Rows to learn and which of them are positive; other ones at every call."""
        random = frozen_stream(self._seed, "resampling", self._draws)
        self._draws += 1
        count = int(positive.sum())
        if self._method == "over":
            wanted = math.ceil((len(positive) - count) * self._positives_per_negative) - count
            available = min(self._remembered, len(self._memory))
            if wanted > 0 and available > 0:
                more = self._memory[random.randint(available, size=wanted)]
                inputs = np.concatenate([inputs, more])
                positive = np.concatenate([positive, np.ones(wanted, dtype=bool)])
        elif self._method == "under":
            wanted = math.floor(count / self._positives_per_negative)
            negatives = random.permutation(np.flatnonzero(~positive))[:wanted]
            chosen = np.concatenate([np.flatnonzero(positive), negatives]) if count else negatives
            inputs, positive = inputs[chosen], positive[chosen]
        order = random.permutation(len(positive))
        return inputs[order], positive[order]

    def state(self) -> State:
        """Memory and counters."""
        return {
            "memory": self._memory.copy(),
            "remembered": self._remembered,
            "draws": self._draws,
        }

    def restore(self, state: State) -> None:
        """Take the state in. Raises ``StateMismatchError`` where shapes do not fit."""
        memory = read_array(state, "memory", self._memory.shape)
        self._remembered = read_count(state, "remembered")
        self._draws = read_count(state, "draws")
        self._memory = memory
