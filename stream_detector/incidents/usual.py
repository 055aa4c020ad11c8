"""What is usual: how often each value occurs among events, and incidents begin."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from stream_detector.detectors.stored import (
    LARGEST_NUMBER,
    read_array,
    read_branch,
    read_count,
    read_float,
    read_time,
)
from stream_detector.errors import StateMismatchError
from stream_detector.events import NO_TIMESTAMP, State
from stream_detector.tables.texts import pack_texts, unpack_texts

_EVERY = 4
"""One event of so many is counted, once there were ``_ALL``."""

_ALL = 4096

_MOST_HALVINGS = 40.0
"""Weights grow by so many halvings before all are made smaller."""

_KEPT_SHARE = 0.75
_LARGEST = 1_000_000
_LONGEST_MS = 2**45
_HOUR_MS = 3_600_000
_UNKNOWN = 0.5
"""A value that was never counted has been seen half a time."""


class Population:
    """Shares of the values of fields among the events, and how often these come.

    The newest count most: a count is worth half after ``half_life_ms`` of watermark. One event of
    four is counted. What a slice brings counts from the end of its chunk on, so that it does not
    matter how chunks were cut.

    State: for each field at most ``max_values`` values; beyond, a quarter goes, the rarest, of
    equal ones the first that came.
    """

    def __init__(self, fields: Sequence[str], max_values: int, half_life_ms: int) -> None:
        self.evicted = 0
        self._places = {name: place for place, name in enumerate(fields)}
        self._most, self._half_life_ms = max_values, half_life_ms
        self._counts: list[dict[str, float]] = [{} for _ in fields]
        self._totals = [0.0] * len(fields)
        self._events = 0  # accepted, of the stream
        self._began_ms = NO_TIMESTAMP  # where the weight of a count was 1
        self._now_ms = NO_TIMESTAMP
        self._pace = Pace(_HOUR_MS, half_life_ms)

    def knows(self, field: str) -> bool:
        """Tell whether the values of a field are counted."""
        return field in self._places

    def share(self, field: str, value: str) -> float:
        """The share, above 0, of events with a value; of a field that is not counted a half."""
        place = self._places.get(field)
        if place is None:
            return 0.5
        unit = self._weight
        count = self._counts[place].get(value, 0.0) + _UNKNOWN * unit
        return count / (self._totals[place] + unit)

    def gap_ms(self, field: str, value: str, mark_ms: int) -> int:
        """Time from one event with a value to the next, usually; 0 of one that is hardly known."""
        place = self._places.get(field)
        if place is None or self._counts[place].get(value, 0.0) < self._weight:
            return 0
        often = self._pace.expected(mark_ms) * self.share(field, value)
        return min(round(_HOUR_MS / often), _LONGEST_MS)

    @property
    def _weight(self) -> float:
        if self._now_ms == NO_TIMESTAMP:
            return 1.0
        return float(2.0 ** ((self._now_ms - self._began_ms) / self._half_life_ms))

    def learn(self, columns: Sequence[Sequence[Sequence[str | None]]], mark_ms: int) -> None:
        """Count a chunk: the slices of each field; ``mark_ms`` is the watermark after it."""
        self._go_on(mark_ms)
        weight = self._weight
        begin = self._events
        for place, slices in enumerate(columns):
            begin, found = self._events, Counter[str | None]()
            for values in slices:
                found.update(values if begin < _ALL else values[-begin % _EVERY :: _EVERY])
                begin += len(values)
            self._count(place, found, weight)
        self._pace.note(mark_ms, begin - self._events)
        self._events = begin

    def _count(self, place: int, found: Counter[str | None], weight: float) -> None:
        counts = self._counts[place]
        total = 0
        for value, times in found.items():
            if value is not None:
                counts[value] = counts.get(value, 0.0) + times * weight
                total += times
        self._totals[place] += total * weight
        if len(counts) > self._most:
            self._evict(place)

    def _evict(self, place: int) -> None:
        counts = self._counts[place]
        each = np.fromiter(counts.values(), np.float64, len(counts))
        going = len(counts) - int(self._most * _KEPT_SHARE)
        order = np.argsort(each, kind="stable")[:going]
        gone = set(order.tolist())
        self._counts[place] = {v: n for at, (v, n) in enumerate(counts.items()) if at not in gone}
        self.evicted += going

    def _go_on(self, mark_ms: int) -> None:
        if self._now_ms == NO_TIMESTAMP:
            self._began_ms = self._now_ms = mark_ms
            self._pace.begin(mark_ms)
        self._now_ms = max(self._now_ms, mark_ms)
        halvings = (self._now_ms - self._began_ms) / self._half_life_ms
        if halvings > _MOST_HALVINGS:
            factor = 2.0 ** -min(halvings, 1000.0)
            self._counts = [
                {value: n * factor for value, n in counts.items() if n * factor > _UNKNOWN / 64}
                for counts in self._counts
            ]
            self._totals = [math.fsum(counts.values()) for counts in self._counts]
            self._began_ms = self._now_ms

    def go_back(self, mark_ms: int) -> None:
        """The watermark was wrong and is ``mark_ms``: counts keep their weight."""
        if self._now_ms > mark_ms:
            self._began_ms -= self._now_ms - mark_ms
            self._now_ms = mark_ms
            self._pace.go_back(mark_ms)

    def state(self) -> State:
        """The values of each field with their counts, in the order in which they came."""
        return {
            "events": self._events,
            "evicted": self.evicted,
            "age_ms": self._now_ms - self._began_ms,
            "half_life_ms": self._half_life_ms,
            "pace": self._pace.state(),
            "now_ms": self._now_ms,
            "fields": {
                name: {
                    "values": pack_texts(list(self._counts[place])),
                    "counts": np.array(list(self._counts[place].values()), dtype=np.float64),
                    "total": self._totals[place],
                }
                for name, place in self._places.items()
            },
        }

    def restore(self, state: State) -> None:
        """Take the state in; of fields that it does not have nothing is known.

        Raises ``StateMismatchError``.
        """
        self._events, self.evicted = read_count(state, "events"), read_count(state, "evicted")
        self._now_ms = read_time(state, "now_ms")
        if "pace" in state:  # not in states of before
            self._pace.restore(read_branch(state, "pace"))
        # Another half-life since: as many halvings as there were.
        before_ms = read_count(state, "half_life_ms") if "half_life_ms" in state else 0
        age_ms = read_count(state, "age_ms", high=int(_MOST_HALVINGS * _LONGEST_MS))
        halvings = min(age_ms / max(before_ms or self._half_life_ms, 1), _MOST_HALVINGS)
        self._began_ms = self._now_ms - round(halvings * self._half_life_ms)
        fields = read_branch(state, "fields")
        for name, place in self._places.items():
            if name not in fields:
                continue  # the settings were others then
            branch = read_branch(fields, name)
            values = [one for one in unpack_texts(read_branch(branch, "values")) if one is not None]
            counts = read_array(branch, "counts", (len(values),), low=0.0, high=LARGEST_NUMBER)
            self._counts[place] = dict(zip(values, counts.tolist(), strict=True))
            if not len(self._counts[place]) == len(values) <= _LARGEST:
                raise StateMismatchError(f"values of {name} repeat, or there are too many")
            self._totals[place] = read_float(branch, "total", low=0.0)


class Pace:
    """How many incidents begin, or events come, in a stretch of time, usually.

    As with events that come by chance: the count, halved after ``half_life_ms``, and one, over the
    time that it took, and the stretch. State: three numbers.
    """

    def __init__(self, stretch_ms: int, half_life_ms: int) -> None:
        self._stretch_ms, self._half_life_ms = stretch_ms, half_life_ms
        self._count = self._time_ms = 0.0
        self._now_ms = NO_TIMESTAMP

    def note(self, mark_ms: int, times: int = 1) -> None:
        """One has come, or as many."""
        kept, self._time_ms = self._aged(mark_ms)
        self._count = self._count * kept + times
        self._now_ms = max(self._now_ms, mark_ms)

    def expected(self, mark_ms: int) -> float:
        """As many in a stretch, above 0, as of a watermark; changes nothing."""
        kept, time_ms = self._aged(mark_ms)
        return (self._count * kept + 1) / (time_ms + self._stretch_ms) * self._stretch_ms

    def begin(self, mark_ms: int) -> None:
        """Time is known from now on."""
        if self._now_ms == NO_TIMESTAMP:
            self._now_ms = mark_ms

    def _aged(self, mark_ms: int) -> tuple[float, float]:
        """What is left of a count by a watermark, and the time that it took."""
        passed = max(mark_ms - self._now_ms, 0) if self._now_ms != NO_TIMESTAMP else 0
        kept = 0.5 ** min(passed / self._half_life_ms, 1000.0)
        mean_ms = self._half_life_ms / math.log(2)
        return kept, self._time_ms * kept + mean_ms * (1 - kept)

    def go_back(self, mark_ms: int) -> None:
        """The watermark was wrong and is ``mark_ms``."""
        self._now_ms = min(self._now_ms, mark_ms)

    def state(self) -> State:
        """Count, time, and now."""
        return {"count": self._count, "time_ms": self._time_ms, "now_ms": self._now_ms}

    def restore(self, state: State) -> None:
        """Take the state in. Raises ``StateMismatchError``."""
        self._count = read_float(state, "count", low=0.0, high=2**52)
        longest = self._half_life_ms / math.log(2)
        # The half-life may have been another one: there is no more to be known than of this one.
        time_ms = read_float(state, "time_ms", low=0.0, high=_LONGEST_MS)
        if time_ms > longest * (1 + 1e-9):
            self._count, time_ms = self._count * longest / time_ms, longest
        self._time_ms = time_ms
        self._now_ms = read_time(state, "now_ms")
