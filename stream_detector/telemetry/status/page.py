"""The status page and the page that explains it, as HTML."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

import stream_detector
from stream_detector.markup import escape
from stream_detector.telemetry.families import FAMILIES, PREFIX
from stream_detector.telemetry.health import HealthState
from stream_detector.telemetry.status.figures import Figures
from stream_detector.telemetry.status.incidents import incidents_section
from stream_detector.telemetry.status.layout import document, duration, name_of, number, share
from stream_detector.telemetry.status.monitors import band_link, monitors_section
from stream_detector.telemetry.status.recent import STEP_SECONDS, Recent, RecentAlert, Step
from stream_detector.telemetry.status.sparkline import sparkline

REFRESH_SECONDS = 10
_ALERTS_SHOWN = 20
_SHIFTS_SHOWN = 8
_CHANGES_SHOWN = 5
_REASONS_SHOWN = 2
_KINDS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Running:
    """Summary of what this process runs, from the configuration.

    Attributes:
        name: of the configuration.
        facts: label and content, in order.
    """

    name: str = "stream-detector"
    facts: tuple[tuple[str, str], ...] = ()


def status_page(
    running: Running,
    figures: Figures,
    recent: Recent,
    health: HealthState,
    *,
    shows_alerts: bool,
    labelled: dict[str, str] | None,
    offers_rules: bool = False,
    offers_care: bool = False,
) -> str:
    """The page at ``/``.

    Args:
        running: what runs.
        figures: the numbers.
        recent: the last alerts and steps.
        health: whether all is well.
        shows_alerts: whether the reader may see what comes from events.
        labelled: labels given here by alert; None where none can be given.
        offers_rules: whether alerts can be hidden from here.
        offers_care: whether incidents can be acknowledged from here.
    """
    body = [
        _header(running, health, time.monotonic() - recent.began),
        incidents_section(recent.incidents, shows_values=shows_alerts, offers_care=offers_care),
        _tiles(figures),
        _charts(recent.steps()),
        _drift(recent, shows_changes=True),
        monitors_section(recent, shows_keys=shows_alerts),
        _rejected(recent, shows_messages=shows_alerts),
        _alerts(
            recent.alerts(),
            shows_alerts=shows_alerts,
            labelled=labelled,
            offers_rules=offers_rules,
        ),
        _footer(),
    ]
    return document(
        f"{running.name} - stream-detector", "".join(body), refresh_seconds=REFRESH_SECONDS
    )


def _header(running: Running, health: HealthState, uptime: float) -> str:
    alive, trouble = health.alive()
    ready, reasons = health.ready()
    if alive and ready:
        state = '<span class="state good">ready</span>'
    else:
        word = "not ready" if alive else "hangs"
        why = escape("; ".join(reasons if alive else trouble))
        state = f'<span class="state bad">{word}</span> <span class="bad">{why}</span>'
    facts = (*running.facts, ("up", duration(uptime)))
    shown = " · ".join(f"{escape(name)} <b>{escape(value)}</b>" for name, value in facts)
    version = escape(stream_detector.__version__)
    return (
        f"<header><h1>{escape(running.name)}</h1>{state}"
        f'<span class="dim">stream-detector {version}</span></header><p class="facts">{shown}</p>'
    )


def _tiles(figures: Figures) -> str:
    severities = ", ".join(
        f"{number(n)} {escape(level)}" for level, n in figures.alerts.items() if n
    )
    most = sorted(figures.rejected.items(), key=lambda item: -item[1])
    reasons = ", ".join(f"{number(n)} {escape(reason)}" for reason, n in most[:_REASONS_SHOWN])
    if len(most) > _REASONS_SHOWN:
        reasons += f" and {len(most) - _REASONS_SHOWN} more"
    budget = f"budget {share(figures.budget_ratio)}" if figures.budget_ratio > 0 else ""
    tiles = [
        ("events a second", number(figures.throughput), f"{number(figures.events)} in all"),
        ("lag", f"{number(figures.lag_records)} records", duration(figures.lag_seconds)),
        ("alert rate", share(figures.alert_ratio), budget),
        ("alerts", number(sum(figures.alerts.values())), severities),
        ("suppressed", number(figures.suppressed), ""),
        ("rejected records", number(sum(figures.rejected.values())), reasons),
        ("threshold", number(figures.threshold), "of the score"),
        ("newest snapshot", duration(figures.snapshot_age), "ago"),
        ("memory", f"{number(figures.memory_bytes / 2**20)} MiB", ""),
        ("owns", _plural(figures.shards, "shard"), _plural(figures.partitions, "partition")),
    ]
    if math.isfinite(figures.labels_waiting):
        waiting = f"{number(figures.labels_waiting)} rows wait"
        tiles.append(("labels taken in", number(figures.labels), waiting))
    cells = "".join(
        f"<div><dt>{name}</dt><dd>{value}<small>{below}</small></dd></div>"
        for name, value, below in tiles
    )
    return f'<dl class="tiles">{cells}</dl>'


def _charts(steps: Sequence[Step]) -> str:
    span = duration(max(len(steps) - 1, 0) * STEP_SECONDS)
    rates = [step.events / STEP_SECONDS for step in steps[:-1]]  # the last one is not over
    alerts = [float(step.alerts) for step in steps[:-1]]
    scores = [step.highest for step in steps]
    threshold = next((s.threshold for s in reversed(steps) if math.isfinite(s.threshold)), math.nan)
    charts = [
        ("events a second", rates, math.nan, True),
        ("highest score (broken: threshold)", scores, threshold, False),
        ("alerts in two seconds", alerts, math.nan, True),
    ]
    figures = []
    for name, values, rule, area in charts:
        known = [value for value in values if math.isfinite(value)]
        most = number(max(known, default=math.nan))
        label = f"{name}, the last {span}; at most {most}"
        figures.append(
            f"<figure><figcaption><span>{name}</span><span>at most <b>{most}</b></span>"
            f"</figcaption>{sparkline(values, label, rule=rule, area=area)}"
            f'<div class="dim"><small>the last {span}</small></div></figure>'
        )
    return f'<div class="charts">{"".join(figures)}</div>'


def _drift(recent: Recent, *, shows_changes: bool) -> str:
    shifts = recent.shifts()[:_SHIFTS_SHOWN]
    parts = ["<h2>What has moved</h2>"]
    if shifts:
        rows = "".join(
            f'<tr><td>{name_of(shift.feature)}</td><td class="number">{shift.deviations:+.2f}</td>'
            f'<td class="number">{number(shift.now, 4)}</td>'
            f'<td class="number">{number(shift.before, 4)}</td></tr>'
            for shift in shifts
        )
        parts.append(
            '<div class="card"><table><thead><tr><th>feature</th><th>shift in deviations</th>'
            f"<th>mean of late</th><th>mean before</th></tr></thead><tbody>{rows}</tbody></table>"
            "</div>"
        )
    else:
        parts.append('<p class="dim">Not enough events yet to compare with what was before.</p>')
    changes = recent.changes()[:_CHANGES_SHOWN] if shows_changes else []
    if changes:
        lines = "".join(
            f"<li>{_clock(when)}: {escape(change.feature or 'the ' + change.on)}, mean "
            f"{number(change.after, 4)}, was {number(change.before, 4)}</li>"
            for when, change in changes
        )
        parts.append(f"<p>Drift found:</p><ul>{lines}</ul>")
    return "".join(parts)


def _rejected(recent: Recent, *, shows_messages: bool) -> str:
    """Why records were rejected, and what to set; nothing as long as none was."""
    kinds = recent.rejected()
    if not kinds:
        return ""
    rows = []
    for kind in kinds[:_KINDS_SHOWN]:
        remedy = recent.remedies.of(kind.reason, kind.field) if recent.remedies else ""
        said = f"<br><small>{escape(kind.message)}</small>" if shows_messages else ""
        rows.append(
            f"<tr><td>{escape(kind.reason)}</td><td>{name_of(kind.field or '')}</td>"
            f'<td class="number">{number(kind.records)}</td>'
            f"<td>{escape(kind.first)}{said}</td><td>{escape(remedy)}</td></tr>"
        )
    return (
        '<h2>Rejected records</h2><div class="card"><table><thead><tr><th>reason</th>'
        "<th>field</th><th>records</th><th>first</th><th>what to set</th></tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _alerts(
    alerts: Sequence[RecentAlert],
    *,
    shows_alerts: bool,
    labelled: dict[str, str] | None,
    offers_rules: bool,
) -> str:
    title = "<h2>Last alerts</h2>"
    if not shows_alerts:
        return title + (
            '<p class="dim">Not shown: alerts quote events, and anybody may read this page. '
            "<code>metrics.show_alerts</code> says when they are shown.</p>"
        )
    if not alerts:
        return title + '<p class="dim">No alert since this process began.</p>'
    return title + "".join(
        alert_card(alert, labelled, offers_rules=offers_rules) for alert in alerts[:_ALERTS_SHOWN]
    )


def alert_card(
    alert: RecentAlert, labelled: dict[str, str] | None = None, *, offers_rules: bool = False
) -> str:
    """Render one alert with its reasons, and the way to its label where ``labelled`` is given.

    ``offers_rules``: the way to a rule as well.
    """
    right = ""
    if alert.monitor is not None:
        right = band_link(*alert.monitor, "band")
    elif labelled is not None:
        if (given := labelled.get(alert.id)) is not None:
            right = f"labelled {escape(given)} · "
        right += f'<a href="/label?alert={quote(alert.id, safe="")}">label</a>'
    if offers_rules and not alert.id.startswith("rule:"):
        link = f'<a href="/rule?alert={quote(alert.id, safe="")}">hide</a>'
        right = f"{right} · {link}" if right else link
    event = "" if alert.event_id is None else f"<span>event {escape(alert.event_id)}</span>"
    held = f"<span>{alert.suppressed} held back before</span>" if alert.suppressed else ""
    return (
        f'<article><div class="head"><span class="{escape(alert.severity)}">'
        f"{escape(alert.severity)}</span><span>{escape(alert.event_time)}</span>"
        f"<b>{escape(alert.id)}</b>{event}<span>score {number(alert.score, 4)} "
        f'<span class="dim">(threshold {number(alert.threshold, 4)}, 1 in '
        f'{number(alert.rarity)})</span></span>{held}<span class="right">{right}</span></div>'
        f"{_why(alert)}</article>"
    )


def _why(alert: RecentAlert) -> str:
    """The reasons; what a monitor has found is a sentence."""
    if alert.sentence:
        return f"<p>{escape(alert.sentence)}</p>"
    rows = "".join(
        f"<tr><td>{name_of(reason.feature)}</td><td>{escape(reason.value)}</td>"
        f'<td class="number">{_bar(reason.share)}{reason.share:.0%}</td>'
        f"<td>{escape(reason.usual)}</td></tr>"
        for reason in alert.reasons
    )
    ordinary = f"<p>{escape(alert.ordinary)}</p>" if alert.ordinary else ""
    return (
        "<table><thead><tr><th>reason</th><th>value</th><th>share</th><th>usual</th></tr></thead>"
        f"<tbody>{rows}</tbody></table>{ordinary}"
    )


def _plural(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _bar(part: float) -> str:
    """A bar of 0 to 1; the number stands beside it."""
    width = min(max(part, 0.0), 1.0) * 60
    return (
        '<svg class="bar" viewBox="0 0 60 8" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="area" width="60" height="8"/><rect class="part" width="{width:.1f}" '
        'height="8"/></svg>'
    )


def _footer() -> str:
    links = " · ".join(
        f'<a href="{path}">{path}</a>' for path in ("/metrics", "/healthz", "/readyz")
    )
    return (
        f'<footer><a href="/help">What these figures mean</a> · {links} · reads itself again '
        f"every {REFRESH_SECONDS} s</footer>"
    )


def _clock(when: float) -> str:
    return f"{datetime.fromtimestamp(when, UTC):%Y-%m-%d %H:%M:%S} UTC"


_MEANINGS = {
    "ready": "This worker processes events. A worker that stands by is alive, not ready.",
    "lag": "Records between what was taken in and the ends of the logs, and event time behind.",
    "alert rate": "Share of the last 10,000 or so events above the threshold, suppressed ones too.",
    "threshold": "The score from which an event alerts. With a budget it follows the scores.",
    "suppressed": "Alerts held back because their key had alerted within the period.",
    "rejected records": "Records that touched no model; they lie on the dead-letter topic, whole.",
    "what has moved": "Each feature's mean of the last five minutes against its mean before, in "
    "standard deviations of before. Beyond 1 look at the producer; beyond 3 something has changed.",
    "monitors": "Keys that a monitor remembers, and of how many it knows enough to judge them. A "
    "key's page draws what it did beside the band in which no alert is raised.",
    "open incidents": "What alerts have in common, since when, and what explains most: its "
    "share among them beside its usual share.",
    "1 in N": "How rare such a score is, by the last 50,000. Very large: never seen the like.",
    "reasons": "Features that contributed most; usual is the mean and two deviations around it.",
    "would be normal": "What would have kept the event below the threshold: it was scored so.",
}


def help_page(running: Running) -> str:
    """The page at ``/help``: what the figures mean, and every metric in a line."""
    meanings = "".join(
        f"<tr><td>{n}</td><td>{escape(meaning)}</td></tr>" for n, meaning in _MEANINGS.items()
    )
    metrics = "".join(
        f"<tr><td>{PREFIX}{family.name}</td><td>{escape(family.help)}</td></tr>"
        for family in FAMILIES
    )
    body = (
        f"<header><h1>{escape(running.name)}: what the figures mean</h1></header>"
        '<p><a href="/">Back to the status page</a></p>'
        f'<div class="card"><table><tbody>{meanings}</tbody></table></div><h2>Metrics</h2>'
        f'<div class="card"><table><tbody>{metrics}</tbody></table></div>'
        "<p>The documents beside the programme say more: operations, alerts, metrics.</p>"
    )
    return document(f"{running.name} - help", body)
