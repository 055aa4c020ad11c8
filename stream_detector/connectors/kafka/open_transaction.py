"""Whose transaction it is that keeps a partition from being read further."""

from __future__ import annotations

from typing import Any

from kafka import TopicPartition as ClientPartition
from kafka.errors import KafkaError

from stream_detector.config.models.config import KafkaConfig
from stream_detector.connectors.kafka.admin import admin_client
from stream_detector.errors import ConnectorError
from stream_detector.events import TopicPartition


def describe(kafka: KafkaConfig, source: TopicPartition) -> str:
    """The first open transaction of a partition, in words; never an error, but its cause."""
    partition = ClientPartition(source.topic, source.partition)
    try:
        with admin_client(kafka) as client:
            active = client.describe_producers([partition])[partition].active_producers
            begun = [one for one in active if one.current_transaction_start_offset >= 0]
            if not begun:
                return "the broker names no producer: it may have ended just now"
            first = min(begun, key=lambda one: one.current_transaction_start_offset)
            return f"producer id {first.producer_id}, epoch {first.producer_epoch}" + _name(
                client, first.producer_id
            )
    except (ConnectorError, KafkaError) as error:
        return f"the broker does not tell whose: {error}"


def _name(client: Any, producer_id: int) -> str:
    """The transactional id as far as it may be seen, and is known to a coordinator at all."""
    listed = client.list_transactions(producer_id_filters=[producer_id])
    names = sorted(one.transactional_id for each in listed.values() for one in each)
    if not names:
        return ", of no transactional id that a coordinator tells: it hangs, or we may not see it"
    return f", transactional id {', '.join(names)}"
