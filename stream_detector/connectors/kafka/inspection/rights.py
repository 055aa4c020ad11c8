"""Rights that are missing, and quotas that leave too little."""

from __future__ import annotations

from collections.abc import Iterator

from stream_detector.config.models.config import KafkaConfig
from stream_detector.connectors.kafka.connection.settings import (
    consumer_settings,
    producer_settings,
)
from stream_detector.connectors.kafka.inspection.facts import Facts, Quota, Topic
from stream_detector.connectors.kafka.inspection.findings import (
    QUOTAS,
    RIGHTS,
    Finding,
    error,
    not_checked,
    warning,
)

_LARGEST_MESSAGE = 1_048_588
_COMFORTABLE = 8
"""Messages of the largest size that should fit into a commit."""


def judge_rights(kafka: KafkaConfig, facts: Facts) -> Iterator[Finding]:
    """On topics, group and transactional id, as far as the broker tells."""
    user = f"the user {kafka.security.username}" if kafka.security.username else "this client"
    for topic in facts.topics:
        yield from _topic(user, facts, topic)
    allowed = facts.group.allowed if facts.group is not None else None
    if allowed is not None and "READ" not in allowed:
        yield error(
            f"kafka.group: {user} is not authorised to use the group {kafka.group}. Grant Read on "
            "it",
            RIGHTS,
        )
    elif allowed is None and facts.authoriser and facts.group is not None:
        yield not_checked(
            f"kafka.group: whether {user} may use the group {kafka.group} (Read): the broker does "
            "not tell it of a group that is not there yet",
            RIGHTS,
        )
    if kafka.delivery != "exactly_once":
        return
    name = f"{kafka.group}-shard-0"
    if facts.transactional_id == "refused":
        yield error(
            f"kafka.delivery: {user} is not authorised for the transactional id {name}. Grant "
            f"Write on the ids that begin with {kafka.group}-shard-, or set kafka.delivery: "
            "at_least_once",
            RIGHTS,
        )
    elif facts.transactional_id == "described" and facts.authoriser:
        yield not_checked(
            f"kafka.delivery: whether {user} may write with the transactional id {name}: the "
            "broker tells only that it may be described",
            RIGHTS,
        )


def _topic(user: str, facts: Facts, topic: Topic) -> Iterator[Finding]:
    wanted = topic.role.rights
    if topic.hidden:
        missing = list(wanted)
    elif topic.allowed is None:
        if facts.authoriser:
            yield not_checked(
                f"{topic.role.setting}: rights on the topic {topic.name}: this broker does not "
                "tell (before Kafka 2.3)",
                RIGHTS,
            )
        return
    else:
        missing = [right for right in wanted if right not in topic.allowed]
    if missing:
        verbs = {"READ": "read", "WRITE": "write to"}
        done = " and ".join(verbs[right] for right in missing)
        yield error(
            f"{topic.role.setting}: {user} is not authorised to {done} the topic {topic.name}. "
            f"Grant {' and '.join(right.capitalize() for right in missing)} on it",
            RIGHTS,
        )
    elif topic.exists and not topic.settings:
        yield not_checked(
            f"{topic.role.setting}: size of messages, cleanup policy, retention and timestamps of "
            f"the topic {topic.name}: {user} may not read its settings. Grant DescribeConfigs on "
            "it",
            RIGHTS,
        )


def judge_quotas(kafka: KafkaConfig, facts: Facts) -> Iterator[Finding]:
    """Judge whether what the broker lets through suffices for a commit within its time."""
    half = kafka.transaction_timeout / 2
    for kind, settings in (
        ("producer_byte_rate", producer_settings(kafka)),
        ("consumer_byte_rate", consumer_settings(kafka, max_poll_records=1)),
    ):
        found = in_force(kafka, str(settings["client_id"]), facts, kind)
        if found is None:
            continue
        rate, whose = found.values[kind], _entity(found)
        if kind == "consumer_byte_rate":
            if rate * kafka.request_timeout < _LARGEST_MESSAGE:
                yield warning(
                    f"{kind}={rate:,.0f} for {whose}: one message of a megabyte takes longer than "
                    f"kafka.request_timeout, {kafka.request_timeout:g} s. Raise the quota",
                    QUOTAS,
                )
        elif rate * half < _LARGEST_MESSAGE:
            yield error(
                f"{kind}={rate:,.0f} for {whose}: a commit has half of kafka.transaction_timeout, "
                f"{half:g} s, in which {rate * half:,.0f} bytes go through, less than one large "
                "message: the daemon ends with exit code 3. Raise the quota, or the timeout",
                QUOTAS,
            )
        elif rate * half < _COMFORTABLE * _LARGEST_MESSAGE:
            yield warning(
                f"{kind}={rate:,.0f} for {whose}: a commit has half of kafka.transaction_timeout, "
                f"{half:g} s, in which {rate * half:,.0f} bytes go through: many dead letters at "
                "once are written in small commits, and slowly. Raise the quota, or the timeout",
                QUOTAS,
            )


def in_force(kafka: KafkaConfig, client_id: str, facts: Facts, kind: str) -> Quota | None:
    """The quota that the broker applies to us: the most specific one, user before client."""
    security = kafka.security
    if security.protocol.startswith("SASL"):
        user = security.username
    elif security.certificate_file is None:
        user = "ANONYMOUS"
    else:
        user = None  # the certificate's name, as the broker's rules map it
    best: tuple[int, Quota] | None = None
    for quota in facts.quotas:
        rank = _rank(quota, user, client_id)
        if kind in quota.values and rank is not None and (best is None or rank < best[0]):
            best = rank, quota
    return best[1] if best is not None else None


def _rank(quota: Quota, user: str | None, client_id: str) -> int | None:
    """Place in Kafka's order of quotas, 0 first; None where it is not for us."""
    if not quota.entity or set(quota.entity) - {"user", "client-id"}:
        return None
    rank = 0
    for name, value, weight in (("user", user, 3), ("client-id", client_id, 1)):
        if name not in quota.entity:
            rank += 2 * weight
        elif quota.entity[name] is None:
            rank += weight
        elif quota.entity[name] != value:
            return None
    return rank


def _entity(quota: Quota) -> str:
    return " and ".join(
        f"{name} {'(default)' if value is None else value}" for name, value in quota.entity.items()
    )
