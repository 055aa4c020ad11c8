"""Row A13 of the faults met in the field: commits are bounded, and those too slow made smaller.

On the session's broker, under a producer quota for a client id of the test's own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from kafka.protocol.admin.client_quotas import AlterClientQuotasRequest
from kafka_broker.clients import Message, admin_client, consume_all, create_topic, unique_name
from kafka_broker.clients import produce as send_all
from support.commands import run as run_command
from support.process import DaemonProcess, wait_until
from test_daemon import messages, records, settings, topics

from stream_detector.journal import decode

GOOD, BROKEN, BROKEN_BYTES = 600, 48, 50_000
QUOTA = 120_000.0


def set_quota(bootstrap: str, client_id: str, bytes_per_second: float) -> None:
    entry = ([("client-id", client_id)], [("producer_byte_rate", bytes_per_second, False)])
    request = AlterClientQuotasRequest(entries=[entry], validate_only=False)
    with admin_client(bootstrap) as admin:
        admin._manager.run(admin._manager.send, request)


def backlog(partitions: int) -> list[Message]:
    """Events, and records whose dead letters are large, in between."""
    made = messages(records(GOOD), partitions)
    every = GOOD // BROKEN
    for number in range(BROKEN):
        text = b'{"broken": "%d' % number + b"x" * BROKEN_BYTES
        place = number * (every + 1)
        made.insert(place, Message(text, number % partitions, b"b", made[place].timestamp_ms))
    return made


def outputs(section: dict[str, Any]) -> list[list[tuple[bytes | None, Any]]]:
    return [
        [(one.value, one.headers) for one in consume_all(section["bootstrap_servers"], topic)]
        for topic in (section["alerts"], section["dead_letters"])
    ]


def count(section: dict[str, Any]) -> list[int]:
    return list(map(len, outputs(section)))


def renewed(section: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The same input for another group, with output topics of its own."""
    bootstrap = section["bootstrap_servers"]
    made = {
        name: create_topic(bootstrap, unique_name(name), 1, {"retention.ms": "-1"})
        for name in ("alerts", "dead_letters")
    }
    return {**section, **made, "group": unique_name("group"), **changes}


@pytest.mark.timeout(240)
def test_a_quota_slows_commits_down_and_a_kill_between_two_doubles_nothing(
    kafka, tmp_path: Path
) -> None:
    """A13: a backlog of dead letters that no transaction has time for as a whole."""
    section = topics(kafka.bootstrap, 3)
    send_all(kafka.bootstrap, section["topics"][0], backlog(3))
    with DaemonProcess(tmp_path / "one", settings(section, tmp_path / "one")) as daemon:
        daemon.wait_ready().wait_processed(GOOD + BROKEN)
        assert daemon.stop() == 0, daemon.text()
    client_id = unique_name("slow")
    set_quota(kafka.bootstrap, client_id, QUOTA)
    slow = renewed(
        section,
        producer={"client_id": client_id},
        transaction_timeout="10s",
    )
    config = settings(slow, tmp_path / "two")
    environment = {"FAILPOINT": "after_commit:2"}
    with DaemonProcess(tmp_path / "two", config, environment=environment) as daemon:
        assert daemon.wait(100) == -9, daemon.text()
        assert "producer_byte_rate" in daemon.text()
    with DaemonProcess(tmp_path / "two", config) as daemon:
        daemon.wait_ready()
        # A stop gives the last commit some seconds only, and the quota would have it longer.
        wait_until(lambda: count(slow) == count(section), "everything to be committed", 100)
        assert daemon.stop() == 0, daemon.text()
    assert outputs(slow) == outputs(section)
    journal = consume_all(kafka.bootstrap, f"{slow['group']}-journal")
    numbers = [decode(one.value).number for one in journal]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) > 2
    verified = run_command("state", "verify", str(tmp_path / "two" / "daemon.yaml"))
    assert verified.returncode == 0, verified.stdout + verified.stderr


@pytest.mark.timeout(120)
def test_a_quota_too_small_for_anything_is_named_at_the_end(kafka, tmp_path: Path) -> None:
    """A13: the process says what to raise, and does not try the same for ever."""
    section = topics(kafka.bootstrap)
    client_id = unique_name("slow")
    set_quota(kafka.bootstrap, client_id, 2000.0)
    send_all(kafka.bootstrap, section["topics"][0], backlog(1))
    section |= {"producer": {"client_id": client_id}, "request_timeout": "2s"}
    section |= {"transaction_timeout": "4s", "give_up_after": "1s"}
    with DaemonProcess(tmp_path, settings(section, tmp_path)) as daemon:
        assert daemon.wait(100) == 3
        last = daemon.text().splitlines()[-1]
        for part in ("producer_byte_rate", "transaction_timeout", "docs/runbook.md#"):
            assert part in last
    assert consume_all(kafka.bootstrap, section["dead_letters"]) == []
