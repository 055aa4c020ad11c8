"""Judgement of earlier scores by their labels: right alerts, misses, and the order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_detector.config.models.config import LabelsConfig
from stream_detector.detectors.stored import (
    LARGEST_COUNT,
    read_array,
    read_branch,
    read_count,
)
from stream_detector.errors import StateMismatchError
from stream_detector.events import Float64, Int64, State
from stream_detector.labels.scored_events import ScoredEvents
from stream_detector.labels.waiting_rows import WaitingRows

JUDGED_ROWS = 20_000
"""Labelled rows that the figures are made of: at 4 % kept, the last half million events."""

PRECISION_AT = (10, 100, 1000)

Case = tuple[bool, bool]
"""Whether an event was anomalous, and whether its score was over the threshold."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """Ranking quality of the latest labelled scores; each between 0 and 1.

    Attributes:
        auc: probability that an anomalous event has the higher score than a normal one.
        average_precision: area under the curve of precision over recall.
        precision_at: by k, the share of anomalous events among the k highest scores.
    """

    auc: float
    average_precision: float
    precision_at: Mapping[int, float]


class Feedback:
    """Keeps score and decision of events until their label is due, then holds them to it.

    Every event over the threshold waits, and of the others those that ``labels.keep_first``,
    ``keep_top`` and ``keep_random`` choose, each with the number of events that it stands for.
    Learns nothing and changes no score.

    State: the rows that wait (at most ``labels.max_waiting``), the last ``JUDGED_ROWS`` labelled
    rows, four sums.
    """

    def __init__(self, labels: LabelsConfig, seed: int) -> None:
        """``seed``: of the choice by chance."""
        kept: dict[str, tuple[type, int]] = {
            "score": (np.float64, 0),
            "raised": (np.bool_, 0),
            "weight": (np.float64, 0),
            "regime": (np.int64, 0),
        }
        self._rows = WaitingRows(labels, seed, kept)
        self._judged = np.empty((0, 3))  # score, label, weight; oldest first
        self._score_scale = 0
        self.cases: dict[Case, float] = {
            (anomalous, raised): 0.0 for anomalous in (True, False) for raised in (True, False)
        }

    @property
    def waiting(self) -> int:
        """Rows that wait now."""
        return self._rows.waiting

    def offer(self, events: ScoredEvents) -> None:
        """Let those of a full chunk's events wait that tell something."""
        if events.score_scale != self._score_scale:
            self._score_scale, self._judged = events.score_scale, self._judged[:0]
        weights = self._rows.weigh(events)
        weights[events.raised] = 1.0
        scale = np.full(len(events), events.score_scale)
        columns = {"score": events.scores, "raised": events.raised, "weight": weights}
        self._rows.add(events, weights, {**columns, "regime": scale})

    def set_labels(self, ids: Int64, labels: Float64) -> NDArray[np.bool_]:
        """Labels of waiting rows, by identity; which of them found theirs."""
        return self._rows.set_labels(ids, labels)

    def judge(self, now_ms: int) -> None:
        """Take the rows whose delay is over at ``now_ms`` of event time into the figures."""
        due = self._rows.mature(now_ms)
        if not len(due["label"]):
            return
        anomalous, weights, raised = due["label"] > 0, due["weight"], due["raised"]
        for case in self.cases:
            self.cases[case] += float(weights[(anomalous == case[0]) & (raised == case[1])].sum())
        rows = np.column_stack([due["score"], anomalous, weights])
        rows = rows[due["regime"] == self._score_scale]
        self._judged = np.concatenate([self._judged, rows])[-JUDGED_ROWS:]

    def go_back(self, mark_ms: int) -> None:
        """The watermark was wrong and is ``mark_ms``."""
        self._rows.go_back(mark_ms)

    def figures(self) -> Ranking | None:
        """Return the figures of the last labelled rows; None until both classes are among them."""
        scores, anomalous, weights = self._judged.T
        order = np.argsort(-scores, kind="stable")
        scores, weights = scores[order], weights[order]
        # Rows of the same score count together.
        ends = np.flatnonzero(np.diff(scores, append=-np.inf))
        hits = np.cumsum(weights * anomalous[order])[ends]
        false = np.cumsum(weights * (1.0 - anomalous[order]))[ends]
        if not len(ends) or hits[-1] <= 0 or false[-1] <= 0:
            return None
        recall, false_rate = hits / hits[-1], false / false[-1]
        steps = np.diff(false_rate, prepend=0.0)
        auc = float(np.sum(steps * (recall + np.concatenate([[0.0], recall[:-1]])) / 2))
        precision = hits / (hits + false)
        average = float(np.sum(np.diff(recall, prepend=0.0) * precision))
        return Ranking(auc, average, {k: _precision(hits, false, k) for k in PRECISION_AT})

    def state(self) -> State:
        """The rows that wait, those judged, the sums."""
        cases = [self.cases[case] for case in sorted(self.cases)]
        return {
            "waiting": self._rows.state(),
            "judged": self._judged.copy(),
            "regime": self._score_scale,
            "cases": np.array(cases),
        }

    def restore(self, state: State) -> None:
        """Take ``state`` in. Raises ``StateMismatchError`` where it does not fit."""
        judged = read_array(state, "judged", (-1, 3))
        fits = np.isin(judged[:, 1], (0.0, 1.0)).all() and (judged[:, 2] >= 0).all()
        if len(judged) > JUDGED_ROWS or not fits:
            raise StateMismatchError("judged rows are no scores, labels and weights")
        scale = read_count(state, "regime")
        sums = read_array(state, "cases", (len(self.cases),), low=0.0)
        waiting = read_branch(state, "waiting")
        read_array(waiting, "weight", (-1,), low=0.0, high=LARGEST_COUNT)
        self._rows.restore(waiting)
        self._judged, self._score_scale = judged, scale
        self.cases = dict(zip(sorted(self.cases), sums.tolist(), strict=True))


def _precision(hits: Float64, false: Float64, k: int) -> float:
    """Share of hits among the ``k`` highest; among all where there are fewer.

    Within a step of equal scores, or a row that stands for many, the hits are spread evenly.
    """
    total = hits + false
    wanted = min(float(k), float(total[-1]))
    found = np.interp(wanted, np.concatenate([[0.0], total]), np.concatenate([[0.0], hits]))
    return float(found) / wanted
