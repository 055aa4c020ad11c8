"""Incidents that have not ended, found by number, scope, and when they are due."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator

from stream_detector.incidents.incident import Incident, Scope
from stream_detector.incidents.ordinary import Watch

_SPARE = 64


class Book:
    """Incidents that have not ended, and when each is due.

    State: the incidents themselves, in the order of their numbers; all else is made of them.
    """

    def __init__(self, due: Callable[[Incident], int]) -> None:
        """``due``: watermark at which something becomes of an incident."""
        self._due_of = due
        self._each: dict[int, Incident] = {}
        self._by_scope: dict[Scope, Incident] = {}
        self.watch = Watch()
        self._due: dict[int, int] = {}
        self._heap: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self._each)

    def __iter__(self) -> Iterator[Incident]:
        return iter(self._each.values())

    def of_scope(self, scope: Scope) -> Incident | None:
        """The incident with a scope."""
        return self._by_scope.get(scope)

    def newest_first(self) -> Iterator[Incident]:
        """All, by falling number."""
        return reversed(self._each.values())

    def put(self, incident: Incident) -> None:
        """Take one in that begins: its number is the highest, and no other has its scope."""
        self._each[incident.number] = incident
        self._by_scope[incident.scope] = incident
        self.watch.add(incident)
        self.time(incident)

    def time(self, incident: Incident) -> None:
        """When it is due may have changed."""
        due = self._due_of(incident)
        if self._due.get(incident.number) == due:
            return
        self._due[incident.number] = due
        heapq.heappush(self._heap, (due, incident.number))
        if len(self._heap) > 4 * len(self._each) + _SPARE:
            self._heap = [(due, number) for number, due in self._due.items()]
            heapq.heapify(self._heap)

    def take_out(self, incident: Incident) -> None:
        """Forget one that has ended."""
        number = incident.number
        del self._each[number], self._due[number]
        if self._by_scope.get(incident.scope) is incident:
            del self._by_scope[incident.scope]
            self.watch.discard(incident)

    def rename(self, incident: Incident, scope: Scope) -> None:
        """Give one another scope, which no other has."""
        del self._by_scope[incident.scope]
        self.watch.discard(incident)
        incident.scope = scope
        self._by_scope[scope] = incident
        self.watch.add(incident)
        self.time(incident)

    @property
    def first_due(self) -> tuple[int, Incident] | None:
        """The one that is due first, of equal ones the oldest, and when."""
        while self._heap:
            due, number = self._heap[0]
            if self._due.get(number) == due:
                return due, self._each[number]
            heapq.heappop(self._heap)
        return None
