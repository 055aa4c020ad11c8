"""Wrong times on a real broker that bounds none: the one record, and nothing else, pays for it."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from kafka_broker.clients import Message, consume_all, create_topic, produce, unique_name
from support.commands import run as run_command
from support.process import DaemonProcess
from support.streams import records
from test_daemon import messages, settings, topics
from test_state_verify import verify
from test_stream_time import DAY, FRAUDS, HOUR

WRONG = 1500
PARTITIONS = 2
UNBOUNDED = {"retention.ms": "-1", "message.timestamp.after.max.ms": str(2**63 - 1)}

FORMS: dict[str, tuple[dict[str, Any], int, int]] = {
    "a-event-and-record-400-days-ahead": ({}, 400 * DAY, 400 * DAY),
    "b-record-in-microseconds": ({"time": None}, 0, -1),
    "d-23-hours-and-little-behind": ({"max_behind": "1h"}, 23 * HOUR, 0),
}
"""By name: changes to `event`, how far the event is ahead, and its record (-1: microseconds)."""


def stream() -> list[Message]:
    return [
        Message(json.dumps(e).encode(), n % PARTITIONS, e["user"].encode(), e["time"])
        for n, e in enumerate(FRAUDS)
    ]


def wrong_one(event_ahead: int, record_ahead: int) -> Message:
    event = {**FRAUDS[WRONG], "id": "wrong", "fraud": False, "amount": 20.0}
    time_ms = event["time"]
    stamp = time_ms * 1000 if record_ahead < 0 else time_ms + record_ahead
    value = json.dumps({**event, "time": time_ms + event_ahead}).encode()
    return Message(value, WRONG % PARTITIONS, b"k", stamp)


def run(
    bootstrap: str, directory: Path, some: list[Message], event: dict[str, Any]
) -> tuple[set[str], list[Any]]:
    """Planted frauds that were alerted, and the dead letters."""
    names = {"input": create_topic(bootstrap, unique_name("in"), PARTITIONS, UNBOUNDED)}
    section = {**topics(bootstrap), "topics": [names["input"]]}
    produce(bootstrap, names["input"], some)
    config = settings(
        section,
        directory,
        event=event,
        suppression={"key": "user", "period": "10m", "max_keys": 50},
        threshold={"budget": "200 per day", "burn_in": 300},
    )
    with DaemonProcess(directory, config) as daemon:
        daemon.wait_ready().wait_processed(len(some))
        assert daemon.stop() == 0, daemon.text()
    alerts = [json.loads(r.value) for r in consume_all(bootstrap, section["alerts"])]
    planted = {event["id"] for event in FRAUDS if event["fraud"]}
    return (
        {alert["event_id"] for alert in alerts} & planted,
        consume_all(bootstrap, section["dead_letters"]),
    )


@pytest.mark.parametrize("form", FORMS)
def test_a_wrong_time_costs_its_own_record_at_most(form: str, kafka, tmp_path: Path) -> None:
    changes, event_ahead, record_ahead = FORMS[form]
    event = {"id": "id", "time": {"field": "time"}, **changes}
    event = {name: value for name, value in event.items() if value is not None}
    good = stream()
    expected, letters = run(kafka.bootstrap, tmp_path / "without", good, event)
    assert len(expected) >= 20
    assert letters == []
    bad = [*good[:WRONG], wrong_one(event_ahead, record_ahead), *good[WRONG:]]
    found, letters = run(kafka.bootstrap, tmp_path / "with", bad, event)
    assert expected - found == set()
    assert [json.loads(letter.value)["id"] for letter in letters] in (["wrong"], [])
    reasons = [dict(letter.headers)["__connect.errors.exception.class.name"] for letter in letters]
    assert set(reasons) <= {b"time_ahead"}
    if not form.startswith("d"):
        assert len(letters) == 1


def test_a_watermark_set_by_hand_is_shown_and_verified(kafka, tmp_path: Path) -> None:
    """A3: `state show` says where it stands, `state verify` finds nothing across the change."""
    section = topics(kafka.bootstrap, 1)
    stream = messages(records(1200), 1)
    produce(kafka.bootstrap, section["topics"][0], stream[:700])
    config = settings(section, tmp_path, state={"directory": str(tmp_path / "s"), "interval": "1h"})
    with DaemonProcess(tmp_path, config) as daemon:
        daemon.wait_ready().wait_processed(700).wait_worked_off()
        assert daemon.stop() == 0, daemon.text()
    path = str(daemon.config)

    def watermark() -> datetime:
        shown = run_command("state", "show", path, "--json")
        return datetime.fromisoformat(json.loads(shown.stdout)["watermark"])

    back = watermark() - timedelta(minutes=5)
    done = run_command("state", "set-watermark", path, "--to", back.isoformat(), "--yes")
    assert done.returncode == 0, done.stderr
    assert watermark() == back
    plain = run_command("state", "show", path).stdout
    assert f"{back:%Y-%m-%dT%H:%M:%S}" in plain
    produce(kafka.bootstrap, section["topics"][0], stream[700:])
    for end in ("kill", "stop"):
        with DaemonProcess(tmp_path, config) as daemon:
            daemon.wait_ready().wait_worked_off()
            if end == "kill":
                daemon.kill()
            else:
                assert daemon.stop() == 0, daemon.text()
    code, (found,) = verify(daemon.config)
    assert code == 0, found
    assert found["events"] > 0
    assert watermark() > back
