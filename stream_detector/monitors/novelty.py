"""How often a key brings something new: the key's own rate, backed off to that of all keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_detector.detectors.stored import LARGEST_COUNT, read_array, read_branch
from stream_detector.events import Float64, Int64, State
from stream_detector.tables.history import Histories, Occurrences, check_moments, read_times
from stream_detector.tables.keys import grown

COHORT_EVENTS = 5.0
"""Events by which a key's own rate is drawn towards that of keys with as much history."""

_AGES = 64
"""Powers of two of the number of events that a key has had."""

_NEVER = -np.inf


def ranks(levels: Int64) -> Int64:
    """(rows,) how many rows before have the same level."""
    if not len(levels):
        return levels
    events = Occurrences.of(levels)
    result = np.empty_like(levels)
    index = np.arange(len(levels))
    result[events.order] = index - np.repeat(events.starts, events.lengths)
    return result


class Tally:
    """Counts by level, of which older ones count less.

    State: the counts as of the last fading, and whole ones since: so they are the same bits however
    rows are cut into calls.
    """

    def __init__(self, levels: int) -> None:
        self._old: Float64 = np.zeros(levels)
        self._new: Int64 = np.zeros(levels, dtype=np.int64)

    def count(self, levels: Int64) -> Float64:
        """Take rows in; for each what its level had before it."""
        before = self._old[levels] + (self._new[levels] + ranks(levels))
        self._new += np.bincount(levels, minlength=len(self._new))
        return before

    def count_from(self, levels: Int64) -> tuple[Float64, Float64]:
        """Take rows in; for each what its level and all above had before it, and what all had."""
        if not len(levels):
            return np.empty(0), np.empty(0)
        one = np.arange(len(self._old)) == levels[:, None]
        before = np.cumsum(one, axis=0) - one + self._new
        whole = np.cumsum(before[:, ::-1], axis=1)[:, ::-1]
        faded = np.cumsum(self._old[::-1])[::-1]
        self._new += one.sum(axis=0)
        return faded[levels] + whole[np.arange(len(levels)), levels], faded[0] + whole[:, 0]

    @property
    def fresh(self) -> int:
        """What was counted since the last fading."""
        return int(self._new.sum())

    def fade(self, keep: float) -> None:
        """Let what was counted count so much less."""
        self._old = (self._old + self._new) * keep
        self._new[:] = 0

    def state(self) -> State:
        """Both counts."""
        return {"old": self._old.copy(), "new": self._new.copy()}

    def restore(self, state: State) -> None:
        """Take the state in. Raises ``StateMismatchError`` where it is none."""
        shape = self._old.shape
        self._old = read_array(state, "old", shape, low=0, high=LARGEST_COUNT)
        self._new = read_array(state, "new", shape, np.int64, low=0, high=LARGEST_COUNT)


@dataclass(frozen=True, slots=True)
class Rates:
    """What is known just before each event that brings something new.

    Attributes:
        share: (new,) of the key's events lately that did, as estimated.
        events: (new,) that the key has had.
        news: (new,) of them that brought something new.
    """

    share: Float64
    events: Float64
    news: Float64


class _Fading:
    """A fading count a key, a whole one, and at which time and event it was counted last.

    What was the j-th event of a key counts j/N at its N-th one, times what time has left of it: a
    rate is that of the later half of a history, however long it is. State: these four.
    """

    def __init__(self, rate: float) -> None:
        """``rate``: minus 1 over the half-life in milliseconds."""
        self._rate = rate
        self._counts = Histories(1, with_values=False)
        self._totals: Float64 = np.zeros(0)
        self._index: Float64 = np.zeros(0)
        self._last: Float64 = np.zeros(0)

    def grow(self, rows: int) -> None:
        """Have so many rows."""
        self._counts.grow(rows)
        self._totals = grown(self._totals, rows, 0.0)
        self._index = grown(self._index, rows, 0.0)
        self._last = grown(self._last, rows, _NEVER)

    def forget(self, rows: Int64) -> None:
        """Make rows as new."""
        self._counts.clear(rows)
        self._totals[rows] = 0.0
        self._index[rows] = 0.0
        self._last[rows] = _NEVER

    def restart(self, mark_ms: int) -> None:
        """Time has gone back: what was later was then."""
        np.minimum(self._last, mark_ms, out=self._last)

    def count(
        self, events: Occurrences, times_ms: Int64, index: Float64 | None = None
    ) -> tuple[Float64, Float64]:
        """Take events in; the fading and the whole count of each one's key just before it.

        ``index``: the how manieth event of its key each is; None: all are counted here.
        """
        order, slots = events.order, events.slots
        since = np.arange(len(slots)) - np.repeat(events.starts, events.lengths)
        totals = self._totals[slots] + since
        own = totals + 1 if index is None else index[order]
        earlier = np.empty_like(own)
        earlier[1:], earlier[events.starts] = own[:-1], self._index[slots[events.starts]]
        before, newest = events.newest_times(self._last[slots], times_ms[order])
        decay = (np.exp2((newest - before) * self._rate) * (earlier / own))[:, None]
        faded = self._counts.advance(events, decay, np.ones(len(slots)))[0] * decay
        ends = events.starts + events.lengths - 1
        at = slots[ends]
        self._totals[at] = np.minimum(totals[ends] + 1, LARGEST_COUNT)
        self._index[at] = np.minimum(own[ends], LARGEST_COUNT)
        self._last[at] = newest[ends]
        result = np.empty((2, len(slots)))
        result[:, order] = faded[:, 0], totals
        return result[0], result[1]

    def total(self, slot: int) -> int:
        """Return the whole count of a key."""
        return int(self._totals[slot])

    def state(self, rows: Int64) -> State:
        """The columns, of these rows in this order."""
        return {
            "counts": self._counts.moments[0, rows, 0],
            "totals": self._totals[rows],
            "index": self._index[rows],
            "last": self._last[rows],
        }

    def restore(self, state: State, count: int, rows: int, latest_ms: int) -> None:
        """Take the columns in. Raises ``StateMismatchError`` where they are none."""
        self._counts = Histories(1, with_values=False)
        self._totals, self._index, self._last = (np.zeros(0) for _ in range(3))
        self.grow(rows)
        self._counts.moments[0, :count, 0] = read_array(state, "counts", (count,))
        check_moments(self._counts.moments, 1.0)
        self._totals[:count] = read_array(state, "totals", (count,), low=0, high=LARGEST_COUNT)
        self._index[:count] = read_array(state, "index", (count,), low=0, high=LARGEST_COUNT)
        self._last[:count] = read_times(state, "last", (count,), latest_ms)


