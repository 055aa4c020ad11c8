"""Input that cannot be read: gone, or without a leader. The others go on; a person is told."""

from __future__ import annotations

from collections.abc import Collection

from stream_detector.config.models.config import KafkaConfig
from stream_detector.connectors.base import GroupSource
from stream_detector.daemon.shard import Shard
from stream_detector.errors import InputMissingError, StateError
from stream_detector.events import TopicPartition
from stream_detector.log_fields import fields
from stream_detector.telemetry.conditions import Conditions

_GONE_AFTER_SECONDS = 10.0
"""A broker that has just started may not know its topics yet; until then the others wait."""


class Availability:
    """Says which input cannot be read, by name. State: its conditions."""

    def __init__(
        self,
        source: GroupSource,
        kafka: KafkaConfig,
        conditions: Conditions,
        *,
        leaderless_wait_seconds: float,
    ) -> None:
        """``leaderless_wait_seconds``: ``processing.leaderless_wait``."""
        self._source, self._kafka, self._conditions = source, kafka, conditions
        self._leaderless_wait = leaderless_wait_seconds

    def check_ids(self, shards: Collection[Shard]) -> None:
        """Raise ``StateError`` where a topic of the same name has taken the place of one read.

        Asked at every turn, before what was fetched is taken in: an offset of the one may exist in
        the other.
        """
        ids = self._source.known_ids(self._kafka.input_topics)
        for shard in shards:
            for topic, now in ids.items():
                if shard.input.topic_ids.get(topic, now) != now:
                    raise StateError(
                        f"the topic {topic} was deleted and made anew: the state of shard "
                        f"{shard.number} belongs to the old one. Use another kafka.group, or "
                        "--reset-state; see docs/runbook.md#a-topic-or-partition-is-gone"
                    )

    def look(self, shards: Collection[Shard]) -> frozenset[TopicPartition]:
        """Report what cannot be read; those partitions of ``shards`` that are waited for no longer.

        Raises ``InputMissingError`` where a replay waits for one that is gone.
        """
        sources = [source for shard in shards for source in shard.sources]
        topics = self._source.missing_topics()
        missing = self._source.missing(sources)
        headless = self._source.without_leader(sources)
        left = [one for one in sources if one not in missing and one not in headless]
        # A worker that stands by has nothing to read either, and is well as long as topics exist.
        blocking = not left and (bool(sources) or len(topics) == len(self._kafka.input_topics))
        gone = frozenset(
            one
            for one in sorted(missing)
            if self._missing(str(one), blocking) > _GONE_AFTER_SECONDS
        )
        for topic in topics:
            self._missing(topic, blocking)
        left_behind = frozenset(
            one
            for one in sorted(headless)
            if self._headless(str(one), blocking) >= self._leaderless_wait
        )
        self._conditions.keep("input_missing", [*topics, *missing])
        self._conditions.keep("input_without_leader", headless)
        self._check_replays(shards, gone)
        return gone | left_behind

    def _check_replays(self, shards: Collection[Shard], gone: Collection[TopicPartition]) -> None:
        for shard in shards:
            for one in sorted(gone):
                if one in shard.input.fetch_positions and shard.needs(one):
                    raise InputMissingError(
                        f"shard {shard.number} cannot come to where it stood: its journal names "
                        f"records of {one}, which does not exist any more. Use another "
                        "kafka.group, or --reset-state; see "
                        "docs/runbook.md#a-topic-or-partition-is-gone"
                    )

    def _headless(self, about: str, blocking: bool) -> float:
        return self._conditions.report(
            "input_without_leader",
            about,
            f"{about} has no leader: every broker that holds it is away. The others go on without "
            f"it after processing.leaderless_wait, {self._leaderless_wait:g} s. Bring a broker "
            "back; see docs/runbook.md#a-partition-without-a-leader",
            extra=fields("input-without-leader", stage="poll", partition=about),
            blocking=blocking,
        )

    def _missing(self, about: str, blocking: bool) -> float:
        return self._conditions.report(
            "input_missing",
            about,
            f"the input {about} does not exist (any more). Take it out of kafka.topics, or make it "
            "and begin with another kafka.group; see docs/runbook.md#a-topic-or-partition-is-gone",
            extra=fields("input-missing", stage="poll", about=about),
            blocking=blocking,
        )
