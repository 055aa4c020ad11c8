"""The client's notices of the assignment, kept for the loop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from kafka.consumer.subscription_state import ConsumerRebalanceListener

from stream_detector.connectors.kafka.client.partitions import ours
from stream_detector.events import TopicPartition


@dataclass(frozen=True, slots=True)
class Notes:
    """Changes of an assignment.

    Attributes:
        happened: whether anything did.
        added: partitions that are new, and not gone again.
        lost: whether others may have taken over what was held.
    """

    happened: bool = False
    added: frozenset[TopicPartition] = frozenset()
    lost: bool = False


class Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Notes what happens. Runs on the client's I/O thread: only pause and seek may be called.

    State: what happened since it was last asked.
    """

    def __init__(self, pause: Callable[..., None], forget: Callable[[], None]) -> None:
        """``pause`` is the consumer's; ``forget`` is called when the group gives it up."""
        self._pause = pause
        self._forget = forget
        self._lock = threading.Lock()
        self._notes = Notes()

    def on_partitions_revoked(self, revoked: Collection[Any]) -> None:
        """Note what was given back."""
        self._note(gone=revoked)

    def on_partitions_assigned(self, assigned: Collection[Any]) -> None:
        """Note what is new, and let nothing of it come yet."""
        self._pause(*assigned)  # nothing may come before the loop has found the positions
        self._note(added=assigned)

    def on_partitions_lost(self, lost: Collection[Any]) -> None:
        """Note what others may have taken over already."""
        self._forget()
        self._note(gone=lost, lost=True)

    def _note(
        self, *, added: Collection[Any] = (), gone: Collection[Any] = (), lost: bool = False
    ) -> None:
        with self._lock:
            before = self._notes
            held = (before.added - {ours(p) for p in gone}) | {ours(p) for p in added}
            self._notes = Notes(happened=True, added=held, lost=before.lost or lost)

    def take(self) -> Notes:
        """Return what happened since the last call."""
        with self._lock:
            notes, self._notes = self._notes, Notes()
            return notes
