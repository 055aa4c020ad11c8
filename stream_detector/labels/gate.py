"""Choice of the rows that are kept until their label is known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_detector.events import Float64

_GOLDEN, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


class Gate:
    """All rows at first; later the rows of a chunk with the highest scores, and a few at random.

    On the card transactions 3.5 % of the rows, chosen so before any label is known, teach a
    classifier as much as all of them; 3.5 % at random cost .05 of average precision. The choice
    depends on what is known of the row only, not on its label, so it does not bias the probability
    of a label given the row.

    Pure: no state. Chance is a hash of the event's number, so it does not depend on the cuts.
    """

    def __init__(self, first: int, top_share: float, random_share: float, seed: int) -> None:
        """``first``: number of events from which on a choice is made; the others all stay."""
        self._first = first
        self._top = top_share
        self._random = random_share
        self._seed = seed

    def choose(self, scores: Float64, sequence: int) -> NDArray[np.intp]:
        """Positions, ascending, of the rows to keep.

        Args:
            scores: (rows,) of a whole chunk.
            sequence: number of the chunk's first event in the stream.
        """
        return np.flatnonzero(self.weigh(scores, sequence))

    def weigh(self, scores: Float64, sequence: int) -> Float64:
        """Return how many rows each row stands for: 0 where it is not kept, 1 where kept for sure.

        One kept by chance stands for all that were not: the inverse of the probability (Horvitz
        and Thompson 1952). So sums over the rows kept estimate sums over all rows.

        Args:
            scores: (rows,) of a whole chunk.
            sequence: number of the chunk's first event in the stream.
        """
        if sequence < self._first or self._top + self._random >= 1.0:
            return np.ones(len(scores))
        drawn = _uniform(np.arange(sequence, sequence + len(scores)), self._seed) < self._random
        weights = np.where(drawn, 1.0 / self._random if self._random else 0.0, 0.0)
        # Shares of a row add up over the chunks.
        count = int(self._top * (sequence + len(scores))) - int(self._top * sequence)
        weights[np.argsort(-scores, kind="stable")[:count]] = 1.0
        return weights


def _uniform(numbers: NDArray[np.int64], seed: int) -> Float64:
    """A number in [0, 1) for each: SplitMix64 (Steele, Lea and Flood 2014)."""
    with np.errstate(over="ignore"):
        z = (numbers.astype(np.uint64) + np.uint64(seed * 0x100000001 + 1)) * np.uint64(_GOLDEN)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(_FIRST)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(_SECOND)
    mixed = (z ^ (z >> np.uint64(31))) >> np.uint64(11)
    return mixed.astype(np.float64) * 2.0**-53
