"""Writes an act of a person to the control topic."""

from __future__ import annotations

from stream_detector.config.models.config import KafkaConfig
from stream_detector.connectors.kafka.connection.admin import partition_counts
from stream_detector.connectors.kafka.state_topics.internal_topics import (
    RULES_SETTINGS,
    ensure_topic,
)
from stream_detector.connectors.kafka.writing.record import write_record
from stream_detector.errors import ConfigurationError
from stream_detector.rules import Act, written_act


def write_act(kafka: KafkaConfig, act: Act) -> int:
    """Write an act and wait until the broker has confirmed it; the topic is made if it is missing.

    Returns:
        Its offset. Every shard takes it in within a second or so.

    Raises:
        ConfigurationError: no topic is named (`kafka.rules`).
        ActError: it is too long, or contradicts itself.
        ConnectorError: as ``write_record`` does.
    """
    if kafka.rules is None:
        raise ConfigurationError("rules and acts go to the topic `kafka.rules`: name one")
    key, value = written_act(act)
    if not partition_counts(kafka, [kafka.rules], {kafka.rules: ("WRITE",)}):
        ensure_topic(kafka, kafka.rules, 1, RULES_SETTINGS)
    _, offset = write_record(kafka, kafka.rules, value, key=key, partition=0, what="the act")
    return offset
