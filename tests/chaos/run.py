"""One group of workers under faults, from the first start until its input is worked off."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from kafka import TopicPartition
from kafka.admin import OffsetSpec
from kafka.errors import KafkaError
from kafka_broker.broker import Broker
from kafka_broker.clients import admin_client
from support.process import wait_until

from chaos.faults import Fault
from chaos.stream import PARTITIONS
from chaos.workers import FaultLog, Tally, Worker

READY_SECONDS = 30.0
POINT_SECONDS = 20.0
STUCK_SECONDS = 180.0
SESSION_SECONDS = 2.0
RESTARTED_BY_A_SUPERVISOR = {0, 3}
"""Exit codes with which a worker may end unasked: what it says when it cannot go on alone."""


STOPPED = {0, -signal.SIGTERM}
"""After SIGTERM; the latter where it fell before the interpreter had loaded the daemon."""


class StuckError(Exception):
    """The input is not worked off although no faults fall any more."""


def say(text: str) -> None:
    """A line of progress."""
    print(text, file=sys.stderr, flush=True)


class Run:
    """A group, its workers, and what befalls them.

    ``slots`` is how many workers there may be at once. State: the workers that live.
    """

    def __init__(
        self,
        broker: Broker,
        settings: Mapping[str, Any],
        directory: Path,
        tally: Tally,
        log: FaultLog,
        slots: int = 1,
    ) -> None:
        self.broker, self.settings, self.directory = broker, settings, directory
        self.tally, self._log, self.slots = tally, log, slots
        self.group = settings["kafka"]["group"]
        self.topic = settings["kafka"]["topics"][0]
        self.shards = settings["processing"]["shards"]
        self.workers: list[Worker] = []
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
        worker = Worker(self.directory, self.settings, environment=environment, name=name)
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
            self._log.write(exit=code, worker=worker.log.name, last=worker.text()[-300:])
            if code not in RESTARTED_BY_A_SUPERVISOR:
                self.tally.unexpected_exits.append(f"{worker.log}: exit code {code}")

    def kill(self, worker: Worker) -> None:
        """SIGKILL, if it has not ended already."""
        if worker.running():
            worker.kill()
            self.tally.kills += 1
            self.workers.remove(worker)

    def _leave(self, worker: Worker) -> str:
        started = time.monotonic()
        try:
            code: int | None = worker.stop(60)
        except subprocess.TimeoutExpired:
            worker.kill()
            code = None  # it did not stop
        self.workers.remove(worker)
        if code not in STOPPED:
            self.tally.unexpected_exits.append(f"{worker.log}: exit code {code} after SIGTERM")
        return f"exit code {code} after {time.monotonic() - started:.1f} s"

    def _until(self, condition: Callable[[], bool], seconds: float) -> bool:
        try:
            wait_until(condition, "", seconds)
        except TimeoutError:
            return False
        return True

    def wait_ready(self, worker: Worker) -> bool:
        self._until(lambda: worker.ready() or not worker.running(), READY_SECONDS)
        return worker.running()

    def _pick(self, fault: Fault) -> Worker:
        return self.workers[fault.choice % len(self.workers)]

    # --- faults: each returns its effect in a few words ---

    def disturb(self, fault: Fault) -> None:
        """Let one fault fall."""
        if fault.point:
            self.put_away()  # it brings a worker of its own
        else:
            self.keep_running()
        self.tally.faults[fault.kind] += 1
        started = time.monotonic()
        effect = getattr(self, f"_{fault.kind}")(fault)
        took = round(time.monotonic() - started, 2)
        self._log.write(fault=fault.to_json(), effect=effect, took=took, kills=self.tally.kills)

    def _kill_early(self, fault: Fault) -> str:
        """A life that ends somewhere in start, join, recovery or the first events."""
        if len(self.workers) == self.slots:
            self.kill(self._pick(fault))
        worker = self.begin()
        time.sleep(fault.seconds)
        self.kill(worker)
        return f"killed {fault.seconds} s after its start"

    def _kill_ready(self, fault: Fault) -> str:
        worker = self._pick(fault)
        ready = self.wait_ready(worker)
        time.sleep(fault.seconds)
        self.kill(worker)
        return f"killed {fault.seconds} s after it was ready" if ready else "killed, never ready"

    def _alone(self) -> None:
        """Make way: a worker that starts now shall get a shard, from somebody who was killed."""
        while len(self.workers) >= self.shards:
            self.kill(self.workers[0])

    def _failpoint(self, fault: Fault) -> str:
        if fault.point == "in_replay":  # something was done since the last snapshot, and lost
            self.keep_running()
            self._kill_ready(Fault("kill_ready", 1.3))
        return ", ".join(self._die_at(fault.point, fault.passing) for _ in range(fault.lives))

    def _die_at(self, point: str, passing: int) -> str:
        self._alone()
        worker = self.begin(f"{point}:{passing}")
        self.tally.armed[point] += 1
        deadline = time.monotonic() + POINT_SECONDS
        while not self._until(lambda: not worker.running(), 3.0):
            if self.left() == 0 or time.monotonic() > deadline:
                self.kill(worker)
                return "did not pass there; killed"
        self.workers.remove(worker)
        code = worker.code()
        if code != -signal.SIGKILL:
            self.tally.unexpected_exits.append(f"{worker.log}: exit code {code}")
            return f"ended with exit code {code}"
        self.tally.fired[point] += 1
        self.tally.kills += 1
        return "died there"

    def _broker_restart(self, fault: Fault) -> str:
        self.broker.stop()
        time.sleep(fault.seconds / 2)
        self.broker.start()
        self.tally.broker_restarts += 1
        return "stopped and started"

    def _broker_kill(self, fault: Fault) -> str:
        self.wait_ready(self._pick(fault))  # else it is a start without a broker, most of the time
        time.sleep(0.3)
        return self._crash_broker(fault.seconds)

    def _crash_broker(self, seconds: float) -> str:
        self.broker.kill()
        time.sleep(seconds)
        self.broker.start()
        self.tally.broker_restarts += 1
        self.tally.broker_kills += 1
        return "killed and started"

    def _broker_kill_at_point(self, fault: Fault) -> str:
        """The worker halts at the point, and when it goes on, the broker is gone."""
        self._alone()
        worker = self.begin(f"{fault.point}:{fault.passing}:pause={fault.seconds}")
        ready = self.wait_ready(worker)
        time.sleep(1.0)
        effect = self._crash_broker(fault.seconds)
        return f"{effect}, worker {'' if ready else 'not '}ready before"

    def _terminate(self, fault: Fault) -> str:
        time.sleep(fault.seconds)
        return self._leave(self._pick(fault)) if self.workers else "nobody there"

    def _freeze(self, fault: Fault) -> str:
        """Longer than the session: the group gives it up, and it wakes as a zombie."""
        worker = self._pick(fault)
        self.wait_ready(worker)
        worker.signal(signal.SIGSTOP)
        time.sleep(SESSION_SECONDS + fault.seconds / 2)
        worker.signal(signal.SIGCONT)
        return f"stood still for {SESSION_SECONDS + fault.seconds / 2:.1f} s"

    def _join(self, fault: Fault) -> str:
        if len(self.workers) < self.slots:
            self.begin()
        time.sleep(fault.seconds)
        return f"{len(self.workers)} workers"

    def _leave_group(self, fault: Fault) -> str:
        worker = self._pick(fault)
        self.wait_ready(worker)
        return self._leave(worker) if worker.running() else "it had ended"

    # --- progress ---

    def _rebalances(self) -> int:
        """Assignments that workers took on, by their logs."""
        logs = self.directory.glob("worker*.log")
        return sum(path.read_text(errors="replace").count("assigned shards") for path in logs)

    def ends(self) -> dict[TopicPartition, tuple[int, int]]:
        """First offset and end of each partition of the input. Raises ``KafkaError``."""
        sources = [TopicPartition(self.topic, number) for number in range(PARTITIONS)]
        with admin_client(self.broker.bootstrap) as admin:
            first, last = (
                admin.list_partition_offsets(dict.fromkeys(sources, spec))
                for spec in (OffsetSpec.EARLIEST, OffsetSpec.LATEST)
            )
        return {each: (first[each].offset, last[each].offset) for each in sources}

    def committed(self) -> dict[TopicPartition, int]:
        """The group's offsets. Raises ``KafkaError``."""
        with admin_client(self.broker.bootstrap) as admin:
            offsets = admin.list_group_offsets(self.group).get(self.group, {})
        return {source: each.offset for source, each in offsets.items()}

    def left(self) -> int:
        """Records not yet committed; -1 where the broker does not say."""
        with contextlib.suppress(KafkaError, OSError):
            committed = self.committed()
            ends = self.ends()
            return sum(end - max(committed.get(s, 0), start) for s, (start, end) in ends.items())
        return -1

    def finish(self) -> None:
        """Work the input off without faults and stop everybody. Raises ``StuckError``."""
        best, since = sys.maxsize, time.monotonic()
        while (left := self.left()) != 0:
            self.keep_running()
            if 0 <= left < best:
                best, since = left, time.monotonic()
            if time.monotonic() - since > STUCK_SECONDS:
                tails = "\n".join(worker.text()[-2000:] for worker in self.workers)
                raise StuckError(f"{self.group}: {left} records stay uncommitted\n{tails}")
            time.sleep(0.2)
        self.keep_running()
        for worker in list(self.workers):
            self.wait_ready(worker)
            effect = self._leave(worker)
            self._log.write(finish=worker.log.name, effect=effect)


def until_worked_off(run: Run, faults: Iterator[Fault], enough: Callable[[], bool]) -> None:
    """Let faults fall until there were enough or until nothing is left to work off."""
    while not enough() and run.left() != 0:
        run.disturb(next(faults))
