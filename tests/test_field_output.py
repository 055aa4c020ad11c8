"""What the field does to our own output: records, limits and rights that brokers refuse.

On the session's broker, each test with topics of its own settings. The rows are those of the table
"Faults met in the field" in docs/reliability.md.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka.producer import KafkaProducer
from kafka.record.default_records import DefaultRecordBatchBuilder
from kafka.serializer import Serializer
from kafka_broker.clients import Message, consume_all, create_topic, produce, unique_name
from support import streams
from support.process import DaemonProcess, wait_until
from test_daemon import messages, records
from test_state_verify import verify

from stream_detector.alerts import alert_message, dead_letter
from stream_detector.events import PlainRecord, Rejection, TopicPartition
from stream_detector.messages import (
    LEFT_OUT,
    MAX_MESSAGE_BYTES,
    ORIGINAL_SIZE,
    ORIGINAL_TIMESTAMP,
    WHOLE,
    Outgoing,
    digest,
    fitted,
    refitted,
    size_bytes,
    with_key,
)

SOURCE = TopicPartition("events", 3)
REJECTED = Rejection("decode", "tombstone", "no value")

TEXTS = st.text(st.characters(), max_size=20)  # lone surrogates too
HEADERS = st.lists(st.tuples(TEXTS, st.none() | st.binary(max_size=50)), max_size=20)
BYTES = st.none() | st.binary(max_size=300)


def serialise(message: Outgoing) -> bytes:
    """What ``KafkaProducer.send`` checks of a message, and the bytes that it makes of it."""
    assert message.key is not None or message.value is not None
    assert all(isinstance(n, str) and isinstance(c, bytes) for n, c in message.headers)
    builder = DefaultRecordBatchBuilder(2, 0, False, -1, -1, -1, 2**30)
    appended = builder.append(0, message.timestamp_ms, message.key, message.value, message.headers)
    assert appended is not None
    return bytes(builder.build())


@settings(max_examples=300, deadline=None)
@given(
    key=BYTES,
    value=BYTES,
    headers=HEADERS,
    timestamp=st.integers(-(2**63), 2**63 - 1),
    large=st.sampled_from(["", "key", "value", "headers", "many headers", "all"]),
)
def test_whatever_a_record_holds_its_messages_can_be_written(
    key: bytes | None,
    value: bytes | None,
    headers: list[tuple[str, bytes | None]],
    timestamp: int,
    large: str,
) -> None:
    """A1: by construction, for the client's own checks, its serialisation and 1 MiB."""
    if large in ("key", "all"):
        key = b"k" * 1_050_000
    if large in ("value", "all"):
        value = b"[" + b'"\\u0007\xc3\xa4",' * 100_000 + b"0]"
    if large in ("headers", "all"):
        headers = [*headers, ("ä" * 300_000, b"x" * 600_000), ("traceparent", b"t" * 10**6)]
    if large == "many headers":
        headers = headers + [("h", b"")] * 100_000
    record = PlainRecord(7, timestamp, key, value, headers)
    letter = dead_letter(SOURCE, record, REJECTED, "d")
    body = {"id": "events-3-7", "event_id": None if key is None else "e" * len(key)}
    alert = alert_message(body, SOURCE, record, 0, "d")
    for message in (letter, alert):
        for form in (message, with_key(message), refitted(message, 900)):
            assert len(serialise(form)) <= size_bytes(form)
            assert size_bytes(form) <= MAX_MESSAGE_BYTES + 500
    names = dict(letter.headers)
    assert names["__connect.errors.offset"] == b"7"
    if not large:
        assert LEFT_OUT not in names
        assert letter.value == (b"" if key is None and value is None else value)


def test_a_smaller_form_says_what_it_is_of_and_what_is_left_out() -> None:
    record = PlainRecord(7, 1000, b"k", json.dumps({"x": "y" * 5000}).encode(), [("h", b"v")])
    alert = alert_message({"id": "events-3-7", "score": 1.5}, SOURCE, record, 0, "d")
    letter = dead_letter(SOURCE, record, REJECTED, "d")
    for message, left_out in ((alert, b"event"), (letter, b"end of the value")):
        less = refitted(message, 2000)
        assert size_bytes(less) <= 2000
        headers = dict(less.headers)
        assert headers[LEFT_OUT] == left_out
        whole = digest(message.key, message.value, message.headers).hex().encode()
        assert headers[WHOLE] == whole
        assert fitted(message) is message
    assert json.loads(refitted(alert, 2000).value or b"")["score"] == 1.5
    assert dict(refitted(letter, 2000).headers)[ORIGINAL_SIZE] == str(5009).encode()
    assert dict(letter.headers)[ORIGINAL_TIMESTAMP] == b"1000"


