"""Rules, monitors and incidents in one daemon: kills at every failpoint change no byte anywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kafka_broker.clients import Message, consume_all, create_topic, produce, unique_name
from support.process import DaemonProcess, alerts_in, wait_until
from support.streams import records
from test_daemon import messages, settings
from test_incident_daemon import KEPT, WRONG, named
from test_rules_daemon import added
from test_state_verify import verify

EVENTS = 3000
BEFORE = 1600
"""Events before anybody has seen an incident and says something of it."""

KINDS = ("alerts", "incidents", "dead_letters", "rules")
BEGINNING = ("acted:1", "mid_produce:1", "after_offsets:1", "snap_renamed:1")
AFTERWARDS = ("acted:2", "after_flush:1", "after_commit:2", "in_replay:1")
PORTION = 300
MONITORS = [{"kind": "rate", "name": "users", "key": "user", "bucket": "10m"}]
RULES = [
    added("large", 20_000.0, 1e9),
    added("middle", 2_000.0, 19_999.0),
    Message(b"\xff no act", 0, b"rule:broken", None),
]


def section_of(kafka: Any, source: str) -> dict[str, Any]:
    """Topics of a group's own beside an input that several read."""
    section = {**named(kafka, 1), "topics": [source]}
    rules = create_topic(kafka.bootstrap, unique_name("rules"), 1, KEPT)
    produce(kafka.bootstrap, rules, RULES)
    return {**section, "rules": rules}


def config_of(section: dict[str, Any], directory: Path) -> dict[str, Any]:
    return settings(
        section,
        directory,
        monitors=MONITORS,
        incidents={"group_wait": "2m", "quiet": "3h"},
        processing={"commit_interval": "50ms", "max_poll_records": 50},
        state={"directory": str(directory / "state"), "interval": "500ms"},
        labels={"field": "label", "delay": "1h"},
    )


def written(bootstrap: str, section: dict[str, Any]) -> dict[str, list[tuple[Any, ...]]]:
    """Each topic, byte for byte and in order; but an act by its key.

    An act's offset counts the marks of transactions too: how many there are depends on where
    commits are cut, which promises nothing.
    """
    acts = {one.offset: one.key for one in consume_all(bootstrap, section["rules"])}
    found = {
        kind: [
            (one.key, one.value, tuple(one.headers))
            for one in consume_all(bootstrap, section[kind])
        ]
        for kind in KINDS
    }
    found["incidents"] = [
        (key, _by_key(value, acts), headers) for key, value, headers in found["incidents"]
    ]
    return found


def _by_key(value: bytes, acts: dict[int, bytes]) -> bytes:
    offset = json.loads(value)["receipt"].get("act")
    if offset is None:
        return value
    told = b'"act":%d,' % offset
    assert value.count(told) == 1
    return value.replace(told, b'"act":"%s",' % acts[offset])


def bodies(bootstrap: str, section: dict[str, Any]) -> list[dict[str, Any]]:
    return [json.loads(one.value) for one in consume_all(bootstrap, section["incidents"])]


def words(open_ids: list[str]) -> list[Message]:
    """What people say of open incidents, and a rule more."""
    said = {"version": 1, "owner": "Ada", "why": "looked at"}
    acts = [
        {**said, "act": "acknowledge", "incident": open_ids[0]},
        {**said, "act": "snooze", "incident": open_ids[-1], "until": "2020-10-01T00:00:00Z"},
    ]
    made = [
        Message(json.dumps(act).encode(), 0, f"incident:{n}".encode()) for n, act in enumerate(acts)
    ]
    return [*made, added("later", 500.0, 1_999.0)]


def worked_off(directory: Path, config: dict[str, Any], name: str) -> DaemonProcess:
    """Run until all is worked off; the daemon, which has ended."""
    with DaemonProcess(directory, config, name=name) as daemon:
        daemon.wait_ready().wait_worked_off()
        assert daemon.stop() == 0, daemon.text()
    return daemon


def test_kills_at_every_failpoint_change_no_byte_of_alerts_incidents_dead_letters_and_rules(
    kafka, tmp_path: Path
) -> None:
    bootstrap, source = kafka.bootstrap, named(kafka, 2)["topics"][0]
    stream = messages(records(EVENTS), 2)
    for at in range(333, EVENTS, 333):
        stream[at] = Message(b'{"id": 1', stream[at].partition, b"k")
    wild, calm = section_of(kafka, source), section_of(kafka, source)
    config = config_of(wild, tmp_path / "wild")
    sent = 0

    def killed_at(points: tuple[str, ...], phase: str) -> None:
        nonlocal sent
        for point in points:
            produce(bootstrap, source, stream[sent : sent + PORTION])
            sent += PORTION
            armed, name = {"FAILPOINT": point}, f"{phase}-{point.replace(':', '-')}"
            with DaemonProcess(tmp_path / "wild", config, environment=armed, name=name) as killed:
                wait_until(lambda: not killed.running(), f"the kill at {point}", 90)
                assert killed.wait(10) == -9, killed.text()

    killed_at(BEGINNING, "beginning")
    produce(bootstrap, source, stream[sent:BEFORE])
    sent = BEFORE
    worked_off(tmp_path / "wild", config, "middle")
    last = {body["id"]: body for body in bodies(bootstrap, wild)}
    acts = words([name for name, body in last.items() if body["state"] != "resolved"])
    undisturbed = config_of(calm, tmp_path / "calm")
    worked_off(tmp_path / "calm", undisturbed, "first")
    assert written(bootstrap, calm) == written(bootstrap, wild), "as far as here"
    for section in (wild, calm):
        produce(bootstrap, section["rules"], acts)
    killed_at(AFTERWARDS, "afterwards")
    produce(bootstrap, source, stream[sent:])
    done = worked_off(tmp_path / "wild", config, "last")
    worked_off(tmp_path / "calm", undisturbed, "second")

    expected, found = written(bootstrap, calm), written(bootstrap, wild)
    assert {kind: len(each) for kind, each in found.items()} == {
        kind: len(each) for kind, each in expected.items()
    }
    assert found == expected
    told = bodies(bootstrap, wild)
    assert {"opened", "acknowledged", "snoozed"} <= {body["change"] for body in told}
    alerts = alerts_in(bootstrap, wild["alerts"])
    assert {"rule"} <= {alert.get("kind") for alert in alerts}
    assert len(found["rules"]) > len(RULES) + len(acts), "a rule has disabled itself"
    assert len(found["dead_letters"]) == len(range(333, EVENTS, 333))
    code, (answer,) = verify(done.config)
    assert code == 0, answer
    assert [answer[name] for name in WRONG] == [0] * len(WRONG), answer["details"]
