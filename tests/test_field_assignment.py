"""Topics that vanish, groups of others, limits of the broker: said by name; the others go on."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer
from kafka.errors import InconsistentGroupProtocolError
from kafka_broker.broker import Broker
from kafka_broker.clients import admin_client, create_topic, produce, unique_name
from kafka_broker.groups import join_by_newer_protocol, poll_until
from support.process import DaemonProcess, alerts_in, wait_until
from support.streams import records
from test_daemon import messages, settings, topics

QUICK = {"metadata_max_age_ms": 500, "session_timeout_ms": 3000, "heartbeat_interval_ms": 200}


@pytest.fixture(scope="module")
def creating(kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker that makes the topics it is asked for."""
    properties = {"auto.create.topics.enable": "true"}
    with Broker(tmp_path_factory.mktemp("creating"), properties=properties) as broker:
        yield broker


def topics_of(bootstrap: str) -> set[str]:
    with admin_client(bootstrap) as admin:
        return set(admin.list_topics())


def delete(bootstrap: str, *names: str) -> None:
    with admin_client(bootstrap) as admin:
        admin.delete_topics(list(names), timeout_ms=10_000)


def missing(daemon: DaemonProcess) -> float:
    return daemon.metric("conditions", condition="input_missing")


def test_one_of_two_topics_deleted_is_named_and_the_other_goes_on(
    creating: Broker, tmp_path: Path
) -> None:
    """A4, A7: nothing makes it anew, its work is committed, and events of the other alert."""
    bootstrap = creating.bootstrap
    section = {**topics(bootstrap, 2), "consumer": QUICK, "request_timeout": "4s"}
    gone = create_topic(bootstrap, unique_name("gone"), 2)
    stays = section["topics"][0]
    section["topics"].append(gone)
    stream = messages(records(4000), 2)
    with DaemonProcess(tmp_path, settings(section, tmp_path)) as daemon:
        daemon.wait_ready()
        produce(bootstrap, stays, stream[:2000:2])
        produce(bootstrap, gone, stream[1:2000:2])
        daemon.wait_processed(2000).wait_worked_off()
        before = len(alerts_in(bootstrap, section["alerts"]))
        delete(bootstrap, gone)
        wait_until(lambda: missing(daemon) > 0, "the missing topic to be counted")
        produce(bootstrap, stays, stream[2000:])
        daemon.wait_processed(4000)
        wait_until(lambda: len(alerts_in(bootstrap, section["alerts"])) > before, "more alerts")
        assert daemon.get("/readyz")[0] == 200
        assert f"the input {gone}" in daemon.text()
        assert "docs/runbook.md#a-topic-or-partition-is-gone" in daemon.text()
        assert daemon.text().count(f"the input {gone} does not exist") <= 2
        assert gone not in topics_of(bootstrap)
        assert daemon.stop() == 0, daemon.text()
        assert "Traceback" not in daemon.text()


def test_the_only_topic_deleted_is_not_ready_and_one_line(creating: Broker, tmp_path: Path) -> None:
    """A5, A7."""
    bootstrap = creating.bootstrap
    section = {**topics(bootstrap, 2), "consumer": QUICK, "request_timeout": "4s"}
    (topic,) = section["topics"]
    with DaemonProcess(tmp_path, settings(section, tmp_path)) as daemon:
        daemon.wait_ready()
        produce(bootstrap, topic, messages(records(1000), 2))
        daemon.wait_processed(1000).wait_worked_off()
        delete(bootstrap, topic)
        wait_until(lambda: daemon.get("/readyz")[0] == 503, "not ready")
        wait_until(lambda: f"the input {topic} " in daemon.get("/readyz")[1], "the reason")
        assert missing(daemon) >= 1
        # Metadata is asked for ten times a second meanwhile.
        wait_until(lambda: daemon.metric("partitions_assigned") == 0, "the loss of all partitions")
        told = [line for line in daemon.text().splitlines() if topic in line and " WARN" in line]
        told += [line for line in daemon.text().splitlines() if topic in line and " ERROR" in line]
        assert len(told) < 12, told
        assert topic not in topics_of(bootstrap)
        assert daemon.stop() == 0, daemon.text()
        assert "Traceback" not in daemon.text()


