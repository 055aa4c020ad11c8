"""Incidents that have ended, and may be opened again."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile

from stream_detector.incidents.endings import Endings
from stream_detector.incidents.incident import Incident, Scope
from stream_detector.incidents.ordinary import Watch


class Closed:
    """The last incidents of their scopes that have ended.

    State: at most so many; the one that ended first goes first.
    """

    def __init__(self, most: int, reopen_ms: int, endings: Endings) -> None:
        self.reopen_ms, self.watch = reopen_ms, Watch()
        self._most, self._endings = most, endings
        self._each: dict[Scope, Incident] = {}

    def __iter__(self) -> Iterator[Incident]:
        return iter(self._each.values())

    def put(self, incident: Incident) -> None:
        """Remember one that has ended."""
        if (before := self._each.get(incident.scope)) is not None:
            self.take(before)
        self._each[incident.scope] = incident
        self.watch.add(incident)
        if len(self._each) > self._most:
            self.take(next(iter(self._each.values())))

    def find(self, scope: Scope, mark_ms: int) -> Incident | None:
        """The one of a scope that ended a short time ago, or of which too little was seen since."""
        incident = self._each.get(scope)
        if incident is None:
            return None
        if mark_ms - incident.resolved_ms <= self.reopen_ms:
            return incident
        unseen = mark_ms - incident.active_ms <= self._endings.longest_quiet_ms
        return incident if unseen and self._endings.may_go_on(incident) else None

    def lately(self, since_ms: int) -> list[Incident]:
        """Those that have ended since then."""
        newest_first = reversed(self._each.values())
        return list(takewhile(lambda one: one.resolved_ms > since_ms, newest_first))

    def take(self, incident: Incident) -> None:
        """Forget one, which is opened again."""
        del self._each[incident.scope]
        self.watch.discard(incident)

    def go_back(self, mark_ms: int) -> None:
        """The watermark was wrong and is ``mark_ms``: all ended before."""
        for incident in self:
            incident.go_back(mark_ms, 0)
