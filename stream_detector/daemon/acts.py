"""Acts of people: read from the control topic, taken in between two slices, kept in the journal.

When an act is taken in depends on clocks; so it stands in the journal whole, at its place, and a
replay asks no topic.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from stream_detector.daemon.shard import Shard
from stream_detector.errors import ActError, ConnectorError
from stream_detector.failpoints import failpoint
from stream_detector.pipeline import BatchResult
from stream_detector.rules import read_act
from stream_detector.telemetry.logs import fields
from stream_detector.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.5
_PAUSE_SECONDS = 30.0
"""After a failure: to ask again costs the worker's time."""


class ActSource(Protocol):
    """Reads the control topic, as ``connectors.kafka.reading.acts.KafkaActs`` does."""

    def catch_up(self) -> list[tuple[int, bytes | None]]:
        """Offset and value of what is there, waited for; none where nothing is left."""

    def poll(self) -> list[tuple[int, bytes | None]]:
        """Offset and value of what has come since, without waiting."""

    def close(self) -> None:
        """Disconnect."""


class ShardActs:
    """Takes acts in for a shard.

    State: the reader, whether that has caught up, and when it is asked next.
    """

    def __init__(
        self, shard: Shard, open_source: Callable[[int], ActSource] | None, metrics: Metrics
    ) -> None:
        """``open_source``: reads from an offset on; None: there is no control topic."""
        self._shard, self._open, self._metrics = shard, open_source, metrics
        self._source: ActSource | None = None
        self._caught_up = False
        self._next = 0.0

    def work(self) -> Iterator[BatchResult]:
        """Take in what has come, where the shard follows no journal; what each act has brought.

        A shard that has just begun has what is there already before its first event.
        """
        if self._open is None or time.monotonic() < self._next:
            return
        try:
            while not self._shard.full and (found := self._read(self._open)):
                for offset, value in found:
                    yield self._take(offset, value)
        except ConnectorError as error:
            self._next = time.monotonic() + _PAUSE_SECONDS
            self._metrics.add_broker_error("acts")
            log.warning(
                "rules cannot be read: %s. Those that are known hold on; next attempt in %.0f s; "
                "see docs/runbook.md#rules-cannot-be-read",
                error,
                _PAUSE_SECONDS,
                extra=fields("acts-failed", stage="poll", shard=self._shard.number),
            )
            return
        self._next = time.monotonic() + _LOOK_SECONDS

    def _read(self, open_source: Callable[[int], ActSource]) -> list[tuple[int, bytes | None]]:
        if self._source is None:
            self._source = open_source(self._shard.pipeline.decisions.acts_from)
        if self._caught_up:
            return self._source.poll()
        found = self._source.catch_up()
        self._caught_up = not found
        return found

    def _take(self, offset: int, value: bytes | None) -> BatchResult:
        shard, text = self._shard, ""
        try:
            if value is not None:  # of what was deleted from a compacted topic nothing is left
                read_act(value)
                text = value.decode()
        except (ActError, UnicodeDecodeError) as error:
            log.warning(
                "what stands at offset %d of the control topic is passed over: %s",
                offset,
                error,
                extra=fields("act-skipped", stage="poll", shard=shard.number, offset=offset),
            )
        outcome = shard.act(offset, text)
        for (kind, result), count in outcome.acts.items():
            self._metrics.rules.add_acts(shard.number, kind, result, count)
            log.info(
                "act at offset %d: %s, %s",
                offset,
                kind,
                result,
                extra=fields("act", shard=shard.number, offset=offset, kind=kind, result=result),
            )
        failpoint("acted")
        return outcome

    def close(self) -> None:
        """Disconnect."""
        if self._source is not None:
            self._source.close()
            self._source = None
