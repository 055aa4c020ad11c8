"""A journal is replayed while the assignment changes: nothing is doubled, nothing lost.

``REPLAY_SEEDS=10`` runs ten seeds instead of two (``make replay-seeds``).
"""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kafka.errors import KafkaError
from kafka_broker.clients import (
    Message,
    admin_client,
    consume_all,
    create_topic,
    produce,
    unique_name,
)
from support.process import DaemonProcess, wait_until
from support.streams import records
from test_daemon import messages, settings, topics
from test_state_verify import verify

SEEDS = range(1, 1 + int(os.environ.get("REPLAY_SEEDS", "2")))
EVENTS = 12_000
FINDINGS = ("lost", "doubled", "differing", "gaps", "fingerprint_mismatches")


def of_three_topics(bootstrap: str) -> dict[str, Any]:
    """Two input topics and one of labels, two partitions each, and short metadata."""
    section = topics(bootstrap, 2)
    second = create_topic(bootstrap, unique_name("in"), 2, {"retention.ms": "-1"})
    labels = create_topic(bootstrap, unique_name("labels"), 2, {"retention.ms": "-1"})
    quick = {
        "metadata_max_age_ms": 300,
        "session_timeout_ms": 3000,
        "heartbeat_interval_ms": 200,
    }
    both = [section["topics"][0], second]
    return {**section, "topics": both, "labels": labels, "consumer": quick}


def label_of(message: Message) -> Message:
    event = json.loads(message.value or b"")
    value = {"event_id": event["id"], "label": event["label"], "time": event["time"]}
    return replace(message, value=json.dumps(value).encode())


def add_partitions(bootstrap: str, topic: str, count: int) -> None:
    with admin_client(bootstrap) as admin:
        admin.create_partitions({topic: count}, timeout_ms=10_000)


def produce_when_there(bootstrap: str, topic: str, stream: list[Message]) -> None:
    """The first message again and again until the newest partitions have leaders."""

    def produced() -> bool:
        try:
            produce(bootstrap, topic, stream[:1])
        except (KafkaError, AssertionError):
            return False
        return True

    wait_until(produced, "the partitions to be there")
    produce(bootstrap, topic, stream[1:])


def places(bootstrap: str, topic: str) -> Counter[tuple[Any, ...]]:
    """How often an alert was written for each record."""
    receipts = (json.loads(r.value)["receipt"] for r in consume_all(bootstrap, topic))
    return Counter((r["topic"], r["partition"], r["offset"]) for r in receipts)


def assert_verified(config: Path) -> int:
    """`state verify` finds nothing; how many alerts it has compared."""
    code, shards = verify(config)
    for found in shards:
        assert [found[name] for name in FINDINGS] == [0] * len(FINDINGS), found["details"]
        assert found["alerts_expected"] == found["alerts_found"]
    assert code == 0
    return sum(int(found["alerts_found"]) for found in shards)


def wait_committed(bootstrap: str, group: str, count: int) -> None:
    """Wait until the group's offsets add up to so many records."""

    def committed() -> bool:
        with admin_client(bootstrap) as admin:
            found = admin.list_group_offsets(group)
        held = found.get(group, found)
        return sum(max(one.offset, 0) for one in held.values()) >= count

    wait_until(committed, "everything to be committed", every=0.3)


def wait_committed_work(daemon: DaemonProcess, bootstrap: str, group: str, count: int) -> None:
    """Wait until this daemon has taken in so many records and its group has committed them."""
    daemon.wait_processed(count)
    wait_committed(bootstrap, group, count)


@pytest.mark.parametrize("seed", SEEDS)
def test_partitions_added_at_random_moments_of_a_replay_double_nothing(
    kafka, tmp_path: Path, seed: int
) -> None:
    """A2, with several topics, labels, several additions, a snapshot and workers that come."""
    rng = random.Random(seed)
    section = of_three_topics(kafka.bootstrap)
    first, second, labels = *section["topics"], section["labels"]
    stream = messages(records(EVENTS, seed=seed), 2)
    learning = {"detector": {"kind": "half_space_forest", "trees": 10}, "labels": {"delay": "1d"}}
    config = settings(
        section,
        tmp_path,
        **learning,
        state={
            "directory": str(tmp_path / "state"),
            "interval": "1h",
        },
    )
    with DaemonProcess(tmp_path, config) as daemon:
        daemon.wait_ready()
        for start in range(0, EVENTS, 2000):
            part = stream[start : start + 2000]
            produce(kafka.bootstrap, first, part[::2])
            produce(kafka.bootstrap, second, part[1::2])
            produce(kafka.bootstrap, labels, list(map(label_of, part[::10])))
            daemon.wait_worked_off()
        total = EVENTS + EVENTS // 10
        wait_committed(kafka.bootstrap, section["group"], total)
        daemon.kill()
    before = places(kafka.bootstrap, section["alerts"])
    assert len(before) > 50
    assert max(before.values()) == 1

    # Small polls make the replay last, so that a moment of it can be hit; snapshots come often.
    slow = {"max_poll_records": 3, "commit_interval": "200ms"}
    often = {"directory": str(tmp_path / "state"), "interval": "1s"}
    again = settings(section, tmp_path, **learning, processing=slow, state=often)
    counts = dict.fromkeys((first, second, labels), 2)
    # From one of its first steps on the replay takes its time, or a quick one would be over before
    # the group has found its new order, which it does in the polls between the steps.
    halt = {"FAILPOINT": f"in_replay:{rng.randint(2, 6)}:pause=0.5:times=24"}
    with DaemonProcess(tmp_path, again, name="again", environment=halt) as daemon:
        wait_until(lambda: daemon.metric("replay_remaining_records") > 0, "the replay", every=0.01)
        records_left = daemon.metric("replay_remaining_records")
        for share in sorted((rng.uniform(0.7, 1) for _ in range(rng.randint(1, 3))), reverse=True):
            limit = records_left * share
            wait_until(
                lambda limit=limit: daemon.metric("replay_remaining_records") <= limit,
                "the moment to add partitions",
                every=0.01,
            )
            topic = rng.choice([first, second, labels])
            counts[topic] += rng.randint(1, 3)
            add_partitions(kafka.bootstrap, topic, counts[topic])
        wait_until(
            lambda: daemon.metric("partitions_assigned") == sum(counts.values()), "the partitions"
        )
        daemon.wait_ready()
        text = daemon.text()
        assert text.index("new partitions") < text.index("caught up with its journal"), text
        assert daemon.metric("replay_mismatches_total") == 0
        more = records(2000, seed=seed + 100)
        for number, topic in enumerate((first, second)):
            produce_when_there(kafka.bootstrap, topic, messages(more[number::2], counts[topic]))
        wait_committed(kafka.bootstrap, section["group"], total + len(more))
        assert daemon.stop() == 0, daemon.text()
    after = places(kafka.bootstrap, section["alerts"])
    assert {place: n for place, n in after.items() if n > 1} == {}
    assert before.keys() <= after.keys()
    assert_verified(daemon.config)
