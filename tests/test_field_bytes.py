"""Bytes as the field sends them; the rows are those of docs/reliability.md."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from kafka import KafkaProducer
from kafka_broker.clients import Message, produce, unique_name
from support.process import DaemonProcess, wait_until
from support.streams import records
from test_daemon import messages, settings, topics

from stream_detector.connectors.kafka.client.record_batch import header_name

LATIN = b"gr\xf6\xdfe"
"""A header's name as C and Go producers may write it: any bytes, here Latin-1."""


def produce_with_header(bootstrap: str, topic: str, values: list[bytes], name: bytes) -> None:
    producer: Any = KafkaProducer(bootstrap_servers=bootstrap, max_block_ms=10_000)
    try:
        futures = [
            producer.send(topic, value=value, headers=[(header_name(name), b"1")])
            for value in values
        ]
        for future in futures:
            future.get(timeout=30)
    finally:
        producer.close(timeout=5)


def test_a_header_whose_name_is_not_utf8_is_no_matter_and_is_kept(kafka, tmp_path: Path) -> None:
    """A6: the event is processed; a dead letter has the header as it was."""
    section = topics(kafka.bootstrap)
    topic = section["topics"][0]
    stream = messages(records(600), 1)
    produce(kafka.bootstrap, topic, stream[:300])
    good = stream[300].value or b""
    produce_with_header(kafka.bootstrap, topic, [good, b"no JSON"], LATIN)
    produce(kafka.bootstrap, topic, stream[301:])
    with DaemonProcess(tmp_path, settings(section, tmp_path)) as daemon:
        daemon.wait_ready().wait_processed(601).wait_worked_off()
        assert daemon.metric("rejected_total") == 1
        assert daemon.stop() == 0
    assert b"gr\xf6\xdfe=1" in headers_in(kafka.bootstrap, section["dead_letters"])


def test_bytes_of_a_schema_registry_say_what_they_look_like(kafka, tmp_path: Path) -> None:
    """A17: JSON behind its prefix is read, anything else is named in the dead letter."""
    section = topics(kafka.bootstrap)
    stream = messages(records(300), 1)
    prefix = b"\0\0\0\0\x07"
    framed = Message(prefix + (stream[100].value or b""), 0)
    avro = Message(prefix + b"\x06e1\x02\x0a", 0)
    produce(kafka.bootstrap, section["topics"][0], [*stream[:100], framed, avro, *stream[101:]])
    with DaemonProcess(tmp_path, settings(section, tmp_path)) as daemon:
        daemon.wait_ready().wait_processed(301).wait_worked_off()
        assert daemon.metric("rejected_total", reason="malformed") == 1
        assert daemon.metric("rejected_total") == 1
        assert daemon.stop() == 0
    assert b"schema registry's prefix (schema id 7)" in headers_in(
        kafka.bootstrap, section["dead_letters"]
    )


def test_a_hanging_transaction_is_said_by_name_and_counts_as_lag(kafka, tmp_path: Path) -> None:
    """A8: what lies behind it is lag; the log names its place and its producer; then it goes on."""
    section = topics(kafka.bootstrap)
    topic = section["topics"][0]
    stream = messages(records(400), 1)
    produce(kafka.bootstrap, topic, stream[:300])
    hanging = unique_name("upstream")
    producer: Any = KafkaProducer(
        bootstrap_servers=kafka.bootstrap, transactional_id=hanging, max_block_ms=10_000
    )
    try:
        producer.init_transactions()
        producer.begin_transaction()
        producer.send(topic, value=stream[300].value, partition=0).get(timeout=30)
        produce(kafka.bootstrap, topic, stream[301:])
        with DaemonProcess(tmp_path, settings(section, tmp_path)) as daemon:
            daemon.wait_ready().wait_processed(300)
            wait_until(lambda: "open-transaction" in daemon.text(), "the line")
            assert daemon.metric("consumer_lag_records") == 100
            assert daemon.metric("last_stable_offset_age_seconds", topic=topic) >= 10
            assert daemon.metric("conditions", condition="open_transaction") == 1
            said = next(line for line in daemon.text().splitlines() if "open-transaction" in line)
            assert f"topic {topic}, partition 0: nothing after offset 300 of 400" in said
            assert f"transactional id {hanging}" in said
            producer.abort_transaction()
            daemon.wait_processed(399).wait_worked_off()
            wait_until(lambda: daemon.metric("conditions") == 0, "the condition to be over")
            assert daemon.metric("last_stable_offset_age_seconds") == 0
            assert daemon.stop() == 0
    finally:
        producer.close(timeout=5)


def headers_in(bootstrap: str, topic: str) -> bytes:
    """The headers of a topic's records as another client reads them: kcat, bytes as they are."""
    command = ["kcat", "-C", "-b", bootstrap, "-t", topic, "-o", "beginning", "-e", "-q"]
    ran = subprocess.run([*command, "-f", "%h\n"], capture_output=True, check=True, timeout=60)
    return ran.stdout
