"""Sections on what went in and what came out: features, alerts, configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import yaml

from stream_detector.config.models.config import Config
from stream_detector.counterfactuals.wording import ordinary_sentence
from stream_detector.evaluation.population_stability import LARGE, SLIGHT, Drift, GroupDrift
from stream_detector.evaluation.report_samples import SeenAlert
from stream_detector.markup import Child, Markup, escape_lines, join, tag
from stream_detector.report.analysis import Analysis
from stream_detector.report.elements import Key, figure, key_to, note, section, table
from stream_detector.report.plot import svg
from stream_detector.report.text import NONE, count, day, number, share, short_moment, value_text

_SHOWN_FEATURES = 16
_TABLE_FEATURES = 40
_SHOWN_REASONS = 12
_DARKEST = 0.5
_ROW, _LABELS = 22, 214
_LONGEST_NAME, _LONGEST_LABEL = 48, 31
_SECRET = re.compile(r"passw|secret|token|credential|pasw|pwd|jaas", re.IGNORECASE)
_HIDDEN = "(secret)"


def drift_section(analysis: Analysis) -> Markup:
    """Render how the features moved."""
    drift, found = analysis.drift, _found(analysis)
    if drift is None or not drift.groups:
        too_few = note("Too few events to compare parts of them.")
        return section("drift", "Feature drift", too_few, found)
    shown = drift.groups[:_SHOWN_FEATURES]
    of_all = f" The {len(shown)} of {len(drift.groups)} features that moved most."
    return section(
        "drift",
        "Feature drift",
        figure(
            f"Stability index of {len(drift.starts) - 1} parts of the stream against the whole",
            lambda width: _heat_map(analysis, drift, shown, width),
            "The darker, the more a feature's values in that part differ from those of the whole "
            f"stream: below {SLIGHT} counts as unchanged, above {LARGE} as much changed, and "
            f"{_DARKEST} or more is darkest. Each part is a sample of {drift.rows:,} events at "
            f"most; chance alone gives about {number(drift.expected, 2)}."
            + (of_all if len(shown) < len(drift.groups) else ""),
        ),
        _drift_table(analysis, drift),
        found,
        note(
            "What windows count grows while the stream is young, so the first parts differ by "
            "nature; ",
            tag("code", "--skip"),
            " leaves them out. Features of clock and calendar always differ, and are not shown.",
        ),
    )


def reasons_section(analysis: Analysis) -> Markup:
    """The rarest alerts, and what alerts were about in general."""
    if not analysis.top_alerts:
        return section("alerts", "Alerts and their reasons", note("Nothing was raised."))
    alerts = [_alert(alert, rank) for rank, alert in enumerate(analysis.top_alerts, start=1)]
    total = analysis.figures["alerts"] - analysis.scored.monitors.alerts
    return section(
        "alerts",
        "Alerts and their reasons",
        _leading_reasons(analysis) if analysis.reasons else None,
        tag("h3", f"The {len(alerts)} rarest of {total:,} alerts"),
        note(
            "Rarity is one in how many events scored so high, as known at that moment. Alerts "
            "among skipped events, or before a classifier had settled, come last."
        ),
        tag("ol", *alerts, class_="alerts"),
    )


def configuration_section(analysis: Analysis) -> Markup:
    """Render what has to be the same to get the same figures again."""
    made = analysis.provenance
    rows: list[tuple[Child, ...]] = [
        ("data", made.data),
        ("size", NONE if made.size_bytes is None else f"{made.size_bytes:,} bytes"),
        ("data fingerprint (BLAKE2b)", made.data_fingerprint or "none: read from a pipe"),
        ("records read", count(analysis.figures["events"])),
        *([("limit", f"{made.limit:,} records")] if made.limit is not None else []),
        ("configuration fingerprint", made.state_fingerprint),
        ("fingerprint of all scores", made.score_fingerprint),
        *made.versions.items(),
        ("made", made.made),
    ]
    return section(
        "configuration",
        "Configuration, versions, data",
        table("What this report was made from", ("", ""), rows, text_columns=2, class_="facts"),
        tag("h3", "Configuration"),
        tag("pre", tag("code", escape_lines(configuration_text(analysis.config))), tabindex="0"),
        note("As set; everything else has its default. Secrets are never shown."),
    )


def configuration_text(config: Config) -> str:
    """Return the settings as YAML, without secrets."""
    values = config.model_dump(mode="json", exclude_unset=True, by_alias=True)
    shown = yaml.safe_dump(_without_secrets(values), sort_keys=False, allow_unicode=True)
    return str(shown).rstrip()


def _without_secrets(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            key: _HIDDEN
            if _SECRET.search(str(key)) and inner is not None
            else _without_secrets(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [_without_secrets(inner) for inner in value]
    return value


def _heat_map(analysis: Analysis, drift: Drift, shown: list[GroupDrift], width: int) -> Markup:
    phone = width < 2 * _LABELS
    left, row_height, above = (0, 2 * _ROW - 4, 18) if phone else (_LABELS, _ROW, 0)
    parts = len(drift.starts) - 1
    cell = (width - left) / parts
    drawn: list[Markup] = []
    for row, group in enumerate(shown):
        top = row * row_height
        name = _cut(group.name, _LONGEST_LABEL)
        if phone:
            drawn.append(tag("text", name, x=0, y=top + 13))
        else:
            drawn.append(tag("text", name, x=left - 8, y=top + 15, class_="end"))
        for part, index in enumerate(group.index.tolist()):
            title = f"{group.name}, {_part_name(analysis, drift, part)}: {number(index, 2)}"
            drawn.append(
                tag(
                    "rect",
                    tag("title", title),
                    x=left + part * cell,
                    y=top + above,
                    width=cell - 1,
                    height=_ROW - 3,
                    class_="cell",
                    style=f"--heat:{min(1.0, index / _DARKEST):.2f}",
                )
            )
    bottom = len(shown) * row_height
    for part, class_ in ((0, None), (parts // 2, "middle"), (parts - 1, "end")):
        x = {None: left, "middle": left + part * cell, "end": width}[class_]
        name = _part_name(analysis, drift, part)
        drawn.append(tag("text", name, x=x, y=bottom + 16, class_=class_))
    most = shown[0]
    label = (
        f"Heat map of feature drift. {most.name} moved most: {number(float(most.index.max()), 2)} "
        f"at {_part_name(analysis, drift, int(most.index.argmax()))}."
    )
    return svg(width, bottom + 24, label, drawn)


def _part_name(analysis: Analysis, drift: Drift, part: int) -> str:
    first = int(drift.starts[part])
    if analysis.scored.has_time:
        times = analysis.scored.times_ms
        long = int(times[-1] - times[0]) > _SHORT_SPAN_MS
        return (day if long else short_moment)(int(times[first]))
    return f"event {first:,}"


_SHORT_SPAN_MS = 10 * 86_400_000


def _drift_table(analysis: Analysis, drift: Drift) -> Markup:
    shown = drift.groups[:_TABLE_FEATURES]
    missing = any(max(group.missing) for group in shown)
    rows = [
        (
            _cut(group.name),
            number(float(group.index.max()), 2),
            _part_name(analysis, drift, int(group.index.argmax())),
            _usual(group.early),
            _usual(group.late),
            *([f"{share(group.missing[0])}, {share(group.missing[1])}"] if missing else []),
        )
        for group in shown
    ]
    return table(
        "Features by their largest index, with median (5 to 95 %) of the first and last quarter",
        (
            *("feature", "largest", "at", "first quarter", "last quarter"),
            *(("missing in each",) if missing else ()),
        ),
        rows,
    )


def _found(analysis: Analysis) -> Markup | None:
    """Render what the section `drift` of the configuration has found, where there is one."""
    if not analysis.config.drift:
        return None
    total = analysis.scored.drifts
    if not total:
        return note("The section ", tag("code", "drift"), " has found no change while running.")
    rows = [
        (
            f"{change.on}: {_cut(change.feature)}" if change.feature else change.on,
            count(sequence),
            number(change.before),
            number(change.after),
        )
        for sequence, change in analysis.changes
    ]
    shown = f", the first {len(rows)} of {total:,}" if len(rows) < total else ""
    return table(
        f"Drifts found while running, by the section drift{shown}",
        ("on", "in the events up to", "mean before", "mean after"),
        rows,
    )


def _usual(values: tuple[float, float, float] | None) -> str:
    if values is None:
        return NONE
    low, middle, high = values
    return f"{number(middle, 3)} ({number(low, 3)} to {number(high, 3)})"


def _leading_reasons(analysis: Analysis) -> Markup:
    ordered = sorted(analysis.reasons.items(), key=lambda item: (-sum(item[1]), item[0]))
    labelled = any(normal + anomalous for _, (normal, anomalous, _) in ordered)
    largest = sum(ordered[0][1])
    rows: list[tuple[Child, ...]] = []
    for name, (normal, anomalous, unknown) in ordered[:_SHOWN_REASONS]:
        bar = tag(
            "span",
            *(
                tag("i", class_=class_, style=f"width:{100 * part / largest:.1f}%")
                for part, class_ in ((anomalous, "hit"), (normal, "false"), (unknown, "unknown"))
                if part
            ),
            class_="stack",
            aria_hidden="true",
        )
        total = normal + anomalous + unknown
        right = share(anomalous / (normal + anomalous)) if normal + anomalous else NONE
        named = tag("span", tag("span", _cut(name)), bar)
        rows.append((named, count(total), *([right] if labelled else [])))
    header = ("first reason", "alerts", *(("anomalous",) if labelled else ()))
    keys: list[Key] = []
    if labelled:
        keys = [("area", "hit", "anomalous"), ("area", "normal-bar", "normal")]
        if any(unknown for _, (_, _, unknown) in ordered):
            keys.append(("area", "unknown", "no label"))
    return join(
        tag("h3", "What the alerts were about first"),
        key_to(keys) if keys else None,
        table("Alerts by the first of their reasons", header, rows, class_="bars"),
    )


def _alert(seen: SeenAlert, rank: int) -> Markup:
    body = seen.body
    identity = body["event_id"]
    shown = (
        value_text(identity) if identity is not None else f"record {body['receipt']['offset']:,}"
    )
    verdict = None
    if not np.isnan(seen.label):
        name, class_ = ("anomalous", "hit") if seen.label > 0 else ("normal", "false")
        verdict = tag("span", name, class_=f"verdict {class_}")
    head = tag(
        "p",
        tag("b", shown),
        tag("span", moment_of(body["event_time"])),
        tag("span", body["severity"], class_="severity"),
        verdict,
        class_="head",
    )
    facts = tag(
        "p",
        f"score {number(body['score'])} (threshold {number(body['threshold'])}), "
        f"one in {number(body['rarity'])}",
        class_="facts",
    )
    reasons = (_reason(reason) for reason in body["reasons"])
    ordinary = None
    if "ordinary" in body:
        ordinary = tag("p", value_text(ordinary_sentence(body["ordinary"])), class_="facts")
    return tag("li", head, facts, tag("ul", *reasons), ordinary, value=str(rank))


def _reason(reason: Mapping[str, Any]) -> Markup:
    usual = reason.get("usual")
    return tag(
        "li",
        tag("span", tag("i", style=f"width:{100 * reason['share']:.0f}%"), class_="meter"),
        tag("span", f"{100 * reason['share']:.0f} %", class_="share"),
        tag(
            "span",
            tag("b", value_text(reason["feature"])),
            " = ",
            value_text(reason["value"]),
            " ",
            tag("small", f"usual {number(usual[0])} to {number(usual[1])}") if usual else None,
        ),
    )


def moment_of(iso_time: str) -> str:
    """``2018-04-01 00:00:31`` out of ``2018-04-01T00:00:31.000Z``."""
    return iso_time.replace("T", " ").removesuffix("Z").removesuffix(".000")


def _cut(name: str, longest: int = _LONGEST_NAME) -> str:
    return name if len(name) <= longest else name[: longest - 1] + "…"
