"""Foreign records on our own topics: what somebody else writes there is named and passed.

On the session's broker; the rows are those of "Faults met in the field" in docs/reliability.md.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from kafka import KafkaProducer
from kafka_broker.clients import Message, consume_all, produce, send, unique_name
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
