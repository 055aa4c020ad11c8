"""Shards that stay with their worker go on while the group finds its new order."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from kafka_broker.clients import produce
from support.process import DaemonProcess, wait_until
from support.streams import records
from test_daemon import messages, settings, topics

from stream_detector.connectors.kafka.reading.assignor import distribute, give_up_first


def wait_settled(*workers: DaemonProcess) -> None:
    """A member that joined before it knew the topic joins once more, later: wait for the last."""
    counts: list[float] = []

    def settled() -> bool:
        counts.append(sum(worker.metric("rebalances_total") for worker in workers))
        return len(counts) > 8 and len(set(counts[-8:])) == 1

    wait_until(settled, "the group to settle", every=0.5)


def test_a_shard_goes_on_while_the_group_waits_for_a_member_that_hangs(
    kafka, tmp_path: Path
) -> None:
    """A join lasts until the slowest member has joined or its session has passed, here 25 s."""
    quick = {"session_timeout_ms": 25_000, "heartbeat_interval_ms": 300}
    section = {**topics(kafka.bootstrap, 4), "consumer": quick}
    config = settings(section, tmp_path, processing={"shards": 2, "commit_interval": "200ms"})
    stays, hangs, comes = (DaemonProcess(tmp_path, config, name=n) for n in ("a", "b", "c"))
    with stays, hangs:

        def owned() -> list[float]:
            return [worker.metric("shards_owned") for worker in (stays, hangs)]

        wait_until(lambda: owned() == [1, 1], "a shard each")
        wait_settled(stays, hangs)
        before = stays.metric("rebalances_total")
        os.kill(hangs.pid, signal.SIGSTOP)
        try:
            with comes:
                wait_until(lambda: "metrics at" in comes.text(), "the third to start")
                # It asks to join; the group waits for the one that hangs.
                group = "a member of the group"
                wait_until(lambda: comes.running() and "reading" in comes.text(), group)
                done = stays.metric("events_total")
                stream = messages(records(2000), 4)
                produce(kafka.bootstrap, section["topics"][0], stream)
                shard = json.loads(stays.text().rsplit("assigned shards ", 1)[1].split()[0])
                mine = sum(message.partition % 2 == shard for message in stream)
                wait_until(
                    lambda: stays.metric("events_total") - done == mine,
                    "the shard that stays to work everything off",
                )
                wait_until(lambda: stays.metric("commits_total", result="ok") > 0, "a commit")
                assert stays.metric("rebalances_total") == before, "the join was over too early"
                wait_until(lambda: comes.metric("shards_owned") == 1, "the third to take over")
        finally:
            os.kill(hangs.pid, signal.SIGCONT)


def test_a_worker_that_comes_back_under_its_name_takes_its_shard_without_a_rebalance(
    kafka, tmp_path: Path
) -> None:
    section = topics(kafka.bootstrap, 4)
    produce(kafka.bootstrap, section["topics"][0], messages(records(2000), 4))

    def named(name: str) -> DaemonProcess:
        # A session longer than the test: without its name the shard would stay away.
        own = {**section, "instance_id": name, "consumer": {"session_timeout_ms": 60_000}}
        config = settings(own, tmp_path, processing={"shards": 2})
        return DaemonProcess(tmp_path, config, name=name)

    with named("first") as first, named("second") as second:
        wait_until(
            lambda: [w.metric("shards_owned") for w in (first, second)] == [1, 1], "a shard each"
        )
        first.wait_worked_off()
        second.wait_worked_off()
        wait_settled(first, second)
        # On a loaded machine the client may join a second time by itself, about once in twenty
        # starts: that costs the others a rebalance, and nobody a shard.
        undisturbed = 0
        for _ in range(3):
            before = second.metric("rebalances_total")
            first.kill()
            first.start().wait_ready()
            assert first.metric("shards_owned") == 1  # the session of the old one lasts a minute
            assert second.metric("shards_owned") == 1
            undisturbed += second.metric("rebalances_total") == before
            wait_settled(first, second)
        assert undisturbed >= 1, first.text() + second.text()


def test_a_shard_that_another_has_is_given_up_before_it_is_handed_out() -> None:
    owned = {"a": [0, 1, 2, 3], "b": []}
    final = distribute(4, owned)
    assert final == {"a": [0, 1], "b": [2, 3]}
    assert give_up_first(final, owned) == {"a": [0, 1], "b": []}
    second = {"a": [0, 1], "b": []}
    assert give_up_first(distribute(4, second), second) == {"a": [0, 1], "b": [2, 3]}
    # Two that claim the same: neither gets it before both have let go.
    claimed = {"a": [0], "b": [0]}
    assert give_up_first(distribute(2, claimed), claimed)["a"] in ([], [1])
