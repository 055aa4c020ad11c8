"""The daemon on Avro and Protobuf: the alerts of JSON, through kills, without a registry later."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import format_comparison as comparison
import pytest
from kafka_broker.clients import Message, consume_all, produce, unique_name
from schema_registry.registry import Registry
from support.fake_registry import FakeRegistry, fake_registry
from support.formats import avro_bytes, avro_schema
from support.kills import QUICK_SESSION, work_off_through_kills
from support.process import DaemonProcess, alerts_in, wait_until
from test_daemon import LIGHT, topics

EVENTS = 1500
PARTITIONS = 2
NOWHERE = "http://127.0.0.1:9"


def settings(
    kafka: dict[str, Any], directory: Path, kind: str, registry: dict[str, Any]
) -> dict[str, Any]:
    return {
        **comparison.SETTINGS,
        "event": {**comparison.SETTINGS["event"], "format": kind},
        "threshold": {"budget": "2 %", "burn_in": 200},
        "detector": LIGHT,
        "kafka": {**kafka, "consumer": QUICK_SESSION},
        "registry": registry,
        "state": {"directory": str(directory / "state"), "interval": "500ms"},
        "processing": {"commit_interval": "100ms", "max_poll_records": 200},
        "metrics": {"port": 0},
    }


def stream(values: list[bytes], lines: list[bytes]) -> list[Message]:
    """Values as records, keyed and timed by the events that they are of."""
    made = []
    for value, line in zip(values, lines, strict=True):
        customer = json.loads(line)["CUSTOMER_ID"]
        made.append(Message(value, customer % PARTITIONS, b"%d" % customer, 1_600_000_000_000))
    return made


def flat(way: str, count: int = EVENTS) -> list[bytes]:
    return [value for batch in comparison.values_of(way, count)[2] for value in batch]


def bodies(bootstrap: str, section: dict[str, Any]) -> list[Any]:
    """Alerts without the event, and without the topic's name."""
    found = []
    for body in alerts_in(bootstrap, section["alerts"]):
        del body["event"]
        body["id"] = body["id"].partition("-")[2].rpartition("-")[2] + str(
            body["receipt"]["partition"]
        )
        del body["receipt"]["topic"]
        found.append(body)
    return found


@pytest.fixture(scope="module")
def expected(kafka, tmp_path_factory) -> list[Any]:
    """The alerts of the events as JSON, undisturbed."""
    directory = tmp_path_factory.mktemp("json")
    section = topics(kafka.bootstrap, PARTITIONS)
    lines = flat("json")
    produce(kafka.bootstrap, section["topics"][0], stream(lines, lines))
    with DaemonProcess(directory, settings(section, directory, "json", {"url": NOWHERE})) as daemon:
        daemon.wait_ready().wait_processed(EVENTS)
        assert daemon.stop() == 0, daemon.text()
    found = bodies(kafka.bootstrap, section)
    assert len(found) > 10
    return found


