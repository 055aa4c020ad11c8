"""The upper tail of the last scores: what share of them lies above a score, and the reverse."""

from __future__ import annotations

import math

import numpy as np

from stream_detector.detectors.stored import read_array, read_count
from stream_detector.errors import StateMismatchError
from stream_detector.events import Float64, State

_WINDOW = 50_000
"""Scores remembered. At a budget of 0.1 % that is 50 exceedances: a quantile good to 15 %."""

_TAIL_SHARE = 0.02
"""The highest scores that the tail is fitted on."""

_REFRESH = 4
"""A full window is read again after this many chunks: 2 % of it is new by then."""


class RunningTail:
    """The last scores and the shape of their upper tail.

    State: a ring of ``window`` scores and, as of the last refresh, their sorted upper tail. Beyond
    the largest scores seen the tail is taken as exponential (peaks over threshold with shape 0:
    Coles 2001, An Introduction to Statistical Modeling of Extreme Values, section 4.2).
    """

    def __init__(self, window: int = _WINDOW) -> None:
        self._ring = np.empty(0)
        self._window = window
        self._next = 0
        self._chunks = 0
        self._tail = np.empty(0)
        self._size = 0

    def learn(self, scores: Float64) -> None:
        """Take a chunk's scores in and refresh the tail when it is due."""
        room = self._window - len(self._ring)
        if room >= len(scores):
            self._ring = np.concatenate([self._ring, scores])
        else:
            if room:
                self._ring = np.concatenate([self._ring, scores[:room]])
                scores = scores[room:]
            places = (self._next + np.arange(len(scores))) % self._window
            self._ring[places] = scores
            self._next = (self._next + len(scores)) % self._window
        self._chunks += 1
        if len(self._ring) < self._window // 8 or self._chunks % _REFRESH == 0:
            self._refresh()

    def _refresh(self) -> None:
        self._size = len(self._ring)
        count = _tail_length(self._size)
        self._tail = np.sort(np.partition(self._ring, self._size - count)[self._size - count :])

    @property
    def size(self) -> int:
        """Scores that the tail stands for."""
        return self._size

    def quantile(self, share: float) -> float:
        """The score that a share (0 to 1) of the scores exceeds; infinity before any score."""
        if not self._size:
            return math.inf
        expected = share * self._size
        if expected >= len(self._tail):
            return float(np.quantile(self._ring[: self._size], 1 - share))
        if expected >= 4:  # noqa: PLR2004 - enough scores above it to read it off
            position = len(self._tail) - expected
            low = min(int(position), len(self._tail) - 2)
            part = position - low
            return float(self._tail[low] * (1 - part) + self._tail[low + 1] * part)
        base, mean_excess = self._exponential()
        return base + mean_excess * math.log(len(self._tail) / max(expected, 1e-9))

    def share_above(self, score: float) -> float:
        """Estimated share (0 to 1) of the scores that are at least ``score``."""
        if not self._size:
            return 1.0
        above = len(self._tail) - int(self._tail.searchsorted(score))
        if above >= 4 or above == len(self._tail):  # noqa: PLR2004 - as in ``quantile``
            if above == len(self._tail):
                above = int(np.count_nonzero(self._ring[: self._size] >= score))
            return (above + 0.5) / (self._size + 1)
        base, mean_excess = self._exponential()
        estimate = len(self._tail) / self._size * math.exp(-(score - base) / mean_excess)
        return max(min(estimate, 4.5 / (self._size + 1)), 1e-9)

    def _exponential(self) -> tuple[float, float]:
        base = float(self._tail[0])
        return base, max(float(np.mean(self._tail)) - base, 1e-9)

    def summary(self) -> tuple[float, ...]:
        """Least, mean and largest of the scores kept and of their tail; zeros where none are."""
        kept = [each if len(each) else np.zeros(1) for each in (self._ring, self._tail)]
        return tuple(float(of(each)) for each in kept for of in (np.min, np.mean, np.max))

    def spans(self, score: float) -> bool:
        """Tell whether ``quantile`` may give this score, of these scores or the latest before."""
        if not self._size:
            return False
        highest = max(float(self._ring.max()), float(self._tail[-1]), self.quantile(0.0))
        lowest = min(float(self._ring.min()), float(self._tail[0]))
        return lowest <= score <= highest

    def state(self) -> State:
        """The ring and the tail."""
        return {
            "ring": self._ring.copy(),
            "next": self._next,
            "chunks": self._chunks,
            "tail": self._tail.copy(),
            "size": self._size,
        }

    def restore(self, state: State) -> None:
        """Take ``state`` in. Raises ``StateMismatchError`` where it is no tail of scores."""
        ring = read_array(state, "ring", (-1,))
        if len(ring) > self._window:
            raise StateMismatchError(f"{len(ring)} scores are kept, at most {self._window} may be")
        place = read_count(state, "next", high=self._window - 1 if len(ring) == self._window else 0)
        size = read_count(state, "size", high=len(ring))
        tail = read_array(state, "tail", (_tail_length(size),))
        if (np.diff(tail) < 0).any():
            raise StateMismatchError("the tail of the scores is not sorted")
        self._chunks = read_count(state, "chunks")
        self._ring, self._next, self._tail, self._size = ring, place, tail, size


def _tail_length(size: int) -> int:
    """Scores of the tail of so many."""
    return min(size, max(32, int(size * _TAIL_SHARE)))
