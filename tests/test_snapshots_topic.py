"""Snapshots on a compacted topic of a real broker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any

import pytest
from kafka_broker.clients import Message, admin_client, consume_all, produce, unique_name
from support.streams import configuration

from stream_detector.commits.stores import snapshot_stores
from stream_detector.config.models.config import KafkaConfig
from stream_detector.connectors.kafka.state_topics.snapshot_keys import (
    PART_BYTES,
    Index,
    Manifest,
    manifest_key,
    part_key,
    read_manifest,
)
from stream_detector.connectors.kafka.state_topics.snapshot_topic import TopicStore
from stream_detector.errors import ConnectorError, StateError
from stream_detector.events import PlainRecord

WRITER = """
import sys
from stream_detector.config.models.config import KafkaConfig
from stream_detector.connectors.kafka.state_topics.snapshot_topic import TopicStore
names = dict(topics=["in"], group="g", alerts="a", dead_letters="d")
kafka = KafkaConfig(bootstrap_servers=sys.argv[1], **names)
store = TopicStore(kafka, sys.argv[2], 0, 1, 3)
store.write(1, b"first" * 300_000)
store.write(1, b"again" * 300_000)
"""


def section(bootstrap: str, **changes: Any) -> KafkaConfig:
    values = {"topics": ["in"], "group": unique_name("group"), "alerts": "a", "dead_letters": "d"}
    return KafkaConfig(bootstrap_servers=bootstrap, **{**values, **changes})


def content(size: int, seed: int) -> bytes:
    return bytes((seed,)) * size


def live_keys(bootstrap: str, topic: str) -> list[bytes]:
    """Keys that compaction would keep."""
    values = {record.key: record.value for record in consume_all(bootstrap, topic)}
    return sorted(key for key, value in values.items() if value is not None)


def test_snapshots_larger_than_a_message_come_back_and_the_last_ones_are_kept(kafka) -> None:
    settings = section(kafka.bootstrap)
    config = configuration(state={"store": "topic", "keep": 2}, processing={"shards": 3})
    topic = f"{settings.group}-snapshots"
    stores = snapshot_stores(config, settings)
    assert stores(1).positions() == []
    sizes = (2 * PART_BYTES + 17, PART_BYTES, 1, 0)
    for position, size in enumerate(sizes, start=10):
        stores(1).write(position, content(size, position))
    stores(2).write(7, b"another shard's")
    for fresh in (stores, snapshot_stores(config, settings)):
        assert fresh(0).positions() == []
        assert fresh(1).positions() == [13, 12]
        assert fresh(1).read(12) == content(1, 12)
        assert fresh(1).read(13) == b""
        assert fresh(2).read(7) == b"another shard's"
    stores(1).write(20, content(3 * PART_BYTES, 20))
    assert stores(1).read(20) == content(3 * PART_BYTES, 20)
    with pytest.raises(StateError, match="no whole snapshot"):
        stores(1).read(12)
    # Tombstones for all parts of what is gone: shard 1 has 2 manifests and 3 parts, shard 2 two.
    assert len(live_keys(kafka.bootstrap, topic)) == 2 + 3 + 2
    with admin_client(kafka.bootstrap) as admin:
        (described,) = admin.describe_topics([topic])
    assert len(described["partitions"]) == 3
    stores(1).set_aside(20)
    assert stores(1).positions() == [13]
    stores(1).delete_all()
    assert stores(1).positions() == []
    assert [key[:2] for key in live_keys(kafka.bootstrap, topic)] == [b"2/", b"2/"]
    # A topic whose partition holds two shards, made by somebody else.
    few = TopicStore(settings, topic, 4, 5, 3)
    few.write(1, b"of shard 4")
    assert few.positions() == [1]
    assert stores(1).positions() == []


@pytest.mark.parametrize(
    ("point", "expected"), [("snap_tmp", b"first"), ("snap_renamed", b"again")]
)
def test_a_process_that_dies_while_writing_leaves_a_whole_snapshot(
    kafka, point: str, expected: bytes
) -> None:
    topic = unique_name("snapshots")
    ran = subprocess.run(
        [sys.executable, "-c", WRITER, kafka.bootstrap, topic],
        env={**os.environ, "FAILPOINT": f"{point}:2"},
        check=False,
        timeout=240,
    )
    assert ran.returncode == -signal.SIGKILL
    store = TopicStore(section(kafka.bootstrap), topic, 0, 1, 3)
    assert store.positions() == [1]
    assert store.read(1) == expected * 300_000
    # The parts that nobody refers to go with the next snapshot.
    store.write(2, b"two")
    live = live_keys(kafka.bootstrap, topic)
    assert len(live) == 2 + 1 + 2
    assert store.positions() == [2, 1]


def test_what_else_is_on_the_topic_does_no_harm(kafka, topic_factory) -> None:
    topic = topic_factory("snapshots", 1, cleanup_policy="compact")
    store = TopicStore(section(kafka.bootstrap), topic, 0, 1, 3)
    store.write(5, b"five")
    wrong = Manifest("0" * 32, 1, 10).encode()
    strange = [
        (b"../../../etc/passwd", b"x"),
        (b"0/../../x/manifest", wrong),
        (b"\xff\x00", b"x"),
        (b"0/" + b"9" * 20 + b"/manifest", b"[" * 500),
        (manifest_key(0, 6), b"not JSON"),
        (manifest_key(0, 7), b'{"content": 1, "parts": -1, "size": "x"}'),
        (manifest_key(0, 8), Manifest("0" * 32, 10**9, 10**15).encode()),
        (manifest_key(0, 9), b"x" * 500_000),
        (manifest_key(0, 10), wrong),
        (part_key(0, 11, "0" * 32, 999_999), b"x"),
        (manifest_key(99999, 1), wrong),
    ]
    produce(kafka.bootstrap, topic, [Message(value, 0, key) for key, value in strange])
    assert store.positions() == [5]
    assert store.read(5) == b"five"
    # Parts of another length than the manifest says.
    lying = [
        (part_key(0, 12, "0" * 32, 0), b"short"),
        (manifest_key(0, 12), wrong),
    ]
    produce(kafka.bootstrap, topic, [Message(value, 0, key) for key, value in lying])
    assert store.positions() == [12, 5]
    with pytest.raises(StateError, match="5 bytes"):
        store.read(12)
    store.write(13, b"thirteen")
    assert store.read(13) == b"thirteen"


def test_a_broker_that_is_away_is_said_within_the_deadline(broker_factory) -> None:
    broker = broker_factory()
    settings = section(broker.bootstrap, request_timeout="1s")
    topic = f"{settings.group}-snapshots"
    store = TopicStore(settings, topic, 0, 1, 3)
    store.write(1, b"one")
    broker.pause()
    with pytest.raises(StateError, match="cannot write"):
        store.write(2, b"two")
    with pytest.raises(ConnectorError):
        store.positions()
    broker.resume()
    store.write(3, b"three")
    assert store.positions() == [3, 1]
    with admin_client(broker.bootstrap) as admin:
        admin.delete_topics([topic], timeout_ms=10_000)
    assert store.positions() == []
    store.write(1, b"anew")
    assert (store.positions(), store.read(1)) == ([1], b"anew")


# --- without a broker -----------------------------------------------------------------------------


def record(offset: int, key: bytes | None, value: bytes | None) -> PlainRecord:
    return PlainRecord(offset, 0, key, value)


def test_another_workers_unfinished_parts_of_later_snapshots_are_left_alone() -> None:
    index = Index(0)
    whole = Manifest("a" * 32, 1, 5)
    index.note(record(0, part_key(0, 10, "a" * 32, 0), b"12345"))
    index.note(record(1, manifest_key(0, 10), whole.encode()))
    index.note(record(2, part_key(0, 11, "b" * 32, 0), b"under way"))
    index.note(record(3, part_key(0, 9, "c" * 32, 0), b"abandoned"))
    assert index.superfluous(10, 3) == [part_key(0, 9, "c" * 32, 0)]


def test_an_index_does_not_grow_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    where = "stream_detector.connectors.kafka.state_topics.snapshot_keys"
    monkeypatch.setattr(f"{where}._MAX_INDEXED", 10)
    index = Index(0)
    for number in range(10):
        index.note(record(number, part_key(0, number, "a" * 32, 0), b"x"))
    with pytest.raises(StateError, match="more parts"):
        index.note(record(10, part_key(0, 10, "a" * 32, 0), b"x"))


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"[]",
        b"null",
        b"\xff",
        b"[" * 900,
        b'{"content": "x"}',
        b'{"content": "x", "parts": true, "size": 1}',
        b'{"content": "x", "parts": 1, "size": 0}',
        b'{"content": "x", "parts": 2, "size": 1e3}',
        b'{"content": "x", "parts": 1, "size": NaN}',
        Manifest("a", 10**10, 10**10 * PART_BYTES).encode(),
    ],
)
def test_a_manifest_that_makes_no_sense_is_none(value: bytes) -> None:
    assert read_manifest(value) is None
