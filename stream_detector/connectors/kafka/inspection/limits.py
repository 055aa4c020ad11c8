"""Limits of the broker on timeouts, requests and the size of messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stream_detector.config.models.config import Config, KafkaConfig
from stream_detector.connectors.kafka.client.consumer import CONSUMER_DEFAULTS
from stream_detector.connectors.kafka.client.producer import PRODUCER_DEFAULTS
from stream_detector.connectors.kafka.connection.settings import (
    consumer_settings,
    producer_settings,
)
from stream_detector.connectors.kafka.inspection.facts import (
    ALERTS,
    DEAD_LETTERS,
    INPUT,
    JOURNAL,
    LABELS,
    SNAPSHOTS,
    Broker,
    Facts,
    Topic,
)
from stream_detector.connectors.kafka.inspection.findings import (
    LIMITS,
    SIZES,
    VERSIONS,
    Finding,
    error,
    seconds,
    warning,
)
from stream_detector.connectors.kafka.state_topics.snapshot_keys import PART_BYTES

LIMITS_ON_TIMEOUTS = (
    "group.max.session.timeout.ms",
    "group.min.session.timeout.ms",
    "transaction.max.timeout.ms",
)

_USUAL_BYTES = 1_048_588
"""Kafka's default of max.message.bytes: 1 MiB and the head of a batch."""

_LARGEST_LETTER = 1_048_588
"""A dead letter is cut to 1,040,000 bytes; the head of its batch comes on top."""

_HEAD_OF_BATCH = 100

_AROUND_EVENT = 32_000
"""What an alert has besides its event: reasons, headers, the head of the batch."""

_LARGEST_EVENT_IN_ALERT = 400_000
_LABEL_BYTES = 4_000
_AROUND_PART = 1_000
_LEAST_JOURNAL = 65_536
_BYTES_A_RANGE = 48
_STEPS_A_COMMIT = 32
"""Offset ranges of a partition that one commit may hold while it catches up."""

_KIP_447 = 3
"""Version of TxnOffsetCommit that knows the group's generation (Kafka 2.5)."""


def judge_limits(config: Config, kafka: KafkaConfig, facts: Facts) -> Iterator[Finding]:
    """Timeouts, requests, sizes, and whether there are transactions at all."""
    exactly_once = kafka.delivery == "exactly_once"
    consumer = {**CONSUMER_DEFAULTS, **consumer_settings(kafka, max_poll_records=1)}
    producer = {**PRODUCER_DEFAULTS, **producer_settings(kafka)}
    for broker in facts.brokers:
        yield from _session(int(consumer["session_timeout_ms"]), broker)
        if exactly_once:
            yield from _transaction(int(kafka.transaction_timeout * 1000), broker)
        yield from _requests(int(producer["max_request_size"]), broker)
    for topic in facts.topics:
        if topic.exists:
            yield from _sizes(topic, needed_bytes(config, kafka, facts, topic), producer)
            if topic.role in (INPUT, LABELS):
                yield from _fetches(topic, consumer)
    if exactly_once and facts.versions:
        yield from _transactions_known(facts)


def _session(asked: int, broker: Broker) -> Iterator[Finding]:
    least = broker.limit("group.min.session.timeout.ms")
    most = broker.limit("group.max.session.timeout.ms")
    for limit, name, wrong in (
        (least, "group.min.session.timeout.ms", least is not None and asked < least),
        (most, "group.max.session.timeout.ms", most is not None and asked > most),
    ):
        if wrong:
            yield error(
                f"kafka.consumer.session_timeout_ms: {asked} is outside of what broker "
                f"{broker.number} allows, {name}={limit}: no worker can join the group. Set "
                f"kafka.consumer: {{session_timeout_ms: {limit}}}, or change the broker",
                LIMITS,
            )


def _transaction(asked: int, broker: Broker) -> Iterator[Finding]:
    most = broker.limit("transaction.max.timeout.ms")
    if most is not None and asked > most:
        yield error(
            f"kafka.transaction_timeout: {seconds(asked)} is more than broker {broker.number} "
            f"allows, transaction.max.timeout.ms={most} ({seconds(most)}): no shard can begin. Set "
            f"kafka.transaction_timeout: {most // 1000}s, or raise it at the broker",
            LIMITS,
        )


