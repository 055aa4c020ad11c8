"""Statistics of a key as of just before an event, of what the event met of the key's history."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stream_detector.config.models.config import Statistic
from stream_detector.events import Float64, Int64
from stream_detector.features.baselines import logarithms
from stream_detector.features.columns import apply_transform

LARGEST_VALUE = 1e30
"""Values are clipped at ± this in a window: squares and their sums stay far from overflow."""

LARGEST_DEVIATION = 100.0
LEAST_EVENTS = 1.5
"""A deviation is unknown (0) below this effective number of events, (sum w)^2 / (sum w^2)."""

LEAST_RELATIVE_DEVIATION = 1e-6
"""A standard deviation counts as at least this share of the mean's size: a key that always had the
same value, and suddenly another, is strange; one whose last digit rounds differently is not."""


@dataclass(frozen=True, slots=True)
class Met:
    """Histories that the events of a batch met, sorted by key.

    Attributes:
        order: (events,) position in the batch of the i-th sorted event.
        before: (moments, events, half-lives) at the key's last event.
        decay: (events, half-lives) since then.
        gap_ms: (events,) since then.
        values: (events,) each event's own.
        faded: (events, half-lives) bursts so far, faded until the event; where they are asked for.
        above: (events,) logarithm over the key's level; where baselines are asked for.
        levels: (events,) that level, NaN of a new key; likewise.
    """

    order: Int64
    before: Float64
    decay: Float64
    gap_ms: Float64
    values: Float64
    faded: Float64
    above: Float64
    levels: Float64

    @classmethod
    def nothing(cls) -> Met:
        """No events."""
        none = np.empty(0)
        return cls(np.empty(0, dtype=np.int64), none, none, none, none, none, none, none)

    def place_of(self, row: int) -> int:
        """Where the event in ``row`` of the batch lies among the sorted ones."""
        return int(np.flatnonzero(self.order == row)[0])

    def again(self, row: int, values: Float64) -> Met:
        """The history of one event of the batch, (1,) long, met by (variants,) other values."""
        place = self.place_of(row)
        one = slice(place, place + 1)  # which the values are held against, all of them
        level = float(self.levels[place])
        # A new key is at its level, whatever its value.
        above = np.zeros(len(values)) if math.isnan(level) else logarithms(values) - level
        return Met(
            self.order,
            self.before[:, one],
            self.decay[one],
            self.gap_ms[one],
            values,
            self.faded[one],
            above,
            self.levels[one],
        )


def statistics_of(  # noqa: C901 - flat, a case for each statistic
    met: Met,
    statistics: Sequence[Statistic],
    ratio: Float64,
    longest: int,
    longest_gap_ms: float,
    distinct: Float64 | None,
) -> Float64:
    """(events, columns) in the order of the batch's sorted events; ``KeyedWindow`` says which.

    Args:
        met: what the events met.
        statistics: which are asked for.
        ratio: (events, half-lives) of ``ratio_to_mean``, where it is asked for.
        longest: index of the longest half-life.
        longest_gap_ms: a key that was not seen for longer is as a new one.
        distinct: (events, half-lives) different values, where they are asked for.
    """
    parts: list[Float64] = []
    before = met.before
    weight = before[0] * met.decay
    for statistic in statistics:
        match statistic:
            case "count":
                parts.append(np.log1p(weight))
            case "sum":
                parts.append(apply_transform(weight * before[2], "log"))
            case "mean":
                parts.append(np.where(before[0] > 0, before[2], met.values[:, None]))
            case "deviation":
                parts.append(_deviation(before, met.values))
            case "ratio":
                parts.append(ratio)
            case "baseline":
                parts.append(np.exp(np.minimum(met.above, math.log(LARGEST_DEVIATION)))[:, None])
            case "burst":
                parts.append(np.log1p(met.faded + excess_of(ratio, longest)[:, None]))
            case "time_since_last":
                seconds = np.minimum(met.gap_ms, longest_gap_ms) / 1000.0
                parts.append(np.log1p(seconds)[:, None])
            case "distinct":
                assert distinct is not None
                parts.append(np.log1p(distinct))
    return np.concatenate(parts, axis=1)


def window_values(numbers: Float64) -> Float64:
    """Numbers within ±1e30."""
    return np.minimum(np.maximum(numbers, -LARGEST_VALUE), LARGEST_VALUE)


def excess_of(ratio: Float64, longest: int) -> Float64:
    """(events,) how far values exceed the mean by the longest half-life, as a share of it."""
    return np.maximum(ratio[:, longest] - 1.0, 0.0)


def ratio_to_mean(before: Float64, values: Float64) -> Float64:
    """(events, half-lives): the value over the key's own mean, 1 where there is none."""
    mean = before[2]
    known = (before[0] > 0) & (mean != 0)
    with np.errstate(over="ignore"):
        ratio = np.where(known, values[:, None], 1.0) / np.where(known, mean, 1.0)
    return np.minimum(np.maximum(ratio, -LARGEST_DEVIATION), LARGEST_DEVIATION)


def _deviation(before: Float64, values: Float64) -> Float64:
    """(events, half-lives): the value in the key's own standard deviations, 0 where unknown.

    The variance is unbiased for reliability weights, M2 / (V1 - V2 / V1) (Finch 2009, "Incremental
    calculation of weighted mean and variance"; V1, V2 the sums of weights and of their squares);
    fading since the last event cancels out of it. With n = V1^2 / V2, the effective number of
    events, the result is times sqrt((n - 1) / (n + 1)): two or three events that happen to agree
    say little about the next. On the card transactions this took the average precision of the
    30-day deviation alone on stolen cards from .34 to .37, of the 1-day one from .09 to .11.
    """
    weight, square, mean, spread = before
    squared = weight * weight
    known = squared > LEAST_EVENTS * square
    # Where it is unknown there may be 0 / 0, which nobody sees. Over the least float, a difference
    # of 0 stays 0 and any other goes to the bound.
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        number = squared / square
        freedom = weight - square / np.maximum(weight, 1.0)
        scale = np.maximum(np.sqrt(spread / freedom), np.abs(mean) * LEAST_RELATIVE_DEVIATION)
        deviation = (values[:, None] - mean) / np.maximum(scale, np.finfo(np.float64).tiny)
        bounded = np.minimum(np.maximum(deviation, -LARGEST_DEVIATION), LARGEST_DEVIATION)
        return np.where(known, bounded * np.sqrt((number - 1.0) / (number + 1.0)), 0.0)
