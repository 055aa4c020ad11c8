"""Incidents beside a real broker: one transaction with the alerts, whatever ends the process."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer
from kafka.admin import ConfigResource, ConfigResourceType
from kafka_broker.clients import admin_client, consume_all, create_topic, produce, unique_name
from support.process import DaemonProcess, wait_until
from support.streams import records
from test_daemon import messages, settings, topics
from test_state_verify import verify
from test_ticks import events

from stream_detector.journal import decode

EVENTS = 4000
SECTION = {"group_wait": "2m", "quiet": "20m"}
POINTS = ("mid_produce", "after_flush", "after_offsets", "after_commit", "snap_tmp", "snap_renamed")
KEPT = {"cleanup.policy": "compact", "min.compaction.lag.ms": str(10**12)}
BAD = b'{"id": 1'
WRONG = ("lost", "doubled", "differing", "gaps", "fingerprint_mismatches", "compacted")


def named(kafka: Any, partitions: int) -> dict[str, Any]:
    """Fresh topics; of that of incidents nothing is compacted while somebody looks."""
    incidents = create_topic(kafka.bootstrap, unique_name("incidents"), 1, KEPT)
    quick = {"session_timeout_ms": 1500, "heartbeat_interval_ms": 300}
    return {**topics(kafka.bootstrap, partitions), "incidents": incidents, "consumer": quick}


def config_of(section: dict[str, Any], directory: Path, **changes: Any) -> dict[str, Any]:
    monitors = [{"kind": "rate", "name": "users", "key": "user", "bucket": "10m"}]
    return settings(section, directory, **{"monitors": monitors, "incidents": SECTION, **changes})


def outputs(bootstrap: str, section: dict[str, Any]) -> list[list[tuple[Any, ...]]]:
    """Alerts, incidents and dead letters, byte for byte and in order."""
    kinds = ("alerts", "incidents", "dead_letters")
    return [
        [(each.key, each.value, tuple(each.headers)) for each in consume_all(bootstrap, section[k])]
        for k in kinds
    ]


def journal_of(bootstrap: str, section: dict[str, Any]) -> tuple[dict[int, int], int, str]:
    """Where its ranges, which join, end; events, and the last fingerprint."""
    ends: dict[int, int] = {}
    last = None
    for each in consume_all(bootstrap, f"{section['group']}-journal"):
        last = decode(each.value)
        for one in last.ranges():
            assert ends.get(one.source.partition, 0) == one.start
            ends[one.source.partition] = one.end
    assert last is not None
    return ends, last.sequence, last.fingerprint


@pytest.fixture(scope="module")
def whole(kafka, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, ...]:
    """An input, and what a run without faults makes of it."""
    directory = tmp_path_factory.mktemp("whole")
    section = named(kafka, 4)
    stream = messages(records(EVENTS), 4)
    stream[500::500] = [replace(one, value=BAD) for one in stream[500::500]]
    produce(kafka.bootstrap, section["topics"][0], stream)
    with DaemonProcess(directory, config_of(section, directory)) as daemon:
        daemon.wait_ready().wait_processed(EVENTS).wait_worked_off()
        assert daemon.stop() == 0, daemon.text()
    return section, outputs(kafka.bootstrap, section), journal_of(kafka.bootstrap, section)


def again(kafka: Any, section: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The same input for another group, with outputs of its own."""
    new = named(kafka, 1)
    own = {name: new[name] for name in ("group", "alerts", "incidents", "dead_letters")}
    return {**section, **own, **changes}


def test_kills_at_every_failpoint_change_no_byte_on_any_topic(
    kafka, whole: tuple[Any, ...], tmp_path: Path
) -> None:
    section, expected, journal = whole
    mine = again(kafka, section)
    processing = {"max_poll_records": 40, "commit_interval": "50ms"}
    state = {"directory": str(tmp_path / "state"), "interval": "200ms"}
    config = config_of(mine, tmp_path, processing=processing, state=state)
    for point in POINTS:
        armed = {"FAILPOINT": f"{point}:2"}
        with DaemonProcess(tmp_path, config, environment=armed, name=point) as killed:
            assert killed.wait(120) == -9, killed.text()
    with DaemonProcess(tmp_path, config) as daemon:
        daemon.wait_ready().wait_worked_off()
        assert daemon.stop() == 0, daemon.text()
    found = outputs(kafka.bootstrap, mine)
    assert [len(each) for each in found] == [len(each) for each in expected]
    assert found == expected
    assert min(len(each) for each in expected[:2]) > 20
    assert journal_of(kafka.bootstrap, mine) == journal
    code, answer = verify(daemon.config)
    (answer,) = answer
    assert code == 0, answer
    assert [answer[name] for name in WRONG] == [0] * len(WRONG), answer["details"]
    assert answer["incidents_expected"] == answer["incidents_found"] == len(expected[1])


def test_at_least_once_writes_the_same_incidents_maybe_twice(
    kafka, whole: tuple[Any, ...], tmp_path: Path
) -> None:
    section, expected, _ = whole
    mine = again(kafka, section, delivery="at_least_once")
    config = config_of(mine, tmp_path, processing={"max_poll_records": 50})
    with DaemonProcess(tmp_path, config) as daemon:
        for _ in range(2):
            daemon.wait_ready().wait_processed(1000)
            daemon.kill()
            daemon.start()
        daemon.wait_ready().wait_worked_off()
        assert daemon.stop() == 0, daemon.text()
    assert list(dict.fromkeys(outputs(kafka.bootstrap, mine)[1])) == expected[1]


