"""What an incident's message says, in words for people. Texts come from events: callers escape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stream_detector.visible import shown

_LEAST_SHARE = 0.001


def scope_text(body: Mapping[str, Any]) -> str:
    """What it is about: ``CUSTOMER_ID 625``, or ``everything``."""
    scope = body.get("scope") or {}
    if scope.get("field") is None:
        return "everything"
    return f"{shown(str(scope['field']))} {shown(str(scope.get('value')))}"


def counts_text(body: Mapping[str, Any]) -> str:
    """``12 alerts, 988 held back, 3 hidden by rules``."""
    alerts = int(body.get("alerts", 0))
    parts = [f"{alerts:,} alert" if alerts == 1 else f"{alerts:,} alerts"]
    if held := int(body.get("held", 0)):
        parts.append(f"{held:,} held back")
    if hidden := int(body.get("hidden", 0)):
        parts.append(f"{hidden:,} hidden by rules")
    return ", ".join(parts)


def attribute_text(body: Mapping[str, Any]) -> str:
    """The value that explains most: ``carrier AA: 97 % of it, usually 2 %``; empty without one."""
    attributes = body.get("attributes") or ()
    if not attributes:
        return ""
    first = attributes[0]
    return (
        f"{shown(str(first['field']))} {shown(str(first['value']))}: "
        f"{_percent(first['share'])} of it, usually {_percent(first['usual_share'])}"
    )


def condition_text(body: Mapping[str, Any]) -> str:
    """The one condition that covers most of its alerts; empty where none can be said.

    Nor is it said again where the value that explains most is the condition.
    """
    condition = body.get("condition")
    first: Mapping[str, Any] = next(iter(body.get("attributes") or ()), {})
    named = ("field", "value")
    if not condition or [condition.get(n) for n in named] == [first.get(n) for n in named]:
        return ""
    covers = _percent(condition["covers"])
    if "field" in condition:
        what = f"{shown(str(condition['field']))} is {shown(str(condition.get('value')))}"
    else:
        what = f"{shown(str(condition.get('feature')))} is the first reason"
    return f"{what} in {covers} of its alerts"


def care_text(body: Mapping[str, Any]) -> str:
    """Who looks after it, or wants to hear no more of it; empty where nobody does."""
    parts = []
    for name in ("acknowledged", "snoozed"):
        if care := body.get(name):
            until = f" until {care['until']}" if care.get("until") else ""
            why = f" ({shown(str(care['why']))})" if care.get("why") else ""
            parts.append(f"{name} by {shown(str(care.get('owner')))}{until}{why}")
    return ", ".join(parts)


_CHANGES = {
    "opened": "opened",
    "severity": "more severe",
    "scope": "is about something else now",
    "count": "more, or of another kind",
    "acknowledged": "acknowledged",
    "snoozed": "snoozed",
    "reopened": "opened again",
    "merged": "part of another one",
    "quiet": "over: quiet since",
    "expired": "over: its end was never seen",
    "evicted": "over: there was no room for it",
    "rule": "a rule has changed",
}


def change_text(body: Mapping[str, Any]) -> str:
    """What its last message was about."""
    change = str(body.get("change", ""))
    text = _CHANGES.get(change, shown(change))
    if change == "merged" and body.get("merged_into"):
        text += f", {shown(str(body['merged_into']))}"
    return text


def _percent(share: float) -> str:
    if 0 < share < _LEAST_SHARE:
        return "under 0.1 %"
    return f"{100 * share:.3g} %"
