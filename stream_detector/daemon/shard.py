"""A shard at work: input, replay of its journal, pipeline and output, with its snapshots."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from stream_detector.commits.slices import Slice
from stream_detector.config.derived.fingerprint import (
    state_differences,
    state_fingerprint,
    state_shape,
)
from stream_detector.config.derived.promotion import champion_before
from stream_detector.config.models.config import Config, DriftConfig
from stream_detector.connectors.base import Fetched
from stream_detector.daemon.going_live import OwnSettings, say_promoted
from stream_detector.daemon.idle_clock import IdleClock
from stream_detector.daemon.journal_replay import JournalReplay, between_steps
from stream_detector.daemon.shard_input import PartitionFigures, ShardInput
from stream_detector.daemon.shard_output import ShardOutput
from stream_detector.detectors.stored import making_sense
from stream_detector.errors import StateError, StateMismatchError
from stream_detector.events import TopicPartition
from stream_detector.failpoints import failpoint
from stream_detector.formats.schemas import SchemaSource, schema_of
from stream_detector.journal import JournalAct, JournalRecord
from stream_detector.lanes import lanes_of, lanes_state
from stream_detector.merge import Step
from stream_detector.pipeline import BatchResult, PipelineCore, promoted
from stream_detector.snapshots import Snapshot
from stream_detector.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

_REPLAY_SLICE_SECONDS = 0.1
"""How long one turn may replay: the worker's other shards and the group wait meanwhile."""


