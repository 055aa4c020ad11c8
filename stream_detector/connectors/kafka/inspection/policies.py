"""Cleanup policies, retention and timestamps: what is deleted that is needed, what is refused."""

from __future__ import annotations

from collections.abc import Iterator

from stream_detector.config.models.config import Config, KafkaConfig
from stream_detector.connectors.kafka.inspection.facts import (
    ALERTS,
    DEAD_LETTERS,
    INCIDENTS,
    INPUT,
    JOURNAL,
    LABELS,
    RULES,
    SNAPSHOTS,
    Facts,
    Topic,
)
from stream_detector.connectors.kafka.inspection.findings import (
    POLICIES,
    TIMESTAMPS,
    Finding,
    error,
    seconds,
    warning,
)

_WEEK_MS = 7 * 86_400_000
_FOR_EVER = 2**62
"""Kafka's default for "no bound" is the largest 64-bit integer."""


def judge_policies(config: Config, kafka: KafkaConfig, facts: Facts) -> Iterator[Finding]:
    """Judge every topic that exists and whose settings are told."""
    for topic in facts.topics:
        if not topic.settings:
            continue
        yield from _cleanup(topic)
        yield from _retention(config, topic)
        if topic.role in (INPUT, LABELS):
            yield from _input_timestamps(config, topic)
        elif topic.role is DEAD_LETTERS:
            yield from _letter_timestamps(facts, topic)
        elif topic.role in (ALERTS, INCIDENTS, JOURNAL, SNAPSHOTS):
            yield from _output_timestamps(kafka, topic)


def _policy(topic: Topic) -> set[str]:
    return {word.strip() for word in topic.settings.get("cleanup.policy", "").split(",") if word}


def _cleanup(topic: Topic) -> Iterator[Finding]:
    policy = _policy(topic)
    given = f"{topic.named} has cleanup.policy={topic.settings.get('cleanup.policy')}"
    if topic.role is SNAPSHOTS:
        if "delete" in policy or (policy and "compact" not in policy):
            yield error(
                f"{given}: snapshots older than its retention are deleted, the newest among them, "
                "and the shards' state with them. Set cleanup.policy=compact",
                POLICIES,
            )
    elif topic.role is INCIDENTS:
        if "delete" in policy or (policy and "compact" not in policy):
            yield warning(
                f"{given}: an incident that is open for longer than its retention is deleted while "
                "it is open, and who begins to read later never hears of it. Set "
                "cleanup.policy=compact",
                POLICIES,
            )
    elif topic.role is RULES:
        if len(topic.partitions) > 1:
            yield error(
                f"{topic.named} has {len(topic.partitions)} partitions: rules are read from the "
                "first alone. Make it with one",
                POLICIES,
            )
        if "delete" in policy or (policy and "compact" not in policy):
            yield warning(
                f"{given}: rules older than its retention are deleted, and a state that begins "
                "anew never hears of them. Set cleanup.policy=compact",
                POLICIES,
            )
    elif "compact" in policy and topic.role is INPUT:
        yield warning(
            f"{given}: compaction removes events before they are read, and a replay then differs "
            "from what was. Set cleanup.policy=delete",
            POLICIES,
        )
    elif "compact" in policy:
        what = {
            ALERTS: "an alert has its event's key: one without a key is refused and stops the "
            "daemon, and of several of a key only the last one is kept",
            DEAD_LETTERS: "a dead letter has its record's key: one without a key is refused and "
            "stops the daemon, and one without a value deletes others",
            JOURNAL: "its records have no key, so the broker refuses every one of them",
        }.get(topic.role, "labels have no key, so the broker refuses what `label` writes")
        yield error(f"{given}: {what}. Set cleanup.policy=delete", POLICIES)


