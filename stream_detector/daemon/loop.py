"""The daemon's loop: poll, merge, decode, score, decide, learn, and commit in order.

The numbered steps of a commit (docs/architecture.md has them too):

1. poll; decode; merge; features; scale; score; decide. Messages wait in memory.
2. write alerts and dead letters, flush, check every one; then commit the offsets.
3. once the commit has passed, write a snapshot where one is due.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Collection
from pathlib import Path

from stream_detector.config.models import Config, Kafka
from stream_detector.connectors.base import GroupSource, Rebalance, Sink
from stream_detector.daemon.observation import Observation
from stream_detector.daemon.recovery import open_shard, start_positions
from stream_detector.daemon.shard import Shard
from stream_detector.errors import ConnectorError, StateError
from stream_detector.events import TopicPartition
from stream_detector.pipeline import Outcome
from stream_detector.snapshots import DirectoryStore, encode
from stream_detector.telemetry.health import HealthState
from stream_detector.telemetry.logs import fields
from stream_detector.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

_MIN_COMMIT_GAP_SECONDS = 0.05
"""Alerts are committed at once, but a commit a poll would cost more than the scoring."""

_BROKER_QUESTION_SECONDS = 5.0
"""How often the ends of the logs are asked for: a sign of life, and the lag."""

_REPORT_SECONDS = 60.0


class Daemon:
    """Runs the shards that the group assigns to this worker, until asked to stop.

    State: the shards owned, what is paused, when things were done last.
    """

    def __init__(
        self,
        config: Config,
        kafka: Kafka,
        source: GroupSource,
        sink: Sink,
        metrics: Metrics,
        health: HealthState,
        *,
        store: Callable[[int], DirectoryStore],
        stopping: Callable[[], bool],
        observer: Callable[[Outcome], None] = lambda _outcome: None,
        accept_untrained: bool = False,
    ) -> None:
        """Take the parts.

        Args:
            config: the configuration.
            kafka: its section of topics (of an embedded run: names only).
            source: where events come from; owned by the caller, who closes it.
            sink: where messages go; likewise.
            metrics: counts what happens.
            health: told of every turn.
            store: the snapshot store of a shard.
            stopping: asked every turn.
            observer: shown every outcome (a live view, a test).
            accept_untrained: go on from committed offsets even where their state is lost.
        """
        self._config, self._kafka = config, kafka
        self._source, self._sink = source, sink
        self._metrics, self._health = metrics, health
        self._store, self._stopping, self._observer = store, stopping, observer
        self._accept_untrained = accept_untrained
        self.shards: dict[int, Shard] = {}
        self._paused: set[TopicPartition] = set()
        self._blocked_since: dict[TopicPartition, float] = {}
        self._stuck: set[TopicPartition] = set()
        self._last_commit = self._last_snapshot = self._last_report = time.monotonic()
        self._last_question = 0.0
        self._dirty = False
        self._observation = Observation(metrics)

    def run(self) -> None:
        """Loop until asked to stop or until a finite source is exhausted; then finish cleanly.

        Raises ``ConnectorError`` and ``StateError``: the caller's exit codes.
        """
        while not self._stopping():
            self._turn()
            if self._source.exhausted() and not self._waiting():
                break
        self._health.set_stopping()
        self._commit()
        self._write_snapshots()
        log.info("stopped", extra=fields("stop", events=self._sequence()))

    def _turn(self) -> None:
        with self._metrics.stage("poll"):
            fetched = self._source.poll(self._poll_timeout())
        rebalance = self._source.take_rebalance()
        if rebalance is not None:
            self._rebalance(rebalance)
        for one in fetched:
            shard = self._shard_of(one.source)
            # Records of the poll in which the assignment changed may be of before the seek.
            if shard is not None and one.records[0].offset >= shard.fetch_positions[one.source]:
                shard.take_in(one)
        for shard in self.shards.values():
            outcome = shard.advance(self._at_end(shard))
            if outcome is not None:
                self._dirty = True
                self._observation.observe_outcome(shard, outcome)
                self._observer(outcome)
        self._pause_and_resume()
        self._health.loop_turned()
        if fetched:
            self._health.broker_answered()
        self._do_what_is_due(time.monotonic())

    def _do_what_is_due(self, now: float) -> None:
        if self._commit_due(now):
            self._commit()
        if now - self._last_snapshot >= self._config.state.interval:
            self._commit()
            self._write_snapshots()
        if now - self._last_question >= _BROKER_QUESTION_SECONDS:
            self._ask_broker(now)
        if now - self._last_report >= _REPORT_SECONDS:
            self._report(now)

    # --- assignment ---

    def _rebalance(self, change: Rebalance) -> None:
        """Take on the shards assigned, keep those that stayed, drop the others."""
        self._metrics.add_rebalance()
        count = self._config.processing.shards
        by_shard: dict[int, list[TopicPartition]] = defaultdict(list)
        for source in sorted(change.assigned):
            by_shard[source.partition % count].append(source)
        for number in [n for n in self.shards if change.lost or n not in by_shard]:
            shard = self.shards.pop(number)
            self._metrics.forget_partitions(shard.merger.sources)
            self._metrics.forget_shard(number)
            self._observation.forget(number)
            log.info("shard given up", extra=fields("shard-dropped", shard=number))
        self._paused.clear()
        self._blocked_since.clear()
        self._stuck.clear()
        for number, sources in by_shard.items():
            self._take_on(number, sources)
        self._source.ask_ends(change.assigned)
        self._health.set_recovering(False)
        self._health.broker_answered()
        self._health.set_partitions(len(change.assigned))
        self._metrics.set_assignment(len(change.assigned), len(by_shard))
        owned = sorted(self.shards)
        text = ",".join(map(str, owned)) if owned else "none, standing by"
        log.info("assigned shards %s", text, extra=fields("assigned", shards=owned))

    def _take_on(self, number: int, sources: list[TopicPartition]) -> None:
        """Own these partitions of a shard, from where its state stands."""
        opened = number not in self.shards
        if opened:
            self._health.set_recovering(True)
            self.shards[number] = open_shard(
                number, self._config, self._store(number), self._metrics
            )
            self._observation.begin(self.shards[number])
        shard = self.shards[number]
        new = [s for s in sources if s not in shard.fetch_positions]
        places = start_positions(
            shard, new, self._source, self._kafka, self._metrics, untrained=self._accept_untrained
        )
        for source, place in places.items():
            shard.add(source, place.position, place.emit_from)
        # An eager rebalance resets the client's position of what stayed, too.
        self._source.seek({source: shard.fetch_positions[source] for source in sources})
        if opened:
            # Before anything is committed: committed offsets without a snapshot mean lost state.
            self._write_snapshot(number, shard)

    def _shard_of(self, source: TopicPartition) -> Shard | None:
        shard = self.shards.get(source.partition % self._config.processing.shards)
        return shard if shard is not None and source in shard.fetch_positions else None

    # --- order ---

    def _at_end(self, shard: Shard) -> Collection[TopicPartition]:
        """Partitions that cannot hold the others back: at their end, or stuck for too long."""
        ends = set()
        for source in shard.merger.sources:
            if shard.merger.waiting(source):
                # Read to its end: what waits is all there is.
                position = shard.fetch_positions[source]
            else:
                position = max(self._source.position(source), shard.fetch_positions[source])
            if position >= self._source.log_end(source) >= 0:
                ends.add(source)
        now = time.monotonic()
        blocking = shard.merger.blocking(ends)
        for source in shard.merger.sources:
            if source not in blocking:
                self._blocked_since.pop(source, None)
                self._stuck.discard(source)
        for source in blocking:
            since = self._blocked_since.setdefault(source, now)
            if now - since >= self._config.processing.stuck_partition_wait:
                self._look_at_stuck(source)
        return ends | self._stuck

    def _look_at_stuck(self, source: TopicPartition) -> None:
        """A partition brings nothing although its log goes on: an open transaction, or slowness.

        Only what cannot be read at all counts as stuck. Slowness is waited for: giving up on it
        would make the order depend on the clock.
        """
        if source in self._stuck:
            return
        readable_end = self._source.ask_ends([source])[source]
        if self._source.position(source) >= readable_end:
            self._stuck.add(source)
            log.info(
                "%s stands before an open transaction; the others go on",
                source,
                extra=fields("partition-stuck", partition=str(source)),
            )
        else:
            self._blocked_since[source] = time.monotonic()

    def _pause_and_resume(self) -> None:
        limit = self._config.processing.max_buffered_records
        for shard in self.shards.values():
            for source in shard.merger.sources:
                waiting = shard.merger.waiting(source)
                if source not in self._paused and waiting >= limit:
                    self._source.pause(source)
                    self._paused.add(source)
                elif source in self._paused and waiting < limit // 2:
                    self._source.resume(source)
                    self._paused.discard(source)
        self._metrics.set_paused_partitions(len(self._paused))

    def _waiting(self) -> bool:
        return any(s.merger.waiting(p) for s in self.shards.values() for p in s.merger.sources)

    # --- commit ---

    def _poll_timeout(self) -> float:
        left = self._config.processing.commit_interval
        if self._dirty:
            left -= time.monotonic() - self._last_commit
        return min(max(left, 0.0), 0.2)

    def _commit_due(self, now: float) -> bool:
        since = now - self._last_commit
        if any(shard.alerts or shard.dead_letters for shard in self.shards.values()):
            return since >= _MIN_COMMIT_GAP_SECONDS
        return self._dirty and since >= self._config.processing.commit_interval

    def _commit(self) -> None:
        """Steps 2 of a commit: messages first, offsets after they are safe."""
        if not self._dirty:
            return
        with self._metrics.stage("output"):
            for shard in self.shards.values():
                self._sink.send(self._kafka.alerts, shard.alerts)
                self._sink.send(self._kafka.dead_letters, shard.dead_letters)
                shard.alerts, shard.dead_letters = [], []
            self._sink.flush()
        with self._metrics.stage("commit"):
            offsets = {s: o for sh in self.shards.values() for s, o in sh.positions().items()}
            committed = not offsets or self._source.commit(offsets)
        self._metrics.add_commit("ok" if committed else "rebalanced")
        self._last_commit = time.monotonic()
        self._dirty = not committed
        if committed:
            self._health.broker_answered()

    def _write_snapshots(self) -> None:
        """Step 3: what is committed may be kept. A failure is said and counted, not fatal."""
        self._last_snapshot = time.monotonic()
        if self._dirty:
            return  # the group has moved on: this state was not committed
        for number, shard in self.shards.items():
            self._write_snapshot(number, shard)

    def _write_snapshot(self, number: int, shard: Shard) -> None:
        with self._metrics.stage("snapshot"):
            data = encode(shard.snapshot({"written_at": time.time()}))
            try:
                self._store(number).write(shard.pipeline.sequence, data)
            except StateError as error:
                log.error("%s", error, extra=fields("snapshot-failed", shard=number))  # noqa: TRY400 - the message says it all
                self._metrics.add_snapshot("failed")
                return
        self._metrics.add_snapshot("ok")
        self._metrics.set_newest_snapshot(number, time.time(), len(data))

    # --- what is seen from outside ---

    def _sequence(self) -> int:
        return sum(shard.pipeline.sequence for shard in self.shards.values())

    def _ask_broker(self, now: float) -> None:
        """Ask for the ends of the logs: the lag, and a sign of life. Silence is not fatal here."""
        self._last_question = now
        sources = [s for shard in self.shards.values() for s in shard.merger.sources]
        try:
            ends = self._source.ask_ends(sources)
        except ConnectorError as error:
            self._metrics.add_broker_error("ends")
            log.warning("%s", error, extra=fields("broker-silent"))
            return
        if ends:
            self._health.broker_answered()
        for shard in self.shards.values():
            self._observation.observe_lag(shard, ends)
            self._observation.observe_state(shard)

    def _report(self, now: float) -> None:
        """One line a minute when all is well."""
        self._last_report = now
        log.info(
            "%d events so far, %d shards",
            self._sequence(),
            len(self.shards),
            extra=fields("progress", events=self._sequence()),
        )


def directory_stores(config: Config, group: str) -> Callable[[int], DirectoryStore]:
    """The snapshot directories of a group's shards."""
    root = Path(config.state.directory) / group

    def store(number: int) -> DirectoryStore:
        return DirectoryStore(root / f"shard-{number}", config.state.keep)

    return store
