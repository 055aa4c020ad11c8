"""Labelled rows of the past, to be learnt again with the new ones."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from stream_detector.detectors.draws import frozen_stream
from stream_detector.detectors.memory import LabelledMemory
from stream_detector.detectors.stored import read_branch, read_count
from stream_detector.events import Float64, Int64, State

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
        self._memory = LabelledMemory(features, rows)
        self._times = times
        self._resampling = resampling
        self._share = share
        self._seed = seed
        self._owed = 0
        self._draws = 0

    def add(self, inputs: Float64, positive: NDArray[np.bool_], ids: Int64 | None = None) -> None:
        """Take rows in; the oldest leave where there are too many."""
        self._memory.add(inputs, positive, ids)
        self._owed += self._times * len(inputs)

    def correct(self, ids: Int64, positive: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Set labels of rows held; which were found."""
        return self._memory.correct(ids, positive)

    def next_batch(self) -> tuple[Float64, NDArray[np.bool_]] | None:
        """A batch to learn, and which of its rows are positive; None when enough were drawn.

        With ``under`` a batch may be empty.
        """
        if self._owed < BATCH_ROWS:
            return None
        self._owed -= BATCH_ROWS
        known = self._memory.positive
        held = len(known)
        random = frozen_stream(self._seed, "replay", self._draws)
        self._draws += 1
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
        return self._memory.rows[chosen].astype(np.float64), known[chosen]

    def state(self) -> State:
        """The rows held, and the counters."""
        return {"memory": self._memory.state(), "owed": self._owed, "draws": self._draws}

    def scoring_state(self) -> State:
        """The counters, and no rows."""
        return {**self.state(), "memory": self._memory.emptied()}

    def restore(self, state: State) -> None:
        """Take the state in. Raises ``StateMismatchError`` where shapes do not fit."""
        self._memory.restore(read_branch(state, "memory"))
        self._owed = read_count(state, "owed", high=BATCH_ROWS - 1)  # more is drawn at once
        self._draws = read_count(state, "draws")
