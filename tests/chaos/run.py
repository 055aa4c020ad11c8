"""One group of workers under faults, from the first start until its input is worked off."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

from kafka import TopicPartition
from kafka.admin import OffsetSpec
from kafka.errors import KafkaError
from kafka_broker.clients import admin_client
from kafka_broker.cluster import Cluster
from support.process import wait_until

from chaos.faults import Fault
from chaos.workers import FaultLog, Tally, Worker

READY_SECONDS = 30.0
STUCK_SECONDS = 180.0
ASKED_SECONDS = 60.0
MANY_EXITS = 10
RESTARTED_BY_A_SUPERVISOR = {0, 3}
"""Exit codes with which a worker may end unasked: what it says when it cannot go on alone."""


STOPPED = {0, -signal.SIGTERM}
"""After SIGTERM; the latter where it fell before the interpreter had loaded the daemon."""

T = TypeVar("T")


class StuckError(Exception):
    """The input is not worked off although no faults fall any more."""


def say(text: str) -> None:
    """A line of progress."""
    print(text, file=sys.stderr, flush=True)


def insist(question: Callable[[], T], seconds: float = ASKED_SECONDS) -> T:
    """Ask the brokers until one answers: leaders move and brokers come back meanwhile.

    Raises ``KafkaError`` or ``OSError``, the last one's, where none did in ``seconds``.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return question()
        except (KafkaError, OSError):
            if time.monotonic() > deadline:
                raise
        time.sleep(0.2)


