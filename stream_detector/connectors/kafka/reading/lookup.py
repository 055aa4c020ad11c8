"""Single records, found again: one at an offset, or the one of a topic that a person means."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing

from stream_detector.config.models.config import KafkaConfig
from stream_detector.connectors.kafka.reading.log import KafkaLog
from stream_detector.errors import ConnectorError, InputMissingError
from stream_detector.events import Record, TopicPartition


def read_at(kafka: KafkaConfig, source: TopicPartition, offset: int) -> Record | None:
    """The record at an offset; None where it was deleted or never was one (a transaction's end).

    Raises ``InputMissingError`` where topic, partition or offset do not exist, ``ConnectorError``
    where the broker does not answer within ``kafka.request_timeout``.
    """
    with closing(KafkaLog(kafka)) as log:
        if source not in log.partitions(source.topic):
            raise InputMissingError(f"there is no partition {source}")
        begin, end = log.bounds(source)
        if offset >= end:
            raise InputMissingError(f"{source} ends at offset {end}: there is no {offset} yet")
        if offset < begin:
            return None
        for records in log.read(source, offset, offset + 1):
            return records[0]
    return None


def find_value(
    kafka: KafkaConfig, topic: str, wanted: Callable[[bytes], bool], deadline_seconds: float
) -> bytes | None:
    """The last value of a topic that is ``wanted``; None where none is.

    Reads the topic, a partition after the other, from its beginning to where it ends now. Raises
    ``InputMissingError`` where it does not exist, ``ConnectorError`` where that takes longer than
    the deadline.
    """
    found: bytes | None = None
    until = time.monotonic() + deadline_seconds
    with closing(KafkaLog(kafka)) as log:
        for source in log.partitions(topic):
            for records in log.read(source, *log.bounds(source)):
                for record in records:
                    if record.value is not None and wanted(record.value):
                        found = record.value
                if time.monotonic() > until:
                    raise ConnectorError(f"{topic} is too long to search in {deadline_seconds:g} s")
    return found
