"""Decayed moments by key: which events of a batch share a key, and how their numbers move on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_detector.detectors.stored import LARGEST_COUNT, read_array
from stream_detector.errors import StateMismatchError
from stream_detector.events import Float64, Int64, State

_ROUND_COST, _WALK_COST, _STEP_COST = 10, 6, 1
"""About what a round over all keys costs, to begin a walk along one key, and a step of it."""

_LARGEST_TIME_MS = 2**50
"""35,000 years: times beyond are clipped, so that the sums below stay within int64."""


@dataclass(frozen=True, slots=True)
class Occurrences:
    """The events of a batch, sorted by slot and, within a slot, in their own order.

    Attributes:
        order: (events,) position in the batch of the i-th sorted event.
        slots: (events,) slot of the i-th sorted event.
        starts: (keys,) where each slot's events begin.
        lengths: (keys,) how many it has.
    """

    order: Int64
    slots: Int64
    starts: Int64
    lengths: Int64

    @classmethod
    def of(cls, slots: Int64) -> Occurrences:
        """Sort the events of a batch, at least one, by their slots."""
        order = np.argsort(slots, kind="stable")
        ordered = slots[order]
        first = np.empty(len(slots), dtype=np.bool_)
        first[0] = True
        np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
        starts = np.flatnonzero(first)
        lengths = np.empty_like(starts)
        np.subtract(starts[1:], starts[:-1], out=lengths[:-1])
        lengths[-1] = len(slots) - starts[-1]
        return cls(order, ordered, starts, lengths)

    def newest_times(self, last_time: Float64, time_ms: Int64) -> tuple[Float64, Float64]:
        """The newest time of each event's key before it, and with it (the later of the two).

        Args:
            last_time: (events,) sorted, each slot's newest time before the batch, -inf if none.
            time_ms: (events,) sorted.

        Returns:
            Two (events,) float64. All is whole milliseconds below 2**53, hence exact.
        """
        times = np.minimum(np.maximum(time_ms, -_LARGEST_TIME_MS), _LARGEST_TIME_MS)
        if len(self.starts) == len(times):
            return last_time, np.maximum(last_time, times)
        # One running maximum serves all slots: each slot's times are lifted above those before.
        lowest = times.min()
        lift = int(times.max() - lowest) + 1
        offset = np.repeat(np.arange(len(self.starts)) * lift - lowest, self.lengths)
        running = np.maximum.accumulate(times + offset)
        newest = np.maximum(last_time, running - offset)
        previous = last_time.copy()
        repeated = np.ones(len(times), dtype=np.bool_)
        repeated[self.starts] = False
        at = np.flatnonzero(repeated)
        previous[at] = newest[at - 1]
        return previous, newest


class Histories:
    """For each slot and half-life: sum of weights, sum of their squares, mean, sum of squares.

    ``moments``: (4 or 1, slots, half-lives) float64; without values only a sum of weights times
    what each event adds (1, where the events are counted). The
    recurrence is that of West (1979) with fading weights: before an event of weight 1 comes, the
    weights are multiplied by the decay d since the last one.
    """

    def __init__(self, half_lives: int, *, with_values: bool) -> None:
        self.moments: Float64 = np.zeros((4 if with_values else 1, 0, half_lives))

    def grow(self, rows: int) -> None:
        """Make room for ``rows`` slots."""
        kinds, slots, half_lives = self.moments.shape
        if slots < rows:
            more = np.zeros((kinds, rows - slots, half_lives))
            self.moments = np.concatenate([self.moments, more], axis=1)

    def clear(self, slots: Int64) -> None:
        """Forget what the slots held."""
        self.moments[:, slots] = 0.0

    def advance(self, events: Occurrences, decay: Float64, values: Float64) -> Float64:
        """Take events in, in rounds: the first of every key, then the second, and so on.

        Args:
            events: which of them share a slot.
            decay: (events, half-lives) sorted, from the key's previous event to this one.
            values: (events,) sorted, within ±1e30; what each adds to the sum, where there is one.

        Returns:
            (4 or 1, events, half-lives) sorted: the moments just before each event, not yet
            multiplied by ``decay``.
        """
        # For an event that is not its key's first in the batch, both are overwritten or not used.
        held = _rows(self.moments)
        before = _numbers(held.take(events.slots, axis=1))
        after = _rows(_step(before, decay, values))
        if len(events.starts) == len(values):
            held[:, events.slots] = after
            return before
        held[:, events.slots[events.starts]] = after.take(events.starts, axis=1)
        at, left = next_round(events.starts, events.lengths)
        while worth_a_round(left):
            slots = events.slots[at]
            moments = held.take(slots, axis=1)
            _rows(before)[:, at] = moments
            held[:, slots] = _rows(_step(_numbers(moments), decay.take(at, axis=0), values[at]))
            at, left = next_round(at, left)
        for start, length in zip(at.tolist(), left.tolist(), strict=True):
            rows = slice(start, start + length)
            self._walk(int(events.slots[start]), before[:, rows], decay[rows], values[rows])
        return before

    def _walk(self, slot: int, before: Float64, decay: Float64, values: Float64) -> None:
        """The events of one slot, one after the other, with the operations of ``_step``."""
        moments = self.moments[:, slot]
        with_values = len(moments) > 1
        numbers = values.tolist()
        for column in range(moments.shape[1]):
            fades = decay[:, column].tolist()
            history: list[tuple[float, ...]] = []
            if not with_values:
                (weight,) = moments[:, column].tolist()
                for fade, value in zip(fades, numbers, strict=True):
                    history.append((weight,))
                    weight = weight * fade + value
                moments[0, column] = weight
            else:
                weight, square, mean, spread = moments[:, column].tolist()
                for fade, value in zip(fades, numbers, strict=True):
                    history.append((weight, square, mean, spread))
                    faded = weight * fade
                    weight = faded + 1.0
                    square = square * (fade * fade) + 1.0
                    delta = value - mean
                    mean = mean + delta / weight
                    spread = spread * fade + (delta * delta) * (faded / weight)
                moments[:, column] = (weight, square, mean, spread)
            before[:, :, column] = np.array(history).T


def _rows(moments: Float64) -> NDArray[np.void]:
    """(kinds, slots) view of moments: the numbers of all half-lives as one element.

    NumPy moves such an element at once: a third of the time for putting them in their slots.
    """
    return moments.view(np.dtype((np.void, moments.itemsize * moments.shape[2])))[:, :, 0]


def _numbers(rows: NDArray[np.void]) -> Float64:
    """``_rows`` undone."""
    return rows[:, :, None].view(np.float64)


def worth_a_round(left: Int64) -> bool:
    """Tell whether a round over keys with ``left`` events is cheaper than walking along each key.

    A walk uses plain floats. Both round alike (IEEE 754 addition, multiplication and division, each
    rounded once), so the choice never shows in a bit.
    """
    keys = len(left)
    if keys == 0:
        return False
    saved_now = int(np.count_nonzero(left == 1)) * _WALK_COST + keys * _STEP_COST
    saved_by_all = keys * _WALK_COST + int(left.sum()) * _STEP_COST
    return saved_now > _ROUND_COST or saved_by_all > int(left.max()) * _ROUND_COST


def next_round(at: Int64, left: Int64) -> tuple[Int64, Int64]:
    """The next event of each key that has one, and how many each has left from there."""
    more = left > 1
    return at[more] + 1, left[more] - 1


def _step(moments: Float64, decay: Float64, values: Float64) -> Float64:
    """The moments after one event each: (4 or 1, keys, half-lives)."""
    after = np.empty_like(moments)
    faded = moments[0] * decay
    if len(moments) == 1:
        np.add(faded, values[:, None], out=after[0])
    else:
        weight = np.add(faded, 1.0, out=after[0])
        mean, spread = moments[2], moments[3]
        np.add(moments[1] * (decay * decay), 1.0, out=after[1])
        delta = values[:, None] - mean
        np.add(mean, delta / weight, out=after[2])
        np.add(spread * decay, (delta * delta) * (faded / weight), out=after[3])
    return after


def check_moments(moments: Float64, largest: float) -> None:
    """Raise ``StateMismatchError`` where restored moments are none of values within ``largest``."""
    weights = moments[:2]
    fits = (weights >= 0).all() and (weights <= LARGEST_COUNT).all()
    if len(moments) > 1:
        mean, spread = moments[2], moments[3]
        most = LARGEST_COUNT * largest * largest
        fits = fits and (np.abs(mean) <= largest).all() and (spread >= 0).all()
        fits = fits and (spread <= most).all()
    if not fits:
        raise StateMismatchError("moments of keys are no weights, means and sums of squares")


def read_times(state: State, name: str, shape: tuple[int, ...], latest_ms: int) -> Float64:
    """The times ``name`` of a state in ms, up to ``latest_ms``, or minus infinity for never.

    Raises ``StateMismatchError`` where they are none.
    """
    times: Float64 = read_array(
        state, name, shape, low=-_LARGEST_TIME_MS, high=latest_ms, infinite=True
    )
    if (times == np.inf).any():
        raise StateMismatchError(f"state {name!r}: holds a time without end")
    return times


def advance_sketches(
    sketches: Float64, events: Occurrences, touched: NDArray[np.int64], time_ms: Float64
) -> Float64:
    """Note in each key's sketch when a value was last seen; the sketches just before each event.

    Args:
        sketches: (slots, sketch slots), changed in place.
        events: which events share a slot.
        touched: (events,) sorted, the sketch slot of each event's value, -1 for none.
        time_ms: (events,) sorted; within a slot it never goes back.

    Returns:
        (events, sketch slots) sorted.
    """
    before = np.empty((len(touched), sketches.shape[1]))
    at, left = events.starts, events.lengths
    while worth_a_round(left):
        before[at] = sketches[events.slots[at]]
        hit = at[touched[at] >= 0]
        sketches[events.slots[hit], touched[hit]] = time_ms[hit]
        at, left = next_round(at, left)
    for start, length in zip(at.tolist(), left.tolist(), strict=True):
        sketch = sketches[events.slots[start]]
        for position in range(start, start + length):
            before[position] = sketch
            if touched[position] >= 0:
                sketch[touched[position]] = time_ms[position]
    return before
