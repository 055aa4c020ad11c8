"""Several runs over the same events: figures with intervals, and paired differences."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stream_detector.errors import ConfigurationError
from stream_detector.evaluation.backtest import Scored
from stream_detector.evaluation.bootstrap import (
    RESAMPLES,
    RankCounts,
    Units,
    draw_weights,
    interval,
)
from stream_detector.evaluation.figures import precision_of_days
from stream_detector.events import Float64, Int64

RANKING_FIGURES = ("roc_auc", "average_precision", "precision_at_100_per_day")


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure or a difference of two, with its 95 % interval where one can be had."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def verdict(self) -> str:
        """Judge a difference: ``better`` or ``worse`` if zero lies outside, else ``undecided``."""
        if self.low is not None and self.low > 0:
            return "better"
        if self.high is not None and self.high < 0:
            return "worse"
        return "undecided"


@dataclass(frozen=True, slots=True)
class Events:
    """Ranked events apart from their scores: one label and time each.

    Attributes:
        labels: (events,) 1 or 0.
        times_ms: (events,) event time.
        has_time: whether the times are the events' own.
    """

    labels: Float64
    times_ms: Int64
    has_time: bool

    @property
    def both_classes(self) -> bool:
        """Tell whether there is anything to rank."""
        return 0 < int(self.labels.sum()) < len(self.labels)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Figures of runs and the differences of all pairs.

    Attributes:
        events: compared, with a known label.
        positives: of them.
        left_out: events that at least one run rejected, or that lie before ``skip``.
        units: what was resampled: ``days`` or ``rows``.
        unit_count: how many there are.
        mean_block: mean length of a block, in units.
        resamples: how many were drawn; 0 where the stream is too short for intervals.
        figures: of each run, by name; a figure that cannot be had is absent.
        differences: by (later run, earlier run): the later one's figure minus the earlier one's.
    """

    events: int
    positives: int
    left_out: int
    units: str
    unit_count: int
    mean_block: float
    resamples: int
    figures: list[dict[str, Estimate]]
    differences: dict[tuple[int, int], dict[str, Estimate]]


def compare(
    runs: Sequence[Scored], *, skip: int = 0, resamples: int = RESAMPLES, seed: int = 0
) -> Comparison:
    """Compare runs over one file, on the events that all of them scored.

    Args:
        runs: one for each configuration.
        skip: first events left out (a cold start).
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        ConfigurationError: the runs have different labels for an event.
    """
    common = runs[0].rows
    for run in runs[1:]:
        common = np.intersect1d(common, run.rows, assume_unique=True)
    places = [np.searchsorted(run.rows, common) for run in runs]
    labels = runs[0].labels[places[0]]
    for run, place in zip(runs[1:], places[1:], strict=True):
        if not np.array_equal(labels, run.labels[place], equal_nan=True):
            raise ConfigurationError(
                "the configurations read different labels: give the column with --label"
            )
    known = ~np.isnan(labels)
    known[:skip] = False
    timed = next((i for i, run in enumerate(runs) if run.has_time), 0)
    events = Events(
        labels=labels[known],
        times_ms=runs[timed].times_ms[places[timed]][known],
        has_time=runs[timed].has_time,
    )
    scores = [run.scores[place][known] for run, place in zip(runs, places, strict=True)]
    every = max(len(run.scores) + sum(run.rejected.values()) for run in runs)
    left_out = every - len(common) + min(skip, len(common))
    return compare_scores(events, scores, left_out=left_out, resamples=resamples, seed=seed)


def compare_scores(
    events: Events,
    scores: Sequence[Float64],
    *,
    left_out: int = 0,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """As ``compare``, of scores (events,) that stand side by side already."""
    units = Units.of(events.times_ms, has_time=events.has_time)
    figures = [point_figures(events, each) for each in scores]
    drawn: list[dict[str, Float64]] = [{} for _ in scores]
    if units.enough and events.both_classes:
        # The same resamples for all: what is hard for one is hard for the other, so the
        # difference is known far better than either figure.
        weights = draw_weights(units, resamples, seed)
        drawn = [
            _drawn(events, each, units, weights, point)
            for each, point in zip(scores, figures, strict=True)
        ]
    return Comparison(
        events=len(events.labels),
        positives=int(events.labels.sum()),
        left_out=left_out,
        units=units.kind,
        unit_count=units.count,
        mean_block=units.mean_block,
        resamples=resamples if drawn[0] else 0,
        figures=[
            {name: _estimate(value, draws.get(name)) for name, value in point.items()}
            for point, draws in zip(figures, drawn, strict=True)
        ],
        differences={
            (later, earlier): {
                name: _estimate(
                    figures[later][name] - figures[earlier][name],
                    drawn[later][name] - drawn[earlier][name] if name in drawn[later] else None,
                )
                for name in figures[later]
            }
            for earlier, later in itertools.combinations(range(len(scores)), 2)
        },
    )


def point_figures(events: Events, scores: Float64) -> dict[str, float]:
    """The ranking figures themselves; empty where one class is absent."""
    from sklearn.metrics import average_precision_score, roc_auc_score  # noqa: PLC0415 - takes a second

    if not events.both_classes:
        return {}
    result = {
        "roc_auc": float(roc_auc_score(events.labels, scores)),
        "average_precision": float(average_precision_score(events.labels, scores)),
    }
    if events.has_time:
        days = precision_of_days(events.labels, scores, events.times_ms)
        result["precision_at_100_per_day"] = float(days.mean())
    return result


def _drawn(
    events: Events, scores: Float64, units: Units, weights: Int64, point: dict[str, float]
) -> dict[str, Float64]:
    """(resamples,) of each figure."""
    counts = RankCounts(events.labels, scores, units)
    result = dict(zip(RANKING_FIGURES, counts.figures(weights), strict=False))
    if not counts.exact:
        whole = counts.figures(np.ones((1, units.count), np.int64))
        for name, (binned,) in zip(RANKING_FIGURES, whole, strict=False):
            result[name] = result[name] + (point[name] - binned)
    if "precision_at_100_per_day" in point and units.kind == "days":
        days = precision_of_days(events.labels, scores, events.times_ms)
        result["precision_at_100_per_day"] = weights @ days / weights.sum(axis=1)
    return result


def _estimate(value: float, draws: Float64 | None) -> Estimate:
    limits = interval(draws) if draws is not None else None
    return Estimate(value) if limits is None else Estimate(value, *limits)