class Run:
    """A group, its workers, and what befalls them.

    ``slots`` is how many workers there may be at once. State: the workers that live; whether the
    live producer is to be ``silent``.
    """

    def __init__(
        self,
        cluster: Cluster,
        settings: Mapping[str, Any],
        directory: Path,
        tally: Tally,
        log: FaultLog,
        slots: int = 1,
    ) -> None:
        self.cluster, self.settings, self.directory = cluster, settings, directory
        self.tally, self.log, self.slots = tally, log, slots
        self.group = settings["kafka"]["group"]
        self.topics: list[str] = list(settings["kafka"]["topics"])
        self.shards = settings["processing"]["shards"]
        self.workers: list[Worker] = []
        self.silent = threading.Event()
        self._lives = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.kill()
        self.tally.rebalances += self._rebalances()

    # --- workers ---

    def begin(self, failpoints: str = "") -> Worker:
        """Start one more worker."""
        self._lives += 1
        name = f"worker{self._lives}"
        environment = {"FAILPOINT": failpoints}
        worker = Worker(
            self.directory,
            self.settings,
            environment=environment,
            name=name,
            interpreter=self._lives == 1,  # `make chaos` never forks, the tests do: see `warm`
        )
        self.workers.append(worker.start())
        return worker

    def keep_running(self) -> None:
        """Put away who has ended, and see that at least one works."""
        self.put_away()
        if not self.workers:
            self.begin()

    def put_away(self) -> None:
        """Note who has ended by itself."""
        for worker in [each for each in self.workers if not each.running()]:
            self.workers.remove(worker)
            code = worker.code()
            self.tally.own_exits += 1
            self.log.write(exit=code, worker=worker.log.name, last=worker.text()[-300:])
            if code not in RESTARTED_BY_A_SUPERVISOR:
                self.unexpected(worker, f"exit code {code}")

    def unexpected(self, worker: Worker, text: str) -> None:
        """Note an end that no fault explains."""
        self.tally.unexpected_exits.append(f"{worker.log}: {text}")

    def kill(self, worker: Worker) -> None:
        """SIGKILL, if it has not ended already."""
        if worker.running():
            worker.kill()
            self.tally.kills += 1
            self.workers.remove(worker)

    def leave(self, worker: Worker) -> str:
        """SIGTERM, and what comes of it."""
        started = time.monotonic()
        try:
            code: int | None = worker.stop(60)
        except subprocess.TimeoutExpired:
            worker.kill()
            code = None  # it did not stop
        self.workers.remove(worker)
        if code not in STOPPED:
            self.unexpected(worker, f"exit code {code} after SIGTERM")
        return f"exit code {code} after {time.monotonic() - started:.1f} s"

    def until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Whether it came to hold in time."""
        try:
            wait_until(condition, "", seconds)
        except TimeoutError:
            return False
        return True

    def wait_ready(self, worker: Worker) -> bool:
        """Wait until a worker is at work; False where it has ended instead."""
        self.until(lambda: worker.ready() or not worker.running(), READY_SECONDS)
        return worker.running()

    def pick(self, fault: Fault) -> Worker:
        """One of those that live."""
        return self.workers[fault.choice % len(self.workers)]

    def make_way(self) -> None:
        """A worker that starts now shall get a shard, from somebody who was killed."""
        self.put_away()
        while len(self.workers) >= self.shards:
            self.kill(self.workers[0])

    def disturb(self, fault: Fault, act: Callable[[Run, Fault], str]) -> None:
        """Let one fault fall."""
        if fault.point:
            self.put_away()  # it brings a worker of its own
        else:
            self.keep_running()
        self.tally.faults[fault.kind] += 1
        started = time.monotonic()
        effect = act(self, fault)
        took = round(time.monotonic() - started, 2)
        self.log.write(fault=fault.to_json(), effect=effect, took=took, kills=self.tally.kills)

    def _rebalances(self) -> int:
        """Assignments that workers took on, by their logs."""
        logs = self.directory.glob("worker*.log")
        return sum(path.read_text(errors="replace").count("assigned shards") for path in logs)

    # --- progress ---

    def partitions(self) -> list[TopicPartition]:
        """Those of the input, as many as there are now. Raises ``KafkaError``."""
        with admin_client(self.cluster.bootstrap) as admin:
            found = admin.describe_topics(self.topics)
        return [
            TopicPartition(topic["name"], each["partition_index"])
            for topic in found
            for each in topic["partitions"]
        ]

    def ends(self) -> dict[TopicPartition, tuple[int, int]]:
        """First offset and end of each partition of the input. Raises ``KafkaError``."""
        sources = self.partitions()
        with admin_client(self.cluster.bootstrap) as admin:
            first, last = (
                admin.list_partition_offsets(dict.fromkeys(sources, spec))
                for spec in (OffsetSpec.EARLIEST, OffsetSpec.LATEST)
            )
        return {each: (first[each].offset, last[each].offset) for each in sources}

    def committed(self) -> dict[TopicPartition, int]:
        """The group's offsets. Raises ``KafkaError``."""
        with admin_client(self.cluster.bootstrap) as admin:
            offsets = admin.list_group_offsets(self.group).get(self.group, {})
        return {source: each.offset for source, each in offsets.items()}

    def left(self) -> int:
        """Records not yet committed; -1 where the broker does not say."""
        with contextlib.suppress(KafkaError, OSError):
            committed = self.committed()
            ends = self.ends()
            return sum(end - max(committed.get(s, 0), start) for s, (start, end) in ends.items())
        return -1

    def work_off(self) -> None:
        """Work the input off without faults. Raises ``StuckError``."""
        self.cluster.start()
        best, since = sys.maxsize, time.monotonic()
        while (left := self.left()) != 0:
            self.keep_running()
            if 0 <= left < best:
                best, since = left, time.monotonic()
            looping = len(self.tally.unexpected_exits) > MANY_EXITS
            if looping or time.monotonic() - since > STUCK_SECONDS:
                tails = "\n".join(worker.text()[-2000:] for worker in self.workers)
                raise StuckError(f"{self.group}: {left} records stay uncommitted\n{tails}")
            time.sleep(0.2)

    def stop(self) -> None:
        """Stop everybody; at least one, so that a clean stop ends each run."""
        self.keep_running()
        for worker in list(self.workers):
            self.wait_ready(worker)
            effect = self.leave(worker)
            self.log.write(finish=worker.log.name, effect=effect)

    def finish(self) -> None:
        """Work the input off and stop everybody. Raises ``StuckError``."""
        self.work_off()
        self.stop()


def until_worked_off(
    run: Run,
    faults: Iterator[Fault],
    act: Callable[[Run, Fault], str],
    enough: Callable[[], bool],
) -> None:
    """Let faults fall until there were enough or until nothing is left to work off."""
    while not enough() and run.left() != 0:
        run.disturb(next(faults), act)
