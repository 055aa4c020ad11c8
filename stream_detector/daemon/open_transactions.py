"""Open transactions: how long what may be read of a partition has ended at one, and whose it is.

A reader of committed records reads up to the last stable offset. A transaction that nobody ends
keeps it where it is, however much is written behind: without a word, a daemon has nothing to do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping

from stream_detector.connectors.base import GroupSource
from stream_detector.daemon.shard import Shard
from stream_detector.events import TopicPartition
from stream_detector.telemetry.conditions import REMINDER_SECONDS, Conditions
from stream_detector.telemetry.logs import fields
from stream_detector.telemetry.metrics import Metrics

_SAID_AFTER_SECONDS = 10.0
"""Transactions of a busy producer end sooner, those of a stream processor with its checkpoints."""

_NOT_READY_AFTER_SECONDS = 60.0
"""The default of ``transaction.timeout.ms``: longer than that the broker lets few of them stand."""


class Stability:
    """Watches the last stable offsets of the worker's partitions.

    State: of each partition that stands before an open transaction its last stable offset, since
    when it has been that, and what is known of the transaction since when.
    """

    def __init__(
        self,
        source: GroupSource,
        metrics: Metrics,
        conditions: Conditions,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source, self._metrics, self._conditions = source, metrics, conditions
        self._clock = clock
        self._standing: dict[TopicPartition, tuple[int, float]] = {}
        self._known: dict[TopicPartition, tuple[str, float]] = {}

    def look(
        self, shards: Collection[Shard], stable: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, int]:
        """Take note of the last stable offsets just asked for.

        Returns:
            Ends of the logs themselves, behind open transactions: what the lag is measured to.
        """
        sources = [source for shard in shards for source in shard.sources]
        ends = {
            one: max(end, self._source.log_end(one))
            for one, end in stable.items()
            if one in sources
        }
        now = self._clock()
        self._standing = {
            one: (stable[one], self._since(one, stable[one], now))
            for one in sources
            if one in ends and ends[one] > stable[one]
        }
        for one in sources:
            lasted = now - self._standing[one][1] if one in self._standing else 0.0
            self._metrics.set_stable_offset_age(one, lasted)
        long = {
            one: now - since
            for one, (_, since) in self._standing.items()
            if now - since >= _SAID_AFTER_SECONDS
        }
        blocking = len(long) == len(sources) and min(long.values(), default=0) >= (
            _NOT_READY_AFTER_SECONDS
        )
        for one, lasted in long.items():
            self._say(one, ends[one], lasted, blocking=blocking)
        self._conditions.keep("open_transaction", list(long))
        self._known = {one: known for one, known in self._known.items() if one in long}
        return ends

    def _since(self, source: TopicPartition, stable: int, now: float) -> float:
        before, since = self._standing.get(source, (-1, now))
        return since if before == stable else now

    def _say(self, source: TopicPartition, end: int, lasted: float, *, blocking: bool) -> None:
        stable = self._standing[source][0]
        self._conditions.report(
            "open_transaction",
            source,
            f"topic {source.topic}, partition {source.partition}: nothing after offset {stable} of "
            f"{end} may be read, since a transaction has been open there for {lasted:.0f} s "
            f"({self._whose(source)}). Let its producer end it, or end it by kafka-transactions.sh "
            f"abort --topic {source.topic} --partition {source.partition} --start-offset {stable}; "
            "see docs/runbook.md#an-open-transaction-on-the-input",
            extra=fields("open-transaction", stage="poll", partition=str(source)),
            blocking=blocking,
        )

    def _whose(self, source: TopicPartition) -> str:
        """Asked once a minute: it costs a connection."""
        now = self._clock()
        text, asked = self._known.get(source, ("", now - REMINDER_SECONDS))
        if now - asked >= REMINDER_SECONDS:
            text = self._source.open_transaction(source)
            self._known[source] = (text, now)
        return text
