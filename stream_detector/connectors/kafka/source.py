"""Events from Kafka: a consumer whose every blocking call has a deadline.

kafka-python runs its network loop on a thread of its own, and calls the rebalance listener there,
always while this thread waits in ``poll``. The listener therefore only notes what happened and
pauses what is new; the daemon's loop asks for the notes after each poll and acts. What should be
committed before a rebalance is committed before that poll: ``rebalance_near`` tells.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from typing import Any

from kafka.errors import (
    CommitFailedError,
    IllegalGenerationError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)
from kafka.structs import OffsetAndMetadata

from stream_detector.config.models.config import KafkaConfig
from stream_detector.connectors.base import Fetched, Rebalance
from stream_detector.connectors.kafka import open_transaction
from stream_detector.connectors.kafka.addresses import explained, troubles
from stream_detector.connectors.kafka.admin import topic_ids
from stream_detector.connectors.kafka.assignor import ShardAssignor
from stream_detector.connectors.kafka.consumer import BROKER_AWAY, new_consumer
from stream_detector.connectors.kafka.listener import (
    Fencing,
    Listener,
    Uncollected,
    ours,
    refuse_other_protocols,
    theirs,
)
from stream_detector.connectors.kafka.permanent import refused_as_fenced
from stream_detector.connectors.kafka.settings import (
    CLIENT_ERRORS,
    clear_cause,
    consumer_settings,
    refusal,
)
from stream_detector.connectors.kafka.unreadable import UnreadableBatchError
from stream_detector.errors import ConnectorError, InputLostError, UnreadableInputError
from stream_detector.events import TopicPartition
from stream_detector.log_fields import fields

log = logging.getLogger(__name__)

_QUIET_SECONDS = 10.0
_JOIN_POLL_MS = 20
"""How long a poll may take while the group finds its new order."""


class KafkaSource:
    """A member of the consumer group that owns whole shards.

    State: kafka-python's consumer, the log ends learnt last, until when it warns no more.
    """

    def __init__(self, kafka: KafkaConfig, *, shards: int, max_poll_records: int) -> None:
        """Connect and subscribe. Raises ``ConnectorError`` with the cause."""
        self._kafka = kafka
        self._timeout_ms = max(1, int(kafka.request_timeout * 1000))
        self._max_poll_records = max_poll_records
        self._assignor = ShardAssignor(shards)
        self._listener = Listener(self._assignor)
        self._incomplete = False
        self._generation = -1
        self._membership: Any = None
        self._ends: dict[TopicPartition, int] = {}
        self._unreadable: dict[TopicPartition, ConnectorError] = {}
        self._quiet_until = 0.0
        settings = consumer_settings(kafka, max_poll_records=max_poll_records)
        with clear_cause("connect", kafka):
            self._consumer = new_consumer(
                settings,
                dead_letter=kafka.unreadable == "dead_letter",
                partition_assignment_strategy=[self._assignor],
            )
            self._cluster = self._consumer._client.cluster  # noqa: SLF001 - no public way
            self._listener.consumer = self._consumer
            self._fencing = Fencing(self._consumer._coordinator)  # noqa: SLF001
            refuse_other_protocols(self._consumer._coordinator)  # noqa: SLF001
            self._consumer.subscribe(kafka.input_topics, listener=self._listener)
            for topic in kafka.input_topics:  # so that the first assignment is made with them known
                self._consumer.partitions_for_topic(topic)

    def poll(self, timeout_seconds: float) -> list[Fetched]:
        """Next records of the partitions that were resumed; [] when none came in time.

        Raises ``InputLostError`` where offsets to be read were deleted, ``ConnectorError`` where
        the broker refuses. A partition whose next batch cannot be read is paused before it.
        """
        if self._fencing.happened:
            raise refused_as_fenced(self._kafka)
        self._unpark()
        self._remember_join()
        timeout_ms = int(timeout_seconds * 1000)
        try:
            if self.rebalance_near():
                polled = self._poll_while_joining(timeout_ms)
            else:
                polled = self._consumer.poll(timeout_ms=timeout_ms)
        except NoOffsetForPartitionError:
            return []  # assigned just now: the loop finds its position and seeks
        except OffsetOutOfRangeError as error:
            raise InputLostError(f"the log no longer has these offsets: {error}") from error
        except UnreadableBatchError as error:
            self._unreadable[error.source] = UnreadableInputError(str(error))
            self._consumer.pause(theirs(error.source))
            return []
        except BROKER_AWAY as error:
            # Most of the time poll is silent about it; where a join is under way it is not.
            self._warn_away(error)
            return []
        except CLIENT_ERRORS as error:
            # After an error while unpacking, the next poll would never return: do not try again.
            raise (
                refusal(error, "read", self._kafka) or ConnectorError(f"cannot read: {error!r}")
            ) from error
        # Before the loop takes note of what has changed: whoever was given up and has joined anew
        # has been told of the loss by the time that the new membership can be seen.
        metadata = self._consumer.group_metadata()
        self._membership = metadata if metadata.generation_id >= 0 else None
        return [Fetched(ours(p), records) for p, records in polled.items() if records]

    def unreadable(self) -> Mapping[TopicPartition, ConnectorError]:
        """Partitions whose next batch cannot be read, and what to say of each."""
        return self._unreadable

    def _warn_away(self, error: Exception) -> None:
        """At most a line in ten seconds: this may come with every poll."""
        if (now := time.monotonic()) >= self._quiet_until:
            self._quiet_until = now + _QUIET_SECONDS
            why = troubles(self._consumer._client.cluster, self._kafka)  # noqa: SLF001 - likewise
            how = fields("broker-away", stage="poll")
            log.warning("the broker does not answer: %s%s", error, why, extra=how)

    def _poll_while_joining(self, timeout_ms: int) -> dict[Any, Any]:
        """Poll for the group's sake, and fetch what is owned nevertheless.

        kafka-python's poll brings nothing while a join is under way, which lasts until the slowest
        member has joined. Under the cooperative protocol what is owned stays owned meanwhile.
        """
        polled: dict[Any, Any] = self._consumer.poll(timeout_ms=min(timeout_ms, _JOIN_POLL_MS))
        if not polled and self._consumer.assignment():
            polled, _ = self._consumer._fetcher.fetch_records(  # noqa: SLF001 - no public way
                self._max_poll_records, timeout_ms=_JOIN_POLL_MS
            )
        return polled

    def _remember_join(self) -> None:
        """Let a join that a short poll has left under way be finished by the next one.

        kafka-python 3.0.12 goes on with it only while ``need_rejoin`` says so, which it stops to do
        where the join was begun for new metadata and the leader has taken them in meanwhile: the
        assignment would arrive and never be taken up. And what has arrived between two polls it
        throws away, to join once more, which costs the whole group a rebalance.
        """
        coordinator = self._consumer._coordinator  # noqa: SLF001 - there is no public way
        if coordinator.rejoining:
            coordinator.rejoin_needed = True
            task = coordinator._join_task  # noqa: SLF001
            if task is not None and not isinstance(task, Uncollected):
                coordinator._join_task = Uncollected(task)  # noqa: SLF001
            return
        self._incomplete = self._assignor.take_incomplete() or self._incomplete
        # As long as a topic does not exist, another round would bring nothing more.
        if self._incomplete and not self.missing_topics():
            self._incomplete = False
            log.info("a topic was assigned before its partitions were known: once more")
            coordinator.request_rejoin()

    def rebalance_near(self) -> bool:
        """Whether the next poll joins the group anew: the coordinator has asked for it."""
        return bool(self._consumer._coordinator.need_rejoin())  # noqa: SLF001 - no public way

    def membership(self) -> Any:
        """The group's metadata as of the last poll; None where this is no member just now."""
        return self._membership

    def _unpark(self) -> None:
        """Let records of resumed partitions come back.

        kafka-python 3.0.12 parks what it had parsed of a partition when it is paused, and takes it
        up again only where ``_next_partition_records`` is None; but that stays on a drained object
        until another partition brings something. With the others at their end, a resumed partition
        would stand still for ever (tests/test_client_contract.py shows it on the bare client).
        """
        fetcher = self._consumer._fetcher  # noqa: SLF001 - there is no public way
        current = fetcher._next_partition_records  # noqa: SLF001
        if current is not None and not current:
            fetcher._next_partition_records = None  # noqa: SLF001

    def take_rebalance(self) -> Rebalance | None:
        """What the last polls did to the assignment; None where nothing changed."""
        happened, added, lost = self._listener.take()
        # A member that gets nothing is told nothing, but for its generation.
        generation = self._consumer.group_metadata().generation_id
        joined = generation not in (self._generation, -1) and not self.rebalance_near()
        if not happened and not joined:
            return None
        self._generation = generation
        assigned = frozenset(ours(partition) for partition in self._consumer.assignment())
        self._unreadable = {s: e for s, e in self._unreadable.items() if s in assigned}
        return Rebalance(assigned, added & assigned, lost)

    def seek(self, positions: Mapping[TopicPartition, int]) -> None:
        """Read on from these offsets, and begin to (partitions are assigned paused)."""
        for source, offset in positions.items():
            self._unreadable.pop(source, None)
            if self._holds(source):
                self._consumer.seek(theirs(source), offset)
                self._consumer.resume(theirs(source))

    def pause(self, source: TopicPartition) -> None:
        """Bring no more records of a partition; the group does not notice."""
        if self._holds(source):
            self._consumer.pause(theirs(source))

    def resume(self, source: TopicPartition) -> None:
        """Bring records of a partition again."""
        if self._holds(source):
            self._consumer.resume(theirs(source))

    def _holds(self, source: TopicPartition) -> bool:
        """Whether a partition is assigned just now: one whose topic was deleted is not.

        It changes only within ``poll``; the client raises KeyError for what is not assigned.
        """
        return theirs(source) in self._consumer.assignment()

    def position(self, source: TopicPartition) -> int:
        """Offset of the next record to be read; past aborted and control ones. -1: not known.

        The client's own ``position`` waits at every turn where a partition has no leader.
        """
        state = self._consumer._subscription.assignment.get(theirs(source))  # noqa: SLF001
        return -1 if state is None or state.position is None else int(state.position.offset)

    def log_end(self, source: TopicPartition) -> int:
        """End of a partition's log as far as it is known without asking; -1 where it is not."""
        known = self._ends.get(source, -1)
        try:
            seen = self._consumer.highwater(theirs(source))
        except CLIENT_ERRORS:  # not assigned any more
            return known
        return known if seen is None else max(known, int(seen))

    def missing(self, sources: Iterable[TopicPartition]) -> set[TopicPartition]:
        """Those partitions that the brokers' metadata, as the client knows it, does not name."""
        return {one for one in sources if self._cluster.leader_for_partition(theirs(one)) is None}

    def without_leader(self, sources: Iterable[TopicPartition]) -> set[TopicPartition]:
        """Those partitions that are known and that no broker can serve just now."""
        return {one for one in sources if self._cluster.leader_for_partition(theirs(one)) == -1}

    def known_ids(self, topics: Iterable[str]) -> dict[str, str]:
        """The brokers' ids of topics, as the client knows them without asking."""
        ids = ((topic, self._cluster.topic_id(topic)) for topic in topics)
        return {topic: str(found) for topic, found in ids if found is not None and found.int}

    def missing_topics(self) -> list[str]:
        """Input topics that the brokers' metadata, as the client knows it, does not name."""
        return [t for t in self._kafka.input_topics if not self._cluster.partitions_for_topic(t)]

    def ask_ends(self, sources: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Ends of the logs, of what ``read_committed`` may see, where they can be had.

        Partitions that are gone or without a leader are absent. Raises ``ConnectorError``.
        """
        ends = self._ask("end_offsets", sources)
        self._ends.update(ends)
        return ends

    def open_transaction(self, source: TopicPartition) -> str:
        """Whose transaction keeps a partition from being read further, as far as is told."""
        return open_transaction.describe(self._kafka, source)

    def ask_beginnings(self, sources: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Earliest offsets that the logs still hold. Raises ``ConnectorError``."""
        return self._ask("beginning_offsets", sources)

    def _ask(self, question: str, sources: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        wanted = set(sources)
        # For one that is gone the client would wait until the deadline, and tell nothing of others.
        wanted -= self.missing(wanted) | self.without_leader(wanted)
        asked = [theirs(source) for source in sorted(wanted)]
        if not asked:
            return {}
        with (
            explained(self._consumer._client.cluster, self._kafka),  # noqa: SLF001 - no public way
            clear_cause(f"ask for {question.replace('_', ' ')}", self._kafka),
        ):
            answer = getattr(self._consumer, question)(asked, timeout_ms=self._timeout_ms)
        return {ours(partition): int(offset) for partition, offset in answer.items()}

    def topic_ids(self, topics: Iterable[str]) -> dict[str, str]:
        """The broker's ids of topics. Raises ``ConnectorError``."""
        return topic_ids(self._kafka, list(topics))

    def committed(self, sources: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Offsets committed by the group; partitions without one are absent."""
        found: dict[TopicPartition, int] = {}
        with clear_cause("ask for the committed offsets", self._kafka):
            for source in sources:
                offset = self._consumer.committed(theirs(source), timeout_ms=self._timeout_ms)
                if offset is not None and offset >= 0:
                    found[source] = int(offset)
        return found

    def commit(self, offsets: Mapping[TopicPartition, int]) -> bool:
        """Commit offsets of the next records to read.

        Returns:
            False where the group has moved on: the assignment is about to change.

        Raises:
            ConnectorError: the broker did not answer in time, or refused.
        """
        wanted = {theirs(s): OffsetAndMetadata(o, "", -1) for s, o in offsets.items()}
        try:
            with clear_cause("commit offsets", self._kafka):
                self._consumer.commit(wanted, timeout_ms=self._timeout_ms)
        except ConnectorError as error:
            moved_on = (
                CommitFailedError,
                IllegalGenerationError,
                RebalanceInProgressError,
                UnknownMemberIdError,
            )
            if isinstance(error.__cause__, moved_on):
                return False
            raise
        return True

    def exhausted(self) -> bool:
        """A topic has no end."""
        return False

    def close(self) -> None:
        """Leave the group."""
        self._consumer.close(autocommit=False, timeout_ms=self._timeout_ms)
