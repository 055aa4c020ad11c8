"""Topics that are missing, made on demand, without a leader or with too few replicas or partitions.

And the cluster under them: brokers that cannot be reached where they say they are, internal topics
that cannot be made.
"""

from __future__ import annotations

from collections.abc import Iterator

from stream_detector.config.models.config import Config, KafkaConfig
from stream_detector.connectors.kafka.inspection.facts import (
    INPUT,
    JOURNAL,
    LABELS,
    Facts,
    Topic,
)
from stream_detector.connectors.kafka.inspection.findings import (
    LEADERS,
    LISTENERS,
    REPLICAS,
    TOPICS,
    Finding,
    error,
    warning,
)

_INTERNAL = {
    "__consumer_offsets": ("offsets.topic.replication.factor", "no group can form"),
    "__transaction_state": (
        "transaction.state.log.replication.factor",
        "no transaction can begin",
    ),
}


def judge_structure(config: Config, kafka: KafkaConfig, facts: Facts) -> Iterator[Finding]:
    """Judge the structure of the cluster and of each topic."""
    for broker in facts.brokers:
        if broker.trouble:
            yield error(
                f"broker {broker.number} sends clients to {broker.address} "
                f"(advertised.listeners), and {broker.trouble}. Correct the broker's "
                "advertised.listeners, or this machine's names and routes: what the broker leads "
                "cannot be read or written from here",
                LISTENERS,
            )
    yield from _internal(kafka, facts)
    for topic in facts.topics:
        if topic.exists:
            yield from _leaders(topic)
            yield from _replicas(facts, topic)
            yield from _partitions(config, facts, topic)
        elif not topic.hidden:
            yield from _missing(facts, topic)


def _missing(facts: Facts, topic: Topic) -> Iterator[Finding]:
    if topic.role.own:
        if refused := facts.refused_topics.get(topic.name):
            yield error(
                f"{topic.named} is missing, and the daemon may not make it: {refused}. Make it "
                "yourself, with the settings that docs/operations.md#topics names",
                TOPICS,
            )
        elif (factor := facts.broker_number("default.replication.factor")) == 1 and len(
            facts.brokers
        ) > 1:
            yield warning(
                f"{topic.named} is missing, and the daemon makes it with the broker's "
                f"default.replication.factor={factor} on {len(facts.brokers)} brokers: it is lost "
                "with its broker. Make it yourself with 3, or raise the default",
                REPLICAS,
            )
        return
    message = f"{topic.named} is missing (missing topics are made by nobody here)"
    if facts.broker_setting("auto.create.topics.enable") == "true":
        partitions = facts.broker_number("num.partitions")
        factor = facts.broker_number("default.replication.factor")
        message = (
            f"{topic.named} is missing, and this broker makes topics on demand "
            f"(auto.create.topics.enable=true): the first client that asks for it gets one with "
            f"num.partitions={partitions}, default.replication.factor={factor} and the broker's "
            "own retention, which nobody chose"
        )
    yield error(f"{message}. Make it first, as docs/operations.md#topics says", TOPICS)


def _leaders(topic: Topic) -> Iterator[Finding]:
    lost = [str(each.number) for each in topic.partitions if each.leader < 0]
    if lost:
        yield error(
            f"{topic.named} has no leader for partition {', '.join(lost)}: nothing can be read "
            "from there or written to there. Bring the brokers of its replicas back",
            LEADERS,
        )
    offline = sorted({number for each in topic.partitions for number in each.offline})
    if offline and not lost:
        yield warning(
            f"{topic.named} has replicas that are offline (of broker "
            f"{', '.join(map(str, offline))})",
            LEADERS,
        )


def _replicas(facts: Facts, topic: Topic) -> Iterator[Finding]:
    if topic.role is INPUT:
        return
    wanted, factor = topic.number("min.insync.replicas") or 1, topic.replication
    if wanted > factor:
        yield error(
            f"{topic.named} has {factor} replicas and min.insync.replicas={wanted}: every write "
            "that waits for all of them is refused. Add replicas, or lower the setting",
            REPLICAS,
        )
    elif behind := [
        str(each.number) for each in topic.partitions if 0 < len(each.in_sync) < wanted
    ]:
        yield error(
            f"{topic.named} has fewer replicas in sync than min.insync.replicas={wanted} in "
            f"partition {', '.join(behind)}: writes are refused. Bring the brokers back",
            REPLICAS,
        )
    if factor == 1 and len(facts.brokers) > 1:
        yield warning(
            f"{topic.named} has one replica on {len(facts.brokers)} brokers: while its broker is "
            "away the daemon stands, and it is lost with its broker. Give it 3",
            REPLICAS,
        )


def _partitions(config: Config, facts: Facts, topic: Topic) -> Iterator[Finding]:
    shards, count = config.processing.shards, len(topic.partitions)
    if topic.role is JOURNAL and count < shards:
        yield error(
            f"{topic.named} has {count} partitions, and processing.shards: {shards} needs one "
            "each. Add partitions, or name another topic and another kafka.group",
            TOPICS,
        )
    if topic.role is LABELS and shards > 1:
        inputs = max((len(one.partitions) for one in facts.of(INPUT)), default=count)
        if count != inputs:
            yield error(
                f"{topic.named} has {count} partitions and the topics of events {inputs}: with "
                f"processing.shards: {shards} a label goes to the partition of its event. Give it "
                f"{inputs}",
                TOPICS,
            )
    if topic.role is INPUT and shards > count:
        yield warning(
            f"{topic.named} has {count} partitions for processing.shards: {shards}: "
            f"{shards - count} of them get nothing of it",
            TOPICS,
        )


def _internal(kafka: KafkaConfig, facts: Facts) -> Iterator[Finding]:
    """Internal topics that are yet to be made and cannot be: the first question waits for ever."""
    for name, (setting, effect) in _INTERNAL.items():
        if name == "__transaction_state" and kafka.delivery != "exactly_once":
            continue
        factor = facts.broker_number(setting)
        if facts.internal.get(name, 1) == 0 and factor is not None:
            alive = sum(1 for broker in facts.brokers if not broker.trouble)
            if factor > alive:
                yield error(
                    f"{name} is not there yet, and {setting}={factor} asks for more brokers than "
                    f"the {alive} that are there: {effect}. Start the others, or lower the setting",
                    REPLICAS,
                )
