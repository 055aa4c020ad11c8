"""Which surprises of single events are alerted: settings, a threshold, and no repeats."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from stream_detector.detectors.stored import (
    LARGEST_COUNT,
    read_array,
    read_branch,
    read_count,
    read_float,
)
from stream_detector.errors import StateMismatchError
from stream_detector.events import Float64, State
from stream_detector.monitors.base import MonitorConfig
from stream_detector.parameters import human
from stream_detector.tables.sightings import hash_text
from stream_detector.tail import RunningTail
from stream_detector.units import Budget, Duration

LEAST = 1.0
"""Surprise below which nothing is alerted, whatever the budget: one in ten."""

_FROM_SCORES = 200
_WINDOW = 5000
"""Scores remembered: keys that grow older surprise more, so that old ones say little."""

_LARGEST_OFFSET, _TO_CORRECT = 4.0, 4.0
"""So many alerts missing or too many change the share that is read off by a factor of e."""

_MOST_TOLD = 10_000
_LARGEST, _SMALLEST = 300.0, 1e-15


class EventMonitorConfig(MonitorConfig):
    """Settings of a monitor that judges single events by what their key usually does."""

    told: ClassVar[frozenset[str]] = frozenset({"p", "budget", "after", "period"})

    p: float = Field(
        0.0001,
        ge=1e-12,
        le=0.1,
        description="What had so small a chance, by what its key did so far, is alerted, where "
        "there is no `budget`, or it is not known yet what keeps it.",
    )
    budget: Budget | None = Field(
        None, description="Events that may be alerted, such as `1 per day` or `0.01 %`."
    )
    after: int = Field(
        100,
        ge=0,
        le=1_000_000,
        description="Events that a key must have had before anything is said of it.",
    )
    period: Duration = Field(
        human("1d"), description="Event time in which the same is not alerted again."
    )
    half_life: Duration = Field(
        human("28d"), description="Event time after which what was usual counts half."
    )
    max_keys: int = Field(
        100_000,
        ge=1,
        le=1_000_000,
        description="Keys remembered; those with the least history go first.",
    )


class Surprises:
    """Decides which events are alerted, by -log10 of their chance.

    Scores are those of events that are strange at all, a few of all. With a budget the threshold is
    a quantile of them, read off anew after so many events wherever these were cut.

    State: the tail of the scores, those not in it yet, how many of the events lately had one and in
    how long a time, how far the alerts are from the budget, and what was alerted within ``period``.

    Attributes:
        threshold: the surprise from which on an alert is raised.
        repeats: what was as strange, and was not alerted as the same had just been.
    """

    def __init__(self, config: EventMonitorConfig) -> None:
        self._budget = config.budget
        self._fixed = -math.log10(config.p)
        self._period_ms = round(config.period * 1000)
        self.threshold = self._fixed
        self.repeats = 0
        self._tail = RunningTail(_WINDOW)
        self._new: list[Float64] = []
        self._events = self._scored = self._seconds = 0.0
        self._offset, self._exceeded = 0.0, 0
        self._told: dict[int, int] = {}

    def exceeded(self, scores: Float64) -> NDArray[np.bool_]:
        """Tell which scores are to be alerted; all are remembered for ``learn``."""
        if len(scores):
            self._new.append(scores)
        flags: NDArray[np.bool_] = scores >= self.threshold
        self._exceeded += int(np.count_nonzero(flags))
        return flags

    def learn(self, events: int, seconds: float, keep: float) -> None:
        """Take in the scores noted.

        Args:
            events: among which they were.
            seconds: of event time that these took.
            keep: what of that before still counts.
        """
        scores = np.concatenate([*self._new, np.empty(0)])
        self._new = []
        self._events = self._events * keep + events
        self._seconds = self._seconds * keep + seconds
        self._scored = self._scored * keep + len(scores)
        if len(scores):
            self._tail.learn(scores)
        if self._kept:
            error = (self.share or 0.0) * events - self._exceeded
            moved = self._offset + error / _TO_CORRECT
            self._offset = min(max(moved, -_LARGEST_OFFSET), _LARGEST_OFFSET)
        self._exceeded = 0
        self._set()

    @property
    def _kept(self) -> bool:
        """Whether it is known what keeps the budget."""
        return self.share is not None and self._tail.size >= _FROM_SCORES and self._scored > 0

    @property
    def share(self) -> float | None:
        """The share of the events that may be alerted; None without a budget."""
        budget = self._budget
        return None if budget is None else budget.share_of(self._events, self._seconds)

    def _set(self) -> None:
        if not self._kept:
            self.threshold = self._fixed
            return
        wanted = (self.share or 0.0) * math.exp(self._offset)
        of_scored = wanted * self._events / self._scored
        self.threshold = LEAST if of_scored >= 1 else max(self._tail.quantile(of_scored), LEAST)

    def rarity(self, score: float) -> float:
        """One in how many events has such a surprise."""
        if self._tail.size < _FROM_SCORES or not self._scored:
            return math.pow(10.0, min(score, 9.0))
        return max(self._events / self._scored / self._tail.share_above(score), 1.0)

    def tell(self, key: str, what: str, now_ms: int) -> bool:
        """Note that ``what`` of a key is alerted; False where it was within ``period``."""
        while self._told:
            oldest = next(iter(self._told))
            if now_ms - self._told[oldest] < self._period_ms and len(self._told) <= _MOST_TOLD:
                break
            del self._told[oldest]
        this = hash_text(f"{len(key)}:{key}{what}")
        if this in self._told:
            self.repeats += 1
            return False
        self._told[this] = now_ms
        return True

    def restart(self, mark_ms: int) -> None:
        """Time has gone back: what was alerted later was alerted then."""
        self._told = {what: min(at, mark_ms) for what, at in self._told.items()}

    def state(self) -> State:
        """Everything that events have changed."""
        return {
            "tail": self._tail.state(),
            "new": np.concatenate([*self._new, np.empty(0)]),
            "events": self._events,
            "scored": self._scored,
            "seconds": self._seconds,
            "repeats": self.repeats,
            "offset": self._offset,
            "exceeded": self._exceeded,
            "told": np.array(list(self._told.items()), dtype=np.int64).reshape(-1, 2),
        }

    def restore(self, state: State, latest_ms: int, most_new: int) -> None:
        """Take the state in. Raises ``StateMismatchError`` where it is none of such a class."""
        self._tail.restore(read_branch(state, "tail"))
        new = read_array(state, "new", (-1,), low=0, high=_LARGEST)
        told = read_array(state, "told", (-1, 2), np.int64)
        read_array({"told": told[:, 1]}, "told", (-1,), np.int64, low=0, high=latest_ms)
        if len(new) > most_new or len(told) > _MOST_TOLD + 1:
            raise StateMismatchError("more surprises than are remembered")
        if (np.diff(told[:, 1]) < 0).any() or len(np.unique(told[:, 0])) < len(told):
            raise StateMismatchError("what was alerted repeats, or is not in its order")
        self._new = [new] if len(new) else []
        self._told = dict(told.tolist())
        self._events, self._scored, self._seconds = (
            read_float(state, name, low=0, high=LARGEST_COUNT)
            for name in ("events", "scored", "seconds")
        )
        self.repeats = read_count(state, "repeats")
        self._offset = read_float(state, "offset", low=-_LARGEST_OFFSET, high=_LARGEST_OFFSET)
        self._exceeded = read_count(state, "exceeded", high=most_new)
        if not self._scored <= self._events:
            raise StateMismatchError("more events with a surprise than events")
        self._set()


def surprise(chance: Float64) -> Float64:
    """-log10 of chances, 0 to 300."""
    result: Float64 = -np.log10(np.maximum(chance, 10.0**-_LARGEST))
    return np.maximum(result, 0.0)


def as_deviations(score: float) -> float:
    """How far from the mean of a normal distribution it is as rare as a surprise."""
    chance = 10.0**-score
    # Beyond 8 deviations the tail is its leading term (Mills' ratio), to a percent.
    if chance > _SMALLEST:
        return -NormalDist().inv_cdf(min(chance, 0.5))
    square = 2 * score * math.log(10)
    return math.sqrt(square - math.log(2 * math.pi * square))
