"""Shards of this worker: taken on with their state, kept through rebalances, given up."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from stream_detector.commits.committer import Committer
from stream_detector.config.models.config import Config, KafkaConfig
from stream_detector.connectors.base import GroupSource, Journal, Output, Rebalance
from stream_detector.daemon.acts import ActSource, ShardActs
from stream_detector.daemon.commit_pacer import CommitPacer
from stream_detector.daemon.journal_history import read_history
from stream_detector.daemon.recovery import begin, extend, open_shard
from stream_detector.daemon.shard import Shard
from stream_detector.errors import (
    ConnectorError,
    PlacesDifferError,
    RefusedError,
    StreamDetectorError,
)
from stream_detector.events import TopicPartition
from stream_detector.formats.schemas import SchemaSource
from stream_detector.snapshots import SnapshotStore
from stream_detector.telemetry.logs import fields
from stream_detector.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

_LONGEST_PAUSE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class ShardFactories:
    """Factories of the parts that shards are made of.

    Attributes:
        store: the snapshot store of a shard.
        output: a new output for a shard, not yet open.
        journal: of all shards; None where commits leave no trace (no broker, or at least once).
        schemas: where shards ask for the schemas of events; None where these need none.
        ticks: whether time goes on without events: not where these are generated.
        accept_untrained: go on from committed offsets even where their state is lost.
    """

    store: Callable[[int], SnapshotStore]
    output: Callable[[int], Output]
    journal: Journal | None = None
    schemas: SchemaSource | None = None
    ticks: bool = False
    acts: Callable[[int], ActSource] | None = None
    accept_untrained: bool = False


@dataclass(slots=True)
class ShardHandle:
    """A shard at work, what commits it and when, the time of its last snapshot, its acts."""

    shard: Shard
    committer: Committer
    pacer: CommitPacer
    last_snapshot: float
    acts: ShardActs

    def close(self) -> None:
        """Give back what it reads and writes by."""
        self.committer.close()
        self.acts.close()


@dataclass(slots=True)
class _Waiting:
    """A shard that is not open yet, or that has been assigned partitions it has not begun with."""

    since: float = field(default_factory=time.monotonic)
    attempts: int = 0
    not_before: float = 0.0
    difference: str = ""


class ShardAssignment:
    """The shards of this worker.

    State: those at work, the partitions assigned to each, and those of which not all is open yet.
    """

    def __init__(
        self,
        config: Config,
        kafka: KafkaConfig,
        source: GroupSource,
        metrics: Metrics,
        parts: ShardFactories,
    ) -> None:
        self._config, self._kafka = config, kafka
        self._source, self._metrics, self._parts = source, metrics, parts
        self._assigned: dict[int, list[TopicPartition]] = {}
        self._waiting: dict[int, _Waiting] = {}
        self.owned: dict[int, ShardHandle] = {}

    def recovering(self) -> bool:
        """Tell whether a shard is not yet where its last owner stood."""
        return bool(self._waiting) or any(o.shard.replaying for o in self.owned.values())

    def shard_of(self, source: TopicPartition) -> Shard | None:
        """The shard at work on a partition."""
        owned = self.owned.get(source.partition % self._config.processing.shards)
        return owned.shard if owned and source in owned.shard.input.fetch_positions else None

    def ended_by(
        self, unreadable: Mapping[TopicPartition, ConnectorError]
    ) -> ConnectorError | None:
        """Return what ends the work: an unreadable partition, all before it being processed.

        A replay that needs more of it cannot go on at all.
        """
        for source, error in unreadable.items():
            shard = self.shard_of(source)
            if shard is None:
                continue
            if shard.needs(source) if shard.replaying else not shard.waiting(source):
                return error
        return None

    def leaving(self, change: Rebalance) -> list[int]:
        """Shards that must be given up before ``take_on``: gone, lost, or assigned anew."""
        assigned = self._by_shard(change)
        return [
            number
            for number, owned in self.owned.items()
            if change.lost
            or number not in assigned
            or any(source in owned.shard.input.fetch_positions for source in change.added)
        ]

    def give_up(self, number: int) -> None:
        """Drop a shard as it stands; its next owner begins at the last commit."""
        owned = self.owned.pop(number)
        owned.close()
        self._metrics.forget_partitions(owned.shard.sources)
        self._metrics.forget_shard(number)
        log.info("shard given up", extra=fields("shard-dropped", shard=number))

    def reopen(self, number: int) -> None:
        """Drop a shard that is still assigned, and begin it again from its last snapshot."""
        for source in self._assigned[number]:
            self._source.pause(source)
        self.give_up(number)
        self._waiting[number] = _Waiting()

    def take_on(self, change: Rebalance) -> None:
        """Note what is assigned; ``open_next`` does the work."""
        assigned = self._assigned = self._by_shard(change)
        for number in [n for n in self._waiting if n not in assigned]:
            del self._waiting[number]
        for number in assigned:
            if number not in self.owned:
                self._waiting[number] = _Waiting()
            elif new := self._new(number):
                # The topic has grown: keys may live in another partition from now on.
                log.warning(
                    "shard %d: the topic has got new partitions: %s",
                    number,
                    ", ".join(map(str, new)),
                    extra=fields("partitions-added", stage="assignment", shard=number),
                )
                self._metrics.add_broker_error("partitions_added")
                self._waiting[number] = _Waiting()
        self._metrics.set_assignment(len(change.assigned), len(assigned))
        shards = sorted(assigned)
        text = ",".join(map(str, shards)) if shards else "none, standing by"
        log.info("assigned shards %s", text, extra=fields("assigned", shards=shards))

    def _by_shard(self, change: Rebalance) -> dict[int, list[TopicPartition]]:
        by_shard: dict[int, list[TopicPartition]] = defaultdict(list)
        for source in sorted(change.assigned):
            by_shard[source.partition % self._config.processing.shards].append(source)
        return by_shard

    def _new(self, number: int) -> list[TopicPartition]:
        """Partitions assigned to a shard at work that it has not begun with."""
        held = self.owned[number].shard.input.fetch_positions
        return [source for source in self._assigned[number] if source not in held]

    def open_next(self) -> ShardHandle | None:
        """Open one of the shards that wait, if it is time to; the shard that is now at work.

        A shard at work that has been assigned further partitions begins with them here too, in the
        middle of its replay as well: they are no part of what it follows.

        Raises ``StateError`` where its state cannot be used, ``ConnectorError`` where the broker
        has refused it or has not answered for ``give_up_after``.
        """
        now = time.monotonic()
        for number, waiting in self._waiting.items():
            if now < waiting.not_before:
                continue
            opened: ShardHandle | None = None
            try:
                if number in self.owned:
                    self._extend(self.owned[number].shard, self._new(number))
                else:
                    opened = self._open(number, self._assigned[number])
            except RefusedError:
                raise
            except PlacesDifferError as error:
                if waiting.difference == str(error):
                    raise
                waiting.difference = str(error)
                self._try_later(number, waiting, error)
                return None
            except ConnectorError as error:
                self._try_later(number, waiting, error)
                return None
            del self._waiting[number]
            if opened is not None:
                self.owned[number] = opened
            return opened
        return None

    def _try_later(self, number: int, waiting: _Waiting, error: StreamDetectorError) -> None:
        now = time.monotonic()
        if now - waiting.since > self._kafka.give_up_after:
            raise error
        pause = min(0.2 * 2**waiting.attempts, _LONGEST_PAUSE_SECONDS)
        waiting.attempts += 1
        waiting.not_before = now + pause
        self._metrics.add_broker_error("open")
        log.warning(
            "shard %d cannot begin: %s. Next attempt in %.1f s",
            number,
            error,
            pause,
            extra=fields("open-failed", stage="open", shard=number),
        )

    def _open(self, number: int, sources: list[TopicPartition]) -> ShardHandle:
        parts, kafka = self._parts, self._kafka
        limit = kafka.give_up_after
        patience = kafka.transaction_timeout / 2
        if kafka.delivery == "at_least_once":
            patience = 3 * kafka.request_timeout
        committer = Committer(
            number,
            parts.output(number),
            parts.journal,
            limit,
            self._metrics,
            kafka.group,
            topics=kafka.output_topics,
            patience_seconds=patience,
        )
        try:
            # First of all: nobody else writes for this shard after this.
            committer.open()
            shard = open_shard(
                number, self._config, parts.store(number), self._metrics, parts.schemas
            )
            untrained = parts.accept_untrained
            history = None
            if parts.journal is not None:
                history = read_history(
                    shard, parts.journal, kafka, self._metrics, untrained=untrained
                )
                committer.go_on(history.number, history.offset, history.link, history.ends)
            begin(shard, sources, self._source, kafka, self._metrics, history, untrained=untrained)
        except (ConnectorError, PlacesDifferError):
            committer.close()
            raise
        self._source.seek({source: shard.input.fetch_positions[source] for source in sources})
        pacer = CommitPacer(self._config.processing.commit_interval)
        acts = ShardActs(shard, parts.acts, self._metrics)
        return ShardHandle(shard, committer, pacer, time.monotonic(), acts)

    def _extend(self, shard: Shard, new: Sequence[TopicPartition]) -> None:
        extend(shard, new, self._source, self._kafka, self._metrics)
        self._source.seek({source: shard.input.fetch_positions[source] for source in new})

    def close(self) -> None:
        """Give all outputs back."""
        for owned in self.owned.values():
            owned.close()
