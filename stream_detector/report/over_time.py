"""The scores and alerts of a run, from the first event to the last."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_detector.evaluation.time_slices import Slices, shown_rows, slices
from stream_detector.events import Float64
from stream_detector.markup import Markup, join
from stream_detector.report.analysis import Analysis
from stream_detector.report.elements import LEFT, NARROW, Key, figure, section
from stream_detector.report.plot import Plot, Shape
from stream_detector.report.scales import Compressed, Linear, Scale, time_scale, value_scale
from stream_detector.report.text import count, day

_MARK_WIDTH = 3
_SLICE_WIDTH = 4


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


def _any_unknown(analysis: Analysis) -> bool:
    return bool(np.isnan(analysis.scored.labels[analysis.scored.raised]).any())


def _position(analysis: Analysis) -> tuple[Float64, Scale, str]:
    """Return the position of each event, the scale, and the axis's title."""
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
    marks = _marks(analysis, position, width // _MARK_WIDTH)
    y = _score_scale(analysis, cut, thresholds, marks)
    plot = Plot(width, 300, x, y, y_title="score", least_left=LEFT, x_ticks=[])
    _shade_skipped(plot, analysis, position)
    middles = (cut.edges[:-1] + cut.edges[1:]) / 2
    plot.band(middles, cut.quantiles[:, 0], cut.quantiles[:, 2], "spread")
    plot.line(middles, cut.quantiles[:, 3], "upper")
    plot.line(middles, cut.quantiles[:, 1], "median")
    plot.steps(cut.edges, np.where(np.isfinite(thresholds), thresholds, np.nan), "limit dashed")
    for shape, class_, rows in marks:
        plot.marks(position[rows], scored.scores[rows], shape, class_, 2.5)
    label = (
        f"Scores over {x_title}: median, quantiles and threshold, with "
        f"{count(analysis.figures['raised'])} raised events."
    )
    return join(plot.render(label), _counts_chart(cut, x, x_title, width))


def _marks(
    analysis: Analysis, position: Float64, most: int
) -> list[tuple[Shape, str, NDArray[np.intp]]]:
    """Shape, class and events of each kind that there is, what matters most last."""
    scored = analysis.scored
    kind = np.where(np.isnan(scored.labels), 2, scored.labels > 0)
    kinds: tuple[tuple[int, bool, Shape, str], ...] = (
        (0, True, "ring", "false"),
        (1, False, "cross", "missed"),
        (2, True, "dot", "unknown"),
        (1, True, "dot", "hit"),
    )
    result: list[tuple[Shape, str, NDArray[np.intp]]] = []
    for of_kind, raised, shape, class_ in kinds:
        rows = np.flatnonzero((scored.raised == raised) & (kind == of_kind))
        if len(rows):
            result.append((shape, class_, shown_rows(scored.scores, position, rows, most)))
    return result


def _score_scale(
    analysis: Analysis,
    cut: Slices,
    thresholds: Float64,
    marks: list[tuple[Shape, str, NDArray[np.intp]]],
) -> Linear | Compressed:
    """For all that is drawn: a few scores far below the usual would only flatten it."""
    scores = analysis.scored.scores
    lows = [float(np.nanmin(cut.quantiles)), *(float(scores[rows].min()) for *_, rows in marks)]
    finite = thresholds[np.isfinite(thresholds)]
    return value_scale(np.maximum(scores, min(lows)), finite.tolist())


def _counts_chart(cut: Slices, x: Scale, x_title: str, width: int) -> Markup:
    """Draw the number of alerts in each slice, below the scores and on the same axis."""
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
        least_left=LEFT,
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
    if len(analysis.score_scales) > 1:
        score_scale, first, _ = analysis.score_scales[-1]
        where = day(scored.times_ms[first]) if scored.has_time else f"event {first:,}"
        parts.append(
            f"From {where} on enough labels were known, and the scores are the log odds that the "
            "classifier has learnt; before, an unsupervised detector gave them."
            if score_scale
            else f"From {where} on the classifier, begun anew, waits for labels, and an "
            "unsupervised detector gives the scores."
        )
    return " ".join(parts)
