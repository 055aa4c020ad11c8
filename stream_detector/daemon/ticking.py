"""Ticks: where nothing arrives, monitors and incidents of a shard are told that time goes on.

When that is depends on clocks; so every tick stands in the journal, at its place, and a replay
follows that and asks no clock.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping

from stream_detector.connectors.base import GroupSource
from stream_detector.daemon.shard import Shard
from stream_detector.events import TopicPartition
from stream_detector.failpoints import failpoint
from stream_detector.pipeline import BatchResult
from stream_detector.telemetry.logs import fields
from stream_detector.telemetry.metrics import Metrics

log = logging.getLogger(__name__)


class Ticker:
    """Makes the ticks of a worker's shards. State: when each shard had its last one."""

    def __init__(self, source: GroupSource, metrics: Metrics, interval: float | None) -> None:
        """``interval``: between two ticks of a shard, in seconds; None for none at all."""
        self._source, self._metrics, self._interval = source, metrics, interval
        self._last: dict[int, float] = {}
        self._said: set[int] = set()

    def work(self, shard: Shard) -> BatchResult | None:
        """Look at a shard that has processed what it could; what a tick has brought, if one was."""
        if self._interval is None or not shard.pipeline.decisions.ticks:
            return None
        now, wall_ms = time.monotonic(), round(1000 * time.time())
        clock, pipeline = shard.clock, shard.pipeline
        clock.look(pipeline.watermark_ms, now, wall_ms, idle=self._read_to_end(shard))
        if now - self._last.get(shard.number, -self._interval) < self._interval:
            return None
        time_ms, due_ms = clock.time_ms(now, wall_ms), pipeline.decisions.due_ms
        if due_ms is None or time_ms is None or time_ms < due_ms:
            self._say_where_stale(shard)
            return None
        self._last[shard.number] = now
        outcome = shard.tick(time_ms)
        failpoint("ticked")
        self._metrics.ticks.add(shard.number)
        log.debug("tick", extra=fields("tick", shard=shard.number, time_ms=time_ms))
        return outcome

    def _read_to_end(self, shard: Shard) -> bool:
        """Tell whether all that the logs hold was read, and nothing of it waits."""
        if shard.input.anything_waits:
            return False
        reached = shard.input.fetch_positions
        return all(reached[one] >= self._source.log_end(one) >= 0 for one in reached)

    def answered(self, shard: Shard, ends: Mapping[TopicPartition, int]) -> None:
        """The broker has named the ends of the logs, of all that it can serve just now."""
        reached = shard.input.fetch_positions
        if reached and all(one in ends and reached[one] >= ends[one] for one in reached):
            shard.clock.answered(time.monotonic())

    def _say_where_stale(self, shard: Shard) -> None:
        """Say once that a stream is so old that silence means nothing there."""
        if shard.clock.stale and shard.number not in self._said:
            self._said.add(shard.number)
            log.info(
                "shard %d: the newest events were more than two days old when they came, as in a "
                "replay. As long as that is so, silence of a whole topic is not looked for",
                shard.number,
                extra=fields("no-ticks", shard=shard.number),
            )
