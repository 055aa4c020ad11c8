"""Ranges of Kafka's logs, read outside the group: the journal, and whatever is to be verified."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from stream_detector.config.models.config import KafkaConfig
from stream_detector.connectors.kafka.client.consumer import Consumer
from stream_detector.connectors.kafka.client.errors import KafkaError
from stream_detector.connectors.kafka.connection.admin import partition_counts
from stream_detector.connectors.kafka.connection.settings import clear_cause, consumer_settings
from stream_detector.connectors.kafka.reading.unreadable import Unreadable
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
        self._passed: Callable[[range], None] | None = None
        self._consumer: Consumer | None = None

    def _connected(self) -> Consumer:
        if self._consumer is None:
            settings = consumer_settings(self._kafka, max_poll_records=5000)
            settings |= {"group_id": None, "group_instance_id": None}
            policy = Unreadable(dead_letter=self._dead_letter)
            with clear_cause("connect", self._kafka):
                self._consumer = Consumer(settings, unreadable=policy, passed=self._passed)
        return self._consumer

    def partitions(self, topic: str) -> list[TopicPartition]:
        """The partitions of a topic that exists. Raises ``ConnectorError``."""
        count = partition_counts(self._kafka, [topic]).get(topic)
        if count is None:
            raise InputMissingError(f"there is no topic {topic}")
        return [TopicPartition(topic, number) for number in range(count)]

    def bounds(self, source: TopicPartition) -> tuple[int, int]:
        """Earliest offset still held and the end. Raises ``ConnectorError``."""
        consumer = self._connected()
        timeout_ms = int(1000 * self._kafka.request_timeout)
        with clear_cause(f"ask for the ends of {source}", self._kafka):
            first = consumer.beginning_offsets([source], timeout_ms)
            last = consumer.end_offsets([source], timeout_ms)
        return first[source], last[source]

    def read(self, source: TopicPartition, start: int, end: int) -> Iterator[Sequence[Record]]:
        """Records of ``[start, end)`` in order, a poll at a time.

        Ends where the position has reached ``end``, not where a record was seen: the last offsets
        may be control records. Raises ``ConnectorError`` where the broker is silent for
        ``request_timeout``, and where the log no longer reaches back to ``start``.
        """
        if start >= end:
            return
        consumer = self._connected()
        consumer.assign([source])
        consumer.seek(source, start)
        last_progress, position = time.monotonic(), start
        try:
            while position < end:
                with clear_cause(f"read {source}", self._kafka):
                    records = consumer.poll(_POLL_MS).get(source, ())
                    reached = consumer.ask_position(source, _POLL_MS)
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
            self._consumer.close(timeout_ms=1000)
            self._consumer = None


class _TransactionalLog(KafkaLog):
    """Reads what was written in transactions, as every version of ours has written journals.

    State: the offsets of batches of other producers that were passed over.
    """

    def __init__(self, kafka: KafkaConfig) -> None:
        super().__init__(kafka)
        self._others: list[range] = []
        self._passed = self._others.append

    def take_passed(self) -> list[range]:
        """Offsets of batches that are of no transaction, since the last call."""
        passed = self._others[:]
        self._others.clear()
        return passed


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