def _retention(config: Config, topic: Topic) -> Iterator[Finding]:
    kept = topic.number("retention.ms")
    if kept is None or kept < 0 or "delete" not in _policy(topic):
        return
    interval = int(config.state.interval * 1000)
    given = f"{topic.named} keeps records for {seconds(kept)} (retention.ms={kept})"
    between = f"state.interval is {seconds(interval)}"
    if topic.role is JOURNAL:
        if kept < interval * (config.state.keep + 1):
            yield error(
                f"{given}, {between} and state.keep {config.state.keep}: the journal must reach "
                "back to the oldest snapshot kept. Set retention.ms=2592000000 (30 days)",
                POLICIES,
            )
        elif kept < _WEEK_MS:
            yield warning(
                f"{given}: after a kill and an outage that lasts longer the daemon cannot go on "
                "from its snapshot. Set retention.ms=2592000000 (30 days)",
                POLICIES,
            )
    elif topic.role in (INPUT, LABELS):
        if kept < interval:
            yield error(
                f"{given}, {between}: after a restart the daemon reads again what lies after its "
                "snapshot, which is deleted by then. Raise the one or shorten the other",
                POLICIES,
            )
        elif kept < 10 * interval:
            yield warning(
                f"{given}, {between}: an outage may last as long as the difference, not longer",
                POLICIES,
            )


def _created(topic: Topic) -> bool:
    return topic.settings.get("message.timestamp.type", "CreateTime") == "CreateTime"


def _bounds(topic: Topic) -> tuple[int, int]:
    """Return how far before and after its clock the broker accepts a record's timestamp."""
    both = topic.number("message.timestamp.difference.max.ms")  # before Kafka 3.6
    before = topic.number("message.timestamp.before.max.ms")
    after = topic.number("message.timestamp.after.max.ms")
    if before is None and after is None:
        before = after = both
    return (_FOR_EVER if before is None else before, _FOR_EVER if after is None else after)


def _shown(bound: int) -> str:
    return "without a bound" if bound >= _FOR_EVER else seconds(bound)


def _input_timestamps(config: Config, topic: Topic) -> Iterator[Finding]:
    if config.event.time is not None or topic.role is not INPUT or not _created(topic):
        return
    ahead = int(config.event.max_ahead * 1000)
    _, after = _bounds(topic)
    if after > ahead:
        yield warning(
            f"{topic.named} takes records dated ahead {_shown(after)} "
            f"(message.timestamp.after.max.ms), and without event.time a record's timestamp is its "
            "event's: no rule of event.max_ahead can hold against it. Set "
            f"message.timestamp.after.max.ms={ahead} on the topic, or name the field event.time",
            TIMESTAMPS,
        )


def _letter_timestamps(facts: Facts, topic: Topic) -> Iterator[Finding]:
    """A dead letter carries its record's own timestamp."""
    if not _created(topic):
        return
    before, after = _bounds(topic)
    sources = [one for one in facts.of(INPUT, LABELS) if one.settings and _created(one)]
    for source in sources:
        their_before, their_after = _bounds(source)
        waiting = source.number("retention.ms")
        oldest = _FOR_EVER if waiting is None or waiting < 0 else their_before + waiting
        for name, ours, theirs in (("before", before, oldest), ("after", after, their_after)):
            if ours < _FOR_EVER and ours < theirs:
                yield error(
                    f"{topic.named} refuses records dated more than {seconds(ours)} {name} the "
                    f"broker's clock (message.timestamp.{name}.max.ms={ours}), and those of "
                    f"{source.name} may be: a dead letter has its record's timestamp, so the first "
                    "such one stops the daemon. Set message.timestamp.type=LogAppendTime on the "
                    "topic of dead letters",
                    TIMESTAMPS,
                )
    kept = topic.number("retention.ms")
    if sources and kept is not None and kept >= 0 and "delete" in _policy(topic):
        yield warning(
            f"{topic.named} goes by the timestamps of its records (message.timestamp.type="
            f"CreateTime) and keeps them for {seconds(kept)}: a dead letter has its record's "
            "timestamp, so an old one is deleted at once. Set message.timestamp.type=LogAppendTime",
            TIMESTAMPS,
        )


def _output_timestamps(kafka: KafkaConfig, topic: Topic) -> Iterator[Finding]:
    """Judge output timestamps: what has none of its own gets this machine's clock."""
    before, after = _bounds(topic)
    most = int(kafka.request_timeout * 3000)
    if _created(topic) and min(before, after) < most:
        yield error(
            f"{topic.named} refuses records dated more than {_shown(min(before, after))} beside "
            "the broker's clock (message.timestamp.before.max.ms, message.timestamp.after.max.ms), "
            f"and a message may be under way for {seconds(most)}, on another clock. Set "
            "message.timestamp.type=LogAppendTime on the topic",
            TIMESTAMPS,
        )
