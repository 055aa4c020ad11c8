"""Threshold above which scores become alerts: fixed, or a budget kept by a running quantile.

The threshold changes only when a chunk is full, like everything that learns, so a score is judged
by a threshold that has not seen it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from stream_detector.config.models.config import ThresholdConfig
from stream_detector.detectors.stored import (
    LARGEST_COUNT,
    LARGEST_TIME_MS,
    read_array,
    read_branch,
    read_count,
    read_float,
    read_time,
)
from stream_detector.errors import StateMismatchError
from stream_detector.events import Float64, State
from stream_detector.tail import RunningTail
from stream_detector.units import Budget

_FEEDBACK_EVENTS = 10_000
"""Half-life, in events, of the count of alerts that is held against the budget."""


_EVENTS_TO_CORRECT, _ALERTS_TO_CORRECT = 1000, 4
"""Alerts of so many events (but of four alerts at least) that are missing or too many change the
share that is read off by a factor of e. With 10,000 events a drift stays for three windows of
10,000; below 600 the count of rare alerts follows chance."""

_LARGEST_OFFSET = 6.0


@dataclass(frozen=True, slots=True)
class AlertPace:
    """The stream's time at the end of a chunk.

    Attributes:
        now_ms: its watermark.
        gaps_ms: how much of its way since the last chunk was silence over which it was set:
            a budget of so many alerts a day is of days with events.
    """

    now_ms: int
    gaps_ms: int = 0


class AlertThreshold:
    """Decides which scores alert.

    State: the running tail, its correction, the events and alerts of late (decayed), the pace of
    the stream's time.
    """

    def __init__(self, config: ThresholdConfig) -> None:
        self._fixed = config.score
        self._budget: Budget | None = config.budget
        self._burn_in = config.burn_in
        self._tail = RunningTail()
        self._seen = 0
        self._events = 0.0
        self._alerts = 0.0
        self._seconds = 0.0
        self._paced = 0.0
        self._offset = 0.0
        self._last_ms = -1
        self._value = math.inf if self._fixed is None else self._fixed

    @property
    def value(self) -> float:
        """Scores above this alert, once the burn-in is over; infinity while nothing is known."""
        return self._value

    @property
    def share(self) -> float | None:
        """The budget as a share of the events (0 to 1), as of now; None with a fixed score."""
        budget = self._budget
        return None if budget is None else budget.share_of(self._paced, self._seconds)

    @property
    def alert_rate(self) -> float:
        """Share of the last events (half-life 10,000) that were above the threshold."""
        return self._alerts / self._events if self._events else 0.0

    def use(self, value: float) -> None:
        """Decide by a value that another has learnt."""
        self._value = value

    def exceeded(self, scores: Float64, first_sequence: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Tell which of ``scores`` alert; ``first_sequence`` counts the events before the first."""
        flags = scores > self._value
        if first_sequence < self._burn_in:
            flags[: self._burn_in - first_sequence] = False
        return flags

    def rarity(self, score: float) -> float:
        """Return the rarity of a score: one in so many events has it."""
        return 1.0 / self._tail.share_above(score)

    def learn(self, scores: Float64, flags: np.ndarray[Any, Any], pace: AlertPace) -> None:
        """Take in a full chunk: its scores, which of them alerted, the time at its end."""
        count = len(scores)
        if self._seen >= min(self._burn_in, 256):
            # The scores of an untrained model say nothing about later ones.
            self._tail.learn(scores)
        self._seen += count
        keep = 0.5 ** (count / _FEEDBACK_EVENTS)
        if self._seen > self._burn_in:
            self._events = self._events * keep + count
            self._alerts = self._alerts * keep + float(np.count_nonzero(flags))
        if self._last_ms >= 0:
            way_ms = pace.now_ms - self._last_ms - pace.gaps_ms
            self._seconds = self._seconds * keep + max(way_ms, 0) / 1000
            self._paced = self._paced * keep + count
        self._last_ms = pace.now_ms
        if self._fixed is None:
            share = self.share
            if share is not None and self._tail.size:
                if self._seen > self._burn_in + count and math.isfinite(self._value):
                    self._correct(share, count, int(np.count_nonzero(flags)))
                self._value = self._tail.quantile(min(share * math.exp(self._offset), 0.5))

    def _correct(self, share: float, count: int, alerts: int) -> None:
        """Move the quantile by the alerts that a chunk had too many or too few.

        An integral controller on the logarithm of the share that is read off: scores drift as a
        model learns, and the tail of the last 50,000 lags behind them. A chunk's own error would
        chase chance; its sum cannot stay away from the budget.
        """
        error = share * count - alerts
        gain = 1.0 / max(share * _EVENTS_TO_CORRECT, _ALERTS_TO_CORRECT)
        moved = self._offset + gain * error
        self._offset = min(max(moved, -_LARGEST_OFFSET), _LARGEST_OFFSET)

    def summary(self) -> tuple[float, ...]:
        """Return a few numbers of the state; no setting has a part in them."""
        paces = (self._seen, self._events, self._alerts, self._seconds, self._paced, self._offset)
        return (*self._tail.summary(), *paces)

    def reset(self) -> None:
        """Forget the scores: another model gives them from now on."""
        self._tail = RunningTail()
        self._seen = 0
        self._offset = 0.0
        self._value = math.inf if self._fixed is None else self._fixed

    def state(self) -> State:
        """Everything learnt."""
        return {
            "tail": self._tail.state(),
            "seen": self._seen,
            "events": self._events,
            "alerts": self._alerts,
            "seconds": self._seconds,
            "paced": self._paced,
            "offset": self._offset,
            "last_ms": self._last_ms,
            "value": np.array(self._value),
        }

    def restore(self, state: State) -> None:
        """Take ``state`` in; a fixed score stays the configuration's.

        Raises ``StateMismatchError`` where numbers contradict each other.
        """
        self._tail.restore(read_branch(state, "tail"))
        self._seen, self._last_ms = read_count(state, "seen"), read_time(state, "last_ms")
        self._events = read_float(state, "events", low=0.0, high=LARGEST_COUNT)
        self._alerts = read_float(state, "alerts", low=0.0, high=1.001 * self._events)
        self._seconds = read_float(state, "seconds", low=0.0, high=LARGEST_TIME_MS)
        self._paced = read_float(state, "paced", low=0.0, high=LARGEST_COUNT)
        self._offset = 0.0
        if "offset" in state:  # states of older versions have none
            most = _LARGEST_OFFSET
            self._offset = read_float(state, "offset", low=-most, high=most)
        if self._fixed is None:
            value = float(read_array(state, "value", (), infinite=True))
            if value != math.inf and not self._tail.spans(value):
                raise StateMismatchError(f"a threshold of {value:.6g} is none of the scores kept")
            self._value = value
