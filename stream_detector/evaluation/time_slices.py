"""A back-test cut into stretches: scores over time, alerts against their budget, days."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_detector.evaluation.backtest import Scored
from stream_detector.evaluation.figures import DAY_MS, precision_of_days
from stream_detector.events import Float64, Int64
from stream_detector.units import Budget

BUDGET_WINDOW = 10_000
TOLERANCE = 1.25
"""Over each window, the share of alerts is promised to stay within this factor of the budget."""

QUANTILES = (0.05, 0.5, 0.95, 0.99)

_LEAST_WINDOWS = 4
_SHORT_WINDOWS = 20
_LEAST_WINDOW = 100
_TOP = 100


@dataclass(frozen=True, slots=True)
class Slices:
    """Scores of the slices of a stream that are equally long.

    Attributes:
        edges: (slices + 1,) milliseconds since 1970, or numbers of events.
        quantiles: (slices, 4) 5, 50, 95 and 99 % quantile of the scores; NaN in an empty slice.
        highest: (slices,) largest score, NaN likewise.
        raised: (slices, 3) events above the threshold with label 0, label 1, no label.
        missed: (slices,) positives that were not raised.
    """

    edges: Float64
    quantiles: Float64
    highest: Float64
    raised: Int64
    missed: Int64


@dataclass(frozen=True, slots=True)
class BudgetWindows:
    """Alerts of windows of equally many events.

    Attributes:
        size: events of a window.
        raised: (windows,) events above the threshold in each, before suppression.
        allowed: (windows,) what the budget allows them; None with a fixed score.
        settled: (windows,) bool, whether the window counts: it lies after the first 10,000 events
            and the burn-in.
    """

    size: int
    raised: Int64
    allowed: Float64 | None
    settled: NDArray[np.bool_]

    @property
    def within(self) -> NDArray[np.bool_] | None:
        """(windows,) whether each is within the factor of its budget."""
        if self.allowed is None:
            return None
        return (self.raised <= self.allowed * TOLERANCE) & (self.raised >= self.allowed / TOLERANCE)


@dataclass(frozen=True, slots=True)
class Days:
    """The labelled events of each day (UTC).

    Attributes:
        starts_ms: (days,) midnight.
        precision: (days,) share of positives among the hundred highest scores.
        possible: (days,) the most that it could be with the day's positives.
        positives: (days,) how many there were.
    """

    starts_ms: Int64
    precision: Float64
    possible: Float64
    positives: Int64


def slices(scored: Scored, position: Float64, count: int) -> Slices:
    """Cut a run into slices of equal length.

    Args:
        scored: the run, at least one event.
        position: (events,) time or number of each event.
        count: how many slices.
    """
    first, last = float(position.min()), float(position.max())
    edges = np.linspace(first, last if last > first else first + 1, count + 1)
    of_event = np.clip(np.searchsorted(edges, position, side="right") - 1, 0, count - 1)
    order = np.lexsort((scored.scores, of_event))
    rising = scored.scores[order]
    ends = np.searchsorted(of_event[order], np.arange(count), side="right")
    begins = np.concatenate([[0], ends[:-1]])
    sizes = ends - begins
    quantiles = np.full((count, len(QUANTILES)), np.nan)
    highest = np.full(count, np.nan)
    full = sizes > 0
    for column, share in enumerate(QUANTILES):
        places = begins[full] + np.floor(share * (sizes[full] - 1)).astype(np.int64)
        quantiles[full, column] = rising[places]
    highest[full] = rising[ends[full] - 1]
    kind = np.where(np.isnan(scored.labels), 2, scored.labels > 0).astype(np.int64)
    raised = np.bincount(
        of_event[scored.raised] * 3 + kind[scored.raised], minlength=3 * count
    ).reshape(count, 3)
    missed = np.bincount(of_event[(kind == 1) & ~scored.raised], minlength=count)
    return Slices(edges, quantiles, highest, raised, missed)


def budget_windows(scored: Scored, budget: Budget | None, burn_in: int) -> BudgetWindows | None:
    """Alerts of each window of 10,000 events; shorter windows where there are few events.

    The last window is left out where it is not full. None for fewer than 400 events.

    Args:
        scored: the run.
        budget: of the configuration; None with a fixed score.
        burn_in: events at the beginning that never alert.
    """
    events = len(scored.scores)
    size = BUDGET_WINDOW
    if events < _LEAST_WINDOWS * BUDGET_WINDOW:
        size = max(_LEAST_WINDOW, events // _SHORT_WINDOWS)
    count = events // size
    if count < _LEAST_WINDOWS:
        return None
    raised = scored.raised[: count * size].reshape(count, size).sum(axis=1)
    starts = np.arange(count) * size
    allowed = None
    if budget is not None and budget.share is not None:
        allowed = np.full(count, budget.share * size)
    elif budget is not None and budget.per_second is not None:
        # Events are nearly in the order of time; the newest so far is the clock.
        clock = np.maximum.accumulate(scored.times_ms)
        bounds = clock[np.minimum(np.arange(count + 1) * size, events - 1)]
        allowed = np.diff(bounds) / 1000 * budget.per_second
    settled = starts >= max(burn_in, min(BUDGET_WINDOW, events // 4))
    return BudgetWindows(size, raised, allowed, settled)


def days(labels: Float64, scores: Float64, times_ms: Int64) -> Days:
    """Precision of each day's hundred highest scores.

    Args:
        labels: (events,) 1 or 0.
        scores: (events,) float64.
        times_ms: (events,) event time.
    """
    numbers, of_event, events = np.unique(
        times_ms // DAY_MS, return_inverse=True, return_counts=True
    )
    positives = np.bincount(of_event, weights=labels, minlength=len(numbers)).astype(np.int64)
    looked_at = np.minimum(events, _TOP)
    return Days(
        starts_ms=numbers * DAY_MS,
        precision=precision_of_days(labels, scores, times_ms),
        possible=np.minimum(positives, looked_at) / looked_at,
        positives=positives,
    )


def shown_rows(
    scores: Float64, position: Float64, rows: NDArray[np.intp], limit: int
) -> NDArray[np.intp]:
    """At most ``limit`` of ``rows``: all, or the highest of each of 100 slices, equally many.

    Args:
        scores: (events,) float64.
        position: (events,) time or number of each event.
        rows: indices of events.
        limit: how many; at least 100.
    """
    if len(rows) <= limit:
        return rows
    first, last = position[rows].min(), position[rows].max()
    part = np.minimum(((position[rows] - first) / max(last - first, 1) * 100).astype(int), 99)
    order = np.lexsort((-scores[rows], part))
    starts = np.searchsorted(part[order], np.arange(100))
    rank = np.empty(len(rows), int)
    rank[order] = np.arange(len(rows)) - starts[part[order]]
    # The largest number a slice that keeps the total within the limit.
    totals = np.cumsum(np.bincount(rank))
    allowed = int(np.searchsorted(totals, limit, side="right"))
    return rows[rank < allowed]
