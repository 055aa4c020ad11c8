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
from stream_detector.detectors.base import Detector, Rows
from stream_detector.detectors.stored import making_sense, read_branch, read_bytes, read_count
from stream_detector.events import EventBatch, Float64, State
from stream_detector.features import FeatureExtractor
from stream_detector.labels import identities
from stream_detector.pipeline.alerting import AlertWriter, ScoredEvent
from stream_detector.pipeline.batch_result import BatchResult
from stream_detector.pipeline.chunk import DIGEST_BYTES, EARLY_CHUNK, Chunk, chunk_size, hash_on
from stream_detector.pipeline.figures import PipelineFigures
from stream_detector.pipeline.late_labels import LateLabels
from stream_detector.pipeline.model import Model
from stream_detector.pipeline.monitoring import Monitors
from stream_detector.pipeline.observer import BeforeScoring, Observer
from stream_detector.pipeline.order import EventOrder
from stream_detector.pipeline.probe import probe_rows, stored_rows
from stream_detector.pipeline.shadow_model import ShadowModel
from stream_detector.pipeline.stage import Stage, untimed
from stream_detector.pipeline.stretches import stretches
from stream_detector.scaling import RunningScaler
from stream_detector.stream_time import Shift
from stream_detector.threshold import AlertPace, AlertThreshold

Extract = Callable[[EventBatch], Float64]


