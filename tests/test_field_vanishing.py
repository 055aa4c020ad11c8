"""Partitions, topics, offsets and workers that vanish while the daemon runs, replays or stops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from kafka import TopicPartition
from kafka.errors import KafkaError, TopicAlreadyExistsError
from kafka_broker.clients import admin_client, create_topic, produce, unique_name
from kafka_broker.cluster import Cluster
from support.process import DaemonProcess, alerts_in, wait_until
from support.streams import records
from test_daemon import messages, settings, topics
from test_field_assignment import QUICK, delete
from test_field_replay import (
    add_partitions,
    assert_verified,
    label_of,
    places,
    wait_committed_work,
)


def quick(section: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {**section, "consumer": QUICK, "request_timeout": "4s", **more}


def make_anew(bootstrap: str, topic: str, partitions: int) -> None:
    """Delete a topic and make another one of its name."""
    delete(bootstrap, topic)

    def made() -> bool:
        try:
            create_topic(bootstrap, topic, partitions, {"retention.ms": "-1"})
        except TopicAlreadyExistsError:  # it is still being deleted
            return False
        return True

    wait_until(made, "the topic to be made anew")


def assert_nothing_twice(bootstrap: str, alerts: str) -> None:
    assert {place: n for place, n in places(bootstrap, alerts).items() if n > 1} == {}


def on_three_brokers(bootstrap: str) -> dict[str, Any]:
    """A topic with a partition on each broker and nowhere else; all other topics on all."""
    forever = {"retention.ms": "-1"}
    alone = {**forever, "min.insync.replicas": "1"}
    return {
        "bootstrap_servers": bootstrap,
        "topics": [create_topic(bootstrap, unique_name("in"), 3, alone)],
        "group": unique_name("group"),
        "alerts": create_topic(bootstrap, unique_name("alerts"), 1, forever, replicas=3),
        "dead_letters": create_topic(bootstrap, unique_name("dead"), 1, forever, replicas=3),
    }


def leader_of(cluster: Cluster, source: TopicPartition) -> int:
    """Number of the broker; -1 where there is none or nobody answers."""
    try:
        return cluster.leaders().get(source, -1)
    except KafkaError:
        return -1


def has_no_leader(cluster: Cluster, source: TopicPartition) -> bool:
    """Tell whether the cluster itself says so: a broker that was just killed leads for a while."""
    try:
        return cluster.leaders().get(source, 0) < 0
    except KafkaError:
        return False


def test_a_partition_without_a_leader_is_named_and_the_others_go_on(
    cluster: Cluster, tmp_path: Path
) -> None:
    """A4: with a backlog on it that is known; when its leader is back it is read."""
    # Fetches of a few records: most of the backlog is known to be there, and not read yet.
    section = quick(on_three_brokers(cluster.bootstrap))
    section["consumer"] = {**QUICK, "max_partition_fetch_bytes": 2000}
    (topic,) = section["topics"]
    produce(cluster.bootstrap, topic, messages(records(3000), 3))
    config = settings(
        section, tmp_path, processing={"leaderless_wait": "1s", "max_poll_records": 50}
    )
    lost = TopicPartition(topic, 2)
    broker = cluster.brokers[leader_of(cluster, lost) - 1]
    halt = {"FAILPOINT": "after_poll:3:pause=4"}
    with DaemonProcess(tmp_path, config, environment=halt) as daemon:
        wait_until(lambda: daemon.metric("events_total") > 0, "the first events", every=0.01)
        broker.kill()
        others = [m for m in messages(records(3000, seed=1), 3) if m.partition != 2]
        produce(cluster.bootstrap, topic, others)
        wait_until(
            lambda: daemon.metric("conditions", condition="input_without_leader") == 1,
            "the partition to be counted",
        )
        of_others = [m for m in messages(records(3000), 3) if m.partition != 2]
        daemon.wait_processed(len(of_others) + len(others))
        assert daemon.metric("events_total") < 3000 + len(others)
        assert daemon.get("/readyz")[0] == 200
        assert f"{topic}-2 has no leader" in daemon.text()
        assert "docs/runbook.md#a-partition-without-a-leader" in daemon.text()
        broker.start()
        daemon.wait_processed(3000 + len(others)).wait_worked_off()
        wait_until(
            lambda: daemon.metric("conditions", condition="input_without_leader") == 0,
            "the condition to be over",
        )
        assert daemon.stop() == 0, daemon.text()
        # The client itself logs the loss of a connection with its traceback, as one message.
        assert "\nTraceback" not in daemon.text()
    assert_nothing_twice(cluster.bootstrap, section["alerts"])
    # The order in which it was done is in the journal: it gives the same alerts again.
    assert assert_verified(daemon.config) > 30


@pytest.mark.parametrize("moment", ["running", "replay", "stop"])
def test_a_topic_made_anew_with_fewer_partitions_is_refused_by_its_id(
    kafka, tmp_path: Path, moment: str
) -> None:
    """A4, A7: no KeyError, and nothing of the new topic is taken for the old one's."""
    section = quick(topics(kafka.bootstrap, 3))
    other = create_topic(kafka.bootstrap, unique_name("other"), 1, {"retention.ms": "-1"})
    (topic,) = section["topics"]
    section["topics"].append(other)
    state = {"directory": str(tmp_path / "state"), "interval": "1h"}
    config = settings(section, tmp_path, state=state)
    stream = messages(records(2000), 3)
    with DaemonProcess(tmp_path, config) as daemon:
        daemon.wait_ready()
        produce(kafka.bootstrap, topic, stream)
        produce(kafka.bootstrap, other, messages(records(500, seed=1), 1))
        wait_committed_work(daemon, kafka.bootstrap, section["group"], 2500)
        if moment == "running":
            make_anew(kafka.bootstrap, topic, 1)
            produce(kafka.bootstrap, topic, messages(records(1500, seed=2), 1))
            assert daemon.wait() == 4, daemon.text()
        elif moment == "stop":
            make_anew(kafka.bootstrap, topic, 1)
            assert daemon.stop() in (0, 4), daemon.text()
        else:
            daemon.kill()
    assert "Traceback" not in daemon.text()
    halt = {"FAILPOINT": "in_replay:1:pause=4"} if moment == "replay" else {}
    with DaemonProcess(tmp_path, config, name="again", environment=halt) as daemon:
        if moment == "replay":
            wait_until(lambda: daemon.metric("replay_remaining_records") > 0, "the replay")
            make_anew(kafka.bootstrap, topic, 1)
        assert daemon.wait() == 4, daemon.text()
        assert f"the topic {topic} was deleted and made anew" in daemon.text()
        assert "Traceback" not in daemon.text()
    assert_nothing_twice(kafka.bootstrap, section["alerts"])


