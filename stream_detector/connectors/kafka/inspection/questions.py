"""The questions of an inspection: brokers, settings, topics, group, offsets, quotas, rights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stream_detector.config.models.config import Config, KafkaConfig
from stream_detector.connectors.kafka.client.admin import Admin
from stream_detector.connectors.kafka.client.errors import TopicAuthorizationFailedError
from stream_detector.connectors.kafka.connection.addresses import look
from stream_detector.connectors.kafka.inspection.facts import (
    ALERTS,
    DEAD_LETTERS,
    INCIDENTS,
    INPUT,
    JOURNAL,
    LABELS,
    READ_ROLES,
    RULES,
    SNAPSHOTS,
    Broker,
    Facts,
    Partition,
    Role,
    Topic,
    allowed_operations,
)
from stream_detector.connectors.kafka.inspection.findings import (
    CLUSTER_RIGHT,
    LIMITS,
    RIGHTS,
    TOPICS,
)
from stream_detector.connectors.kafka.inspection.group_questions import (
    ask_bounds,
    ask_committed,
    ask_group,
    ask_quotas,
    ask_refused_topics,
    ask_transactional_id,
    has_authoriser,
)
from stream_detector.connectors.kafka.inspection.inquiry import Inquiry
from stream_detector.connectors.kafka.inspection.transactions import open_transactions

_INTERNAL = ("__consumer_offsets", "__transaction_state")


def wanted_topics(kafka: KafkaConfig, snapshot_topic: str | None) -> dict[str, Role]:
    """Every topic that the daemon reads or writes, and what for."""
    wanted = dict.fromkeys(kafka.topics, INPUT)
    if kafka.labels is not None:
        wanted[kafka.labels] = LABELS
    wanted[kafka.alerts] = ALERTS
    if kafka.incidents is not None:
        wanted[kafka.incidents] = INCIDENTS
    if kafka.rules is not None:
        wanted[kafka.rules] = RULES
    wanted[kafka.dead_letters] = DEAD_LETTERS
    if kafka.delivery == "exactly_once":
        wanted[kafka.journal_topic] = JOURNAL
    if snapshot_topic is not None:
        wanted[snapshot_topic] = SNAPSHOTS
    return wanted


def ask_all(
    client: Admin, config: Config, kafka: KafkaConfig, wanted: Mapping[str, Role], deadline: float
) -> Facts:
    """Everything that the judges want to know. Takes no longer than to the deadline."""
    inquiry = Inquiry(deadline, kafka.request_timeout)
    brokers = ask_brokers(client, inquiry, kafka, deadline)
    if brokers and all(broker.trouble for broker in brokers):
        return Facts(brokers=brokers, unanswered=tuple(inquiry.unanswered))
    authoriser = has_authoriser(client)
    topics, internal = _topics(client, inquiry, wanted)
    readable = [topic for topic in topics if topic.role in READ_ROLES and topic.exists]
    group = ask_group(client, inquiry, kafka)
    committed = ask_committed(client, inquiry, kafka)
    beginnings, ends, stable = ask_bounds(client, inquiry, readable)
    return Facts(
        brokers=brokers,
        topics=topics,
        internal=internal,
        group=group,
        committed=committed,
        beginnings=beginnings,
        ends=ends,
        open_transactions=open_transactions(client, inquiry, stable, ends),
        quotas=ask_quotas(client, inquiry),
        versions=client.versions(),
        authoriser=authoriser,
        transactional_id=ask_transactional_id(client, inquiry, kafka),
        refused_topics=ask_refused_topics(client, inquiry, config, topics),
        unanswered=tuple(inquiry.unanswered),
    )


def ask_brokers(
    client: Admin, inquiry: Inquiry, kafka: KafkaConfig, deadline: float
) -> tuple[Broker, ...]:
    """Ask where each broker is, whether it answers there, and its settings where it tells them."""
    seen = [Broker(*one) for one in look(client.metadata, kafka, deadline)]
    return tuple(
        broker
        if broker.trouble
        else Broker(broker.number, broker.address, "", _broker_settings(client, inquiry, broker))
        for broker in seen
    )


def _broker_settings(client: Admin, inquiry: Inquiry, broker: Broker) -> Mapping[str, str]:
    subject = (
        f"limits of broker {broker.number} on session and transaction timeouts and on requests, "
        "topics made on demand"
    )
    described = inquiry.ask(
        subject,
        LIMITS,
        lambda: client.settings_of_broker(broker.number),
        right=CLUSTER_RIGHT,
    )
    if described is None:
        return {}
    found = _settings(described)
    if not found:  # kafka-python passes the refusal over
        inquiry.note(f"{subject}: not authorised to ask; grant {CLUSTER_RIGHT}", LIMITS)
    return found


def _settings(described: Mapping[str, Mapping[str, Any]] | None) -> dict[str, str]:
    return {
        name: str(entry["value"])
        for name, entry in (described or {}).items()
        if entry.get("value") is not None
    }


def _topics(
    client: Admin, inquiry: Inquiry, wanted: Mapping[str, Role]
) -> tuple[tuple[Topic, ...], dict[str, int]]:
    names = [*wanted, *_INTERNAL]
    described = inquiry.ask(
        f"the topics {', '.join(wanted)}", TOPICS, lambda: client.describe_topics(names)
    )
    entries = {entry["name"]: entry for entry in described or ()}
    there = [name for name in wanted if entries.get(name, {}).get("partitions")]
    settings: Mapping[str, Mapping[str, Any]] = {}
    if there:
        answer = inquiry.ask(
            "settings of the topics",
            RIGHTS,
            lambda: client.settings_of_topics(there),
            right="DescribeConfigs on them",
        )
        settings = answer or {}
    topics = tuple(
        _topic(name, role, entries[name], _settings(settings.get(name)))
        for name, role in wanted.items()
        if name in entries
    )
    internal = {name: len(entries[name]["partitions"]) for name in _INTERNAL if name in entries}
    return topics, internal


def _topic(name: str, role: Role, entry: Mapping[str, Any], settings: dict[str, str]) -> Topic:
    partitions = tuple(
        Partition(
            each["partition_index"],
            each["leader_id"],
            tuple(each["replica_nodes"]),
            tuple(each["isr_nodes"]),
            tuple(each.get("offline_replicas") or ()),
        )
        for each in sorted(entry["partitions"], key=lambda each: each["partition_index"])
    )
    hidden = entry["error_code"] == TopicAuthorizationFailedError.errno
    return Topic(name, role, hidden, partitions, allowed_operations(entry), settings)
