"""Section on incidents: what the alerts have in common, since when, and what explains it."""

from __future__ import annotations

from stream_detector.incidents.wording import (
    attribute_text,
    condition_text,
    counts_text,
    scope_text,
)
from stream_detector.markup import Markup
from stream_detector.report.analysis import Analysis
from stream_detector.report.elements import note, section, table
from stream_detector.report.text import count, plural

_LONGEST = 120


def incidents_section(analysis: Analysis) -> Markup | None:
    """Render the heaviest incidents; nothing where the configuration has none."""
    tally = analysis.scored.incidents
    if not tally:
        return None
    figures = tally.figures()
    said = (
        f"{plural(figures['opened'], 'incident')} opened, {count(figures['over'])} over, "
        f"{count(figures['reopened'])} opened again, {count(figures['merged'])} became part of "
        "another one."
    )
    if not (found := tally.heaviest()):
        return section("incidents", "Incidents", note(said))
    rows = [
        (
            body["severity"],
            scope_text(body)[:_LONGEST],
            _time(body["opened"]),
            "" if body["resolved"] is None else _time(body["resolved"]),
            counts_text(body),
            "; ".join(filter(None, (attribute_text(body), condition_text(body))))[: 2 * _LONGEST],
        )
        for body in found
    ]
    head = ("severity", "about", "opened", "over", "alerts", "what explains it")
    return section(
        "incidents",
        "Incidents",
        note(said),
        table("The heaviest incidents", head, rows, text_columns=len(head)),
    )


def _time(iso: str) -> str:
    return iso[:19].replace("T", " ")
