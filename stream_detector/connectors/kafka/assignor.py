"""Hands out whole shards: all partitions p with p modulo N equal to the shard's number."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kafka.coordinator.assignors.abstract import (
    AbstractPartitionAssignor,
    ConsumerProtocolAssignment,
    ConsumerProtocolSubscription,
    RebalanceProtocol,
)


def give_up_first(
    wanted: Mapping[str, Sequence[int]], owned: Mapping[str, Sequence[int]]
) -> dict[str, list[int]]:
    """What may be handed out now: a shard that another member still has waits for the next round.

    Cooperative rebalancing (KIP-429): that member sees its share shrink, gives the shard up and
    joins again; only then is it free. So no shard has two owners, and what stays never stops.

    Args:
        wanted: for each member the shards it shall have in the end.
        owned: for each member the shards it says it has.

    Returns:
        For each member its shards in this round.
    """
    holders: dict[int, set[str]] = defaultdict(set)
    for member, shards in owned.items():
        for shard in shards:
            holders[shard].add(member)
    return {
        member: [s for s in shards if holders[s] <= {member}] for member, shards in wanted.items()
    }


def distribute(shards: int, owned: Mapping[str, Sequence[int]]) -> dict[str, list[int]]:
    """Which member owns which shards: evenly, and with as few moves as that allows.

    Args:
        shards: number of shards.
        owned: for each member the shards it says it has; members are taken in sorted order.

    Returns:
        For each member its shards, sorted. Members without one stand by.
    """
    members = sorted(owned)
    fair, extra = divmod(shards, len(members))
    taken: set[int] = set()
    result: dict[str, list[int]] = {}
    # Who has most keeps the larger share, so that nothing moves for the remainder's sake.
    for member in sorted(members, key=lambda m: (-len(owned[m]), m)):
        limit = fair + (1 if extra > 0 and len(owned[member]) > fair else 0)
        kept = [s for s in sorted(set(owned[member])) if 0 <= s < shards and s not in taken]
        result[member] = kept[:limit]
        taken.update(result[member])
        if len(result[member]) > fair:
            extra -= 1
    for shard in range(shards):
        if shard not in taken:
            least = min(members, key=lambda m: (len(result[m]), m))
            result[least].append(shard)
    return {member: sorted(result[member]) for member in members}


class ShardAssignor(AbstractPartitionAssignor):  # type: ignore[misc]
    """A partition assignor for N shards. State: the shards this member owns, as last assigned.

    The number of shards is part of the protocol's name: workers that disagree about it are
    refused by the coordinator instead of sharing out the partitions in two ways.
    """

    version = 0

    def __init__(self, shards: int) -> None:
        self._shards = shards
        self._owned: list[int] = []
        self._incomplete = False

    def take_incomplete(self) -> bool:
        """Whether this member, as leader, has assigned a topic whose partitions it did not know.

        kafka-python 3.0.12 may hold an assignment before it has the topic's metadata, and then
        takes the empty one for good: somebody has to ask for another.
        """
        incomplete, self._incomplete = self._incomplete, False
        return incomplete

    def supported_protocols(self) -> list[Any]:
        """Cooperative: members keep what they have while the group finds its new order."""
        return [RebalanceProtocol.COOPERATIVE]

    def forget(self) -> None:
        """The group has given this member up: it owns nothing any more."""
        self._owned = []

    @property
    def name(self) -> str:
        """Name of the protocol, the same for all members of the group."""
        return f"stream-detector-{self._shards}-shards"

    def metadata(self, topics: Iterable[str]) -> Any:
        """What this member tells the leader: its topics, and the shards it has."""
        text = ",".join(map(str, self._owned)).encode()
        return ConsumerProtocolSubscription(self.version, sorted(topics), text)

    def assign(self, cluster: Any, members: Sequence[Any]) -> dict[str, Any]:
        """Called on the leader: partitions for every member."""
        owned = {m.member_id: _owned_shards(m.metadata.user_data) for m in members}
        topics = sorted({topic for member in members for topic in member.metadata.topics})
        partitions: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        self._incomplete = not all(cluster.partitions_for_topic(topic) for topic in topics)
        for topic in topics:
            for partition in sorted(cluster.partitions_for_topic(topic) or ()):
                partitions[partition % self._shards][topic].append(partition)
        result: dict[str, Any] = {}
        final = distribute(self._shards, owned)
        for member, shards in give_up_first(final, owned).items():
            by_topic: dict[str, list[int]] = defaultdict(list)
            for shard in shards:
                for topic, numbers in partitions[shard].items():
                    by_topic[topic].extend(numbers)
            assigned = sorted((topic, sorted(numbers)) for topic, numbers in by_topic.items())
            result[member] = ConsumerProtocolAssignment(self.version, assigned, b"")
        return result

    def on_assignment(self, assignment: Any, generation: int) -> None:  # noqa: ARG002 - interface
        """Remember the shards, to be told to the next leader."""
        self._owned = sorted({tp.partition % self._shards for tp in assignment.partitions()})


def _owned_shards(user_data: bytes | None) -> list[int]:
    """Shards named in another member's metadata; garbage counts as none."""
    parts = bytes(user_data or b"")[:65_536].split(b",")
    return [int(part) for part in parts if part.isdigit() and len(part) < 6]  # noqa: PLR2004
