"""Between kafka-python's interface for partition assignors and a plain policy."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

from kafka.coordinator.assignors.abstract import (
    AbstractPartitionAssignor,
    ConsumerProtocolAssignment,
    ConsumerProtocolSubscription,
    RebalanceProtocol,
)

from stream_detector.connectors.kafka.client.partitions import ours
from stream_detector.events import TopicPartition

Shares = Mapping[str, Mapping[str, Sequence[int]]]
"""Member: topic: partitions."""


class Assignment(Protocol):
    """Policy by which a group's members get partitions; all members have the same one."""

    @property
    def name(self) -> str:
        """Name of the protocol, the same for all members of the group."""

    def owned(self) -> bytes:
        """Return what this member tells the leader that it has."""

    def share(
        self,
        topics: Sequence[str],
        partitions: Callable[[str], Collection[int]],
        owned: Mapping[str, bytes],
    ) -> Shares:
        """Partitions for every member, by the leader.

        ``partitions`` tells those of a topic, ``owned`` what each member says it has.
        """

    def assigned(self, sources: Collection[TopicPartition]) -> None:
        """Remember what this member was given."""

    def forget(self) -> None:
        """The group has given this member up: it owns nothing any more."""


class ClientAssignor(AbstractPartitionAssignor):  # type: ignore[misc]
    """An assignor for kafka-python by a policy of ours; cooperative (KIP-429).

    State: whether it has assigned a topic whose partitions it did not know.
    """

    version = 0

    def __init__(self, policy: Assignment) -> None:
        self._policy = policy
        self._incomplete = False

    def take_incomplete(self) -> bool:
        """Tell whether this member, as leader, has assigned a topic of unknown partitions.

        kafka-python 3.0.12 may hold an assignment before it has the topic's metadata, and then
        takes the empty one for good: somebody has to ask for another.
        """
        incomplete, self._incomplete = self._incomplete, False
        return incomplete

    def supported_protocols(self) -> list[Any]:
        """Cooperative: members keep what they have while the group finds its new order."""
        return [RebalanceProtocol.COOPERATIVE]

    @property
    def name(self) -> str:
        """The policy's name."""
        return self._policy.name

    def metadata(self, topics: Iterable[str]) -> Any:
        """Return what this member tells the leader: its topics, and what it has."""
        return ConsumerProtocolSubscription(self.version, sorted(topics), self._policy.owned())

    def assign(self, cluster: Any, members: Sequence[Any]) -> dict[str, Any]:
        """Called on the leader: partitions for every member."""
        owned = {m.member_id: bytes(m.metadata.user_data or b"") for m in members}
        topics = sorted({topic for member in members for topic in member.metadata.topics})
        known = {topic: cluster.partitions_for_topic(topic) or () for topic in topics}
        self._incomplete = not all(known.values())
        shares = self._policy.share(topics, known.__getitem__, owned)
        return {
            member: ConsumerProtocolAssignment(
                self.version,
                sorted((topic, sorted(numbers)) for topic, numbers in by_topic.items()),
                b"",
            )
            for member, by_topic in shares.items()
        }

    def on_assignment(self, assignment: Any, generation: int) -> None:  # noqa: ARG002 - interface
        """Tell the policy what this member was given."""
        self._policy.assigned([ours(partition) for partition in assignment.partitions()])
