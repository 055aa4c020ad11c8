"""Sections along the stream: scores, the alert budget, the precision of each day."""

from __future__ import annotations

import math

import numpy as np

from stream_detector.evaluation.figures import DAY_MS
from stream_detector.evaluation.stretches import (
    BUDGET_WINDOW,
    TOLERANCE,
    BudgetWindows,
    Days,
    Slices,
    shown_rows,
    slices,
)
from stream_detector.events import Float64
from stream_detector.report.analysis import Analysis
from stream_detector.report.elements import NARROW, NO_LABELS, Key, figure, note, section
from stream_detector.report.markup import Markup, join
from stream_detector.report.plot import Plot
from stream_detector.report.scales import Linear, Scale, time_scale, value_scale
from stream_detector.report.text import count, day, number, ratio, share

_MARK_WIDTH = 3
_LEFT = 58
_SLICE_WIDTH = 4
_WINDOW_WIDTH = 3


def scores_section(analysis: Analysis) -> Markup:
    """Scores and alerts from the first event to the last."""
    labelled = analysis.judged is not None
    legend: list[Key] = [
        ("area", "spread", "5 to 95 % of the scores"),
        ("line", "median", "median"),
        ("line", "upper", "99 %"),
        ("dashed", "limit", "threshold"),
    ]
    if labelled:
        legend += [
            ("dot", "hit", "raised, anomalous"),
            ("ring", "false", "raised, normal"),
            ("cross", "missed", "anomalous, not raised"),
        ]
    if not labelled or _any_unknown(analysis):
        legend.append(("dot", "unknown", "raised, no label" if labelled else "raised"))
    return section(
        "scores",
        "Scores and alerts over time",
        figure(
            "Score of each event, before it was learnt",
            lambda width: _score_chart(analysis, width),
            _about_scores(analysis),
            legend=legend,
        ),
    )


def budget_section(analysis: Analysis) -> Markup:
    """Whether there are as many alerts as were asked for."""
    windows = analysis.budget
    if windows is None:
        text = note("Too few events to count alerts by windows.")
        return section("budget", "Alert budget", text)
    if windows.allowed is None:
        title = f"Events above the threshold, of each {windows.size:,}"
        caption = "The threshold is a fixed score: there is no budget to keep."
        legend: list[Key] = [("line", "hit", "raised")]
    else:
        title = f"Alerts of each {windows.size:,} events against the budget"
        caption = _about_budget(windows)
        legend = [
            ("line", "hit", "raised (before suppression)"),
            ("dashed", "limit", f"budget: {analysis.config.threshold.budget}"),
            ("area", "allowed", f"budget within a factor of {TOLERANCE}"),
            ("area", "left-out", "settling, not judged"),
        ]
    chart = figure(title, lambda width: _budget_chart(windows, width), caption, legend=legend)
    return section("budget", "Alert budget", chart)


def days_section(analysis: Analysis) -> Markup:
    """What the hundred highest scores of each day would have brought."""
    title = "Precision at 100, day by day"
    if analysis.judged is None:
        return section("days", title, note(NO_LABELS))
    days = analysis.judged.days
    if days is None:
        return section("days", title, note("Needs a time of each event; the data has none."))
    estimate = analysis.judged.estimate("precision_at_100_per_day")
    mean = ratio(float(days.precision.mean()))
    within = ""
    if estimate is not None and estimate.low is not None and estimate.high is not None:
        within = f" (95 % interval {ratio(estimate.low)} to {ratio(estimate.high)})"
    return section(
        "days",
        title,
        figure(
            "Share of anomalous events among a day's hundred highest scores",
            lambda width: _days_chart(days, width),
            f"Mean over {count(len(days.precision))} days (UTC): {mean}{within}. More than the "
            "day's anomalous events cannot be found: with those, "
            f"{ratio(float(days.possible.mean()))} would be perfect.",
            legend=[
                ("area", "hit", "precision"),
                ("tick", "possible", "possible with the day's anomalous events"),
            ],
        ),
    )


def _any_unknown(analysis: Analysis) -> bool:
    return bool(np.isnan(analysis.scored.labels[analysis.scored.raised]).any())


def _position(analysis: Analysis) -> tuple[Float64, Scale, str]:
    """Where each event lies, the scale, and what the axis shows."""
    scored = analysis.scored
    if scored.has_time:
        times = scored.times_ms.astype(np.float64)
        return times, time_scale(times), "event time (UTC)"
    places = np.arange(len(scored.scores), dtype=np.float64)
    return places, Linear(0, max(len(places) - 1, 1)), "events"


