"""What a target still has to get: in what order, when again, and up to where all is done."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from stream_detector.config.models.forward import TargetConfig
from stream_detector.events import Record, TopicPartition, record_bytes
from stream_detector.forwarding.message import Message
from stream_detector.forwarding.outcome import Outcome
from stream_detector.forwarding.pace import Allowance, pause_seconds

_SUSPICIOUS = 5
"""After so many failures in a row the target itself is taken to be away, and tried by one message
at a time. A message that was denied as often, while others got through, is at fault itself."""

_GLANCE_SECONDS = 0.1

_POLLED = 1000
"""So many entries may be done besides those that fit in, before what is done is committed."""


@dataclass(slots=True, eq=False)
class Entry:
    """A record that waits to be sent.

    Attributes:
        source: topic and partition.
        record: the record.
        message: what it says; None where it is no message, and goes to the dead letters.
        problem: why it is none.
        failures: how often it was tried in vain.
        alone: how often of these others had got through since the failure before.
    """

    source: TopicPartition
    record: Record
    message: Message | None
    problem: str = ""
    failures: int = 0
    due: float = 0.0
    number: int = 0
    sent_before: int = 0
    alone: int = 0
    alone_since: float = 0.0
    taken: bool = False
    done: bool = False

    @property
    def place(self) -> _Place:
        """Where it was read; with its time, as a topic that was made anew counts from 0 again."""
        return self.source, self.record.offset, self.record.timestamp


_Place = tuple[TopicPartition, int, int]


class Outbox:
    """The entries of one target; thread-safe: one thread adds, several take and settle.

    Messages of one id are sent in their order; others may overtake what has to be tried again.

    State: the entries that are not done, and those done behind one that is not. Bounded by who
    adds: ``full`` tells when to stop.
    """

    def __init__(
        self,
        config: TargetConfig,
        most: int,
        most_bytes: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``most``: entries, and ``most_bytes`` of records, from which on it is ``full``."""
        self._config, self._most, self._most_bytes, self._clock = config, most, most_bytes, clock
        self._changed = threading.Condition()
        self._allowance = Allowance(config.per_second, clock())
        self._waiting: dict[int, Entry] = {}
        self._next_number = 0
        self._bytes = 0
        self._rows: dict[TopicPartition, deque[Entry]] = {}
        self._done_to: dict[TopicPartition, int] = {}
        self._finished: deque[_Place] = deque(maxlen=most + _POLLED)
        self._not_again: frozenset[_Place] = frozenset()
        self._sent = 0
        self._failures = 0
        self._failing_since: float | None = None
        self._last_said = ""
        self._paused_until = 0.0
        self._in_flight = 0

    # --- the side that adds ---

    def add(self, entry: Entry) -> None:
        """Take an entry in, behind all others; one that was done before is so at once.

        A partition may be taken from a worker and given back before it could commit, as where the
        broker was away.
        """
        with self._changed:
            if entry.place in self._not_again:
                entry.done = True
                self._rows.setdefault(entry.source, deque()).append(entry)
                return
            entry.number = self._next_number
            self._waiting[entry.number] = entry
            self._next_number += 1
            self._bytes += record_bytes(entry.record)
            self._rows.setdefault(entry.source, deque()).append(entry)
            self._changed.notify()

    def full(self, share: float = 1.0) -> bool:
        """Tell whether so large a share of the bounds is used."""
        with self._changed:
            return len(self._waiting) >= self._most * share or (
                self._bytes >= self._most_bytes * share
            )

    def done_to(self) -> dict[TopicPartition, int]:
        """Return of each partition the offset up to which all that was added is done.

        A partition of which something waits and nothing more is done is absent.
        """
        with self._changed:
            for source, row in self._rows.items():
                while row and row[0].done:
                    self._done_to[source] = row.popleft().record.offset + 1
            return dict(self._done_to)

    def idle(self) -> frozenset[TopicPartition]:
        """Return the partitions that have brought something, all of which is done."""
        with self._changed:
            return frozenset(
                source for source, row in self._rows.items() if all(one.done for one in row)
            )

    def known(self) -> frozenset[TopicPartition]:
        """Return the partitions that have brought something."""
        with self._changed:
            return frozenset(self._rows)

    def drop(self, sources: Collection[TopicPartition]) -> None:
        """Forget what came from partitions that now belong to another worker."""
        with self._changed:
            self._not_again = frozenset(self._finished)
            for source in sources:
                self._rows.pop(source, None)
                self._done_to.pop(source, None)
            for entry in [one for one in self._waiting.values() if one.source in sources]:
                self._leave(entry)

    def oldest_ms(self) -> int | None:
        """Return when the oldest record that waits was written; None where none waits."""
        with self._changed:
            return min((one.record.timestamp for one in self._waiting.values()), default=None)

    def __len__(self) -> int:
        with self._changed:
            return len(self._waiting)

    # --- the side that sends ---

    def take(self, most: int, timeout_seconds: float, *, in_order: bool = False) -> list[Entry]:
        """Return what is to be sent now, no two of one id; nothing after the timeout at last.

        ``in_order``: what comes next, whatever its id, for who writes one behind the other.

        Each has to be given back by ``settle``, ``put_off`` or ``finish``.
        """
        until = self._clock() + timeout_seconds
        with self._changed:
            while True:
                now = self._clock()
                found, due = self._ready(most, now, in_order)
                if found:
                    for entry in found:
                        entry.taken = True
                    self._in_flight += 1
                    self._allowance.spend(len(found))
                    return found
                if now >= until:
                    return []
                self._changed.wait(max(0.001, min(until, due) - now))

    def _ready(self, most: int, now: float, in_order: bool) -> tuple[list[Entry], float]:
        """Entries that may be sent now, and when to look again."""
        later = now + 3600.0
        if now < self._paused_until:
            return [], self._paused_until
        probing = self._failures >= _SUSPICIOUS
        if probing and self._in_flight:
            return [], later  # until it has come back
        most = min(most, self._allowance.left(now))
        if most < 1:
            return [], self._allowance.next_at()
        if in_order:
            return self._next(most, now), now + _GLANCE_SECONDS
        found: list[Entry] = []
        for entry in self._first_of_ids():
            if entry.due > now:
                later = min(later, entry.due)
            else:
                found.append(entry)
            if len(found) >= most and not probing:
                break
        if probing and found:  # by what has failed least: one that always fails tells nothing
            found = [min(found, key=lambda one: one.failures)]
        return found, later

    def _next(self, most: int, now: float) -> list[Entry]:
        """Entries from the first on, up to one that has to wait."""
        found: list[Entry] = []
        for entry in self._waiting.values():
            if entry.taken or entry.due > now or len(found) >= most:
                break
            found.append(entry)
        return found

    def _first_of_ids(self) -> Iterator[Entry]:
        """Entries that are not taken, in order, without those behind one of the same id."""
        seen: set[str] = set()
        for entry in self._waiting.values():
            if entry.message is not None:
                if entry.message.id in seen:
                    continue
                seen.add(entry.message.id)
            if not entry.taken:
                yield entry

    def settle(self, entries: Sequence[Entry], outcomes: Sequence[Outcome]) -> list[Entry]:
        """Take note of what became of entries; those that are to go to the dead letters.

        What those are was told by the outcome, or by others that got through meanwhile. They stay
        taken until ``finish`` or ``put_off``.
        """
        now, letters = self._clock(), []
        with self._changed:
            self._in_flight -= 1
            due = now + self._pause(entries)
            for entry, outcome in zip(entries, outcomes, strict=True):
                if outcome.kind == "sent":
                    self._sent += 1
                    self._got_through()
                    self._finish(entry)
                elif outcome.kind == "refused":
                    self._got_through()  # it answers, and knows what it is sent
                    letters.append(entry)
                elif self._failed(entry, outcome, now, due):
                    letters.append(entry)
            self._changed.notify_all()
        return letters

    def note(self, outcome: Outcome) -> None:
        """Take note of an attempt that was about no entry."""
        with self._changed:
            if outcome.kind in ("sent", "refused"):
                self._got_through()
            else:
                self._away(outcome, self._clock())
            self._changed.notify_all()

    def finish(self, entry: Entry) -> None:
        """An entry is done."""
        with self._changed:
            self._finish(entry)
            self._changed.notify_all()

    def put_off(self, entry: Entry) -> None:
        """An entry is to be tried again later, for want of something else."""
        with self._changed:
            entry.taken = False
            entry.due = self._clock() + self._config.longest_pause / 2
            self._changed.notify_all()

    def paused(self) -> bool:
        """Tell whether the target is left alone just now."""
        with self._changed:
            return self._clock() < self._paused_until

    def failing(self) -> tuple[float, str] | None:
        """Return for how many seconds nothing has got through, and why; None where it does."""
        with self._changed:
            if self._failing_since is None or self._failures < _SUSPICIOUS:
                return None
            return self._clock() - self._failing_since, self._last_said

    def _pause(self, entries: Sequence[Entry]) -> float:
        """Seconds until entries that failed together are tried again, together."""
        config, failures = self._config, min(entry.failures for entry in entries)
        message = entries[0].message
        key = message.key if message is not None else ""
        return pause_seconds(config.first_pause, config.longest_pause, failures + 1, key)

    def _failed(self, entry: Entry, outcome: Outcome, now: float, due: float) -> bool:
        """Let an entry wait; tell whether it has failed often enough while others got through."""
        others = entry.failures > 0 and self._sent > entry.sent_before
        entry.failures += 1
        entry.sent_before = self._sent
        entry.due = due
        self._away(outcome, now)
        entry.taken = False
        if others:
            entry.alone += 1
            entry.alone_since = entry.alone_since or now
        if entry.alone < _SUSPICIOUS:
            return False
        its_fault = (
            outcome.kind == "denied" or now - entry.alone_since >= self._config.give_up_after
        )
        entry.taken = its_fault
        return its_fault

    def _away(self, outcome: Outcome, now: float) -> None:
        self._failures += 1
        self._last_said = outcome.said
        if self._failing_since is None:
            self._failing_since = now
        if outcome.wait_seconds > 0:
            self._paused_until = max(self._paused_until, now + outcome.wait_seconds)
        elif self._failures >= _SUSPICIOUS:
            config, over = self._config, self._failures - _SUSPICIOUS + 1
            pause = pause_seconds(config.first_pause, config.longest_pause, over, config.name)
            self._paused_until = max(self._paused_until, now + pause)

    def _got_through(self) -> None:
        self._failures, self._failing_since = 0, None

    def _finish(self, entry: Entry) -> None:
        self._finished.append(entry.place)
        if not entry.done:  # else its partition was given up meanwhile
            self._leave(entry)

    def _leave(self, entry: Entry) -> None:
        entry.done = True
        del self._waiting[entry.number]
        self._bytes -= record_bytes(entry.record)


def behind(done: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]) -> int:
    """Return how many offsets of partitions are not done."""
    return sum(max(0, end - done.get(source, 0)) for source, end in ends.items())
