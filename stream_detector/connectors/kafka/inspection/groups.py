"""The consumer group: whether it is ours, who is in it, and the offsets that it has committed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from stream_detector.config.models.config import Config, KafkaConfig
from stream_detector.connectors.kafka.inspection.facts import Facts, Group, OpenTransaction
from stream_detector.connectors.kafka.inspection.findings import (
    GROUP,
    LIMITS,
    OFFSETS,
    OPEN_TRANSACTION,
    Finding,
    error,
    not_checked,
    seconds,
    warning,
)
from stream_detector.connectors.kafka.reading.assignor import ShardAssignor
from stream_detector.events import TopicPartition

_OWN_KIND = "stream-detector-"
_NAMED = 5
_MINUTE_MS = 60_000
_OTHER_KINDS = {
    "consumer": "a group of the newer protocol (KIP-848, group.protocol=consumer)",
    "share": "a share group",
    "streams": "a group of Kafka Streams (group.protocol=streams)",
}
_EMPTY = ("Empty", "Dead")
_CHANGING = ("PreparingRebalance", "CompletingRebalance")


def judge_group(config: Config, kafka: KafkaConfig, facts: Facts) -> Iterator[Finding]:
    """Members and offsets."""
    if facts.group is not None:
        yield from _members(config, kafka, facts, facts.group)
    yield from _offsets(kafka, facts)
    for transaction in facts.open_transactions:
        yield from _open(facts, transaction)


def _members(config: Config, kafka: KafkaConfig, facts: Facts, group: Group) -> Iterator[Finding]:
    named = f"kafka.group: {kafka.group}"
    foreign = "is somebody else's: two applications cannot share it. Name another kafka.group"
    kind = group.kind.lower()
    if kind in _OTHER_KINDS and (kind != "consumer" or group.state not in _EMPTY):
        yield error(f"{named} is {_OTHER_KINDS[kind]} and {foreign}", GROUP)
        return
    if not group.members:
        return
    who = _who(group)
    if group.protocol_type not in ("", "consumer"):
        yield error(
            f"{named} is a group of the type {group.protocol_type!r}, with {who}, and {foreign}",
            GROUP,
        )
        return
    ours = ShardAssignor(config.processing.shards).name
    if group.protocol == ours:
        yield from _workers(kafka, group, who)
    elif group.protocol.startswith(_OWN_KIND):
        yield error(
            f"{named} has workers with another number of shards ({who}; {group.protocol}, here it "
            f"is {ours}): they cannot work together. Stop all of them first",
            GROUP,
        )
    elif group.protocol:
        yield error(
            f"{named} has members that share the partitions out in another way ({who}; assignor "
            f"{group.protocol!r}), so it {foreign}, or stop them",
            GROUP,
        )
    elif group.state in _CHANGING:
        yield not_checked(
            f"{named} is finding a new order just now ({who}), and does not tell how: ask again",
            GROUP,
        )
    limit = facts.broker_number("group.max.size")
    if limit is not None and len(group.members) >= limit:
        yield error(
            f"{named} has {len(group.members)} members, as many as the broker allows "
            f"(group.max.size={limit}): no further worker can join",
            LIMITS,
        )


def _workers(kafka: KafkaConfig, group: Group, who: str) -> Iterator[Finding]:
    """Members that are workers like the one to come."""
    wanted = frozenset(kafka.input_topics)
    other = sorted(
        {name for one in group.members if one.topics is not None for name in one.topics} ^ wanted
    )
    if other and all(one.topics is not None for one in group.members):
        yield warning(
            f"kafka.group: {kafka.group} has workers ({who}) that read other topics than this "
            f"configuration (differing: {', '.join(other)}). Another detector needs a kafka.group "
            "of its own; the same one with other topics: stop all workers first",
            GROUP,
        )
    if kafka.instance_id is None:
        return
    for one in group.members:
        if one.instance == kafka.instance_id:
            yield warning(
                f"kafka.instance_id: {kafka.instance_id} is there already ({one.client} at "
                f"{one.host}): a second worker of the name takes over from it, and it ends. Fine "
                "where this is its restart; else name another",
                GROUP,
            )


def _who(group: Group) -> str:
    shown = [f"{one.client} at {one.host}" for one in group.members[:_NAMED]]
    more = len(group.members) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def _offsets(kafka: KafkaConfig, facts: Facts) -> Iterator[Finding]:
    if not facts.committed:
        return
    other = sorted({one.topic for one in facts.committed} - set(kafka.input_topics))
    if other:
        ours = any(one.topic in kafka.input_topics for one in facts.committed)
        yield (warning if ours else error)(
            f"kafka.group: {kafka.group} has committed offsets of {', '.join(other[:_NAMED])}, "
            "which is not read here: it is or was somebody else's, or kafka.topics was changed. "
            "Name another kafka.group, or delete those offsets (kafka-consumer-groups "
            "--delete-offsets)",
            GROUP,
        )
    for source, offset in sorted(facts.committed.items()):
        if source.topic in kafka.input_topics:
            yield from place(kafka, source, offset, facts.beginnings, facts.ends, "the group")


def place(
    kafka: KafkaConfig,
    source: TopicPartition,
    offset: int,
    beginnings: Mapping[TopicPartition, int],
    ends: Mapping[TopicPartition, int],
    whose: str,
) -> Iterator[Finding]:
    """Judge whether the log still holds what is to be read from an offset on."""
    beginning, end = beginnings.get(source), ends.get(source)
    if end is not None and offset > end:
        yield error(
            f"{source}: {whose} stands at offset {offset}, and the log ends at {end}: the topic "
            "was deleted and made anew, or the broker has lost data. Use another kafka.group, or "
            "--reset-state",
            OFFSETS,
        )
    elif beginning is not None and offset < beginning:
        stops = kafka.lost_input == "stop"
        yield (error if stops else warning)(
            f"{source}: {whose} stands at offset {offset}, and the log begins at {beginning}: "
            f"retention has deleted {beginning - offset:,} records before they were read. "
            + (
                "kafka.lost_input: stop ends the daemon with exit code 4; set it to continue to "
                "go on with what is left"
                if stops
                else "They are counted and passed over (kafka.lost_input: continue)"
            ),
            OFFSETS,
        )


def _open(facts: Facts, found: OpenTransaction) -> Iterator[Finding]:
    stands = f"{found.source} can be read up to offset {found.start} only: a transaction is open"
    longest = facts.broker_number("transaction.max.timeout.ms")
    if found.transactional_id is None and facts.authoriser:
        yield warning(
            f"{stands} (producer id {found.producer_id}), whose we may not see: grant Describe on "
            "transactional ids, and look again. One that no coordinator knows of hangs for ever",
            OPEN_TRANSACTION,
        )
    elif found.transactional_id is None:
        yield error(
            f"{stands} that no coordinator knows of (producer id {found.producer_id}), so it hangs "
            "for ever. End it with kafka-transactions.sh --bootstrap-server "
            f"HOST:PORT abort --topic {found.source.topic} --partition {found.source.partition} "
            f"--start-offset {found.start}",
            OPEN_TRANSACTION,
        )
    elif longest is not None and found.age_ms > longest:
        yield error(
            f"{stands} of {found.transactional_id} since {seconds(found.age_ms)}, longer than "
            f"transaction.max.timeout.ms={longest}: it does not end by itself. Stop that producer, "
            "then end it with kafka-transactions.sh abort",
            OPEN_TRANSACTION,
        )
    else:
        since = f" since {seconds(found.age_ms)}" if found.age_ms >= _MINUTE_MS else ""
        yield warning(
            f"{stands} of {found.transactional_id}{since}. What lies behind it waits until that "
            "producer commits, or the broker aborts it",
            OPEN_TRANSACTION,
        )