def test_a_topic_deleted_while_the_journal_needs_it_ends_the_replay_by_name(
    kafka, tmp_path: Path
) -> None:
    """A2, A4: the state of before cannot be made again, and nobody waits for ever."""
    section = quick(topics(kafka.bootstrap, 2))
    other = create_topic(kafka.bootstrap, unique_name("other"), 1, {"retention.ms": "-1"})
    (topic,) = section["topics"]
    section["topics"].append(other)
    state = {"directory": str(tmp_path / "state"), "interval": "1h"}
    processing = {"max_poll_records": 5}
    config = settings(section, tmp_path, state=state, processing=processing)
    with DaemonProcess(tmp_path, config) as daemon:
        daemon.wait_ready()
        produce(kafka.bootstrap, topic, messages(records(2000), 2))
        wait_committed_work(daemon, kafka.bootstrap, section["group"], 2000)
        daemon.kill()
    section["consumer"] = {**QUICK, "max_partition_fetch_bytes": 2000}
    halt = {"FAILPOINT": "after_poll:2:pause=2"}
    again = settings(section, tmp_path, state=state, processing=processing)
    with DaemonProcess(tmp_path, again, name="again", environment=halt) as daemon:
        wait_until(lambda: daemon.metric("replay_remaining_records") > 0, "the replay")
        delete(kafka.bootstrap, topic)
        assert daemon.wait(90) == 3, daemon.text()
        assert f"its journal names records of {topic}-" in daemon.text()
        assert "Traceback" not in daemon.text()


def test_a_labels_topic_deleted_is_named_and_the_events_go_on(kafka, tmp_path: Path) -> None:
    """A4, for labels."""
    labels = create_topic(kafka.bootstrap, unique_name("labels"), 1, {"retention.ms": "-1"})
    section = quick(topics(kafka.bootstrap), labels=labels)
    (topic,) = section["topics"]
    stream = messages(records(3000), 1)
    config = settings(section, tmp_path, labels={"delay": "1d"})
    with DaemonProcess(tmp_path, config) as daemon:
        daemon.wait_ready()
        produce(kafka.bootstrap, topic, stream[:1500])
        produce(kafka.bootstrap, labels, list(map(label_of, stream[:1500:10])))
        daemon.wait_worked_off()
        before = len(alerts_in(kafka.bootstrap, section["alerts"]))
        delete(kafka.bootstrap, labels)
        wait_until(
            lambda: daemon.metric("conditions", condition="input_missing") > 0, "the condition"
        )
        produce(kafka.bootstrap, topic, stream[1500:])
        wait_until(
            lambda: len(alerts_in(kafka.bootstrap, section["alerts"])) > before, "more alerts"
        )
        assert f"the input {labels}" in daemon.text()
        assert daemon.get("/readyz")[0] == 200
        assert daemon.stop() == 0, daemon.text()
        assert "Traceback" not in daemon.text()


