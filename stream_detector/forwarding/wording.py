"""Messages in words: a title of one line and a text of a few. Plain text, nothing escaped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stream_detector.forwarding.message import Message
from stream_detector.monitors.wording import monitor_sentence
from stream_detector.visible import shown

_LONGEST_VALUE = 100
_LONGEST_SENTENCE = 500
_REASONS = 5
_ATTRIBUTES = 3


def title_of(message: Message) -> str:
    """Return severity, what it is and about whom: on one line, without what nobody sees."""
    body, severity = message.body, message.severity.upper()
    detector = _short(body.get("detector"))
    if message.kind == "alert":
        what = f"{_short(body['kind'])} of {_short(_monitored(body))}" if "monitor" in body else ""
        return f"{severity} {detector}: {what or _event(body)}"
    word = {"open": "incident", "updated": "incident goes on", "resolved": "incident is over"}
    return f"{severity} {detector}: {word[str(message.state)]}, {scope_of(body)}"


def text_of(message: Message) -> str:
    """Return a few lines: what was found, since when, why. As ``title_of``, line by line."""
    lines = _alert_lines(message.body) if message.kind == "alert" else _incident_lines(message.body)
    return "\n".join(lines)


def scope_of(body: Mapping[str, Any]) -> str:
    """Whom an incident is about, in words."""
    scope = body.get("scope")
    if not isinstance(scope, Mapping) or scope.get("field") is None:
        return "everything"
    return f"{_short(scope['field'])} {_short(scope.get('value'))}"


def _short(value: object) -> str:
    return shown(value, _LONGEST_VALUE)


def _event(body: Mapping[str, Any]) -> str:
    name = body.get("event_id")
    return f"event {_short(body['id'] if name is None else name)}"


def _monitored(body: Mapping[str, Any]) -> str:
    monitor = body["monitor"]
    if not isinstance(monitor, Mapping) or monitor.get("key") is None:
        return "everything"
    field = monitor.get("field")
    return f"{field} {monitor['key']}" if field is not None else str(monitor["key"])


def _alert_lines(body: Mapping[str, Any]) -> list[str]:
    lines = [f"{_short(body.get('event_time'))}, {_number(body.get('rarity'))}"]
    if "monitor" in body:
        try:
            return [*lines, shown(monitor_sentence(body), _LONGEST_SENTENCE)]
        except (LookupError, TypeError, ValueError, AttributeError):
            return lines  # of a later version, or somebody else's
    for reason in _list(body.get("reasons"))[:_REASONS]:
        usual = reason.get("usual")
        beside = ""
        if isinstance(usual, list) and len(usual) == 2:  # noqa: PLR2004 - from, to
            beside = f" (usual {_short(usual[0])} to {_short(usual[1])})"
        value = f"{_short(reason.get('feature'))} = {_short(reason.get('value'))}{beside}"
        lines.append(value)
    return lines


def _incident_lines(body: Mapping[str, Any]) -> list[str]:
    times = [f"since {_short(body.get('first_seen') or body.get('opened'))}"]
    if body.get("resolved") is not None:
        times.append(f"over since {_short(body['resolved'])}")
    elif body.get("last_seen") is not None:
        times.append(f"last seen {_short(body['last_seen'])}")
    lines = [", ".join(times)]
    count = f"{_short(body.get('alerts', 0))} alerts"
    for name, word in (("held", "held back"), ("hidden", "hidden by rules")):
        if body.get(name):
            count += f", {_short(body[name])} {word}"
    lines.append(count)
    condition = body.get("condition")
    if isinstance(condition, Mapping):
        covers = condition.get("covers")
        share = f" covers {covers:.0%} of them" if isinstance(covers, int | float) else ""
        lines.append(f"{_short(condition.get('field'))} {_short(condition.get('value'))}{share}")
    lines += [
        f"{_short(each.get('field'))} = {_short(each.get('value'))}"
        for each in _list(body.get("attributes"))[:_ATTRIBUTES]
    ]
    acknowledged = body.get("acknowledged")
    if isinstance(acknowledged, Mapping):
        lines.append(f"acknowledged by {_short(acknowledged.get('owner'))}")
    if body.get("merged_into") is not None:
        lines.append(f"goes on as {_short(body['merged_into'])}")
    return lines


def _list(value: Any) -> list[Mapping[str, Any]]:
    """Return the objects of a list; of everything else none."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _number(rarity: Any) -> str:
    return f"1 in {rarity:,.0f}" if isinstance(rarity, int | float) else "rare"
