"""Alerts as Avro with a real broker and a real registry: kills, replays, commands, refusals."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import fastavro
import pytest
import yaml
from kafka import TopicPartition as Place
from kafka_broker.clients import admin_client, consume_all, produce
from schema_registry.registry import Registry
from support.commands import call, run
from support.fake_registry import fake_registry
from support.kills import QUICK_SESSION, work_off_through_kills
from support.process import DaemonProcess, alerts_in, wait_until
from support.streams import records
from test_daemon import messages, settings, topics
from test_formats_daemon import NOWHERE, verify
from test_label_command import labels_in, with_labels

from stream_detector.alert_avro.schema import ALERT_SCHEMA

PUBLISHED = Path(__file__).resolve().parents[1] / "docs" / "alert.avsc"
EVENTS = 2000
PARTITIONS = 2
OTHERS = json.dumps(
    {"type": "record", "name": "X", "fields": [{"name": "other", "type": "string"}]}
)


def configured(
    section: dict[str, Any], directory: Path, registry: dict[str, Any], **changes: Any
) -> dict[str, Any]:
    section = {"alerts_format": "avro", "consumer": QUICK_SESSION, **section}
    state = {"directory": str(directory / "state"), "interval": "500ms"}
    return settings(section, directory, **{"registry": registry, "state": state, **changes})


def decoded(registry: Registry, bootstrap: str, topic: str) -> list[dict[str, Any]]:
    """Alerts as a stranger reads them: fastavro, by the schema that the registry has for the id."""
    found = []
    for record in consume_all(bootstrap, topic):
        assert record.value[:1] == b"\0"
        assert dict(record.headers)["content-type"] == b"application/avro"
        answer = registry.ask(f"/schemas/ids/{int.from_bytes(record.value[1:5], 'big')}")
        schema = fastavro.parse_schema(json.loads(answer["schema"]))
        found.append(fastavro.schemaless_reader(io.BytesIO(record.value[5:]), schema, None))
    return found


def told(alerts: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """What depends neither on a topic's name nor on how alerts are written."""
    names = [
        (each["event_id"], each["score"], each["threshold"], each["receipt"]["state"])
        for each in alerts
    ]
    events = [json.loads(e) if isinstance(e := a["event"], str) else e for a in alerts]
    return list(zip(names, events, strict=True))


@pytest.fixture(scope="module")
def expected(kafka, tmp_path_factory) -> list[tuple[Any, ...]]:
    """The alerts as JSON, undisturbed."""
    directory = tmp_path_factory.mktemp("json")
    section = topics(kafka.bootstrap, PARTITIONS)
    produce(kafka.bootstrap, section["topics"][0], messages(records(EVENTS), PARTITIONS))
    with DaemonProcess(directory, settings(section, directory)) as daemon:
        daemon.wait_ready().wait_worked_off()
        assert daemon.stop() == 0, daemon.text()
    found = told(alerts_in(kafka.bootstrap, section["alerts"]))
    assert len(found) > 10
    return found


def test_kills_lose_and_double_no_alert_and_a_replay_needs_no_registry(
    kafka, registry: Registry, expected, tmp_path
):
    section = topics(kafka.bootstrap, PARTITIONS)
    config = configured(section, tmp_path, {"url": registry.url})
    some = messages(records(EVENTS), PARTITIONS)
    daemon = work_off_through_kills(tmp_path, config, some)
    assert told(decoded(registry, kafka.bootstrap, section["alerts"])) == expected
    found = verify(daemon.config)
    assert (found["events"], found["alerts_found"]) == (EVENTS, len(expected))
    assert (found["lost"], found["doubled"], found["differing"]) == (0, 0, 0)
    versions = registry.ask(f"/subjects/{section['alerts']}-value/versions")
    assert versions == [1]

    # Back to JSON, with a topic that holds both: what was written stays what it was.
    with DaemonProcess(tmp_path, settings({**section}, tmp_path, registry={"url": NOWHERE})) as one:
        later = messages(records(EVENTS, seed=5), PARTITIONS)
        produce(kafka.bootstrap, section["topics"][0], later)
        one.wait_ready().wait_processed(EVENTS)
        assert one.stop() == 0, one.text()
    first = {record.value[:1] for record in consume_all(kafka.bootstrap, section["alerts"])}
    assert first == {b"\0", b"{"}
    found = verify(one.config)
    assert found["events"] == 2 * EVENTS
    assert found["alerts_found"] > len(expected)
    path = tmp_path / "read.yaml"
    path.write_text(yaml.safe_dump({**config, "metrics": {"port": 0}}))
    shown = call("alerts", str(path), "--from-beginning", "--json",
                 "--count", str(found["alerts_found"]))  # fmt: skip
    lines = [json.loads(line) for line in shown.stdout.splitlines()]
    assert told(lines)[: len(expected)] == expected
    readable = call("alerts", str(path), "--from-beginning", "--count", "3").stdout
    assert "not an alert" not in readable
    assert readable.count("threshold") == 3


def test_an_alert_in_avro_is_labelled_when_its_event_is_gone(kafka, registry: Registry, tmp_path):
    section = with_labels(kafka.bootstrap)
    labels = {"delay": "1h"}
    config = configured(section, tmp_path, {"url": registry.url}, labels=labels)
    source = section["topics"][0]
    produce(kafka.bootstrap, source, messages(records(900), 1))
    with DaemonProcess(tmp_path, config) as daemon:
        daemon.wait_ready().wait_worked_off()
        assert daemon.stop() == 0, daemon.text()
    alert = decoded(registry, kafka.bootstrap, section["alerts"])[0]
    with admin_client(kafka.bootstrap) as admin:
        admin.delete_records({Place(source, 0): 900})
    done = run("label", str(daemon.config), alert["id"], "fraud")
    assert done.returncode == 0, done.stderr
    said = [(0, {"event_id": alert["event_id"], "label": "fraud"})]
    assert labels_in(kafka.bootstrap, section["labels"]) == said


