"""The whole page: head, key figures, sections, and what holds for all of them."""

from __future__ import annotations

from stream_detector.markup import Child, Markup, join, raw, tag
from stream_detector.report.analysis import Analysis, Judged
from stream_detector.report.incidents import incidents_section
from stream_detector.report.inside import configuration_section, drift_section, reasons_section
from stream_detector.report.meaning import meaning_section
from stream_detector.report.monitors import monitors_section
from stream_detector.report.over_time import scores_section
from stream_detector.report.ranking import decisions_section, ranking_section
from stream_detector.report.style import STYLE
from stream_detector.report.text import count, moment, ratio, share
from stream_detector.report.windows import budget_section, days_section

_SECTIONS = (
    ("scores", "Scores"),
    ("budget", "Budget"),
    ("ranking", "Ranking"),
    ("decisions", "Decisions"),
    ("calibration", "Calibration"),
    ("days", "Days"),
    ("alerts", "Alerts"),
    ("incidents", "Incidents"),
    ("monitors", "Monitors"),
    ("drift", "Drift"),
    ("configuration", "Configuration"),
)


def page(analysis: Analysis) -> str:
    """The report as one HTML document that refers to nothing outside of it."""
    title = f"Back-test of {analysis.config.name}"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        # Nothing is loaded and nothing runs, whatever an event may have smuggled in.
        tag(
            "meta",
            http_equiv="Content-Security-Policy",
            content="default-src 'none'; style-src 'unsafe-inline'; img-src data:",
        ),
        tag("meta", name="color-scheme", content="light dark"),
        # Without one, a browser asks the server for it.
        raw('<link rel="icon" href="data:,">'),
        tag("title", title),
        tag("style", raw(STYLE)),
    )
    body = tag(
        "body",
        tag("header", tag("h1", title), _about(analysis), _contents(analysis)),
        tag(
            "main",
            _key_figures(analysis),
            scores_section(analysis),
            budget_section(analysis),
            ranking_section(analysis),
            decisions_section(analysis),
            meaning_section(analysis),
            days_section(analysis),
            reasons_section(analysis),
            incidents_section(analysis),
            monitors_section(analysis),
            drift_section(analysis),
            configuration_section(analysis),
        ),
        tag("footer", tag("p", _FOOTER)),
        class_="unlabelled" if analysis.judged is None else None,
    )
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


_FOOTER = (
    "Every event was scored before it was learnt, by the pipeline that the daemon runs. Labels "
    "were used only after their delay in event time. Made by stream-detector; the same data, "
    "configuration and versions give the same report, but for its date."
)


def _about(analysis: Analysis) -> Markup:
    figures, scored = analysis.figures, analysis.scored
    what = f"{analysis.provenance.data}: {count(len(scored.scores))} events scored"
    if figures["rejected"]:
        what += f", {count(figures['rejected'])} rejected"
    if scored.has_time:
        what += (
            f", {moment(int(scored.times_ms.min()))} to {moment(int(scored.times_ms.max()))} (UTC)"
        )
    what += f". Detector: {analysis.config.detector.kind}."
    return join(
        tag("p", what, class_="lead"),
        tag("p", f"Made {analysis.provenance.made}", class_="made"),
    )


def _contents(analysis: Analysis) -> Markup:
    scored = analysis.scored
    here = {"monitors": bool(scored.monitors), "incidents": bool(scored.incidents)}
    links = (
        tag("a", name, href=f"#{anchor}") for anchor, name in _SECTIONS if here.get(anchor, True)
    )
    return tag("nav", *links, aria_label="Sections")


def _key_figures(analysis: Analysis) -> Markup:
    figures, judged = analysis.figures, analysis.judged
    events = len(analysis.scored.scores)
    monitored = analysis.scored.monitors.alerts
    tiles = [
        _tile(
            "Alerts",
            count(figures["alerts"]),
            f"{count(figures['raised'])} raised, {count(figures['suppressed'])} suppressed"
            + (f", {count(monitored)} of monitors" if monitored else ""),
        ),
        _tile("Raised", share(figures["raised"] / events), _budget_text(analysis)),
    ]
    if judged is not None:
        share_of = share(float(judged.labels.mean()))
        tiles = [
            _tile(
                "Anomalous",
                count(figures["positives"]),
                f"{share_of} of {count(len(judged.labels))} with a label",
            ),
            *tiles,
            _estimate_tile("ROC AUC", judged, "roc_auc"),
            _estimate_tile("Average precision", judged, "average_precision"),
            _tile("Precision", ratio(figures["precision"]), "of raised events"),
            _tile("Recall", ratio(figures["recall"]), "of anomalous events"),
        ]
        if judged.days is not None:
            tiles.append(_estimate_tile("Precision at 100", judged, "precision_at_100_per_day"))
    else:
        rejected = [
            f"{count(number)} {reason.replace('_', ' ')}"
            for reason, number in figures["rejected_by_reason"].items()
        ]
        tiles += [
            _tile("Events", count(events), "scored"),
            _tile("Rejected", count(figures["rejected"]), ", ".join(rejected) or "none"),
        ]
    unlabelled = tag(
        "p",
        "The data has no labels: what needs them is left out, and says so.",
        class_="note",
    )
    return tag(
        "section",
        tag("h2", "Key figures"),
        tag("dl", *tiles, class_="tiles"),
        unlabelled if judged is None else None,
        id="key-figures",
    )


def _budget_text(analysis: Analysis) -> str:
    budget = analysis.config.threshold.budget
    if budget is None:
        return "fixed score"
    return f"of events; budget {budget}".replace(" %", "\N{NO-BREAK SPACE}%")


def _estimate_tile(name: str, judged: Judged, figure: str) -> Markup:
    estimate = judged.estimate(figure)
    if estimate is None:
        return _tile(name, ratio(None), "needs both classes")
    if estimate.low is None or estimate.high is None:
        return _tile(name, ratio(estimate.value), "no interval")
    return _tile(name, ratio(estimate.value), f"{ratio(estimate.low)} to {ratio(estimate.high)}")


def _tile(name: str, value: Child, below: Child) -> Markup:
    return tag("div", tag("dt", name), tag("dd", value), tag("dd", below, class_="below"))
