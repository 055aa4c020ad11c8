"""Labelled rows of the past, to be learnt again with the new ones."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from stream_detector.detectors.draws import frozen_stream
from stream_detector.detectors.stored import read_array, read_count
from stream_detector.events import Float64, State

Resampling: TypeAlias = Literal["none", "over", "under"]

BATCH_ROWS = 256
"""Rows of one step of learning."""


class ReplayBuffer:
    """The last labelled rows; for each new one, so many drawn from all, in batches of 256.

    A batch is drawn with replacement. Where fewer than ``share`` of the rows held are positive:

    - ``over``: that share of a batch is drawn from the positives, the rest from the negatives;
    - ``under``: a batch loses so many of its negatives that its positives have that share;
    - ``none``: the batch is as it was drawn.

    State, of fixed size: the rows in float32, their labels, and counters which, with the seed, are
    the state of the random generator.
    """

    def __init__(
        self, features: int, rows: int, times: int, resampling: Resampling, share: float, seed: int
    ) -> None:
        """``rows``: capacity; ``times``: rows drawn for each new one."""
        self._inputs: NDArray[np.float32] = np.zeros((rows, features), dtype=np.float32)
        self._positive: NDArray[np.bool_] = np.zeros(rows, dtype=bool)
        self._times = times
        self._resampling = resampling
        self._share = share
        self._seed = seed
        self._added = 0
        self._owed = 0
        self._draws = 0

    def add(self, inputs: Float64, positive: NDArray[np.bool_]) -> None:
        """Take rows in; the oldest leave where there are too many."""
        capacity = len(self._positive)
        first = max(len(inputs) - capacity, 0)
        places = np.arange(self._added + first, self._added + len(inputs)) % capacity
        self._inputs[places], self._positive[places] = inputs[first:], positive[first:]
        self._added += len(inputs)
        self._owed += self._times * len(inputs)

    def next_batch(self) -> tuple[Float64, NDArray[np.bool_]] | None:
        """A batch to learn, and which of its rows are positive; None when enough were drawn.

        With ``under`` a batch may be empty.
        """
        if self._owed < BATCH_ROWS:
            return None
        self._owed -= BATCH_ROWS
        held = min(self._added, len(self._positive))
        random = frozen_stream(self._seed, "replay", self._draws)
        self._draws += 1
        known = self._positive[:held]
        rare = 0 < np.count_nonzero(known) < self._share * held
        if rare and self._resampling == "over":
            wanted = round(self._share * BATCH_ROWS)
            positives, negatives = np.flatnonzero(known), np.flatnonzero(~known)
            first = positives[random.randint(len(positives), size=wanted)]
            rest = negatives[random.randint(len(negatives), size=BATCH_ROWS - wanted)]
            chosen = np.concatenate([first, rest])
        else:
            chosen = random.randint(held, size=BATCH_ROWS)
        if rare and self._resampling == "under":
            positives, negatives = chosen[known[chosen]], chosen[~known[chosen]]
            wanted = round(len(positives) * (1.0 - self._share) / self._share)
            chosen = np.concatenate([positives, negatives[:wanted]])
        return self._inputs[chosen].astype(np.float64), self._positive[chosen]

    def state(self) -> State:
        """The rows held, and the counters."""
        held = min(self._added, len(self._positive))
        return {
            "inputs": self._inputs[:held].copy(),
            "positive": self._positive[:held].copy(),
            "added": self._added,
            "owed": self._owed,
            "draws": self._draws,
        }

    def restore(self, state: State) -> None:
        """Take the state in. Raises ``StateMismatchError`` where shapes do not fit."""
        added = read_count(state, "added")
        held = min(added, len(self._positive))
        inputs = read_array(state, "inputs", (held, self._inputs.shape[1]), np.float32)
        positive = read_array(state, "positive", (held,), np.bool_)
        self._inputs[:held], self._positive[:held] = inputs, positive
        self._added, self._owed = added, read_count(state, "owed")
        self._draws = read_count(state, "draws")
