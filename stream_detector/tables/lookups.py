"""Keys of a batch, looked up once for all tables that hold them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stream_detector.events import Int64
from stream_detector.tables.keys import KeyTable

_UNKNOWN = -1


@dataclass(frozen=True, slots=True)
class Lookup:
    """Where the first table that was asked for the keys of a batch has them.

    Attributes:
        table: the table.
        version: what its ``version`` was.
        slots: (events,) slot of each event's key; -1 where the table was not asked.
    """

    table: KeyTable
    version: int
    slots: Int64


class Lookups:
    """Lookups of the batch in hand, by field; no state: they change no result."""

    def __init__(self, events: int = 0) -> None:
        self.begin(events)

    def begin(self, events: int) -> None:
        """Forget the last batch; the next one has so many events."""
        self._events = events
        self._first: dict[str, Lookup] = {}

    def of(self, field: str) -> Lookup | None:
        """The first lookup of the field's texts; None before one, or once its table forgot keys."""
        first = self._first.get(field)
        return first if first is not None and first.version == first.table.version else None

    def note(self, field: str, table: KeyTable, slots: Int64, rows: Int64 | None) -> None:
        """Note the slots of some rows (None: of all), if no other table was asked before."""
        known = self.of(field)
        if known is None:
            every = np.full(self._events, _UNKNOWN) if rows is not None else slots
            known = self._first[field] = Lookup(table, table.version, every)
        if known.table is table and rows is not None:
            known.slots[rows] = slots


class KeyFinder:
    """Finds the slots that keys have in a table by those that they have in another.

    In a dict of a hundred thousand keys each of them waits for memory several times, in an array of
    numbers about once. What is remembered is no state, it changes no result: at most 8 bytes for
    each slot of the other table, and nothing once one of the two has forgotten a key.
    """

    def __init__(self, table: KeyTable, field: str | None) -> None:
        """``field``: whose texts the keys are; None: of none."""
        self._table, self._field = table, field
        self._other: tuple[KeyTable, int, int] | None = None  # and versions of both
        self._slots: Int64 = np.full(1, _UNKNOWN)  # by those of the other table; the last: unknown

    def slots_of(
        self, keys: Sequence[str], lookups: Lookups | None = None, rows: Int64 | None = None
    ) -> Int64:
        """(keys,) int64: as ``KeyTable.slots_of`` says.

        Args:
            keys: of the batch in hand.
            lookups: of that batch; None: the keys are of no batch.
            rows: (keys,) which events of it they are of; None: of all.
        """
        if lookups is None or self._field is None:
            return self._table.slots_of(keys)
        first = lookups.of(self._field)
        if first is None or first.table is self._table:
            slots = self._table.slots_of(keys)
            lookups.note(self._field, self._table, slots, rows)
            return slots
        self._remember(first.table)
        there = first.slots if rows is None else first.slots[rows]
        found = self._slots[there]
        missing = np.flatnonzero(found == _UNKNOWN)
        if len(missing):
            found[missing] = self._table.slots_of([keys[at] for at in missing.tolist()])
            self._slots[there[missing]] = found[missing]
            self._slots[-1] = _UNKNOWN
        return found

    def _remember(self, other: KeyTable) -> None:
        """Have room for each slot of another table; what is outdated is forgotten."""
        known, self._other = self._other, (other, other.version, self._table.version)
        if known != self._other:
            self._slots = np.full(other.rows + 1, _UNKNOWN)
        elif len(self._slots) <= other.rows:
            old, self._slots = self._slots, np.full(other.rows + 1, _UNKNOWN)
            self._slots[: len(old) - 1] = old[:-1]
