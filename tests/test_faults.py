"""Faults of broker, network and process, each for real, and not a byte of the output changes.

All read the same backlog, each with a group and output topics of its own; what is written must be
what a run without faults writes. The numbers are those of the table in docs/reliability.md.
"""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from chaos import stream
from chaos.judge import Written, written
from kafka import KafkaConsumer, TopicPartition
from kafka_broker.broker import Broker
from kafka_broker.clients import admin_client, consume_all, produce
from kafka_broker.proxy import END_TXN, PRODUCE, Proxy
from support.process import DaemonProcess, wait_until

EVENTS = 8000
SLOW = {"FAILPOINT": "after_poll:14:pause=0.1:times=40"}
"""It takes its time in the midst of the backlog. Without, all may be done before a busy machine
lets the test bring the fault."""
HALTED = {"FAILPOINT": "after_flush:8:pause=6"}
"""It stands in the midst of a transaction. A broker that freezes between two of them, with nothing
fetched, leaves nothing to write, and so nothing that fails to be written."""


@dataclass
class Scene:
    """A broker behind a proxy, a backlog on it, and what a run without faults makes of it."""

    broker: Broker
    proxy: Proxy
    directory: Path
    topic: str = ""
    expected: dict[str, list[Written]] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def settings(self, **kafka: Any) -> tuple[dict[str, Any], Path]:
        """A configuration with a group of its own, through the proxy."""
        directory = self.directory / f"run-{next(self._numbers)}"
        settings = stream.settings(self.broker.bootstrap, [self.topic], directory)
        consumer = {**settings["kafka"]["consumer"], **kafka.pop("consumer", {})}
        settings["kafka"] |= {"bootstrap_servers": self.proxy.bootstrap, "request_timeout": "2s"}
        settings["kafka"] |= {"transaction_timeout": "4s", **kafka, "consumer": consumer}
        return settings, directory

    def written(self, settings: dict[str, Any]) -> dict[str, list[Written]]:
        """Alerts and dead letters as a reader with ``read_committed`` sees them."""
        return {
            name: written(consume_all(self.broker.bootstrap, settings["kafka"][name]))
            for name in ("alerts", "dead_letters")
        }

    def judge(self, settings: dict[str, Any]) -> None:
        """The output is that of the undisturbed run, and the committed offsets are at the end."""
        found = self.written(settings)
        for name, expected in self.expected.items():
            assert found[name] == expected, name
        consumer = KafkaConsumer(
            bootstrap_servers=self.broker.bootstrap,
            group_id=settings["kafka"]["group"],
            enable_auto_commit=False,
            isolation_level="read_committed",
        )
        try:
            partitions = [TopicPartition(self.topic, n) for n in range(stream.PARTITIONS)]
            ends = consumer.end_offsets(partitions, timeout_ms=10_000)
            assert {p: consumer.committed(p, timeout_ms=10_000) for p in partitions} == ends
        finally:
            consumer.close(autocommit=False, timeout_ms=5000)


