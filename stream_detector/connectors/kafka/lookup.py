"""Single records, found again: one at an offset, or the one of a topic that a person means."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from kafka import KafkaConsumer
from kafka import TopicPartition as ClientPartition

from stream_detector.config.models import Kafka
from stream_detector.connectors.kafka.admin import partition_counts
from stream_detector.connectors.kafka.settings import clear_cause, connection_settings
from stream_detector.errors import ConnectorError, InputMissingError
from stream_detector.events import Record, TopicPartition


def read_at(kafka: Kafka, source: TopicPartition, offset: int) -> Record | None:
    """The record at an offset; None where it was deleted or never was one (a transaction's end).

    Raises ``InputMissingError`` where topic, partition or offset do not exist, ``ConnectorError``
    where the broker does not answer within ``kafka.request_timeout``.
    """
    counts = partition_counts(kafka, [source.topic])
    if source.partition >= counts.get(source.topic, 0):
        raise InputMissingError(f"there is no partition {source}")
    with _consumer(kafka) as consumer:
        place = ClientPartition(source.topic, source.partition)
        consumer.assign([place])
        with clear_cause("ask for the ends", kafka):
            begin = consumer.beginning_offsets([place])[place]
            end = consumer.end_offsets([place])[place]
        if offset >= end:
            raise InputMissingError(f"{source} ends at offset {end}: there is no {offset} yet")
        if offset < begin:
            return None
        consumer.seek(place, offset)
        for record in _records(consumer, kafka, {place: end}):
            return record if record.offset == offset else None
    return None


def find_value(
    kafka: Kafka, topic: str, wanted: Callable[[bytes], bool], deadline_seconds: float
) -> bytes | None:
    """The last value of a topic that is ``wanted``; None where none is.

    Reads the topic from its beginning to where it ends now. Raises ``InputMissingError`` where it
    does not exist, ``ConnectorError`` where that takes longer than the deadline.
    """
    counts = partition_counts(kafka, [topic])
    if topic not in counts:
        raise InputMissingError(f"the topic {topic} does not exist")
    found: bytes | None = None
    until = time.monotonic() + deadline_seconds
    with _consumer(kafka) as consumer:
        places = [ClientPartition(topic, number) for number in range(counts[topic])]
        consumer.assign(places)
        with clear_cause("ask for the ends", kafka):
            ends = consumer.end_offsets(places)
            begins = consumer.beginning_offsets(places)
        for place in places:
            consumer.seek(place, begins[place])
        for record in _records(consumer, kafka, ends):
            if record.value is not None and wanted(record.value):
                found = record.value
            if time.monotonic() > until:
                raise ConnectorError(f"{topic} is too long to search in {deadline_seconds:g} s")
    return found


@contextmanager
def _consumer(kafka: Kafka) -> Iterator[Any]:
    timeout_ms = max(1, int(kafka.request_timeout * 1000))
    with clear_cause("connect", kafka):
        consumer = KafkaConsumer(
            **connection_settings(kafka),
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="none",
            bootstrap_timeout_ms=timeout_ms,
            metrics_enabled=False,
        )
    try:
        yield consumer
    finally:
        consumer.close(timeout_ms=timeout_ms)


def _records(consumer: Any, kafka: Kafka, ends: dict[ClientPartition, int]) -> Iterator[Any]:
    """Records up to ``ends``: by position, since a transaction's end has an offset and no record.

    Raises ``ConnectorError`` where the broker brings nothing for ``kafka.request_timeout``.
    """
    progress = time.monotonic()
    where: dict[ClientPartition, int] = {}
    while True:
        with clear_cause("read", kafka):
            polled = consumer.poll(timeout_ms=200)
            now_at = {place: consumer.position(place) for place in ends}
        for records in polled.values():
            yield from records
        if all(now_at[place] >= end for place, end in ends.items()):
            return
        if now_at != where:
            where, progress = now_at, time.monotonic()
        elif time.monotonic() - progress > kafka.request_timeout:
            raise ConnectorError(
                f"{kafka.bootstrap_servers} brought nothing for {kafka.request_timeout:g} s; a "
                "transaction that is still open may be in the way"
            )
