"""One of two topics is deleted and made anew: the other goes on, and the new one is refused."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

from kafka import TopicPartition
from kafka.errors import KafkaError, TopicAlreadyExistsError
from kafka_broker.clients import Message, admin_client, create_topic, produce
from kafka_broker.cluster import Cluster

from chaos.acts import STATE, act
from chaos.campaign import Campaign
from chaos.faults import Fault
from chaos.hostile import aborted
from chaos.judge import Verdict, doubled_sources
from chaos.live import LiveProducer
from chaos.run import Run, insist, say
from chaos.stream import INPUT, create_input

TOPIC_PARTITIONS = 2
FAULTS_A_ROUND = 5
PROGRESS_SECONDS = 60.0
REFUSED_SECONDS = 60.0


def made_anew(
    campaign: Campaign,
    cluster: Cluster,
    phase: str,
    rate: float,
    enough: Callable[[], bool],
    faults: Iterator[Fault] | None = None,
) -> None:
    """Rounds of live input on two topics, each of which ends with the refusal of one."""
    faults = campaign.faults(phase, several=False) if faults is None else faults
    for number in itertools.count(1):
        _round(
            campaign, cluster, f"{phase}-{number}", rate, itertools.islice(faults, FAULTS_A_ROUND)
        )
        if enough():
            return


def _round(
    campaign: Campaign, cluster: Cluster, name: str, rate: float, faults: Iterator[Fault]
) -> None:
    bootstrap = cluster.bootstrap
    kept, doomed = (create_input(bootstrap, TOPIC_PARTITIONS) for _ in range(2))
    run = campaign.run(cluster, [kept, doomed], name, 1, 2)
    with run:
        with LiveProducer(bootstrap, [kept, doomed], rate, campaign.seed) as both:
            for fault in faults:
                run.disturb(fault, act)
        campaign.settle(run)
        run.finish()
        campaign.judge_live(run, both.planted)
        old = {s: ends for s, ends in insist(run.ends).items() if s.topic == doomed}
        run.topics.remove(doomed)
        worker = run.begin()
        if not run.wait_ready(worker):
            campaign.problem(run, "no worker although nothing has happened to it")
            return
        _delete(cluster, doomed)
        with LiveProducer(bootstrap, [kept], rate, campaign.seed + 1) as one:
            if not run.until(lambda: one.sent > rate, PROGRESS_SECONDS):
                campaign.problem(run, "the producer does not get on")
        campaign.settle(run)
        if not run.until(lambda: run.left() == 0, PROGRESS_SECONDS) or not worker.running():
            campaign.problem(run, f"{kept} does not go on without {doomed}")
        _make_anew(run, doomed)
        for reason in ("while it works", "at the next start"):
            _expect_refusal(campaign, run, doomed, reason)
    campaign.tally.topics_made_anew += 1
    campaign.events += both.sent + one.sent
    campaign.bad_records += len(both.planted.kinds) + len(one.planted.kinds)
    both.planted.kinds.update(one.planted.kinds)
    say(f"{name}: {doomed} was made anew and refused")
    _judge(campaign, run, both.planted.kinds, old)


def _delete(cluster: Cluster, topic: str) -> None:
    with admin_client(cluster.bootstrap) as admin:
        insist(lambda: admin.delete_topics([topic], timeout_ms=10_000))


def _make_anew(run: Run, topic: str) -> None:
    """The same name, and in it what nobody may read: it is not what the group began with."""
    bootstrap = run.cluster.bootstrap

    def made() -> bool:
        try:
            create_topic(bootstrap, topic, TOPIC_PARTITIONS, INPUT, replicas=-1)
        except TopicAlreadyExistsError:
            return False  # it is still being deleted
        except (KafkaError, OSError):
            return False
        return True

    if not run.until(made, PROGRESS_SECONDS):
        raise TimeoutError(f"{topic} cannot be made anew")
    never = [aborted(Message(b"{}", number % TOPIC_PARTITIONS, b"k")) for number in range(4000)]
    insist(lambda: produce(bootstrap, topic, never))


def _expect_refusal(campaign: Campaign, run: Run, topic: str, when: str) -> None:
    """Whoever works, or begins, ends with the exit code for a state that does not fit."""
    if not run.workers:
        run.begin()
    (worker,) = run.workers
    ended = run.until(lambda: not worker.running(), REFUSED_SECONDS)
    text = worker.text()
    said = topic in text and "made anew" in text
    if not ended or worker.code() != STATE or not said:
        campaign.problem(run, f"{topic} made anew is not refused {when}: {text[-500:]}")
    run.log.write(refused=topic, when=when, exit=worker.code())
    worker.kill()
    run.workers.remove(worker)


def _judge(
    campaign: Campaign,
    run: Run,
    planted: dict[tuple[str, int, int], str],
    old: dict[TopicPartition, tuple[int, int]],
) -> None:
    """Each offset of the old topic and of the kept one was read once, none of the new one."""
    found = Verdict()
    outputs = campaign.outputs(run)
    for output in outputs:
        found.doubled += doubled_sources(output)
        found.expected += len(output)
        found.found += len(output)
    campaign.check_planted(run, outputs[1], planted)
    campaign.journal(run, {**insist(run.ends), **old})
    campaign.judged(run, found)
