"""Distribution of the scores of each class, and what a score has meant."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stream_detector.evaluation.curves import Group
from stream_detector.events import Float64
from stream_detector.markup import Markup, join, tag
from stream_detector.report.analysis import Analysis, Judged
from stream_detector.report.elements import (
    NO_LABELS,
    Key,
    details,
    figure,
    note,
    pair,
    section,
    table,
)
from stream_detector.report.plot import Plot
from stream_detector.report.scales import Linear, Log, Tick, value_scale
from stream_detector.report.text import count, number, share, shares

_BINS = 60
_HEIGHT = 340
_LEAST_RATE = 1e-5
_TICK_ROOM = 54
_LOWEST_SHARE = 0.001


def meaning_section(analysis: Analysis) -> Markup:
    """Render the distribution of the scores, and what they have meant."""
    judged = analysis.judged
    histogram = figure(
        "Histogram of the scores" + (" by class" if judged else ""),
        lambda width: _histogram(analysis, width),
        ("Each class by itself: its bars make 100 %. " if judged else "")
        + f"The lowest {share(_LOWEST_SHARE)} of the scores are in the first bar.",
        legend=_histogram_legend(analysis),
        half=True,
    )
    if judged is None:
        missing = tag("div", tag("h3", "Calibration"), note(NO_LABELS))
        return section("calibration", "Scores and what they mean", pair(histogram, missing))
    probabilities = judged.groups[0].predicted is not None
    chart = figure(
        "Predicted and observed probability" if probabilities else "Observed rate by score",
        lambda width: (_reliability if probabilities else _rates)(judged.groups, width),
        _about_calibration(judged),
        legend=_calibration_legend(judged, probabilities=probabilities),
        half=True,
    )
    return section(
        "calibration",
        "Scores and what they mean",
        pair(histogram, chart),
        details("The groups as a table", _groups_table(judged.groups, predicted=probabilities)),
    )


def _histogram(analysis: Analysis, width: int) -> Markup:
    scored = analysis.scored
    first = max(analysis.score_scales[-1][1], min(analysis.skip, len(scored.scores) - 1))
    scores, labels = scored.scores[first:], scored.labels[first:]
    # A few scores far below the usual would only flatten the rest.
    scores = np.maximum(scores, np.quantile(scores, _LOWEST_SHARE))
    threshold = float(analysis.thresholds[1][-1])
    scale = value_scale(scores, [threshold])
    bins = np.minimum((scale.part(scores) * _BINS).astype(int), _BINS - 1)
    edges = scale.at(np.linspace(0, 1, _BINS + 1))
    classes = [("normal", labels == 0), ("anomalous", labels > 0), ("unknown", np.isnan(labels))]
    shares = {
        name: np.bincount(bins[rows], minlength=_BINS) / rows.sum()
        for name, rows in classes
        if rows.any()
    }
    highest = max(float(each.max()) for each in shares.values())
    plot = Plot(
        width,
        _HEIGHT,
        scale,
        Linear(0, highest * 1.05, per_cent=True),
        x_title="score",
        y_title="share of the class" if analysis.judged else "share of the events",
    )
    for name, each in shares.items():
        plot.steps(edges, each, name, closed=True)
    if np.isfinite(threshold):
        plot.upright(threshold, "limit dashed")
    medians = ", ".join(
        f"{name} {number(float(np.median(scores[rows])))}" for name, rows in classes if rows.any()
    )
    return plot.render(f"Histogram of the scores; medians: {medians}.")


def _histogram_legend(analysis: Analysis) -> list[Key]:
    labels = analysis.scored.labels
    threshold: Key = ("dashed", "limit", "threshold at the end")
    if analysis.judged is None:
        return [("area", "unknown", "events"), threshold]
    legend: list[Key] = [("area", "normal", "normal"), ("area", "anomalous", "anomalous")]
    if np.isnan(labels).any():
        legend.append(("area", "unknown", "no label"))
    return [*legend, threshold]


def _reliability(groups: Sequence[Group], width: int) -> Markup:
    predicted = np.array([group.predicted for group in groups], np.float64)
    rates = np.array([group.rate for group in groups])
    least = max(_LEAST_RATE, min(float(predicted.min()), 1 / max(g.events for g in groups)))
    scale = Log(10.0 ** np.floor(np.log10(least)), 1.0, per_cent=True)
    plot = Plot(
        width,
        _HEIGHT,
        scale,
        scale,
        x_title="mean predicted probability of a group",
        y_title="observed share of anomalous events",
    )
    ends = np.array([scale.low, 1.0])
    plot.line(ends, ends, "limit dashed")
    plot.whiskers(predicted, *_group_limits(groups), "whisker")
    some = rates > 0
    plot.marks(predicted[some], rates[some], "dot", "hit", 3.5)
    if not some.all():
        plot.marks(predicted[~some], rates[~some], "ring", "hit", 3.5)
    top = groups[-1]
    return plot.render(
        f"Reliability: in the group of the highest scores {share(top.predicted)} were predicted "
        f"and {share(top.rate)} observed."
    )


def _rates(groups: Sequence[Group], width: int) -> Markup:
    places = np.arange(len(groups), dtype=np.float64)
    rates = np.array([group.rate for group in groups])
    low, high = _group_limits(groups)
    highest = max(float(rates.max()), float(np.nanmax(np.append(high, 0))), 1e-3)
    ticks: list[Tick] = []
    for place, group in reversed(list(zip(places.tolist(), groups, strict=True))):
        if not ticks or (ticks[-1][0] - place) * width / len(groups) > _TICK_ROOM:
            ticks.append((place, f"{100 * group.first_share:.3g} %"))
    plot = Plot(
        width,
        _HEIGHT,
        Linear(0, len(groups)),
        Linear(0, min(1.0, highest * 1.05), per_cent=True),
        x_title="events by rising score: share of them below the group",
        y_title="observed share of anomalous events",
        x_ticks=ticks,
    )
    titles = [_group_name(group) + f": {share(group.rate)}" for group in groups]
    plot.bars((places, places + 1), np.zeros(len(groups)), rates, "hit", titles)
    plot.whiskers(places + 0.5, low, high, "whisker")
    return plot.render(
        f"Observed rate by score: {share(groups[0].rate)} among the lowest scores, "
        f"{share(groups[-1].rate)} among the highest."
    )


def _group_limits(groups: Sequence[Group]) -> tuple[Float64, Float64]:
    low = np.array([np.nan if group.low is None else group.low for group in groups])
    high = np.array([np.nan if group.high is None else group.high for group in groups])
    return low, high


def _about_calibration(judged: Judged) -> Markup:
    text = f"{judged.calibrated:,} labelled events in groups of neighbouring scores."
    if judged.brier is None:
        return join(
            text, " The scores are no probabilities; this is what scores so high turned out to be."
        )
    error, base = judged.brier
    return join(
        text,
        f" On the diagonal a probability means what it says. Brier score {number(error)}, where "
        f"always giving the share of anomalous events has {number(base)}.",
    )


def _calibration_legend(judged: Judged, *, probabilities: bool) -> list[Key]:
    whisker: list[Key] = (
        [("line", "whisker", "95 % interval")] if judged.groups[0].low is not None else []
    )
    if not probabilities:
        return [("area", "hit", "observed"), *whisker]
    keys: list[Key] = [("dot", "hit", "observed")]
    if any(not group.positives for group in judged.groups):
        keys.append(("ring", "hit", "none observed"))
    return [*keys, *whisker, ("dashed", "limit", "perfect")]


def _groups_table(groups: Sequence[Group], *, predicted: bool) -> Markup:
    header = ["events by rising score", "score", "events", "anomalous", "observed"]
    header += ["95 % interval", *(["predicted"] if predicted else [])]
    rows = [
        (
            _group_name(group),
            f"{number(group.scores[0])} to {number(group.scores[1])}",
            count(group.events),
            count(group.positives),
            share(group.rate),
            shares(group.low, group.high),
            *([share(group.predicted)] if predicted else []),
        )
        for group in groups
    ]
    return table("Observed rate by score", header, rows)


def _group_name(group: Group) -> str:
    return f"{100 * group.first_share:.4g} to {100 * group.last_share:.4g} %"
