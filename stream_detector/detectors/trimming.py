"""Trimmed learning: the strangest rows teach little, however many of them are alike."""

from __future__ import annotations

import numpy as np

from stream_detector.detectors.moments import decay_of
from stream_detector.detectors.stored import read_count, read_float
from stream_detector.events import Float64, State

TRIMMED_SHARE = 0.2
"""Share of the rows, those of the highest scores, that count ``TRIMMED_WEIGHT``. What is not more
of the traffic than this stays strange for long, whoever sends it."""

TRIMMED_WEIGHT = 0.3
"""Not 0: what stays is to become ordinary in the end, if it takes three times as long."""

TRIM_AFTER_ROWS = 1024
"""Rows that all count in full; before, a model cannot tell which are the strange ones."""

LARGEST_SCORE = 1e6
"""More than any score of logarithms of shares."""

_HALF_LIFE = 500.0
"""Events in which half of the level's way to a new one is gone. Where everything changes at once,
all rows are above the level until it has followed; a slow one would keep the model from learning
what is normal now."""


class Trimming:
    """The level of scores above which rows hardly teach, a running quantile of chunks.

    As in trimmed estimators (Huber and Ronchetti 2009, Robust Statistics, section 3.3): what is
    cut off are ranks, so an attacker gains nothing by making his rows stranger than they are. Up to
    a breakdown point of ``TRIMMED_SHARE`` of the traffic: copies of an attack that are more than
    that are the level themselves.

    State: the level, and the rows it is made of.
    """

    def __init__(self) -> None:
        self._level = 0.0
        self._rows_seen = 0

    def weights(self, scores: Float64) -> Float64 | None:
        """Weight of each row of a chunk, at least one, whose scores then move the level.

        Args:
            scores: (events,) by the model that is to learn them.

        Returns:
            (events,) 1 or ``TRIMMED_WEIGHT``; None where all count in full.
        """
        weights = None
        if self._rows_seen >= TRIM_AFTER_ROWS:
            strange = scores > self._level
            if strange.any():
                weights = np.where(strange, TRIMMED_WEIGHT, 1.0)
        count = len(scores)
        self._rows_seen += count
        # A mean of all chunks at first, so that the first one is not the measure for long.
        share = max(1.0 - decay_of(count, _HALF_LIFE), count / self._rows_seen)
        self._level += share * (quantile(scores, 1.0 - TRIMMED_SHARE) - self._level)
        return weights

    def state(self) -> State:
        """The two numbers."""
        return {"level": self._level, "rows_seen": self._rows_seen}

    def restore(self, state: State) -> None:
        """Take the numbers in. Raises ``StateMismatchError`` where one is missing."""
        self._level = read_float(state, "level", low=-LARGEST_SCORE, high=LARGEST_SCORE)
        self._rows_seen = read_count(state, "rows_seen")


def quantile(values: Float64, share: float) -> float:
    """``np.quantile(values, share)``, to the bit, of finite values in a tenth of its time.

    Args:
        values: (events,) at least one.
        share: of them that lie below, at least 0 and less than 1.
    """
    place = (len(values) - 1) * share
    below = int(place)
    above = min(below + 1, len(values) - 1)
    ordered = np.partition(values, (below, above))
    low, high, part = float(ordered[below]), float(ordered[above]), place - below
    # From the nearer of the two, as NumPy does.
    return low + (high - low) * part if part < 0.5 else high - (high - low) * (1.0 - part)  # noqa: PLR2004
