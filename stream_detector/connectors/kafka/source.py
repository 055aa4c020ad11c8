"""Events from Kafka: a consumer whose every blocking call has a deadline.

kafka-python runs its network loop on a thread of its own, and calls the rebalance listener there.
The listener therefore only notes what happened and pauses what is new; the daemon's loop asks for
the notes after each poll and acts.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from kafka import KafkaConsumer
from kafka import TopicPartition as ClientPartition
from kafka.consumer.subscription_state import ConsumerRebalanceListener
from kafka.errors import (
    CommitFailedError,
    IllegalGenerationError,
    IllegalStateError,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)
from kafka.structs import OffsetAndMetadata

from stream_detector.config.models import Kafka
from stream_detector.connectors.base import Fetched, Rebalance
from stream_detector.connectors.kafka.assignor import ShardAssignor
from stream_detector.connectors.kafka.settings import clear_cause, consumer_settings
from stream_detector.errors import ConnectorError
from stream_detector.events import TopicPartition

log = logging.getLogger(__name__)


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Notes assignments. Runs on the client's I/O thread: only pause and seek may be called."""

    def __init__(self) -> None:
        self.consumer: Any = None
        self._lock = threading.Lock()
        self._assigned: frozenset[TopicPartition] | None = None
        self._lost = False

    def on_partitions_revoked(self, revoked: Collection[Any]) -> None:
        del revoked  # what is owned is told by the next assignment

    def on_partitions_assigned(self, assigned: Collection[Any]) -> None:
        self.consumer.pause(*assigned)  # nothing may come before the loop has found the positions
        with self._lock:
            self._assigned = frozenset(_ours(partition) for partition in assigned)

    def on_partitions_lost(self, lost: Collection[Any]) -> None:
        del lost
        with self._lock:
            self._assigned = frozenset()
            self._lost = True

    def take(self) -> Rebalance | None:
        with self._lock:
            if self._assigned is None:
                return None
            noted = Rebalance(self._assigned, self._lost)
            self._assigned, self._lost = None, False
            return noted


def _ours(partition: Any) -> TopicPartition:
    return TopicPartition(partition.topic, partition.partition)


def _theirs(source: TopicPartition) -> Any:
    return ClientPartition(source.topic, source.partition)


