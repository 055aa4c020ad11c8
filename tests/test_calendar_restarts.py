"""A calendar's file that is edited between two runs, the second of which is killed at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from kafka_broker.clients import Message, consume_all, produce
from support.kills import QUICK_SESSION
from support.process import DaemonProcess, alerts_in
from test_daemon import settings, topics
from test_state_verify import verify

from stream_detector.journal import decode

DAY_MS = 86_400_000
START_MS = 1_704_067_200_000  # 2024-01-01
DAYS, CHANGE = 5, 4
"""Days of the stream, and how many of them are processed before the file is edited."""

SILENT = {3: "20240104", 4: "20240105"}
"""On these days, by number and date, key b falls silent for six hours."""

TEXT = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//test//test//EN
BEGIN:VEVENT
UID:{day}@test
DTSTAMP:20240101T000000Z
DTSTART:{day}T100000Z
DTEND:{day}T200000Z
SUMMARY:{day}
END:VEVENT
END:VCALENDAR
"""


def stream() -> list[Message]:
    """Six events an hour of each of three keys, but for the silences."""
    made: list[Message] = []
    for minute in range(0, DAYS * 24 * 60, 10):
        day, hour = minute // 1440, minute // 60 % 24
        for number, key in enumerate("abc"):
            if key == "b" and day in SILENT and 11 <= hour < 17:
                continue
            time_ms = START_MS + minute * 60_000 + number
            event = {"id": f"{key}{minute}", "time": time_ms, "user": key, "amount": 1.0}
            made.append(Message(json.dumps(event).encode(), 0, key.encode(), time_ms))
    return made


def config_of(bootstrap: str, directory: Path, file: Path) -> dict[str, Any]:
    calendar = {"name": "releases", "file": str(file), "skip": ["alert", "learning"]}
    monitor = {"name": "users", "kind": "rate", "key": "user", "season": "hour_of_day"}
    return settings(
        {**topics(bootstrap, 1), "consumer": QUICK_SESSION},
        directory,
        features=[{"numeric": "amount"}],
        windows=[],
        calendars=[calendar],
        monitors=[{**monitor, "calendars": ["releases"]}],
    )


@pytest.mark.timeout(300)
def test_a_kill_before_the_first_commit_by_another_calendar_leaves_it_in_the_journal(
    kafka, tmp_path: Path
) -> None:
    file = tmp_path / "releases.ics"
    config = config_of(kafka.bootstrap, tmp_path, file)
    events, topic = stream(), config["kafka"]["topics"][0]
    change = sum((each.timestamp_ms or 0) < START_MS + CHANGE * DAY_MS for each in events)
    file.write_text(TEXT.format(day=SILENT[3]))
    produce(kafka.bootstrap, topic, events[:change])
    with DaemonProcess(tmp_path, config) as daemon:
        daemon.wait_ready().wait_worked_off()
        assert daemon.stop() == 0, daemon.text()
    # It keeps a snapshot of what it begins with, processes some and ends.
    file.write_text(TEXT.format(day=SILENT[4]))
    produce(kafka.bootstrap, topic, events[change:])
    with DaemonProcess(tmp_path, config, environment={"FAILPOINT": "after_poll"}) as daemon:
        assert daemon.wait() < 0, daemon.text()
    with DaemonProcess(tmp_path, config) as daemon:
        daemon.wait_ready().wait_worked_off()
        assert daemon.stop() == 0, daemon.text()
    section = config["kafka"]
    written = consume_all(kafka.bootstrap, f"{section['group']}-journal")
    journal = [decode(record.value) for record in written]
    said = [record.calendars for record in journal if record.calendars is not None]
    assert len(said) == len(set(said)) == 2
    # Either silence was in the times of the file of its day; by the first file the second was not.
    assert not [a for a in alerts_in(kafka.bootstrap, section["alerts"]) if "monitor" in a]
    code, shards = verify(daemon.config)
    assert code == 0, json.dumps(shards, indent=1)