class Shard:
    """State that one worker keeps of one shard: its parts', and the restored snapshot's place.

    Attributes:
        number: which of the group.
        configuration: fingerprint of what shapes the state.
        input: records come in here.
        replay: what the journal holds after the restored snapshot.
        pipeline: scores and learns.
        output: what waits to be written.
        clock: how far event time has gone on while nothing comes.
        known: whether a snapshot was restored, or the shard has begun without one.
        journal_place: offset and number in the journal that the restored snapshot stands at.
        set_at: number of the journal's record at which an operator has changed the state last, 0
            where nobody has: nothing from before can be computed again.
        journal_link: of the record with that number; empty where the snapshot does not say.
    """

    def __init__(
        self,
        number: int,
        config: Config,
        metrics: Metrics,
        schemas: SchemaSource | None = None,
    ) -> None:
        self.number = number
        self._config = config
        self._stage = metrics.stage
        self.configuration = state_fingerprint(config)
        self.input = ShardInput(config, metrics.stage, schemas)
        self.replay = JournalReplay()
        self.pipeline = PipelineCore(config, self.configuration, metrics.stage)
        self.output = ShardOutput(number, self.configuration, self.input.book, self.input.arrivals)
        self.clock = IdleClock()
        self.known = False
        self.journal_place: tuple[int, int] | None = None
        self.journal_link = ""
        self.set_at = 0
        self._former: Config | None = None
        self._own = OwnSettings(self.output, number)

    # --- input ---

    def add(
        self, source: TopicPartition, position: int, emit_from: int = 0, lost_from: int = -1
    ) -> None:
        """Begin with a partition: read from ``position``, silent before ``emit_from``.

        What lies between was written before a restart already; it is only processed again, so
        that the state is what it was. From ``lost_from`` (if any) to ``position`` the input was
        deleted; the next journal record says so.
        """
        self.input.add(source, position)
        self.output.add_partition(source, position, emit_from, lost_from)
        self.known = True

    def restored_positions(self) -> dict[TopicPartition, int]:
        """Return where the restored snapshot stands in each partition that it knows."""
        return {source: position for source, (position, _) in self.input.restored.items()}

    def take_in(self, fetched: Fetched) -> None:
        """Decode records and let them wait for their turn."""
        self.input.take_in(fetched)

    def positions(self) -> dict[TopicPartition, int]:
        """Next offset to process, of each partition."""
        return self.input.positions(self.output.journaled)

    def partitions(self) -> Mapping[TopicPartition, PartitionFigures]:
        """Return how it stands in each partition."""
        merger = self.input.merger
        return {
            source: PartitionFigures(position, self.input.waiting(source), merger.lag_ms(source))
            for source, position in self.positions().items()
        }

    def needs(self, source: TopicPartition) -> bool:
        """Tell whether the journal's step in hand waits for records of a partition."""
        return self.replay.needs(source, self.input.fetch_positions)

    @property
    def sources(self) -> list[TopicPartition]:
        """Return the shard's partitions, in the order that breaks ties."""
        return self.input.sources

    def waiting(self, source: TopicPartition) -> int:
        """Events of a partition that wait for their turn."""
        return self.input.waiting(source)

    # --- work ---

    @property
    def dirty(self) -> bool:
        """Tell whether anything was processed since the slices were last taken."""
        return self.output.dirty

    @property
    def emits(self) -> bool:
        """Tell whether messages wait for the next commit."""
        return self.output.emits

    @property
    def sequence(self) -> int:
        """Events so far."""
        return self.pipeline.sequence

    @property
    def replaying(self) -> bool:
        """Tell whether the journal is still followed; nothing is written as long."""
        return bool(self.replay.records)

    @property
    def full(self) -> bool:
        """Tell whether so much waits that it has to be committed before anything else is done."""
        return self.output.commit_full(self.input.merger.ranges_recorded)

    def advance(self, at_end: Collection[TopicPartition]) -> BatchResult | None:
        """Process the next events whose turn has come, so many at most; None where none has."""
        batch = self.input.release(at_end, *self.output.release_bounds(self.pipeline.sequence))
        if batch is None:
            return None
        self._own.use(self.pipeline)
        before_ms = self.pipeline.watermark_ms
        outcome = self.pipeline.process(batch)
        self.clock.take(before_ms, batch.mark_ms)
        self.output.add(outcome)
        if self.output.slice_full(self.input.merger.ranges_recorded):
            self._close_slice()
        return outcome

    def tick(self, time_ms: int) -> BatchResult:
        """Let event time go on to ``time_ms`` without an event; the caller commits next."""
        return self._aside(lambda: self.pipeline.tick(time_ms, self.number), ticks=((0, time_ms),))

    def act(self, offset: int, text: str) -> BatchResult:
        """Take in what stands at an offset of the control topic; the rest as ``tick`` does."""
        acts = (JournalAct(0, 0, offset, text),)
        return self._aside(lambda: self.pipeline.act(text, offset, self.number), acts=acts)

    def _aside(self, work: Callable[[], BatchResult], **said: Any) -> BatchResult:
        """What was done before is a slice of its own, so that the journal has it in its place."""
        self._own.use(self.pipeline)
        self._close_slice()
        outcome = work()
        self.output.add(outcome)
        self._close_slice(**said)
        return outcome

    def begin_to_follow(self, records: Iterable[JournalRecord]) -> None:
        """Begin to repeat what the journal holds after the restored snapshot; it may be nothing."""
        records = list(records)
        for record in records:
            schemas = {key: schema_of(stored) for key, stored in record.schemas}
            self.input.book.take_in(schemas, record.refused)
        self.replay.begin(records)
        self._own.begin(self.pipeline, restored=bool(self.input.restored))
        if not self.replaying:
            self._go_live()

    def follow(
        self,
        position: Callable[[TopicPartition], int],
        witness: Callable[[BatchResult], None] = lambda _outcome: None,
    ) -> int:
        """Process again what the journal says was done, as far as it has been read; emit nothing.

        Args:
            position: offset of the next record to be read, past gaps.
            witness: shown what came out, for a comparison with what was written then.

        Returns:
            Events processed. ``replaying`` ends when the shard stands where the journal ends.
        """
        until = time.monotonic() + _REPLAY_SLICE_SECONDS
        count = 0
        while self.replaying and time.monotonic() < until:
            self.output.follow_alerts(self.replay.records[0])
            if self.replay.records[0].configuration == self.configuration:
                self._take_over()
            if (told := between_steps(self.replay, self.pipeline, self.number)) is not None:
                witness(told)
                continue
            step = self.replay.step
            if step is None:
                self._end_record()
                continue
            read, batch = self.input.release_step(step, position)
            if not read:
                return count
            if batch is not None:
                witness(self.pipeline.process(batch))
                count += len(batch)
            self.output.journaled.update({each.source: each.end for each in step})
            self.replay.step_done()
            failpoint("in_replay")
        return count

    def _end_record(self) -> None:
        self.replay.end_record(self.pipeline.sequence, self.pipeline.fingerprint)
        if not self.replaying:
            self.input.merger.take_steps()  # what was followed is in the journal already
            self._go_live()

    def _go_live(self) -> None:
        self._take_over()
        self.input.go_live()

    def _take_over(self) -> None:
        """Let the challenger take over where the configuration promoted it since the snapshot.

        The journal tells which records are the old champion's; it ends where the last worker
        stopped, and a replay comes to the same place.
        """
        if self._former is None:
            return
        state, self._former = promoted(self.pipeline.state(), self._former), None
        self.pipeline = PipelineCore(self._config, self.configuration, self._stage)
        self.pipeline.restore(state, rescore=True)
        say_promoted(self.number, self.pipeline.sequence)

    @property
    def drift(self) -> Sequence[DriftConfig]:
        """The section `drift` of its configuration."""
        return self._config.drift

    # --- commits and snapshots ---

    def take_slices(self) -> list[Slice]:
        """Everything since this was asked last, to be written once, in this order."""
        if self.output.dirty:
            self._close_slice()
            for step in self.output.steps_without_events(self.positions()):
                self._close_slice([step])
        return self.output.take_slices()

    def _close_slice(self, passed: Iterable[Step] = (), **said: Any) -> None:
        steps, pipeline = [*self.input.merger.take_steps(), *passed], self.pipeline
        self.output.close_slice(steps, pipeline.sequence, pipeline.fingerprint, **said)

    def snapshot(self, extra: dict[str, Any]) -> Snapshot:
        """State and place as of the last commit, after which nothing may have been processed.

        The place is the committed one, not ``positions``: that may have passed control records
        since, and would not agree with the group's offset at the next start.
        """
        times = self.input.merger.released_times()
        places = sorted(self.output.journaled.items())
        positions = [[s.topic, s.partition, offset, times[s].mark_ms] for s, offset in places]
        meta = {
            "name": self._config.name,
            "shard": self.number,
            "sequence": self.pipeline.sequence,
            "positions": positions,
            "topics": self.input.topic_ids,
            "configuration": self.configuration,
            "shape": state_shape(self._config),
            "fingerprint": self.pipeline.fingerprint,
            **({"set_at": self.set_at} if self.set_at else {}),
            **({"clock": known} if (known := self.clock.state()) else {}),
            **extra,
        }
        lanes = lanes_state([times[source] for source, _ in places])
        state = {**self.pipeline.state(), "lanes": lanes}
        if known := self.input.book.state():
            state["schemas"] = known
        return Snapshot(meta, state)

    def restore(self, snapshot: Snapshot) -> None:
        """Continue from a snapshot.

        Raises ``StateMismatchError`` where it was made under a configuration that shapes state
        differently; the message names the fields. ``StateError`` where its content makes no sense.
        """
        meta = snapshot.meta
        if meta["shard"] != self.number:
            raise StateMismatchError(
                f"a snapshot of shard {meta['shard']} lies in the place of shard {self.number}"
            )
        if meta["configuration"] != self.configuration:
            self._former = champion_before(
                self._config, meta["shape"], snapshot.state.get("challenger")
            )
        if self._former is not None:
            former = meta["configuration"]
            self.pipeline = PipelineCore(self._former, former, self._stage)
        elif differences := state_differences(meta, self._config):
            raise StateMismatchError(
                "the stored state was made under another configuration: "
                + "; ".join(differences)
                + ". Use another kafka.group, or --reset-state to begin with an untrained model"
            )
        with making_sense():
            self.pipeline.restore(snapshot.state)
            marks = [mark_ms for *_, mark_ms in meta["positions"]]
            lanes = lanes_of(marks, snapshot.state.get("lanes"))
            self.input.book.restore(snapshot.state.get("schemas"))
            self.clock.restore(meta.get("clock", {}), time.monotonic())
        if meta["sequence"] != self.pipeline.sequence:
            raise StateError("the snapshot's meta and state count different events")
        self.known = True
        self.input.restored = {
            TopicPartition(topic, partition): (offset, known)
            for (topic, partition, offset, _), known in zip(meta["positions"], lanes, strict=True)
        }
        self.input.topic_ids = dict(meta.get("topics") or {})
        place = meta.get("journal")
        self.journal_place = (place["offset"], place["number"]) if place else None
        self.journal_link = place.get("link", "") if place else ""
        self.set_at = meta.get("set_at", 0)
