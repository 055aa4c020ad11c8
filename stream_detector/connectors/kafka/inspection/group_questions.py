"""The questions of an inspection about the group, its offsets, quotas and rights."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from stream_detector.config.models.config import Config, KafkaConfig
from stream_detector.connectors.kafka.client.admin import Admin
from stream_detector.connectors.kafka.client.errors import (
    GroupAuthorizationFailedError,
    TransactionalIdAuthorizationFailedError,
    TransactionalIdNotFoundError,
)
from stream_detector.connectors.kafka.inspection.facts import (
    INCIDENTS,
    JOURNAL,
    RULES,
    SNAPSHOTS,
    Group,
    Member,
    Quota,
    Topic,
    allowed_operations,
)
from stream_detector.connectors.kafka.inspection.findings import (
    CLUSTER_RIGHT,
    GROUP,
    OFFSETS,
    QUOTAS,
    RIGHTS,
    TOPICS,
)
from stream_detector.connectors.kafka.inspection.inquiry import Inquiry
from stream_detector.connectors.kafka.state_topics.internal_topics import (
    INCIDENTS_SETTINGS,
    JOURNAL_SETTINGS,
    RULES_SETTINGS,
)
from stream_detector.connectors.kafka.state_topics.snapshot_topic import SNAPSHOT_SETTINGS
from stream_detector.events import TopicPartition

_SETTLE_SECONDS = 3.0
_CHANGING = ("PreparingRebalance", "CompletingRebalance")


def ask_group(client: Admin, inquiry: Inquiry, kafka: KafkaConfig) -> Group | None:
    """The group as its coordinator describes it, once it has settled; None: not told."""
    listed = inquiry.ask(
        f"kind of the group {kafka.group}", GROUP, client.list_groups, right="Describe on it"
    )
    entry: dict[str, Any] = next(
        (one for one in listed or () if one["group_id"] == kafka.group), {}
    )
    until = time.monotonic() + _SETTLE_SECONDS
    while True:
        try:
            found = inquiry.ask(
                f"members of the group {kafka.group}",
                GROUP,
                lambda: client.describe_group(kafka.group),
                silent=(GroupAuthorizationFailedError,),
            )
        except GroupAuthorizationFailedError:
            return Group(allowed=frozenset())
        if found is None:
            return None
        if "GroupAuthorizationFailed" in str(found.get("error")):
            return Group(allowed=frozenset())
        if found.get("group_state") not in _CHANGING or time.monotonic() > until:
            break
        time.sleep(0.2)
    if entry.get("group_type", "classic").lower() not in ("", "classic"):
        return Group(
            str(entry.get("group_state") or ""),
            entry["group_type"],
            allowed=allowed_operations(found),
        )
    return Group(
        found.get("group_state", "Dead"),
        str(entry.get("group_type") or ""),
        found.get("protocol_type", ""),
        found.get("protocol_data", ""),
        tuple(_member(one) for one in found.get("members") or ()),
        allowed_operations(found),
    )


def _member(entry: Mapping[str, Any]) -> Member:
    told = entry.get("member_metadata")
    topics = told.get("topics") if isinstance(told, Mapping) else getattr(told, "topics", None)
    return Member(
        str(entry.get("client_id")),
        str(entry.get("client_host")).removeprefix("/"),
        entry.get("group_instance_id"),
        None if topics is None else frozenset(topics),
    )


def ask_committed(
    client: Admin, inquiry: Inquiry, kafka: KafkaConfig
) -> dict[TopicPartition, int] | None:
    """Every offset that the group has committed, of whatever topic; None: not told."""
    found: dict[TopicPartition, int] | None = inquiry.ask(
        f"committed offsets of the group {kafka.group}",
        OFFSETS,
        lambda: client.committed(kafka.group),
        right="Read on it",
    )
    return found


Offsets = dict[TopicPartition, int]


def ask_bounds(
    client: Admin, inquiry: Inquiry, topics: Sequence[Topic]
) -> tuple[Offsets, Offsets, Offsets]:
    """First offset, end, and end of what readers of committed records may see."""
    sources = [
        TopicPartition(topic.name, each.number)
        for topic in topics
        for each in topic.partitions
        if each.leader >= 0
    ]
    if not sources:
        return {}, {}, {}

    def ask(question: Callable[[list[TopicPartition]], Offsets]) -> Offsets:
        answer = inquiry.ask(
            "whether committed offsets still lie in the log",
            OFFSETS,
            lambda: question(sources),
            right="Read on the input topics",
        )
        return answer or {}

    # The stable end first: what is committed meanwhile must not look like an open transaction.
    beginnings = ask(client.beginnings)
    if not beginnings:
        return {}, {}, {}
    ends = ask(client.ends)
    stable = ask(client.stable_ends)
    return beginnings, ends, stable


def ask_quotas(client: Admin, inquiry: Inquiry) -> tuple[Quota, ...]:
    """All quotas that are set."""
    answer = inquiry.ask(
        "quotas",
        QUOTAS,
        client.quotas,
        right=CLUSTER_RIGHT,
    )
    if answer is None:
        return ()
    if answer.error_code:
        inquiry.note(f"quotas: not told ({answer.error_message}); grant {CLUSTER_RIGHT}", QUOTAS)
    return tuple(
        Quota(
            {one.entity_type: one.entity_name for one in entry.entity},
            {one.key: one.value for one in entry.values},
        )
        for entry in answer.entries or ()
    )


def has_authoriser(client: Admin) -> bool:
    """Tell whether rights are checked at all; a refusal to tell means that they are."""
    quiet = Inquiry(time.monotonic() + 5.0, 5.0)
    return quiet.ask("", "", client.checks_rights) is not False


def ask_transactional_id(client: Admin, inquiry: Inquiry, kafka: KafkaConfig) -> str:
    """``described``, ``refused`` or ``unknown``. Never begins one: that would fence a worker."""
    if kafka.delivery != "exactly_once":
        return "unknown"
    name = f"{kafka.group}-shard-0"
    try:
        answer = inquiry.ask(
            f"whether the transactional id {name} may be used",
            RIGHTS,
            lambda: client.transactions_begun([name]),
            silent=(TransactionalIdAuthorizationFailedError, TransactionalIdNotFoundError),
        )
    except TransactionalIdAuthorizationFailedError:
        return "refused"
    except TransactionalIdNotFoundError:
        return "described"
    return "unknown" if answer is None else "described"


_SETTINGS = {
    INCIDENTS: INCIDENTS_SETTINGS,
    RULES: RULES_SETTINGS,
    JOURNAL: JOURNAL_SETTINGS,
    SNAPSHOTS: SNAPSHOT_SETTINGS,
}


def _partitions(config: Config, topic: Topic) -> int:
    """How many partitions the daemon gives a topic of its own."""
    return 1 if topic.role in (INCIDENTS, RULES) else config.processing.shards


def ask_refused_topics(
    client: Admin, inquiry: Inquiry, config: Config, topics: Iterable[Topic]
) -> dict[str, str]:
    """Why the daemon could not make a topic of its own that is missing; asked, not done."""
    found: dict[str, str] = {}
    for topic in topics:
        if not topic.role.own or topic.exists or topic.hidden:
            continue
        settings = _SETTINGS[topic.role]
        reasons = inquiry.ask(
            f"whether the daemon may make the topic {topic.name}",
            TOPICS,
            partial(client.why_not_create, topic.name, _partitions(config, topic), settings),
            right=f"Create on {topic.name}",
        )
        found.update(reasons or {})
    return found
