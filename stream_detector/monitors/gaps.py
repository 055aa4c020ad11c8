"""What a monitor of silence knows of each of its keys: usual rate, last event, its gaps."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_detector.detectors.stored import LARGEST_COUNT, LARGEST_TIME_MS, read_array
from stream_detector.events import NO_TIMESTAMP, Float64, Int64, State
from stream_detector.monitors.opened import Opened
from stream_detector.tables.history import Occurrences
from stream_detector.tables.keys import grown

LONG_GAP = 3.0
"""Expected events from which on a gap is long: of these the tail is learnt."""

_LEAST_GAPS = 50.0
_PRIOR = 30.0
"""Long gaps that a key is taken to have had as chance would have them, before any of its own."""

_LONG_SHARE = math.exp(-LONG_GAP)
_LARGEST_EXCESS = 5.0
"""What a gap teaches at most, in means: a silence does not become usual at once."""

_HALVED_AT = 20_000.0
"""After so many gaps what is known of them counts half, and goes on."""

_OTHERS = 10.0
"""Events by which the pace of the others is drawn towards 1."""

MOST_RARE = 15.0
"""The largest score: rarer than that is nothing that anybody could have learnt."""

_LATELY = 20.0
"""Expected events after which what a key did counts half in its pace of late."""

_OWN_EVENTS = 5.0
"""Events by which a key's own pace of late is drawn towards 1."""

_CLIP = 3.0
_MOST_SEEN = 1000.0
_NEVER = float(LARGEST_TIME_MS)

_BOUNDS: dict[str, tuple[float, float]] = {
    "counts": (0.0, LARGEST_COUNT),
    "usual": (0.0, LARGEST_COUNT),
    "seen": (0.0, _MOST_SEEN),
    "age": (0.0, LARGEST_COUNT),
    "last_ms": (float(NO_TIMESTAMP), _NEVER),
    "lately": (0.0, LARGEST_COUNT),
    "lately_expected": (0.0, LARGEST_COUNT),
    "level": (0.0, 1.0),
    "own": (-float(LARGEST_COUNT), LARGEST_COUNT),
    "all_events": (0.0, LARGEST_COUNT),
    "all_expected": (0.0, LARGEST_COUNT),
    "gaps": (0.0, 2 * _HALVED_AT + LARGEST_COUNT),
    "long_gaps": (0.0, LARGEST_COUNT),
    "excess": (0.0, LARGEST_COUNT),
    "silent": (0.0, 1.0),
    "due_ms": (0.0, _NEVER),
}
_FRESH = {"last_ms": float(NO_TIMESTAMP), "level": 1.0, "due_ms": _NEVER}


@dataclass(frozen=True, slots=True)
class Moment:
    """What is known of all keys together at times within a bucket.

    Attributes:
        bucket: in which they lie.
        passed: (times,) share of the bucket that has passed.
        events: (times,) of all keys by then.
        expected: (times,) of all keys by then.
    """

    bucket: Opened
    passed: Float64
    events: Float64
    expected: Float64