def test_a_journal_topic_deleted_ends_at_once_by_name_and_nothing_is_half_written(
    kafka, tmp_path: Path
) -> None:
    """A7: not made anew, and not tried again until ``give_up_after``."""
    section = quick(topics(kafka.bootstrap), transaction_timeout="10s", give_up_after="1h")
    (topic,) = section["topics"]
    section["journal"] = create_topic(kafka.bootstrap, unique_name("journal"), 1)
    with DaemonProcess(tmp_path, settings(section, tmp_path)) as daemon:
        daemon.wait_ready()
        produce(kafka.bootstrap, topic, messages(records(1500), 1))
        wait_committed_work(daemon, kafka.bootstrap, section["group"], 1500)
        before = alerts_in(kafka.bootstrap, section["alerts"])
        delete(kafka.bootstrap, section["journal"])
        produce(kafka.bootstrap, topic, messages(records(1500, seed=1), 1))
        assert daemon.wait(90) == 3, daemon.text()
        assert f"the topic {section['journal']} does not exist any more" in daemon.text()
        assert "docs/runbook.md#an-output-topic-is-gone" in daemon.text()
        assert "Traceback" not in daemon.text()
    assert alerts_in(kafka.bootstrap, section["alerts"]) == before
    with admin_client(kafka.bootstrap) as admin:
        assert section["journal"] not in admin.list_topics()


def test_a_snapshot_topic_deleted_is_said_and_made_anew(kafka, tmp_path: Path) -> None:
    """The next snapshot is whole, and the next start finds it."""
    section = quick(topics(kafka.bootstrap))
    (topic,) = section["topics"]
    kept = f"{section['group']}-snapshots"
    config = settings(section, tmp_path, state={"store": "topic", "interval": "1s"})
    with DaemonProcess(tmp_path, config) as daemon:
        daemon.wait_ready()
        produce(kafka.bootstrap, topic, messages(records(1500), 1))
        daemon.wait_worked_off()
        delete(kafka.bootstrap, kept)
        produce(kafka.bootstrap, topic, messages(records(500, seed=1), 1))
        wait_until(lambda: f"the topic of snapshots, {kept}, was gone" in daemon.text(), "the line")
        wait_committed_work(daemon, kafka.bootstrap, section["group"], 2000)
        assert daemon.stop() == 0, daemon.text()
        daemon.start()
        daemon.wait_ready()
        assert "continues after 2000 events" in daemon.text()
        assert daemon.stop() == 0, daemon.text()
        assert "Traceback" not in daemon.text()


@pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])
@pytest.mark.parametrize("vanished", ["group", "offsets"])
def test_offsets_of_the_group_deleted_while_it_is_stopped_are_said(
    kafka, tmp_path: Path, delivery: str, vanished: str
) -> None:
    """A10: state and journal tell where to go on; nothing is doubled after a clean stop."""
    section = quick(topics(kafka.bootstrap, 2), delivery=delivery)
    (topic,) = section["topics"]
    group = section["group"]
    stream = messages(records(3000), 2)
    with DaemonProcess(tmp_path, settings(section, tmp_path)) as daemon:
        daemon.wait_ready()
        produce(kafka.bootstrap, topic, stream[:1500])
        daemon.wait_worked_off()
        assert daemon.stop() == 0, daemon.text()
        with admin_client(kafka.bootstrap) as admin:
            if vanished == "group":
                admin.delete_groups([group])
            else:
                admin.delete_group_offsets(group, [TopicPartition(topic, 1)])
        produce(kafka.bootstrap, topic, stream[1500:])
        daemon.start()
        daemon.wait_ready().wait_worked_off()
        if delivery == "exactly_once":
            assert f"the group {group} has no offset (any more) for {topic}-" in daemon.text()
        else:
            assert f"{topic}-1: the group has no committed offset" in daemon.text()
        assert daemon.stop() == 0, daemon.text()
    assert_nothing_twice(kafka.bootstrap, section["alerts"])
    assert len(places(kafka.bootstrap, section["alerts"])) > 20
    if delivery == "exactly_once":
        assert_verified(daemon.config)


