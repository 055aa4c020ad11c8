"""Whose transaction it is that keeps a partition from being read further."""

from __future__ import annotations

from stream_detector.config.models.config import KafkaConfig
from stream_detector.connectors.kafka.client.admin import Admin, OpenProducer
from stream_detector.connectors.kafka.client.errors import KafkaError
from stream_detector.connectors.kafka.connection.admin import admin_client
from stream_detector.errors import ConnectorError
from stream_detector.events import TopicPartition


def describe(kafka: KafkaConfig, source: TopicPartition) -> str:
    """The first open transaction of a partition, in words; never an error, but its cause."""
    try:
        with admin_client(kafka) as client:
            first = client.open_producers([source]).get(source)
            if first is None:
                return "the broker names no producer: it may have ended just now"
            return f"producer id {first.number}, epoch {first.epoch}" + _name(client, first)
    except (ConnectorError, KafkaError) as error:
        return f"the broker does not tell whose: {error}"


def _name(client: Admin, producer: OpenProducer) -> str:
    """The transactional id as far as it may be seen, and is known to a coordinator at all."""
    names = sorted(client.transactional_ids(producer))
    if not names:
        return ", of no transactional id that a coordinator tells: it hangs, or we may not see it"
    return f", transactional id {', '.join(names)}"
