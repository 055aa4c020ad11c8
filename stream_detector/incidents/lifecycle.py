"""What becomes of incidents: they begin, become one, are opened, told, and end."""

from __future__ import annotations

from collections.abc import Sequence

from stream_detector.events import NO_TIMESTAMP
from stream_detector.incidents.book import Book
from stream_detector.incidents.closed import Closed
from stream_detector.incidents.endings import Endings, is_over
from stream_detector.incidents.groups import Groups
from stream_detector.incidents.incident import EVERYTHING, Incident, Scope, Told, count_name
from stream_detector.incidents.message import body_of
from stream_detector.incidents.signals import Change, Signal, Value
from stream_detector.incidents.usual import Pace, Population

_MOST_WAITS = 4
"""An incident waits so many times as long where others begin with it."""


class Lifecycle:
    """Moves incidents from their first signal to their end, and says what has changed.

    State: how many have begun, and how often each first reason came; the incidents are the book's.

    Attributes:
        number: incidents that have begun.
        chunk: number of the chunk in hand.
        reasons: signals of each first reason.
        evicted: incidents ended for want of room, since the beginning of the process.
    """

    def __init__(
        self,
        book: Book,
        groups: Groups,
        closed: Closed,
        endings: Endings,
        *,
        population: Population,
        pace: Pace,
        most: int,
        names: tuple[str, str],
    ) -> None:
        """``most``: open at a time; ``names``: the detector's, the configuration's fingerprint."""
        self.number = self.evicted = 0
        self.chunk = 1
        self.reasons: dict[str, int] = {}
        self._book, self._groups, self._closed, self._endings = book, groups, closed, endings
        self._population, self._pace = population, pace
        self._most, self._names = most, names

    # --- signals ----------------------------------------------------------------------------------

    def take(self, signal: Signal) -> list[Change]:
        """Add a signal to the incident that it belongs to, or begin one."""
        values = self._groups.values(signal)
        if signal.hidden_by:
            return self._hide(signal, values)
        count_name(self.reasons, signal.reason)
        incident, renews = self._groups.home(signal, values)
        if incident is None:
            return self._begin(signal, values)
        is_new = bool(incident.kinds) and signal.kind not in incident.kinds
        rose = self._add(incident, signal, values, renews=renews)
        changes: list[Change] = []
        if _is_power_of_two(incident.count):
            incident = self._look_again(incident, changes, signal.mark_ms)
        if rose and incident.is_open:
            incident.snoozed = None
            changes.append(self.tell(incident, "severity"))
        elif incident.is_open and (is_new or incident.count >= 2 * incident.told_count):
            # What no alert of it was so far, an outage among late flights, is not lost in it.
            changes.append(self.tell(incident, "count"))
        return changes

    def _begin(self, signal: Signal, values: Sequence[Value]) -> list[Change]:
        """A signal that belongs to no incident begins one, and may make several one."""
        changes = self._make_room(signal.mark_ms)
        scope, told = self._groups.scope(values), Told.of(signal)
        incident = Incident(
            number=self.number,
            id=f"{self._names[0]}:{told.alert}",
            scope=scope,
            usual=self._groups.usual(scope),
            gap_ms=self._groups.gap_ms(scope, signal.mark_ms),
            began_ms=signal.mark_ms,
            active_ms=signal.mark_ms,
            first=told,
            last=told,
            peak=told,
            common=list(values),
        )
        self.number += 1
        if (before := self._before(values, scope, signal.mark_ms)) is not None:
            self._closed.take(before)
            incident.reopen(before, self._groups.stretch_ms)
        self._book.put(incident)
        self._add(incident, signal, values, renews=True)
        self._look_again(incident, changes, signal.mark_ms)
        return changes

    def _before(self, values: Sequence[Value], scope: Scope, mark_ms: int) -> Incident | None:
        """What ended a short time ago, and is the same: of the same scope, or of a rare value."""
        stretches = self._closed.reopen_ms / self._groups.stretch_ms
        for one in dict.fromkeys([scope, *values]):
            before = self._closed.find(one, mark_ms)
            if (
                before is not None
                and self._book.of_scope(one) is None
                and (one == scope or self._groups.is_rare(one, mark_ms, stretches))
            ):
                return before
        return None

    def _add(
        self, incident: Incident, signal: Signal, values: Sequence[Value], *, renews: bool
    ) -> bool:
        """Add a signal; tells whether the severity rose."""
        rose = incident.add(signal, values)
        incident.tally.add(values, self._population.share)
        if renews:
            incident.pulse = incident.beat(signal.mark_ms, self._groups.stretch_ms)
            incident.active_ms = max(incident.active_ms, signal.mark_ms)
            incident.ordinary, incident.touched = 0, self.chunk
        self._wait(incident, signal.mark_ms)
        self._book.time(incident)
        return rose

    def _wait(self, incident: Incident, mark_ms: int) -> None:
        """Let one be opened after a while, as soon as there is something of it to be seen."""
        waits = incident.is_open or incident.wait_ms != NO_TIMESTAMP
        if not waits and self._endings.is_worth(incident):
            incident.wait_ms = mark_ms + self._endings.wait_ms

    def _hide(self, signal: Signal, values: Sequence[Value]) -> list[Change]:
        incident = self._groups.hidden_home(values)
        if incident is None or not (incident.hide(signal) and incident.is_open):
            return []
        return [self.tell(incident, "rule")]

    # --- what is one ------------------------------------------------------------------------------

    def _look_again(self, incident: Incident, changes: list[Change], mark_ms: int) -> Incident:
        """Look at what an incident's signals have in common, alone and with others.

        Returns the incident that they are a part of then.
        """
        incident.common = incident.tally.common()
        scope: Scope
        each: Sequence[Incident]
        while True:
            if (found := self._groups.of_one_value(incident)) is not None:
                scope, each = found
            elif (at_once := self._groups.of_everything(incident)) is not None:
                scope, each = EVERYTHING, at_once
            elif (better := self._groups.better_scope(incident)) is not None:
                scope, each = better, [incident]
            else:
                return incident
            incident = self._merge(each, scope, changes, mark_ms)

    def _merge(
        self, each: Sequence[Incident], scope: Scope, changes: list[Change], mark_ms: int
    ) -> Incident:
        """Make several one, about ``scope``: one that is open goes on, that with most signals."""
        members = {one.number: one for one in each}
        if (same := self._book.of_scope(scope)) is not None:
            members[same.number] = same
        wide = scope == EVERYTHING
        ranked = sorted(
            members.values(),
            # What ended once is no part of what begins now for everything, and does not name it.
            key=lambda one: (wide and one.reopened > 0, not one.is_open, -one.count, one.number),
        )
        kept = next(one for one in ranked if not one.is_over)
        for one in ranked:
            if one is kept:
                continue
            (self._closed.take if one.is_over else self._book.take_out)(one)
            kept.join(one)
            if one.is_over or one.is_open:
                one.merged_into = kept.id
                changes.append(self._end(one, "merged", mark_ms))
        self._wait(kept, mark_ms)
        if scope != kept.scope:
            self._book.rename(kept, scope)
            kept.usual = self._groups.usual(scope)
            kept.gap_ms = self._groups.gap_ms(scope, mark_ms)
            # Who looked after a part of it has not been asked about the whole.
            kept.acknowledged = kept.snoozed = None
            kept.events = kept.ordinary = 0
            if kept.is_open:
                changes.append(self.tell(kept, "scope"))
        kept.common = kept.tally.common()
        self._book.time(kept)
        return kept

    # --- times ------------------------------------------------------------------------------------

    def due(self, incident: Incident, mark_ms: int) -> list[Change]:
        """What becomes of an incident that is due at a watermark."""
        if not incident.is_open:
            if incident.wait_ms != NO_TIMESTAMP:
                return self._open(incident, mark_ms)
            self._book.take_out(incident)  # nothing of it was ever shown
            return []
        for name in ("acknowledged", "snoozed"):
            if is_over(getattr(incident, name), mark_ms):
                setattr(incident, name, None)
                self._book.time(incident)
                return [self.tell(incident, name)]
        self._book.take_out(incident)
        return [self._end(incident, "expired" if incident.ongoing else "quiet", mark_ms)]

    def _open(self, incident: Incident, mark_ms: int) -> list[Change]:
        changes: list[Change] = []
        incident = self._look_again(incident, changes, mark_ms)
        if incident.is_open:
            return changes  # it has become a part of another
        waited_ms = mark_ms - incident.began_ms
        if waited_ms < _MOST_WAITS * self._endings.wait_ms and self._groups.may_be_more(incident):
            incident.wait_ms = mark_ms + self._endings.wait_ms
            self._book.time(incident)
            return changes
        if not incident.reopened:
            before = self._closed.find(incident.scope, mark_ms)
            if before is not None:
                self._closed.take(before)
                incident.reopen(before, self._groups.stretch_ms)
        incident.opened_ms, incident.wait_ms = mark_ms, NO_TIMESTAMP
        self._pace.note(mark_ms)
        self._book.time(incident)
        return [*changes, self.tell(incident, "reopened" if incident.reopened else "opened")]

    def _end(self, incident: Incident, change: str, mark_ms: int) -> Change:
        if not incident.is_over:
            incident.resolved_ms = mark_ms
        told = self.tell(incident, change)
        if change != "merged":
            incident.acknowledged, incident.snoozed, incident.ongoing = None, None, {}
            self._closed.put(incident)
        return told

    def _make_room(self, mark_ms: int) -> list[Change]:
        """End a sixteenth of the incidents, those quiet for longest, where there is no room."""
        if len(self._book) < self._most:
            return []
        each = sorted(self._book, key=lambda one: (one.active_ms, one.number))
        changes: list[Change] = []
        for incident in each[: max(self._most // 16, 1)]:
            self.evicted += 1
            self._book.take_out(incident)
            if incident.is_open:
                changes.append(self._end(incident, "evicted", mark_ms))
        return changes

    def tell(self, incident: Incident, change: str) -> Change:
        """The message that says what has changed."""
        incident.told_count = incident.count
        incident.revision += 1
        return self.body(incident, change)

    def body(self, incident: Incident, change: str) -> Change:
        """The body of a message about an incident as it stands; changes nothing."""
        return body_of(incident, change, *self._names, self.reasons)


def _is_power_of_two(count: int) -> bool:
    return count & (count - 1) == 0
