"""Foreign records on our own topics: what somebody else writes there is named and passed.

On the session's broker; the rows are those of "Faults met in the field" in docs/reliability.md.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from kafka import KafkaProducer
from kafka_broker.clients import Message, consume_all, create_topic, produce, send, unique_name
from support.process import DaemonProcess, wait_until
from support.streams import records
from test_daemon import messages, settings, topics
from test_state_verify import verify

from stream_detector.journal import decode, encode


def produce_in_transaction(bootstrap: str, topic: str, values: list[bytes | None]) -> None:
    """Write as a tool of replication or another detector does, and one aborted transaction."""
    producer = KafkaProducer(
        bootstrap_servers=bootstrap, transactional_id=unique_name("foreign"), max_block_ms=30_000
    )
    try:
        producer.init_transactions()
        for end in (producer.abort_transaction, producer.commit_transaction):
            producer.begin_transaction()
            sent = [send(producer, topic, Message(value, 0, b"k")) for value in values]
            producer.flush(timeout=30)
            assert all(future.succeeded() for future in sent)
            end()
    finally:
        producer.close(timeout=5)


def test_foreign_records_in_the_journal_are_named_and_passed_in_every_form(
    kafka, tmp_path: Path
) -> None:
    """A18: garbage, forgeries, another group's, copies of ours; while running, and after a kill."""
    section = topics(kafka.bootstrap, 1)
    journal = f"{section['group']}-journal"
    stream = messages(records(1200), 1)
    produce(kafka.bootstrap, section["topics"][0], stream[:600])
    config = settings(section, tmp_path, state={"interval": "1s"})
    with DaemonProcess(tmp_path, config) as daemon:
        daemon.wait_ready().wait_processed(600).wait_worked_off()
        held = [one.value for one in consume_all(kafka.bootstrap, journal)]
        last = decode(held[-1])
        plain = json.loads(held[-1])
        foreign = [
            b"garbage\x1b[2J\r\n",
            None,
            b"x" * 900_000,
            *held,
            json.dumps(plain | {"number": last.number + 1}).encode(),
            encode(replace(last, number=last.number + 1)),
            encode(replace(last, number=last.number + 1, group="another")),
            encode(replace(last, number=last.number + 1, group="", previous="")),
        ]
        produce_in_transaction(kafka.bootstrap, journal, foreign)
        produce(kafka.bootstrap, journal, [Message(value, 0, b"k") for value in foreign[:3]])
        name = "foreign_records_total"
        wait_until(lambda: daemon.metric(name) >= len(foreign), "the foreign records to be counted")
        assert "docs/runbook.md#records-of-others-in-the-journal" in daemon.text()
        produce(kafka.bootstrap, section["topics"][0], stream[600:900])
        daemon.wait_processed(900).wait_worked_off()
        produce_in_transaction(kafka.bootstrap, journal, foreign)
        produce(kafka.bootstrap, section["topics"][0], stream[900:])
        daemon.wait_processed(1200).wait_worked_off()
        daemon.kill()
        daemon.start().wait_ready().wait_worked_off()
        assert daemon.stop() == 0, daemon.text()
        assert "\x1b" not in daemon.text()
        assert "begun anew" not in daemon.text()
    code, (found,) = verify(daemon.config)
    assert code == 0, found
    assert found["events"] == 1200
    assert found["foreign"] == 2 * len(foreign) + 3
    # Nothing is left of the snapshots: the journal alone, from its beginning.
    for snapshot in tmp_path.rglob("*.snapshot"):
        snapshot.unlink()
    with DaemonProcess(tmp_path, config) as daemon:
        daemon.wait_ready().wait_worked_off()
        assert daemon.stop() == 0, daemon.text()
    code, (found,) = verify(daemon.config)
    assert code == 0, found
    ids = [json.loads(one.value)["id"] for one in consume_all(kafka.bootstrap, section["alerts"])]
    assert len(ids) == len(set(ids)) > 0


def test_foreign_records_among_the_snapshots_are_said_and_passed_over(
    kafka, tmp_path: Path
) -> None:
    """A18: garbage, keys in the form of ours, manifests that are none and hide nothing."""
    section = topics(kafka.bootstrap, 1)
    snapshots = f"{section['group']}-snapshots"
    stream = messages(records(900), 1)
    produce(kafka.bootstrap, section["topics"][0], stream[:600])
    config = settings(section, tmp_path, state={"store": "topic", "interval": "1s"})
    with DaemonProcess(tmp_path, config) as daemon:
        daemon.wait_ready().wait_processed(600).wait_worked_off()
        wait_until(lambda: manifests(kafka.bootstrap, snapshots), "a snapshot")
        ours = manifests(kafka.bootstrap, snapshots)[-1]
        foreign = [
            Message(b"garbage\x1b[2J", 0, b"\xff\x00"),
            Message(None, 0, b"somebody's"),
            Message(b"x" * 500_000, 0, b"0/../manifest"),
            Message(b"no manifest", 0, ours),
            Message(b"[" * 900, 0, b"0/" + b"9" * 20 + b"/manifest"),
        ]
        daemon.kill()
        produce(kafka.bootstrap, snapshots, foreign)
        daemon.start().wait_ready()
        name = "foreign_records_total"
        wait_until(lambda: daemon.metric(name) >= len(foreign), "the foreign records to be counted")
        produce(kafka.bootstrap, section["topics"][0], stream[600:])
        daemon.wait_worked_off()
        assert daemon.text().count("snapshot-foreign") <= 1
        assert "docs/runbook.md#streamdetectorforeignrecords" in daemon.text()
        assert "\x1b" not in daemon.text()
        assert daemon.stop() == 0, daemon.text()
    code, (found,) = verify(daemon.config)
    assert code == 0, found
    ids = [json.loads(one.value)["id"] for one in consume_all(kafka.bootstrap, section["alerts"])]
    assert len(ids) == len(set(ids)) > 0


def manifests(bootstrap: str, topic: str) -> list[bytes]:
    """Keys of the snapshots on a topic."""
    return [one.key for one in consume_all(bootstrap, topic) if one.key.endswith(b"/manifest")]


def test_what_others_write_among_the_labels_is_refused_once_each(kafka, tmp_path: Path) -> None:
    """A18: never read as labels, counted, each a dead letter with its place."""
    section = topics(kafka.bootstrap, 1)
    section["labels"] = create_topic(kafka.bootstrap, unique_name("labels"), 1)
    produce(kafka.bootstrap, section["topics"][0], messages(records(600), 1))
    foreign = [b"garbage\x1b[2J", None, b"x" * 100_000, b'{"event_id": 1}', b"[]", b"\x00\x00\x01"]
    produce(kafka.bootstrap, section["labels"], [Message(value, 0, b"k") for value in foreign])
    good = json.dumps({"event_id": "e1", "label": True}).encode()
    produce(kafka.bootstrap, section["labels"], [Message(good, 0, b"k")])
    config = settings(section, tmp_path, labels={"delay": "1h"})
    with DaemonProcess(tmp_path, config) as daemon:
        daemon.wait_ready().wait_worked_off()
        wait_until(lambda: daemon.metric("rejected_total") >= len(foreign), "them to be refused")
        assert daemon.metric("labels_total") == 1
        assert daemon.stop() == 0, daemon.text()
    letters = consume_all(kafka.bootstrap, section["dead_letters"])
    place = "__connect.errors.topic"
    of_labels = [dict(one.headers)[place] == section["labels"].encode() for one in letters]
    assert of_labels == [True] * len(foreign)
    code, (found,) = verify(daemon.config)
    assert code == 0, found