def verify(config: Path) -> Any:
    """``state verify`` with the registry's address leading nowhere."""
    text = re.sub(r"url: http://\S+", f"url: {NOWHERE}", config.read_text())
    assert NOWHERE in text
    elsewhere = config.with_name("verify.yaml")
    elsewhere.write_text(text)
    ran = subprocess.run(
        [sys.executable, "-m", "stream_detector", "state", "verify", str(elsewhere), "--json"],
        capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return json.loads(ran.stdout)[0]


@pytest.mark.parametrize("kind", ["avro", "protobuf"])
def test_three_versions_along_the_topic_and_kills_give_the_alerts_of_json(
    kafka, registry: Registry, expected, tmp_path, kind
):
    schemas, _ = comparison.avro_versions() if kind == "avro" else comparison.protobuf_versions()
    texts = [schema.parts[0] for schema in schemas.values()]
    if kind == "protobuf":
        texts = [comparison.HEADER % fields for fields in comparison.PROTOBUF_VERSIONS]
    subject = unique_name("value")
    numbers = [
        registry.register(f"{subject}-{version}", text, kind.upper())
        for version, text in enumerate(texts)
    ]
    values = [
        b"\0" + numbers[int.from_bytes(value[1:5], "big")].to_bytes(4, "big") + value[5:]
        for value in flat(f"{kind}, three versions")
    ]
    section = topics(kafka.bootstrap, PARTITIONS)
    config = settings(section, tmp_path, kind, {"url": registry.url})
    some = stream(values, flat("json"))
    daemon = work_off_through_kills(tmp_path, config, some)
    assert bodies(kafka.bootstrap, section) == expected
    found = verify(daemon.config)
    assert found["events"] == EVENTS
    assert found["alerts_found"] == len(expected)


# --- faults --------------------------------------------------------------------------------------

SCHEMA = avro_schema(
    {"name": "TRANSACTION_ID", "type": "long"},
    {"name": "TX_DATETIME", "type": "string"},
    {"name": "CUSTOMER_ID", "type": "long"},
    {"name": "TERMINAL_ID", "type": "long"},
    {"name": "TX_AMOUNT", "type": "double"},
)


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with fake_registry() as made:
        made.avro(1, SCHEMA)
        yield made


def avro_stream(count: int, second_from: int) -> list[Message]:
    """Events of schema 1, and of schema 2 (which is the same) from a place on."""
    lines = flat("json", count)
    values = []
    for row, line in enumerate(lines):
        event = json.loads(line)
        del event["TX_FRAUD"]
        number = 1 if row < second_from else 2
        values.append(b"\0\0\0\0" + bytes([number]) + avro_bytes(SCHEMA, event))
    return stream(values, lines)


def letters(bootstrap: str, section: dict[str, Any]) -> list[str]:
    return [
        dict(record.headers)["__connect.errors.exception.class.name"].decode()
        for record in consume_all(bootstrap, section["dead_letters"])
    ]


def test_down_at_the_start_it_waits_and_ends_with_exit_code_3_by_name(kafka, tmp_path):
    section = topics(kafka.bootstrap)
    config = settings(section, tmp_path, "avro", {"url": NOWHERE, "wait": "300ms"})
    with DaemonProcess(tmp_path, config) as daemon:
        assert daemon.wait() == 3
        assert f"waiting: the schema registry at {NOWHERE}" in daemon.text()
        assert f"no schema registry after 0.3 s: the schema registry at {NOWHERE}" in daemon.text()


def test_down_later_known_schemas_go_on_and_unknown_ones_wait_through_a_kill(
    kafka, fake: FakeRegistry, tmp_path
):
    section = topics(kafka.bootstrap, PARTITIONS)
    secret = "a-secret-of-the-registry"
    login = {"url": fake.url, "username": "me", "password": secret, "request_timeout": "1s"}
    config = settings(section, tmp_path, "avro", login)
    some = avro_stream(900, 600)
    topic = section["topics"][0]
    with DaemonProcess(tmp_path, config) as daemon:
        daemon.wait_ready()
        produce(kafka.bootstrap, topic, some[:300])
        daemon.wait_processed(300)
        fake.stop()
        produce(kafka.bootstrap, topic, some[300:600])  # of a known id
        daemon.wait_processed(600)
        assert daemon.metric("conditions", condition="schema_missing") == 0
        produce(kafka.bootstrap, topic, some[600:])
        wait_until(
            lambda: daemon.metric("conditions", condition="schema_missing") == PARTITIONS, "a wait"
        )
        assert daemon.metric("paused_partitions") == PARTITIONS
        wait_until(lambda: daemon.metric("schema_wait_seconds") > 0, "how long it has waited")
        wait_until(lambda: daemon.metric("buffered_records") > 0, "the figure of what waits")
        assert daemon.metric("events_total") == 600
        assert "for the schema id:2: the schema registry at" in daemon.text()
        daemon.kill()
        assert secret not in daemon.text()
    fake.avro(2, SCHEMA)
    fake.over.clear()
    fake.start()
    with DaemonProcess(tmp_path, config) as daemon:
        daemon.wait_ready().wait_worked_off()
        assert daemon.metric("conditions", condition="schema_missing") == 0
        assert daemon.metric("schema_wait_seconds") == 0
        assert daemon.metric("replay_mismatches_total") == 0
        assert daemon.stop() == 0, daemon.text()
    assert letters(kafka.bootstrap, section) == []
    fake.stop()
    found = verify(daemon.config)
    assert (found["events"], found["dead_letters_expected"]) == (900, 0)


@pytest.mark.parametrize("unavailable", ["stop", "dead_letter"])
def test_a_wait_that_is_too_long_ends_as_the_configuration_says(
    kafka, fake: FakeRegistry, tmp_path, unavailable
):
    section = topics(kafka.bootstrap, PARTITIONS)
    registry = {"url": fake.url, "give_up_after": "500ms", "unavailable": unavailable}
    config = settings(section, tmp_path, "avro", registry)
    some = avro_stream(400, 390)
    fake.mode = "error"
    produce(kafka.bootstrap, section["topics"][0], some[:1])
    fake.mode = "well"
    with DaemonProcess(tmp_path, config) as daemon:
        daemon.wait_ready().wait_processed(1)
        fake.mode = "error"
        produce(kafka.bootstrap, section["topics"][0], some[1:])
        if unavailable == "stop":
            assert daemon.wait() == 3
            assert "its schema id:2 could not be had for 0.5 s" in daemon.text()
            assert "store is down" in daemon.text()
            return
        daemon.wait_processed(400)
        assert daemon.metric("rejected_total", reason="schema_unknown") == 10
        wait_until(lambda: len(letters(kafka.bootstrap, section)) == 10, "the commit", every=0.2)
        daemon.kill()
    fake.mode = "well"
    fake.avro(2, SCHEMA)  # known by now: what was refused stays refused
    with DaemonProcess(tmp_path, config) as daemon:
        daemon.wait_ready()
        produce(kafka.bootstrap, section["topics"][0], [replace(some[-1], partition=0)])
        daemon.wait_worked_off()
        assert daemon.stop() == 0, daemon.text()
    assert letters(kafka.bootstrap, section) == ["schema_unknown"] * 10
    found = verify(daemon.config)
    assert (found["events"], found["dead_letters_expected"]) == (401, 10)


def test_an_id_that_does_not_exist_and_foreign_payloads_are_dead_letters(
    kafka, fake: FakeRegistry, tmp_path
):
    section = topics(kafka.bootstrap, 1)
    config = settings(section, tmp_path, "avro", {"url": fake.url})
    some = [replace(each, partition=0) for each in avro_stream(60, 50)]
    fake.schemas[3] = {"schema": "{"}
    some[20:20] = [
        replace(some[0], value=value)
        for value in (b'{"x": 1}', some[1].value[:-3], b"\0\0\0\0\3abc", b"\0", b"\0\0\0\0\1")
    ]
    produce(kafka.bootstrap, section["topics"][0], some)
    with DaemonProcess(tmp_path, config) as daemon:
        daemon.wait_ready().wait_worked_off()
        assert daemon.stop() == 0, daemon.text()
        assert "schema id:2: the registry has none (Schema not found)" in daemon.text()
    bad = ["malformed", "malformed", "schema_unknown", "malformed", "malformed"]
    assert letters(kafka.bootstrap, section) == bad + ["schema_unknown"] * 10
    assert fake.asked.count("/schemas/ids/2") < 5
    assert verify(daemon.config)["dead_letters_expected"] == 15
