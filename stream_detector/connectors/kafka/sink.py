"""Messages to Kafka, at least once: sent, flushed and each one's future checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError

from stream_detector.alerts import Outgoing
from stream_detector.config.models import Kafka
from stream_detector.connectors.kafka.settings import clear_cause, producer_settings
from stream_detector.errors import OutputError


def open_producer(kafka: Kafka) -> Any:
    """A kafka-python producer by the configuration. Raises ``ConnectorError`` with the cause."""
    with clear_cause("connect a producer", kafka):
        return KafkaProducer(**producer_settings(kafka))


class KafkaSink:
    """Writes alerts and dead letters. State: the futures of what was not confirmed yet."""

    def __init__(self, kafka: Kafka) -> None:
        """Connect. Raises ``ConnectorError`` with the cause."""
        self._kafka = kafka
        self._producer = open_producer(kafka)
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
                raise OutputError(f"cannot write to {topic}: {error!r}") from error
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
                raise OutputError(f"a message was not written: {future.exception!r}")

    def close(self) -> None:
        """Give up what is under way and disconnect. Without a timeout it would wait for ever."""
        self._producer.close(timeout=self._kafka.request_timeout)
