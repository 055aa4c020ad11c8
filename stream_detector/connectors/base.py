"""Interfaces to the outside world: sources of records, outputs, the journal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from stream_detector.errors import ConnectorError
from stream_detector.events import Record, TopicPartition
from stream_detector.messages import Outgoing


@dataclass(slots=True)
class Fetched:
    """Records of one partition, in offset order; at least one."""

    source: TopicPartition
    records: Sequence[Record]


class Source(Protocol):
    """Source of records.

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
        """Tell whether a finite source has returned all of its records; never true for Kafka."""

    def close(self) -> None:
        """Give files and connections back. Called once or more often; no poll comes after it."""


@dataclass(frozen=True, slots=True)
class Rebalance:
    """Change of an assignment.

    Attributes:
        assigned: all partitions owned now.
        added: those of them that were not owned before; they are paused, without a position.
        lost: the group had given this member up; others may have worked on its shards since.
    """

    assigned: frozenset[TopicPartition]
    added: frozenset[TopicPartition]
    lost: bool


@dataclass(frozen=True, slots=True)
class Commit:
    """Everything that a shard writes to the outside world at once.

    Attributes:
        messages: topics, and for each the messages in their order.
        journal: the journal's record.
        offsets: next offset to process, of each partition.
    """

    messages: Sequence[tuple[str, Sequence[Outgoing]]]
    journal: bytes
    offsets: Mapping[TopicPartition, int]


class GroupSource(Source, Protocol):
    """A source that the daemon can run on: assigned partitions, positions, committed offsets.

    Obligations beyond ``Source``:

    - Partitions are assigned paused; ``seek`` says where to begin and lets them flow.
    - Every method returns within a deadline, or raises ``ConnectorError``.
    """

    def take_rebalance(self) -> Rebalance | None:
        """Return what the last polls changed in the assignment; None where nothing changed."""

    def rebalance_near(self) -> bool:
        """Tell whether the next poll may change the assignment: finished work goes first."""

    def membership(self) -> Any:
        """Proof of membership for a commit; None where this worker is no member just now."""

    def seek(self, positions: Mapping[TopicPartition, int]) -> None:
        """Read on from these offsets, and resume."""

    def pause(self, source: TopicPartition) -> None:
        """Bring no more records of a partition."""

    def resume(self, source: TopicPartition) -> None:
        """Bring records of a partition again."""

    def unreadable(self) -> Mapping[TopicPartition, ConnectorError]:
        """Partitions whose next records cannot be read at all, and the error to end with."""

    def position(self, source: TopicPartition) -> int:
        """Offset of the next record to be read, past gaps; -1 where it is not known."""

    def log_end(self, source: TopicPartition) -> int:
        """End of a partition as far as it is known without asking; -1 where it is not."""

    def missing(self, sources: Iterable[TopicPartition]) -> set[TopicPartition]:
        """Those partitions that the outside world does not know (any more)."""

    def without_leader(self, sources: Iterable[TopicPartition]) -> set[TopicPartition]:
        """Those partitions that exist and that nobody can serve just now."""

    def known_ids(self, topics: Iterable[str]) -> dict[str, str]:
        """Ids of topics as far as they are known without asking, in the form of ``topic_ids``."""

    def missing_topics(self) -> list[str]:
        """Topics to be read that do not exist (any more)."""

    def ask_ends(self, sources: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Ends of what may be read now; absent for what is missing or has no leader.

        Raises ``ConnectorError`` where nobody answers.
        """

    def open_transaction(self, source: TopicPartition) -> str:
        """Whose transaction keeps a partition from being read further, in words."""

    def ask_beginnings(self, sources: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Earliest offsets still held. Raises ``ConnectorError``."""

    def topic_ids(self, topics: Iterable[str]) -> dict[str, str]:
        """An id of each topic that is another one after it was made anew, where there is such."""

    def committed(self, sources: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Offsets committed by the group; partitions without one are absent."""

    def commit(self, offsets: Mapping[TopicPartition, int]) -> bool:
        """Commit the next offsets to process; False where the group has moved on."""


class Sink(Protocol):
    """Receiver of messages. What was sent is not safe before ``flush`` has returned."""

    def send(self, topic: str, messages: Sequence[Outgoing]) -> None:
        """Hand messages over, in order. Raises ``OutputError``."""

    def flush(self) -> None:
        """Return when everything sent is durable. Raises ``OutputError`` where it is not."""

    def close(self) -> None:
        """Give connections back, within a deadline."""


class Output(Protocol):
    """Receiver of a shard's commits, one after the other.

    Obligations:

    - Every method returns within a deadline, or raises ``ConnectorError``.
    - A commit is written whole or not at all; where that cannot be said, ``CommitDoubtError``.
      (An output without transactions says so by ``atomic``, and may then write messages twice.)
    """

    atomic: bool

    def open(self) -> None:
        """Take the shard over: whoever wrote for it before can no longer.

        What was under way is completed or given up when this returns. Called again after every
        doubt. Raises ``ConnectorError``.
        """

    def commit(self, commit: Commit, membership: Any) -> int:
        """Write a commit; the offset after its journal record, -1 without a journal.

        Raises ``CommitRefusedError`` where the group has moved on (nothing was written),
        ``CommitDoubtError`` where the outcome is unknown: only ``open`` may follow, and
        ``OutputError`` or ``RefusedError`` where trying again is no cure.
        """

    def close(self) -> None:
        """Give connections back, within a deadline."""


class Journal(Protocol):
    """The journals of all shards: what was committed, in order."""

    def read(self, shard: int, start: int) -> Iterator[tuple[int, bytes]]:
        """Offset and value of every record from ``start`` to the end as of now.

        Raises ``ConnectorError``.
        """

    def bounds(self, shard: int) -> tuple[int, int]:
        """Earliest offset still held, and the end. Raises ``ConnectorError``."""
