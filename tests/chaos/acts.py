"""The faults as acts: a function each, under its kind's name, that gives its effect in words."""

from __future__ import annotations

import random
import signal
import time

from kafka import TopicPartition
from kafka.admin import AbortTransactionSpec
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata
from kafka_broker.broker import Broker
from kafka_broker.clients import admin_client, unique_name

from chaos.faults import Fault
from chaos.live import leave_hanging
from chaos.run import READY_SECONDS, Run, insist
from chaos.workers import Worker

POINT_SECONDS = 20.0
SILENCE_SECONDS = 60.0
CAUGHT_UP_SECONDS = 60.0
LITTLE_LEFT = 300
SESSION_SECONDS = 2.0
MOST_PARTITIONS = 24
HANGING = "hanging"
STATE = 4
"""Exit code where state and input do not fit together."""


def act(run: Run, fault: Fault) -> str:
    """Do what the fault's kind says."""
    return str(globals()[fault.kind](run, fault))


# --- workers ---


def kill_early(run: Run, fault: Fault) -> str:
    """A life that ends somewhere in start, join, recovery or the first events."""
    if len(run.workers) == run.slots:
        run.kill(run.pick(fault))
    worker = run.begin()
    time.sleep(fault.seconds)
    run.kill(worker)
    return f"killed {fault.seconds} s after its start"


def kill_ready(run: Run, fault: Fault) -> str:
    worker = run.pick(fault)
    ready = run.wait_ready(worker)
    time.sleep(fault.seconds)
    run.kill(worker)
    return f"killed {fault.seconds} s after it was ready" if ready else "killed, never ready"


def kill_all(run: Run, fault: Fault) -> str:
    """A host dies with all its workers; as many begin at once as it can bear."""
    run.wait_ready(run.pick(fault))
    for worker in list(run.workers):
        run.kill(worker)
    while len(run.workers) < run.slots:
        run.begin()
    time.sleep(fault.seconds)
    return f"{len(run.workers)} others since {fault.seconds} s"


def failpoint(run: Run, fault: Fault) -> str:
    if fault.point == "in_replay":  # something was done since the last snapshot, and lost
        run.keep_running()
        kill_ready(run, Fault("kill_ready", 1.3))
    return ", ".join(_die_at(run, fault.point, fault.passing) for _ in range(fault.lives))


def _die_at(run: Run, point: str, passing: int, silence: float = 0.0) -> str:
    """``silence``: for so many seconds nobody writes any more, once the worker has caught up."""
    run.make_way()
    worker = run.begin(f"{point}:{passing}")
    run.tally.armed[point] += 1
    if silence:
        # To one that works off a backlog, events are as old as that when it begins: it would wait
        # for as long again before it believes that nothing comes.
        run.wait_ready(worker)
        run.until(lambda: 0 <= run.left() <= LITTLE_LEFT, CAUGHT_UP_SECONDS)
        run.silent.set()
    deadline = time.monotonic() + (silence or POINT_SECONDS)
    while not run.until(lambda: not worker.running(), 3.0):
        if (not silence and run.left() == 0) or time.monotonic() > deadline:
            run.kill(worker)
            return "did not pass there; killed"
    run.workers.remove(worker)
    code = worker.code()
    if code != -signal.SIGKILL:
        run.unexpected(worker, f"exit code {code}")
        return f"ended with exit code {code}"
    run.tally.fired[point] += 1
    run.tally.kills += 1
    return "died there"


def silence(run: Run, fault: Fault) -> str:
    """Nobody writes any more, and somebody dies between a tick and its commit."""
    try:
        return _die_at(run, fault.point, fault.passing, silence=SILENCE_SECONDS)
    finally:
        run.silent.clear()


def terminate(run: Run, fault: Fault) -> str:
    time.sleep(fault.seconds)
    return run.leave(run.pick(fault)) if run.workers else "nobody there"


