"""What calendars ask of a monitor in a stretch of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Effect:
    """What one calendar asks for.

    Attributes:
        calendar: its name.
        word: what it calls the occasion; empty: nothing beside its name.
        keys: whom it is about; None: all.
        skips_alert: nothing is to be alerted.
        skips_learning: nothing is to be learnt.
        expect: factor of what is expected; None: as usual.
        like: weekday that it is taken for, Monday as 0; None: its own.
    """

    calendar: str
    word: str
    keys: frozenset[str] | None = None
    skips_alert: bool = False
    skips_learning: bool = False
    expect: float | None = None
    like: int | None = None

    def told(self) -> str:
        """Its name, and what it calls the occasion."""
        return f"{self.calendar}: {self.word}" if self.word else self.calendar


class Calendars(Protocol):
    """Calendars that a monitor goes by."""

    def at(self, start_ms: int, end_ms: int) -> Sequence[Effect]:
        """What they ask for in a stretch of time, of which any part counts; first is strongest."""
        ...

    def words(self, start_ms: int, end_ms: int, key: str) -> str | None:
        """What they say of a key in a stretch of time; None: nothing."""
        ...


class _NoCalendars:
    def at(self, start_ms: int, end_ms: int) -> Sequence[Effect]:
        del start_ms, end_ms
        return ()

    def words(self, start_ms: int, end_ms: int, key: str) -> str | None:
        del start_ms, end_ms, key
        return None


NO_CALENDARS: Calendars = _NoCalendars()