def test_an_output_topic_deleted_is_not_made_anew(creating: Broker, tmp_path: Path) -> None:
    """A7, for a producer."""
    bootstrap = creating.bootstrap
    section = {**topics(bootstrap), "request_timeout": "3s", "give_up_after": "1s"}
    section["producer"] = {"metadata_max_age_ms": 500}
    with DaemonProcess(tmp_path, settings(section, tmp_path)) as daemon:
        daemon.wait_ready()
        produce(bootstrap, section["topics"][0], messages(records(1000), 1))
        daemon.wait_processed(1000).wait_worked_off()
        delete(bootstrap, section["alerts"])
        produce(bootstrap, section["topics"][0], messages(records(1000, seed=1), 1))
        assert daemon.wait(120) == 3, daemon.text()
        assert section["alerts"] not in topics_of(bootstrap)
        assert "Traceback" not in daemon.text()


@pytest.mark.parametrize(
    ("changes", "named", "limit"),
    [
        (
            {"consumer": {"session_timeout_ms": 7_200_000}},
            "kafka.consumer.session_timeout_ms",
            "group.max.session.timeout.ms=1800000",
        ),
        ({"transaction_timeout": "1h"}, "kafka.transaction_timeout", "max.timeout.ms=900000"),
    ],
)
def test_a_limit_of_the_broker_is_refused_at_once_by_name(
    kafka, tmp_path: Path, changes: dict[str, Any], named: str, limit: str
) -> None:
    """A11: such an error is permanent; it was tried again every five seconds."""
    config = settings({**topics(kafka.bootstrap), **changes}, tmp_path)
    with DaemonProcess(tmp_path, config) as daemon:
        assert daemon.wait(40) == 3, daemon.text()
        assert named in daemon.text()
        assert limit in daemon.text()
        assert "docs/runbook.md#a-limit-of-the-broker" in daemon.text()
        assert "Next attempt" not in daemon.text()
        assert "Traceback" not in daemon.text()


@contextlib.contextmanager
def foreign_member(bootstrap: str, group: str, topic: str) -> Iterator[None]:
    """Another application's consumer in a group, polling until the block is left."""
    consumer = KafkaConsumer(topic, bootstrap_servers=bootstrap, group_id=group)
    leave = threading.Event()

    def work() -> None:
        while not leave.is_set():
            consumer.poll(timeout_ms=200)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        wait_until(consumer.assignment, "the foreign member to be assigned")
        yield
    finally:
        leave.set()
        thread.join(20)
        consumer.close(timeout_ms=5000)


def test_a_group_that_is_somebody_elses_is_said_and_left_alone(kafka, tmp_path: Path) -> None:
    """A9."""
    section = topics(kafka.bootstrap)
    with (
        foreign_member(kafka.bootstrap, section["group"], section["topics"][0]),
        DaemonProcess(tmp_path, settings(section, tmp_path)) as daemon,
    ):
        assert daemon.wait(40) == 3, daemon.text()
        assert f"the group {section['group']} is in use by another application" in daemon.text()
        assert "docs/runbook.md#a-group-that-is-somebody-elses" in daemon.text()
        assert "Traceback" not in daemon.text()


@pytest.mark.parametrize("first", ["the daemon", "the other"])
def test_a_member_of_the_newer_protocol_is_not_shared_the_input_with(
    kafka, tmp_path: Path, first: str
) -> None:
    """A9: the broker lets both into one group and gives each a part of the partitions."""
    section = {**topics(kafka.bootstrap, 2), "consumer": QUICK | {"session_timeout_ms": 10_000}}
    (topic,) = section["topics"]
    if first == "the other":
        join_by_newer_protocol(kafka.bootstrap, topic, section["group"])
    with DaemonProcess(tmp_path, settings(section, tmp_path)) as daemon:
        if first == "the daemon":
            daemon.wait_ready()
            join_by_newer_protocol(kafka.bootstrap, topic, section["group"])
        assert daemon.wait(40) == 3, daemon.text()
        assert f"the group {section['group']} is in use by another application" in daemon.text()
        assert "Traceback" not in daemon.text()


