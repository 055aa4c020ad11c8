"""Input that cannot be read: gone, or without a leader. The others go on; a person is told."""

from __future__ import annotations

from collections.abc import Collection

from stream_detector.config.models import Kafka
from stream_detector.connectors.base import GroupSource
from stream_detector.daemon.shard import Shard
from stream_detector.events import TopicPartition
from stream_detector.log_fields import fields
from stream_detector.telemetry.conditions import Conditions

_GONE_AFTER_SECONDS = 10.0
"""A broker that has just started may not know its topics yet; until then the others wait."""


class Availability:
    """Says which input cannot be read, by name. State: its conditions."""

    def __init__(self, source: GroupSource, kafka: Kafka, conditions: Conditions) -> None:
        self._source, self._kafka, self._conditions = source, kafka, conditions

    def look(self, shards: Collection[Shard]) -> frozenset[TopicPartition]:
        """Report what cannot be read; the partitions of ``shards`` that are gone for good.

        Raises ``InputMissingError`` where a replay waits for one of them.
        """
        sources = [source for shard in shards for source in shard.merger.sources]
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
        for one in sorted(headless):
            self._conditions.report(
                "input_without_leader",
                one,
                f"{one} has no leader: every broker that holds it is away. Bring one back; see "
                "docs/runbook.md#a-partition-without-a-leader",
                extra=fields("input-without-leader", stage="poll", partition=str(one)),
                blocking=blocking,
            )
        self._conditions.keep("input_missing", [*topics, *missing])
        self._conditions.keep("input_without_leader", headless)
        return gone

    def _missing(self, about: str, blocking: bool) -> float:
        return self._conditions.report(
            "input_missing",
            about,
            f"the input {about} does not exist (any more). Take it out of kafka.topics, or make it "
            "and begin with another kafka.group; see docs/runbook.md#a-topic-or-partition-is-gone",
            extra=fields("input-missing", stage="poll", about=about),
            blocking=blocking,
        )
