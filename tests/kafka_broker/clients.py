"""Clients for tests: bytes in, bytes out, every wait with a deadline."""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.serializer import Serializer

TIMEOUT_SECONDS = 30.0
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Message:
    """A record to produce. ``partition`` None: by key; ``timestamp_ms`` None: now."""

    value: bytes | None
    partition: int | None = None
    key: bytes | None = None
    timestamp_ms: int | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


def unique_name(prefix: str) -> str:
    """A name for a topic, group or transactional id that no other test of any run uses."""
    return f"{prefix}-{os.getpid()}-{time.time_ns():x}-{next(_numbers)}"


@contextlib.contextmanager
def admin_client(
    bootstrap: str, timeout_seconds: float = TIMEOUT_SECONDS
) -> Iterator[KafkaAdminClient]:
    """kafka-python's admin client with short timeouts, closed at the end."""
    client = KafkaAdminClient(
        bootstrap_servers=bootstrap,
        bootstrap_timeout_ms=int(timeout_seconds * 1000),
        request_timeout_ms=10_000,
    )
    try:
        yield client
    finally:
        client.close()


def create_topic(
    bootstrap: str,
    name: str,
    partitions: int = 1,
    configs: Mapping[str, str] | None = None,
    *,
    replicas: int = 1,
) -> str:
    """Create a topic and wait until the broker knows all of it. Returns its name."""
    options: dict[str, Any] = {"num_partitions": partitions, "replication_factor": replicas}
    options["configs"] = dict(configs or {})
    with admin_client(bootstrap) as admin:
        admin.create_topics({name: options}, timeout_ms=10_000, wait_for_metadata=True)
    return name


class _NoKey(bytes):
    """Stands for a key that is absent."""


class KeySerializer(Serializer):  # type: ignore[misc]
    """A producer's, where ``send`` shall send keyless tombstones too."""

    def serialize(self, topic: str, headers: Any, data: bytes | None) -> bytes | None:
        del topic, headers
        return None if isinstance(data, _NoKey) else data


def send(producer: KafkaProducer, topic: str, message: Message) -> Any:
    """Send one message; the client's future of it.

    kafka-python alone would not send a record with neither key nor value, as other clients do.
    """
    keyless_tombstone = message.key is None and message.value is None
    return producer.send(
        topic,
        value=message.value,
        key=_NoKey() if keyless_tombstone else message.key,
        headers=list(message.headers),
        partition=message.partition,
        timestamp_ms=message.timestamp_ms,
    )


def produce(bootstrap: str, topic: str, messages: Iterable[Message]) -> list[tuple[int, int]]:
    """Produce in order and wait for every acknowledgement.

    Returns:
        (partition, offset) of each message, in their order.
    """
    producer = KafkaProducer(
        bootstrap_servers=bootstrap,
        bootstrap_timeout_ms=int(TIMEOUT_SECONDS * 1000),
        max_block_ms=10_000,
        delivery_timeout_ms=20_000,
        request_timeout_ms=10_000,
        linger_ms=5,
        key_serializer=KeySerializer(),
    )
    try:
        futures = [send(producer, topic, message) for message in messages]
        producer.flush(timeout=TIMEOUT_SECONDS)
        acknowledged = [future.get(timeout=TIMEOUT_SECONDS) for future in futures]
    finally:
        producer.close(timeout=5)
    return [(metadata.partition, metadata.offset) for metadata in acknowledged]


def consume_all(
    bootstrap: str,
    topic: str,
    *,
    isolation_level: str = "read_committed",
    timeout: float = TIMEOUT_SECONDS,
) -> list[Any]:
    """Every record from the beginning to the end as it stands now, by partition and offset.

    With ``read_committed`` the end is before the first open transaction.

    Returns:
        kafka-python's ``ConsumerRecord`` objects.

    Raises:
        TimeoutError: the end was not reached in ``timeout`` seconds.
    """
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap,
        bootstrap_timeout_ms=int(timeout * 1000),
        request_timeout_ms=10_000,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level=isolation_level,
        fetch_max_wait_ms=50,
        max_poll_records=5000,
    )
    try:
        return _read_to_end(consumer, topic, timeout)
    finally:
        consumer.close(autocommit=False, timeout_ms=5000)


def _read_to_end(consumer: KafkaConsumer, topic: str, timeout: float) -> list[Any]:
    deadline = time.monotonic() + timeout
    numbers = consumer.partitions_for_topic(topic)
    if not numbers:
        raise ValueError(f"topic {topic} does not exist")
    partitions = [TopicPartition(topic, number) for number in sorted(numbers)]
    consumer.assign(partitions)
    consumer.seek_to_beginning()
    ends = consumer.end_offsets(partitions, timeout_ms=10_000)
    found: list[Any] = []
    # Position, not the last offset seen: the end may be a control record, which nobody sees.
    while any(consumer.position(each, timeout_ms=10_000) < ends[each] for each in partitions):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{topic}: {len(found)} records read, the end not reached")
        for each, records in consumer.poll(timeout_ms=100).items():
            found.extend(record for record in records if record.offset < ends[each])
    return sorted(found, key=lambda record: (record.partition, record.offset))
