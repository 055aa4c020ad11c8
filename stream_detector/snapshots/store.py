"""Interface of a store of snapshots, and the search for the newest one that is sound."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from stream_detector.errors import StateError
from stream_detector.snapshots.format import Snapshot, decode
from stream_detector.snapshots.meta import check_complete


class SnapshotStore(Protocol):
    """Store of a shard's snapshots; positions grow and order them.

    Every method returns within a deadline. One that cannot be reached (a broker) raises
    ``ConnectorError`` where something is read: that is no damage, and trying again may help.
    """

    def write(self, position: int, data: bytes | bytearray) -> None:
        """Keep a snapshot durably: after this returns it survives a crash, before it the last one.

        Replaces one of the same position, as a whole. Raises ``StateError`` where it could not be
        kept; the older ones are untouched then.
        """

    def positions(self) -> list[int]:
        """Positions of the snapshots kept, newest first. Raises ``StateError``."""

    def read(self, position: int) -> bytes:
        """The bytes of one. Raises ``StateError`` where it is not there or not whole."""

    def set_aside(self, position: int) -> None:
        """Keep one out of sight: not among the positions any more, until ``delete_all``.

        Raises ``StateError`` where that failed.
        """

    def delete_all(self) -> None:
        """Forget all of them, those set aside too (``--reset-state``). Raises ``StateError``."""


def newest_sound(store: SnapshotStore) -> Iterator[tuple[int, Snapshot | StateError]]:
    """Snapshots from the newest on: a damaged one as its error, until a sound one was given."""
    for position in store.positions():
        try:
            snapshot = decode(store.read(position))
            check_complete(snapshot.meta)
        except StateError as error:
            yield position, error
            continue
        yield position, snapshot
        return
