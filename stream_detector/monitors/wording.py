"""An alert of a monitor as a sentence, for whoever shows alerts.

What is read is an alert's body, which may have come from others: texts in it are as they were,
and whoever shows the sentence escapes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

_LONGEST_KEY = 80
_WITHOUT_DECIMALS = 1000
_SAID = frozenset(
    {"name", "field", "key", "start", "end", "actual", "expected", "pace_of_others", "silent_since"}
)


def monitor_sentence(alert: Mapping[str, Any]) -> str:
    """Say what a monitor has found.

    >>> print(monitor_sentence({
    ...     "monitor": {"name": "departures", "field": "carrier", "key": "AA", "actual": 3,
    ...         "start": "2013-03-04T09:00:00.000Z", "end": "2013-03-04T12:00:00.000Z",
    ...         "expected": 41.2, "pace_of_others": 0.98},
    ...     "reasons": [{"feature": "events", "value": 3, "share": 1, "usual": [28.4, 55.2]}]}))
    departures, carrier AA: 3 events from 2013-03-04 09:00 to 12:00 UTC where 41.2 were expected \
(band 28.4 to 55.2); the others at 0.98 of their pace

    Raises ``LookupError``, ``TypeError`` or ``ValueError`` where it is no alert of a monitor.
    """
    monitor, reasons = alert["monitor"], alert["reasons"]
    who = subject(monitor)
    if text := reasons[0].get("text"):
        value = f"{reasons[0]['feature']} {plain(reasons[0]['value'])}"
        return f"{who}: {value} {_when(monitor)}: {text}"
    said = _compared if "expected" in monitor and "actual" in monitor else _named
    return f"{who}: {said(monitor, reasons)}{_rest(monitor)}"


def subject(monitor: Mapping[str, Any]) -> str:
    """Return the monitor and its key: ``departures, carrier AA``."""
    field, key = monitor["field"], str(monitor["key"])
    if field is None:  # a partition, a topic, or everything
        return f"{monitor['name']}, {_cut(key)}" if key else str(monitor["name"])
    return f"{monitor['name']}, {field} {_cut(key) if key else '(empty)'}"


def _compared(monitor: Mapping[str, Any], reasons: list[Mapping[str, Any]]) -> str:
    """What there was, and what was expected."""
    first = reasons[0]
    if first["feature"] == "silence":
        return _silent(monitor, first)
    feature, actual = str(first["feature"]), plain(monitor["actual"])
    counted = feature == "events"
    noun = "event" if actual == "1" else "events"
    what = f"{actual} {noun}" if counted else f"{feature} {actual}"
    expected = plain(monitor["expected"])
    verb = "were" if counted else "was"
    text = f"{what} {_when(monitor)} where {expected} {verb} expected"
    if usual := first.get("usual"):
        text += f" (band {plain(usual[0])} to {plain(usual[1])})"
    return text + _pace(monitor)


def _pace(monitor: Mapping[str, Any]) -> str:
    """What the others did, where there are any."""
    if (pace := monitor.get("pace_of_others")) is not None and monitor["field"] is not None:
        return f"; the others at {pace:.2f} of their pace"
    return ""


def _silent(monitor: Mapping[str, Any], reason: Mapping[str, Any]) -> str:
    """No event, for so long; the band of a silence is in seconds."""
    text = f"no event {_when(monitor)} where {plain(monitor['expected'])} were expected"
    if usual := reason.get("usual"):
        gap = _hours(reason["value"])
        text += f" ({gap}; one gap of a hundred lasts {_hours(usual[1])})"
    return text + _pace(monitor)


def _hours(seconds: float) -> str:
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.3g} s"


def _named(monitor: Mapping[str, Any], reasons: list[Mapping[str, Any]]) -> str:
    """The reasons with their values, and when."""
    parts = []
    for reason in reasons[:3]:
        usual = reason.get("usual")
        beside = f" (usual {plain(usual[0])} to {plain(usual[1])})" if usual else ""
        parts.append(f"{reason['feature']} {plain(reason['value'])}{beside}")
    return f"{', '.join(parts)} {_when(monitor)}"


def _rest(monitor: Mapping[str, Any]) -> str:
    """What a kind says beyond that, in its own words: a calendar's, for one."""
    parts = [
        f"{name.replace('_', ' ')} {plain(value)}"
        for name, value in list(monitor.items())[:20]
        if name not in _SAID and value is not None and not isinstance(value, dict | list)
    ]
    return "".join(f"; {part}" for part in parts)


def _when(monitor: Mapping[str, Any]) -> str:
    """``from 2013-03-04 09:00 to 12:00 UTC``; seconds only where there are any."""
    start, end = (datetime.fromisoformat(str(monitor[name])) for name in ("start", "end"))
    if start == end:
        return f"at {start:%Y-%m-%d} {_clock(start)} UTC"
    day = "" if start.date() == end.date() else f"{end:%Y-%m-%d} "
    return f"from {start:%Y-%m-%d} {_clock(start)} to {day}{_clock(end)} UTC"


def _clock(moment: datetime) -> str:
    return f"{moment:%H:%M:%S}" if moment.second or moment.microsecond else f"{moment:%H:%M}"


def plain(value: Any) -> str:
    """A number with three digits, thousands apart; a text cut where it is long."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return _cut("missing" if value is None else str(value))
    if isinstance(value, int) or abs(value) >= _WITHOUT_DECIMALS:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_KEY else text[: _LONGEST_KEY - 1] + "…"
