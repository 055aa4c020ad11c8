"""Messages to Kafka without transactions, at least once.

``AtLeastOnceOutput`` is for brokers without transactions: messages first, offsets after they are
safe. A crash between the two writes the messages again; their ids are the same, so a reader can
drop the doubles.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError

from stream_detector.alerts import Outgoing
from stream_detector.config.models import Kafka
from stream_detector.connectors.base import Commit
from stream_detector.connectors.kafka.settings import clear_cause, producer_settings, refusal
from stream_detector.errors import CommitDoubtError, CommitRefusedError, OutputError
from stream_detector.events import TopicPartition

_CLOSE_SECONDS = 1.0


def close_producer(producer: Any) -> None:
    """Disconnect a producer, whatever it still has to send.

    Without a timeout ``close`` waits for ever. With one it flushes first, and where that fails it
    closes nothing: thread and sockets would stay (kafka-python 3.0.12).
    """
    try:
        producer.close(timeout=_CLOSE_SECONDS)
    except KafkaError:
        producer._sender.force_close()  # noqa: SLF001
        producer._closed = True  # noqa: SLF001


class KafkaSink:
    """Writes messages. State: the producer, and the futures of what was not confirmed yet."""

    def __init__(self, kafka: Kafka) -> None:
        """Connect. Raises ``ConnectorError`` with the cause."""
        self._kafka = kafka
        with clear_cause("connect a producer", kafka):
            self._producer = KafkaProducer(**producer_settings(kafka))
        self._futures: list[Any] = []

    def send(self, topic: str, messages: Sequence[Outgoing]) -> None:
        """Hand messages to the client; ``flush`` tells whether they arrived.

        Raises ``OutputError`` where the client refuses at once.
        """
        for message in messages:
            try:
                future = self._producer.send(
                    topic,
                    value=message.value,
                    key=message.key,
                    headers=message.headers,
                    timestamp_ms=message.timestamp_ms,
                )
            except KafkaError as error:
                raise (
                    refusal(error, f"write to {topic}", self._kafka)
                    or OutputError(f"cannot write to {topic}: {error!r}")
                ) from error
            self._futures.append(future)

    def flush(self) -> None:
        """Wait until everything sent is confirmed. Raises ``OutputError`` where it is not."""
        futures, self._futures = self._futures, []
        deadline = 3 * self._kafka.request_timeout
        try:
            self._producer.flush(timeout=deadline)
        except KafkaError as error:
            raise OutputError(
                f"messages were not confirmed in {deadline:g} s: {error!r}"
            ) from error
        for future in futures:
            # A batch that timed out fails its future alone; the flush says nothing of it.
            if not future.succeeded():
                cause = future.exception
                raise (
                    refusal(cause, "write", self._kafka)
                    or OutputError(f"a message was not written: {cause!r}")
                ) from cause

    def close(self) -> None:
        """Give up what is under way and disconnect. Without a timeout it would wait for ever."""
        close_producer(self._producer)


class AtLeastOnceOutput:
    """Writes the commits of one shard. State: the sink, None before ``open``."""

    atomic = False

    def __init__(
        self, kafka: Kafka, commit_offsets: Callable[[Mapping[TopicPartition, int]], bool]
    ) -> None:
        """``commit_offsets`` is the consumer's; False where the group has moved on."""
        self._kafka = kafka
        self._commit_offsets = commit_offsets
        self._sink: KafkaSink | None = None

    def open(self) -> None:
        """Connect anew. Raises ``ConnectorError`` with the cause."""
        self.close()
        self._sink = KafkaSink(self._kafka)

    def commit(self, commit: Commit, membership: Any) -> int:
        """Write the messages, then the offsets; see ``Output.commit``. There is no journal."""
        del membership  # the consumer's own
        if self._sink is None:
            raise CommitDoubtError("the producer was given up")
        try:
            for topic, messages in commit.messages:
                self._sink.send(topic, messages)
            self._sink.flush()
        except OutputError as error:
            self.close()
            raise CommitDoubtError(str(error)) from error
        if not self._commit_offsets(commit.offsets):
            raise CommitRefusedError("the group has moved on")
        return -1

    def close(self) -> None:
        """Disconnect."""
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.close()
