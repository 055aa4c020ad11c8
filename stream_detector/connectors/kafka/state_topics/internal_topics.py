"""Topics that belong to the daemon itself, made where they are missing, as Kafka Streams does."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from stream_detector.config.models.config import KafkaConfig
from stream_detector.connectors.kafka.client.errors import (
    ClusterAuthorizationFailedError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
)
from stream_detector.connectors.kafka.connection.admin import admin_client, partition_counts
from stream_detector.connectors.kafka.connection.settings import clear_cause
from stream_detector.errors import ConnectorError, RefusedError

log = logging.getLogger(__name__)

JOURNAL_SETTINGS = {
    "cleanup.policy": "delete",
    # Much longer than the snapshots that it is replayed from are apart.
    "retention.ms": str(30 * 24 * 3600 * 1000),
}

INCIDENTS_SETTINGS = {"cleanup.policy": "compact"}
"""By the ids of incidents: of each one the last message stays, whatever its age."""

RULES_SETTINGS = {"cleanup.policy": "compact"}
"""The last act on each rule stays; the journal holds all."""


def ensure_topic(
    kafka: KafkaConfig,
    topic: str,
    partitions: int,
    settings: Mapping[str, str],
    rights: tuple[str, ...] = ("READ", "WRITE"),
) -> None:
    """Make ``topic`` where it is missing, with the broker's default replication.

    ``rights``: what is done with it. Raises ``ConnectorError`` where it exists with fewer
    partitions or cannot be made, ``RefusedError`` where we may not make it.
    """
    held = partition_counts(kafka, [topic], {topic: rights}).get(topic)
    if held is None:
        _create(kafka, topic, partitions, settings)
    elif held < partitions:
        raise ConnectorError(
            f"the topic {topic} has {held} partitions, processing.shards needs {partitions}. Name "
            "another topic (and group), or add partitions"
        )


def _create(kafka: KafkaConfig, topic: str, partitions: int, settings: Mapping[str, str]) -> None:
    with admin_client(kafka) as client, clear_cause(f"make the topic {topic}", kafka):
        try:
            client.create_topic(topic, partitions, settings, int(1000 * kafka.request_timeout))
        except TopicAlreadyExistsError:
            return  # another worker was faster
        except (ClusterAuthorizationFailedError, TopicAuthorizationFailedError) as error:
            given = ", ".join(f"{name}={value}" for name, value in settings.items())
            raise RefusedError(
                f"not authorised to make the topic {topic}: grant CREATE on it, or make it with "
                f"{partitions} partitions and {given}"
            ) from error
    log.info("made the topic %s with %d partitions", topic, partitions)
