"""Ranges of Kafka's logs, read outside the group: the journal, and whatever is to be verified."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from kafka import TopicPartition as ClientPartition
from kafka.errors import KafkaError

from stream_detector.config.models.config import KafkaConfig
from stream_detector.connectors.kafka.admin import partition_counts
from stream_detector.connectors.kafka.consumer import new_consumer
from stream_detector.connectors.kafka.settings import clear_cause, consumer_settings
from stream_detector.errors import ConnectorError, InputMissingError
from stream_detector.events import Record, TopicPartition

_POLL_MS = 200


class KafkaLog:
    """Reads partitions from one offset to another, ``read_committed``.

    State: a consumer without a group, connected at the first question.
    """

    def __init__(self, kafka: KafkaConfig, *, of_input: bool = False) -> None:
        """``of_input``: what cannot be read is passed as ``kafka.unreadable`` says."""
        self._kafka = kafka
        self._dead_letter = of_input and kafka.unreadable == "dead_letter"
        self._consumer: Any = None

    def _connected(self) -> Any:
        if self._consumer is None:
            settings = consumer_settings(self._kafka, max_poll_records=5000)
            settings |= {"group_id": None, "group_instance_id": None}
            with clear_cause("connect", self._kafka):
                self._consumer = new_consumer(settings, dead_letter=self._dead_letter)
        return self._consumer

    def partitions(self, topic: str) -> list[TopicPartition]:
        """The partitions of a topic that exists. Raises ``ConnectorError``."""
        count = partition_counts(self._kafka, [topic]).get(topic)
        if count is None:
            raise InputMissingError(f"there is no topic {topic}")
        return [TopicPartition(topic, number) for number in range(count)]

    def bounds(self, source: TopicPartition) -> tuple[int, int]:
        """Earliest offset still held and the end. Raises ``ConnectorError``."""
        consumer, partition = self._connected(), _theirs(source)
        timeout_ms = int(1000 * self._kafka.request_timeout)
        with clear_cause(f"ask for the ends of {source}", self._kafka):
            first = consumer.beginning_offsets([partition], timeout_ms=timeout_ms)
            last = consumer.end_offsets([partition], timeout_ms=timeout_ms)
        return int(first[partition]), int(last[partition])

    def read(self, source: TopicPartition, start: int, end: int) -> Iterator[Sequence[Record]]:
        """Records of ``[start, end)`` in order, a poll at a time.

        Ends where the position has reached ``end``, not where a record was seen: the last offsets
        may be control records. Raises ``ConnectorError`` where the broker is silent for
        ``request_timeout``, and where the log no longer reaches back to ``start``.
        """
        if start >= end:
            return
        consumer, partition = self._connected(), _theirs(source)
        consumer.assign([partition])
        consumer.seek(partition, start)
        last_progress, position = time.monotonic(), start
        try:
            while position < end:
                with clear_cause(f"read {source}", self._kafka):
                    records = consumer.poll(timeout_ms=_POLL_MS).get(partition, ())
                    reached = consumer.position(partition, timeout_ms=_POLL_MS)
                now = time.monotonic()
                if reached is not None and reached > position:
                    position, last_progress = reached, now
                self._check_progress(source, position, now - last_progress)
                wanted = [record for record in records if record.offset < end]
                if wanted:
                    yield wanted
        except (ConnectorError, KafkaError):
            # After an error while unpacking the next poll would never return.
            self.close()
            raise

    def _check_progress(self, source: TopicPartition, position: int, silence: float) -> None:
        if silence > self._kafka.request_timeout:
            raise ConnectorError(f"cannot read {source} at {position}: the broker is silent")

    def close(self) -> None:
        """Disconnect."""
        if self._consumer is not None:
            self._consumer.close(autocommit=False, timeout_ms=1000)
            self._consumer = None


class _TransactionalLog(KafkaLog):
    """Reads what was written in transactions, as every version of ours has written journals.

    State: the offsets of batches of other producers that were passed over.
    """

    def __init__(self, kafka: KafkaConfig) -> None:
        super().__init__(kafka)
        self._passed: list[range] = []

    def take_passed(self) -> list[range]:
        """Offsets of batches that are of no transaction, since the last call."""
        passed, self._passed = self._passed, []
        return passed

    def _connected(self) -> Any:
        new = self._consumer is None
        consumer = super()._connected()
        if new:
            fetcher = consumer._fetcher  # noqa: SLF001 - there is no public way
            usual, passed = fetcher.PartitionRecords, self._note

            class Ours(usual):  # type: ignore[misc, valid-type]
                """Without the batches that are of no transaction."""

                def _to_skip(self, batch: Any) -> bool:
                    if super()._to_skip(batch):
                        return True
                    if batch.is_transactional:
                        return False
                    passed(range(batch.base_offset, batch.next_offset))
                    return True

            fetcher.PartitionRecords = Ours
        return consumer

    def _note(self, offsets: range) -> None:
        self._passed.append(offsets)


class KafkaJournal:
    """The journals of all shards: one topic, a partition each. State: its ``KafkaLog``."""

    def __init__(self, kafka: KafkaConfig) -> None:
        self._topic = kafka.journal_topic
        self._log = _TransactionalLog(kafka)

    def bounds(self, shard: int) -> tuple[int, int]:
        """Earliest offset still held, and the end of what was committed."""
        return self._log.bounds(TopicPartition(self._topic, shard))

    def read(self, shard: int, start: int) -> Iterator[tuple[int, bytes]]:
        """Offset and value of every record from ``start`` to the end as of now.

        What was written outside of a transaction comes at last, and empty: it is nobody's of us.
        """
        source = TopicPartition(self._topic, shard)
        _, end = self._log.bounds(source)
        self._log.take_passed()
        for records in self._log.read(source, start, end):
            for record in records:
                yield record.offset, record.value or b""
        for offsets in self._log.take_passed():
            for offset in offsets:
                if start <= offset < end:
                    yield offset, b""

    def close(self) -> None:
        """Disconnect."""
        self._log.close()


def _theirs(source: TopicPartition) -> Any:
    return ClientPartition(source.topic, source.partition)
