"""The broker of the tests is a real one: it keeps what it acknowledged, through crash and pause."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from kafka import KafkaProducer
from kafka.errors import KafkaError, MessageSizeTooLargeError
from kafka_broker import broker as broker_module
from kafka_broker.broker import Broker, BrokerError, free_ports
from kafka_broker.clients import (
    Message,
    admin_client,
    consume_all,
    create_topic,
    produce,
    unique_name,
)


def test_a_record_comes_back_with_every_byte_of_key_value_headers_and_timestamp(
    kafka, topic_factory
):
    topic = topic_factory("round-trip", partitions=3)
    sent = [
        Message(
            bytes([number]),
            partition=number % 3,
            key=b"\x00\xff",
            timestamp_ms=1_522_540_800_000 + number,
            headers=(("origin", b"\x80"), ("origin", b"")),
        )
        for number in range(30)
    ]
    sent.append(Message(None, partition=2, key=b"tombstone", timestamp_ms=1_522_540_800_000))
    placed = produce(kafka.bootstrap, topic, sent)
    got = consume_all(kafka.bootstrap, topic)

    by_place = {(record.partition, record.offset): record for record in got}
    assert len(got) == len(sent)
    for message, place in zip(sent, placed, strict=True):
        record = by_place[place]
        assert (record.value, record.key, record.timestamp, tuple(record.headers)) == (
            message.value,
            message.key,
            message.timestamp_ms,
            message.headers,
        )


def test_only_committed_transactions_are_read_and_an_open_one_ends_the_reading(
    kafka, topic_factory
):
    topic = topic_factory("transactions")
    producer = KafkaProducer(
        bootstrap_servers=kafka.bootstrap,
        transactional_id=unique_name("producer"),
        max_block_ms=20_000,
        retry_backoff_ms=5,
    )
    try:
        producer.init_transactions()
        for value, finish in (
            (b"committed", producer.commit_transaction),
            (b"aborted", producer.abort_transaction),
        ):
            producer.begin_transaction()
            producer.send(topic, value).get(timeout=20)
            finish()
        producer.begin_transaction()
        producer.send(topic, b"open").get(timeout=20)

        committed = consume_all(kafka.bootstrap, topic)
        everything = consume_all(kafka.bootstrap, topic, isolation_level="read_uncommitted")
        producer.abort_transaction()
    finally:
        producer.close(timeout=5)
    assert [record.value for record in committed] == [b"committed"]
    assert [record.value for record in everything] == [b"committed", b"aborted", b"open"]


def test_a_missing_topic_is_not_created_by_asking_for_it(kafka):
    missing = unique_name("missing")
    with pytest.raises(ValueError, match="does not exist"):
        consume_all(kafka.bootstrap, missing)
    with admin_client(kafka.bootstrap) as admin:
        assert missing not in admin.list_topics()


def test_acknowledged_records_survive_crash_stop_and_pause_on_the_same_address(broker_factory):
    broker: Broker = broker_factory()
    address = broker.bootstrap
    topic = create_topic(address, "kept", partitions=2)
    values = [b"before", b"after the crash", b"after the stop", b"after the pause"]

    def append(value: bytes) -> None:
        produce(address, topic, [Message(value, partition=number) for number in (0, 1)])

    append(values[0])
    broker.restart(crash=True)
    append(values[1])
    broker.restart()
    append(values[2])
    with broker.paused():
        assert broker.running
        with pytest.raises(KafkaError), admin_client(address, timeout_seconds=1):
            pass
    append(values[3])

    assert broker.bootstrap == address
    read = [(record.partition, record.value) for record in consume_all(address, topic)]
    assert read == [(number, value) for number in (0, 1) for value in values]


def test_a_setting_changed_between_stop_and_start_takes_effect(broker_factory):
    broker: Broker = broker_factory()
    broker.stop()
    broker.properties["message.max.bytes"] = 2000
    broker.start()
    topic = create_topic(broker.bootstrap, "small")
    produce(broker.bootstrap, topic, [Message(b"x" * 1000)])
    with pytest.raises(MessageSizeTooLargeError):
        produce(broker.bootstrap, topic, [Message(b"x" * 3000)])


def test_a_broker_that_cannot_start_says_why(broker_factory):
    with pytest.raises(BrokerError, match=r"ended while starting|formatting") as failure:
        broker_factory(properties={"log.segment.bytes": "not-a-number"})
    assert "log.segment.bytes" in str(failure.value)


def test_the_command_starts_and_stops_a_broker_that_outlives_it(broker_factory, tmp_path):
    # broker_factory is asked for only so that this test skips where there is no Java.
    script = Path(broker_module.__file__)
    directory = tmp_path / "commanded"

    def command(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(script), *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    (port,) = free_ports(1)
    started = command("start", directory, port)
    try:
        assert (started.stdout, started.returncode) == (f"127.0.0.1:{port}\n", 0), started.stderr
        create_topic(f"127.0.0.1:{port}", "commanded")
        again = command("start", directory, port)
        assert again.returncode == 1
        assert "already running" in again.stderr
    finally:
        stopped = command("stop", directory)
    assert stopped.returncode == 0
    assert not Broker(directory).running
    assert Broker(directory).port == port


def test_jars_are_fetched_once_though_asked_for_twice(broker_factory, monkeypatch):
    directory = broker_module.fetch_jars()
    monkeypatch.setenv("PATH", "")  # no Maven to be found
    assert broker_module.fetch_jars() == directory
    assert list(directory.glob("kafka_2.13-*.jar"))


def test_storage_is_formatted_once_and_carries_each_brokers_own_ids(broker_factory, tmp_path):
    jars = broker_module.fetch_jars()
    made = [Broker(tmp_path / name, properties={"node.id": 7}) for name in ("one", "two")]
    metas = []
    for broker in made:
        broker._write_settings()
        broker._format_storage(jars)
        lines = (broker.data_directory / "meta.properties").read_text().split()
        metas.append(dict(line.split("=", 1) for line in lines))
    one, two = metas
    assert one["node.id"] == two["node.id"] == "7"
    assert [meta["cluster.id"] for meta in metas] == [broker._cluster_id for broker in made]
    assert one["directory.id"] != two["directory.id"]
    assert one["cluster.id"] != two["cluster.id"]
