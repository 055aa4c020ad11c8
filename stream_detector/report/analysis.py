"""All numbers of a report, computed once; what draws them computes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_detector.config.derived.field_plan import FieldPlan
from stream_detector.config.models.config import Config
from stream_detector.drift import DriftEvent
from stream_detector.evaluation.backtest import Scored
from stream_detector.evaluation.bootstrap import RESAMPLES, Units, draw_weights
from stream_detector.evaluation.curves import (
    Curve,
    Group,
    probability,
    ranking_curves,
    score_groups,
)
from stream_detector.evaluation.figures import figures
from stream_detector.evaluation.monitor_samples import KeySeries, MonitorSamples
from stream_detector.evaluation.paired_comparison import Comparison, Estimate, compare
from stream_detector.evaluation.population_stability import Drift, feature_drift
from stream_detector.evaluation.report_samples import ReportSamples, SeenAlert
from stream_detector.evaluation.time_slices import BudgetWindows, Days, budget_windows, days
from stream_detector.events import Float64, Int64
from stream_detector.features import FeatureExtractor

_CLASSIFIER = "classifier"


@dataclass(frozen=True, slots=True)
class Provenance:
    """Provenance of a report: file, configuration, versions, time.

    Attributes:
        data: name of the file, without its directory.
        size_bytes: of the file; None for a pipe.
        data_fingerprint: BLAKE2b of its bytes; None for a pipe.
        limit: ``--limit``, where it was given.
        made: date and time, for people.
        versions: of programme, Python and libraries.
        state_fingerprint: of the configuration's parts that shape state.
        score_fingerprint: running hash over all scores; equal runs, equal hash.
    """

    data: str
    size_bytes: int | None
    data_fingerprint: str | None
    limit: int | None
    made: str
    versions: Mapping[str, str]
    state_fingerprint: str
    score_fingerprint: str


@dataclass(frozen=True, slots=True)
class Judged:
    """Figures of the scores that need labels.

    Attributes:
        known: (accepted events,) bool, which events count.
        labels: (events,) 1 or 0.
        scores: (events,) float64.
        comparison: the ranking figures with their intervals.
        curves: ROC and precision-recall; None where one class is absent.
        groups: observed rates of groups of scores.
        brier: mean squared error of the probabilities, and that of always giving the share of
            positives; None where scores are no probabilities.
        calibrated: events that ``groups`` are made of.
        days: None without times.
    """

    known: NDArray[np.bool_]
    labels: Float64
    scores: Float64
    comparison: Comparison
    curves: tuple[Curve, Curve] | None
    groups: list[Group]
    brier: tuple[float, float] | None
    calibrated: int
    days: Days | None

    def estimate(self, name: str) -> Estimate | None:
        """A ranking figure, where it can be had."""
        return self.comparison.figures[0].get(name)


@dataclass(frozen=True, slots=True)
class Analysis:
    """Everything that a report shows.

    Attributes:
        config: the configuration.
        provenance: where it comes from.
        scored: the run; at least one accepted event.
        figures: of ``evaluation.figures``.
        skip: first events left out of what labels make.
        thresholds: (changes,) first event and value of each threshold.
        score_scales: (score_scale, first event, end) of stretches with scores on one scale.
        budget: alerts of windows; None for too few events.
        drift: of the features; None for too few events.
        changes: drifts found while running, each with the events so far; at most 20.
        top_alerts: the rarest first.
        reasons: by feature, how often it led: [label 0, 1, unknown].
        judged: None without any label.
        monitor_series: counts and bands by monitor and key.
    """

    config: Config
    provenance: Provenance
    scored: Scored
    figures: Mapping[str, Any]
    skip: int
    thresholds: tuple[Int64, Float64]
    score_scales: list[tuple[int, int, int]]
    budget: BudgetWindows | None
    drift: Drift | None
    changes: list[tuple[int, DriftEvent]]
    top_alerts: list[SeenAlert]
    reasons: Mapping[str, list[int]]
    judged: Judged | None
    monitor_series: Mapping[str, dict[str, KeySeries]]


def analyse(
    config: Config,
    scored: Scored,
    samples: ReportSamples,
    provenance: Provenance,
    *,
    skip: int = 0,
    resamples: int = RESAMPLES,
    monitors: MonitorSamples | None = None,
) -> Analysis:
    """Compute all numbers of a report.

    Args:
        config: the configuration of the run.
        scored: the run, at least one accepted event.
        samples: what was seen of it.
        provenance: where it comes from.
        skip: first events left out of every figure that a label makes (a cold start).
        resamples: of the bootstrap.
        monitors: what was seen of the monitors' buckets.
    """
    score_scales = list(samples.score_scales(len(scored.scores)))
    features = FeatureExtractor(config, FieldPlan.of(config))
    return Analysis(
        config=config,
        provenance=provenance,
        scored=scored,
        figures=figures(scored, skip=skip),
        skip=skip,
        thresholds=samples.thresholds(),
        score_scales=score_scales,
        budget=budget_windows(scored, config.threshold.budget, config.threshold.burn_in),
        drift=feature_drift(samples.features, features.groups, features.in_units),
        changes=samples.changes,
        top_alerts=samples.top_alerts(),
        reasons=samples.reasons,
        judged=_judged(config, scored, score_scales, skip, resamples),
        monitor_series={} if monitors is None else monitors.series,
    )


def _judged(
    config: Config,
    scored: Scored,
    score_scales: list[tuple[int, int, int]],
    skip: int,
    resamples: int,
) -> Judged | None:
    known = ~np.isnan(scored.labels)
    known[:skip] = False
    if not known.any():
        return None
    labels, scores, times_ms = scored.labels[known], scored.scores[known], scored.times_ms[known]
    units = Units.of(times_ms, has_time=scored.has_time)
    both = 0 < labels.sum() < len(labels)
    weights = draw_weights(units, resamples) if units.enough and both else None
    curves = ranking_curves(labels, scores, units, weights) if both else None
    same_scale, log_odds = _of_last_scale(config, score_scales, known)
    brier = None
    if log_odds:
        brier = _brier(labels[same_scale], scores[same_scale])
    groups = score_groups(
        labels[same_scale],
        scores[same_scale],
        Units(units.of_event[same_scale], units.count, units.kind, units.mean_block),
        weights,
        log_odds=log_odds,
    )
    return Judged(
        known=known,
        labels=labels,
        scores=scores,
        comparison=compare([scored], skip=skip, resamples=resamples),
        curves=curves,
        groups=groups,
        brier=brier,
        calibrated=int(same_scale.sum()),
        days=days(labels, scores, times_ms) if scored.has_time else None,
    )


def _of_last_scale(
    config: Config, score_scales: list[tuple[int, int, int]], known: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], bool]:
    """Select the known events with scores on the last scale, and tell whether that is log odds.

    Where none of the events is known there, all of them, on no scale in particular.
    """
    score_scale, first, _ = score_scales[-1]
    same_scale: NDArray[np.bool_] = np.flatnonzero(known) >= first
    if not same_scale.any():
        return np.ones_like(same_scale), False
    return same_scale, config.detector.kind == _CLASSIFIER and score_scale == 1


def _brier(labels: Float64, log_odds: Float64) -> tuple[float, float]:
    """Brier 1950, Verification of forecasts expressed in terms of probability."""
    error = float(((probability(log_odds) - labels) ** 2).mean())
    share = float(labels.mean())
    return error, share * (1 - share)
