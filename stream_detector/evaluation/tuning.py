"""Random search over a detector's parameters on a stream, in the order of time.

The stream is cut into three parts, one after the other, and every run goes through it from its
beginning, each event scored before it is learnt:

1. *search*, the first 60 %: candidates are compared here. It is cut into twelve folds with rolling
   origin (Tashman 2000, International Journal of Forecasting 16, 437 to 450): each fold after the
   first is judged by a model that has learnt everything before it. A candidate's figure is the
   mean over its folds, so scores need not be comparable from one fold to another.
2. *confirmation*, the next 20 %: the best candidate meets the original once. It is taken only if
   the interval of the paired difference lies above zero. The best of many is always partly the
   luckiest, and this part has not seen the luck.
3. *held out*, the last 20 %: both are reported here, once, and nothing is decided by it.

The search is successive halving (Jamieson and Talwalkar 2016, AISTATS) over growing prefixes:
sixteen candidates on a quarter of the search part, the better half of them on half of it, and the
better half of those on all of it. Further brackets of sixteen follow while there is time.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stream_detector.config.models.config import DetectorConfig
from stream_detector.detectors.registry import search_space
from stream_detector.errors import ConfigurationError
from stream_detector.evaluation.feature_replay import Recording, replay
from stream_detector.evaluation.paired_comparison import (
    Comparison,
    Events,
    compare_scores,
    point_figures,
)
from stream_detector.evaluation.search_space import changes, draw_detector
from stream_detector.evaluation.side_by_side import Replays, one_by_one
from stream_detector.events import Float64

SEARCH_SHARE = 0.6
CONFIRMATION_SHARE = 0.2
FOLDS = 12
RUNGS = (3, 6, 12)
"""Folds that a candidate goes through before the next halving."""

BRACKET = 16
_REDRAWS = 50


@dataclass(slots=True)
class Trial:
    """A candidate and how far it came.

    Attributes:
        number: counted from 1.
        detector: its parameters.
        changed: those in which it differs from the original.
        figures: mean over the later folds of each rung it went through.
        folds: figures of the single ones of the last rung; NaN where a class is absent.
    """

    number: int
    detector: DetectorConfig
    changed: dict[str, Any]
    figures: list[float] = field(default_factory=list)
    folds: list[float] = field(default_factory=list)

    @property
    def finished(self) -> bool:
        """Tell whether the trial went through the whole search part."""
        return len(self.figures) == len(RUNGS)


@dataclass(frozen=True, slots=True)
class Tuning:
    """Outcome of a search.

    Attributes:
        detector: the one to use; the original where ``better`` is false.
        better: whether a candidate takes the original's place.
        reason: why, or why not, in a sentence.
        criterion: the figure that was compared.
        original: as a trial of number 0.
        best: the best candidate of the search, if one went through all of it.
        trials: all candidates, in the order they were drawn.
        parts: events of the search, the confirmation and the held-out part.
        confirmation: original and best on the confirmation part, None without a best.
        held_out: original and best (the original alone without one) on the held-out part.
    """

    detector: DetectorConfig
    better: bool
    reason: str
    criterion: str
    original: Trial
    best: Trial | None
    trials: list[Trial]
    parts: tuple[int, int, int]
    confirmation: Comparison | None
    held_out: Comparison


class _Search:
    """Successive halving on the search part. Holds the trials, never a pipeline."""

    def __init__(
        self,
        recording: Recording,
        criterion: str,
        seed: int,
        replays: Replays,
    ) -> None:
        self._recording = recording
        self._criterion = criterion
        self._random = np.random.default_rng(seed)
        self._replays = replays
        self.edges = np.linspace(0, int(len(recording) * SEARCH_SHARE), FOLDS + 1).astype(int)
        detector = recording.config.detector
        self.original = Trial(0, detector, {})
        self.trials: list[Trial] = []
        self._tried = [detector.model_dump()]
        scores = recording.scored.scores
        for rung in RUNGS:
            self._judge(self.original, scores, rung)
        if not np.isfinite(self.original.figures[-1]):
            raise ConfigurationError(
                f"the first {self.edges[-1]:,} events have no fold with labels of both classes: "
                "there is nothing to choose by"
            )

    def bracket(self, size: int) -> None:
        """Draw ``size`` candidates and halve them; stops where it is asked to give up."""
        standing = list(itertools.islice(self._draw(), size))
        for rung in RUNGS:
            runs = self._replays([trial.detector for trial in standing], int(self.edges[rung]))
            for trial, scores in zip(standing, runs, strict=False):
                if scores is None:
                    return
                self._judge(trial, scores, rung)
            # A prefix without both classes tells nobody apart, so all of them go on.
            if not np.isnan(self.original.figures[RUNGS.index(rung)]):
                standing.sort(key=lambda trial: (-_rank(trial.figures[-1]), trial.number))
                standing = standing[: (len(standing) + 1) // 2]

    def _draw(self) -> Iterator[Trial]:
        space = search_space(self.original.detector.kind)
        while True:
            for _ in range(_REDRAWS):
                detector = draw_detector(self.original.detector, space, self._random)
                if detector.model_dump() not in self._tried:
                    break
            else:
                return  # a small space has nothing new left
            self._tried.append(detector.model_dump())
            changed = changes(self.original.detector, detector)
            trial = Trial(len(self.trials) + 1, detector, changed)
            self.trials.append(trial)
            yield trial

    def _judge(self, trial: Trial, scores: Float64, rung: int) -> None:
        trial.folds = []
        for start, stop in itertools.pairwise(self.edges[rung // 2 : rung + 1]):
            rows = slice(int(start), int(stop))
            if np.isfinite(scores[rows]).all():
                events, (known,) = _part(self._recording, rows, [scores])
                figures = point_figures(events, known)
                trial.folds.append(figures.get(self._criterion, np.nan))
            else:
                trial.folds.append(-np.inf)  # the candidate has run off into nowhere
        judged = [value for value in trial.folds if not np.isnan(value)]
        trial.figures.append(float(np.mean(judged)) if judged else np.nan)


def tune(
    recording: Recording,
    *,
    criterion: str = "average_precision",
    seed: int = 0,
    trials: int | None = None,
    bracket: int = BRACKET,
    give_up: Callable[[], bool] = lambda: False,
    progress: Callable[[int], None] = lambda _events: None,
    replays: Replays | None = None,
) -> Tuning:
    """Search, confirm, report.

    Args:
        recording: a file's events, with the original's scores.
        criterion: ``average_precision``, ``roc_auc`` or ``precision_at_100_per_day``.
        seed: fixes which candidates are tried in which order.
        trials: how many. Without it, until ``give_up`` or until a small space is exhausted.
        bracket: candidates that are halved together.
        give_up: asked before each batch whether the search has to end. The one run of the best
            candidate through the whole file still follows.
        progress: called with the number of events of each batch that a trial went through.
        replays: what runs the candidates; without it one after the other, in this process.

    Raises:
        ConfigurationError: no search space for the kind of detector, or no labels to choose by.
    """
    search_space(recording.config.detector.kind)
    if criterion == "precision_at_100_per_day" and not recording.scored.has_time:
        raise ConfigurationError(f"--criterion {criterion}: the events have no time")
    if replays is None:
        replays = one_by_one(recording, give_up, progress)
    search = _Search(recording, criterion, seed, replays)
    while not give_up() and (trials is None or len(search.trials) < trials):
        before = len(search.trials)
        search.bracket(bracket if trials is None else min(bracket, trials - before))
        if len(search.trials) == before:
            break
    finished = [trial for trial in search.trials if trial.finished]
    best = max(finished, key=lambda trial: _rank(trial.figures[-1]), default=None)
    return _verdict(recording, search, best, criterion, progress)


def _verdict(
    recording: Recording,
    search: _Search,
    best: Trial | None,
    criterion: str,
    progress: Callable[[int], None],
) -> Tuning:
    """Let the best candidate meet the original on the parts that it was not chosen by."""
    original = search.original
    events = len(recording)
    first, second = int(search.edges[-1]), int(events * (SEARCH_SHARE + CONFIRMATION_SHARE))
    scores = [recording.scored.scores]
    confirmation: Comparison | None = None
    better = False
    if best is None:
        reason = "no candidate went through the whole search part: give it more time"
    elif _rank(best.figures[-1]) <= original.figures[-1]:
        best, reason = None, "no candidate was better on the search part"
    else:
        run = replay(recording, best.detector, events, progress=progress)
        assert run is not None
        scores.append(run)
        confirmation = compare_scores(*_part(recording, slice(first, second), scores))
        difference = confirmation.differences[1, 0].get(criterion)
        better = difference is not None and difference.verdict == "better"
        if better:
            reason = f"trial {best.number} is better on the confirmation part"
        elif difference is None or difference.low is None:
            reason = "the confirmation part is too short, or has labels of one class only"
        else:
            reason = f"trial {best.number} is not better on the confirmation part beyond chance"
    return Tuning(
        detector=best.detector if better and best is not None else original.detector,
        better=better,
        reason=reason,
        criterion=criterion,
        original=original,
        best=best,
        trials=search.trials,
        parts=(first, second - first, events - second),
        confirmation=confirmation,
        held_out=compare_scores(*_part(recording, slice(second, events), scores)),
    )


def _part(recording: Recording, rows: slice, scores: list[Float64]) -> tuple[Events, list[Float64]]:
    """The events among ``rows`` whose label is known, and scores of them."""
    scored = recording.scored
    known = ~np.isnan(scored.labels[rows])
    events = Events(scored.labels[rows][known], scored.times_ms[rows][known], scored.has_time)
    return events, [each[rows][known] for each in scores]


def _rank(figure: float) -> float:
    """To sort by: a figure that cannot be had comes last."""
    return figure if np.isfinite(figure) else -np.inf