def freeze(run: Run, fault: Fault) -> str:
    """Longer than the session: the group gives it up, and it wakes as a zombie."""
    worker = run.pick(fault)
    run.wait_ready(worker)
    worker.signal(signal.SIGSTOP)
    time.sleep(SESSION_SECONDS + fault.seconds / 2)
    worker.signal(signal.SIGCONT)
    return f"stood still for {SESSION_SECONDS + fault.seconds / 2:.1f} s"


def join(run: Run, fault: Fault) -> str:
    if len(run.workers) < run.slots:
        run.begin()
    time.sleep(fault.seconds)
    return f"{len(run.workers)} workers"


def leave_group(run: Run, fault: Fault) -> str:
    worker = run.pick(fault)
    run.wait_ready(worker)
    return run.leave(worker) if worker.running() else "it had ended"


# --- brokers: one that was away comes back while the next faults fall ---


def _one_of_all(run: Run, fault: Fault) -> Broker:
    """A broker to be disturbed, with all the others at work: two of three must stay."""
    run.cluster.start()
    brokers = run.cluster.brokers
    return brokers[fault.choice % len(brokers)]


def broker_restart(run: Run, fault: Fault) -> str:
    broker = _one_of_all(run, fault)
    broker.stop()
    time.sleep(fault.seconds / 2)
    broker.launch()
    run.tally.broker_restarts += 1
    return f"{broker.directory.name} stopped and started"


def broker_kill(run: Run, fault: Fault) -> str:
    broker = _one_of_all(run, fault)
    run.wait_ready(run.pick(fault))  # else it is a start without a broker, most of the time
    time.sleep(0.3)
    return _crash(run, broker, fault.seconds)


def _crash(run: Run, broker: Broker, seconds: float) -> str:
    broker.kill()
    time.sleep(seconds)
    broker.launch()
    run.tally.broker_kills += 1
    return f"{broker.directory.name} killed and started"


def outage(run: Run, fault: Fault) -> str:
    """All brokers die at once."""
    run.cluster.start()
    run.wait_ready(run.pick(fault))
    run.cluster.each(Broker.kill)
    time.sleep(fault.seconds)
    run.cluster.start()
    run.tally.outages += 1
    run.tally.broker_kills += len(run.cluster.brokers)
    return "all killed and started"


def broker_kill_at_point(run: Run, fault: Fault) -> str:
    """The worker halts at the point, and when it goes on, a broker is gone, or all of them."""
    broker = _one_of_all(run, fault)
    run.make_way()
    worker = run.begin(f"{fault.point}:{fault.passing}:pause={fault.seconds}")
    ready = run.wait_ready(worker)
    time.sleep(1.0)
    everything = Fault("outage", fault.seconds)
    effect = outage(run, everything) if fault.choice % 2 else _crash(run, broker, fault.seconds)
    return f"{effect}, worker {'' if ready else 'not '}ready before"


def leaders_move(run: Run, fault: Fault) -> str:
    """The operator balances: about half of what this run reads and writes gets another leader."""
    run.cluster.start()
    chance = random.Random(fault.choice)

    def chosen(source: TopicPartition) -> bool:
        own = source.topic in run.topics or source.topic.startswith((run.group, "__"))
        return own and chance.random() < 0.5

    moved = insist(lambda: run.cluster.move_leaders(chosen))
    run.tally.leaders_moved += moved
    return f"{moved} leaders moved"


# --- topics and offsets ---


def partitions_added(run: Run, fault: Fault) -> str:
    run.cluster.start()
    time.sleep(fault.seconds / 5)
    topic = run.topics[fault.choice % len(run.topics)]
    count = sum(source.topic == topic for source in insist(run.partitions))
    if count >= MOST_PARTITIONS:
        return "as many as there may be"
    more = 1 + fault.choice % 2
    with admin_client(run.cluster.bootstrap) as admin:
        insist(lambda: admin.create_partitions({topic: count + more}, timeout_ms=10_000))
    run.tally.partitions_added += more
    return f"{count + more} partitions"


