"""Slow level of a key's values, which no single event and no short time moves far."""

from __future__ import annotations

import math

import numpy as np

from stream_detector.detectors.stored import read_array
from stream_detector.errors import StateMismatchError
from stream_detector.events import Float64, Int64, State
from stream_detector.tables.history import Occurrences, next_round, worth_a_round
from stream_detector.tables.keys import grown

LARGEST_STEP = 0.01
"""An event moves a level by at most so much, on the logarithm: about 1 %."""

FIRST_EVENTS = 8.0
"""A key's first events make its level, as a plain mean; from then on steps are bounded."""

LARGEST_LEVEL = 1000.0
"""More than the logarithm of any float."""

_REMEMBERED_EVENTS = 64.0
"""Events that the level is a mean of at most, so that an old key's can move as a young one's."""


class Baselines:
    """For each slot a level of log(1 + abs(value)), with the value's sign, and events behind it.

    A mean of a key's values follows whoever raises them little by little: at 3 % a payment the
    mean with a half-life of three weeks has doubled by the time of the one that matters. Here the
    step of an event is (logarithm - level) / (events + 1), within ±1 % and within what would take
    the level to the double in ``half_life``, however many events there are. So the level is next to
    a running median, as stochastic approximation finds one (Robbins and Monro 1951), with a limit
    on its speed.

    State: two numbers a slot.
    """

    def __init__(self, half_life: float) -> None:
        """``half_life``: seconds in which a level at most doubles, or halves."""
        self._rate = math.log(2) / (half_life * 1000.0)
        self.levels: Float64 = np.zeros((0, 2))

    def grow(self, rows: int) -> None:
        """Make room for ``rows`` slots."""
        self.levels = grown(self.levels, rows, 0.0)

    def clear(self, slots: Int64) -> None:
        """Forget what the slots held."""
        self.levels[slots] = 0.0

    def advance(
        self, events: Occurrences, gap_ms: Float64, values: Float64
    ) -> tuple[Float64, Float64]:
        """Take events in, in rounds as ``Histories.advance`` does.

        Args:
            events: which of them share a slot.
            gap_ms: (events,) sorted, since the key's previous event, at least 0.
            values: (events,) sorted, finite.

        Returns:
            Two (events,) sorted: logarithm minus level just before each event, 0 for a new key;
            the level, NaN for a new key.
        """
        logs = logarithms(values)
        bounds = np.minimum(gap_ms * self._rate, LARGEST_STEP)
        above, levels = np.empty(len(values)), np.empty(len(values))
        at, left = events.starts, events.lengths
        while worth_a_round(left):
            slots = events.slots[at]
            level, count = self.levels[slots].T
            difference = logs[at] - level
            above[at] = np.where(count > 0, difference, 0.0)
            levels[at] = np.where(count > 0, level, np.nan)
            step = difference / (count + 1.0)
            bound = bounds[at]
            slow = np.minimum(np.maximum(step, -bound), bound)
            self.levels[slots, 0] = level + np.where(count < FIRST_EVENTS, step, slow)
            self.levels[slots, 1] = np.minimum(count + 1.0, _REMEMBERED_EVENTS)
            at, left = next_round(at, left)
        for start, length in zip(at.tolist(), left.tolist(), strict=True):
            rows = slice(start, start + length)
            slot = int(events.slots[start])
            self._walk(slot, logs[rows], bounds[rows], above[rows], levels[rows])
        return above, levels

    def _walk(
        self, slot: int, logs: Float64, bounds: Float64, above: Float64, levels: Float64
    ) -> None:
        """The events of one slot, one after the other, with the operations of a round."""
        level, count = self.levels[slot].tolist()
        differences, before = [], []
        for log, bound in zip(logs.tolist(), bounds.tolist(), strict=True):
            difference = log - level
            differences.append(difference if count > 0 else 0.0)
            before.append(level if count > 0 else math.nan)
            step = difference / (count + 1.0)
            if count >= FIRST_EVENTS:
                step = min(max(step, -bound), bound)
            level += step
            count = min(count + 1.0, _REMEMBERED_EVENTS)
        above[:], levels[:] = differences, before
        self.levels[slot] = level, count


def logarithms(values: Float64) -> Float64:
    """log(1 + abs(value)) with the value's sign, elementwise."""
    return np.copysign(np.log1p(np.abs(values)), values)


def read_levels(state: State, name: str, keys: int) -> Float64:
    """(keys, 2) levels out of a stored state. Raises ``StateMismatchError``."""
    levels: Float64 = read_array(state, name, (keys, 2), low=-LARGEST_LEVEL, high=LARGEST_LEVEL)
    counts = levels[:, 1]
    if keys and not (counts.min() >= 1.0 and counts.max() <= _REMEMBERED_EVENTS):
        raise StateMismatchError(
            f"state {name!r}: expected levels of 1 to {_REMEMBERED_EVENTS:.0f} events"
        )
    return levels
