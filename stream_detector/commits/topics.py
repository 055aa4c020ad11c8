"""The topics that are our own, made where they are missing, whichever engine runs the pipeline."""

from __future__ import annotations

from stream_detector.commits.stores import snapshot_topic
from stream_detector.config.models.config import Config, KafkaConfig
from stream_detector.connectors.kafka.state_topics.internal_topics import (
    INCIDENTS_SETTINGS,
    JOURNAL_SETTINGS,
    RULES_SETTINGS,
    ensure_topic,
)
from stream_detector.connectors.kafka.state_topics.snapshot_topic import ensure_snapshot_topic


def make_topics(config: Config, kafka: KafkaConfig) -> None:
    """Make what is missing of our own topics. Raises ``ConnectorError``."""
    shards = config.processing.shards
    if kafka.delivery == "exactly_once":
        ensure_topic(kafka, kafka.journal_topic, shards, JOURNAL_SETTINGS)
    if kafka.incidents is not None:
        ensure_topic(kafka, kafka.incidents, 1, INCIDENTS_SETTINGS, ("WRITE",))
    if kafka.rules is not None:
        ensure_topic(kafka, kafka.rules, 1, RULES_SETTINGS)
    if config.state.store == "topic":
        ensure_snapshot_topic(kafka, snapshot_topic(config, kafka), shards)
