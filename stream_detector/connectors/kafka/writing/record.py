"""Writes one record, and knows that it is there."""

from __future__ import annotations

import time

from stream_detector.config.models.config import KafkaConfig
from stream_detector.connectors.kafka.client.errors import KafkaError
from stream_detector.connectors.kafka.client.producer import Producer
from stream_detector.connectors.kafka.connection.settings import (
    clear_cause,
    producer_settings,
    refusal,
)
from stream_detector.errors import OutputError


def write_record(
    kafka: KafkaConfig,
    topic: str,
    value: bytes,
    *,
    key: bytes | None = None,
    partition: int,
    what: str,
) -> tuple[int, int]:
    """Write a record and wait until the broker has confirmed it.

    Args:
        kafka: the broker.
        topic: that exists.
        value: of the record.
        key: of the record.
        partition: where it goes.
        what: it is, for messages.

    Returns:
        Partition and offset of the record.

    Raises:
        RefusedError: we may not write to the topic.
        OutputError: not confirmed within ``kafka.request_timeout``. It may have been written all
            the same.
    """
    deadline = time.monotonic() + kafka.request_timeout
    timeout_ms = max(1, int(kafka.request_timeout * 1000))
    settings = {
        **producer_settings(kafka),
        "linger_ms": 0,
        # A request that is lost is sent again once before the deadline.
        "request_timeout_ms": max(1, timeout_ms // 2),
        "delivery_timeout_ms": timeout_ms,
    }
    with clear_cause("connect a producer", kafka):
        producer = Producer(settings)
    try:
        with clear_cause(f"write to {topic}", kafka):
            future = producer.send(topic, value, key=key, partition=partition)
        try:
            producer.flush(timeout=max(0.1, deadline - time.monotonic()))
        except KafkaError as error:
            raise OutputError(
                f"{topic} has not confirmed {what} in {kafka.request_timeout:g} s: {error!r}"
            ) from error
        # The flush says nothing of a batch that timed out: its future does.
        if not future.succeeded():
            cause = future.exception
            raise (
                refusal(cause, f"write to {topic}", kafka)
                or OutputError(f"{what} was not written to {topic}: {cause!r}")
            ) from cause
        written = future.value
        return int(written.partition), int(written.offset)
    finally:
        producer.close()
