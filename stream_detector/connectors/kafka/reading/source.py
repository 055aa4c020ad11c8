"""Events from Kafka: a consumer whose every blocking call has a deadline.

What happens to the assignment is noted while this thread waits in ``poll``, and what is new is
paused; the daemon's loop asks for the notes after each poll and acts. What should be committed
before a rebalance is committed before that poll: ``rebalance_near`` tells.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from stream_detector.config.models.config import KafkaConfig
from stream_detector.connectors.base import Fetched, Rebalance
from stream_detector.connectors.kafka.client.errors import (
    BROKER_AWAY,
    CLIENT_ERRORS,
    CommitFailedError,
    IllegalGenerationError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)
from stream_detector.connectors.kafka.client.member import GroupMember
from stream_detector.connectors.kafka.connection.addresses import explained, troubles
from stream_detector.connectors.kafka.connection.admin import topic_ids
from stream_detector.connectors.kafka.connection.permanent import refused_as_fenced
from stream_detector.connectors.kafka.connection.settings import (
    clear_cause,
    consumer_settings,
    refusal,
)
from stream_detector.connectors.kafka.reading import open_transaction
from stream_detector.connectors.kafka.reading.assignor import ShardAssignor
from stream_detector.connectors.kafka.reading.unreadable import Unreadable, UnreadableBatchError
from stream_detector.errors import ConnectorError, InputLostError, UnreadableInputError
from stream_detector.events import TopicPartition
from stream_detector.log_fields import fields

log = logging.getLogger(__name__)

_QUIET_SECONDS = 10.0


class KafkaSource:
    """A member of the consumer group that owns whole shards.

    State: the group's member, the log ends learnt last, until when it warns no more.
    """

    def __init__(self, kafka: KafkaConfig, *, shards: int, max_poll_records: int) -> None:
        """Connect and subscribe. Raises ``ConnectorError`` with the cause."""
        self._kafka = kafka
        self._timeout_ms = max(1, int(kafka.request_timeout * 1000))
        self._generation = -1
        self._membership: Any = None
        self._ends: dict[TopicPartition, int] = {}
        self._unreadable: dict[TopicPartition, ConnectorError] = {}
        self._quiet_until = 0.0
        settings = consumer_settings(kafka, max_poll_records=max_poll_records)
        with clear_cause("connect", kafka):
            self._member = GroupMember(
                settings,
                kafka.input_topics,
                ShardAssignor(shards),
                unreadable=Unreadable(dead_letter=kafka.unreadable == "dead_letter"),
            )
        self._metadata = self._member.metadata

    def poll(self, timeout_seconds: float) -> list[Fetched]:
        """Next records of the partitions that were resumed; [] when none came in time.

        Raises ``InputLostError`` where offsets to be read were deleted, ``ConnectorError`` where
        the broker refuses. A partition whose next batch cannot be read is paused before it.
        """
        if self._member.fenced:
            raise refused_as_fenced(self._kafka)
        try:
            polled = self._member.poll(int(timeout_seconds * 1000))
        except NoOffsetForPartitionError:
            return []  # assigned just now: the loop finds its position and seeks
        except OffsetOutOfRangeError as error:
            raise InputLostError(f"the log no longer has these offsets: {error}") from error
        except UnreadableBatchError as error:
            self._unreadable[error.source] = UnreadableInputError(str(error))
            self._member.pause(error.source)
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
        metadata = self._member.group_metadata()
        self._membership = metadata if metadata.generation_id >= 0 else None
        return [Fetched(source, records) for source, records in polled.items()]

    def unreadable(self) -> Mapping[TopicPartition, ConnectorError]:
        """Partitions whose next batch cannot be read, and what to say of each."""
        return self._unreadable

    def _warn_away(self, error: Exception) -> None:
        """At most a line in ten seconds: this may come with every poll."""
        if (now := time.monotonic()) >= self._quiet_until:
            self._quiet_until = now + _QUIET_SECONDS
            why = troubles(self._metadata, self._kafka)
            how = fields("broker-away", stage="poll")
            log.warning("the broker does not answer: %s%s", error, why, extra=how)

    def rebalance_near(self) -> bool:
        """Tell whether the next poll joins the group anew: the coordinator has asked for it."""
        return self._member.rebalance_near()

    def membership(self) -> Any:
        """The group's metadata as of the last poll; None where this is no member just now."""
        return self._membership

    def take_rebalance(self) -> Rebalance | None:
        """Return what the last polls changed in the assignment; None where nothing changed."""
        notes = self._member.take_notes()
        # A member that gets nothing is told nothing, but for its generation.
        generation = self._member.group_metadata().generation_id
        joined = generation not in (self._generation, -1) and not self.rebalance_near()
        if not notes.happened and not joined:
            return None
        self._generation = generation
        assigned = self._member.assignment()
        self._unreadable = {s: e for s, e in self._unreadable.items() if s in assigned}
        return Rebalance(assigned, notes.added & assigned, notes.lost)

    def seek(self, positions: Mapping[TopicPartition, int]) -> None:
        """Read on from these offsets, and begin to (partitions are assigned paused)."""
        for source, offset in positions.items():
            self._unreadable.pop(source, None)
            if self._member.holds(source):
                self._member.seek(source, offset)
                self._member.resume(source)

    def pause(self, source: TopicPartition) -> None:
        """Bring no more records of a partition; the group does not notice."""
        if self._member.holds(source):
            self._member.pause(source)

    def resume(self, source: TopicPartition) -> None:
        """Bring records of a partition again."""
        if self._member.holds(source):
            self._member.resume(source)

    def position(self, source: TopicPartition) -> int:
        """Offset of the next record to be read; past aborted and control ones. -1: not known."""
        return self._member.position(source)

    def log_end(self, source: TopicPartition) -> int:
        """End of a partition's log as far as it is known without asking; -1 where it is not."""
        known = self._ends.get(source, -1)
        try:
            seen = self._member.highwater(source)
        except CLIENT_ERRORS:  # not assigned any more
            return known
        return known if seen is None else max(known, int(seen))

    def missing(self, sources: Iterable[TopicPartition]) -> set[TopicPartition]:
        """Those partitions that the brokers' metadata, as the client knows it, does not name."""
        return {one for one in sources if self._metadata.leader(one) is None}

    def without_leader(self, sources: Iterable[TopicPartition]) -> set[TopicPartition]:
        """Those partitions that are known and that no broker can serve just now."""
        return {one for one in sources if self._metadata.leader(one) == -1}

    def known_ids(self, topics: Iterable[str]) -> dict[str, str]:
        """The brokers' ids of topics, as the client knows them without asking."""
        ids = {topic: self._metadata.topic_id(topic) for topic in topics}
        return {topic: found for topic, found in ids.items() if found is not None}

    def missing_topics(self) -> list[str]:
        """Input topics that the brokers' metadata, as the client knows it, does not name."""
        return self._member.missing_topics()

    def ask_ends(self, sources: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Ends of the logs, of what ``read_committed`` may see, where they can be had.

        Partitions that are gone or without a leader are absent. Raises ``ConnectorError``.
        """
        ends = self._ask("end offsets", self._member.end_offsets, sources)
        self._ends.update(ends)
        return ends

    def open_transaction(self, source: TopicPartition) -> str:
        """Whose transaction keeps a partition from being read further, as far as is told."""
        return open_transaction.describe(self._kafka, source)

    def ask_beginnings(self, sources: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Earliest offsets that the logs still hold. Raises ``ConnectorError``."""
        return self._ask("beginning offsets", self._member.beginning_offsets, sources)

    def _ask(
        self,
        subject: str,
        question: Callable[[list[TopicPartition], int], dict[TopicPartition, int]],
        sources: Iterable[TopicPartition],
    ) -> dict[TopicPartition, int]:
        wanted = set(sources)
        # For one that is gone the client would wait until the deadline, and tell nothing of others.
        wanted -= self.missing(wanted) | self.without_leader(wanted)
        if not wanted:
            return {}
        with (
            explained(self._metadata, self._kafka),
            clear_cause(f"ask for {subject}", self._kafka),
        ):
            return question(sorted(wanted), self._timeout_ms)

    def topic_ids(self, topics: Iterable[str]) -> dict[str, str]:
        """The broker's ids of topics. Raises ``ConnectorError``."""
        return topic_ids(self._kafka, list(topics))

    def committed(self, sources: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Offsets committed by the group; partitions without one are absent."""
        found: dict[TopicPartition, int] = {}
        with clear_cause("ask for the committed offsets", self._kafka):
            for source in sources:
                offset = self._member.committed(source, self._timeout_ms)
                if offset is not None and offset >= 0:
                    found[source] = offset
        return found

    def commit(self, offsets: Mapping[TopicPartition, int]) -> bool:
        """Commit offsets of the next records to read.

        Returns:
            False where the group has moved on: the assignment is about to change.

        Raises:
            ConnectorError: the broker did not answer in time, or refused.
        """
        try:
            with clear_cause("commit offsets", self._kafka):
                self._member.commit(offsets, self._timeout_ms)
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
        self._member.close(self._timeout_ms)
