"""How sure a difference of means is: a paired bootstrap over the streams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES, SEED, LEVEL = 10_000, 0, 0.95


@dataclass(frozen=True)
class Interval:
    """A mean difference, and between which means 95 % of the resamples lie."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:+.3f} ({self.low:+.3f} to {self.high:+.3f})"


def paired(ours: Sequence[float], theirs: Sequence[float]) -> Interval:
    """Ours minus theirs, stream by stream; streams are drawn anew with both figures of each.

    Args:
        ours: a figure for each stream (streams,).
        theirs: figures on the same streams in the same order (streams,).
    """
    if len(ours) != len(theirs) or not len(ours):
        raise ValueError(f"{len(ours)} figures against {len(theirs)}")
    ahead = np.asarray(ours, dtype=float) - np.asarray(theirs, dtype=float)
    random = np.random.default_rng(SEED)
    means = ahead[random.integers(len(ahead), size=(RESAMPLES, len(ahead)))].mean(axis=1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(ahead.mean()), float(low), float(high))
