"""Learning of full chunks: scaler, models and threshold, in the order of the stream."""

from __future__ import annotations

from collections.abc import Iterator

from stream_detector.config.models.config import Config
from stream_detector.detectors.base import Rows
from stream_detector.detectors.stored import read_branch, read_bytes, read_count
from stream_detector.events import EventBatch, State
from stream_detector.features import Calendar
from stream_detector.pipeline.batch_result import BatchResult
from stream_detector.pipeline.chunk import DIGEST_BYTES, EARLY_CHUNK, Chunk, chunk_size, hash_on
from stream_detector.pipeline.features_end import features_end
from stream_detector.pipeline.late_labels import LateLabels
from stream_detector.pipeline.model import Model
from stream_detector.pipeline.scoring import ScoredRows
from stream_detector.pipeline.shadow_model import ShadowModel
from stream_detector.scaling import RunningScaler
from stream_detector.threshold import AlertPace


class Learner:
    """Collects scored events into chunks and learns each that is full.

    Who has scored them, and by which version of the model, makes no difference to it.

    State: the chunk in hand, three counts, the running hash, how long silences were. The parts
    that it teaches have states of their own.

    Attributes:
        chunk: the one in hand.
        chunks: chunks learnt.
        rows_learned: events in them that were learnt without labels.
        gaps_ms: how much of the way since the last chunk was silence.
        running: hash over the scores of all full chunks.
    """

    def __init__(
        self,
        config: Config,
        calendar: Calendar,
        scaler: RunningScaler,
        champion: Model,
        challenger: ShadowModel | None,
        labels: LateLabels,
    ) -> None:
        """Take the parts that are to be taught."""
        self._processing, self._width = config.processing, len(scaler.mean)
        self._calendar, self._scaler = calendar, scaler
        self._champion, self._challenger, self._labels = champion, challenger, labels
        self.chunks = self.rows_learned = self.gaps_ms = 0
        self.running = bytes(DIGEST_BYTES)
        self.chunk = Chunk(EARLY_CHUNK, self._width)

    @property
    def room(self) -> int:
        """Events that the chunk in hand has room for; at 0 it is to be learnt."""
        return self.chunk.size - self.chunk.filled

    def pieces(self, count: int, sequence: int) -> Iterator[slice]:
        """Slices of so many events after ``sequence``, each within a chunk and what features take.

        None has more of them than there is room for when it comes.
        """
        start = 0
        while start < count:
            first = sequence + start
            end = features_end(first, self._processing.chunk_size)
            stop = start + min(self.room, end - first, count - start)
            yield slice(start, stop)
            start = stop

    def take(self, events: EventBatch, scored: ScoredRows, *, by_id: bool) -> None:
        """Put scored events, no more than there is room for, into the chunk.

        ``by_id``: labels come by the ids of their events.
        """
        self.chunk.put(scored.raw, scored.rows)
        self.fill(events, scored, by_id=by_id)

    def fill(self, events: EventBatch, scored: ScoredRows, *, by_id: bool) -> None:
        """Likewise, of events whose features the chunk holds already."""
        chunk = self.chunk
        if not chunk.filled:
            chunk.score_scale = scored.score_scale
        chunk.take_scored(events, scored.scores, scored.raised, by_id=by_id)

    def learn(self, sequence: int, now_ms: int, outcome: BatchResult) -> None:
        """Learn the full chunk and begin the next.

        Args:
            sequence: events of the stream up to its last one.
            now_ms: watermark after that one; not where a batch in hand, cut anywhere, ends.
            outcome: takes counts and what drift was found.
        """
        chunk, champion, scaler = self.chunk, self._champion, self._scaler
        limit = self._processing.freeze_after
        learns = limit is None or sequence <= limit
        first_row = sequence - chunk.size
        raw = self._calendar.learnt(chunk.raw, first_row)
        if learns:
            scaler.learn(raw)
            self.rows_learned += chunk.size
            outcome.rows_learned += chunk.size
        features = scaler.impute(raw)
        pace, self.gaps_ms = AlertPace(now_ms, self.gaps_ms), 0
        events = chunk.scored(first_row)
        labelled = self._labels.exchange(events, features, scaler, now_ms)
        changes, kept = champion.review(events, features, labelled, now_ms)
        outcome.changes += changes
        if kept is not None and learns:
            scaler.forget(kept)
            if kept == 0:  # a model begins anew, and with what it learns first
                scaler.learn(raw)
                features = scaler.impute(raw)
        rows = Rows(features, scaler.standardise(features)) if learns else None
        champion.learn(events, rows, labelled, pace)
        if self._challenger is not None:
            scores = self._challenger.learn(chunk, events, rows, labelled, pace)
            outcome.challenger_scores.append(scores)
        self.chunks += 1
        outcome.chunks += 1
        self.running = hash_on(self.running, chunk.scores)
        label_age = self._labels.age if champion.uses_labels else None
        size = chunk_size(sequence - champion.began, self._processing.chunk_size, label_age)
        self.chunk = Chunk(size, self._width)

    def state(self) -> State:
        """The chunk in hand and what was counted."""
        chunk = self.chunk
        # Another than the model's own only where versions score that are older than the model.
        apart = chunk.filled and chunk.score_scale != self._champion.score_scale
        return {
            "chunks": self.chunks,
            "rows_learned": self.rows_learned,
            "gaps_ms": self.gaps_ms,
            "running": self.running.hex(),
            "chunk": chunk.state(),
            **({"chunk_scale": chunk.score_scale} if apart else {}),
        }

    def restore(self, state: State, sequence: int) -> None:
        """Take a pipeline's state in; the champion's is restored already.

        Raises ``StateMismatchError`` where it makes no sense.
        """
        self.chunks = read_count(state, "chunks", high=sequence)
        self.rows_learned = read_count(state, "rows_learned", high=sequence)
        self.gaps_ms = read_count({"gaps_ms": 0, **state}, "gaps_ms")
        self.running = read_bytes(state, "running", DIGEST_BYTES)
        largest = self._processing.chunk_size
        self.chunk = Chunk.of(read_branch(state, "chunk"), self._width, largest, sequence)
        scale = {"chunk_scale": self._champion.score_scale, **state}
        self.chunk.score_scale = read_count(scale, "chunk_scale")