class PipelineCore:
    """Scores, explains and learns the events of one shard, in the order they are given.

    Takes decoded batches; ``stream_detector.Pipeline`` is the object around it for callers.

    State: the windows and category tables of the features, the scaler, the detector, the
    threshold, the chunk in hand, pending labels, suppressed keys; each bounded by its own rule.

    Attributes:
        explains: whether alerts are given their reasons; no part of the state.
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
        self._observer = observer
        width = len(self.features.names)
        self.scaler = RunningScaler(width)
        self.champion = Model(
            config.detector, config.threshold, config.drift, self.features.names, config.labels
        )
        self._writer = AlertWriter(config, fingerprint, self.plan, self.features)
        self.monitors = Monitors(config, fingerprint, self.plan)
        self.explains = True
        self.challenger: ShadowModel | None = None
        self._models = [self.champion]
        if config.challenger is not None:
            self.challenger = ShadowModel(config.challenger, config, self.features.names)
            self._models.append(self.challenger.model)
        learnt = any(model.uses_labels for model in self._models)
        self.labels = LateLabels(config.labels, width, config.detector.seed, learnt=learnt)
        self.sequence = self.chunks = self.rows_learned = self._gaps_ms = 0
        self._order = EventOrder(config.event)
        self._running = bytes(DIGEST_BYTES)
        self._chunk = Chunk(EARLY_CHUNK, width)

    @property
    def detector(self) -> Detector:
        """The champion's, whose scores raise alerts."""
        return self.champion.detector

    @property
    def threshold(self) -> AlertThreshold:
        """The champion's."""
        return self.champion.threshold

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
        return self._running.hex()

    def process(self, batch: EventBatch) -> BatchResult:
        """Score a batch and learn what chunks it fills. Any cut of a stream gives the same.

        Labels among the events are taken in at their place in the order.
        """
        count = len(batch)
        outcome = BatchResult(np.full(count, np.nan), np.zeros(count, dtype=bool))
        shifts = self._order.judge(batch)
        outcome.shifts += shifts
        rows, events = outcome.accepted(batch, self._config.name)
        for part in stretches(events, rows, shifts):
            if isinstance(part, Shift):
                self._shift(part)
            elif part.is_label:
                self.take_labels(part.events.event_id.tolist(), part.events.label)
            else:
                self._process_events(part.events, part.rows, outcome)
        return outcome

    def tick(self, time_ms: int, shard: int = 0) -> BatchResult:
        """Tell the monitors that time has gone on; no window and no watermark moves."""
        outcome = BatchResult(np.empty(0), np.zeros(0, dtype=bool))
        self.monitors.tick(time_ms, shard, self._receipt(0), outcome)
        return outcome

    def _shift(self, shift: Shift) -> None:
        """The watermark is set to what most events say: forwards over a gap, or back."""
        if shift.after_ms < shift.before_ms:
            self._go_back(shift.after_ms)
        else:
            self._gaps_ms += shift.after_ms - shift.before_ms

    def _go_back(self, mark_ms: int) -> None:
        """Count as of now what was counted at a time that the stream has not reached."""
        self.features.go_back(mark_ms)
        self.labels.go_back(mark_ms)
        self._writer.go_back(mark_ms)
        for model in self._models:
            model.go_back(mark_ms)
        self._chunk.go_back(mark_ms)
        self.monitors.go_back(mark_ms)

    def _process_events(
        self, events: EventBatch, rows: NDArray[np.intp], outcome: BatchResult
    ) -> None:
        start = 0
        while start < len(events):
            stop = min(start + self._chunk.size - self._chunk.filled, len(events))
            self._advance(events.take(slice(start, stop)), rows[start:stop], outcome)
            start = stop

    def take_labels(self, event_ids: Sequence[str | None], labels: Float64) -> None:
        """Take in (labels,) 1 or 0 of earlier events: of the chunk in hand, waiting, learnt."""
        ids = identities(event_ids)
        found = self.features.set_labels(ids, labels)
        found |= self._chunk.set_labels(ids, labels)
        found |= self.labels.set_labels(ids, labels)
        for model in self._models:
            found |= model.set_labels(ids, labels)
        self.labels.count(found)

    def _advance(
        self, events: EventBatch, batch_rows: NDArray[np.intp], outcome: BatchResult
    ) -> None:
        """Put events, at most what the chunk has room for, through all stages."""
        chunk = self._chunk
        first, last = chunk.filled, chunk.filled + len(events)
        with self._stage("features"):
            raw = self._extract(events)
        if self._observer is not None:
            self._observer.observe(
                BeforeScoring(self.sequence, raw, self.threshold.value, self.detector.score_scale)
            )
        with self._stage("scale"):
            imputed = self.scaler.impute(self._calendar.scored(raw))
            chunk.raw[first:last] = raw
            chunk.rows.features[first:last] = imputed
            chunk.rows.standardised[first:last] = self.scaler.standardise(imputed)
        with self._stage("score"):
            scores = self.champion.score(chunk.rows, first, last)
        with self._stage("decide"):
            raised = self.threshold.exceeded(scores, self.sequence - self.champion.began)
            tell = self.monitors.take(events, self._receipt, outcome)
            for row in np.flatnonzero(raised).tolist():
                tell(row)
                self._alert(events, row, float(scores[row]), first + row, outcome)
            tell(len(events))
        chunk.take_scored(events, scores, raised, by_id=self._by_id)
        outcome.scores[batch_rows] = scores
        outcome.raised[batch_rows] = raised
        self.sequence += len(events)
        if chunk.filled == chunk.size:
            with self._stage("learn"):
                assert events.mark_ms is not None
                self._learn(outcome, int(events.mark_ms[-1]))

    def _receipt(self, row: int) -> dict[str, Any]:
        return {"sequence": self.sequence + row, "chunk": self.chunks, "state": self.fingerprint}

    def _alert(
        self, events: EventBatch, row: int, score: float, chunk_row: int, outcome: BatchResult
    ) -> None:
        """Add the alert of one event, unless its key has alerted lately."""
        scored = ScoredEvent(
            events=events,
            row=row,
            raw=self._chunk.raw[chunk_row],
            rows=self._chunk.rows.take(slice(chunk_row, chunk_row + 1)),
            score=score,
            receipt=self._receipt(row),
        )
        made = self._writer.write(
            scored, self.detector, self.scaler, self.threshold, explains=self.explains
        )
        outcome.add_alert(made)

    def _learn(self, outcome: BatchResult, now_ms: int) -> None:
        """Learn the full chunk and begin the next. ``now_ms``: watermark after its last event.

        Not the order's own: that stands at the end of the batch in hand, wherever it was cut.
        """
        chunk, champion, scaler = self._chunk, self.champion, self.scaler
        limit = self._config.processing.freeze_after
        learns = limit is None or self.sequence <= limit
        first_row = self.sequence - chunk.size
        raw = self._calendar.learnt(chunk.raw, first_row)
        if learns:
            scaler.learn(raw)
            self.rows_learned += chunk.size
            outcome.rows_learned += chunk.size
        features = scaler.impute(raw)
        pace, self._gaps_ms = AlertPace(now_ms, self._gaps_ms), 0
        events = chunk.scored(first_row, champion.score_scale)
        labelled = self.labels.exchange(events, features, scaler, now_ms)
        changes, kept = champion.review(events, features, labelled, now_ms)
        outcome.changes += changes
        if kept is not None and learns:
            scaler.forget(kept)
            if kept == 0:  # a model begins anew, and with what it learns first
                scaler.learn(raw)
                features = scaler.impute(raw)
        rows = Rows(features, scaler.standardise(features)) if learns else None
        champion.learn(events, rows, labelled, pace)
        if self.challenger is not None:
            scores = self.challenger.learn(chunk, events, rows, labelled, pace)
            outcome.challenger_scores.append(scores)
        self.features.take_labels(now_ms)
        self.features.end_chunk()
        self.chunks += 1
        outcome.chunks += 1
        self._running = hash_on(self._running, chunk.scores)
        size = chunk_size(self.sequence - champion.began, self._config.processing.chunk_size)
        self._chunk = Chunk(size, chunk.raw.shape[1])

    def figures(self) -> PipelineFigures:
        """Return what is looked at from outside, as of now."""
        return PipelineFigures.of(self)

    def state(self) -> State:
        """Everything that processing has changed, the chunk in hand included."""
        probe = probe_rows(self.scaler)
        return {
            "sequence": self.sequence,
            "chunks": self.chunks,
            "rows_learned": self.rows_learned,
            "watermark_ms": self.watermark_ms,
            "time": self._order.state(),
            "gaps_ms": self._gaps_ms,
            "running": self._running.hex(),
            "chunk": self._chunk.state(),
            "features": self.features.state(),
            "scaler": self.scaler.state(),
            **self.champion.state(probe),
            "probe_rows": probe.features,
            "alerts": self._writer.state(),
            "pending": self.labels.state(),
            "feedback": self.champion.feedback_state(),
            "labels_taken": self.labels.taken,
            "labels_unmatched": self.labels.unmatched,
            "challenger": self.challenger.state(probe) if self.challenger else None,
            **self.monitors.state(),
        }

    def restore(self, state: State, *, rescore: bool = False) -> None:
        """Continue from ``state`` with the same bits.

        ``rescore``: the champion has just taken over; its threshold is to learn its own scores of
        the chunk in hand, not those of the model before it.

        Not to be used any more where it raises ``StateMismatchError`` or ``StateError``: what was
        read before stays.
        """
        with making_sense():
            compared = self._restore(state)
            if rescore:
                self._chunk.rescore(self.champion, self.sequence)
            elif compared:
                rows = self.scaler.impute(self._calendar.scored(self._chunk.raw))
                self._chunk.check(Rows(rows, self.scaler.standardise(rows)), self.champion)

    def _restore(self, state: State) -> bool:
        self.sequence = sequence = read_count(state, "sequence")
        self.chunks = read_count(state, "chunks", high=sequence)
        self.rows_learned = read_count(state, "rows_learned", high=sequence)
        latest_ms = self._order.restore(state)
        self._gaps_ms = read_count({"gaps_ms": 0, **state}, "gaps_ms")
        self._running = read_bytes(state, "running", DIGEST_BYTES)
        self.features.restore(read_branch(state, "features"), latest_ms)
        self.scaler.restore(read_branch(state, "scaler"))
        probe = stored_rows(self.scaler, state)
        compared = self.champion.restore(state, sequence, probe)
        self._writer.restore(read_branch(state, "alerts"))
        self.labels.restore(state)
        sizes = (EARLY_CHUNK, self._config.processing.chunk_size)
        width = len(self.features.names)
        self._chunk = Chunk.of(read_branch(state, "chunk"), width, sizes, sequence)
        if self.challenger is not None:
            self.challenger.restore(state.get("challenger"), sequence, probe)
        self._go_back(latest_ms)  # nothing waits, or holds back, for longer than from now on
        self.monitors.restore(state, latest_ms)
        return compared