@pytest.fixture(scope="module")
def scene(kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Asks for ``kafka`` so as to skip where it does; the broker is one to be maltreated."""
    directory = tmp_path_factory.mktemp("faults")
    with Proxy() as proxy:
        broker = Broker(directory / "broker", proxy_port=proxy.port)
        with broker:
            assert broker.proxied_port is not None
            proxy.forward_to(broker.proxied_port)
            made = Scene(broker, proxy, directory)
            made.topic = stream.create_input(broker.bootstrap)
            events = itertools.islice(stream.events(7), EVENTS)
            produce(broker.bootstrap, made.topic, events)
            settings, place = made.settings()
            # An interpreter, with a hash seed that none of the others has. Its start and the
            # broker's are six seconds of a processor: a minute where many others want it too.
            with DaemonProcess(place, settings, interpreter=True) as daemon:
                daemon.wait_ready(timeout=180).wait_processed(EVENTS)
                assert daemon.stop() == 0, daemon.text()
            made.expected = made.written(settings)
            assert len(made.expected["alerts"]) > 50
            assert len(made.expected["dead_letters"]) == EVENTS // 250
            made.judge(settings)
            yield made


def finish(scene: Scene, daemon: DaemonProcess, settings: dict[str, Any]) -> None:
    daemon.wait_ready().wait_worked_off()
    assert daemon.metric("replay_mismatches_total") == 0
    assert daemon.stop() == 0, daemon.text()
    scene.judge(settings)


def wait_halted(daemon: DaemonProcess) -> None:
    """Wait until the daemon of ``HALTED`` stands: seven commits, and not an event in a second."""
    taken = -1.0

    def stands() -> bool:
        nonlocal taken
        before, taken = taken, daemon.metric("events_total")
        return taken == before and daemon.metric("commits_total", result="ok") >= 7

    wait_until(stands, "the daemon to stand still", every=1.0)


def frozen_broker(scene: Scene, daemon: DaemonProcess) -> None:
    """10: longer than any deadline of the client."""
    with scene.broker.paused():
        wait_until(lambda: "cannot write" in daemon.text(), "the output to fail")
        time.sleep(4)


def lost_commit_replies(scene: Scene, daemon: DaemonProcess) -> None:
    """12: the commit has landed, and nobody says so."""
    rule = scene.proxy.drop_replies(END_TXN, times=2)
    assert rule.wait()
    assert rule.wait()
    wait_until(lambda: daemon.metric("commits_total", result="in_doubt") > 0, "a doubt")


def late_commit_replies(scene: Scene, daemon: DaemonProcess) -> None:
    """12: the answer comes after the deadline."""
    assert scene.proxy.delay_replies(END_TXN, 4.0).wait()
    wait_until(lambda: daemon.metric("commits_total", result="in_doubt") > 0, "a doubt")


def lost_produce_replies(scene: Scene, daemon: DaemonProcess) -> None:
    """12: the same for what is sent: the client sends it again, the broker knows it."""
    assert scene.proxy.drop_replies(PRODUCE).wait()


def slow_network(scene: Scene, daemon: DaemonProcess) -> None:
    """34, 44: 300 ms each way, then 20 KB/s, then a byte at a time."""
    before = daemon.metric("commits_total", result="ok")
    for name, value in (("delay_seconds", 0.3), ("bytes_per_second", 20_000.0)):
        usual = getattr(scene.proxy, name)
        setattr(scene.proxy, name, value)
        try:
            time.sleep(3)
        finally:
            setattr(scene.proxy, name, usual)
    scene.proxy.single_bytes = True
    try:
        time.sleep(1)
    finally:
        scene.proxy.single_bytes = False
    wait_until(lambda: daemon.metric("commits_total", result="ok") > before, "a commit")


def broken_network(scene: Scene, daemon: DaemonProcess) -> None:
    """44: connections reset under way, then open to nobody."""
    for _ in range(3):
        wait_until(lambda: scene.proxy.cut() > 0, "a connection to cut")
        time.sleep(0.5)
    with scene.proxy.half_open():
        time.sleep(4)


@pytest.mark.parametrize(
    "fault",
    [
        frozen_broker,
        lost_commit_replies,
        late_commit_replies,
        lost_produce_replies,
        slow_network,
        broken_network,
    ],
    ids=lambda fault: fault.__name__,
)
def test_no_byte_changes(scene: Scene, fault: Callable[[Scene, DaemonProcess], None]) -> None:
    settings, place = scene.settings()
    armed = HALTED if fault is frozen_broker else SLOW
    with DaemonProcess(place, settings, environment=armed) as daemon:
        daemon.wait_ready()
        if armed is HALTED:
            wait_halted(daemon)
        else:
            daemon.wait_processed(500)
        fault(scene, daemon)
        finish(scene, daemon, settings)


@pytest.mark.parametrize(
    "point", ["after_poll", "mid_produce", "after_flush", "after_offsets", "after_commit"]
)
def test_a_broker_that_dies_while_the_daemon_stands_at_a_step_changes_no_byte(
    scene: Scene, point: str
) -> None:
    """9: what comes next meets a broker that is away, then one that has forgotten connections."""
    settings, place = scene.settings()
    armed = {"FAILPOINT": f"{point}:12:pause=2"}
    with DaemonProcess(place, settings, environment=armed) as daemon:
        daemon.wait_ready()
        last = -1.0

        def stands() -> bool:
            nonlocal last
            before, last = last, daemon.metric("events_total")
            return 0 < last == before

        wait_until(stands, "the daemon to stand still", every=0.4)
        scene.broker.restart(crash=True)
        finish(scene, daemon, settings)


def test_a_transaction_that_the_broker_times_out_is_written_again(scene: Scene) -> None:
    """11: the bare client would say OK and lose it (defect A)."""
    settings, place = scene.settings(transaction_timeout="2s")
    armed = {"FAILPOINT": "after_flush:8:pause=5,mid_produce:20:pause=1.5"}
    with DaemonProcess(place, settings, environment=armed) as daemon:
        daemon.wait_ready()
        wait_until(lambda: daemon.metric("commits_total", result="in_doubt") >= 1, "a doubt")
        finish(scene, daemon, settings)


def test_a_worker_that_is_frozen_while_another_takes_over_writes_nothing(scene: Scene) -> None:
    """29: fenced by the transactional id and by the group's generation."""
    settings, place = scene.settings()
    first, second = (DaemonProcess(place, settings, name=name) for name in ("first", "second"))
    with first:
        first.wait_ready().wait_processed(1000)
        os.kill(first.pid, signal.SIGSTOP)
        try:
            with second:
                wait_until(lambda: second.metric("shards_owned") == 1, "the second to take over")
                second.wait_ready()
                os.kill(first.pid, signal.SIGCONT)
                wait_until(lambda: first.metric("shards_owned") == 0, "the first to learn of it")
                finish(scene, second, settings)
        finally:
            os.kill(first.pid, signal.SIGCONT)


def test_a_loop_that_stands_longer_than_the_group_allows_begins_anew(scene: Scene) -> None:
    """32: the group gives the worker up; what it had not committed is dropped and done again."""
    settings, place = scene.settings(consumer={"max_poll_interval_ms": 3000})
    armed = {"FAILPOINT": "after_poll:40:pause=7"}
    with DaemonProcess(place, settings, environment=armed) as daemon:
        daemon.wait_ready()
        wait_until(lambda: "shard given up" in daemon.text(), "the shard to be lost")
        finish(scene, daemon, settings)


def test_workers_that_come_and_go_all_the_time_change_no_byte(scene: Scene) -> None:
    """31: twelve joins and leaves, by signal and by kill, one after the other."""
    settings, place = scene.settings()
    workers = [DaemonProcess(place, settings, name=f"worker{n}") for n in range(3)]
    try:
        workers[0].start().wait_ready()
        for turn in range(12):
            worker = workers[turn % 3]
            if not worker.running():
                worker.start()
                time.sleep(0.5)
            elif turn % 2:
                code = worker.stop()  # SIGTERM before Python has begun is heard by nobody
                assert code == 0 or not worker.text(), worker.text()
            else:
                worker.kill()
        last = next((w for w in workers if w.running()), workers[0])
        if not last.running():
            last.start()
        for worker in workers:
            if worker is not last:
                worker.kill()
        wait_until(lambda: last.metric("shards_owned") == 1, "the last one to have the shard")
        finish(scene, last, settings)
    finally:
        for worker in workers:
            worker.kill()


def test_clock_hash_seed_and_threads_change_no_byte(scene: Scene) -> None:
    """24, 41: another day on the daemon's clock, other salts, more BLAS threads asked for."""
    settings, place = scene.settings()
    settings["processing"] |= {"max_poll_records": 7, "max_buffered_records": 50}
    other = {"PYTHONHASHSEED": "12345", "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}
    # libfaketime stops Python's timed waits; what the daemon reads of the clock is `time.time`.
    # Back in time, since brokers refuse what is stamped an hour ahead.
    place.mkdir(parents=True)
    (place / "sitecustomize.py").write_text(
        "import time\nnow = time.time\ntime.time = lambda: now() - 40 * 86_400\n"
    )
    other |= {"PYTHONPATH": str(place)}
    with DaemonProcess(place, settings, environment=other) as daemon:
        finish(scene, daemon, settings)


@pytest.mark.parametrize("signals", [1, 2])
def test_a_stop_while_the_broker_is_away_ends_in_time(scene: Scene, signals: int) -> None:
    """35: one signal waits for a third of the limit, a second one for nothing."""
    settings, place = scene.settings()
    settings["processing"]["shutdown_timeout"] = "9s" if signals == 1 else "10m"
    with DaemonProcess(place, settings, environment=HALTED) as daemon:
        daemon.wait_ready()
        wait_halted(daemon)
        with scene.broker.paused():
            wait_until(lambda: "cannot write" in daemon.text(), "the output to fail")
            os.kill(daemon.pid, signal.SIGTERM)
            if signals == 2:
                time.sleep(1.5)  # two that come together are one
                os.kill(daemon.pid, signal.SIGTERM)
            daemon.wait(60)
        daemon.start()
        finish(scene, daemon, settings)


def test_a_signal_at_any_moment_of_the_start_ends_it(scene: Scene) -> None:
    """36: while importing, joining, replaying."""
    settings, place = scene.settings()
    with DaemonProcess(place, settings, interpreter=True) as daemon:
        daemon.wait_ready().wait_processed(2000)
        daemon.kill()
        for delay in (0.1, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0):
            daemon.start()
            time.sleep(delay)
            os.kill(daemon.pid, signal.SIGTERM)
            code = daemon.wait(30)
            # Before Python has begun there is nobody to hear it.
            assert code == 0 or (code == -signal.SIGTERM and not daemon.text()), daemon.text()
        daemon.start()
        finish(scene, daemon, settings)


def test_output_topics_that_are_deleted_stop_everything_and_nothing_is_skipped(
    scene: Scene,
) -> None:
    """15: no offset is committed for an alert that could not be written."""
    settings, place = scene.settings(give_up_after="5s", wait_for_input="3s")
    alerts = settings["kafka"]["alerts"]
    with DaemonProcess(place, settings) as daemon:
        daemon.wait_ready().wait_processed(1000)
        with admin_client(scene.broker.bootstrap) as admin:
            admin.delete_topics([alerts], timeout_ms=10_000)
        assert daemon.wait(90) == 3, daemon.text()
        # Which of the two is said depends on what the broker answers first.
        gone = ("no output could be written", "was deleted while it was written to")
        assert any(words in daemon.text() for words in gone), daemon.text()
        assert alerts in daemon.text()
        assert daemon.start().wait(60) != 0, "started without its topic"
        assert alerts in daemon.text()
