"""Hands out whole shards: all partitions p with p modulo N equal to the shard's number."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence

from stream_detector.events import TopicPartition


def give_up_first(
    wanted: Mapping[str, Sequence[int]], owned: Mapping[str, Sequence[int]]
) -> dict[str, list[int]]:
    """Return what may be handed out now: a shard that a member still has waits for the next round.

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
    """Distribute shards over the members: evenly, and with as few moves as that allows.

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


class ShardAssignor:
    """Policy by which members get shards (a ``client.assignor.Assignment``).

    State: the shards this member owns, as last assigned. The number of shards is part of the
    protocol's name: workers that disagree about it are refused by the coordinator instead of
    sharing out the partitions in two ways.
    """

    def __init__(self, shards: int) -> None:
        self._shards = shards
        self._owned: list[int] = []

    @property
    def name(self) -> str:
        """Name of the protocol, the same for all members of the group."""
        return f"stream-detector-{self._shards}-shards"

    def forget(self) -> None:
        """The group has given this member up: it owns nothing any more."""
        self._owned = []

    def owned(self) -> bytes:
        """The shards that this member has, as it tells the leader."""
        return ",".join(map(str, self._owned)).encode()

    def share(
        self,
        topics: Sequence[str],
        partitions: Callable[[str], Collection[int]],
        owned: Mapping[str, bytes],
    ) -> dict[str, dict[str, list[int]]]:
        """Topics and partitions for every member, by the leader."""
        of_shard: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        for topic in topics:
            for partition in sorted(partitions(topic)):
                of_shard[partition % self._shards][topic].append(partition)
        has = {member: _owned_shards(told) for member, told in owned.items()}
        result: dict[str, dict[str, list[int]]] = {}
        for member, shards in give_up_first(distribute(self._shards, has), has).items():
            by_topic: dict[str, list[int]] = defaultdict(list)
            for shard in shards:
                for topic, numbers in of_shard[shard].items():
                    by_topic[topic].extend(numbers)
            result[member] = by_topic
        return result

    def assigned(self, sources: Collection[TopicPartition]) -> None:
        """Remember the shards, to be told to the next leader."""
        self._owned = sorted({source.partition % self._shards for source in sources})


def _owned_shards(told: bytes) -> list[int]:
    """Shards named in another member's metadata; garbage counts as none."""
    parts = told[:65_536].split(b",")
    return [int(part) for part in parts if part.isdigit() and len(part) < 6]  # noqa: PLR2004
