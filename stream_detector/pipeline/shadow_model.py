"""A second model in the shadow: it scores and learns what the champion does, and raises nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from stream_detector.config.models.config import (
    ChallengerConfig,
    Config,
    DetectorConfig,
    DriftConfig,
    drift_mistake,
)
from stream_detector.detectors.base import Rows
from stream_detector.detectors.registry import identity
from stream_detector.detectors.stored import read_count
from stream_detector.events import Float64, State
from stream_detector.labels import ScoredEvents
from stream_detector.pipeline.chunk import Chunk
from stream_detector.pipeline.figures import Decision, ShadowFigures
from stream_detector.pipeline.late_labels import LabelledRows
from stream_detector.pipeline.model import Model
from stream_detector.threshold import AlertPace

_DECISIONS: tuple[Decision, ...] = ((False, False), (False, True), (True, False), (True, True))


class ShadowModel:
    """The challenger, and how it does beside the champion.

    It is given whole chunks. A model changes at the end of a chunk only, so its scores there are
    those that it would have given as the events came.

    State: the model's, the labels' verdict, four counts.

    Attributes:
        model: the challenger.
        decisions: events by both models' decision, since it began.
    """

    def __init__(
        self, challenger: ChallengerConfig, config: Config, features: Sequence[str]
    ) -> None:
        """``features``: names of the columns."""
        self._config = detector = challenger.detector
        watches = [_fitting(each, detector) for each in config.drift]
        self.model = Model(detector, config.threshold, watches, features, config.labels)
        self.decisions: dict[Decision, int] = dict.fromkeys(_DECISIONS, 0)

    def learn(
        self,
        chunk: Chunk,
        events: ScoredEvents,
        rows: Rows | None,
        labelled: LabelledRows,
        pace: AlertPace,
    ) -> Float64:
        """Score the full chunk, then learn it.

        Args:
            chunk: it.
            events: it, as the champion scored it.
            rows: its features as they are to be learnt; None where learning without labels is over.
            labelled: earlier events whose labels are known now.
            pace: the stream's time at its end.

        Returns:
            (events,) the challenger's scores.
        """
        model = self.model
        scores = model.score(chunk.rows, 0, chunk.size)
        raised = model.threshold.exceeded(scores, events.first - model.began)
        for decision in _DECISIONS:
            both = (events.raised == decision[0]) & (raised == decision[1])
            self.decisions[decision] += int(np.count_nonzero(both))
        own = replace(events, scores=scores, raised=raised, score_scale=model.score_scale)
        features = rows.features if rows is not None else chunk.rows.features
        model.review(own, features, labelled, pace.now_ms)
        model.learn(own, rows, labelled, pace)
        return scores

    def figures(self) -> ShadowFigures:
        """Return how it stands beside the champion."""
        return ShadowFigures(self.model.figures(), dict(self.decisions))

    def state(self, probe: Rows) -> State:
        """The model and how it did; ``probe``: see ``Model.state``."""
        return {
            "detector": identity(self._config),
            "model": self.model.state(probe),
            "feedback": self.model.feedback_state(),
            "decisions": [self.decisions[decision] for decision in _DECISIONS],
        }

    def restore(self, state: State | None, sequence: int, probe: Rows) -> None:
        """Continue from ``state``; without one, or with another detector's, begin at ``sequence``.

        Raises ``StateMismatchError`` where it is of this detector and does not fit.
        """
        if state is None or state["detector"] != identity(self._config):
            self.model.began = sequence
            return
        self.model.restore({**state["model"], "feedback": state["feedback"]}, sequence, probe)
        counts = dict(zip(map(str, _DECISIONS), state["decisions"], strict=True))
        self.decisions = {
            decision: read_count(counts, str(decision), high=sequence) for decision in _DECISIONS
        }


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
