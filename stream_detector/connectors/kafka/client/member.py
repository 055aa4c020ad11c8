"""A consumer in a group: what kafka-python does not tell of its membership, and joins that end.

kafka-python runs its network loop on a thread of its own, and calls the rebalance listener there,
always while the caller waits in ``poll``.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from stream_detector.connectors.kafka.client.assignor import Assignment, ClientAssignor
from stream_detector.connectors.kafka.client.batches import UnreadablePolicy
from stream_detector.connectors.kafka.client.consumer import Consumer, Polled
from stream_detector.connectors.kafka.client.errors import (
    FencedInstanceIdError,
    InconsistentGroupProtocolError,
)
from stream_detector.connectors.kafka.client.listener import Listener, Notes

log = logging.getLogger(__name__)

_JOIN_POLL_MS = 20
"""How long a poll may take while the group finds its new order."""


class GroupMember(Consumer):
    """A ``Consumer`` that shares topics with the others of its group, by an ``Assignment``.

    State: the listener's notes, whether the last assignment was made without knowing a topic.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        topics: Sequence[str],
        assignment: Assignment,
        *,
        unreadable: UnreadablePolicy | None = None,
    ) -> None:
        """Connect and subscribe; the first ``poll`` joins. Raises the client's errors."""
        self._topics = list(topics)
        self._assignor = ClientAssignor(assignment)
        strategy = {"partition_assignment_strategy": [self._assignor]}
        super().__init__({**settings, **strategy}, unreadable=unreadable)
        self._max_records: int = self._client.config["max_poll_records"]
        self._incomplete = False
        self._coordinator = self._client._coordinator  # noqa: SLF001 - there is no public way
        self._fencing = _Fencing(self._coordinator)
        _refuse_other_protocols(self._coordinator)
        self._listener = Listener(self._client.pause, assignment.forget)
        self._client.subscribe(self._topics, listener=self._listener)
        for topic in self._topics:  # so that the first assignment is made with them known
            self._client.partitions_for_topic(topic)

    @property
    def fenced(self) -> bool:
        """Notices that another worker has taken over this one's instance id."""
        return self._fencing.happened

    def poll(self, timeout_ms: int) -> Polled:
        """As ``Consumer.poll``; joins the group where that is due."""
        self._unpark()
        self._remember_join()
        if not self.rebalance_near():
            return self._spelt(self._client.poll(timeout_ms=timeout_ms))
        return self._poll_while_joining(timeout_ms)

    def _poll_while_joining(self, timeout_ms: int) -> Polled:
        """Poll for the group's sake, and fetch what is owned nevertheless.

        kafka-python's poll brings nothing while a join is under way, which lasts until the slowest
        member has joined. Under the cooperative protocol what is owned stays owned meanwhile.
        """
        polled = self._client.poll(timeout_ms=min(timeout_ms, _JOIN_POLL_MS))
        if not polled and self._client.assignment():
            polled, _ = self._fetcher.fetch_records(self._max_records, timeout_ms=_JOIN_POLL_MS)
        return self._spelt(polled)

    def _remember_join(self) -> None:
        """Let a join that a short poll has left under way be finished by the next one.

        kafka-python 3.0.12 goes on with it only while ``need_rejoin`` says so, which it stops to do
        where the join was begun for new metadata and the leader has taken them in meanwhile: the
        assignment would arrive and never be taken up. And what has arrived between two polls it
        throws away, to join once more, which costs the whole group a rebalance.
        """
        coordinator = self._coordinator
        if coordinator.rejoining:
            coordinator.rejoin_needed = True
            task = coordinator._join_task  # noqa: SLF001
            if task is not None and not isinstance(task, _Uncollected):
                coordinator._join_task = _Uncollected(task)  # noqa: SLF001
            return
        self._incomplete = self._assignor.take_incomplete() or self._incomplete
        # As long as a topic does not exist, another round would bring nothing more.
        if self._incomplete and not self.missing_topics():
            self._incomplete = False
            log.info("a topic was assigned before its partitions were known: once more")
            coordinator.request_rejoin()

    def missing_topics(self) -> list[str]:
        """Topics of the subscription that the brokers' metadata, as known here, does not name."""
        return [topic for topic in self._topics if not self.metadata.partitions(topic)]

    def rebalance_near(self) -> bool:
        """Tell whether the next poll joins the group anew: the coordinator has asked for it."""
        return bool(self._coordinator.need_rejoin())

    def group_metadata(self) -> Any:
        """Group, generation and member id, for a transaction; a generation below 0 is no member."""
        return self._client.group_metadata()

    def take_notes(self) -> Notes:
        """Return what the last polls did to the assignment. New partitions are paused."""
        return self._listener.take()


class _Fencing:
    """Notices that another worker has taken over this one's instance id.

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


def _refuse_other_protocols(coordinator: Any) -> None:
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


class _Uncollected:
    """A join's future that does not count as done before its result has been taken."""

    is_done = False

    def __init__(self, future: Any) -> None:
        self.add_callback = future.add_callback
        self.add_errback = future.add_errback