class Gaps:
    """Columns with a row a key.

    Attributes:
        counts: (keys,) events in the open bucket.
        usual: (keys, slots) mean number of events in a slot of the season.
        seen: (keys, slots) how often the slot was seen.
        age: (keys,) buckets since the key came.
        last_ms: (keys,) what time it was at its last event; negative before any.
        lately: (keys,) its events in the buckets before the open one, those long ago counting less;
            ``lately_expected``: those expected of it.
        level: (keys,) its own pace of late, at most 1, when its gap began.
        own: (keys,) events expected of it from its last event to the beginning of the open bucket.
        all_events: (keys,) events of all keys up to its last one.
        all_expected: (keys,) events expected of all keys up to then.
        gaps: (keys,) gaps that have ended; ``long_gaps``: those of more than ``LONG_GAP``.
        excess: (keys,) expected events beyond that, over all long gaps.
        silent: (keys,) 1 from the alert on until the key comes back.
        due_ms: (keys,) when it is to be looked at next.
    """

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self.counts: Float64 = np.zeros(0)
        self.usual: Float64 = np.zeros((0, slots))
        self.seen: Float64 = np.zeros((0, slots))
        self.age: Float64 = np.zeros(0)
        self.last_ms: Float64 = np.zeros(0)
        self.lately: Float64 = np.zeros(0)
        self.lately_expected: Float64 = np.zeros(0)
        self.level: Float64 = np.zeros(0)
        self.own: Float64 = np.zeros(0)
        self.all_events: Float64 = np.zeros(0)
        self.all_expected: Float64 = np.zeros(0)
        self.gaps: Float64 = np.zeros(0)
        self.long_gaps: Float64 = np.zeros(0)
        self.excess: Float64 = np.zeros(0)
        self.silent: Float64 = np.zeros(0)
        self.due_ms: Float64 = np.zeros(0)

    def __len__(self) -> int:
        return len(self.counts)

    def grow(self, rows: int) -> None:
        """Have a row for each slot of the table of keys."""
        if len(self) < rows:
            for name in _BOUNDS:
                setattr(self, name, grown(getattr(self, name), rows, _FRESH.get(name, 0.0)))

    def forget(self, rows: Int64) -> None:
        """Make rows as new: their keys were forgotten."""
        for name in _BOUNDS:
            getattr(self, name)[rows] = _FRESH.get(name, 0.0)

    def well_known(self, rows: Int64, buckets: int) -> Int64:
        """Those of the rows whose keys came so many buckets ago, and have had enough gaps."""
        return rows[(self.age[rows] >= buckets) & (self.gaps[rows] >= _LEAST_GAPS)]

    def rates(self, rows: Int64, bucket: Opened) -> Float64:
        """(rows,) events expected in a bucket; 0 where its slot was never seen."""
        slots = bucket.slots_of(rows)
        usual: Float64 = np.where(self.seen[rows, slots] > 0, self.usual[rows, slots], 0.0)
        return usual * bucket.factors_of(rows)

    def paces(self, rows: Int64) -> Float64:
        """(rows,) what keys did of late as a share of what was usual for them; at most 1.

        Who had half as many events as usual all morning is not silent as soon as others.
        """
        own = (self.lately[rows] + _OWN_EVENTS) / (self.lately_expected[rows] + _OWN_EVENTS)
        return np.minimum(own, 1.0)

    def mean_rates(self, rows: Int64) -> Float64:
        """(rows,) events expected in a bucket, over the season as far as it is known."""
        known = (self.seen[rows] > 0).sum(axis=1)
        means: Float64 = self.usual[rows].sum(axis=1) / np.maximum(known, 1)
        return means

    # --- gaps that end, and last ------------------------------------------------------------------

    def end(self, events: Occurrences, moments: Moment, times_ms: Int64, *, beside: bool) -> None:
        """Events come: gaps end and are learnt, and others begin.

        Args:
            events: by key; ``moments`` and ``times_ms`` in the same order.
            moments: what is known of all keys before each.
            times_ms: what time it is.
            beside: whether the others' pace counts.
        """
        rows, firsts = events.slots, events.starts
        begun = rows[firsts]
        rates = self.rates(rows, moments.bucket)
        levels = self.paces(rows)
        # What each gap began with: of the first of a key what was kept, else the event before.
        own, all_events = -rates * moments.passed, moments.events + 1
        began = (
            _after(own, firsts, self.own[begun]),
            _after(all_events, firsts, self.all_events[begun]),
            _after(moments.expected, firsts, self.all_expected[begun]),
        )
        lengths, _ = _lengths(began, rates, moments, beside=beside)
        lengths *= _after(levels, firsts, self.level[begun])
        known = self.seen[rows, moments.bucket.slots_of(rows)] > 0
        known[firsts] &= (self.last_ms[begun] >= 0) & (self.silent[begun] == 0)
        in_order = np.argsort(events.order[known], kind="stable")
        self._learn(rows[known][in_order], lengths[known][in_order])
        ends = firsts + events.lengths - 1
        self.last_ms[begun], self.silent[begun] = times_ms[ends], 0.0
        self.own[begun], self.all_events[begun] = own[ends], all_events[ends]
        self.all_expected[begun] = moments.expected[ends]
        self.level[begun] = levels[ends]
        self.counts[begun] += events.lengths

    def lengths(self, rows: Int64, moment: Moment, *, beside: bool) -> tuple[Float64, Float64]:
        """(rows,) gaps that last, as of a moment, and the pace of the others meanwhile.

        A gap is measured in events that were to be expected of its key at that pace, and at its own
        of late. ``beside``: whether the others' counts.
        """
        began = self.own[rows], self.all_events[rows], self.all_expected[rows]
        rates = self.rates(rows, moment.bucket)
        lengths, pace = _lengths(began, rates, moment, beside=beside)
        return lengths * self.level[rows], pace

    # --- lengths of gaps --------------------------------------------------------------------------

    def tails(self, rows: Int64) -> tuple[Float64, Float64]:
        """(rows,) the share of gaps that are long, and how much longer these are in the mean.

        Before there were many, as if the key's events came by chance: e^-3 of them, and 1.
        """
        long = self.long_gaps[rows] + _PRIOR
        share = np.minimum(long / (self.gaps[rows] + _PRIOR / _LONG_SHARE), 1.0)
        return share, (self.excess[rows] + _PRIOR) / long

    def _learn(self, rows: Int64, lengths: Float64) -> None:
        """Learn gaps that have ended, in their order: rows may repeat."""
        np.add.at(self.gaps, rows, 1.0)
        for at in np.flatnonzero(lengths > LONG_GAP).tolist():
            row = rows[at : at + 1]
            _, mean = self.tails(row)
            self.excess[row] += np.minimum(lengths[at] - LONG_GAP, _LARGEST_EXCESS * mean)
            self.long_gaps[row] += 1

    # --- the end of a bucket ----------------------------------------------------------------------

    def close(self, held: NDArray[np.bool_], bucket: Opened) -> None:
        """Learn the open bucket, of keys that are not silent, and begin the next.

        What lies far from the usual teaches only as much as three deviations.
        """
        rows = np.arange(len(self))
        slots = bucket.slots_of(rows)
        seen, usual = self.seen[rows, slots], self.usual[rows, slots]
        expected = self.rates(rows, bucket)
        self.own += expected
        learns = held & (self.silent == 0)
        self._follow(learns & (seen > 0), expected)
        if bucket.day is not None:
            learns &= ~bucket.day.unlearnt
        reach = _CLIP * np.sqrt(usual + 0.5)
        taken = np.where(seen > 0, usual + np.clip(self.counts - usual, -reach, reach), self.counts)
        weight = np.maximum(self.teaches, 1 / (seen + 1))
        self.usual[rows, slots] = np.where(learns, usual + weight * (taken - usual), usual)
        self.seen[rows, slots] = np.where(learns, np.minimum(seen + 1, _MOST_SEEN), seen)
        self.age += learns
        self.counts[:] = 0.0
        many = np.flatnonzero(self.gaps >= _HALVED_AT)
        for column in (self.gaps, self.long_gaps, self.excess):
            column[many] *= 0.5
        self.forget(np.flatnonzero(~held))

    def _follow(self, rows: NDArray[np.bool_], expected: Float64) -> None:
        """The open bucket becomes a part of what keys did of late."""
        fades = 0.5 ** (expected / _LATELY)
        lately = np.minimum(self.lately * fades + self.counts, LARGEST_COUNT)
        self.lately[:] = np.where(rows, lately, self.lately)
        expected = np.minimum(self.lately_expected * fades + expected, LARGEST_COUNT)
        self.lately_expected[:] = np.where(rows, expected, self.lately_expected)

    teaches = 1.0
    """The least weight of a new bucket in the mean of its slot."""

    def restart(self, all_events: float, all_expected: float) -> None:
        """Begin all gaps anew: nobody knows what time it was."""
        self.counts[:] = 0.0
        self.own[:] = 0.0
        self.level[:] = self.paces(np.arange(len(self)))
        self.all_events[:] = all_events
        self.all_expected[:] = all_expected

    # --- state ------------------------------------------------------------------------------------

    def state(self, rows: Int64) -> State:
        """The columns, of these rows in this order."""
        return {name: getattr(self, name)[rows] for name in _BOUNDS}

    def restore(self, state: State, count: int, rows: int) -> None:
        """Take the columns of ``count`` keys in, with room for ``rows``.

        Raises ``StateMismatchError`` where they have other shapes, or values that cannot be.
        """
        fresh = Gaps(self._slots)
        fresh.grow(rows)
        for name, (low, high) in _BOUNDS.items():
            column = getattr(fresh, name)
            shape = (count, *column.shape[1:])
            column[:count] = read_array(state, name, shape, low=low, high=high)
        fresh.teaches = self.teaches
        self.__dict__.update(fresh.__dict__)


