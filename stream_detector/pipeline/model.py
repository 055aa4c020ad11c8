"""A model at work: a detector, the threshold of its scores, and what answers a drift.

A pipeline has one that alerts, the champion, and may have a second in its shadow, the challenger.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream_detector.config.models.config import (
    DetectorConfig,
    DriftConfig,
    LabelsConfig,
    ThresholdConfig,
)
from stream_detector.detectors.base import Rows
from stream_detector.detectors.registry import build_detector
from stream_detector.detectors.stored import read_array, read_branch, read_count
from stream_detector.drift import DriftEvent, DriftWatch
from stream_detector.events import Float64, Int64, State
from stream_detector.labels import Feedback, ScoredEvents
from stream_detector.pipeline.figures import ModelFigures
from stream_detector.pipeline.late_labels import LabelledRows
from stream_detector.pipeline.probe import check_probe, probe_state
from stream_detector.threshold import AlertPace, AlertThreshold


class Model:
    """A detector with its threshold and its watches.

    State: the detector's, the threshold's, the watches', and until when learning is faster.

    Attributes:
        detector: scores and learns.
        threshold: decides.
        watched: what drift is looked for in, and in which feature (None: not in one of them).
        feedback: what labels say of its scores; None without labels.
        began: events that the stream had when the detector began: 0, unless it came to a running
            stream or was reset.
    """

    def __init__(
        self,
        detector: DetectorConfig,
        threshold: ThresholdConfig,
        drift: Sequence[DriftConfig],
        features: Sequence[str],
        labels: LabelsConfig | None,
    ) -> None:
        """Build the parts; ``features`` are the names of the columns.

        Raises ``ConfigurationError`` where River does not take what it is given.
        """
        self._config, self._drift, self._width = detector, drift, len(features)
        self.detector = build_detector(detector, self._width)
        self.threshold = AlertThreshold(threshold)
        columns = [features if each.on == "inputs" else [None] for each in drift]
        self._watches = [
            DriftWatch(each, names, index)
            for index, (each, names) in enumerate(zip(drift, columns, strict=True))
        ]
        self.watched: list[tuple[str, str | None]] = [
            (each.on, name) for each, names in zip(drift, columns, strict=True) for name in names
        ]
        self.feedback = Feedback(labels, detector.seed) if labels is not None else None
        self._faster_until = 0
        self._times = 1
        self.began = 0

    @property
    def uses_labels(self) -> bool:
        """Tell whether the detector learns from labels."""
        return self.detector.uses_labels

    @property
    def score_scale(self) -> int:
        """Number of the scale of its scores: another after a reset, or where the detector says."""
        return 2 * self.began + self.detector.score_scale

    def score(self, rows: Rows, first: int, last: int) -> Float64:
        """Scores of rows ``first`` to ``last`` of a chunk, computed in the detector's blocks."""
        block = self.detector.block_rows
        low, high = first // block * block, -(-last // block) * block
        return self.detector.score(rows.take(slice(low, high)))[first - low : last - low]

    def set_labels(self, ids: Int64, labels: Float64) -> NDArray[np.bool_]:
        """Labels of earlier events, learnt or waiting; which met one that is remembered."""
        found = self.detector.correct(ids, labels)
        if self.feedback is not None:
            found |= self.feedback.set_labels(ids, labels)
        return found

    def go_back(self, mark_ms: int) -> None:
        """The watermark was wrong and is ``mark_ms``."""
        if self.feedback is not None:
            self.feedback.go_back(mark_ms)

    def version(self) -> State:
        """What scoring needs of it."""
        value = np.array(self.threshold.value)
        return {"detector": self.detector.scoring_state(), "value": value, "began": self.began}

    def use(self, version: State) -> None:
        """Score by ``version`` from now on, never to learn again.

        Raises ``StateMismatchError`` where it is not of this configuration.
        """
        self.detector.restore(read_branch(version, "detector"))
        self.threshold.use(float(read_array(version, "value", (), infinite=True)))
        self.began = read_count(version, "began")

    # --- the end of a chunk: review, then learn ---

    def review(
        self, events: ScoredEvents, features: Float64, labelled: LabelledRows, now_ms: int
    ) -> tuple[list[DriftEvent], int | None]:
        """Hold scores to their labels, look for drift in a full chunk and answer what is found.

        Args:
            events: the chunk as this model scored it; nothing of it is learnt yet.
            features: (events, features) of it, finite.
            labelled: earlier events whose labels are known now.
            now_ms: the stream's watermark at its end.

        Returns:
            The drifts, and the events whose weight the scaler should keep because of them (None:
            all; 0 where a model begins anew).
        """
        if self.feedback is not None:
            self.feedback.offer(events)
            self.feedback.judge(now_ms)
        changes = self._watch(features, events.scores, labelled)
        return changes, self._answer(changes, events.end)

    def learn(
        self, events: ScoredEvents, rows: Rows | None, labelled: LabelledRows, pace: AlertPace
    ) -> None:
        """Learn a full chunk, what labels have come to, and the threshold.

        Args:
            events: the chunk as this model scored it.
            rows: its features as they are to be learnt; None where learning without labels is over.
            labelled: earlier events whose labels are known now.
            pace: the stream's time at its end.
        """
        repeats = self._times if events.end <= self._faster_until else 1
        if rows is not None:
            for _ in range(repeats):
                self.detector.learn(rows)
        if self.uses_labels and len(labelled):
            for _ in range(repeats):
                self.detector.learn(labelled.rows, labelled.labels)
        self._learn_threshold(events, pace)

    def _watch(
        self, features: Float64, scores: Float64, labelled: LabelledRows
    ) -> list[DriftEvent]:
        changes: list[DriftEvent] = []
        for config, watch in zip(self._drift, self._watches, strict=True):
            if config.on == "inputs":
                changes += watch.learn(features)
            elif config.on == "score":
                changes += watch.learn(scores[:, None])
            elif len(labelled):
                losses = self.detector.losses(labelled.rows, labelled.labels)
                changes += watch.learn(losses[:, None])
        return changes

    def _answer(self, changes: Sequence[DriftEvent], sequence: int) -> int | None:
        """Do what is configured for each change; events that the scaler should keep."""
        kept: int | None = None
        for index in dict.fromkeys(change.watch for change in changes):
            drift = self._drift[index]
            if drift.answer == "faster":
                self._faster_until = max(self._faster_until, sequence + drift.events)
                self._times = drift.times
                kept = drift.events if kept is None else min(kept, drift.events)
            elif drift.answer == "reset":
                self._reset(drift.member, sequence)
                kept = 0
        return kept

    def _reset(self, member: str | None, sequence: int) -> None:
        fresh = build_detector(self._config, self._width)
        if member is None:
            self.detector, self.began = fresh, sequence
            self.threshold.reset()
        else:
            # A member's place in the state is its own: the rest goes on as it was.
            branches = self.detector.members[member]
            untaught = fresh.state()
            state = {**self.detector.state(), **{name: untaught[name] for name in branches}}
            self.detector.restore(state)
        for watch in self._watches:
            watch.restart()  # one jump, one reset: what comes next is the new normal

    def _learn_threshold(self, events: ScoredEvents, pace: AlertPace) -> None:
        """Learn a chunk's scores; none of another scale than those that are to come."""
        if self.began == events.end:
            return  # another detector gave them
        self.threshold.learn(events.scores, events.raised, pace)
        if self.score_scale != events.score_scale:
            self.threshold.reset()
            for config, watch in zip(self._drift, self._watches, strict=True):
                if config.on != "inputs":
                    watch.restart()  # the model's own change must not be found for a drift

    # --- state ---

    def figures(self) -> ModelFigures:
        """Return how it stands."""
        feedback = self.feedback
        return ModelFigures(
            threshold=self.threshold.value,
            alert_share=self.threshold.share,
            weights=self.detector.weights(),
            watched=self.watched,
            judged_waiting=None if feedback is None else feedback.waiting,
            cases={} if feedback is None else dict(feedback.cases),
            ranking=None if feedback is None else feedback.figures(),
        )

    def feedback_state(self) -> State | None:
        """Return what labels say of its scores."""
        return self.feedback.state() if self.feedback is not None else None

    def state(self, probe: Rows) -> State:
        """Everything that learning has changed, without ``feedback_state``.

        ``probe``: rows to be scored again before the state is taken in.
        """
        watches = zip(self._drift, self._watches, strict=True)
        return {
            "detector": self.detector.state(),
            "threshold": self.threshold.state(),
            "probe": probe_state(self.detector, probe, self._numbers()),
            "drift": {
                "watches": [
                    {"config": config.model_dump(mode="json"), "state": watch.state()}
                    for config, watch in watches
                ],
                "faster_until": self._faster_until,
                "times": self._times,
                "began": self.began,
            },
        }

    def restore(self, state: State, sequence: int, probe: Rows) -> bool:
        """Continue from ``state``, ``feedback`` in it, after ``sequence`` events.

        A watch whose entry in the section `drift` is another now begins anew. Tells whether the
        scores of ``probe`` were compared with those that were written.

        Raises ``StateMismatchError``, and ``StateError`` where it scores the rows ``probe`` in
        another way than when it was written.
        """
        self.detector.restore(read_branch(state, "detector"))
        self.threshold.restore(read_branch(state, "threshold"))
        if self.feedback is not None and state.get("feedback") is not None:
            self.feedback.restore(state["feedback"])  # states of older versions have none
        drift = state.get("drift")
        if drift is not None:  # there were none in the first version
            self._restore_drift(drift, sequence)
        return check_probe(self.detector, probe, self._numbers(), state)

    def _restore_drift(self, drift: State, sequence: int) -> None:
        longest = max((each.events for each in self._drift), default=0)
        self._faster_until = read_count(drift, "faster_until", high=sequence + longest)
        self._times = read_count(drift, "times", high=max((1, *(d.times for d in self._drift))))
        self.began = read_count(drift, "began", high=sequence)
        watches = zip(self._drift, self._watches, drift["watches"], strict=False)
        for config, watch, stored in watches:
            if config.model_dump(mode="json") == stored["config"]:
                watch.restore(stored["state"])

    def _numbers(self) -> tuple[float, ...]:
        """Return what decides beside the scores; another number silences a model as well."""
        return (self.began, self._faster_until, self._times, *self.threshold.summary())
