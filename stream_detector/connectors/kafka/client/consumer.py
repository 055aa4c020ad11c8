"""A consumer as every reader wants it: quick and bounded batches, and no sleep on what is there.

kafka-python 3.0.12's ``fetch_records`` looks what has arrived, asks for more, and waits for what is
under way. An answer that arrives between the first two is forgotten by the second, and the wait is
for others: up to ``fetch_max_wait_ms``, or for ``retry_backoff_ms`` of plain sleep where there are
none. With events coming all the time a poll in a thousand lost 100 ms so, which was most of the
99th percentile of an alert's latency. tests/test_client_contract.py shows it on the bare client.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from kafka import KafkaConsumer
from kafka.future import Future

from stream_detector.connectors.kafka.client.batches import (
    Refusing,
    UnreadablePolicy,
    reading,
)
from stream_detector.connectors.kafka.client.metadata import Metadata
from stream_detector.connectors.kafka.client.partitions import ours, theirs, to_commit
from stream_detector.connectors.kafka.client.starting import start
from stream_detector.events import TopicPartition

CONSUMER_DEFAULTS: Mapping[str, Any] = KafkaConsumer.DEFAULT_CONFIG
"""Every setting of kafka-python's consumer, with its default."""

Polled = dict[TopicPartition, list[Any]]
"""Records (``record_batch.KafkaRecord``, ``UnreadableRecord``) by partition, in offset order."""


class Consumer:
    """Reads partitions. For one thread. State: kafka-python's consumer.

    Attributes:
        metadata: what it knows of the cluster.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        *,
        unreadable: UnreadablePolicy | None = None,
        passed: Callable[[range], None] | None = None,
    ) -> None:
        """Connect. Raises the client's errors.

        Args:
            settings: arguments of ``KafkaConsumer``.
            unreadable: what becomes of batches that cannot be read; None: they are an error.
            passed: see ``BatchRecords.passed``.
        """
        self._client = start(KafkaConsumer, settings)
        self.metadata = Metadata(self._client._client.cluster)  # noqa: SLF001 - no public way
        self._fetcher = self._client._fetcher  # noqa: SLF001 - there is no public way
        self._fetcher.PartitionRecords = reading(unreadable or Refusing(), passed)
        look_again(self._client)

    def assign(self, sources: Iterable[TopicPartition]) -> None:
        """Read these partitions, without a group."""
        self._client.assign([theirs(source) for source in sources])

    def poll(self, timeout_ms: int) -> Polled:
        """Next records of the partitions that are not paused; none where none came in time."""
        self._unpark()
        return self._spelt(self._client.poll(timeout_ms=timeout_ms))

    def _spelt(self, polled: Mapping[Any, list[Any]]) -> Polled:
        return {ours(partition): records for partition, records in polled.items() if records}

    def _unpark(self) -> None:
        """Let records of resumed partitions come back.

        kafka-python 3.0.12 parks what it had parsed of a partition when it is paused, and takes it
        up again only where ``_next_partition_records`` is None; but that stays on a drained object
        until another partition brings something. With the others at their end, a resumed partition
        would stand still for ever (tests/test_client_contract.py shows it on the bare client).
        """
        current = self._fetcher._next_partition_records  # noqa: SLF001
        if current is not None and not current:
            self._fetcher._next_partition_records = None  # noqa: SLF001

    def assignment(self) -> frozenset[TopicPartition]:
        """The partitions that are read just now. It changes only within ``poll``."""
        return frozenset(ours(partition) for partition in self._client.assignment())

    def holds(self, source: TopicPartition) -> bool:
        """Tell whether a partition is assigned at present: one whose topic was deleted is not.

        The client raises KeyError for what is not assigned.
        """
        return theirs(source) in self._client.assignment()

    def seek(self, source: TopicPartition, offset: int) -> None:
        """Read an assigned partition on from an offset."""
        self._client.seek(theirs(source), offset)

    def pause(self, source: TopicPartition) -> None:
        """Bring no more records of an assigned partition."""
        self._client.pause(theirs(source))

    def resume(self, source: TopicPartition) -> None:
        """Bring records of an assigned partition again."""
        self._client.resume(theirs(source))

    def position(self, source: TopicPartition) -> int:
        """Offset of the next record to be read; past aborted and control ones. -1: not known.

        The client's own ``position`` waits at every turn where a partition has no leader.
        """
        assigned = self._client._subscription.assignment  # noqa: SLF001 - see above
        state = assigned.get(theirs(source))
        return -1 if state is None or state.position is None else int(state.position.offset)

    def ask_position(self, source: TopicPartition, timeout_ms: int) -> int | None:
        """The same, waited for; None where it is not known in time."""
        found: int | None = self._client.position(theirs(source), timeout_ms=timeout_ms)
        return found

    def highwater(self, source: TopicPartition) -> int | None:
        """End of an assigned partition's log as the last fetch told it; None where it has not."""
        found: int | None = self._client.highwater(theirs(source))
        return found

    def beginning_offsets(
        self, sources: Iterable[TopicPartition], timeout_ms: int
    ) -> dict[TopicPartition, int]:
        """Earliest offsets that the logs still hold."""
        asked = [theirs(source) for source in sources]
        answer = self._client.beginning_offsets(asked, timeout_ms=timeout_ms)
        return {ours(partition): int(offset) for partition, offset in answer.items()}

    def end_offsets(
        self, sources: Iterable[TopicPartition], timeout_ms: int
    ) -> dict[TopicPartition, int]:
        """Ends of the logs, of what the consumer's isolation level lets it see."""
        asked = [theirs(source) for source in sources]
        answer = self._client.end_offsets(asked, timeout_ms=timeout_ms)
        return {ours(partition): int(offset) for partition, offset in answer.items()}

    def committed(self, source: TopicPartition, timeout_ms: int) -> int | None:
        """The offset that the group has committed; None where there is none."""
        found: int | None = self._client.committed(theirs(source), timeout_ms=timeout_ms)
        return found

    def commit(self, offsets: Mapping[TopicPartition, int], timeout_ms: int) -> None:
        """Commit the offsets of the next records to read."""
        self._client.commit(to_commit(offsets), timeout_ms=timeout_ms)

    def close(self, timeout_ms: int) -> None:
        """Disconnect, and leave the group. Nothing is committed."""
        self._client.close(autocommit=False, timeout_ms=timeout_ms)


def look_again(consumer: Any) -> None:
    """Let a ``KafkaConsumer`` not wait where something has arrived meanwhile."""
    fetcher = consumer._fetcher  # noqa: SLF001 - there is no public way
    ask_for_more = fetcher.send_fetches

    def send_fetches() -> Any:
        futures = ask_for_more()
        if fetcher._completed_fetches:  # noqa: SLF001 - likewise
            # The wait that follows ends at once with a future that is done; the client throws it
            # away when it next asks for more.
            arrived = Future()
            arrived.success(None)
            fetcher._fetch_futures.append(arrived)  # noqa: SLF001 - likewise
        return futures

    fetcher.send_fetches = send_fetches
