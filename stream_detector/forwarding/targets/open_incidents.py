"""The incidents that a receiver has to be reminded of: the open ones, and for a while the closed.

Alertmanager keeps nothing over a restart, and takes for resolved what nobody sends again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from stream_detector.events import TopicPartition
from stream_detector.forwarding.message import Message

CLOSED_SECONDS = 900.0
"""So long what is resolved is sent again, as Prometheus does: a restart of the receiver in the
meantime would else leave it open for people."""


@dataclass(slots=True)
class Remembered:
    """An incident as it was sent last; ``until``: when a closed one is forgotten."""

    message: Message
    due: float
    until: float | None


class OpenIncidents:
    """Incidents by id, in the order in which they changed last; thread-safe.

    State: one message an incident, at most ``most``: those that changed longest ago go first.
    """

    def __init__(
        self,
        most: int,
        resend_seconds: float,
        on_evicted: Callable[[int], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``on_evicted`` is told how many were forgotten while they were open."""
        self._most, self._resend = most, resend_seconds
        self.on_evicted, self._clock = on_evicted, clock
        self._lock = threading.Lock()
        self._held: dict[str, Remembered] = {}

    def put(self, message: Message, *, sent: bool = True) -> Message | None:
        """Take note of an incident's newest message; the one before it, None without one.

        ``sent`` False: it is to be sent again at once.
        """
        now = self._clock()
        until = now + CLOSED_SECONDS if message.state == "resolved" else None
        with self._lock:
            before = self._held.pop(message.id, None)
            due = now + (self._resend if sent else 0.0)
            self._held[message.id] = Remembered(message, due, until)
            evicted = 0
            while len(self._held) > self._most:
                gone = self._held.pop(next(iter(self._held)))
                evicted += gone.until is None
        if evicted:
            self.on_evicted(evicted)
        return before.message if before is not None else None

    def drop(self, incident: str) -> None:
        """Forget an incident."""
        with self._lock:
            self._held.pop(incident, None)

    def before(self, incident: str) -> Message | None:
        """Return what was sent of an incident last."""
        with self._lock:
            held = self._held.get(incident)
            return held.message if held is not None else None

    def forget(self, sources: Collection[TopicPartition]) -> None:
        """Drop what came from partitions that now belong to another worker."""
        with self._lock:
            self._held = {
                name: one for name, one in self._held.items() if one.message.source not in sources
            }

    def due_at(self) -> float | None:
        """By ``clock``, when the next one is to be sent again; None where there is none."""
        with self._lock:
            return min((one.due for one in self._held.values()), default=None)

    def due(self, most: int) -> list[Message]:
        """Return messages that are to be sent again by now, and forget what is closed for long."""
        now = self._clock()
        with self._lock:
            over = [
                name
                for name, one in self._held.items()
                if one.until is not None and one.until < now
            ]
            for name in over:
                del self._held[name]
            due = [one.message for one in self._held.values() if one.due <= now]
        return due[:most]

    def sent_again(self, messages: Collection[Message]) -> None:
        """These were sent again just now; what has changed since is not meant."""
        now = self._clock()
        with self._lock:
            for message in messages:
                held = self._held.get(message.id)
                if held is not None and held.message is message:
                    held.due = now + self._resend

    def count(self) -> int:
        """Return how many are open."""
        with self._lock:
            return sum(one.until is None for one in self._held.values())