def _requests(asked: int, broker: Broker) -> Iterator[Finding]:
    most = broker.limit("socket.request.max.bytes")
    if most is not None and asked > most:
        yield error(
            f"kafka.producer.max_request_size: {asked:,} bytes is more than broker {broker.number} "
            f"reads, socket.request.max.bytes={most}: it closes the connection instead. Set "
            f"kafka.producer: {{max_request_size: {most}}}, or raise it at the broker",
            LIMITS,
        )


def needed_bytes(config: Config, kafka: KafkaConfig, facts: Facts, topic: Topic) -> int:
    """Size of the largest message that may be written to a topic; 0 where none is."""
    role = topic.role
    if role is ALERTS:
        return min(_LARGEST_EVENT_IN_ALERT, config.event.max_bytes) + _AROUND_EVENT
    if role is DEAD_LETTERS:
        inputs = [one.number("max.message.bytes") for one in facts.of(INPUT)]
        known = [size for size in inputs if size is not None]
        largest = max(known) + _AROUND_EVENT if inputs and len(known) == len(inputs) else None
        return min(largest or _LARGEST_LETTER, _LARGEST_LETTER)
    if role is JOURNAL:
        count = sum(len(one.partitions) for one in facts.of(INPUT, LABELS))
        longest = max((len(name) for name in kafka.input_topics), default=0)
        ranges = -(-count // config.processing.shards) * _STEPS_A_COMMIT
        return max(_LEAST_JOURNAL, ranges * (longest + _BYTES_A_RANGE))
    if role is SNAPSHOTS:
        return PART_BYTES + _AROUND_PART
    return _LABEL_BYTES if role is LABELS else 0


def _sizes(topic: Topic, needed: int, producer: Mapping[str, Any]) -> Iterator[Finding]:
    allowed, sent = topic.number("max.message.bytes"), int(producer["max_request_size"])
    if allowed is not None and allowed < needed:
        yield error(
            f"{topic.named} takes messages of {allowed:,} bytes (max.message.bytes={allowed}), and "
            f"up to {needed:,} may be written to it: the first larger one stops the daemon. Set "
            f"max.message.bytes={max(needed, _USUAL_BYTES)} on the topic",
            SIZES,
        )
    if needed and sent < needed - _HEAD_OF_BATCH:
        yield error(
            f"kafka.producer.max_request_size: {sent:,} bytes, and up to {needed:,} may be written "
            f"to {topic.name}: the first larger message stops the daemon. Leave the setting out",
            SIZES,
        )


def _fetches(topic: Topic, consumer: Mapping[str, Any]) -> Iterator[Finding]:
    allowed, frame = topic.number("max.message.bytes"), int(consumer["receive_message_max_bytes"])
    if allowed is None:
        return
    if allowed > frame:
        yield error(
            f"{topic.named} allows messages of {allowed:,} bytes (max.message.bytes={allowed}), "
            f"more than kafka.consumer.receive_message_max_bytes, {frame:,}: a larger one cannot "
            "be read, and nothing behind it. Raise the setting above the topic's, or lower that",
            SIZES,
        )
        return
    once = min(int(consumer["max_partition_fetch_bytes"]), int(consumer["fetch_max_bytes"]))
    if allowed > 2 * once:
        yield warning(
            f"{topic.named} allows messages of {allowed:,} bytes (max.message.bytes={allowed}), "
            f"and one fetch brings {once:,} (kafka.consumer.max_partition_fetch_bytes, "
            "fetch_max_bytes): larger messages come one by one, which is slow. Raise the setting",
            SIZES,
        )


def _transactions_known(facts: Facts) -> Iterator[Finding]:
    missing = [name for name in ("InitProducerId", "AddOffsetsToTxn") if name not in facts.versions]
    if not missing and facts.versions.get("TxnOffsetCommit", -1) >= _KIP_447:
        return
    yield error(
        "kafka.delivery: exactly_once needs transactions that know the group's generation "
        "(KIP-447, Kafka 2.5 and later), which this broker does not have"
        + (f" (it does not know {', '.join(missing)})" if missing else "")
        + ". Set kafka.delivery: at_least_once",
        VERSIONS,
    )
