"""What the outside world looks like from inside: sources of records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from stream_detector.alerts import Outgoing
from stream_detector.events import Record, TopicPartition


@dataclass(slots=True)
class Fetched:
    """Records of one partition, in offset order; at least one."""

    source: TopicPartition
    records: Sequence[Record]


class Source(Protocol):
    """Where records come from.

    Obligations, checked on every source by its tests:

    - The records of a partition come in offset order, each exactly once, over all polls; a
      partition occurs at most once in the result of a poll.
    - ``poll`` raises ``ConnectorError`` where the outside world fails, and never because of what a
      record holds: a record that cannot be read is handed on as bytes that do not decode.
    - Where a poll is cut (how many records it brings, of which partitions) promises nothing.
    - Memory is bounded by what one poll may bring plus a buffer of fixed size.
    """

    def poll(self, timeout_seconds: float) -> list[Fetched]:
        """Next records, at most the source's ``max_poll_records`` in all.

        Must return ``[]`` when none came within ``timeout_seconds``, and at once when exhausted.
        """

    def exhausted(self) -> bool:
        """Whether this is a finite source whose records were all returned; never true for Kafka."""

    def close(self) -> None:
        """Give files and connections back. Called once or more often; no poll comes after it."""


@dataclass(frozen=True, slots=True)
class Rebalance:
    """What became of an assignment: all partitions owned now, and whether ownership was lost.

    ``lost``: the group had given this member up; others may have worked on its shards since.
    """

    assigned: frozenset[TopicPartition]
    lost: bool


class GroupSource(Source, Protocol):
    """A source that the daemon can run on: assigned partitions, positions, committed offsets.

    Obligations beyond ``Source``:

    - Partitions are assigned paused; ``seek`` says where to begin and lets them flow.
    - Every method returns within a deadline, or raises ``ConnectorError``.
    """

    def take_rebalance(self) -> Rebalance | None:
        """What the last polls did to the assignment; None where nothing changed."""

    def seek(self, positions: Mapping[TopicPartition, int]) -> None:
        """Read on from these offsets, and resume."""

    def pause(self, source: TopicPartition) -> None:
        """Bring no more records of a partition."""

    def resume(self, source: TopicPartition) -> None:
        """Bring records of a partition again."""

    def position(self, source: TopicPartition) -> int:
        """Offset of the next record to be read, past gaps; -1 where it is not known."""

    def log_end(self, source: TopicPartition) -> int:
        """End of a partition as far as it is known without asking; -1 where it is not."""

    def ask_ends(self, sources: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Ends of what may be read now. Raises ``ConnectorError`` where nobody answers."""

    def ask_beginnings(self, sources: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Earliest offsets still held. Raises ``ConnectorError``."""

    def committed(self, sources: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Offsets committed by the group; partitions without one are absent."""

    def commit(self, offsets: Mapping[TopicPartition, int]) -> bool:
        """Commit the next offsets to process; False where the group has moved on."""


class Sink(Protocol):
    """Where messages go. What was sent is not safe before ``flush`` has returned."""

    def send(self, topic: str, messages: Sequence[Outgoing]) -> None:
        """Hand messages over, in order. Raises ``OutputError``."""

    def flush(self) -> None:
        """Return when everything sent is durable. Raises ``OutputError`` where it is not."""

    def close(self) -> None:
        """Give connections back, within a deadline."""
