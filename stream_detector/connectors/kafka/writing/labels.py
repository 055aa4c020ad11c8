"""Writes one label to the topic of labels, and knows that it is there."""

from __future__ import annotations

import msgspec

from stream_detector.config.models.config import KafkaConfig
from stream_detector.connectors.kafka.connection.admin import partition_counts
from stream_detector.connectors.kafka.writing.record import write_record
from stream_detector.errors import ConfigurationError, InputMissingError


def write_label(
    kafka: KafkaConfig,
    event_id: str,
    label: str,
    *,
    partition: int | None,
    shards: int = 1,
    time_text: str | None = None,
) -> tuple[int, int]:
    """Write a label and wait until the broker has confirmed it.

    Args:
        kafka: the broker and ``labels``, the topic.
        event_id: of the event.
        label: as the daemon reads it.
        partition: of the event in its own topic; None where it is not known.
        shards: ``processing.shards``: with several the label belongs into its event's partition.
        time_text: when the label became known, ISO 8601; None for now, the record's timestamp.

    Returns:
        Partition and offset of the record.

    Raises:
        ConfigurationError: there is no such topic in the configuration, or it has too few
            partitions for the shards.
        InputMissingError: the topic does not exist.
        RefusedError: we may not write to it.
        OutputError: not confirmed within ``kafka.request_timeout``. It may have been written all
            the same; a second one does no harm, as the later label of an event counts.
    """
    if kafka.labels is None:
        raise ConfigurationError("labels go to the topic `kafka.labels`: name one")
    topic = kafka.labels
    count = partition_counts(kafka, [topic], {topic: ("WRITE",)}).get(topic)
    if count is None:
        raise InputMissingError(f"the topic {topic} does not exist: create it first")
    place = _partition(topic, partition, count, shards)
    body = {"event_id": event_id, "label": label}
    if time_text is not None:
        body["time"] = time_text
    return write_record(kafka, topic, msgspec.json.encode(body), partition=place, what="the label")


def _partition(topic: str, partition: int | None, count: int, shards: int) -> int:
    """Return the label's partition: that of its event where shards go by it."""
    if shards == 1:
        return (partition or 0) % count
    if partition is None:
        raise ConfigurationError(
            "with several shards a label needs the partition of its event: give the alert's id"
        )
    if partition >= count:
        raise ConfigurationError(
            f"{topic} has {count} partitions and the event lies in {partition}: with several "
            "shards it needs as many as the topics of events"
        )
    return partition
