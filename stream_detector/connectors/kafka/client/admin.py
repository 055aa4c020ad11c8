"""Questions to the brokers, and topics made, as plain values.

Each raises ``errors.ADMIN_ERRORS``: not all of what the client raises is a ``KafkaError``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kafka import KafkaAdminClient
from kafka.admin import (
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ConfigResource,
    ResourcePatternFilter,
    ResourceType,
)
from kafka.protocol.admin.client_quotas import DescribeClientQuotasRequest
from kafka.protocol.consumer import IsolationLevel, OffsetSpec

from stream_detector.connectors.kafka.client.errors import SecurityDisabledError
from stream_detector.connectors.kafka.client.metadata import Metadata
from stream_detector.connectors.kafka.client.partitions import ours, theirs
from stream_detector.connectors.kafka.client.starting import start
from stream_detector.events import TopicPartition

_ENDED = frozenset({"Empty", "CompleteCommit", "CompleteAbort", "Dead"})
"""States of a transactional id without a transaction."""


@dataclass(frozen=True, slots=True)
class OpenProducer:
    """A producer with a transaction open on a partition, and that one's first offset."""

    number: int
    epoch: int
    start: int


class Admin:
    """kafka-python's admin client. State: its connections.

    Attributes:
        metadata: what it knows of the cluster.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """Connect with these arguments of ``KafkaAdminClient``. Raises the client's errors."""
        self._client = start(KafkaAdminClient, settings)
        self._manager = self._client._manager  # noqa: SLF001 - there is no public way
        self.metadata = Metadata(self._manager.cluster)

    def close(self) -> None:
        """Disconnect."""
        self._client.close()

    def describe_topics(self, topics: Iterable[str]) -> list[dict[str, Any]]:
        """Topics as the broker describes them; also the missing ones, with their error."""
        found: list[dict[str, Any]] = self._client.describe_topics(list(topics))
        return found

    def create_topic(
        self, topic: str, partitions: int, settings: Mapping[str, str], timeout_ms: int
    ) -> None:
        """Make a topic with the broker's default replication."""
        wanted = {topic: {"num_partitions": partitions, "configs": dict(settings)}}
        self._client.create_topics(wanted, timeout_ms=timeout_ms)

    def why_not_create(
        self, topic: str, partitions: int, settings: Mapping[str, str]
    ) -> Mapping[str, str]:
        """Why a topic could not be made, by its name; asked, not done. Empty: it could."""
        wanted = {topic: {"num_partitions": partitions, "configs": settings}}
        answer = self._client.create_topics(wanted, validate_only=True, raise_errors=False)
        return {
            entry["name"]: entry.get("error_message") or f"error {entry['error_code']}"
            for entry in answer.get("topics", ())
            if entry["error_code"]
        }

    def settings_of_topics(self, topics: Iterable[str]) -> dict[str, Mapping[str, Any]]:
        """Settings in force of each topic that tells them."""
        return self._settings("TOPIC", topics)

    def settings_of_broker(self, number: int) -> Mapping[str, Any]:
        """Settings in force of a broker; empty where it refuses: kafka-python passes that over."""
        return self._settings("BROKER", [str(number)]).get(str(number)) or {}

    def _settings(self, kind: str, names: Iterable[str]) -> dict[str, Mapping[str, Any]]:
        asked = [ConfigResource(kind, name) for name in names]
        described = self._client.describe_configs(asked, config_filter="all")
        found: dict[str, Mapping[str, Any]] = described.get(kind.lower(), {})
        return found

    def describe_group(self, group: str) -> dict[str, Any]:
        """A group as its coordinator describes it; empty where that does not know it."""
        found: dict[str, Any] = self._client.describe_groups([group]).get(group, {})
        return found

    def list_groups(self) -> list[dict[str, Any]]:
        """The groups that may be seen: id, state, type."""
        found: list[dict[str, Any]] = self._client.list_groups()
        return found

    def committed(self, group: str) -> dict[TopicPartition, int]:
        """Every offset that a group has committed, of whatever topic."""
        found = self._client.list_group_offsets(group).get(group, {})
        return {ours(one): int(told.offset) for one, told in found.items() if told.offset >= 0}

    def beginnings(self, sources: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """First offsets that the logs still hold."""
        return self._offsets(sources, OffsetSpec.EARLIEST, IsolationLevel.READ_UNCOMMITTED)

    def ends(self, sources: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """Ends of the logs."""
        return self._offsets(sources, OffsetSpec.LATEST, IsolationLevel.READ_UNCOMMITTED)

    def stable_ends(self, sources: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """Ends of what readers of committed records may see."""
        return self._offsets(sources, OffsetSpec.LATEST, IsolationLevel.READ_COMMITTED)

    def _offsets(
        self, sources: Collection[TopicPartition], spec: Any, isolation: Any
    ) -> dict[TopicPartition, int]:
        asked = {theirs(source): spec for source in sources}
        answer = self._client.list_partition_offsets(asked, isolation)
        return {ours(one): int(told.offset) for one, told in answer.items()}

    def open_producers(
        self, sources: Sequence[TopicPartition]
    ) -> dict[TopicPartition, OpenProducer]:
        """For each partition with an open transaction the producer whose began first."""
        answer = self._client.describe_producers([theirs(source) for source in sources])
        found = {}
        for source in sources:
            begun = [
                OpenProducer(
                    one.producer_id, one.producer_epoch, one.current_transaction_start_offset
                )
                for one in answer[theirs(source)].active_producers
                if one.current_transaction_start_offset >= 0
            ]
            if begun:
                found[source] = min(begun, key=lambda one: one.start)
        return found

    def transactional_ids(self, producer: OpenProducer, *, begun: bool = False) -> list[str]:
        """Ids of a producer's transactions, as far as they may be seen; only open ones: ``begun``.

        In order, as coordinators have listed them.
        """
        listed = self._client.list_transactions(producer_id_filters=[producer.number])
        return [
            one.transactional_id
            for each in listed.values()
            for one in each
            if not begun or one.state.value not in _ENDED
        ]

    def transactions_begun(self, names: Sequence[str]) -> dict[str, int]:
        """Return when each id's transaction was begun, ms since 1970; negative: unknown."""
        described = self._client.describe_transactions(list(names))
        return {name: int(one.transaction_start_time_ms) for name, one in described.items()}

    def versions(self) -> dict[str, int]:
        """The highest version of each request that the broker and the client know."""
        return {key.name: most for key, (_, most) in self._client.api_versions().items()}

    def quotas(self) -> Any:
        """The broker's answer about all quotas that are set.

        kafka-python 3.0.12's admin client has no call for it, its protocol has.
        """
        request = DescribeClientQuotasRequest(components=[], strict=False)
        return self._manager.run(self._manager.send, request)

    def checks_rights(self) -> bool:
        """Tell whether the broker has an authoriser. Refused to tell: it raises."""
        everything = ACLFilter(
            None,
            None,
            ACLOperation.ANY,
            ACLPermissionType.ANY,
            ResourcePatternFilter(ResourceType.TRANSACTIONAL_ID, None, ACLResourcePatternType.ANY),
        )
        try:
            self._client.describe_acls(everything)
        except SecurityDisabledError:
            return False
        return True
