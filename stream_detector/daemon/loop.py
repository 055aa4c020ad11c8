"""The daemon's loop: poll, merge, decode, score, decide, learn, and commit in order.

The numbered steps (docs/architecture.md has them too), with the failpoint at each:

1. poll; decode; merge; features; scale; score; decide. Messages wait in memory (``after_poll``).
2. write messages, journal and offsets in one transaction (``commits.committer`` has its steps).
3. once the commit has passed, write a snapshot where one is due (``snap_tmp``, ``snap_renamed``).
"""

from __future__ import annotations

import contextlib
import gc
import logging
import time
from collections.abc import Callable

from stream_detector.config.models.config import Config, KafkaConfig
from stream_detector.connectors.base import GroupSource, Rebalance
from stream_detector.daemon.availability import Availability
from stream_detector.daemon.flow_control import FlowControl
from stream_detector.daemon.open_transactions import Stability
from stream_detector.daemon.schema_waits import wait_for_schemas
from stream_detector.daemon.shard import Shard
from stream_detector.daemon.shard_assignment import ShardAssignment, ShardFactories, ShardHandle
from stream_detector.daemon.shard_reporter import ShardReporter
from stream_detector.daemon.snapshotting import look_at_journal, write_snapshot
from stream_detector.daemon.ticking import Ticker
from stream_detector.errors import ConnectorError, ForeignCommitError, InputLostError, StateError
from stream_detector.events import TopicPartition
from stream_detector.failpoints import failpoint
from stream_detector.telemetry.conditions import Conditions
from stream_detector.telemetry.health import HealthState
from stream_detector.telemetry.logs import fields
from stream_detector.telemetry.metrics import Metrics
from stream_detector.telemetry.status.recent import Recent

log = logging.getLogger(__name__)

_BROKER_QUESTION_SECONDS = 5.0
"""How often the ends of the logs are asked for: a sign of life, and the lag."""

_REPORT_SECONDS = 60.0

_COMMIT_SECONDS = 1.0
"""So long one commit may follow another; then the group is seen to in between."""

_LONGEST_POLL_SECONDS = 0.2
"""A stop that was asked for is seen so soon."""


