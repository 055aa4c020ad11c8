"""Which incident a signal belongs to, and which incidents are one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import takewhile

from stream_detector.incidents.attribution import RISK, explains, ranked
from stream_detector.incidents.book import Book
from stream_detector.incidents.chance import evidence, excess
from stream_detector.incidents.closed import Closed
from stream_detector.incidents.incident import EVERYTHING, Incident, Scope, plain
from stream_detector.incidents.signals import Signal, Value
from stream_detector.incidents.usual import Pace, Population

_JOINS = math.log(1 / RISK)
"""Exponent from which on as many signals of a scope as there are now are not there by chance."""

_ALL_AT_ONCE = math.log(1e4)
_LEAST_AT_ONCE = 5
"""So many incidents that begin within a stretch, and beyond chance, are one about everything."""

_PARTS = (1 / 16, 1.0)
"""Parts of the stretch within which they begin."""

_STRETCHES = (1.0, 4.0)
"""Times over which incidents that share a value are looked for: sparse ones come together late."""

_SMALL = 2
"""Signals of an incident that is no reason to tell it apart from everything."""

_COVERS_MOST = 0.8
_OFF = (0.5, 2.0)
"""Where all other keys are at such a multiple of their pace, everything is off."""

_LEAST_KEYS, _MOST_EVENTS = 3, 0.5
"""Keys that have not come back, with so much of the events, are everything."""


class Groups:
    """Decides by the incidents, the population and the pace; changes nothing, has no state."""

    def __init__(
        self, book: Book, closed: Closed, population: Population, pace: Pace, stretch_ms: int
    ) -> None:
        """``stretch_ms``: signals within such a time are seen together."""
        self._book, self._closed = book, closed
        self._population, self._pace = population, pace
        self.stretch_ms = stretch_ms

    def usual(self, scope: Scope) -> float:
        """The share of all events that are in a scope."""
        if scope[0] is None or scope[1] is None:
            return 1.0
        return min(self._population.share(scope[0], scope[1]), 1.0)

    def gap_ms(self, scope: Scope, mark_ms: int) -> int:
        """Time from one event of a scope to the next, usually; 0 where that is not known."""
        if scope[0] is None or scope[1] is None:
            return 0
        return self._population.gap_ms(scope[0], scope[1], mark_ms)

    def values(self, signal: Signal) -> list[Value]:
        """The values that are compared: of known fields, once each; else the first there is."""
        found = [(plain(field), plain(value)) for field, value in signal.values]
        known = [one for one in dict.fromkeys(found) if self._population.knows(one[0])]
        return known or found[:1]

    def beats(self, incident: Incident, mark_ms: int) -> bool:
        """Tell whether its signals, with one more now, are more than chance brings."""
        expected = self._pace.expected(mark_ms) * incident.usual
        return excess(incident.beat(mark_ms, self.stretch_ms), expected) >= _JOINS

    def home(self, signal: Signal, values: Sequence[Value]) -> tuple[Incident | None, bool]:
        """The incident that a signal belongs to, None for one of its own; and whether it renews it.

        What chance alone would bring renews nothing, so that an incident of a wide scope ends.
        """
        mark_ms = signal.mark_ms
        same = [one for value in values if (one := self._book.of_scope(value)) is not None]
        everything = self._book.of_scope(EVERYTHING)
        if everything is not None and not self.beats(everything, mark_ms):
            everything = None if values and not _joins(everything, signal) else everything
        sure = [(self._beyond(one, everything, mark_ms), one) for one in same]
        if sure and max(sure, key=lambda one: one[0])[0] >= _JOINS:
            return max(sure, key=lambda one: (one[0], -one[1].number))[1], True
        if everything is not None:
            return everything, True
        # A key is of one incident, however frequent it is.
        if same and (same[0].scope == values[0] or len(same) == len(values)):
            return same[0], False
        return None, False

    def _beyond(self, incident: Incident, everything: Incident | None, mark_ms: int) -> float:
        """How far its signals, with one more now, are beyond what chance, or all else, brings."""
        expected = self._pace.expected(mark_ms)
        if everything is not None:
            expected = max(expected, everything.beat(mark_ms, self.stretch_ms))
        return excess(incident.beat(mark_ms, self.stretch_ms), expected * incident.usual)

    def hidden_home(self, values: Sequence[Value]) -> Incident | None:
        """The incident that a hidden signal is counted with; None where there is none."""
        same = [one for value in values if (one := self._book.of_scope(value)) is not None]
        return same[0] if same else self._book.of_scope(EVERYTHING)

    def is_rare(self, scope: Scope, mark_ms: int, stretches: float) -> bool:
        """Tell whether chance would hardly bring a signal of a scope in so many stretches."""
        expected = self._pace.expected(mark_ms) * stretches * self.usual(scope)
        return excess(1, expected) >= _JOINS

    def scope(self, values: Sequence[Value]) -> Scope:
        """What a signal of its own is about: its first value that no other incident is about."""
        free = [value for value in values if self._book.of_scope(value) is None]
        return free[0] if free else EVERYTHING

    def of_one_value(self, incident: Incident) -> tuple[Value, list[Incident]] | None:
        """A value that so many recent incidents have in common that they are one, and these.

        As many of all that were active within a stretch, ended ones among them, as do not have it
        by chance, for as many values as were looked at.
        """
        longest = incident.active_ms - round(self.stretch_ms * max(_STRETCHES))
        active = [one for one in self._book if one.active_ms > longest]
        active += [one for one in self._closed.lately(longest) if one.active_ms > longest]
        mine = set(incident.common)
        if all(one is incident or mine.isdisjoint(one.common) for one in active):
            return None
        for stretches in _STRETCHES:
            found = self._shared(incident, stretches, active)
            if found is not None:
                return found
        return None

    def _shared(
        self, incident: Incident, stretches: float, recent: Sequence[Incident]
    ) -> tuple[Value, list[Incident]] | None:
        least = incident.active_ms - round(self.stretch_ms * stretches)
        active = [one for one in recent if one.active_ms > least]
        total = max(len(active), self._pace.expected(incident.active_ms) * stretches)
        # Looked at: the values of each that is active.
        limit = math.log(max(len(incident.common), 1) * total / RISK)
        best: tuple[float, Value, list[Incident]] | None = None
        for value in incident.common:
            each = [
                one
                for one in active
                if value in one.common and (one.scope != EVERYTHING or one is incident)
            ]
            if len(each) > 1:
                exponent = evidence(len(each), total, self.usual(value))
                if exponent > limit and (best is None or exponent > best[0]):
                    best = (exponent, value, each)
        return None if best is None else best[1:]

    def may_be_more(self, incident: Incident) -> bool:
        """Tell whether others begin with it, so that it is better to wait for more of them."""
        count = len(self._recent(incident))
        return count > 1 and excess(count, self._pace.expected(incident.active_ms)) >= _JOINS

    def of_everything(self, incident: Incident) -> list[Incident] | None:
        """So many have begun within the stretch that they are one, about everything."""
        if incident.ongoing and (out := self._out_together(incident)):
            return out
        expected = self._pace.expected(incident.active_ms)
        # What happens at once first: an alert some time before has no part in it.
        for part in _PARTS:
            recent = self._recent(incident, part)
            if (
                len(recent) >= _LEAST_AT_ONCE
                and excess(len(recent), expected * part) >= _ALL_AT_ONCE
            ):
                return recent + self._small(incident, part)
        return None

    def _small(self, incident: Incident, part: float) -> list[Incident]:
        """Those that began before, are hardly more than a chance alert, and go on just now."""
        least = incident.active_ms - self.stretch_ms * part
        return [
            one
            for one in self._book
            if one.began_ms <= least < one.active_ms and one.count <= _SMALL and not one.ongoing
        ]

    def _out_together(self, incident: Incident) -> list[Incident] | None:
        """Incidents of keys that have most of the events, none of which has come back."""
        field = incident.scope[0]
        if field is None:
            return None
        out = [one for one in self._book if one.ongoing and one.scope[0] == field]
        if len(out) < _LEAST_KEYS or sum(one.usual for one in out) < _MOST_EVENTS:
            return None
        return out

    def better_scope(self, incident: Incident) -> Value | None:
        """The value that explains an incident clearly better than its scope; None: none does."""
        if incident.tally.signals < 2:  # noqa: PLR2004 - a single alert is about its key
            return None
        each = ranked(incident.tally, incident.scope)
        if not each or (each[0].field, each[0].value) == incident.scope:
            return None
        best = each[0]
        least = _COVERS_MOST if incident.scope == EVERYTHING else 0.0
        if best.share < least or not explains(best, incident.tally.distinct):
            return None
        return best.field, best.value

    def _recent(self, incident: Incident, part: float = 1.0) -> list[Incident]:
        """Those that began within the stretch before, or a part of it, the oldest first."""
        least = incident.active_ms - self.stretch_ms * part
        recent = list(takewhile(lambda one: one.began_ms > least, self._book.newest_first()))
        return recent[::-1]


def _joins(everything: Incident, signal: Signal) -> bool:
    """Tell whether a monitor's finding belongs to an incident about everything."""
    pace = signal.others_pace
    off = pace is not None and not _OFF[0] < pace < _OFF[1]
    return off or (signal.ongoing and bool(everything.ongoing))