def _lengths(
    began: tuple[Float64, Float64, Float64], rates: Float64, now: Moment, *, beside: bool
) -> tuple[Float64, Float64]:
    """Lengths of gaps, and the pace of the others.

    What slows the others slows one key more than another: their pace counts twice then. Where they
    have more than usual, nothing more is expected of the key.

    Args:
        began: own expected (up to the open bucket), events of all and expected of all at the
            beginning of each gap.
        rates: expected of each key in the open bucket.
        now: the moment.
        beside: whether the others' pace counts.
    """
    own = np.maximum(began[0] + rates * now.passed, 0.0)
    if not beside:
        return own, np.ones(len(own))
    others = np.maximum(now.expected - began[2] - own, 0.0) + _OTHERS
    pace = (now.events - began[1] + _OTHERS) / others
    return own * np.minimum(pace, 1.0) ** 2, pace


def _after(values: Float64, firsts: Int64, kept: Float64) -> Float64:
    """What each event's gap began with: the value of the one before, of the first what was kept."""
    found = np.empty_like(values)
    found[1:] = values[:-1]
    found[firsts] = kept
    return found


def scores_of(lengths: Float64, share: Float64, mean: Float64) -> Float64:
    """-log10 of the share of gaps that would last as long; 0 for those that are not long."""
    beyond = np.log(share) - (lengths - LONG_GAP) / mean
    scores = np.where(lengths > LONG_GAP, -beyond / math.log(10), 0.0)
    return np.minimum(scores, MOST_RARE)


def length_at(scores: Float64 | float, share: Float64, mean: Float64) -> Float64:
    """The length at which a gap has a score; at least ``LONG_GAP``."""
    lengths: Float64 = LONG_GAP + mean * np.maximum(np.log(share) + scores * math.log(10), 0.0)
    return lengths
