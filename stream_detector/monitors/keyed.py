"""What monitors of single events share: keys, chunks, the clock, and the state of these."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_detector.detectors.stored import (
    making_sense,
    read_branch,
    read_count,
    read_time,
)
from stream_detector.errors import StateMismatchError
from stream_detector.events import NO_TIMESTAMP, Int64, State
from stream_detector.monitors.base import Finding, Monitor, MonitorEvents
from stream_detector.monitors.surprise import EventMonitorConfig, Surprises
from stream_detector.tables.history import Occurrences
from stream_detector.tables.keys import LARGEST_CHUNK, KeyTable
from stream_detector.tables.lookups import KeyFinder
from stream_detector.tables.texts import present


@dataclass(frozen=True, slots=True)
class Segment:
    """Events of a call that lie in one chunk and can be judged.

    Attributes:
        events: the call's.
        rows: (n,) which of these.
        keys: (n,) key of each.
        slots: (n,) its slot in the table of keys.
        shared: which of them share a slot.
        times_ms: (n,) time of each.
        now_ms: (n,) the stream's time after each; it never goes back.
    """

    events: MonitorEvents
    rows: Int64
    keys: Sequence[str]
    slots: Int64
    shared: Occurrences
    times_ms: Int64
    now_ms: Int64

    def __len__(self) -> int:
        return len(self.rows)


Found = list[tuple[int, list[Finding]]]


class EventMonitor(Monitor):
    """Judges each event by what its key did before, and learns it then.

    What hangs on many keys (budget, forgetting, what is common to all) moves after so many events
    wherever these were cut.

    State: the table of keys, the stream's time, the surprises; what the kind has beside.
    """

    def __init__(self, config: EventMonitorConfig) -> None:
        self.config: EventMonitorConfig = config
        self.without_key = 0
        self._keys = KeyTable(config.max_keys if config.key is not None else 1)
        self._finder = KeyFinder(self._keys, config.key)
        self._surprises = Surprises(config)
        self._half_life_ms = config.half_life * 1000
        self._since = 0  # events since the end of the last chunk
        self._clock = NO_TIMESTAMP
        self._faded_ms = NO_TIMESTAMP

    @property
    def repeats(self) -> int:
        """What was as strange, and was not alerted as the same had just been."""
        return self._surprises.repeats

    @abstractmethod
    def _usable(self, events: MonitorEvents) -> NDArray[np.bool_]:
        """(events,) which have what is judged."""

    @abstractmethod
    def _judge(self, segment: Segment) -> Found:
        """What is found in events, row by row; they are learnt."""

    @abstractmethod
    def _grow(self, rows: int) -> None:
        """Have a row for each slot of the table of keys."""

    @abstractmethod
    def _end_chunk(self, freed: Int64, keep: float, now_ms: int) -> None:
        """A chunk is over: forget the keys of these slots, let ``keep`` of what was count."""

    @abstractmethod
    def _go_back(self, mark_ms: int) -> None:
        """Time has gone back."""

    @abstractmethod
    def _own_state(self, slots: Int64) -> State:
        """What the kind has beside, keys in the order of these slots."""

    @abstractmethod
    def _restore_own(self, state: State, count: int, latest_ms: int) -> None:
        """Take in what the kind has beside, of ``count`` keys."""

    def take(self, events: MonitorEvents) -> Found:
        """Judge and learn events."""
        known = events.marks_ms >= 0  # before, nobody knows what time it is
        if not known.any():
            return []
        keys = events.keys(self.config.key)
        keyed = known if keys is None else known & present(keys)
        usable = keyed & self._usable(events)
        self.without_key += events.without_key(self.config.key, int(np.argmax(known)))
        self.unusable += int(keyed.sum() - usable.sum())
        rows = np.flatnonzero(usable)
        found: Found = []
        begin = 0
        while begin < len(rows):
            # A chunk is over after so many events, wherever these were cut.
            end = min(begin + LARGEST_CHUNK - self._since, len(rows))
            found += self._take(events, keys, rows[begin:end])
            begin = end
        return found

    def _take(self, events: MonitorEvents, keys: Sequence[str | None] | None, rows: Int64) -> Found:
        """Events that lie in one chunk."""
        own = [""] * len(rows) if keys is None else [keys[row] or "" for row in rows.tolist()]
        slots = self._finder.slots_of(own, events.lookups, rows)
        self._grow(self._keys.rows)
        shared = Occurrences.of(slots)
        self._keys.touch(slots)
        now_ms = np.maximum(np.maximum.accumulate(events.marks_ms[rows]), self._clock)
        if self._faded_ms == NO_TIMESTAMP:
            self._faded_ms = int(now_ms[0])
        self._clock = int(now_ms[-1])
        segment = Segment(events, rows, own, slots, shared, events.times_ms[rows], now_ms)
        found = self._judge(segment)
        self._since += len(rows)
        if self._since == LARGEST_CHUNK:
            took_ms = max(self._clock - self._faded_ms, 0)
            keep = 0.5 ** (took_ms / self._half_life_ms)
            self._surprises.learn(LARGEST_CHUNK, took_ms / 1000, keep)
            self._end_chunk(self._keys.evict(), keep, self._clock)
            self._since, self._faded_ms = 0, self._clock
            self.closed += 1
        return found

    def known_of(self, key: str) -> list[str]:
        """Return what is known of a key, in sentences; empty where it is not remembered."""
        slot = self._keys.find(key)
        return [] if slot is None else self._known_at(slot)

    @abstractmethod
    def _known_at(self, slot: int) -> list[str]:
        """What is known of the key of a slot, in sentences."""

    def _too_few(self, had: int, what: str) -> list[str]:
        """Say that a key is not judged yet, where that is so."""
        least = self.config.after
        return [f"Nothing is said of it before {least:,} {what}."] if had < least else []

    def _told(self, segment: Segment, row: int, score: float) -> dict[str, Any]:
        """What every finding about a row of a segment has."""
        time_ms = int(segment.times_ms[row])
        return {
            "key": segment.keys[row],
            "start_ms": time_ms,
            "end_ms": time_ms,
            "score": score,
            "threshold": self._surprises.threshold,
            "rarity": self._surprises.rarity(score),
            "share": self._surprises.share,
        }

    def tick(self, mark_ms: int) -> list[Finding]:  # noqa: ARG002 - what others need
        """Nothing is found without an event."""
        return []

    @property
    def due_ms(self) -> int | None:
        """Time alone changes nothing."""
        return None

    def restart(self, mark_ms: int) -> None:
        """Go on at ``mark_ms``: what was later counts as of then."""
        self._clock = min(self._clock, mark_ms)
        self._faded_ms = min(self._faded_ms, mark_ms)
        self._surprises.restart(mark_ms)
        self._go_back(mark_ms)

    def state(self) -> State:
        """The keys in the order of their last use, and what is known of each."""
        keys, slots = self._keys.state()
        self._grow(self._keys.rows)
        return {
            "keys": keys,
            "since": self._since,
            "clock": self._clock,
            "faded": self._faded_ms,
            "without_key": self.without_key,
            "unusable": self.unusable,
            "surprises": self._surprises.state(),
            **self._own_state(slots),
        }

    def restore(self, state: State, mark_ms: int) -> None:
        """Take the state in; ``mark_ms`` is the watermark that goes with it.

        Raises ``StateMismatchError`` where it is none of such a monitor.
        """
        with making_sense():
            count = self._keys.restore(read_branch(state, "keys"))
            self._since = read_count(state, "since", high=LARGEST_CHUNK - 1)
            latest_ms = max(mark_ms, NO_TIMESTAMP)
            self._clock = read_time(state, "clock", latest_ms=latest_ms)
            self._faded_ms = read_time(state, "faded", latest_ms=self._clock)
            if (self._faded_ms == NO_TIMESTAMP) != (self._clock == NO_TIMESTAMP):
                raise StateMismatchError("one of two times is missing")
            self.without_key = read_count(state, "without_key")
            self.unusable = read_count(state, "unusable")
            most = max(self._clock, 0)
            self._surprises.restore(read_branch(state, "surprises"), most, LARGEST_CHUNK)
            self._restore_own(state, count, most)
