"""What kafka-python 3.0.12 does for real, as far as no broker is needed to see it.

Each test documents the bare client. When an upgrade makes one fail, what gets round it may go
(docs/kafka-client.md).
"""

from __future__ import annotations

import gc
import gzip
import logging
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition, codec
from kafka.consumer.fetcher import Fetcher
from kafka.consumer.subscription_state import SubscriptionState
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.errors import CorruptRecordError, KafkaError
from kafka.record import MemoryRecords
from test_kafka_batches import PARTITION
from test_lenient_batches import with_headers

from stream_detector.connectors.kafka.client.assignor import ClientAssignor
from stream_detector.connectors.kafka.client.batches import BatchRecords
from stream_detector.connectors.kafka.client.causes import collected_warnings
from stream_detector.connectors.kafka.client.codecs import GZIP, MAX_BATCH_BYTES, unpack
from stream_detector.connectors.kafka.client.starting import start

CLIENTS = (KafkaConsumer, KafkaProducer, KafkaAdminClient)


@pytest.fixture(scope="module")
def closed() -> dict[str, Any]:
    """Settings of a client for a port where nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    return {"bootstrap_servers": f"127.0.0.1:{port}", "bootstrap_timeout_ms": 200}


@pytest.fixture
def unlogged() -> Iterator[None]:
    """No record of a log keeps an error, its traceback and a socket in that."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def sockets() -> int:
    found = 0
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found += str(entry.readlink()).startswith("socket:")
    return found


@contextmanager
def no_collector() -> Iterator[None]:
    """Nothing that is held by a cycle alone goes away by chance."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.collect()


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.usefixtures("unlogged")
def test_a_client_that_cannot_start_leaves_its_thread(kind: Any, closed: dict[str, Any]) -> None:
    """``start`` ends what the constructor has begun."""
    gc.collect()
    before, threads = sockets(), threading.active_count()
    for _ in range(3):
        with pytest.raises(KafkaError, match="Unable to bootstrap"):
            start(kind, closed)
        assert threading.active_count() == threads
    gc.collect()
    assert sockets() == before
    if kind is KafkaProducer:  # its thread comes later
        return
    begun: list[Any] = []

    def network(**given: Any) -> Any:
        begun.append(kind.DEFAULT_CONFIG["kafka_client"](**given))
        return begun[-1]

    with pytest.raises(KafkaError, match="Unable to bootstrap"):
        kind(**closed, kafka_client=network)
    gc.collect()
    assert sockets() > before, "kafka-python was mended: remove start"
    assert threading.active_count() == threads + 1
    begun[0].close()


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.usefixtures("unlogged")
def test_the_next_start_frees_what_refused_connections_have_left(
    kind: Any, closed: dict[str, Any]
) -> None:
    """The client leaves their sockets in cycles of objects, which nobody may look for for long."""
    with no_collector():
        before, most = sockets(), []
        for _ in range(4):
            with pytest.raises(KafkaError, match="Unable to bootstrap"):
                start(kind, closed)
            most.append(sockets() - before)
        assert max(most) <= 2 * most[0]


def test_the_client_unpacks_without_a_bound() -> None:
    packed = gzip.compress(bytes(MAX_BATCH_BYTES + 1), compresslevel=1)
    assert len(packed) < 2**20
    assert len(codec.gzip_decode(packed)) > MAX_BATCH_BYTES
    with pytest.raises(CorruptRecordError, match="is not unpacked"):
        unpack(GZIP, packed)


def test_the_client_refuses_a_batch_for_the_name_of_a_header() -> None:
    """C and Go write any bytes there."""
    data = with_headers(b"\x02\x06\xf6\xff\x80\x02x")
    with pytest.raises(CorruptRecordError, match="invalid record structure"):
        Fetcher.PartitionRecords(0, PARTITION, MemoryRecords(data)).take()
    (record,) = BatchRecords(0, PARTITION, MemoryRecords(data)).take()
    assert record.headers[0][0].encode() == b"\xf6\xff\x80"


class _Unknowing:
    """A cluster whose topics are not known yet."""

    def partitions_for_topic(self, _: str) -> None:
        return None


class _Nobody:
    """An assignment that shares nothing out."""

    name = "nobody"

    def share(self, topics: Any, partitions: Any, owned: Any) -> dict[str, dict[str, list[int]]]:
        assert [partitions(topic) for topic in topics] == [()]
        return {member: {} for member in owned}


def _member() -> Any:
    metadata = RangePartitionAssignor().metadata({"events"})
    return type("Member", (), {"member_id": "one", "metadata": metadata, "group_instance_id": None})


def test_a_leader_that_knows_no_partitions_asks_for_another_round() -> None:
    """The client's own assignors give out nothing, and nobody asks them whether they knew."""
    bare = RangePartitionAssignor().assign(_Unknowing(), [_member()])
    assert bare["one"].partitions() == []
    ours = ClientAssignor(_Nobody())  # type: ignore[arg-type]
    assert ours.assign(_Unknowing(), [_member()])["one"].partitions() == []
    assert [ours.take_incomplete(), ours.take_incomplete()] == [True, False]


def test_a_start_that_fails_tells_its_cause_in_the_log_alone(closed: dict[str, Any]) -> None:
    with collected_warnings() as said, pytest.raises(KafkaError) as failure:
        start(KafkaProducer, closed)
    assert "REFUSED" not in str(failure.value), "the error tells it now"
    assert any("ECONNREFUSED" in text for text in said)


def test_the_admin_client_logs_its_password(
    closed: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Ours is a text that does not show itself; ``security_settings`` makes it."""
    # Other tests of this process may have quietened a logger below, or registered the usual
    # password as a secret, which the log then hides.
    password = f"only-here-{uuid.uuid4().hex}"
    for name in [name for name in logging.root.manager.loggerDict if name.startswith("kafka")]:
        caplog.set_level(logging.DEBUG, name)
    login = {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "PLAIN"}
    with pytest.raises(KafkaError):
        start(
            KafkaAdminClient,
            {**closed, **login, "sasl_plain_username": "u", "sasl_plain_password": password},
        )
    assert password in caplog.text, "kafka-python was mended: a plain text will do"


def test_the_admin_client_has_no_call_for_quotas() -> None:
    assert [name for name in dir(KafkaAdminClient) if "quota" in name.lower()] == []


def test_calls_raise_what_is_no_kafka_error() -> None:
    """A partition that is gone is looked up in a plain dict: ``CLIENT_ERRORS`` are caught."""
    with pytest.raises(KeyError) as failure:
        SubscriptionState().pause(TopicPartition("gone", 0))
    assert not isinstance(failure.value, KafkaError)
