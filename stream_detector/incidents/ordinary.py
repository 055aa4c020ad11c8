"""Events of scopes that were not raised: what shows that an incident is over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain

from stream_detector.incidents.incident import EVERYTHING, Incident


class Watch:
    """Incidents by field and value, so that a chunk's events find theirs.

    State: none but the incidents.
    """

    def __init__(self) -> None:
        self._of_field: dict[str, dict[str, Incident]] = {}
        self._everything: Incident | None = None

    def add(self, incident: Incident) -> None:
        """Count its events from now on."""
        field, value = incident.scope
        if field is None or value is None:
            self._everything = incident
        else:
            self._of_field.setdefault(field, {})[value] = incident

    def discard(self, incident: Incident) -> None:
        """Count its events no more."""
        field, value = incident.scope
        if incident.scope == EVERYTHING:
            self._everything = None
        elif field is not None and value is not None:
            self._of_field.get(field, {}).pop(value, None)

    def count(
        self,
        fields: Sequence[str],
        columns: Sequence[Sequence[Sequence[str | None]]],
        events: int,
        chunk: int,
    ) -> Iterator[Incident]:
        """Count a chunk's events in the scope of each, those since the last signal apart.

        Args:
            fields: whose values ``columns`` has.
            columns: for each field the values of the chunk, in slices.
            events: of the chunk.
            chunk: its number.

        Yields:
            Incidents with such events.
        """
        if self._everything is not None:
            yield _counted(self._everything, events, chunk)
        for field, slices in zip(fields, columns, strict=True):
            watched = self._of_field.get(field)
            if not watched:
                continue
            for column in slices:
                # Hardly any value is watched: no step of Python is taken for the others.
                for value, count in Counter(filter(watched.__contains__, column)).items():
                    yield _counted(watched[str(value)], count, chunk)


def _counted(incident: Incident, count: int, chunk: int) -> Incident:
    incident.events += count
    if incident.touched != chunk:
        incident.ordinary += count
    return incident


def joined(slices: Sequence[Sequence[str | None]]) -> list[str | None]:
    """The values of a chunk, out of its slices."""
    return list(chain.from_iterable(slices))
