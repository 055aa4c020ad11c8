"""What the client tells of the assignment, noted for the loop; and partitions in both spellings."""

from __future__ import annotations

import threading
from collections.abc import Collection
from typing import Any

from kafka import TopicPartition as ClientPartition
from kafka.consumer.subscription_state import ConsumerRebalanceListener
from kafka.errors import FencedInstanceIdError, InconsistentGroupProtocolError

from stream_detector.connectors.kafka.assignor import ShardAssignor
from stream_detector.events import TopicPartition


class Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Notes what happens. Runs on the client's I/O thread: only pause and seek may be called."""

    def __init__(self, assignor: ShardAssignor) -> None:
        self.consumer: Any = None
        self._assignor = assignor
        self._lock = threading.Lock()
        self._happened = False
        self._lost = False
        self._added: frozenset[TopicPartition] = frozenset()

    def on_partitions_revoked(self, revoked: Collection[Any]) -> None:
        """Note what was given back."""
        self._note(gone=revoked)

    def on_partitions_assigned(self, assigned: Collection[Any]) -> None:
        """Note what is new, and let nothing of it come yet."""
        self.consumer.pause(*assigned)  # nothing may come before the loop has found the positions
        self._note(added=assigned)

    def on_partitions_lost(self, lost: Collection[Any]) -> None:
        """Note what others may have taken over already."""
        self._assignor.forget()
        self._note(gone=lost, lost=True)

    def _note(
        self, *, added: Collection[Any] = (), gone: Collection[Any] = (), lost: bool = False
    ) -> None:
        with self._lock:
            self._happened = True
            self._lost = self._lost or lost
            self._added = (self._added - {ours(p) for p in gone}) | {ours(p) for p in added}

    def take(self) -> tuple[bool, frozenset[TopicPartition], bool]:
        """Whether anything happened, what was added, whether ownership was lost."""
        with self._lock:
            noted = (self._happened, self._added, self._lost)
            self._happened, self._added, self._lost = False, frozenset(), False
            return noted


class Fencing:
    """Whether another worker has taken this one's instance id over.

    kafka-python 3.0.12 hears of it by its heartbeat, logs a line, sends no more of them, and lets
    polls go on as if nothing had happened.
    """

    def __init__(self, coordinator: Any) -> None:
        self.happened = False
        send = coordinator._send_heartbeat_request  # noqa: SLF001 - there is no public way

        async def noting() -> Any:
            try:
                return await send()
            except FencedInstanceIdError:
                self.happened = True
                raise

        coordinator._send_heartbeat_request = noting  # noqa: SLF001


def refuse_other_protocols(coordinator: Any) -> None:
    """Let a join fail where the broker itself shares the partitions out.

    Brokers from Kafka 4.0 on turn a group into one of the newer protocol (KIP-848) when a member
    of it comes, keep the others in, and give each what it likes: half of a shard to us, the rest to
    somebody else. Nobody is the leader of such a group, which is all that a member is told.
    """
    process = coordinator._process_join_group_response  # noqa: SLF001 - there is no public way

    def checking(response: Any, *others: Any) -> Any:
        joined = process(response, *others)
        if not joined.leader:
            raise InconsistentGroupProtocolError("the broker shares the partitions out")
        return joined

    coordinator._process_join_group_response = checking  # noqa: SLF001


class Uncollected:
    """A join's future that does not count as done before its result has been taken."""

    is_done = False

    def __init__(self, future: Any) -> None:
        self.add_callback = future.add_callback
        self.add_errback = future.add_errback


def ours(partition: Any) -> TopicPartition:
    """The client's partition as the project spells it."""
    return TopicPartition(partition.topic, partition.partition)


def theirs(source: TopicPartition) -> Any:
    """A partition as the client spells it."""
    return ClientPartition(source.topic, source.partition)
