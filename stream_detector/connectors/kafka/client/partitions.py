"""Partitions and offsets in both spellings: the project's and kafka-python's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kafka import TopicPartition as ClientPartition
from kafka.structs import OffsetAndMetadata

from stream_detector.events import TopicPartition


def ours(partition: Any) -> TopicPartition:
    """The client's partition as the project spells it."""
    return TopicPartition(partition.topic, partition.partition)


def theirs(source: TopicPartition) -> Any:
    """A partition as the client spells it."""
    return ClientPartition(source.topic, source.partition)


def to_commit(offsets: Mapping[TopicPartition, int]) -> dict[Any, Any]:
    """Offsets to be committed, as the client wants them: without metadata and leader epoch."""
    return {theirs(source): OffsetAndMetadata(o, "", -1) for source, o in offsets.items()}
