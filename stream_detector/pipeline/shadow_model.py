"""A second model in the shadow: it scores and learns what the champion does, and raises nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream_detector.config.models.config import (
    ChallengerConfig,
    Config,
    DetectorConfig,
    DriftConfig,
    drift_mistake,
)
from stream_detector.detectors.base import Rows
from stream_detector.detectors.registry import identity
from stream_detector.events import Float64, Int64, State
from stream_detector.labels import Feedback
from stream_detector.pipeline.chunk import Chunk
from stream_detector.pipeline.model import Model
from stream_detector.threshold import AlertPace

Decision = tuple[bool, bool]
"""Whether the champion raised an event, and whether the challenger would have."""

_DECISIONS: tuple[Decision, ...] = ((False, False), (False, True), (True, False), (True, True))


class ShadowModel:
    """The challenger, and how it does beside the champion.

    It is given whole chunks. A model changes at the end of a chunk only, so its scores there are
    those that it would have given as the events came.

    State: the model's, the labels' verdict, four counts.

    Attributes:
        model: the challenger.
        feedback: what labels say of its scores; None without labels.
        decisions: events by both models' decision, since it began.
    """

    def __init__(
        self, challenger: ChallengerConfig, config: Config, features: Sequence[str]
    ) -> None:
        """``features``: names of the columns."""
        self._config = detector = challenger.detector
        watches = [_fitting(each, detector) for each in config.drift]
        self.model = Model(detector, config.threshold, watches, features)
        self.feedback = Feedback(config.labels, detector.seed) if config.labels else None
        self.decisions: dict[Decision, int] = dict.fromkeys(_DECISIONS, 0)

    def set_labels(self, ids: Int64, labels: Float64) -> NDArray[np.bool_]:
        """Labels of earlier events; which of them met one that is remembered."""
        found = self.model.correct(ids, labels)
        if self.feedback is not None:
            found |= self.feedback.set_labels(ids, labels)
        return found

    def learn(
        self,
        chunk: Chunk,
        rows: Rows | None,
        labelled: tuple[Rows, Float64],
        sequence: int,
        pace: AlertPace,
    ) -> Float64:
        """Score the full chunk, then learn it.

        Args:
            chunk: as the champion scored it.
            rows: its features as they are to be learnt; None where learning without labels is over.
            labelled: earlier events whose labels are known now, with these.
            sequence: events up to the chunk's end.
            pace: the stream's time at the chunk's end.

        Returns:
            (events,) the challenger's scores.
        """
        model, first = self.model, sequence - chunk.size
        scores = model.score(chunk.rows, 0, chunk.size)
        raised = model.threshold.exceeded(scores, first - model.began)
        for decision in _DECISIONS:
            both = (chunk.raised == decision[0]) & (raised == decision[1])
            self.decisions[decision] += int(np.count_nonzero(both))
        if self.feedback is not None:
            columns = (chunk.times_ms, chunk.ids, chunk.labels, scores, raised)
            self.feedback.offer(*columns, first, model.score_scale)
            self.feedback.judge(pace.now_ms)
        score_scale = model.score_scale
        features = rows.features if rows is not None else chunk.rows.features
        model.answer(model.watch(features, scores, *labelled), sequence)
        if rows is not None:
            model.learn(rows, sequence)
        model.learn_labels(*labelled, sequence)
        model.learn_threshold(scores, raised, pace, score_scale, sequence)
        return scores

    def state(self) -> State:
        """The model and how it did."""
        return {
            "detector": identity(self._config),
            "model": self.model.state(),
            "feedback": self.feedback.state() if self.feedback is not None else None,
            "decisions": [self.decisions[decision] for decision in _DECISIONS],
        }

    def restore(self, state: State | None, sequence: int) -> None:
        """Continue from ``state``; without one, or with another detector's, begin at ``sequence``.

        Raises ``StateMismatchError`` where it is of this detector and does not fit.
        """
        if state is None or state["detector"] != identity(self._config):
            self.model.began = sequence
            return
        self.model.restore(state["model"])
        if self.feedback is not None and state["feedback"] is not None:
            self.feedback.restore(state["feedback"])
        self.decisions = dict(zip(_DECISIONS, map(int, state["decisions"]), strict=True))


def promoted(state: State, config: Config) -> State:
    """A pipeline's state with the roles of its two models exchanged.

    Args:
        state: with a challenger.
        config: of before the promotion.
    """
    challenger = state["challenger"]
    return {
        **state,
        **challenger["model"],
        "feedback": challenger["feedback"],
        "challenger": {
            "detector": identity(config.detector),
            "model": {name: state[name] for name in challenger["model"]},
            "feedback": state["feedback"],
            "decisions": [0] * len(_DECISIONS),
        },
    }


def _fitting(drift: DriftConfig, detector: DetectorConfig) -> DriftConfig:
    """The section `drift` is made for the champion; what this model cannot answer, it leaves."""
    if drift_mistake(drift, detector) is None:
        return drift
    return drift.model_copy(update={"answer": "none", "member": None})
