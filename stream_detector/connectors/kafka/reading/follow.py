"""Reads a topic without a group, from its end or its beginning: for people and for sampling."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from stream_detector.config.models.config import KafkaConfig
from stream_detector.connectors.kafka.client.consumer import Consumer
from stream_detector.connectors.kafka.connection.admin import partition_counts
from stream_detector.connectors.kafka.connection.settings import clear_cause, connection_settings
from stream_detector.errors import InputMissingError
from stream_detector.events import TopicPartition


def follow(
    kafka: KafkaConfig,
    *,
    from_beginning: bool,
    stopping: Callable[[], bool],
    topic: str | None = None,
) -> Iterator[bytes]:
    """Values of a topic (default: the alerts) as they come, committed ones only.

    Ends when ``stopping`` says so. Raises ``InputMissingError`` where the topic does not exist.
    """
    name = kafka.alerts if topic is None else topic
    # Asked first: a consumer that waits for what is missing says nothing.
    counts = partition_counts(kafka, [name])
    if name not in counts:
        raise InputMissingError(f"the topic {name} does not exist")
    timeout_ms = max(1, int(kafka.request_timeout * 1000))
    with clear_cause("connect", kafka):
        consumer = Consumer(
            {
                **connection_settings(kafka),
                "isolation_level": "read_committed",
                "enable_auto_commit": False,
                "auto_offset_reset": "earliest" if from_beginning else "latest",
                "bootstrap_timeout_ms": timeout_ms,
                "metrics_enabled": False,
            }
        )
    try:
        consumer.assign([TopicPartition(name, number) for number in range(counts[name])])
        while not stopping():
            with clear_cause("read", kafka):
                polled = consumer.poll(200)
            for records in polled.values():
                yield from (record.value for record in records if record.value is not None)
    finally:
        consumer.close(timeout_ms)
