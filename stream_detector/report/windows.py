"""Sections that count by windows and days: the alert budget, the precision of each day."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from stream_detector.evaluation.figures import DAY_MS
from stream_detector.evaluation.time_slices import BUDGET_WINDOW, TOLERANCE, BudgetWindows, Days
from stream_detector.events import Float64
from stream_detector.markup import Markup
from stream_detector.report.analysis import Analysis
from stream_detector.report.elements import LEFT, NO_LABELS, Key, figure, note, section
from stream_detector.report.plot import Plot
from stream_detector.report.scales import Linear, time_scale
from stream_detector.report.text import count, day, number, ratio, share

_WINDOW_WIDTH = 3
_HIGHEST = 3.0
"""Times the budget, up to which the axis goes."""


def budget_section(analysis: Analysis) -> Markup:
    """Render the number of alerts beside the budget."""
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
    """Render what the hundred highest scores of each day would have found."""
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


def _budget_chart(windows: BudgetWindows, width: int) -> Markup:
    every = max(1, math.ceil(len(windows.raised) / (width / _WINDOW_WIDTH)))
    raised = _means(windows.raised.astype(np.float64), every)
    edges = np.minimum(np.arange(len(raised) + 1) * every, len(windows.raised)) * windows.size
    allowed = None if windows.allowed is None else _means(windows.allowed, every)
    highest = float(max(raised.max(), 1))
    if allowed is not None:
        # One jump of the stream must not flatten all the rest; the caption tells how high it was.
        highest = min(max(highest, allowed.max() * TOLERANCE), allowed.max() * _HIGHEST)
    plot = Plot(
        width,
        230,
        Linear(0, float(edges[-1])),
        Linear(0, highest * 1.06),
        x_title="events",
        y_title=f"alerts a {windows.size:,} events",
        least_left=LEFT,
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
        + (f": {got / asked:.2f} times the budget." if asked else ".")
    ]
    expected = float(allowed[judged].mean())
    if expected:
        chance = 1.96 * math.sqrt(expected)
        parts.append(
            f"A window is allowed {number(expected, 3)} on average; chance alone moves that by "
            f"about {number(chance, 2)} ({share(chance / expected)}) either way."
        )
    worst = int(np.where(judged, windows.raised, -1).argmax())
    if windows.raised[worst] > allowed[worst] * TOLERANCE:
        first = worst * windows.size
        parts.append(
            f"Most were raised in the events {first:,} to {first + windows.size:,}: "
            f"{windows.raised[worst]:,}, where {number(float(allowed[worst]), 3)} were allowed."
        )
    if (outside := _longest_run(judged & ~within)) > 1:
        parts.append(f"The longest stretch outside: {outside * windows.size:,} events.")
    if windows.size != BUDGET_WINDOW:
        parts.append(f"The stream is too short for windows of {BUDGET_WINDOW:,}.")
    return " ".join(parts)


def _longest_run(flags: NDArray[np.bool_]) -> int:
    """Return the length of the longest run of True."""
    ends = np.flatnonzero(~np.append(flags, False))
    return int(np.diff(ends, prepend=-1).max()) - 1


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
        least_left=LEFT,
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