def test_a_worker_comes_and_goes_and_partitions_come_while_another_replays(
    kafka, tmp_path: Path
) -> None:
    """A2: revocation and return of a shard in the middle of a replay double nothing."""
    section = quick(topics(kafka.bootstrap, 4))
    (topic,) = section["topics"]
    state = {"directory": str(tmp_path / "state"), "interval": "1h"}
    processing = {"shards": 2, "max_poll_records": 20, "commit_interval": "200ms"}
    config = settings(section, tmp_path, state=state, processing=processing)
    stream = messages(records(6000), 4)
    with DaemonProcess(tmp_path, config) as daemon:
        daemon.wait_ready()
        for start in range(0, 6000, 1000):
            produce(kafka.bootstrap, topic, stream[start : start + 1000])
            daemon.wait_worked_off()
        wait_committed_work(daemon, kafka.bootstrap, section["group"], 6000)
        daemon.kill()
    before = places(kafka.bootstrap, section["alerts"])
    assert len(before) > 50
    halt = {"FAILPOINT": "in_replay:3:pause=2"}
    stays = DaemonProcess(tmp_path, config, name="stays", environment=halt)
    guest = DaemonProcess(tmp_path, config, name="guest", environment=halt)
    with stays, guest:
        wait_until(lambda: shards(stays) + shards(guest) == 2, "both shards to be taken on")
        wait_until(lambda: shards(stays) == shards(guest) == 1, "a shard for each")
        guest.kill()
        add_partitions(kafka.bootstrap, topic, 6)
        wait_until(lambda: stays.metric("partitions_assigned") == 6, "the return of all")
        stays.wait_ready()
        produce(kafka.bootstrap, topic, messages(records(1500, seed=1), 6))
        stays.wait_worked_off()
        assert stays.stop() == 0, stays.text()
        assert "Traceback" not in stays.text() + guest.text()
    after = places(kafka.bootstrap, section["alerts"])
    assert before.keys() <= after.keys()
    assert len(after) > len(before)
    assert_nothing_twice(kafka.bootstrap, section["alerts"])
    assert_verified(stays.config)


def shards(daemon: DaemonProcess) -> float:
    return daemon.metric("shards_owned")


def test_a_restart_while_a_partition_has_no_leader_waits_and_ends_by_name(
    cluster: Cluster, tmp_path: Path
) -> None:
    """A4: said with the partition, then exit 3 when `wait_for_input` is over; then all goes on."""
    section = quick(on_three_brokers(cluster.bootstrap), wait_for_input="4s")
    (topic,) = section["topics"]
    produce(cluster.bootstrap, topic, messages(records(300), 3))
    lost = TopicPartition(topic, 1)
    broker = cluster.brokers[leader_of(cluster, lost) - 1]
    broker.kill()
    try:
        wait_until(lambda: has_no_leader(cluster, lost), "the partition to have no leader")
        with DaemonProcess(tmp_path, settings(section, tmp_path)) as daemon:
            assert daemon.wait(60) == 3, daemon.text()
            last = daemon.text().splitlines()[-1]
            for part in ("gave up after 4 s", f"{topic}-1", "a-partition-without-a-leader"):
                assert part in last
            assert "waiting: no leader for" in daemon.text()
    finally:
        broker.start()
    with DaemonProcess(
        tmp_path, settings(quick(section, wait_for_input="60s"), tmp_path)
    ) as daemon:
        daemon.wait_ready().wait_processed(300)
        assert daemon.stop() == 0, daemon.text()


def test_input_deleted_in_the_middle_of_a_replay_ends_it_by_name(kafka, tmp_path: Path) -> None:
    """A2, 16: what the journal needs is truncated away while it is followed; nothing is doubled."""
    section = quick(topics(kafka.bootstrap, 1))
    section["consumer"] = {**QUICK, "max_partition_fetch_bytes": 2000}
    (topic,) = section["topics"]
    produce(kafka.bootstrap, topic, messages(records(2000), 1))
    config = settings(
        section,
        tmp_path,
        state={"directory": str(tmp_path / "state"), "interval": "1h"},
        processing={"max_poll_records": 50},
    )
    with DaemonProcess(tmp_path, config) as daemon:
        daemon.wait_ready()
        wait_committed_work(daemon, kafka.bootstrap, section["group"], 2000)
        daemon.kill()
    before = places(kafka.bootstrap, section["alerts"])
    halt = {"FAILPOINT": "after_poll:3:pause=4"}
    with DaemonProcess(tmp_path, config, environment=halt) as daemon:
        wait_until(lambda: "replays" in daemon.text(), "the replay to begin")
        with admin_client(kafka.bootstrap) as admin:
            admin.delete_records({TopicPartition(topic, 0): 1900})
        assert daemon.wait(60) == 4, daemon.text()
        last = daemon.text().splitlines()[-1]
        assert topic in last
        assert "Traceback" not in daemon.text()
    assert places(kafka.bootstrap, section["alerts"]) == before
