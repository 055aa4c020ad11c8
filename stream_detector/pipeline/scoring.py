"""Scoring with a version of the model: pure, so that it can be done anywhere.

A version is what of the state has a part in scores, as the last full chunk left it: running
moments, the detector without what it only learns from, the threshold. It is arrays and JSON.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_detector.detectors.base import Rows
from stream_detector.detectors.stored import read_branch
from stream_detector.events import Float64, State
from stream_detector.features import Calendar
from stream_detector.pipeline.model import Model
from stream_detector.scaling import RunningScaler


@dataclass(frozen=True, slots=True)
class ScoredRows:
    """Features, scores and decisions of consecutive events.

    Attributes:
        raw: (events, features) float64, as extracted.
        rows: the same as they were scored.
        scores: (events,) float64.
        raised: (events,) bool, above the threshold.
        score_scale: number of the scale that the scores are on.
    """

    raw: Float64
    rows: Rows
    scores: Float64
    raised: NDArray[np.bool_]
    score_scale: int

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, rows: slice) -> ScoredRows:
        """The events of a slice."""
        scores, raised = self.scores[rows], self.raised[rows]
        return ScoredRows(self.raw[rows], self.rows.take(rows), scores, raised, self.score_scale)


class Scoring:
    """Scores by the scaler and the model that it is given; changes neither."""

    def __init__(self, calendar: Calendar, scaler: RunningScaler, model: Model) -> None:
        """Take the parts; their owner goes on learning with them, between two calls."""
        self._calendar, self._scaler, self._model = calendar, scaler, model

    def prepare(self, raw: Float64) -> Rows:
        """Features as they are scored; ``raw``: (events, features) as extracted."""
        imputed = self._scaler.impute(self._calendar.scored(raw))
        return Rows(imputed, self._scaler.standardise(imputed))

    def judge(self, scores: Float64, sequence: int) -> NDArray[np.bool_]:
        """Tell which scores alert; ``sequence``: events of the stream before the first."""
        return self._model.threshold.exceeded(scores, sequence - self._model.began)

    def score(self, raw: Float64, sequence: int) -> ScoredRows:
        """Score events as the chunk that they belong to will hold them.

        Args:
            raw: (events, features) float64, as extracted.
            sequence: events of the stream before the first. Chunks are whole blocks, so it tells
                each row's place in its block, which the last bits of a score depend on.
        """
        rows, block = self.prepare(raw), self._model.detector.block_rows
        first = sequence % block
        last = first + len(raw)
        shape = (-(-last // block) * block, raw.shape[1])
        padded = Rows(np.zeros(shape), np.zeros(shape))
        padded.features[first:last], padded.standardised[first:last] = (
            rows.features,
            rows.standardised,
        )
        scores = self._model.score(padded, first, last)
        raised = self.judge(scores, sequence)
        return ScoredRows(raw, rows, scores, raised, self._model.score_scale)

    def version(self) -> State:
        """What scoring needs, copied: later learning does not reach into it."""
        return {"scaler": self._scaler.state(), "model": self._model.version()}

    def use(self, version: State) -> None:
        """Score by a version from now on. Raises ``StateMismatchError`` where it does not fit."""
        self._scaler.restore(read_branch(version, "scaler"))
        self._model.use(read_branch(version, "model"))
