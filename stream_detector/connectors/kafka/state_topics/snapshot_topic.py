"""Snapshots on a compacted topic, so that a worker on any machine finds them.

A snapshot is written as parts, then its manifest; until that is there nobody sees it. Compaction
keeps the last record of a key, and a tombstone (no value) removes it. ``snapshot_keys`` has the
keys. A shard's records are in the partition of its number modulo the number of partitions, which
must therefore not be changed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from hashlib import blake2b
from typing import Any, TypeAlias

from stream_detector.config.models.config import KafkaConfig
from stream_detector.connectors.kafka.client.errors import KafkaTimeoutError
from stream_detector.connectors.kafka.client.producer import Producer
from stream_detector.connectors.kafka.connection.admin import partition_counts
from stream_detector.connectors.kafka.connection.settings import clear_cause, producer_settings
from stream_detector.connectors.kafka.reading.log import KafkaLog
from stream_detector.connectors.kafka.state_topics.internal_topics import ensure_topic
from stream_detector.connectors.kafka.state_topics.snapshot_keys import (
    PART_BYTES,
    Index,
    Manifest,
    manifest_key,
    part_key,
    reverted_key,
)
from stream_detector.errors import ConnectorError, StateError
from stream_detector.events import TopicPartition
from stream_detector.failpoints import failpoint
from stream_detector.log_fields import fields

log = logging.getLogger(__name__)

SNAPSHOT_SETTINGS = {
    "cleanup.policy": "compact",
    # Only closed segments are compacted: close them soon, and do not wait for much to be gained.
    "segment.ms": str(10 * 60 * 1000),
    "segment.bytes": str(64 * 2**20),
    "min.cleanable.dirty.ratio": "0.1",
    "delete.retention.ms": str(3600 * 1000),
    "max.message.bytes": "1048588",
}
_MOST_PARTITIONS = 16
_WINDOW = 8
"""Parts under way at once: what the producer holds of a large snapshot."""

_TOMBSTONES_AT_ONCE = 1000
_SECONDS_A_PART = 1.0


def ensure_snapshot_topic(kafka: KafkaConfig, topic: str, shards: int) -> int:
    """Make the topic of snapshots where it is missing; its partitions. Raises ``ConnectorError``.

    Asked first, always: producers and consumers would make it by themselves, and not compacted.
    """
    held = partition_counts(kafka, [topic]).get(topic)
    if held is None:
        held = min(shards, _MOST_PARTITIONS)
        ensure_topic(kafka, topic, held, SNAPSHOT_SETTINGS)
    return held


OnForeign: TypeAlias = Callable[[TopicPartition, int], None]
"""Told of a partition and how many records of others it holds that were not told of before."""


class TopicStore:
    """The snapshots of one shard on a topic, the last ``keep`` of them.

    It connects for each call: snapshots are minutes apart, and nothing is left behind by an outage.

    State: the index of the shard's keys as of the last call, and how far it was read.
    """

    def __init__(
        self,
        kafka: KafkaConfig,
        topic: str,
        shard: int,
        shards: int,
        keep: int,
        on_foreign: OnForeign | None = None,
    ) -> None:
        """``on_foreign``: told how many records of others are on a partition; each once."""
        self._kafka, self._topic = kafka, topic
        self._on_foreign = on_foreign
        self._shard, self._shards, self._keep = shard, shards, keep
        self._forget()

    def _forget(self) -> None:
        self._index = Index(self._shard)
        self._partitions = 0
        self._read_to = 0
        self._foreign_told = 0

    def write(self, position: int, data: bytes | bytearray) -> None:
        """The parts, each confirmed, then the manifest; then remove what is beyond ``keep``."""
        try:
            self._ensure()
            self._write(position, data)
        except ConnectorError as error:
            raise StateError(f"cannot write snapshot {position}: {error}") from error
        try:
            self._read_on()
            self._remove(self._index.superfluous(position, self._keep))
        except (ConnectorError, StateError) as error:
            # The snapshot is there; the next one removes what this one could not.
            log.warning(
                "old snapshots stay for now: %s",
                error,
                extra=fields("snapshot-cleanup-failed", stage="snapshot"),
            )

    def _ensure(self) -> None:
        """Make the topic where it is missing: at first, or since somebody has deleted it."""
        held = partition_counts(self._kafka, [self._topic]).get(self._topic)
        if held is None:
            if self._partitions:
                log.warning(
                    "the topic of snapshots, %s, was gone and is made anew: the older snapshots "
                    "are lost. Who deletes it? See docs/runbook.md#the-topic-of-snapshots-is-gone",
                    self._topic,
                    extra=fields("snapshot-topic-gone", stage="snapshot"),
                )
            self._forget()
            held = ensure_snapshot_topic(self._kafka, self._topic, self._shards)
        self._know(held)

    def _write(self, position: int, data: bytes | bytearray) -> None:
        content = blake2b(data, digest_size=16).hexdigest()
        count = -(-len(data) // PART_BYTES)
        view = memoryview(data)
        parts = (
            (
                part_key(self._shard, position, content, part),
                bytes(view[part * PART_BYTES : (part + 1) * PART_BYTES]),
            )
            for part in range(count)
        )
        manifest = Manifest(content, count, len(data)).encode()
        with self._sender(count) as send:
            send(parts, _WINDOW)
            failpoint("snap_tmp")
            send([(manifest_key(self._shard, position), manifest)], 1)
            failpoint("snap_renamed")

    def positions(self) -> list[int]:
        """Positions kept, newest first. Raises ``ConnectorError`` where the broker is silent."""
        self._refresh()
        return self._index.positions()

    def read(self, position: int) -> bytes:
        """Bytes of a snapshot. Raises ``ConnectorError`` where the broker is silent."""
        self._refresh()
        manifest, offsets = self._index.find(position)
        if not offsets:
            return b""
        part_of = {offset: part for part, offset in enumerate(offsets)}
        found: dict[int, bytes] = {}
        with closing(KafkaLog(self._kafka)) as reader:
            for records in reader.read(self._source(), min(offsets), max(offsets) + 1):
                for record in records:
                    part = part_of.get(record.offset)
                    if part is None:
                        continue
                    key = part_key(self._shard, position, manifest.content, part)
                    if record.key == key and record.value is not None:
                        found[part] = record.value
        data = b"".join(found.get(part, b"") for part in range(manifest.parts))
        if len(data) != manifest.size:
            raise StateError(
                f"snapshot {position} has {len(data)} bytes on the topic {self._topic}, its "
                f"manifest says {manifest.size}"
            )
        return data

    def set_aside(self, position: int) -> None:
        """Give its manifest another key."""
        try:
            self._refresh()
            manifest, _ = self._index.find(position)
            with self._sender(1) as send:
                send([(reverted_key(self._shard, position), manifest.encode())], 1)
                send([(manifest_key(self._shard, position), None)], 1)
        except ConnectorError as error:
            raise StateError(f"cannot set snapshot {position} aside: {error}") from error

    def delete_all(self) -> None:
        """A tombstone for every key of the shard."""
        try:
            self._refresh()
            self._remove(self._index.all_keys())
        except ConnectorError as error:
            raise StateError(f"cannot delete snapshots: {error}") from error

    def _source(self) -> TopicPartition:
        return TopicPartition(self._topic, self._shard % self._partitions)

    def _refresh(self) -> None:
        """Bring the index up to date. A topic that is missing is empty, and stays missing."""
        self._know(partition_counts(self._kafka, [self._topic]).get(self._topic, 0))
        if self._partitions:
            self._read_on()

    def _know(self, partitions: int) -> None:
        if partitions != self._partitions:
            self._forget()
            self._partitions = partitions

    def _read_on(self) -> None:
        """Read from where the index ends to the end as of now."""
        with closing(KafkaLog(self._kafka)) as reader:
            first, end = reader.bounds(self._source())
            if end < self._read_to:  # the topic was made anew
                self._index, self._read_to, self._foreign_told = Index(self._shard), 0, 0
            start = max(first, self._read_to)
            for records in reader.read(self._source(), start, end):
                for record in records:
                    self._index.note(record)
        self._read_to = max(start, end)
        self._tell_of_foreign()

    def _tell_of_foreign(self) -> None:
        """Say and count what others have written since this was done last."""
        new = self._index.foreign - self._foreign_told
        first, self._index.first_foreign = self._index.first_foreign, None
        self._foreign_told = self._index.foreign
        if first is None:
            return
        source, (offset, why) = self._source(), first
        log.warning(
            "%s holds %d records that are no part of a snapshot (the first at offset %d: %s). They "
            "are passed over. Nobody else should write there; see "
            "docs/runbook.md#streamdetectorforeignrecords",
            source,
            new,
            offset,
            why,
            extra=fields("snapshot-foreign", stage="snapshot", records=new),
        )
        if self._on_foreign is not None:
            self._on_foreign(source, new)

    def _remove(self, keys: list[bytes]) -> None:
        if keys:
            with self._sender(len(keys) // _TOMBSTONES_AT_ONCE) as send:
                send(((key, None) for key in keys), _TOMBSTONES_AT_ONCE)

    @contextmanager
    def _sender(self, parts: int) -> Iterator[Any]:
        """A function that sends (key, value) pairs, so many at once, and returns when all are safe.

        Raises ``ConnectorError`` where one was not confirmed by the deadline.
        """
        kafka = self._kafka
        deadline = time.monotonic() + 3 * kafka.request_timeout + parts * _SECONDS_A_PART
        with clear_cause(f"write to the topic {self._topic}", kafka):
            partition = self._source().partition
            producer = Producer(_settings(kafka))
            try:

                def send(pairs: Iterable[tuple[bytes, bytes | None]], at_once: int) -> None:
                    under_way: list[Any] = []
                    for key, value in pairs:
                        future = producer.send(self._topic, value, key=key, partition=partition)
                        under_way.append(future)
                        if len(under_way) >= at_once:
                            _confirm(producer, under_way, deadline)
                            under_way = []
                    _confirm(producer, under_way, deadline)

                yield send
            finally:
                producer.close()


def _settings(kafka: KafkaConfig) -> dict[str, Any]:
    return {
        **producer_settings(kafka),
        "enable_idempotence": True,
        "max_in_flight_requests_per_connection": 5,
        "max_request_size": 2**20,
        "compression_type": None,
        "linger_ms": 0,
    }


def _confirm(producer: Producer, futures: list[Any], deadline: float) -> None:
    if not futures:
        return
    producer.flush(timeout=max(deadline - time.monotonic(), 0.001))
    for future in futures:
        # A batch that timed out fails its future alone; the flush says nothing of it.
        if not future.succeeded():
            raise future.exception or KafkaTimeoutError("a message was not confirmed")