def test_a_signal_while_another_worker_takes_the_name_ends_it_cleanly(
    kafka, tmp_path: Path
) -> None:
    """A14: the first one does not know yet that it is fenced, or hears of it while it stops."""
    section = {**topics(kafka.bootstrap, 2), "instance_id": "worker-1", "consumer": QUICK}
    section["consumer"] = {**QUICK, "session_timeout_ms": 10_000}
    config = settings(section, tmp_path)
    first, second = (DaemonProcess(tmp_path, config, name=name) for name in ("a", "b"))
    with first:
        first.wait_ready()
        produce(kafka.bootstrap, section["topics"][0], messages(records(2000), 2))
        with second:
            wait_until(lambda: "assigned shards" in second.text(), "the second one to join")
            os.kill(first.pid, signal.SIGTERM)
            assert first.wait(60) in (0, 3), first.text()
            assert "Traceback" not in first.text()
            second.wait_ready().wait_worked_off()
            assert second.stop() == 0, second.text()


def test_a_foreign_member_that_comes_later_is_turned_away(kafka, tmp_path: Path) -> None:
    """A9: the group is the daemon's, so the broker refuses the other one; nothing changes here."""
    section = topics(kafka.bootstrap)
    with DaemonProcess(tmp_path, settings(section, tmp_path)) as daemon:
        daemon.wait_ready()
        consumer = KafkaConsumer(
            *section["topics"], bootstrap_servers=kafka.bootstrap, group_id=section["group"]
        )
        with contextlib.closing(consumer), pytest.raises(InconsistentGroupProtocolError):
            poll_until(consumer.assignment, consumer)
        produce(kafka.bootstrap, section["topics"][0], messages(records(500), 1))
        daemon.wait_processed(500).wait_worked_off()
        assert daemon.stop() == 0, daemon.text()


def test_the_same_instance_id_twice_is_said_by_the_one_that_is_fenced(
    kafka, tmp_path: Path
) -> None:
    """A14."""
    section = {**topics(kafka.bootstrap, 2), "instance_id": "worker-1"}
    config = settings(section, tmp_path)
    first, second = (DaemonProcess(tmp_path, config, name=name) for name in ("a", "b"))
    with first:
        first.wait_ready()
        with second:
            second.wait_ready()
            produce(kafka.bootstrap, section["topics"][0], messages(records(1000), 2))
            assert first.wait(60) == 3, first.text()
            assert "fenced by another worker with instance id worker-1" in first.text()
            assert "Traceback" not in first.text()
            second.wait_worked_off()
            assert second.stop() == 0, second.text()


@pytest.fixture
def mute() -> Iterator[int]:
    """A port that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize(
    "address", ["kafka-0.internal.invalid:9092", "localhost:1", "127.0.0.1:MUTE"]
)
def test_an_advertised_listener_that_leads_nowhere_is_named(
    broker_factory, tmp_path: Path, mute: int, address: str
) -> None:
    """A16: it does not resolve, refuses, or says nothing."""
    address = address.replace("MUTE", str(mute))
    broker = broker_factory(properties={"advertised.listeners": f"PLAINTEXT://{address}"})
    section = {
        "bootstrap_servers": broker.bootstrap,
        "topics": ["in"],
        "group": "g",
        "alerts": "a",
        "dead_letters": "d",
        "wait_for_input": "3s",
        "request_timeout": "2s",
    }
    with DaemonProcess(tmp_path, settings(section, tmp_path)) as daemon:
        assert daemon.wait(60) == 3, daemon.text()
        assert "advertised.listeners" in daemon.text()
        assert address in daemon.text()
        assert "docs/runbook.md#an-address-that-the-broker-gives" in daemon.text()


def test_a_worker_that_stands_by_is_ready_and_takes_over(kafka, tmp_path: Path) -> None:
    """A15: a rolling update waits until each worker is ready, the one without a shard too."""
    section = {**topics(kafka.bootstrap), "consumer": QUICK}
    config = settings(section, tmp_path)
    first, second = (DaemonProcess(tmp_path, config, name=name) for name in ("a", "b"))
    with first, second:
        for worker in (first, second):
            worker.wait_ready()
        wait_until(
            lambda: {w.metric("partitions_assigned") for w in (first, second)} == {0.0, 1.0},
            "one of them to stand by",
        )
        assert [w.get("/readyz")[0] for w in (first, second)] == [200, 200]
        working, idle = (first, second) if first.metric("partitions_assigned") else (second, first)
        assert working.stop() == 0, working.text()
        wait_until(lambda: idle.metric("partitions_assigned") == 1, "the other one to take over")
        idle.wait_ready()
        assert idle.stop() == 0, idle.text()