# --- the start -----------------------------------------------------------------------------------


def test_a_registry_that_is_down_at_the_start_is_waited_for_and_named(kafka, tmp_path):
    section = topics(kafka.bootstrap)
    config = configured(section, tmp_path, {"url": NOWHERE, "wait": "300ms"})
    with DaemonProcess(tmp_path, config) as daemon:
        assert daemon.wait() == 3
        assert f"waiting: the schema registry at {NOWHERE}" in daemon.text()
        assert f"no schema of alerts after 0.3 s: the schema registry at {NOWHERE}" in daemon.text()
    assert consume_all(kafka.bootstrap, section["alerts"]) == []


def test_a_schema_that_the_subject_refuses_is_said_at_once_with_what_to_do(
    kafka, registry: Registry, tmp_path
):
    section = topics(kafka.bootstrap)
    subject = f"{section['alerts']}-value"
    registry.register(subject, OTHERS)
    registry.demand(subject, "BACKWARD")
    config = configured(section, tmp_path, {"url": registry.url})
    with DaemonProcess(tmp_path, config) as daemon:
        assert daemon.wait() == 3
        assert f"the schema of alerts is refused under the subject {subject}" in daemon.text()
        assert "Incompatible" in daemon.text()
        assert "give kafka.alerts a topic of its own" in daemon.text()
    found = call("check", str(daemon.config), "--connect")
    assert found.returncode == 3
    assert f"{subject}: the schema of alerts is not compatible with id" in found.stdout


def test_what_may_not_be_registered_is_waited_for_until_somebody_has(
    kafka, registry: Registry, tmp_path
):
    section = topics(kafka.bootstrap)
    subject = f"{section['alerts']}-value"
    produce(kafka.bootstrap, section["topics"][0], messages(records(900), 1))
    config = configured(section, tmp_path, {"url": registry.url, "register_alerts": False})
    with DaemonProcess(tmp_path, config) as daemon:
        wait_until(lambda: "waiting: the registry has it not under" in daemon.text(), "the wait")
        assert f"under the subject {subject}: register docs/alert.avsc there" in daemon.text()
        missing = call("check", str(daemon.config), "--connect")
        assert missing.returncode == 3
        assert f"{subject}: the registry does not have the schema of alerts" in missing.stdout
        registry.register(subject, PUBLISHED.read_text())  # with its blanks
        daemon.wait_ready().wait_worked_off()
        assert daemon.stop() == 0, daemon.text()
    assert len(decoded(registry, kafka.bootstrap, section["alerts"])) > 0
    assert registry.ask(f"/subjects/{subject}/versions") == [1]


@pytest.mark.parametrize(
    ("given", "said"),
    [(5, "which is of another schema"), (0, "without an id"), (9, "Schema not found")],
)
def test_a_registry_that_lies_about_the_id_is_found_out(kafka, tmp_path, given, said):
    section = topics(kafka.bootstrap)
    secret = "a-secret-of-the-registry"
    with fake_registry() as fake:
        fake.avro(5, OTHERS)
        fake.given = given
        login = {"url": fake.url, "token": secret, "wait": "200ms"}
        with DaemonProcess(tmp_path, configured(section, tmp_path, login)) as daemon:
            assert daemon.wait() == 3
            assert said in daemon.text()
            assert secret not in daemon.text()
        assert fake.headers["Authorization"] == f"Bearer {secret}"


def test_check_says_what_the_registry_has_under_the_subject(kafka, registry: Registry, tmp_path):
    section = topics(kafka.bootstrap)
    subject = f"{section['alerts']}-value"
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(configured(section, tmp_path, {"url": registry.url})))

    def checked() -> str:
        done = call("check", str(path), "--connect")
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert f"{subject} " in (out := checked())
    assert "not there yet: the daemon registers it" in out
    registry.register(subject, OTHERS)
    assert "takes ours: the daemon registers it" in checked()
    number = registry.register(subject, ALERT_SCHEMA)
    registry.demand(subject, "FULL_TRANSITIVE")
    assert f"avro, ours has the id {number}, compatibility FULL_TRANSITIVE" in checked()
    # Only looked at: nothing was registered by it.
    assert registry.ask(f"/subjects/{subject}/versions") == [1, 2]
    path.write_text(yaml.safe_dump(configured(section, tmp_path, {"url": NOWHERE})))
    done = call("check", str(path), "--connect")
    assert done.returncode == 3
    assert f"registry.url: the schema registry at {NOWHERE}" in done.stdout


@pytest.mark.parametrize(
    ("registry", "said"),
    [(None, "kafka.alerts_format avro needs `registry`"),
     ({"url": "http://x", "framing": "apicurio"}, "needs registry.framing confluent")],
)  # fmt: skip
def test_a_configuration_without_what_it_needs_is_explained(tmp_path, registry, said):
    section = {
        "bootstrap_servers": "x:1", "topics": ["e"], "group": "g", "alerts": "a",
        "dead_letters": "d", "alerts_format": "avro",
    }  # fmt: skip
    path = tmp_path / "config.yaml"
    changes = {"registry": registry} if registry else {}
    path.write_text(yaml.safe_dump(settings(section, tmp_path, **changes)))
    done = call("check", str(path))
    assert done.returncode == 2
    assert said in done.stderr
