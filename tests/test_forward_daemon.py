"""The daemon's own incidents, delivered: what is open at its end fires in a real Alertmanager."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kafka_broker.clients import consume_all, produce
from support.alertmanager import Alertmanager
from support.endpoint import Endpoint
from support.process import DaemonProcess, wait_until
from support.streams import records
from test_daemon import messages
from test_incident_daemon import config_of, named

EVENTS = 4000


def test_what_the_daemon_opens_fires_and_what_it_resolves_is_resolved(
    kafka: Any, tmp_path: Path
) -> None:
    section = named(kafka, 4)
    produce(kafka.bootstrap, section["topics"][0], messages(records(EVENTS), 4))
    path = tmp_path / "incidents.jsonl"
    quick = {"start": "earliest", "send": ["incidents"]}
    with Endpoint() as receiver, Alertmanager(tmp_path / "am", receiver.url) as am:
        targets = [
            {"kind": "alertmanager", "name": "am", "url": am.url, "resend": "1s", "expires": "30s",
             **quick},
            {"kind": "file", "name": "file", "path": str(path), "format": "json", **quick},
        ]  # fmt: skip
        config = config_of(section, tmp_path, forward={"targets": targets, "port": 0})
        with (
            DaemonProcess(tmp_path, config) as daemon,
            DaemonProcess(tmp_path, config, command="forward", name="forward") as forwarder,
        ):
            daemon.wait_ready().wait_processed(EVENTS).wait_worked_off()
            assert daemon.stop() == 0, daemon.text()
            written = consume_all(kafka.bootstrap, section["incidents"])
            last = {one.key: json.loads(one.value) for one in written}
            for target in ("am", "file"):
                wait_until(
                    lambda name=target: (
                        forwarder.metric("forward_sent_total", target=name) == len(written)
                    ),
                    "every message to be sent",
                )
            opened = {one["id"] for one in last.values() if one["state"] != "resolved"}
            wait_until(
                lambda: {one["labels"]["incident_id"] for one in am.alerts()} == opened,
                "what is open, and nothing else, to fire",
            )
            assert forwarder.metric("forward_dead_letters_total") == 0
            assert forwarder.stop() == 0
    assert len(opened) > 1
    assert any(one["state"] == "resolved" for one in last.values())
    lines = path.read_text().splitlines()
    assert [json.loads(line) for line in lines] == [json.loads(one.value) for one in written]