def partitions_added_in_replay(run: Run, fault: Fault) -> str:
    """Somebody dies, and while the next one follows the journal the topic grows."""
    kill_ready(run, Fault("kill_ready", 1.3, choice=fault.choice))
    run.make_way()
    worker = run.begin()

    def replays() -> bool:
        return "journal records" in worker.text() or worker.ready() or not worker.running()

    run.until(replays, READY_SECONDS)
    effect = partitions_added(run, fault)
    if not worker.running() or _caught_up(worker):
        return f"{effect}, too late for the replay"
    if effect.endswith("partitions"):
        run.tally.partitions_added_in_replay += 1
    run.wait_ready(worker)
    return f"{effect} in the replay"


def _caught_up(worker: Worker) -> bool:
    return "caught up with its journal" in worker.text() or worker.ready()


def offsets_reset(run: Run, fault: Fault) -> str:
    """An operator resets an offset while nobody works; the journal rules, and it is said."""
    for worker in list(run.workers):
        run.leave(worker)
    run.cluster.start()
    committed = insist(run.committed)
    if not committed:
        return "nothing was committed yet"
    source = sorted(committed)[fault.choice % len(committed)]
    wrong = committed[source] // 2 if fault.choice % 3 else insist(run.ends)[source][1]
    if wrong == committed[source]:
        return "it stands there already"
    _alter(run, source, wrong)
    run.tally.offsets_reset += 1
    worker = run.begin()
    run.until(lambda: not worker.running(), READY_SECONDS)
    code, text = worker.code(), worker.text()
    run.kill(worker) if worker.running() else run.workers.remove(worker)
    if code != STATE or "reset" not in text:
        run.unexpected(worker, f"exit code {code} after a reset of offsets")
    _alter(run, source, committed[source])
    return f"{source.topic}-{source.partition} set to {wrong}: exit code {code}; set back"


def _alter(run: Run, source: TopicPartition, offset: int) -> None:
    def altered() -> bool:
        with admin_client(run.cluster.bootstrap) as admin:
            wanted = {source: OffsetAndMetadata(offset, "", -1)}
            (error,) = admin.alter_group_offsets(run.group, wanted).values()
        return getattr(error, "errno", 0) == 0

    def answered() -> bool:
        try:
            return altered()  # who was killed is a member until its session ends
        except (KafkaError, OSError):
            return False

    if not run.until(answered, READY_SECONDS):
        raise TimeoutError(f"the offsets of {run.group} cannot be set")


def hanging_transaction(run: Run, fault: Fault) -> str:
    """A producer dies in a transaction; ended by its timeout, or by the operator."""
    sources = insist(run.partitions)
    source = sources[fault.choice % len(sources)]
    name = unique_name(HANGING)
    if not leave_hanging(run.cluster.bootstrap, source.topic, source.partition, name):
        return "it did not get so far"
    run.tally.hanging_transactions += 1
    if fault.choice % 2:
        return f"{source.topic}-{source.partition} stands until the timeout"
    time.sleep(fault.seconds / 2)
    return f"{source.topic}-{source.partition}: {_abort(run, source)} aborted by the operator"


def _abort(run: Run, source: TopicPartition) -> int:
    """End what is open in a partition, as ``kafka-transactions.sh abort`` does."""
    count = 0
    try:
        with admin_client(run.cluster.bootstrap) as admin:
            producers = admin.describe_producers([source])[source].active_producers
            for each in producers:
                if each.current_transaction_start_offset >= 0:
                    admin.abort_transaction(
                        AbortTransactionSpec(source, each.producer_id, each.producer_epoch)
                    )
                    count += 1
    except (KafkaError, OSError):
        return count  # its leader moves just now: the timeout ends it
    return count