def section(bootstrap: str, alerts: Any = None, dead: Any = None, journal: Any = None) -> Any:
    """Topics of one run, each with settings of its own."""
    names = {name: unique_name(name) for name in ("in", "alerts", "dead", "group")}
    create_topic(bootstrap, names["in"], 1, {"message.timestamp.after.max.ms": str(2**62)})
    create_topic(bootstrap, names["alerts"], 1, alerts or {})
    create_topic(bootstrap, names["dead"], 1, dead or {})
    made = {
        "bootstrap_servers": bootstrap,
        "topics": [names["in"]],
        "group": names["group"],
        "alerts": names["alerts"],
        "dead_letters": names["dead"],
        "journal": f"{names['group']}-journal",
    }
    if journal is not None:
        create_topic(bootstrap, made["journal"], 1, journal)
    return made


def configuration(kafka: Any, directory: Path, **changes: Any) -> dict[str, Any]:
    return {
        **streams.SETTINGS,
        "kafka": kafka,
        "state": {"directory": str(directory / "state")},
        "metrics": {"port": 0},
        **changes,
    }


class Nothing(Serializer):
    """Sends a tombstone without a key, which kafka-python does not, and others do."""

    def serialize(self, *_: object) -> None:
        return None


def produce_keyless_tombstone(bootstrap: str, topic: str) -> None:
    producer = KafkaProducer(bootstrap_servers=bootstrap, value_serializer=Nothing())
    try:
        producer.send(topic, b"", partition=0).get(timeout=20)
    finally:
        producer.close(timeout=5)


ODD = [
    Message(None, 0, b"k"),
    Message(b"", 0),
    Message(b"{", 0, b"k" * 900_000, headers=(("h", b"v" * 100_000),)),
    Message(b"{", 0, headers=(("ä", b""), ("", b"x"), *[("h", b"")] * 5000)),
    Message(b"{", 0, timestamp_ms=4_000_000_000_000),  # the year 2096
    Message(b"{", 0, timestamp_ms=0),
]


@pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])
@pytest.mark.parametrize("policy", ["delete", "compact"])
def test_odd_records_are_dead_letters_and_the_daemon_goes_on(
    kafka, tmp_path: Path, delivery: str, policy: str
) -> None:
    """A1: neither the client nor a broker refuses what we make of them."""
    settled = {"cleanup.policy": policy}
    made = section(kafka.bootstrap, settled, settled)
    produce(kafka.bootstrap, made["topics"][0], [*messages(records(400), 1), *ODD])
    produce_keyless_tombstone(kafka.bootstrap, made["topics"][0])
    config = configuration({**made, "delivery": delivery}, tmp_path)
    with DaemonProcess(tmp_path, config) as daemon:
        daemon.wait_ready().wait_processed(401 + len(ODD)).wait_worked_off()
        assert daemon.stop() == 0, daemon.text()
    assert "Traceback" not in daemon.text()
    letters = consume_all(kafka.bootstrap, made["dead_letters"])
    offsets = {int(dict(one.headers)["__connect.errors.offset"]) for one in letters}
    assert offsets == set(range(400, 401 + len(ODD)))
    if policy == "compact":
        assert all(letter.key is not None for letter in letters)


