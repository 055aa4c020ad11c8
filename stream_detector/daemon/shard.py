"""One shard at work: decoding, merge and pipeline, with its place in the input and its output."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable
from typing import Any

from stream_detector.config.derived.field_plan import FieldPlan
from stream_detector.config.derived.fingerprint import (
    state_differences,
    state_fingerprint,
    state_shape,
)
from stream_detector.config.derived.promotion import before_promotion
from stream_detector.config.models.config import Config
from stream_detector.connectors.base import Fetched
from stream_detector.daemon import slices as cuts
from stream_detector.decoding import TopicDecoder
from stream_detector.errors import StateError, StateMismatchError
from stream_detector.events import TopicPartition
from stream_detector.failpoints import failpoint
from stream_detector.journal import JournalRecord, Range
from stream_detector.merge import LaneTime, Merger, Step, lanes_of, lanes_state
from stream_detector.messages import Outgoing
from stream_detector.pipeline import BatchResult, PipelineCore, promoted
from stream_detector.snapshots import Snapshot
from stream_detector.telemetry.logs import fields
from stream_detector.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

_REPLAY_SLICE_SECONDS = 0.1
"""How long one turn may replay: the worker's other shards and the group wait meanwhile."""


class Shard:
    """What one worker keeps of one shard.

    State: the pipeline's, the merge's, the next offset to fetch of each partition, what waits to be
    written, the journal's records still to be followed. Fetching stops at ``max_buffered_records``.

    Attributes:
        number: which shard of the group.
        configuration: fingerprint of what shapes the state.
        known: whether a snapshot was restored, or the shard has begun without one.
        dirty: whether anything was processed since the slices were last taken.
        fetch_positions: offset after the last record taken in, of each partition.
        journal_place: offset and number in the journal that the restored snapshot stands at.
        journal_link: of the record with that number; empty where the snapshot does not say.
        script: journal records to follow before live work begins.
        topic_ids: of the input topics, as the broker gave them when the state was begun.
        mismatches: replayed records whose fingerprint came out differently.
    """

    def __init__(self, number: int, config: Config, metrics: Metrics) -> None:
        self.number = number
        self._config = config
        self._metrics = metrics
        self.configuration = state_fingerprint(config)
        self._decoder = TopicDecoder(config, FieldPlan.of(config))
        step_ms = int(config.event.max_step * 1000)
        self.merger = Merger(record_steps=True, max_step_ms=step_ms)
        self.pipeline = PipelineCore(config, self.configuration, metrics.stage)
        self._backlog = cuts.Backlog()
        self.dirty = False
        self.fetch_positions: dict[TopicPartition, int] = {}
        self.journal_place: tuple[int, int] | None = None
        self.journal_link = ""
        self.replay_queue: deque[JournalRecord] = deque()
        self.topic_ids: dict[str, str] = {}
        self.mismatches = 0
        self._replay_step = 0
        self._journaled: dict[TopicPartition, int] = {}
        self._lost: list[Range] = []
        self._emit_from: dict[TopicPartition, int] = {}
        self._restored: dict[TopicPartition, tuple[int, LaneTime]] = {}
        self.known = False
        self._former: Config | None = None

    # --- input ---

    def add(
        self, source: TopicPartition, position: int, emit_from: int = 0, lost_from: int = -1
    ) -> None:
        """Begin with a partition: read from ``position``, silent before ``emit_from``.

        What lies between was written before a restart already; it is only processed again, so
        that the state is what it was. From ``lost_from`` (if any) to ``position`` the input was
        deleted; the next journal record says so.
        """
        _, known = self._restored.get(source, (-1, None))
        self.merger.add(source, known)
        self.fetch_positions[source] = position
        self._journaled[source] = position
        if emit_from > position:
            self._emit_from[source] = emit_from
        if 0 <= lost_from < position:
            self._lost.append(Range(source, lost_from, position))
            self.dirty = True
        self.known = True

    def restored_positions(self) -> dict[TopicPartition, int]:
        """Where the restored snapshot stands in each partition that it knows."""
        return {source: position for source, (position, _) in self._restored.items()}

    def restored_position(self, source: TopicPartition) -> int | None:
        """Where the restored snapshot stands in a partition; None where it does not know it."""
        return self.restored_positions().get(source)

    def take_in(self, fetched: Fetched) -> None:
        """Decode records and let them wait for their turn."""
        with self._metrics.stage("decode"):
            batch = self._decoder.decode(fetched.source, fetched.records)
        self.fetch_positions[fetched.source] = int(batch.offset[-1]) + 1
        self.merger.push(batch)

    def positions(self) -> dict[TopicPartition, int]:
        """Next offset to process, of each partition."""
        positions: dict[TopicPartition, int] = {}
        for source in self.merger.sources:
            offset = max(self.merger.next_offset(source), self._journaled[source])
            if not self.merger.waiting(source):
                offset = max(offset, self.fetch_positions[source])
            positions[source] = offset
        return positions

    # --- work ---

    def advance(self, at_end: Collection[TopicPartition]) -> BatchResult | None:
        """Process the next events whose turn has come, so many at most; None where none has."""
        with self._metrics.stage("merge"):
            batch = self.merger.release(at_end, cuts.RELEASE_EVENTS, cuts.RELEASE_BYTES)
        if batch is None:
            return None
        outcome = self.pipeline.process(batch)
        self._backlog.add(self._to_emit(outcome.alerts), self._to_emit(outcome.dead_letters))
        self.dirty = True
        if self._backlog.slice_full(self.merger.ranges_recorded):
            self._close_slice(self.merger.take_steps())
        return outcome

    @property
    def emits(self) -> bool:
        """Whether messages wait for the next commit."""
        return self._backlog.total_bytes > 0

    @property
    def full(self) -> bool:
        """Whether so much waits that it is to be committed before anything else is done."""
        return self._backlog.commit_full(self.merger.ranges_recorded)

    def _to_emit(self, messages: list[Outgoing]) -> list[Outgoing]:
        if not self._emit_from:
            return messages
        return [m for m in messages if m.offset >= self._emit_from.get(m.source, 0)]

    def begin_to_follow(self, records: Iterable[JournalRecord]) -> None:
        """What the journal holds after the restored snapshot, to be done again; maybe nothing."""
        self.replay_queue = deque(records)
        if not self.replay_queue:
            self._take_over()

    def _take_over(self) -> None:
        """Where the configuration has promoted the challenger since the snapshot: now.

        The journal tells which records are the old champion's; it ends where the last worker
        stopped, and a replay comes to the same place.
        """
        if self._former is None:
            return
        state = promoted(self.pipeline.state(), self._former)
        self._former = None
        self.pipeline = PipelineCore(self._config, self.configuration, self._metrics.stage)
        self.pipeline.restore(state)
        self.pipeline.rescore()
        log.info(
            "the challenger of shard %d takes over after %d events",
            self.number,
            self.pipeline.sequence,
            extra=fields("promoted", shard=self.number, events=self.pipeline.sequence),
        )

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
            Events processed. ``script`` is empty when the shard stands where the journal ends.
        """
        until = time.monotonic() + _REPLAY_SLICE_SECONDS
        count = 0
        while self.replay_queue and time.monotonic() < until:
            record = self.replay_queue[0]
            if record.configuration == self.configuration:
                self._take_over()
            if self._replay_step == len(record.steps):
                self._end_record(record)
                continue
            step = record.steps[self._replay_step]
            for source, _, end in step:
                if self.fetch_positions[source] < end <= position(source):
                    self.fetch_positions[source] = end  # a gap: nothing more will come of it
                if self.fetch_positions[source] < end:
                    return count
            batch = self.merger.release_step({r.source: r.end for r in step})
            if batch is not None:
                witness(self.pipeline.process(batch))
                count += len(batch)
            self._journaled.update({r.source: r.end for r in step})
            self._replay_step += 1
            failpoint("in_replay")
        return count

    def _end_record(self, record: JournalRecord) -> None:
        self.replay_queue.popleft()
        self._replay_step = 0
        same = (self.pipeline.sequence, self.pipeline.fingerprint)
        if (record.sequence, record.fingerprint) != same:
            self.mismatches += 1
        if not self.replay_queue:
            self.merger.take_steps()  # what was followed is in the journal already
            self._take_over()

    def answer_to(self, watch: int) -> str:
        """What the configuration's section `drift` answers to its entry's finding, in words."""
        drift = self._config.drift[watch]
        if drift.answer == "faster":
            return f"each chunk of {drift.events} events is learnt {drift.times} times"
        if drift.answer == "reset":
            return f"{drift.member or 'the model'} begins anew"
        return "none"

    def needs(self, source: TopicPartition) -> bool:
        """Whether the journal's step in hand waits for records of a partition."""
        if not self.replay_queue or self._replay_step == len(self.replay_queue[0].steps):
            return False
        step = self.replay_queue[0].steps[self._replay_step]
        return any(r.source == source and self.fetch_positions[source] < r.end for r in step)

    # --- commits and snapshots ---

    def take_slices(self) -> list[cuts.Slice]:
        """Everything since this was asked last, to be written once, in this order."""
        if self.dirty:
            self._close_slice(self.merger.take_steps())
            # Offsets that hold no event are steps of their own: as many ranges as partitions.
            passed = [(s, o) for s, o in sorted(self.positions().items()) if o > self._journaled[s]]
            for start in range(0, len(passed), cuts.SLICE_RANGES):
                self._close_slice([dict(passed[start : start + cuts.SLICE_RANGES])])
        self.dirty = False
        return self._backlog.take()

    def _close_slice(self, steps: Iterable[Step]) -> None:
        """What was done since the last slice makes one; nothing makes none."""
        record = JournalRecord(
            shard=self.number,
            number=0,
            steps=cuts.journal_ranges(steps, self._journaled),
            lost=tuple(self._lost),
            sequence=self.pipeline.sequence,
            fingerprint=self.pipeline.fingerprint,
            configuration=self.configuration,
        )
        if record.steps or record.lost:
            self._backlog.close(record, dict(self._journaled))
            self._lost = []

    def snapshot(self, extra: dict[str, Any]) -> Snapshot:
        """State and place as of the last commit, after which nothing may have been processed.

        The place is the committed one, not ``positions``: that may have passed control records
        since, and would not agree with the group's offset at the next start.
        """
        times = self.merger.released_times()
        places = sorted(self._journaled.items())
        positions = [
            [source.topic, source.partition, offset, times[source].mark_ms]
            for source, offset in places
        ]
        meta = {
            "name": self._config.name,
            "shard": self.number,
            "sequence": self.pipeline.sequence,
            "positions": positions,
            "topics": self.topic_ids,
            "configuration": self.configuration,
            "shape": state_shape(self._config),
            "fingerprint": self.pipeline.fingerprint,
            **extra,
        }
        lanes = lanes_state([times[source] for source, _ in places])
        return Snapshot(meta, {**self.pipeline.state(), "lanes": lanes})

    def _before_promotion(self, snapshot: Snapshot) -> Config | None:
        """The configuration of a snapshot that holds, as its challenger, what is champion now."""
        challenger = snapshot.state.get("challenger")
        named = challenger.get("detector") if isinstance(challenger, dict) else None
        if named != self._config.detector.model_dump(mode="json"):
            return None
        return before_promotion(self._config, snapshot.meta["shape"])

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
            self._former = self._before_promotion(snapshot)
        if self._former is not None:
            former = meta["configuration"]
            self.pipeline = PipelineCore(self._former, former, self._metrics.stage)
        elif differences := state_differences(meta, self._config):
            raise StateMismatchError(
                "the stored state was made under another configuration: "
                + "; ".join(differences)
                + ". Use another kafka.group, or --reset-state to begin with an untrained model"
            )
        try:
            self.pipeline.restore(snapshot.state)
            marks = [mark_ms for *_, mark_ms in meta["positions"]]
            lanes = lanes_of(marks, snapshot.state.get("lanes"))
        except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
            raise StateError(f"the snapshot's state makes no sense: {error!r:.200}") from error
        self.known = True
        self._restored = {
            TopicPartition(topic, partition): (offset, known)
            for (topic, partition, offset, _), known in zip(meta["positions"], lanes, strict=True)
        }
        self.topic_ids = dict(meta.get("topics") or {})
        place = meta.get("journal")
        self.journal_place = (place["offset"], place["number"]) if place else None
        self.journal_link = place.get("link", "") if place else ""
