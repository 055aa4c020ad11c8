"""`stream-detector label` against a real broker: looked up, written, confirmed, read back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest
import yaml
from kafka import TopicPartition as Place
from kafka_broker.clients import (
    Message,
    admin_client,
    consume_all,
    create_topic,
    produce,
    unique_name,
)
from support.commands import run
from support.process import DaemonProcess, alerts_in, wait_until
from support.streams import records
from test_daemon import messages, settings, topics

from stream_detector.config import FieldPlan
from stream_detector.config.loading.load import parse
from stream_detector.config.models.config import KafkaConfig
from stream_detector.connectors.kafka.writing.labels import write_label
from stream_detector.decoding import LabelDecoder
from stream_detector.errors import ConfigurationError, ConnectorError
from stream_detector.events import PlainRecord, TopicPartition

LABELS: dict[str, Any] = {"labels": {"delay": "1h"}}
TOKEN = "canary-token-0123456789"


def with_labels(bootstrap: str, partitions: int = 1) -> dict[str, Any]:
    labels = create_topic(bootstrap, unique_name("labels"), partitions, {})
    return {**topics(bootstrap, partitions), "labels": labels}


def write(tmp_path: Path, section: dict[str, Any], **changes: Any) -> str:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(settings(section, tmp_path, **{**LABELS, **changes})))
    return str(path)


def labels_in(bootstrap: str, topic: str) -> list[tuple[int, dict[str, Any]]]:
    return [(r.partition, json.loads(r.value)) for r in consume_all(bootstrap, topic)]


@pytest.mark.parametrize("partitions", [1, 3])
def test_an_alert_is_labelled_by_its_id(kafka, tmp_path: Path, partitions: int) -> None:
    section = with_labels(kafka.bootstrap, partitions)
    source = section["topics"][0]
    produce(kafka.bootstrap, source, messages(records(50), partitions))
    config = write(tmp_path, section)
    last = consume_all(kafka.bootstrap, source)[-1]
    alert = f"{source}-{last.partition}-{last.offset}"
    event_id = json.loads(last.value)["id"]
    done = run("label", config, alert, "fraud")
    assert done.returncode == 0, done.stderr
    assert f"event {event_id} is labelled fraud ({section['labels']}" in done.stdout
    again = run("label", config, alert, "0", "--time", "2026-05-01T10:00:00Z")
    assert again.returncode == 0, again.stderr
    found = labels_in(kafka.bootstrap, section["labels"])
    assert found == [
        (last.partition, {"event_id": event_id, "label": "fraud"}),
        (
            last.partition,
            {"event_id": event_id, "label": "normal", "time": "2026-05-01T10:00:00+00:00"},
        ),
    ]
    # The daemon reads what was written as it was meant.
    parsed = parse(Path(config).read_text(), "f", {}).config
    assert parsed.labels is not None
    decoder = LabelDecoder(parsed.labels, FieldPlan.of(parsed))
    batch = decoder.decode(
        TopicPartition("labels", 0),
        [PlainRecord(n, 5, None, json.dumps(body).encode()) for n, (_, body) in enumerate(found)],
    )
    assert batch.label.tolist() == [1.0, 0.0]
    assert batch.event_id.tolist() == [event_id, event_id]


def test_an_alert_whose_event_was_deleted_is_found_among_the_alerts(kafka, tmp_path: Path) -> None:
    section = with_labels(kafka.bootstrap)
    source = section["topics"][0]
    produce(kafka.bootstrap, source, messages(records(5), 1))
    body = {"id": f"{source}-0-2", "event_id": "e-old", "detector": "d"}
    others = [{"id": f"{source}-0-{n}", "event_id": f"e{n}"} for n in (1, 22, 3)]
    values = [json.dumps(each, separators=(",", ":")).encode() for each in (others[0], body)]
    values += [b"not json", json.dumps(others[1], separators=(",", ":")).encode()]
    produce(kafka.bootstrap, section["alerts"], [Message(value) for value in values])
    with admin_client(kafka.bootstrap) as admin:
        admin.delete_records({Place(source, 0): 4})
    config = write(tmp_path, section)
    done = run("label", config, f"{source}-0-2", "fraud")
    assert done.returncode == 0, done.stderr
    found = labels_in(kafka.bootstrap, section["labels"])
    assert found == [(0, {"event_id": "e-old", "label": "fraud"})]
    gone = run("label", config, f"{source}-0-3", "fraud")
    assert gone.returncode == 3
    assert "has deleted the event" in gone.stderr


def test_what_cannot_be_labelled_is_said_clearly(kafka, tmp_path: Path) -> None:
    section = with_labels(kafka.bootstrap)
    source = section["topics"][0]
    produce(kafka.bootstrap, source, [*messages(records(2), 1), Message(b"broken")])
    config = write(tmp_path, section)
    cases = [
        ((config, f"{source}-0-0", "froud"), 2, "'froud' is no label: say fraud or normal"),
        ((config, "other-0-0", "fraud"), 2, "is no id of an alert here"),
        ((config, f"{source}-0-x", "fraud"), 2, "is no id of an alert here"),
        ((config, f"{source}-0-9", "fraud"), 3, "ends at offset 3: there is no 9 yet"),
        ((config, f"{source}-7-0", "fraud"), 3, "there is no partition"),
        ((config, f"{source}-0-2", "fraud"), 2, "is a bad record"),
        ((config, f"{source}-0-0", "fraud", "--time", "soon"), 2, "--time soon"),
        ((config, f"{source}-0-0", "fraud", "--time", "2026-05-01T10:00"), 2, "say the zone"),
        (
            (config, f"{source}-0-0", "fraud", "--set", "kafka.labels=absent"),
            3,
            "the topic absent does not exist: create it first",
        ),
    ]
    for arguments, code, message in cases:
        done = run("label", *arguments)
        assert (done.returncode, message in done.stderr) == (code, True), (arguments, done.stderr)
        assert "Traceback" not in done.stderr
    assert labels_in(kafka.bootstrap, section["labels"]) == []
    bare = {name: value for name, value in section.items() if name != "labels"}
    without = write(tmp_path, bare, labels=None)
    done = run("label", without, f"{source}-0-0", "fraud")
    assert done.returncode == 2
    assert "kafka.labels" in done.stderr


def test_with_shards_a_label_goes_to_the_partition_of_its_event(kafka, tmp_path: Path) -> None:
    section = with_labels(kafka.bootstrap, 4)
    made = KafkaConfig(**section)
    partition, _ = write_label(made, "e1", "fraud", partition=3, shards=2)
    assert partition == 3
    with pytest.raises(ConfigurationError, match="needs the partition of its event"):
        write_label(made, "e1", "fraud", partition=None, shards=2)
    with pytest.raises(ConfigurationError, match="has 4 partitions and the event lies in 4"):
        write_label(made, "e1", "fraud", partition=4, shards=2)
    assert [p for p, _ in labels_in(kafka.bootstrap, section["labels"])] == [3]


def test_a_broker_that_does_not_answer_is_given_up_in_time(
    broker_factory: Callable[..., Any], tmp_path: Path
) -> None:
    broker = broker_factory()
    section = with_labels(broker.bootstrap)
    made = KafkaConfig(**section, request_timeout="2s")
    assert write_label(made, "e1", "fraud", partition=0) == (0, 0)
    # The limit of the test is the assertion: the client itself would wait for ever.
    with broker.paused(), pytest.raises(ConnectorError):
        write_label(made, "e1", "fraud", partition=0)


def test_the_page_of_a_running_daemon_takes_a_label(kafka, tmp_path: Path) -> None:
    section = with_labels(kafka.bootstrap)
    produce(kafka.bootstrap, section["topics"][0], messages(records(3000), 1))
    config = settings(
        section,
        tmp_path,
        **LABELS,
        metrics={"port": 0, "label_token": "${LABEL_TOKEN}"},
    )
    environment = {"LABEL_TOKEN": TOKEN}
    with DaemonProcess(tmp_path, config, environment=environment) as daemon:
        daemon.wait_ready().wait_processed(3000)
        alert = wait_until(
            lambda: alerts_in(kafka.bootstrap, section["alerts"]), "an alert", every=0.5
        )[-1]
        wait_until(lambda: alert["id"] in daemon.get("/")[1], "the alert on the page")
        body = urlencode({"alert": alert["id"], "label": "fraud", "token": TOKEN}).encode()
        request = Request(daemon.url() + "/label", body, {"Origin": daemon.url()})
        with urlopen(request, timeout=20) as answer:
            page = answer.read().decode()
        assert f"{alert['id']} is labelled fraud" in page
        found = labels_in(kafka.bootstrap, section["labels"])
        assert found == [(0, {"event_id": alert["event_id"], "label": "fraud"})]
        wait_until(lambda: daemon.metric("labels_total") == 1, "the label to be taken in")
        assert TOKEN not in daemon.text() + page + daemon.get("/metrics")[1]
        assert daemon.stop() == 0
