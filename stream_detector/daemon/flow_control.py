"""Flow control: partitions that the merge need not wait for, and those paused meanwhile."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable

from stream_detector.config.models.config import ProcessingConfig
from stream_detector.connectors.base import GroupSource
from stream_detector.daemon.shard import Shard
from stream_detector.errors import ConnectorError
from stream_detector.events import TopicPartition
from stream_detector.telemetry.logs import fields
from stream_detector.telemetry.metrics import Metrics

log = logging.getLogger(__name__)


class FlowControl:
    """Watches the partitions of this worker.

    State: what is paused, what holds others back and since when, what stands before an open
    transaction.

    Attributes:
        gone: partitions that will bring nothing more; nobody waits for them.
    """

    def __init__(self, source: GroupSource, processing: ProcessingConfig, metrics: Metrics) -> None:
        self._source, self._processing, self._metrics = source, processing, metrics
        self._paused: set[TopicPartition] = set()
        self._blocked_since: dict[TopicPartition, float] = {}
        self._stuck: set[TopicPartition] = set()
        self.gone: frozenset[TopicPartition] = frozenset()

    def keep(self, sources: Collection[TopicPartition]) -> None:
        """Forget what was noted of all other partitions."""
        self._paused.intersection_update(sources)
        self._stuck.intersection_update(sources)
        self._blocked_since = {s: t for s, t in self._blocked_since.items() if s in sources}

    def forget(self, sources: Iterable[TopicPartition]) -> None:
        """These partitions begin anew, and flow."""
        for source in sources:
            self._paused.discard(source)
            self._stuck.discard(source)
            self._blocked_since.pop(source, None)

    def at_end(self, shard: Shard) -> Collection[TopicPartition]:
        """Partitions that cannot hold the others back: at their end, or not readable further."""
        ends = set(self._source.unreadable()).intersection(shard.sources)
        for source in shard.sources:
            if not shard.waiting(source):
                # Control records and aborted ones are passed without being seen.
                position = max(self._source.position(source), shard.input.fetch_positions[source])
                shard.input.fetch_positions[source] = position
            # Read to its end: what waits is all there is.
            if shard.input.fetch_positions[source] >= self._source.log_end(source) >= 0:
                ends.add(source)
        now = time.monotonic()
        blocking = shard.input.blocking(ends)
        for source in shard.sources:
            if source not in blocking:
                self._blocked_since.pop(source, None)
                self._stuck.discard(source)
        for source in blocking:
            if shard.input.holds(source):
                continue  # it waits for a schema, and so does what comes after it
            since = self._blocked_since.setdefault(source, now)
            if source not in self._stuck and now - since >= self._processing.stuck_partition_wait:
                self._look_at(source)
        return ends | self._stuck | self.gone.intersection(shard.sources)

    def _look_at(self, source: TopicPartition) -> None:
        """A partition brings nothing although its log goes on: an open transaction, or slowness.

        Only what cannot be read at all counts as stuck. Slowness is waited for: giving up on it
        would make the order depend on the clock.
        """
        self._blocked_since[source] = time.monotonic()
        try:
            readable_end = self._source.ask_ends([source]).get(source)
        except ConnectorError:
            return  # nobody there to ask: wait on
        if readable_end is None:
            return  # without a leader, or gone
        if self._source.position(source) >= readable_end:
            self._stuck.add(source)
            log.info(
                "%s stands before an open transaction; the others go on",
                source,
                extra=fields("partition-stuck", partition=str(source)),
            )

    def pause_and_resume(self, shards: Iterable[Shard]) -> None:
        """Pause a partition of which too much waits, unless a replay needs more of it."""
        limit = self._processing.max_buffered_records
        for shard in shards:
            for source in shard.sources:
                waiting, needed = shard.waiting(source), shard.needs(source)
                held = shard.input.holds(source)
                if source not in self._paused and (held or (waiting >= limit and not needed)):
                    self._source.pause(source)
                    self._paused.add(source)
                elif source in self._paused and not held and (waiting < limit // 2 or needed):
                    self._source.resume(source)
                    self._paused.discard(source)
        self._metrics.set_paused_partitions(len(self._paused))
