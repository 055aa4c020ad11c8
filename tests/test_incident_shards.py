"""Incidents of several shards on one topic: no id of one shard is that of another."""

from __future__ import annotations

import json
from pathlib import Path

from kafka_broker.clients import Message, consume_all, produce
from support.process import DaemonProcess, alerts_in
from test_docs import VALIDATOR
from test_incident_daemon import WRONG, config_of, named
from test_state_verify import verify
from test_ticks import events

from stream_detector.config import FieldPlan, state_fingerprint
from stream_detector.config.loading.load import parse
from stream_detector.decoding import Decoder
from stream_detector.events import PlainRecord, TopicPartition
from stream_detector.pipeline import PipelineCore

HOUR = 3_600_000
BEGIN = 1_600_000_000_000
SMALL = {"bucket": "15m", "season": "none", "widths": [1, 2]}
MONITORS = [
    {"kind": "rate", "name": "all", **SMALL},
    {"kind": "rate", "name": "users", "key": "user", **SMALL},
    {"kind": "silence", "name": "silent", "season": "none"},
    {"kind": "new_value", "name": "kinds", "key": "user", "field": "kind", "after": 50},
]


def outage() -> list[PlainRecord]:
    """A day of events of which an hour is missing; every user then has a value that is new."""
    some = [
        one
        for one in events(BEGIN, BEGIN + 24 * HOUR, 0.012)
        if not BEGIN + 18 * HOUR < (one.timestamp or 0) < BEGIN + 19 * HOUR
    ]
    at = next(n for n, one in enumerate(some) if (one.timestamp or 0) > BEGIN + 22 * HOUR)
    for n in range(at, at + 20):
        body = json.loads(some[n].value or b"") | {"kind": "never seen"}
        some[n] = some[n]._replace(value=json.dumps(body).encode())
    return some


def ids_of(shards: int, partition: int) -> tuple[list[str], list[str]]:
    """Ids of the alerts of monitors, and of the incidents, that a partition's shard writes."""
    settings = config_of({"alerts": "a", "dead_letters": "d"}, Path("unused"))
    settings = {name: settings[name] for name in settings if name not in ("kafka", "metrics")}
    text = {**settings, "monitors": MONITORS, "processing": {"shards": shards}}
    config = parse(json.dumps(text), "test.yaml", {}).config
    core = PipelineCore(config, state_fingerprint(config))
    records = [one._replace(offset=at) for at, one in enumerate(outage())]
    source = TopicPartition("events", partition)
    decoder = Decoder(config, FieldPlan.of(config))
    outcome = core.process(decoder.decode(source, records))
    outcome_of_tick = core.tick(BEGIN + 48 * HOUR, partition % shards)
    alerts, bodies = [], []
    for one in (outcome, outcome_of_tick):
        alerts += [json.loads(alert.value or b"") for alert in one.alerts]
        bodies += list(one.incident_bodies)
    for alert in alerts:
        VALIDATOR.validate(alert)
    monitored = [alert["id"] for alert in alerts if alert["receipt"]["features"] == []]
    return monitored, list(dict.fromkeys(body["id"] for body in bodies))


def test_two_shards_that_find_the_same_at_once_give_it_different_ids() -> None:
    (first, opened), (second, also_opened) = ids_of(2, 0), ids_of(2, 3)
    assert len(first) == len(second) > 6
    assert {one.split(":")[0] for one in first} == {"rate", "silence", "new_value"}
    assert not set(first) & set(second)
    assert [one.removesuffix(":shard-0") for one in first] == [
        one.removesuffix(":shard-1") for one in second
    ]
    assert any(one.endswith(":shard-0") for one in opened), "an incident that a monitor begins"
    assert not set(opened) & set(also_opened)
    assert ids_of(2, 2)[0] == first, "a shard's partitions share its monitors"


def test_of_one_shard_ids_are_as_they_were() -> None:
    alerts, incidents = ids_of(1, 0)
    assert not [one for one in (*alerts, *incidents) if ":shard-" in one]


def test_on_one_topic_no_shard_writes_over_the_incidents_of_another(kafka, tmp_path: Path) -> None:
    """Both partitions have the same events, so both shards find the same at the same times."""
    section = named(kafka, 2)
    twins = [
        Message(one.value, partition, b"k", one.timestamp)
        for one in outage()
        for partition in range(2)
    ]
    config = config_of(
        section,
        tmp_path,
        monitors=MONITORS,
        processing={"shards": 2, "max_poll_records": 200, "commit_interval": "100ms"},
        state={"directory": str(tmp_path / "state"), "interval": "1s"},
    )
    half = len(twins) // 2
    with DaemonProcess(tmp_path, config) as daemon:
        daemon.wait_ready()
        produce(kafka.bootstrap, section["topics"][0], twins[:half])
        daemon.wait_worked_off()
        daemon.kill()  # what was begun before goes on under its id
        daemon.start().wait_ready()
        produce(kafka.bootstrap, section["topics"][0], twins[half:])
        daemon.wait_worked_off()
        assert daemon.stop() == 0, daemon.text()
    bodies = [
        (one.key, json.loads(one.value))
        for one in consume_all(kafka.bootstrap, section["incidents"])
    ]
    shards: dict[str, set[int]] = {}
    revisions: dict[str, list[int]] = {}
    for key, body in bodies:
        assert key == body["id"].encode()
        receipt = body["receipt"]
        shards.setdefault(body["id"], set()).add(receipt.get("shard", receipt.get("partition")))
        revisions.setdefault(body["id"], []).append(body["revision"])
    assert all(len(each) == 1 for each in shards.values()), shards
    assert all(each == list(range(1, len(each) + 1)) for each in revisions.values()), revisions
    begun = [one for one in shards if one.endswith((":shard-0", ":shard-1"))]
    assert len({shard for one in begun for shard in shards[one]}) == 2
    alerts = [alert["id"] for alert in alerts_in(kafka.bootstrap, section["alerts"])]
    assert len(alerts) == len(set(alerts))
    code, found = verify(daemon.config)
    assert code == 0, found
    for each in found:
        assert [each[name] for name in WRONG] == [0] * len(WRONG), each["details"]