@pytest.mark.parametrize(
    ("which", "limit", "code"),
    [("alerts", 700, 3), ("dead_letters", 300, 3), ("journal", 200, 3)],
)
@pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])
def test_a_topic_that_takes_too_little_is_named_at_once(
    kafka, tmp_path: Path, which: str, limit: int, code: int, delivery: str
) -> None:
    """A12: also where several messages share a batch, and the client wraps what the broker said."""
    if which == "journal" and delivery == "at_least_once":
        pytest.skip("there is no journal")
    small = {"max.message.bytes": str(limit)}
    place = {"alerts": "alerts", "dead_letters": "dead", "journal": "journal"}[which]
    made = section(kafka.bootstrap, **{place: small})
    stream = messages(records(1500), 1)
    bad = [Message(b"{", 0, b"k")] * 3
    produce(kafka.bootstrap, made["topics"][0], stream if which != "dead_letters" else bad)
    config = configuration({**made, "delivery": delivery, "give_up_after": "10m"}, tmp_path)
    with DaemonProcess(tmp_path, config) as daemon:
        assert daemon.wait(60) == code
    text = daemon.text()
    assert f"{made[which]} does not take" in text
    assert f"max.message.bytes of the topic {made[which]}" in text
    assert "docs/runbook.md#output-refused" in text
    assert "Traceback" not in text


def test_what_is_too_large_for_its_topic_is_written_in_a_smaller_form(
    kafka, tmp_path: Path
) -> None:
    """A1, A12: only the copy of the record is left out, it is said, and `state verify` knows."""
    small = {"max.message.bytes": "20000"}
    made = section(kafka.bootstrap, small, small)
    stream = messages(records(900), 1)
    event = json.loads(stream[-1].value or b"") | {"amount": 1e9, "unread": "x" * 50_000}
    large = [
        Message(json.dumps({**event, "id": f"huge{n}"}).encode(), 0, b"k", stream[-1].timestamp_ms)
        for n in range(2)
    ]
    letters = [Message(b"{" + b"y" * 30_000, 0, b"k")] * 3
    produce(kafka.bootstrap, made["topics"][0], [*stream, *large, *letters])
    config = configuration(made, tmp_path, suppression=None)
    with DaemonProcess(tmp_path, config) as daemon:
        daemon.wait_ready().wait_processed(905).wait_worked_off()
        wait_until(lambda: daemon.metric("cut_messages_total") >= 4, "them to be counted")
        assert daemon.stop() == 0, daemon.text()
    assert "written without a part" in daemon.text()
    assert "docs/runbook.md#streamdetectormessagescut" in daemon.text()
    alerts = [json.loads(one.value) for one in consume_all(kafka.bootstrap, made["alerts"])]
    huge = [alert for alert in alerts if str(alert["event_id"]).startswith("huge")]
    assert huge
    assert all(alert["event"]["truncated"] and alert["reasons"] for alert in huge)
    found = consume_all(kafka.bootstrap, made["dead_letters"])
    assert len(found) == 3
    assert all(one.value.startswith(b"{yyy") for one in found)
    assert {dict(one.headers)[ORIGINAL_SIZE] for one in found} == {b"30001"}
    code, (verified,) = verify(daemon.config)
    assert code == 0, verified
    assert verified["dead_letters_expected"] == 3


def test_the_client_can_be_given_every_setting_of_ours() -> None:
    """The producer's own limit is the one that messages are made for."""
    assert KafkaProducer.DEFAULT_CONFIG["max_request_size"] >= MAX_MESSAGE_BYTES


def test_records_of_other_producers_in_the_journal_are_named_and_passed(
    kafka, tmp_path: Path
) -> None:
    """A18: garbage, and a copy of the last record with the next number; then a kill."""
    made = section(kafka.bootstrap)
    stream = messages(records(900), 1)
    produce(kafka.bootstrap, made["topics"][0], stream[:600])
    config = configuration(made, tmp_path)
    with DaemonProcess(tmp_path, config) as daemon:
        daemon.wait_ready().wait_processed(600).wait_worked_off()
        last = json.loads(consume_all(kafka.bootstrap, made["journal"])[-1].value)
        forged = json.dumps(last | {"number": last["number"] + 1}).encode()
        foreign = [Message(b"garbage\x1b[2J", 0), Message(forged, 0), Message(None, 0, b"k")]
        produce(kafka.bootstrap, made["journal"], foreign)
        produce(kafka.bootstrap, made["topics"][0], stream[600:])
        daemon.wait_processed(900).wait_worked_off()
        daemon.kill()
        daemon.start().wait_ready().wait_worked_off()
        assert "journal-foreign" in daemon.text()
        assert daemon.stop() == 0, daemon.text()
    ids = [json.loads(one.value)["id"] for one in consume_all(kafka.bootstrap, made["alerts"])]
    assert len(ids) == len(set(ids)) > 0