class Daemon:
    """Runs the shards that the group assigns to this worker. State: they, and when what was due."""

    def __init__(
        self,
        config: Config,
        kafka: KafkaConfig,
        source: GroupSource,
        metrics: Metrics,
        health: HealthState,
        parts: ShardFactories,
        *,
        stopping: Callable[[], bool],
        recent: Recent | None = None,
    ) -> None:
        """Take the parts.

        Args:
            config: the configuration.
            kafka: its section of topics (of an embedded run: names only).
            source: where events come from; owned by the caller, who closes it.
            metrics: counts what happens.
            health: told of every turn.
            parts: stores, outputs and the journal of the shards.
            stopping: asked every turn.
            recent: told what happens, for whoever looks on (page, live view).
        """
        self._config, self._kafka, self._source = config, kafka, source
        self._metrics, self._health, self._parts = metrics, health, parts
        self._stopping = stopping
        self._assignment = ShardAssignment(config, kafka, source, metrics, parts)
        self._flow = FlowControl(source, config.processing, metrics)
        self._conditions = conditions = Conditions(metrics, health)
        self._availability = Availability(
            source,
            kafka,
            conditions,
            leaderless_wait_seconds=config.processing.leaderless_wait,
        )
        self._stability = Stability(source, metrics, conditions)
        self._ticker = Ticker(source, metrics, config.processing.tick if parts.ticks else None)
        self._ready_for_rebalance = False
        self._last_report = time.monotonic()
        self._last_question = 0.0
        self._reporter = ShardReporter(metrics, recent, config.metrics.monitor_keys)

    @property
    def shards(self) -> dict[int, Shard]:
        """The shards at work."""
        return {number: owned.shard for number, owned in self._assignment.owned.items()}

    def run(self) -> None:
        """Loop until asked to stop or a finite source is exhausted; then finish cleanly.

        Raises ``ConnectorError`` and ``StateError``: the caller's exit codes.
        """
        try:
            while not self._stopping():
                self._turn()
                if self._source.exhausted() and not self._unfinished():
                    break
            self._health.set_stopping()
            self._finish()
        except (ConnectorError, StateError):
            self._save()
            raise
        finally:
            self._assignment.close()
        log.info("stopped", extra=fields("stop", events=self._sequence()))

    def _turn(self) -> None:
        self._commit_before_rebalance()
        try:
            with self._metrics.stage("poll"):
                fetched = self._source.poll(self._poll_timeout())
        except InputLostError as error:
            self._begin_anew(str(error))
            return
        self._availability.check_ids(self.shards.values())
        change = self._source.take_rebalance()
        if change is not None:
            self._rebalance(change)
        self._open_shards()
        for one in fetched:
            shard = self._assignment.shard_of(one.source)
            # Records of the poll in which the assignment changed may be of before the seek.
            if shard is not None and shard.input.expects(one):
                shard.take_in(one)
        wait_for_schemas(self.shards.values(), self._conditions)
        for owned in self._assignment.owned.values():
            self._work(owned)
        self._flow.pause_and_resume(self.shards.values())
        self._health.loop_turned()
        if fetched:
            self._health.broker_answered()
            failpoint("after_poll")
        self._do_what_is_due(time.monotonic())
        if (ended := self._assignment.ended_by(self._source.unreadable())) is not None:
            self._finish()
            raise ended

    def _work(self, owned: ShardHandle) -> None:
        shard = owned.shard
        if shard.replaying:
            self._replay(shard)
        elif not owned.committer.pending:
            for told in owned.acts.work():
                self._reporter.observe_outcome(shard, told)
            at_end = self._flow.at_end(shard)
            while not shard.full and (outcome := shard.advance(at_end)) is not None:
                self._reporter.observe_outcome(shard, outcome)
            if (outcome := self._ticker.work(shard)) is not None:
                self._reporter.observe_outcome(shard, outcome)

    def _replay(self, shard: Shard) -> None:
        """A slice of recovery; the log says when it begins and ends."""
        self._reporter.observe_replay(shard, shard.follow(self._source.position))
        if not shard.replaying:
            log.info(
                "shard %d has caught up with its journal: %d events so far",
                shard.number,
                shard.sequence,
                extra=fields("recovered", shard=shard.number, events=shard.sequence),
            )
            self._reporter.begin(shard)

    def _do_what_is_due(self, now: float) -> None:
        for owned in list(self._assignment.owned.values()):
            snapshot_due = now - owned.last_snapshot >= self._config.state.interval
            due = owned.pacer.due(owned.shard, owned.committer, now)
            if due or (snapshot_due and owned.shard.dirty):
                self._commit(owned)
            if snapshot_due:
                self._write_snapshot(owned)
                look_at_journal(owned, self._kafka, self._metrics, self._conditions)
        if now - self._last_question >= _BROKER_QUESTION_SECONDS:
            self._ask_broker(now)
        if now - self._last_report >= _REPORT_SECONDS:
            self._report(now)

    # --- assignment ---

    def _commit_before_rebalance(self) -> None:
        """Commit what is finished before the group finds its new order, once each time."""
        near = self._source.rebalance_near()
        if near and not self._ready_for_rebalance:
            for owned in list(self._assignment.owned.values()):
                self._commit(owned)
        self._ready_for_rebalance = near

    def _rebalance(self, change: Rebalance) -> None:
        """Keep the shards that stay, give up those that go, note those that come."""
        self._metrics.add_rebalance()
        for number in self._assignment.leaving(change):
            if not change.lost:
                self._commit(self._assignment.owned[number])
            if number in self._assignment.owned:  # else begun anew by the commit
                self._assignment.give_up(number)
            self._reporter.forget(number)
        self._assignment.take_on(change)
        self._flow.keep(change.assigned)
        self._health.broker_answered()
        self._health.set_recovering(self._assignment.recovering())
        self._health.set_assigned()

    def _open_shards(self) -> None:
        owned = self._assignment.open_next()
        if owned is not None:
            self._begin(owned)
        self._health.set_recovering(self._assignment.recovering())

    def _begin(self, owned: ShardHandle) -> None:
        """A shard was opened: its past is replayed, or its state as it begins is kept."""
        shard = owned.shard
        self._flow.forget(shard.input.fetch_positions)
        self._reporter.begin(shard)
        if shard.replaying:
            log.info(
                "shard %d replays %d journal records",
                shard.number,
                len(shard.replay.records),
                extra=fields("replay", shard=shard.number, records=len(shard.replay.records)),
            )
        else:
            # Before anything is committed: committed offsets without a snapshot mean lost state.
            self._write_snapshot(owned)

    def _begin_anew(self, why: str) -> None:
        """Keep what is done, and begin every shard again from there; recovery sees to the rest."""
        log.error("%s", why, extra=fields("input-lost", stage="poll"))
        for number, owned in list(self._assignment.owned.items()):
            self._commit(owned)
            self._write_snapshot(owned)
            if number in self._assignment.owned:
                self._assignment.reopen(number)
                self._reporter.forget(number)

    def _unfinished(self) -> bool:
        owned = self._assignment.owned.values()
        return any(one.committer.pending or one.shard.input.anything_waits for one in owned)

    # --- commit ---

    def _poll_timeout(self) -> float:
        if self._assignment.recovering():
            return 0.01
        now = time.monotonic()
        waits = (o.pacer.wait(o.shard, o.committer, now) for o in self._assignment.owned.values())
        return min((_LONGEST_POLL_SECONDS, *waits))

    def _commit(self, owned: ShardHandle) -> bool:
        """Step 2; whether everything processed is committed. A shard in replay has nothing new."""
        shard, committer = owned.shard, owned.committer
        if not committer.pending:
            if not shard.dirty or shard.replaying:
                return not shard.replaying
            with self._metrics.stage("output"):
                committer.begin(shard.take_slices())
        committer.leave_out(self._source.missing(shard.input.fetch_positions))
        started = time.monotonic()
        until = started + _COMMIT_SECONDS
        try:
            with self._metrics.stage("commit"):
                written = committer.write(self._source.membership())
                while written and committer.pending and time.monotonic() < until:
                    written = committer.write(self._source.membership())
        except ForeignCommitError as error:
            how = fields("foreign", stage="commit", shard=shard.number)
            log.warning("%s: begun anew", error, extra=how)
            self._assignment.reopen(shard.number)
            self._reporter.forget(shard.number)
            return False
        if written:
            owned.pacer.committed((time.monotonic() - started) * len(self._assignment.owned))
            self._health.broker_answered()
        return written and not committer.pending

    def _write_snapshot(self, owned: ShardHandle) -> None:
        write_snapshot(owned, self._parts, self._metrics)

    def _finish(self) -> None:
        """Commit and keep what is done, within a third of the time that a stop may take."""
        until = time.monotonic() + self._config.processing.shutdown_timeout / 3
        for owned in list(self._assignment.owned.values()):
            while not self._commit(owned) and time.monotonic() < until and owned.committer.pending:
                with contextlib.suppress(InputLostError):  # a topic that vanishes just now
                    self._source.poll(0.05)  # a membership of now; what it brings is read again
            if owned.committer.pending:
                log.warning(
                    "shard %d: the last commit could not be written; what it holds will be "
                    "processed again at the next start",
                    owned.shard.number,
                    extra=fields("unfinished", stage="commit", shard=owned.shard.number),
                )
            self._write_snapshot(owned)

    def _save(self) -> None:
        """Before an error ends the process: commit what is neither under way nor in doubt."""
        for owned in list(self._assignment.owned.values()):
            try:
                if not owned.committer.pending and self._commit(owned):
                    self._write_snapshot(owned)
            except ConnectorError as error:
                values = fields("unfinished", stage="commit", shard=owned.shard.number)
                log.warning("a shard is not committed: %s", error, extra=values)

    # --- what is seen from outside ---

    def _sequence(self) -> int:
        return sum(o.shard.sequence for o in self._assignment.owned.values())

    def _ask_broker(self, now: float) -> None:
        """Ask for the ends of the logs: the lag, and a sign of life. Silence is not fatal here."""
        self._last_question = now
        shards = self.shards.values()
        self._flow.gone = self._availability.look(shards)
        sources = [source for shard in shards for source in shard.sources]
        sources = sources or [TopicPartition(self._kafka.topics[0], 0)]  # one that stands by
        try:
            ends = self._source.ask_ends(sources)
        except ConnectorError as error:
            self._metrics.add_broker_error("ends")
            gc.collect()  # the client leaves the sockets of refused connections in cycles
            log.warning("%s", error, extra=fields("broker-silent", stage="poll"))
            return
        if ends:
            self._health.broker_answered()
        ends = self._stability.look(shards, ends)
        for shard in shards:
            self._ticker.answered(shard, ends)
            self._reporter.observe_lag(shard, ends)
            self._reporter.observe_state(shard)

    def _report(self, now: float) -> None:
        """Log one line a minute when all is well."""
        self._last_report = now
        gc.collect()  # the thresholds alone would hardly ever find a cycle, and one may hold arrays
        self._reporter.report(self._sequence(), len(self.shards))
