"""Streams of signals for the tracker of incidents, cut as one likes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from stream_detector.incidents import Change, IncidentsConfig, IncidentTracker, Returned, Signal

FIELDS = ("customer", "terminal", "region")
SECOND, MINUTE, HOUR, DAY = 1000, 60_000, 3_600_000, 86_400_000
CHUNK = 64

Event = tuple[str, str, str]
Happening = Signal | Returned


def tracker(**settings: Any) -> IncidentTracker:
    """A tracker of three fields."""
    return IncidentTracker(IncidentsConfig(**settings), "d", FIELDS, "fp")


def signal(
    mark_ms: int, number: int = 0, event: Sequence[str] = ("c", "t", "r"), **more: Any
) -> Signal:
    """A raised event; ``more`` is said besides."""
    values = tuple(zip(FIELDS, event, strict=False))
    place = {"topic": "events", "partition": 0, "offset": number}
    told: dict[str, Any] = {
        "time_ms": mark_ms,
        "mark_ms": mark_ms,
        "kind": "event",
        "alert_id": f"events-0-{number}",
        "severity": "low",
        "rarity": 1000.0,
        "shown": True,
        "values": values,
        "reason": "amount",
        "place": place,
    }
    return Signal(**{**told, **more})


def finding(mark_ms: int, field: str, key: str, **more: Any) -> Signal:
    """A silence of a key, found by a monitor."""
    told: dict[str, Any] = {
        "kind": "silence",
        "alert_id": f"silence:watch:{key}:{mark_ms}",
        "values": ((field, key),) if field else (),
        "monitor": "watch",
        "ongoing": True,
        "place": {"tick": str(mark_ms), "shard": 0},
    }
    return signal(mark_ms, **{**told, **more})


class Stream:
    """Events at even steps, their values drawn from a seed; what is raised of them is told.

    Attributes:
        step_ms: between two events.
    """

    def __init__(
        self, events: int, step_ms: int = 10 * SECOND, *, seed: int = 0, customers: int = 500
    ) -> None:
        random = np.random.default_rng(seed)
        self.step_ms = step_ms
        self.marks = np.arange(events, dtype=np.int64) * step_ms
        regions = random.choice(8, events, p=[0.3, 0.2, 0.15, 0.1, 0.1, 0.05, 0.05, 0.05])
        self.events: list[Event] = [
            (f"c{c}", f"t{t}", f"r{r}")
            for c, t, r in zip(
                random.integers(0, customers, events).tolist(),
                random.integers(0, 300, events).tolist(),
                regions.tolist(),
                strict=True,
            )
        ]

    def run(
        self,
        tracker: IncidentTracker,
        raised: Callable[[int, int, Event], Iterable[Happening]],
        *,
        begin: int = 0,
        end: int | None = None,
        cut: Callable[[], int] | None = None,
    ) -> list[tuple[int, Change]]:
        """What changes, with the event at which it does.

        Args:
            tracker: is given the events.
            raised: what happens at an event: its number, its watermark, its values.
            begin: first event; at a chunk's beginning, or where the tracker was left.
            end: event before which it stops.
            cut: gives the size of the next slice.
        """
        changes: list[tuple[int, Change]] = []
        row, last = begin, len(self.events) if end is None else end
        while row < last:
            stop = min(last, (row // CHUNK + 1) * CHUNK)
            if cut is not None:
                stop = min(stop, row + max(cut(), 1))
            happened = [
                (at - row, one)
                for at in range(row, stop)
                for one in raised(at, int(self.marks[at]), self.events[at])
            ]
            found = told_along(tracker, self.marks[row:stop], happened)
            changes += [(row + at, change) for at, change in found]
            tracker.population([*zip(*self.events[row:stop], strict=True)], stop - row)
            if stop % CHUNK == 0:
                tracker.learn()
            row = stop
        return changes


def told_along(
    tracker: IncidentTracker, marks_ms: np.ndarray, signals: Iterable[tuple[int, Happening]]
) -> list[tuple[int, Change]]:
    """What changes along a slice of events, with the row at which it does.

    Args:
        tracker: is told of them.
        marks_ms: (events,) the watermark after each.
        signals: with the row of the event that showed each, rows ascending; at one row keys that
            are back come first.
    """
    changes: list[tuple[int, Change]] = []
    tops = np.maximum.accumulate(marks_ms) if len(marks_ms) else marks_ms

    def pass_over(row: int, end: int) -> None:
        """Let the watermark go on with the rows up to ``end``."""
        while row < end and (due_ms := tracker.due_ms) is not None:
            row = max(row, int(np.searchsorted(tops, due_ms)))
            if row < end:
                changes.extend((row, one) for one in tracker.advance(int(tops[row])))
                row += 1

    if len(tops):
        changes += [(0, one) for one in tracker.advance(int(tops[0]))]
    row = 0
    for at, signal in signals:
        pass_over(row, at + 1)
        row = at + 1
        changes += [(at, one) for one in tracker.advance(int(tops[at]))]
        changes += [(at, one) for one in tracker.take(signal)]
    pass_over(row, len(tops))
    if len(tops):
        tracker.advance(int(tops[-1]))
    return changes


def calm(number: int, mark_ms: int, event: Event) -> Iterable[Happening]:
    """An alert by chance every few hours."""
    if number % 1500 == 1499:
        yield signal(mark_ms, number, event)


def of(changes: Iterable[tuple[int, Change]], name: str) -> list[Change]:
    """The changes of a name."""
    return [body for _, body in changes if body["change"] == name]
