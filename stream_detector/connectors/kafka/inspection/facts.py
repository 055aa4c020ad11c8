"""Facts that a broker tells of itself, its topics and the group; None or empty if it does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stream_detector.connectors.kafka.inspection.findings import Finding
from stream_detector.events import TopicPartition


@dataclass(frozen=True, slots=True)
class Role:
    """Purpose of a topic.

    Attributes:
        setting: of the configuration, which names the topic.
        rights: what the daemon does with it, in Kafka's words.
        own: whether the daemon makes it where it is missing.
    """

    setting: str
    rights: tuple[str, ...]
    own: bool = False


INPUT = Role("kafka.topics", ("READ",))
LABELS = Role("kafka.labels", ("READ",))
ALERTS = Role("kafka.alerts", ("WRITE",))
INCIDENTS = Role("kafka.incidents", ("WRITE",), own=True)
RULES = Role("kafka.rules", ("READ", "WRITE"), own=True)
DEAD_LETTERS = Role("kafka.dead_letters", ("WRITE",))
JOURNAL = Role("kafka.journal", ("READ", "WRITE"), own=True)
SNAPSHOTS = Role("state.topic", ("READ", "WRITE"), own=True)

READ_ROLES = (INPUT, LABELS)


@dataclass(frozen=True, slots=True)
class Partition:
    """Partition of a topic: its leader (-1: none), its replicas, those in sync, those offline."""

    number: int
    leader: int
    replicas: tuple[int, ...]
    in_sync: tuple[int, ...]
    offline: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic that the configuration names.

    Attributes:
        name: its name.
        role: what it is for.
        hidden: whether we may not see it; whether it exists is not told then.
        partitions: none where it is missing.
        allowed: operations that we may do on it; None where the broker does not tell.
        settings: as they are in force; empty where it is missing or the broker does not tell.
    """

    name: str
    role: Role
    hidden: bool = False
    partitions: tuple[Partition, ...] = ()
    allowed: frozenset[str] | None = None
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def exists(self) -> bool:
        """Tell whether the topic is known to exist."""
        return bool(self.partitions)

    @property
    def named(self) -> str:
        """``kafka.alerts: the topic events.alerts``."""
        return f"{self.role.setting}: the topic {self.name}"

    def number(self, name: str) -> int | None:
        """A setting that is a whole number; None where it is not told."""
        return whole(self.settings.get(name))

    @property
    def replication(self) -> int:
        """Replicas of the partition that has fewest."""
        return min((len(each.replicas) for each in self.partitions), default=0)


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker as the cluster names it.

    Attributes:
        number: its id.
        address: what it advertises to clients that come in where we do.
        trouble: why it cannot be reached there; empty where it can.
        settings: as they are in force; empty where it does not tell.
    """

    number: int
    address: str
    trouble: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)

    def limit(self, name: str) -> int | None:
        """A setting that is a whole number; None where it is not told."""
        return whole(self.settings.get(name))


@dataclass(frozen=True, slots=True)
class Member:
    """A member of the group: who it says it is, where it is, and the topics that it reads."""

    client: str
    host: str
    instance: str | None
    topics: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class Group:
    """The consumer group.

    Attributes:
        state: as the coordinator calls it, ``Stable``, ``Empty``, ``Dead``.
        kind: ``classic``, ``consumer`` (KIP-848), ``share``, ``streams``; empty: not told.
        protocol_type: ``consumer``, ``connect``; empty: none yet.
        protocol: name of the assignor.
        members: those that are there.
        allowed: operations that we may do on it; None where the broker does not tell.
    """

    state: str = "Dead"
    kind: str = ""
    protocol_type: str = ""
    protocol: str = ""
    members: tuple[Member, ...] = ()
    allowed: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class OpenTransaction:
    """A transaction that keeps readers of committed records from going on.

    Attributes:
        source: the partition.
        start: its first offset.
        transactional_id: whose it is; None where no coordinator knows of it: it hangs.
        age_ms: how long it has been open; -1 where nobody knows.
        producer_id: as the broker numbers it.
        producer_epoch: likewise.
    """

    source: TopicPartition
    start: int
    transactional_id: str | None
    age_ms: int
    producer_id: int = -1
    producer_epoch: int = -1


@dataclass(frozen=True, slots=True)
class Quota:
    """A limit for an entity: ``{"user": "detector"}``, ``{"client-id": None}`` (the default)."""

    entity: Mapping[str, str | None]
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Facts:
    """All that was asked; ``unanswered`` says what was not told, and why."""

    brokers: tuple[Broker, ...] = ()
    topics: tuple[Topic, ...] = ()
    internal: Mapping[str, int] = field(default_factory=dict)
    group: Group | None = None
    committed: Mapping[TopicPartition, int] | None = None
    beginnings: Mapping[TopicPartition, int] = field(default_factory=dict)
    ends: Mapping[TopicPartition, int] = field(default_factory=dict)
    open_transactions: tuple[OpenTransaction, ...] = ()
    quotas: tuple[Quota, ...] = ()
    versions: Mapping[str, int] = field(default_factory=dict)
    authoriser: bool = True
    transactional_id: str = "unknown"
    refused_topics: Mapping[str, str] = field(default_factory=dict)
    unanswered: tuple[Finding, ...] = ()

    def of(self, *roles: Role) -> list[Topic]:
        """Topics of these roles that exist."""
        return [topic for topic in self.topics if topic.role in roles and topic.exists]

    def broker_setting(self, name: str) -> str | None:
        """A setting of whichever broker tells it: one that all have alike."""
        return next((b.settings[name] for b in self.brokers if name in b.settings), None)

    def broker_number(self, name: str) -> int | None:
        """The same as a whole number."""
        return whole(self.broker_setting(name))


def whole(value: Any) -> int | None:
    """A whole number out of a setting's text; None where it is none."""
    try:
        return int(value)
    except (TypeError, ValueError):
        return None


def allowed_operations(entry: Mapping[str, Any]) -> frozenset[str] | None:
    """Return the operations that are allowed, as the broker says; None where it does not."""
    told = entry.get("authorized_operations")
    return None if told is None else frozenset(told)
