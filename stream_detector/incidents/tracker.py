"""Incidents of a stream: signals go in, what changes comes out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from stream_detector.config.models.incidents import IncidentsConfig
from stream_detector.detectors.stored import making_sense, read_branch, read_count, read_time
from stream_detector.errors import StateMismatchError
from stream_detector.events import NO_TIMESTAMP, State
from stream_detector.incidents.book import Book
from stream_detector.incidents.closed import Closed
from stream_detector.incidents.endings import Endings
from stream_detector.incidents.groups import Groups
from stream_detector.incidents.incident import Care, Count, Incident, Text, plain
from stream_detector.incidents.lifecycle import Lifecycle
from stream_detector.incidents.ordinary import joined
from stream_detector.incidents.signals import Change, Returned, Signal
from stream_detector.incidents.usual import Pace, Population
from stream_detector.tables.keys import LARGEST_CHUNK
from stream_detector.tables.texts import pack_texts, unpack_texts

Kind = TypeVar("Kind")

_MOST_INCIDENTS = 100_000


class IncidentTracker:
    """Groups signals into incidents; opens, updates and resolves them.

    Results hang on the order of signals, events and watermarks alone, never on how calls are cut:
    what events teach counts from the end of their chunk on.

    State: at most ``max_open`` incidents, ``max_closed`` ended ones, what is usual, and the values
    of the chunk in hand.

    Attributes:
        fields: whose values are compared.
    """

    def __init__(
        self, settings: IncidentsConfig, detector: str, fields: Sequence[str], fingerprint: str
    ) -> None:
        """``fields``: those of the settings, or the default; ``fingerprint`` stands in messages."""
        self.fields = tuple(fields)
        endings = Endings(settings)
        half_life_ms = round(settings.half_life * 1000)
        self._population = Population(self.fields, settings.max_values, half_life_ms)
        self._pace = Pace(endings.quiet_ms, half_life_ms)
        self._book = Book(endings.due_ms)
        reopen_ms = round(settings.reopen_within * 1000)
        self._closed = Closed(settings.max_closed, reopen_ms, endings)
        self._groups = Groups(
            self._book, self._closed, self._population, self._pace, endings.quiet_ms
        )
        self._life = Lifecycle(
            self._book,
            self._groups,
            self._closed,
            endings,
            population=self._population,
            pace=self._pace,
            most=settings.max_open,
            names=(detector, fingerprint),
        )
        self._wait_ms = endings.wait_ms
        self._chunk: list[list[Sequence[str | None]]] = [[] for _ in self.fields]
        self._events = 0  # of the chunk in hand
        self._mark_ms = NO_TIMESTAMP
        self._may_snooze = False  # only if so, incidents are asked one by one

    def __len__(self) -> int:
        return sum(one.is_open for one in self._book)

    @property
    def evicted(self) -> int:
        """Incidents ended for want of room, since the beginning of the process."""
        return self._life.evicted

    @property
    def evicted_values(self) -> int:
        """Values forgotten for want of room, since the beginning of the stream."""
        return self._population.evicted

    def open_bodies(self) -> list[Change]:
        """The open incidents as they stand, as a message would have them; changes nothing."""
        return [self._life.body(one, "") for one in self._book if one.is_open]

    # --- what happens in the stream ---------------------------------------------------------------

    def take(self, signal: Signal | Returned) -> list[Change]:
        """A signal has come, or a key is back, after ``advance`` to its watermark."""
        if isinstance(signal, Returned):
            self._seen(signal)
            return []
        # What is due by that is due now, not with whatever call comes next.
        return [*self._life.take(signal), *self.advance(signal.mark_ms)]

    def advance(self, mark_ms: int) -> list[Change]:
        """The watermark, or a tick, has come to ``mark_ms``; what that opens and resolves."""
        before_ms, self._mark_ms = self._mark_ms, max(self._mark_ms, mark_ms)
        self._pace.begin(self._mark_ms)
        changes: list[Change] = []
        while (first := self._book.first_due) is not None and first[0] <= self._mark_ms:
            # Over a gap in the stream each happens in its own time.
            changes += self._life.due(first[1], max(first[0], before_ms))
        return changes

    @property
    def due_ms(self) -> int | None:
        """The first watermark at which ``advance`` would change anything; None where none would."""
        first = self._book.first_due
        return None if first is None else first[0]

    def population(self, columns: Sequence[Sequence[str | None]], events: int) -> None:
        """Take the values of a slice's events in, a column for each of ``fields``.

        After the slice's signals; they count from ``learn`` on.
        """
        self._events += events
        for slices, column in zip(self._chunk, columns, strict=True):
            slices.append(column)

    def learn(self) -> None:
        """A chunk of events is full: what is usual takes in what came in it."""
        what = (self.fields, self._chunk, self._events, self._life.chunk)
        for incident in self._book.watch.count(*what):
            self._book.time(incident)
        for _ in self._closed.watch.count(*what):
            pass
        self._life.chunk += 1
        self._population.learn(self._chunk, max(self._mark_ms, 0))
        self._chunk, self._events = [[] for _ in self.fields], 0

    def _seen(self, back: Returned) -> None:
        """The quiet period begins of what waited for a key."""
        key = plain(back.key)
        for incident in self._book:
            waiting = incident.ongoing.get(back.monitor, [])
            if key in waiting:
                waiting.remove(key)
                if not waiting:
                    del incident.ongoing[back.monitor]
                incident.active_ms = max(incident.active_ms, back.mark_ms)
                self._book.time(incident)

    def go_back(self, mark_ms: int) -> None:
        """The watermark was wrong and is ``mark_ms``: what happened after it happens now."""
        self._mark_ms = min(self._mark_ms, mark_ms)
        self._population.go_back(mark_ms)
        self._pace.go_back(mark_ms)
        self._closed.go_back(mark_ms)
        for incident in self._book:
            incident.go_back(mark_ms, self._wait_ms)
            self._book.time(incident)

    # --- what people do ---------------------------------------------------------------------------

    def acknowledge(self, identity: str, owner: str, until_ms: int, why: str) -> list[Change]:
        """Somebody looks after an open incident; ``until_ms``: ``NO_TIMESTAMP`` for no end.

        No change where none of the name is open.
        """
        return self._care(identity, "acknowledged", Care(plain(owner), until_ms, plain(why)))

    def snooze(self, identity: str, owner: str, until_ms: int, why: str) -> list[Change]:
        """Nobody is to hear of an open incident for a time, unless it becomes more severe."""
        return self._care(identity, "snoozed", Care(plain(owner), until_ms, plain(why)))

    @property
    def any_snoozed(self) -> bool:
        """Whether an incident is snoozed: else ``snoozed`` need not be asked."""
        if self._may_snooze:
            self._may_snooze = any(one.snoozed is not None for one in self._book)
        return self._may_snooze

    def snoozed(self, signal: Signal) -> str | None:
        """Id of the snoozed incident that a signal would go to; changes nothing."""
        incident, _ = self._groups.home(signal, self._groups.values(signal))
        return incident.id if incident is not None and incident.snoozed is not None else None

    def _care(self, identity: str, change: str, care: Care) -> list[Change]:
        each = (one for one in self._book if one.id == identity and one.is_open)
        incident = next(each, None)
        if incident is None:
            return []
        setattr(incident, change, care)
        self._may_snooze = True
        self._book.time(incident)
        return [self._life.tell(incident, change)]

    # --- state ------------------------------------------------------------------------------------

    def state(self) -> State:
        """The incidents, open and ended ones, as JSON; what is usual; the chunk in hand."""
        return {
            "number": self._life.number,
            "chunks": self._life.chunk,
            "mark_ms": self._mark_ms,
            "events": self._events,
            "open": _written(list(self._book)),
            "closed": _written(list(self._closed)),
            "reasons": _written(self._life.reasons),
            "population": self._population.state(),
            "pace": self._pace.state(),
            "chunk": {
                name: pack_texts(joined(slices))
                for name, slices in zip(self.fields, self._chunk, strict=True)
            },
        }

    def restore(self, state: State) -> None:
        """Take the state in. Raises ``StateMismatchError`` where it is none of incidents."""
        with making_sense():
            self._life.number = number = read_count(state, "number")
            self._life.chunk = read_count(state, "chunks")
            self._mark_ms = read_time(state, "mark_ms")
            self._events = read_count(state, "events", high=LARGEST_CHUNK)
            self._population.restore(read_branch(state, "population"))
            self._pace.restore(read_branch(state, "pace"))
            self._life.reasons = _read(state["reasons"], dict[Text, Count])
            chunk = read_branch(state, "chunk")
            self._chunk = [
                # The settings were others then, where a field is not there.
                [unpack_texts(read_branch(chunk, name)) if name in chunk else [None] * self._events]
                for name in self.fields
            ]
            if any(len(slices[0]) != self._events for slices in self._chunk):
                raise StateMismatchError("incidents: the chunk has not a value for each event")
            for incident in _incidents(state["open"], number):
                self._book.put(incident)
            for incident in _incidents(state["closed"], number):
                self._closed.put(incident)
            self._may_snooze = True


def _written(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _read(text: Any, kind: type[Kind]) -> Kind:
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.MsgspecError as error:
        raise StateMismatchError(f"no incidents: {error!s:.200}") from error


def _incidents(text: Any, number: int) -> list[Incident]:
    """Incidents of different scopes, with numbers below ``number``."""
    found = _read(text, list[Incident])
    if len({one.scope for one in found}) < len(found) or len(found) > _MOST_INCIDENTS:
        raise StateMismatchError("incidents repeat, or there are too many")
    if any(
        one.number >= number or (one.scope[0] is None) != (one.scope[1] is None) for one in found
    ):
        raise StateMismatchError("an incident has not begun yet, or half a scope")
    return found