def _score_chart(analysis: Analysis, width: int) -> Markup:
    scored = analysis.scored
    position, x, x_title = _position(analysis)
    cut = slices(scored, position, width // _SLICE_WIDTH)
    thresholds = _threshold_by_slice(analysis, position, cut)
    y = value_scale(scored.scores, [value for value in thresholds if np.isfinite(value)])
    plot = Plot(width, 300, x, y, y_title="score", least_left=_LEFT, x_ticks=[])
    _shade_skipped(plot, analysis, position)
    middles = (cut.edges[:-1] + cut.edges[1:]) / 2
    plot.band(middles, cut.quantiles[:, 0], cut.quantiles[:, 2], "spread")
    plot.line(middles, cut.quantiles[:, 3], "upper")
    plot.line(middles, cut.quantiles[:, 1], "median")
    plot.steps(cut.edges, np.where(np.isfinite(thresholds), thresholds, np.nan), "limit dashed")
    kind = np.where(np.isnan(scored.labels), 2, scored.labels > 0)
    for of_kind, wanted, shape, class_ in (
        (0, scored.raised, "ring", "false"),
        (1, ~scored.raised, "cross", "missed"),
        (2, scored.raised, "dot", "unknown"),
        (1, scored.raised, "dot", "hit"),
    ):
        rows = np.flatnonzero(wanted & (kind == of_kind))
        if len(rows):
            rows = shown_rows(scored.scores, position, rows, width // _MARK_WIDTH)
            plot.marks(position[rows], scored.scores[rows], shape, class_, 2.5)  # type: ignore[arg-type]
    label = (
        f"Scores over {x_title}: median, quantiles and threshold, with "
        f"{count(analysis.figures['raised'])} raised events."
    )
    return join(plot.render(label), _counts_chart(cut, x, x_title, width))


def _counts_chart(cut: Slices, x: Scale, x_title: str, width: int) -> Markup:
    """How many were raised in each slice, below the scores and on the same axis."""
    totals = cut.raised.sum(axis=1)
    y = Linear(0, max(1.0, float(totals.max()) * 1.05))
    ticks = [(0.0, "0"), (float(totals.max()), count(int(totals.max())))]
    plot = Plot(
        width,
        124,
        x,
        y,
        x_title=x_title,
        y_title="raised in each stretch",
        y_ticks=ticks if totals.any() else ticks[:1],
        least_left=_LEFT,
    )
    bottoms = np.zeros(len(totals))
    for column, class_ in ((1, "hit"), (0, "false"), (2, "unknown")):
        tops = bottoms + cut.raised[:, column]
        if (tops != bottoms).any():
            plot.bars((cut.edges[:-1], cut.edges[1:]), bottoms, tops, class_)
        bottoms = tops
    found = ", ".join(
        f"{count(int(total))} {name}"
        for total, name in zip(
            cut.raised.sum(axis=0), ("normal", "anomalous", "without a label"), strict=True
        )
    )
    return plot.render(f"Raised events by stretch of the stream: {found}.")


def _threshold_by_slice(analysis: Analysis, position: Float64, cut: Slices) -> Float64:
    """(slices,) threshold at the end of each."""
    changed_at, values = analysis.thresholds
    ordered = np.maximum.accumulate(position)
    rows = np.maximum(np.searchsorted(ordered, cut.edges[1:], side="right") - 1, 0)
    return values[np.maximum(np.searchsorted(changed_at, rows, side="right") - 1, 0)]


def _shade_skipped(plot: Plot, analysis: Analysis, position: Float64) -> None:
    if analysis.skip:
        end = min(analysis.skip, len(position) - 1)
        plot.shade(float(position.min()), float(position[end]), "left-out")


def _about_scores(analysis: Analysis) -> str:
    scored = analysis.scored
    parts = []
    raised, anomalous = scored.raised, scored.labels > 0
    most = max(
        int(np.count_nonzero(chosen))
        for chosen in (
            raised & anomalous,
            raised & (scored.labels == 0),
            raised & np.isnan(scored.labels),
            anomalous & ~raised,
        )
    )
    if most > NARROW // _MARK_WIDTH:
        parts.append(
            "Where there are too many events to mark, those with the highest scores of each "
            "stretch are; the bars below count all that were raised."
        )
    if analysis.skip:
        parts.append(f"Shaded: the first {analysis.skip:,} events, left out of the figures.")
    if len(analysis.regimes) > 1:
        _, first, _ = analysis.regimes[-1]
        where = day(scored.times_ms[first]) if scored.has_time else f"event {first:,}"
        parts.append(
            f"From {where} on enough labels were known and the classifier gives the scores (log "
            "odds); before, an unsupervised detector did, on another scale."
        )
    return " ".join(parts)


def _budget_chart(windows: BudgetWindows, width: int) -> Markup:
    every = max(1, math.ceil(len(windows.raised) / (width / _WINDOW_WIDTH)))
    raised = _means(windows.raised.astype(np.float64), every)
    edges = np.minimum(np.arange(len(raised) + 1) * every, len(windows.raised)) * windows.size
    allowed = None if windows.allowed is None else _means(windows.allowed, every)
    highest = float(max(raised.max(), 1 if allowed is None else allowed.max() * TOLERANCE))
    plot = Plot(
        width,
        230,
        Linear(0, float(edges[-1])),
        Linear(0, highest * 1.06),
        x_title="events",
        y_title=f"alerts a {windows.size:,} events",
        least_left=_LEFT,
    )
    settled = np.flatnonzero(windows.settled)
    first = int(settled[0]) * windows.size if len(settled) else float(edges[-1])
    if first:
        plot.shade(0, first, "left-out")
    if allowed is not None:
        x = np.repeat(edges, 2)[1:-1].astype(np.float64)
        twice = np.repeat(allowed, 2)
        plot.band(x, twice / TOLERANCE, twice * TOLERANCE, "allowed")
        plot.steps(edges, allowed, "limit dashed")
    plot.steps(edges, raised, "hit")
    return plot.render(
        f"Alerts of each {windows.size:,} events: {number(float(windows.raised.mean()))} on "
        f"average, at most {count(int(windows.raised.max()))}."
    )


def _means(values: Float64, every: int) -> Float64:
    starts = np.arange(0, len(values), every)
    sizes = np.diff(np.append(starts, len(values)))
    return np.add.reduceat(values, starts) / sizes


def _about_budget(windows: BudgetWindows) -> str:
    within, allowed = windows.within, windows.allowed
    if within is None or allowed is None or not windows.settled.any():
        return "Too short a stream to judge: all of it counts as settling."
    judged = windows.settled
    kept = int(within[judged].sum())
    asked, got = float(allowed[judged].sum()), int(windows.raised[judged].sum())
    parts = [
        f"{kept:,} of {int(judged.sum()):,} windows lie within a factor of {TOLERANCE} of the "
        f"budget. In all, {got:,} were raised and {number(asked)} allowed"
        + (f": {number(got / asked, 3)} times the budget." if asked else ".")
    ]
    expected = float(allowed[judged].mean())
    if expected:
        chance = 1.96 * math.sqrt(expected)
        parts.append(
            f"A window is allowed {number(expected, 3)} on average; chance alone moves that by "
            f"about {number(chance, 2)} ({share(chance / expected)}) either way."
        )
    if windows.size != BUDGET_WINDOW:
        parts.append(f"The stream is too short for windows of {BUDGET_WINDOW:,}.")
    return " ".join(parts)


def _days_chart(days: Days, width: int) -> Markup:
    every = max(1, math.ceil(len(days.precision) / (width / _WINDOW_WIDTH)))
    precision, possible = _means(days.precision, every), _means(days.possible, every)
    starts = days.starts_ms[::every].astype(np.float64)
    ends = np.append(starts[1:], days.starts_ms[-1] + DAY_MS)
    ends = np.minimum(ends, starts + every * DAY_MS)
    highest = float(max(precision.max(), possible.max(), 0.01))
    plot = Plot(
        width,
        220,
        time_scale(np.array([starts[0], ends[-1]])),
        Linear(0, min(1.0, highest * 1.08)),
        x_title="day (UTC)",
        y_title="precision",
        least_left=_LEFT,
    )
    titles = [
        f"{day(start)}: {ratio(value)}, possible {ratio(most)}"
        for start, value, most in zip(starts, precision, possible, strict=True)
    ]
    plot.bars((starts, ends), np.zeros(len(starts)), precision, "hit", titles)
    for start, end, most in zip(starts, ends, possible, strict=True):
        plot.line(np.array([start, end]), np.array([most, most]), "possible")
    return plot.render(
        f"Precision at 100 of {count(len(days.precision))} days: mean "
        f"{ratio(float(days.precision.mean()))}."
    )