class KafkaSource:
    """A member of the consumer group that owns whole shards.

    State: kafka-python's consumer, and the log ends learnt last.
    """

    def __init__(self, kafka: Kafka, *, shards: int, max_poll_records: int) -> None:
        """Connect and subscribe. Raises ``ConnectorError`` with the cause."""
        self._kafka = kafka
        self._timeout_ms = max(1, int(kafka.request_timeout * 1000))
        self._listener = _Listener()
        self._ends: dict[TopicPartition, int] = {}
        settings = consumer_settings(kafka, max_poll_records=max_poll_records)
        with clear_cause("connect", kafka):
            self._consumer = KafkaConsumer(
                **settings, partition_assignment_strategy=[ShardAssignor(shards)]
            )
            self._listener.consumer = self._consumer
            self._consumer.subscribe(kafka.topics, listener=self._listener)

    def poll(self, timeout_seconds: float) -> list[Fetched]:
        """Next records of the partitions that were resumed; [] when none came in time.

        Raises ``ConnectorError`` where a partition cannot be read.
        """
        self._unpark()
        try:
            polled = self._consumer.poll(timeout_ms=int(timeout_seconds * 1000))
        except NoOffsetForPartitionError:
            return []  # assigned just now: the loop finds its position and seeks
        except OffsetOutOfRangeError as error:
            raise ConnectorError(f"the log no longer has these offsets: {error}") from error
        except KafkaError as error:
            # After an error while unpacking, the next poll would never return: do not try again.
            raise ConnectorError(f"cannot read: {error!r}") from error
        return [Fetched(_ours(p), records) for p, records in polled.items() if records]

    def _unpark(self) -> None:
        """Let records of resumed partitions come back.

        kafka-python 3.0.12 parks what it had parsed of a partition when it is paused, and takes it
        up again only where ``_next_partition_records`` is None; but that stays on a drained object
        until another partition brings something. With the others at their end, a resumed partition
        would stand still for ever (tests/test_client_contract.py shows it on the bare client).
        """
        fetcher = self._consumer._fetcher  # noqa: SLF001 - there is no public way
        current = fetcher._next_partition_records  # noqa: SLF001
        if current is not None and not current:
            fetcher._next_partition_records = None  # noqa: SLF001

    def take_rebalance(self) -> Rebalance | None:
        """What the last polls did to the assignment; None where nothing changed."""
        return self._listener.take()

    def seek(self, positions: Mapping[TopicPartition, int]) -> None:
        """Read on from these offsets, and begin to (partitions are assigned paused)."""
        for source, offset in positions.items():
            self._consumer.seek(_theirs(source), offset)
            self._consumer.resume(_theirs(source))

    def pause(self, source: TopicPartition) -> None:
        """Bring no more records of a partition; the group does not notice."""
        self._consumer.pause(_theirs(source))

    def resume(self, source: TopicPartition) -> None:
        """Bring records of a partition again."""
        self._consumer.resume(_theirs(source))

    def position(self, source: TopicPartition) -> int:
        """Offset of the next record to be read; past aborted and control records."""
        try:
            position = self._consumer.position(_theirs(source), timeout_ms=self._timeout_ms)
        except (KafkaError, IllegalStateError, AssertionError):
            return -1  # not assigned any more, or not known yet
        return -1 if position is None else int(position)

    def log_end(self, source: TopicPartition) -> int:
        """End of a partition's log as far as it is known without asking; -1 where it is not."""
        known = self._ends.get(source, -1)
        try:
            seen = self._consumer.highwater(_theirs(source))
        except AssertionError:  # not assigned any more
            return known
        return known if seen is None else max(known, int(seen))

    def ask_ends(self, sources: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Ends of the logs, of what ``read_committed`` may see. Raises ``ConnectorError``."""
        ends = self._ask("end_offsets", sources)
        self._ends.update(ends)
        return ends

    def ask_beginnings(self, sources: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Earliest offsets that the logs still hold. Raises ``ConnectorError``."""
        return self._ask("beginning_offsets", sources)

    def _ask(self, question: str, sources: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        asked = [_theirs(source) for source in sources]
        if not asked:
            return {}
        with clear_cause(f"ask for {question.replace('_', ' ')}", self._kafka):
            answer = getattr(self._consumer, question)(asked, timeout_ms=self._timeout_ms)
        return {_ours(partition): int(offset) for partition, offset in answer.items()}

    def committed(self, sources: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Offsets committed by the group; partitions without one are absent."""
        found: dict[TopicPartition, int] = {}
        with clear_cause("ask for the committed offsets", self._kafka):
            for source in sources:
                offset = self._consumer.committed(_theirs(source), timeout_ms=self._timeout_ms)
                if offset is not None and offset >= 0:
                    found[source] = int(offset)
        return found

    def commit(self, offsets: Mapping[TopicPartition, int]) -> bool:
        """Commit offsets of the next records to read.

        Returns:
            False where the group has moved on: the assignment is about to change.

        Raises:
            ConnectorError: the broker did not answer in time, or refused.
        """
        wanted = {_theirs(s): OffsetAndMetadata(o, "", -1) for s, o in offsets.items()}
        try:
            with clear_cause("commit offsets", self._kafka):
                self._consumer.commit(wanted, timeout_ms=self._timeout_ms)
        except ConnectorError as error:
            moved_on = (
                CommitFailedError,
                IllegalGenerationError,
                RebalanceInProgressError,
                UnknownMemberIdError,
            )
            if isinstance(error.__cause__, moved_on):
                return False
            raise
        return True

    def exhausted(self) -> bool:
        """A topic has no end."""
        return False

    def close(self) -> None:
        """Leave the group."""
        self._consumer.close(autocommit=False, timeout_ms=self._timeout_ms)
