"""Pipeline of one shard: features, scaling, scoring, deciding, learning. No I/O, no clock.

Each event is scored as it arrives, by the model as the last full chunk left it. Accepted events
are counted into chunks; when a chunk is full, scaler, detector and threshold learn it. So the
result does not depend on how polls cut the stream, and no event is learnt before it is scored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_detector.config.derived.field_plan import FieldPlan
from stream_detector.config.models.config import Config
from stream_detector.detectors.base import BLOCK_ROWS, Detector
from stream_detector.detectors.stored import making_sense, read_branch, read_count
from stream_detector.events import EventBatch, Float64, State, TopicPartition
from stream_detector.features import FeatureExtractor
from stream_detector.labels import identities
from stream_detector.pipeline.batch_result import BatchResult
from stream_detector.pipeline.cause import ACTS, Cause
from stream_detector.pipeline.deciding import Decisions, ScoredPart
from stream_detector.pipeline.features_end import features_end
from stream_detector.pipeline.figures import PipelineFigures
from stream_detector.pipeline.late_labels import LateLabels
from stream_detector.pipeline.learning import Learner
from stream_detector.pipeline.model import Model
from stream_detector.pipeline.monitoring import Monitors
from stream_detector.pipeline.observer import BeforeScoring, Observer
from stream_detector.pipeline.order import EventOrder
from stream_detector.pipeline.probe import probe_rows, stored_rows
from stream_detector.pipeline.scoring import ScoredRows, Scoring
from stream_detector.pipeline.shadow_model import ShadowModel
from stream_detector.pipeline.stage import Stage, untimed
from stream_detector.pipeline.stretches import Stretch, stretches
from stream_detector.scaling import RunningScaler
from stream_detector.stream_time import Shift
from stream_detector.threshold import AlertThreshold

Extract = Callable[[EventBatch], Float64]


class PipelineCore:
    """Scores, explains and learns the events of one shard, in the order they are given.

    Takes decoded batches; ``stream_detector.Pipeline`` is the object around it for callers.

    State: the windows and category tables of the features, the scaler, the detector, the
    threshold, the chunk in hand, pending labels, suppressed keys; each bounded by its own rule.

    Attributes:
        decisions: what comes of events that are scored.
        scoring: by the state as it is.
    """

    def __init__(
        self,
        config: Config,
        fingerprint: str,
        stage: Stage = untimed,
        *,
        by_id: bool = False,
        extract: Extract | None = None,
        observer: Observer | None = None,
    ) -> None:
        """Build the stages.

        Args:
            config: the configuration.
            fingerprint: of the parts of it that shape state; stands in every alert.
            stage: gives a context manager that times a named stage.
            by_id: remember ids, since labels come by them, as they do with `kafka.labels`.
            extract: gives raw features known from before; the state is not to be kept then.
            observer: looks on.
        """
        self._config = config
        self._stage = stage
        self.plan = FieldPlan.of(config)
        self._by_id = by_id or config.labels_have_topic
        self.features = FeatureExtractor(config, self.plan, by_id=self._by_id)
        self._calendar = self.features.calendar
        self._extract = extract or self.features.extract
        self._lookups = self.features.lookups if extract is None else None
        self._observer = observer
        width = len(self.features.names)
        self.scaler = RunningScaler(width)
        self.champion = Model(
            config.detector, config.threshold, config.drift, self.features.names, config.labels
        )
        self.decisions = Decisions(
            config,
            fingerprint,
            self.plan,
            self.features,
            by_id=self._by_id,
            extracted=extract is None,
        )
        self.challenger: ShadowModel | None = None
        self._models = [self.champion]
        if config.challenger is not None:
            self.challenger = ShadowModel(config.challenger, config, self.features.names)
            self._models.append(self.challenger.model)
        learnt = any(model.uses_labels for model in self._models)
        self.labels = LateLabels(config.labels, width, config.detector.seed, learnt=learnt)
        self.sequence = 0
        self._order = EventOrder(config.event)
        self.scoring = Scoring(self._calendar, self.scaler, self.champion)
        parts = (self.scaler, self.champion, self.challenger, self.labels)
        self._learner = Learner(config, self._calendar, *parts)

    @property
    def chunks(self) -> int:
        """Chunks learnt."""
        return self._learner.chunks

    @property
    def rows_learned(self) -> int:
        """Events learnt without labels."""
        return self._learner.rows_learned

    @property
    def detector(self) -> Detector:
        """The champion's, whose scores raise alerts."""
        return self.champion.detector

    @property
    def threshold(self) -> AlertThreshold:
        """The champion's."""
        return self.champion.threshold

    @property
    def monitors(self) -> Monitors:
        """The monitors, which look at the same events."""
        return self.decisions.monitors

    @property
    def watermark_ms(self) -> int:
        """The newest time that most events do not contradict."""
        return self._order.time.mark_ms

    def set_watermark(self, time_ms: int) -> None:
        """Put the watermark somewhere by an operator's will; what was counted later counts then."""
        if time_ms < self.watermark_ms:
            self._go_back(time_ms)
        self._order.time.set(time_ms)

    @property
    def fingerprint(self) -> str:
        """Running hash over all scores of full chunks, in hexadecimal: equal runs, equal hash."""
        return self._learner.running.hex()

    def process(self, batch: EventBatch) -> BatchResult:
        """Score a batch and learn what chunks it fills. Any cut of a stream gives the same.

        Labels among the events are taken in at their place in the order.
        """
        outcome = BatchResult.empty(len(batch))
        shifts = self._order.judge(batch)
        outcome.shifts += shifts
        rows, events = outcome.accepted(batch, self._config.name)
        for part in stretches(events, rows, shifts):
            if isinstance(part, Shift):
                self._shift(part)
            elif part.is_label:
                self.take_labels(part.events.event_id.tolist(), part.events.label)
                self.decisions.take_labels(part.events, self._receipt, outcome)
            else:
                for piece in self._learner.pieces(len(part.events), self.sequence):
                    self._advance(part.events.take(piece), part.rows[piece], outcome)
        return outcome

    def tick(self, time_ms: int, shard: int = 0) -> BatchResult:
        """Tell all that waits for time that it has gone on; no window and no watermark moves."""
        outcome = BatchResult.empty()
        self.decisions.tick(time_ms, shard, self._receipt(0), outcome)
        return outcome

    def act(self, text: str, offset: int = -1, shard: int = 0) -> BatchResult:
        """Take in what a person has written to the control topic; "": nothing of use was there."""
        outcome = BatchResult.empty()
        where = Cause(TopicPartition(ACTS, shard), offset)
        self.decisions.act(text, where, self.watermark_ms, self._receipt(0), outcome)
        return outcome

    def _shift(self, shift: Shift) -> None:
        """The watermark is set to what most events say: forwards over a gap, or back."""
        if shift.after_ms < shift.before_ms:
            self._go_back(shift.after_ms)
        else:
            self._learner.gaps_ms += shift.after_ms - shift.before_ms

    def _go_back(self, mark_ms: int) -> None:
        """Count as of now what was counted at a time that the stream has not reached."""
        self.features.go_back(mark_ms)
        self.labels.go_back(mark_ms)
        for model in self._models:
            model.go_back(mark_ms)
        self._learner.chunk.go_back(mark_ms)
        self.decisions.go_back(mark_ms)

    def take_labels(self, event_ids: Sequence[str | None], labels: Float64) -> None:
        """Take in (labels,) 1 or 0 of earlier events: of the chunk in hand, waiting, learnt."""
        ids = identities(event_ids)
        found = self.features.set_labels(ids, labels)
        found |= self._learner.chunk.set_labels(ids, labels)
        found |= self.labels.set_labels(ids, labels)
        for model in self._models:
            found |= model.set_labels(ids, labels)
        self.labels.count(found)

    def _advance(
        self, events: EventBatch, batch_rows: NDArray[np.intp], outcome: BatchResult
    ) -> None:
        """Put events, at most what the chunk has room for, through all stages."""
        chunk = self._learner.chunk
        with self._stage("features"):
            raw = self._extract(events)
        if self._observer is not None:
            self._observer.observe(
                BeforeScoring(self.sequence, raw, self.threshold.value, self.detector.score_scale)
            )
        with self._stage("scale"):
            rows = self.scoring.prepare(raw)
            where = chunk.put(raw, rows)
        with self._stage("score"):
            scores = self.champion.score(chunk.rows, where.start, where.stop)
        with self._stage("decide"):
            raised = self.scoring.judge(scores, self.sequence)
            scored = ScoredRows(raw, rows, scores, raised, self.champion.score_scale)
            before = int(np.count_nonzero(chunk.raised[: where.start]))
            part = ScoredPart.of(events, scored, where.start, self._lookups, before)
            self.decisions.take(part, self.champion, self.scaler, self._receipt, outcome)
        outcome.scores[batch_rows] = scores
        outcome.raised[batch_rows] = raised
        self._learner.fill(events, scored, by_id=self._by_id)
        self._end_part(events, outcome)

    def _end_part(self, events: EventBatch, outcome: BatchResult) -> None:
        """Events are in the chunk; learn it if it is full, and end the features' if it is time."""
        end = features_end(self.sequence, self._config.processing.chunk_size)
        self.sequence += len(events)
        now_ms, full = events.last_mark_ms, not self._learner.room
        if not full and self.sequence < end:
            return
        with self._stage("learn"):
            if full:
                self._learner.learn(self.sequence, now_ms, outcome)
                self.decisions.end_chunk()
            if self.sequence == end:
                self.features.take_labels(now_ms)
                self.features.end_chunk()
        if full:
            self.decisions.mature(events, self._receipt, outcome)

    def take_scored(
        self, batch: EventBatch, shifts: Sequence[Shift], scored: ScoredRows
    ) -> BatchResult:
        """Decide events that a version of this state has scored, then learn the chunks they fill.

        Args:
            batch: as ``EventOrder`` has judged it, in the order of the stream.
            shifts: of its watermark.
            scored: the events that are not rejected.
        """
        outcome = BatchResult.empty(len(batch))
        outcome.shifts += shifts
        rows, events = outcome.accepted(batch, self._config.name)
        first = self.sequence
        for part in stretches(events, rows, shifts):
            if isinstance(part, Shift):
                self._shift(part)
            else:
                start = self.sequence - first
                own = scored.take(slice(start, start + len(part.events)))
                self._take_stretch(part, own, outcome)
        if batch.mark_ms is not None and len(batch):
            self._order.time.set(int(batch.mark_ms[-1]))
        return outcome

    def _take_stretch(self, part: Stretch, scored: ScoredRows, outcome: BatchResult) -> None:
        events = part.events
        with self._stage("decide"):
            decided = ScoredPart.of(events, scored, self.sequence % BLOCK_ROWS)
            self.decisions.take(decided, self.champion, self.scaler, self._receipt, outcome)
        outcome.scores[part.rows], outcome.raised[part.rows] = scored.scores, scored.raised
        for piece in self._learner.pieces(len(events), self.sequence):
            some = events.take(piece)
            self._learner.take(some, scored.take(piece), by_id=self._by_id)
            self._end_part(some, outcome)

    def _receipt(self, row: int) -> dict[str, Any]:
        return {"sequence": self.sequence + row, "chunk": self.chunks, "state": self.fingerprint}

    def figures(self) -> PipelineFigures:
        """Return what is looked at from outside, as of now."""
        return PipelineFigures.of(self)

    def state(self) -> State:
        """Everything that processing has changed, the chunk in hand included."""
        probe = probe_rows(self.scaler)
        return {
            "sequence": self.sequence,
            **self._learner.state(),
            "watermark_ms": self.watermark_ms,
            "time": self._order.state(),
            "features": self.features.state(),
            "scaler": self.scaler.state(),
            **self.champion.state(probe),
            "probe_rows": probe.features,
            "pending": self.labels.state(),
            "feedback": self.champion.feedback_state(),
            "labels_taken": self.labels.taken,
            "labels_unmatched": self.labels.unmatched,
            "challenger": self.challenger.state(probe) if self.challenger else None,
            **self.decisions.state(),
        }

    def restore(self, state: State, *, rescore: bool = False, lagging: bool = False) -> None:
        """Continue from ``state`` with the same bits.

        ``rescore``: the champion has just taken over; its threshold is to learn its own scores of
        the chunk in hand, not those of the model before it. ``lagging``: versions before the
        state's may have scored it.

        Not to be used any more where it raises ``StateMismatchError`` or ``StateError``: what was
        read before stays.
        """
        with making_sense():
            compared, chunk = self._restore(state), self._learner.chunk
            if rescore:
                chunk.rescore(self.champion, self.sequence)
            elif compared and not lagging:
                chunk.check(self.scoring.prepare(chunk.raw), self.champion)

    def _restore(self, state: State) -> bool:
        self.sequence, latest_ms = read_count(state, "sequence"), self._order.restore(state)
        self.features.restore(read_branch(state, "features"), latest_ms)
        self.scaler.restore(read_branch(state, "scaler"))
        probe = stored_rows(self.scaler, state)
        compared = self.champion.restore(state, self.sequence, probe)
        self.labels.restore(state)
        self._learner.restore(state, self.sequence)
        if self.challenger is not None:
            self.challenger.restore(state.get("challenger"), self.sequence, probe)
        self._go_back(latest_ms)  # nothing waits, or holds back, for longer than from now on
        self.decisions.restore(state, latest_ms)
        return compared
