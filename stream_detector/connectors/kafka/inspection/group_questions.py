"""The questions of an inspection about the group, its offsets, quotas and rights."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from kafka import TopicPartition as ClientPartition
from kafka.admin import (
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePatternFilter,
    ResourceType,
)
from kafka.errors import (
    GroupAuthorizationFailedError,
    SecurityDisabledError,
    TransactionalIdAuthorizationFailedError,
    TransactionalIdNotFoundError,
)
from kafka.protocol.admin.client_quotas import DescribeClientQuotasRequest
from kafka.protocol.consumer import IsolationLevel, OffsetSpec

from stream_detector.config.models.config import Config, KafkaConfig
from stream_detector.connectors.kafka.inspection.facts import (
    JOURNAL,
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
from stream_detector.connectors.kafka.internal_topics import JOURNAL_SETTINGS
from stream_detector.connectors.kafka.snapshot_topic import SNAPSHOT_SETTINGS
from stream_detector.events import TopicPartition

_SETTLE_SECONDS = 3.0
_CHANGING = ("PreparingRebalance", "CompletingRebalance")


def ask_group(client: Any, inquiry: Inquiry, kafka: KafkaConfig) -> Group | None:
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
            described = inquiry.ask(
                f"members of the group {kafka.group}",
                GROUP,
                lambda: client.describe_groups([kafka.group]),
                silent=(GroupAuthorizationFailedError,),
            )
        except GroupAuthorizationFailedError:
            return Group(allowed=frozenset())
        if described is None:
            return None
        found = described.get(kafka.group, {})
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
    client: Any, inquiry: Inquiry, kafka: KafkaConfig
) -> dict[TopicPartition, int] | None:
    """Every offset that the group has committed, of whatever topic; None: not told."""
    answer = inquiry.ask(
        f"committed offsets of the group {kafka.group}",
        OFFSETS,
        lambda: client.list_group_offsets(kafka.group),
        right="Read on it",
    )
    if answer is None:
        return None
    found = answer.get(kafka.group, {})
    return {
        TopicPartition(one.topic, one.partition): int(told.offset)
        for one, told in found.items()
        if told.offset >= 0
    }


Offsets = dict[TopicPartition, int]


def ask_bounds(
    client: Any, inquiry: Inquiry, topics: Sequence[Topic]
) -> tuple[Offsets, Offsets, Offsets]:
    """First offset, end, and end of what readers of committed records may see."""
    sources = [
        ClientPartition(topic.name, each.number)
        for topic in topics
        for each in topic.partitions
        if each.leader >= 0
    ]
    if not sources:
        return {}, {}, {}

    def ask(spec: OffsetSpec, isolation: IsolationLevel) -> Offsets:
        answer = inquiry.ask(
            "whether committed offsets still lie in the log",
            OFFSETS,
            lambda: client.list_partition_offsets(dict.fromkeys(sources, spec), isolation),
            right="Read on the input topics",
        )
        return {
            TopicPartition(one.topic, one.partition): int(told.offset)
            for one, told in (answer or {}).items()
        }

    # The stable end first: what is committed meanwhile must not look like an open transaction.
    beginnings = ask(OffsetSpec.EARLIEST, IsolationLevel.READ_UNCOMMITTED)
    if not beginnings:
        return {}, {}, {}
    ends = ask(OffsetSpec.LATEST, IsolationLevel.READ_UNCOMMITTED)
    stable = ask(OffsetSpec.LATEST, IsolationLevel.READ_COMMITTED)
    return beginnings, ends, stable


def ask_quotas(client: Any, inquiry: Inquiry) -> tuple[Quota, ...]:
    """All quotas that are set."""
    # The admin client has no call for it, the protocol has.
    request = DescribeClientQuotasRequest(components=[], strict=False)
    answer = inquiry.ask(
        "quotas",
        QUOTAS,
        lambda: client._manager.run(client._manager.send, request),  # noqa: SLF001
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


def has_authoriser(client: Any) -> bool:
    """Whether rights are checked at all. Refused to tell: they are."""
    everything = ACLFilter(
        None,
        None,
        ACLOperation.ANY,
        ACLPermissionType.ANY,
        ResourcePatternFilter(ResourceType.TRANSACTIONAL_ID, None, ACLResourcePatternType.ANY),
    )
    quiet = Inquiry(time.monotonic() + 5.0, 5.0)
    try:
        quiet.ask("", "", lambda: client.describe_acls(everything), silent=(SecurityDisabledError,))
    except SecurityDisabledError:
        return False
    return True


def ask_transactional_id(client: Any, inquiry: Inquiry, kafka: KafkaConfig) -> str:
    """``described``, ``refused`` or ``unknown``. Never begins one: that would fence a worker."""
    if kafka.delivery != "exactly_once":
        return "unknown"
    name = f"{kafka.group}-shard-0"
    try:
        answer = inquiry.ask(
            f"whether the transactional id {name} may be used",
            RIGHTS,
            lambda: client.describe_transactions([name]),
            silent=(TransactionalIdAuthorizationFailedError, TransactionalIdNotFoundError),
        )
    except TransactionalIdAuthorizationFailedError:
        return "refused"
    except TransactionalIdNotFoundError:
        return "described"
    return "unknown" if answer is None else "described"


def ask_refused_topics(
    client: Any, inquiry: Inquiry, config: Config, topics: Iterable[Topic]
) -> dict[str, str]:
    """Why the daemon could not make a topic of its own that is missing; asked, not done."""
    found: dict[str, str] = {}
    for topic in topics:
        if not topic.role.own or topic.exists or topic.hidden:
            continue
        settings = JOURNAL_SETTINGS if topic.role is JOURNAL else SNAPSHOT_SETTINGS
        one = {topic.name: {"num_partitions": config.processing.shards, "configs": settings}}
        answer = inquiry.ask(
            f"whether the daemon may make the topic {topic.name}",
            TOPICS,
            partial(client.create_topics, one, validate_only=True, raise_errors=False),
            right=f"Create on {topic.name}",
        )
        for entry in (answer or {}).get("topics", ()):
            if entry["error_code"]:
                found[topic.name] = entry.get("error_message") or f"error {entry['error_code']}"
    return found