def test_the_topic_is_made_compacted_where_it_is_missing(kafka, tmp_path: Path) -> None:
    section = {**topics(kafka.bootstrap), "incidents": unique_name("made")}
    with DaemonProcess(tmp_path, config_of(section, tmp_path)) as daemon:
        daemon.wait_ready()
        assert daemon.stop() == 0, daemon.text()
    with admin_client(kafka.bootstrap) as admin:
        resource = ConfigResource(ConfigResourceType.TOPIC, section["incidents"])
        told = json.dumps(admin.describe_configs([resource]), default=str)
    assert "compact" in told


def test_what_compaction_has_removed_is_not_missed(
    kafka, whole: tuple[Any, ...], tmp_path: Path
) -> None:
    """Of an incident the last message is left: as after a compaction, which takes long to come."""
    section, expected, _ = whole
    bootstrap = kafka.bootstrap
    last = {key: (key, value, headers) for key, value, headers in expected[1]}
    left = create_topic(bootstrap, unique_name("left"), 1, KEPT)
    gone = create_topic(bootstrap, unique_name("gone"), 1, KEPT)
    kept = [message for message in expected[1] if last[message[0]] == message]
    _write(bootstrap, left, kept)
    _write(bootstrap, gone, kept[:-1])
    # No snapshot is needed: the journal reaches back to the beginning.
    of_last = [key for key, *_ in expected[1]].count(kept[-1][0])
    for topic, lost in ((left, 0), (gone, of_last)):
        changed = config_of({**section, "incidents": topic}, tmp_path)
        daemon = DaemonProcess(tmp_path, changed, name=topic)
        code, (found,) = verify(daemon.config)
        assert (code, found["lost"]) == (int(lost > 0), lost), found["details"]
        assert found["compacted"] > 0
        assert found["compacted"] + lost + found["incidents_found"] == len(expected[1])


def _write(bootstrap: str, topic: str, some: list[tuple[Any, ...]]) -> None:
    producer = KafkaProducer(bootstrap_servers=bootstrap)
    for key, value, headers in some:
        producer.send(topic, value, key, list(headers))
    producer.flush(10)
    producer.close(timeout=5)


def test_incidents_may_be_turned_on_and_changed_between_two_runs(kafka, tmp_path: Path) -> None:
    section = named(kafka, 2)
    stream = messages(records(3000), 2)
    without = {name: value for name, value in section.items() if name != "incidents"}
    runs = ((without, None), (section, SECTION), (section, {**SECTION, "quiet": "30m"}))
    for number, (kafka_section, incidents) in enumerate(runs):
        produce(kafka.bootstrap, section["topics"][0], stream[1000 * number : 1000 * number + 1000])
        config = config_of(kafka_section, tmp_path, incidents=incidents)
        with DaemonProcess(tmp_path, config, name=f"run{number}") as daemon:
            daemon.wait_ready().wait_worked_off()
            assert daemon.stop() == 0, daemon.text()
            last = daemon.config
    assert outputs(kafka.bootstrap, section)[1]
    code, (found,) = verify(last)
    assert code == 0, found
    assert found["incidents_expected"] == found["incidents_found"] > 0


def test_where_nothing_arrives_ticks_end_an_incident(kafka, tmp_path: Path) -> None:
    section = named(kafka, 2)
    config = config_of(
        section,
        tmp_path,
        monitors=[],
        incidents={"group_wait": "1s", "quiet": "3s", "longest_quiet": "3s"},
        threshold={"budget": "2 %", "burn_in": 300},
        processing={"commit_interval": "100ms", "tick": "500ms"},
    )

    def ticked() -> set[str]:
        values = [each.value for each in consume_all(kafka.bootstrap, section["incidents"])]
        bodies = [json.loads(value) for value in values]
        return {body["state"] for body in bodies if "tick" in body["receipt"]}

    # All is there before the daemon starts: what it finds in part, it would take for late.
    now = round(time.time() * 1000)
    some = events(now - 600_000, now, 8)
    strange = {**json.loads(some[-1].value or b""), "amount": 1e9}
    some[-1] = some[-1]._replace(value=json.dumps(strange).encode())
    produce(kafka.bootstrap, section["topics"][0], messages(some, 2))
    with DaemonProcess(tmp_path, config) as daemon:
        wait_until(lambda: ticked() == {"open", "resolved"}, "ticks to open and end an incident")
        assert daemon.metric("ticks_total") > 0
        assert daemon.stop() == 0, daemon.text()
    code, (found,) = verify(daemon.config)
    assert code == 0, found


def test_the_command_lists_shows_and_follows(kafka, whole: tuple[Any, ...], tmp_path: Path) -> None:
    section, expected, _ = whole
    bodies = [json.loads(value) for _, value, _ in expected[1]]
    last = {body["id"]: body for body in bodies}
    path = DaemonProcess(tmp_path, config_of(section, tmp_path)).config

    def call(*words: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "stream_detector", "incidents", str(path), *words]
        ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        return ran.returncode, ran.stdout + ran.stderr

    code, text = call("--all", "--json")
    assert code == 0
    assert {json.loads(line)["id"] for line in text.splitlines()} == last.keys()
    is_open = {key for key, body in last.items() if body["state"] != "resolved"}
    code, text = call("--json")
    assert {json.loads(line)["id"] for line in text.splitlines()} == is_open
    wanted = max(bodies, key=lambda body: body["revision"])["id"]
    code, text = call("show", wanted)
    assert code == 0
    assert text.count(wanted) == 1
    assert "what happened:" in text
    code, text = call("show", wanted, "--json")
    assert [json.loads(line) for line in text.splitlines()] == [
        body for body in bodies if body["id"] == wanted
    ]
    assert call("show", "none")[0] == 1
    assert call("show")[0] == 2
    assert call("list", wanted)[0] == 2
