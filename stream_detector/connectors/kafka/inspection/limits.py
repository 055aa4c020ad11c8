"""Limits of the broker on timeouts, requests and the size of messages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
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
    INCIDENTS,
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
_INCIDENT_BYTES = 262_144
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
    asked = [
        *((limit, int(consumer["session_timeout_ms"])) for limit in _SESSION),
        *([(_TRANSACTION, int(kafka.transaction_timeout * 1000))] if exactly_once else []),
        (_REQUEST, int(producer["max_request_size"])),
    ]
    for broker in facts.brokers:
        for limit, value in asked:
            yield from limit.judge(value, broker)
    for topic in facts.topics:
        if topic.exists:
            yield from _sizes(topic, needed_bytes(config, kafka, facts, topic), producer)
            if topic.role in (INPUT, LABELS):
                yield from _fetches(topic, consumer)
    if exactly_once and facts.versions:
        yield from _transactions_known(facts)


@dataclass(frozen=True, slots=True)
class _Limit:
    """A limit of the broker on one of our settings.

    Attributes:
        name: the broker's setting.
        setting: ours.
        so: what comes of it where it is not kept.
        remedy: what to set, with the limit as ``{limit}`` and ``{seconds}``.
        unit: how a value is written for people.
        least: whether it is a lower bound.
    """

    name: str
    setting: str
    so: str
    remedy: str
    unit: Callable[[int], str] = str
    least: bool = False

    def judge(self, asked: int, broker: Broker) -> Iterator[Finding]:
        """Find ``asked`` outside of the limit."""
        limit = broker.limit(self.name)
        if limit is None or (asked >= limit if self.least else asked <= limit):
            return
        than = "less" if self.least else "more"
        remedy = self.remedy.format(limit=limit, seconds=limit // 1000)
        told = "" if self.unit is str else f" ({self.unit(limit)})"
        yield error(
            f"{self.setting}: {self.unit(asked)} is {than} than broker {broker.number} allows, "
            f"{self.name}={limit}{told}: {self.so}. {remedy}, or change it at the broker",
            LIMITS,
        )


def _bytes(number: int) -> str:
    return f"{number:,} bytes"


_SESSION = tuple(
    _Limit(
        name,
        "kafka.consumer.session_timeout_ms",
        "no worker can join the group",
        "Set kafka.consumer: {{session_timeout_ms: {limit}}}",
        least=least,
    )
    for name, least in (
        ("group.min.session.timeout.ms", True),
        ("group.max.session.timeout.ms", False),
    )
)
_TRANSACTION = _Limit(
    "transaction.max.timeout.ms",
    "kafka.transaction_timeout",
    "no shard can begin",
    "Set kafka.transaction_timeout: {seconds}s",
    unit=seconds,
)
_REQUEST = _Limit(
    "socket.request.max.bytes",
    "kafka.producer.max_request_size",
    "it closes the connection instead",
    "Set kafka.producer: {{max_request_size: {limit}}}",
    unit=_bytes,
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
    if role is INCIDENTS:
        return _INCIDENT_BYTES
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
