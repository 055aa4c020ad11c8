"""``state verify`` beside a real broker: it finds nothing after faults, and everything tampered."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer
from kafka_broker.clients import consume_all, produce
from support.process import DaemonProcess
from support.streams import records
from test_daemon import messages, settings, topics

from stream_detector.journal import decode

BAD = b'{"id": 1'


def verify(config: Path, *options: str) -> tuple[int, Any]:
    command = [sys.executable, "-m", "stream_detector", "state", "verify", str(config), "--json"]
    ran = subprocess.run(
        [*command, *options], capture_output=True, text=True, check=False, timeout=240
    )
    assert ran.returncode in (0, 1), ran.stderr
    return ran.returncode, json.loads(ran.stdout)


@pytest.fixture(scope="module")
def finished(kafka, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any], Path]:
    """A daemon that was killed in the midst of live input, and has worked everything off."""
    directory = tmp_path_factory.mktemp("verify")
    quick = {"session_timeout_ms": 1500, "heartbeat_interval_ms": 300}
    section = {**topics(kafka.bootstrap, 4), "consumer": quick}
    stream = messages(records(4000), 4)
    for number in range(100, len(stream), 200):
        stream[number] = replace(stream[number], value=BAD)
    # Of several buckets and keys that close with one event, each has an alert of its own.
    small = {"kind": "rate", "bucket": "1m", "season": "none", "widths": [1], "deviations": 2}
    config = settings(
        section,
        directory,
        processing={"shards": 2, "commit_interval": "100ms"},
        monitors=[{"name": "all", **small}, {"name": "users", "key": "user", **small}],
    )
    with DaemonProcess(directory, config) as daemon:
        daemon.wait_ready()
        for start in range(0, len(stream), 800):
            produce(kafka.bootstrap, section["topics"][0], stream[start : start + 800])
            daemon.wait_worked_off()
            if start in (800, 2400):
                daemon.kill()
                daemon.start().wait_ready()
        assert daemon.stop() == 0, daemon.text()
    return kafka.bootstrap, section, daemon.config


def test_nothing_is_found_after_kills_and_every_offset_is_covered(finished) -> None:
    bootstrap, section, config = finished
    code, shards = verify(config)
    assert code == 0
    for number, found in enumerate(shards):
        wrong = ("lost", "doubled", "differing", "gaps", "fingerprint_mismatches")
        assert [found[name] for name in wrong] == [0] * 5, found["details"]
        assert found["alerts_expected"] == found["alerts_found"] > 5
        assert found["events"] > 500
        assert found["records"] > 3
        assert verify(config, "--shard", str(number)) == (0, found)
    assert sum(found["events"] for found in shards) == 4000
    assert sum(found["dead_letters_expected"] for found in shards) == 20
    alerts = consume_all(bootstrap, section["alerts"])
    assert len(alerts) == sum(found["alerts_found"] for found in shards)
    rates = [alert for alert in alerts if b'"kind":"rate"' in alert.value]
    assert 20 < len(rates) < len(alerts)


def test_the_journal_names_every_offset_once(finished) -> None:
    bootstrap, section, _ = finished
    covered: dict[int, int] = {}
    for record in sorted(
        consume_all(bootstrap, f"{section['group']}-journal"), key=lambda r: r.offset
    ):
        for one in decode(record.value).ranges():
            assert covered.get(one.source.partition, 0) == one.start
            covered[one.source.partition] = one.end
    assert sum(covered.values()) == 4000


def test_what_was_tampered_with_is_found(finished) -> None:
    bootstrap, section, config = finished
    alerts = consume_all(bootstrap, section["alerts"])
    _, (before, _) = verify(config)
    assert (before["doubled"], before["differing"]) == (0, 0)
    events = [alert for alert in alerts if "monitor" not in json.loads(alert.value)]
    mine = [a for a in events if json.loads(a.value)["receipt"]["partition"] % 2 == 0]
    producer = KafkaProducer(bootstrap_servers=bootstrap)
    first = mine[0]
    producer.send(section["alerts"], first.value, first.key, first.headers)
    forged = {**json.loads(first.value), "score": 1e9}
    forged["receipt"]["offset"] = next(
        n for n in range(1000) if n not in {json.loads(a.value)["receipt"]["offset"] for a in mine}
    )
    producer.send(section["alerts"], json.dumps(forged).encode(), first.key)
    producer.flush(10)
    producer.close(timeout=5)
    code, (found, other) = verify(config)
    assert code == 1
    assert (found["doubled"], found["differing"], found["lost"]) == (1, 1, 0)
    assert any("twice" in text for text in found["details"])
    assert (other["doubled"], other["differing"]) == (0, 0)
    # Under another configuration other alerts come out: the old ones differ or came to nothing.
    text = config.read_text()
    changed = config.with_name("changed.yaml")
    changed.write_text(text.replace("budget: 2 %", "budget: 0.2 %"))
    assert changed.read_text() != text
    code, (found, _) = verify(changed)
    assert code == 1
    assert found["differing"] > 5
