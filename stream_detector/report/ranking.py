"""Sections that compare scores with labels: ranking, decisions, distribution, calibration."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stream_detector.evaluation.curves import Curve
from stream_detector.markup import Markup, tag
from stream_detector.report.analysis import Analysis, Judged
from stream_detector.report.elements import NO_LABELS, Key, figure, note, pair, section, table
from stream_detector.report.plot import Plot
from stream_detector.report.scales import Linear
from stream_detector.report.text import count, limits, ratio, share

_RATES = (0.0001, 0.001, 0.01, 0.05, 0.1)
_HEIGHT = 340


def ranking_section(analysis: Analysis) -> Markup:
    """Render how well the scores rank, whatever the threshold."""
    title = "Ranking: anomalous above normal"
    judged = analysis.judged
    if judged is None:
        return section("ranking", title, note(NO_LABELS))
    if judged.curves is None:
        return section("ranking", title, note("All labels are of one class: nothing to rank."))
    roc, precision_recall = judged.curves
    operating = _operating_point(analysis)
    positives = judged.labels.mean()
    band: list[Key] = [("area", "hit-band", "95 % interval")] if roc.low is not None else []
    point: list[Key] = [("diamond", "point", "the threshold's decisions")] if operating else []
    return section(
        "ranking",
        title,
        pair(
            figure(
                "ROC curve",
                lambda width: _roc_chart(roc, operating, width),
                _with_limits("ROC AUC", judged, "roc_auc"),
                legend=[("line", "hit", "recall"), *band, *point, ("dashed", "limit", "chance")],
                half=True,
            ),
            figure(
                "Precision-recall curve",
                lambda width: _precision_chart(precision_recall, operating, positives, width),
                _with_limits("Average precision", judged, "average_precision"),
                legend=[
                    ("line", "hit", "precision"),
                    *band,
                    *point,
                    ("dashed", "limit", f"chance: {share(positives)}"),
                ],
                half=True,
            ),
        ),
        table(
            "Recall at a given share of false alarms",
            ("false alarms among normal events", "recall", "95 % interval"),
            [
                (share(rate), ratio(value), limits(low, high))
                for rate in _RATES
                for value, low, high in (roc.at(rate),)
            ],
            class_="compact",
        ),
        note(_how_resampled(judged)),
    )


def decisions_section(analysis: Analysis) -> Markup:
    """Render the decisions of the threshold."""
    title = "Decisions: raised or not"
    matrix = analysis.figures["confusion_matrix"]
    if matrix is None:
        return section("decisions", title, note(NO_LABELS))
    (tn, fp), (fn, tp) = matrix
    largest = max(tn, fp, fn, tp, 1)
    cells = [
        ("normal", _cell(tn, largest, good=True), _cell(fp, largest, good=False), count(tn + fp)),
        (
            "anomalous",
            _cell(fn, largest, good=False),
            _cell(tp, largest, good=True),
            count(fn + tp),
        ),
        ("all", count(tn + fn), count(fp + tp), count(tn + fp + fn + tp)),
    ]
    return section(
        "decisions",
        title,
        pair(
            table(
                "Confusion matrix (events)",
                ("label", "not raised", "raised", "all"),
                cells,
                class_="matrix",
            ),
            table(
                "Classification report",
                ("", "precision", "recall", "F1", "events"),
                classification_rows(matrix),
            ),
        ),
        note(
            "Raised means above the threshold of that moment, before suppression. Events without a "
            "label do not count here."
        ),
    )


def classification_rows(matrix: Sequence[Sequence[int]]) -> list[tuple[str, ...]]:
    """Precision, recall, F1 and number of events by class, their mean, and the accuracy.

    Args:
        matrix: [[true negatives, false positives], [false negatives, true positives]].
    """
    (tn, fp), (fn, tp) = matrix
    rows = []
    for name, right, wrong, lost in (("normal", tn, fn, fp), ("anomalous", tp, fp, fn)):
        figures = (
            _ratio(right, right + wrong),
            _ratio(right, right + lost),
            _ratio(2 * right, 2 * right + wrong + lost),
        )
        rows.append((name, figures, right + lost))
    total = tn + fp + fn + tp
    means = [
        None if None in values else sum(v for v in values if v is not None) / 2
        for values in zip(*(figures for _, figures, _ in rows), strict=True)
    ]
    return [
        *((name, *map(ratio, figures), count(events)) for name, figures, events in rows),
        ("mean of both", *map(ratio, means), count(total)),
        ("accuracy", "", "", ratio(_ratio(tn + tp, total)), count(total)),
    ]


def _operating_point(analysis: Analysis) -> tuple[float, float, float] | None:
    """(false positive rate, recall, precision) of the decisions; None where nothing was raised."""
    (tn, fp), (fn, tp) = analysis.figures["confusion_matrix"]
    if not fp + tp:
        return None
    return fp / (tn + fp), tp / (fn + tp), tp / (fp + tp)


def _roc_chart(curve: Curve, operating: tuple[float, float, float] | None, width: int) -> Markup:
    plot = Plot(
        width,
        _HEIGHT,
        Linear(0, 1),
        Linear(0, 1),
        x_title="false positive rate",
        y_title="recall (true positive rate)",
    )
    plot.line(np.array([0.0, 1.0]), np.array([0.0, 1.0]), "limit dashed")
    _draw(plot, curve)
    if operating is not None:
        rate, recall, _ = operating
        plot.marks(np.array([rate]), np.array([recall]), "diamond", "point", 5)
    value = float(np.trapezoid(curve.y, curve.x)) if hasattr(np, "trapezoid") else 0.0
    return plot.render(f"ROC curve; the area below it is about {ratio(value)}.")


def _precision_chart(
    curve: Curve, operating: tuple[float, float, float] | None, chance: float, width: int
) -> Markup:
    plot = Plot(width, _HEIGHT, Linear(0, 1), Linear(0, 1), x_title="recall", y_title="precision")
    plot.level(chance, "limit dashed")
    _draw(plot, curve)
    if operating is not None:
        _, recall, precision = operating
        plot.marks(np.array([recall]), np.array([precision]), "diamond", "point", 5)
    half, _, _ = curve.at(0.5)
    return plot.render(
        f"Precision-recall curve; at a recall of 0.5 the precision is {ratio(half)}."
    )


def _draw(plot: Plot, curve: Curve) -> None:
    if curve.low is not None and curve.high is not None:
        plot.band(curve.x, curve.low, curve.high, "hit-band")
    plot.line(curve.x, curve.y, "hit")


def _with_limits(name: str, judged: Judged, figure_name: str) -> str:
    estimate = judged.estimate(figure_name)
    if estimate is None:
        return ""
    if estimate.low is None or estimate.high is None:
        return f"{name} {ratio(estimate.value)}; too few events for an interval."
    return (
        f"{name} {ratio(estimate.value)}, 95 % interval {ratio(estimate.low)} to "
        f"{ratio(estimate.high)}."
    )


def _how_resampled(judged: Judged) -> str:
    comparison = judged.comparison
    if not comparison.resamples:
        return "No intervals: too few events."
    units = "days" if comparison.units == "days" else "stretches of equally many events"
    return (
        f"Intervals: {comparison.resamples:,} resamples of {comparison.unit_count:,} {units}, "
        f"drawn in blocks of {comparison.mean_block:.1f} on average, since neighbouring events are "
        "not independent. Bands hold point by point. The models were not trained anew. The curves "
        "put one threshold to the whole stream; the one that decided moved with it, so its point "
        "may lie beside them."
    )


def _cell(value: int, largest: int, *, good: bool) -> Markup:
    strength = (value / largest) ** 0.25 if value else 0.0
    return tag(
        "span",
        count(value),
        class_="good" if good else "bad",
        style=f"--strength:{strength:.2f}",
    )


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