class Novelty:
    """Rates of novelty by key.

    Of each key a fading count of events n and of those that brought something new e; the rate is
    (e + 5 c) / (n + 5), c being that of all keys when they had had as many events as this one, to
    a power of two. A key's first event always brings something new.

    State: both counts of each key, and the tallies of all.
    """

    def __init__(self, half_life_ms: float, priors: Sequence[float] = (1.0,)) -> None:
        """``priors``: of each kind of novelty how much of one event is, where nothing is known."""
        self._priors = priors
        rate = -1 / half_life_ms
        self._events, self._news = _Fading(rate), [_Fading(rate) for _ in priors]
        self._all, self._all_news = Tally(_AGES), [Tally(_AGES) for _ in priors]

    def grow(self, rows: int) -> None:
        """Have a row for each slot of the table of keys."""
        for each in (self._events, *self._news):
            each.grow(rows)

    def forget(self, rows: Int64) -> None:
        """Make rows as new: their keys were forgotten."""
        for each in (self._events, *self._news):
            each.forget(rows)

    def learn(
        self, events: Occurrences, times_ms: Int64, *new: NDArray[np.bool_]
    ) -> tuple[Rates, ...]:
        """Take events in, of which some were new.

        Args:
            events: which of them share a key.
            times_ms: (events,) in their own order; never goes back.
            new: (events,) in their own order, of each kind of novelty.
        """
        counted, totals = self._events.count(events, times_ms)
        age = np.log2(totals + 1).astype(np.int64)
        every = self._all.count(age)
        slots = np.empty_like(times_ms)
        slots[events.order] = events.slots
        result = []
        for kind, flags in enumerate(new):
            rows = np.flatnonzero(flags)
            if not len(rows):
                result.append(Rates(np.empty(0), np.empty(0), np.empty(0)))
                continue
            shared = Occurrences.of(slots[rows])
            brought, news = self._news[kind].count(shared, times_ms[rows], totals[rows] + 1)
            of_all = self._all_news[kind].count(age[rows]) + self._priors[kind]
            cohort = of_all / (every[rows] + 1)
            share = (brought + COHORT_EVENTS * cohort) / (counted[rows] + COHORT_EVENTS)
            result.append(Rates(np.minimum(share, 1.0), totals[rows], news))
        return tuple(result)

    def totals(self, slot: int) -> tuple[int, list[int]]:
        """Return how many events a key has had, and how many brought each kind of novelty."""
        return self._events.total(slot), [news.total(slot) for news in self._news]

    def fade(self, keep: float) -> None:
        """Let the tallies of all keys fade."""
        for each in (self._all, *self._all_news):
            each.fade(keep)

    def restart(self, mark_ms: int) -> None:
        """Time has gone back: what was later was then."""
        for each in (self._events, *self._news):
            each.restart(mark_ms)

    def state(self, rows: Int64) -> State:
        """The counts, of these rows in this order, and the tallies."""
        state: dict[str, Any] = {"events": self._events.state(rows), "all": self._all.state()}
        for kind, (news, of_all) in enumerate(zip(self._news, self._all_news, strict=True)):
            state[f"news{kind}"] = news.state(rows)
            state[f"all_news{kind}"] = of_all.state()
        return state

    def restore(self, state: State, count: int, rows: int, latest_ms: int) -> None:
        """Take the counts of ``count`` keys in, with room for ``rows``.

        Raises ``StateMismatchError`` where they are none.
        """
        self._events.restore(read_branch(state, "events"), count, rows, latest_ms)
        self._all.restore(read_branch(state, "all"))
        for kind, (news, of_all) in enumerate(zip(self._news, self._all_news, strict=True)):
            news.restore(read_branch(state, f"news{kind}"), count, rows, latest_ms)
            of_all.restore(read_branch(state, f"all_news{kind}"))
