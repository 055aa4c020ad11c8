"""Section on monitors: their alerts by key, and counts beside the band of the keys that matter."""

from __future__ import annotations

from datetime import datetime

import numpy as np

from stream_detector.evaluation.monitor_samples import KeySeries
from stream_detector.evaluation.monitor_tally import KeyAlerts, MonitorAlerts
from stream_detector.events import Float64, Int64
from stream_detector.markup import Child, Markup, tag
from stream_detector.monitors.wording import monitor_sentence
from stream_detector.report.analysis import Analysis
from stream_detector.report.elements import LEFT, Key, figure, note, section, table
from stream_detector.report.plot import Plot
from stream_detector.report.scales import Linear, time_scale
from stream_detector.report.text import count, number, plural, short_moment

_DRAWN_KEYS = 4
_DRAWN_MONITORS = 4
_TABLE_KEYS = 12
_BUCKETS = 336
_AFTER = 84
_LONGEST_NAME = 60

_LEGEND: list[Key] = [
    ("area", "spread", "band without an alert"),
    ("dashed", "limit", "expected"),
    ("line", "counted", "there were"),
    ("dot", "hit", "alert"),
    ("area", "hit-band", "the strongest"),
]


def monitors_section(analysis: Analysis) -> Markup | None:
    """Render what monitors have found; nothing without any."""
    monitors = analysis.scored.monitors
    if not monitors:
        return None
    parts: list[Child] = []
    for name, alerts in monitors.each.items():
        parts += [tag("h3", _title(name, alerts)), _counts(alerts)]
        if alerts.keys:
            parts.append(_key_table(alerts))
    drawn = [
        _figure(name, alerts, key, series)
        for name, alerts in list(monitors.each.items())[:_DRAWN_MONITORS]
        for key, series in _chosen(alerts, analysis.monitor_series.get(name, {}))
    ]
    if drawn:
        parts.append(
            note(
                "Drawn are sums over the shortest width that is judged: a value outside of its "
                "band deviates by more than the threshold. Alerts of longer widths are marked "
                "where they end, and the strongest of a key over its whole length."
            )
        )
    return section("monitors", "Monitors", *parts, *drawn)


def _title(name: str, alerts: MonitorAlerts) -> str:
    by = "" if alerts.key_field is None else f" by {alerts.key_field[:_LONGEST_NAME]}"
    return f"{name}: {alerts.kind}{by}"


def _counts(alerts: MonitorAlerts) -> Markup:
    said = [f"{plural(alerts.alerts, 'alert')} about {plural(len(alerts.keys), 'key')}"]
    if (own := alerts.figures) is not None:
        said.append(f"{plural(own.keys, 'key')} remembered, {count(own.judged)} of them judged")
        if own.evicted:
            said.append(f"{count(own.evicted)} forgotten for want of room (max_keys)")
        if own.without_key:
            said.append(
                f"{count(own.without_key)} events without a key or what is judged, not counted"
            )
    return note("; ".join(said) + ".")


def _key_table(alerts: MonitorAlerts) -> Markup:
    strongest = alerts.strongest_keys(_TABLE_KEYS)
    rows = [
        (
            _shown(each),
            monitor_sentence(each.strongest).partition(": ")[2],
            count(each.alerts),
            number(each.strongest["score"], 3),
        )
        for each in strongest
    ]
    more = f", {len(rows)} of {len(alerts.keys):,}" if len(rows) < len(alerts.keys) else ""
    return table(
        f"Keys with the strongest alerts{more}",
        ("key", "the strongest", "alerts", "score"),
        rows,
        text_columns=2,
        class_="found",
    )


def _shown(each: KeyAlerts) -> str:
    key = str(each.strongest["monitor"]["key"])
    return _cut(key) if key else "all together"


def _chosen(alerts: MonitorAlerts, series: dict[str, KeySeries]) -> list[tuple[str, KeySeries]]:
    """The keys that are drawn: those with the strongest alerts, then the heaviest."""
    named = [str(each.strongest["monitor"]["key"]) for each in alerts.strongest_keys(_DRAWN_KEYS)]
    wanted = dict.fromkeys([*named, *series])
    return [(key, series[key]) for key in wanted if key in series][:_DRAWN_KEYS]


def _figure(name: str, alerts: MonitorAlerts, key: str, series: KeySeries) -> Markup:
    of = alerts.keys.get(key)
    ends_ms = np.array([_ms(end) for end in of.ends] if of is not None else [], dtype=np.int64)
    strongest = None
    if of is not None:
        about_it = of.strongest["monitor"]
        strongest = _ms(about_it["start"]), _ms(about_it["end"])
    shown = _stretch(series.ends_ms, None if strongest is None else strongest[1])
    hours = series.width_ms / 3_600_000
    width = f"{number(hours, 3)} h" if hours >= 1 else f"{number(60 * hours, 3)} min"
    what = "all together" if alerts.key_field is None else _cut(key) or "(empty)"
    about = "around the strongest alert" if strongest is not None else "the last ones"
    return figure(
        f"{name}, {what}: {series.feature} in {width}",
        lambda chart_width: _chart(series, shown, (ends_ms, strongest), chart_width),
        f"{shown.stop - shown.start:,} of {len(series.ends_ms):,} buckets, {about}.",
        legend=_LEGEND,
    )


def _stretch(ends_ms: Int64, around: int | None) -> slice:
    """The buckets that are drawn: some around a moment, or the last."""
    stop = len(ends_ms)
    if around is not None:
        stop = min(stop, int(np.searchsorted(ends_ms, around)) + _AFTER)
    start = max(stop - _BUCKETS, 0)
    return slice(start, min(start + _BUCKETS, len(ends_ms)))


def _chart(
    series: KeySeries, shown: slice, alerts: tuple[Int64, tuple[int, int] | None], width: int
) -> Markup:
    """Draw a key.

    Args:
        series: the key's.
        shown: which of its buckets.
        alerts: end of each, and the stretch of the strongest.
        width: of the chart.
    """
    alerts_ms, strongest = alerts
    ends_ms = series.ends_ms[shown]
    actual, expected, low, high = (column[shown] for column in series.columns)
    x_values: Float64 = ends_ms.astype(np.float64)
    most = float(np.nanmax(np.concatenate([actual, expected, high, [1.0]])))
    y = Linear(min(0.0, float(np.nanmin(np.concatenate([actual, low, [0.0]])))), most * 1.05)
    plot = Plot(
        width,
        260,
        time_scale(x_values),
        y,
        x_title="event time (UTC), end of each",
        y_title=series.feature,
        least_left=LEFT,
    )
    if strongest is not None:
        first_ms, last_ms = (min(max(each, ends_ms[0]), ends_ms[-1]) for each in strongest)
        plot.shade(float(first_ms), float(last_ms), "hit-band")
    plot.band(x_values, low, high, "spread")
    plot.line(x_values, expected, "limit dashed")
    plot.line(x_values, actual, "counted")
    marked = np.flatnonzero(np.isin(ends_ms, alerts_ms) & np.isfinite(actual))
    if len(marked):
        plot.marks(x_values[marked], actual[marked], "dot", "hit", 4)
    first, last = short_moment(float(ends_ms[0])), short_moment(float(ends_ms[-1]))
    return plot.render(
        f"{series.feature} beside the band, {first} to {last} UTC: {len(marked)} alerts, at most "
        f"{number(float(np.nanmax(np.append(actual, 0.0))), 3)}."
    )


def _ms(iso: str) -> int:
    return round(datetime.fromisoformat(iso).timestamp() * 1000)


def _cut(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"
