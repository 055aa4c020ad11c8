"""ROC and precision-recall curves with intervals, and what a score has meant: calibration."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from stream_detector.evaluation.bootstrap import RankCounts, Units, interval
from stream_detector.events import Float64, Int64

FALSE_POSITIVE_RATES: Float64 = np.unique(
    np.concatenate([np.linspace(0, 1, 101), np.logspace(-5, 0, 51)])
)
RECALLS: Float64 = np.linspace(0.01, 1, 100)

_LEAST_IN_GROUP = 30
_GROUP_ENDS = (
    *(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
    *(0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 1.0),
)
"""Tenths, and finer towards the top, where the alerts are."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A curve with the limits of its points.

    Attributes:
        x: (points,) where it is given.
        y: (points,) its values.
        low: (points,) 2.5 % quantile of the resamples, point by point; None without resamples.
        high: (points,) 97.5 % quantile, likewise.
    """

    x: Float64
    y: Float64
    low: Float64 | None = None
    high: Float64 | None = None

    def at(self, x: float) -> tuple[float, float | None, float | None]:
        """Value and limits at the point nearest to ``x``."""
        place = int(np.abs(self.x - x).argmin())
        limits = (None if each is None else float(each[place]) for each in (self.low, self.high))
        low, high = limits
        return float(self.y[place]), low, high


@dataclass(frozen=True, slots=True)
class Group:
    """Events of neighbouring scores.

    Attributes:
        first_share: share of all events that score lower.
        last_share: share of all events up to its highest score.
        events: how many.
        positives: of them.
        rate: share of positives.
        low: lower limit of the rate; None without resamples.
        high: upper limit, likewise.
        predicted: mean probability that was predicted; None for scores that are none.
        scores: lowest and highest score.
    """

    first_share: float
    last_share: float
    events: int
    positives: int
    rate: float
    low: float | None
    high: float | None
    predicted: float | None
    scores: tuple[float, float]


def ranking_curves(
    labels: Float64, scores: Float64, units: Units, weights: Int64 | None
) -> tuple[Curve, Curve]:
    """The ROC curve (recall by false positive rate) and the precision-recall curve.

    Args:
        labels: (events,) 1 or 0, both there.
        scores: (events,) float64.
        units: what is resampled.
        weights: (resamples, units) of ``draw_weights``; None for no limits.
    """
    counts = RankCounts(labels, scores, units)
    recall, precision = _points(counts, np.ones((1, units.count), np.int64))
    if weights is None:
        return Curve(FALSE_POSITIVE_RATES, recall[0]), Curve(RECALLS, precision[0])
    drawn_recall, drawn_precision = _points(counts, weights)
    return (
        Curve(FALSE_POSITIVE_RATES, recall[0], *_limits(drawn_recall)),
        Curve(RECALLS, precision[0], *_limits(drawn_precision)),
    )


def _points(counts: RankCounts, weights: Int64) -> tuple[Float64, Float64]:
    """(resamples, rates) recall and (resamples, recalls) precision; NaN where a class is absent."""
    recalls, precisions = [], []
    for all_found, all_false in counts.found_and_false(weights):
        for found, false in zip(all_found, all_false, strict=True):
            if found[-1] == 0 or false[-1] == 0:
                recalls.append(np.full(len(FALSE_POSITIVE_RATES), np.nan))
                precisions.append(np.full(len(RECALLS), np.nan))
                continue
            # From the corner on; where the curve rises straight up, the upper end counts.
            rates = np.concatenate([[0.0], false / false[-1]])
            reached = np.concatenate([[0.0], found / found[-1]])
            recalls.append(np.interp(FALSE_POSITIVE_RATES, rates, reached))
            # The highest threshold that finds as much. Rounding must not ask for one more.
            places = np.searchsorted(found, RECALLS * found[-1] - 1e-9)
            precisions.append(found[places] / (found[places] + false[places]))
    return np.array(recalls), np.array(precisions)


def _limits(drawn: Float64) -> tuple[Float64, Float64]:
    limits = [interval(point) or (np.nan, np.nan) for point in drawn.T]
    low, high = np.array(limits).T
    return low, high


def score_groups(
    labels: Float64,
    scores: Float64,
    units: Units,
    weights: Int64 | None,
    *,
    log_odds: bool,
) -> list[Group]:
    """Observed rates of groups of neighbouring scores, from the lowest to the highest.

    Groups are tenths of the events and finer ones at the top; those with fewer than 30 events are
    joined with the one below, and equal scores are never parted.

    Args:
        labels: (events,) 1 or 0, at least one.
        scores: (events,) float64.
        units: what is resampled.
        weights: (resamples, units); None for no limits.
        log_odds: whether the scores are log odds of being positive.
    """
    order = np.argsort(scores, kind="stable")
    rising = scores[order]
    bounds = _bounds(rising)
    result = []
    for first, last in pairwise(bounds):
        rows = order[first:last]
        positive = labels[rows] > 0
        limits = _rate_limits(units.of_event[rows], positive, units.count, weights)
        predicted = float(probability(scores[rows]).mean()) if log_odds else None
        result.append(
            Group(
                first_share=first / len(scores),
                last_share=last / len(scores),
                events=len(rows),
                positives=int(positive.sum()),
                rate=float(positive.mean()),
                low=limits[0] if limits else None,
                high=limits[1] if limits else None,
                predicted=predicted,
                scores=(float(rising[first]), float(rising[last - 1])),
            )
        )
    return result


def probability(log_odds: Float64) -> Float64:
    """1 / (1 + exp(-x)), without overflow."""
    small = np.exp(-np.abs(log_odds))
    return np.where(log_odds >= 0, 1 / (1 + small), small / (1 + small))


def _bounds(rising: Float64) -> list[int]:
    count = len(rising)
    bounds = [0]
    for share in _GROUP_ENDS[:-1]:
        place = round(share * count)
        # Equal scores belong together: all of them go up.
        place = int(np.searchsorted(rising, rising[min(place, count - 1)]))
        if place - bounds[-1] >= _LEAST_IN_GROUP and count - place >= _LEAST_IN_GROUP:
            bounds.append(place)
    return [*bounds, count]


def _rate_limits(
    unit: Int64, positive: NDArray[np.bool_], units: int, weights: Int64 | None
) -> tuple[float, float] | None:
    if weights is None:
        return None
    events = weights @ np.bincount(unit, minlength=units)
    positives = weights @ np.bincount(unit[positive], minlength=units)
    rates = np.full(len(weights), np.nan)
    np.divide(positives, events, out=rates, where=events > 0)
    return interval(rates)
