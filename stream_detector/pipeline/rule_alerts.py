"""Alerts that rules bring about: one that has disabled itself, and what it had hidden."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from stream_detector.alerts import SEVERITIES, iso_time, monitor_message
from stream_detector.messages import Outgoing
from stream_detector.pipeline.batch_result import BatchResult
from stream_detector.pipeline.cause import Cause
from stream_detector.rules import Disabling, Hidden, RuleDisable, written_act
from stream_detector.rules.hidden import LARGEST_BODY_BYTES
from stream_detector.rules.standing import Standing

RULE_KIND = "rule"

_LONGEST_ID = 500

_LEAST_SEVERITY = "high"
"""A rule that was no good is no small matter, whatever showed it."""

_HEAD = ("id", "detector", "event_id", "event_time")
_OF_ALERT = (*_HEAD[1:], "score", "threshold", "rarity")


def compact(body: Mapping[str, Any]) -> str:
    """An alert's fields as JSON, within ``LARGEST_BODY_BYTES``: the least needed is left out."""
    text = msgspec.json.encode(body)
    if len(text) > LARGEST_BODY_BYTES:
        body = {**body, "receipt": {**body["receipt"], "features": []}}
        text = msgspec.json.encode(body)
    if len(text) > LARGEST_BODY_BYTES:
        text = msgspec.json.encode({**body, "reasons": []})
    return text.decode()


def body_of(event: Hidden) -> dict[str, Any]:
    """Fields of the alert that a hidden event would have been."""
    body: dict[str, Any] = msgspec.json.decode(event.body)
    return body


def add_late(event: Hidden, body: Mapping[str, Any], cause: Cause, outcome: BatchResult) -> None:
    """Alert an event that was hidden; the receipt says what has shown it.

    Args:
        event: what a rule has hidden.
        body: fields of the alert that it would have been.
        cause: its label, or where that was known.
        outcome: takes the alert.
    """
    shown = {
        **{name: body[name] for name in _HEAD},
        "rule": {"id": event.rule, "disabled": "label"},
        **{name: value for name, value in body.items() if name not in _HEAD},
        "receipt": {**body["receipt"], "shown_by": cause.told()},
    }
    message = monitor_message(
        shown, cause.source, cause.offset, event.key or "", event.time_ms, body["detector"]
    )
    first = [body["reasons"][0]["feature"]] if body["reasons"] else []
    outcome.add_alert((message, body["severity"], first))
    outcome.rule_alerts += 1


def add_disabled(
    disabling: Disabling,
    body: Mapping[str, Any],
    time_ms: int,
    cause: Cause,
    receipt: Mapping[str, Any],
    outcome: BatchResult,
) -> None:
    """Alert that a rule has disabled itself; nothing where it was disabled before.

    Args:
        disabling: which, and why.
        body: fields of the alert about what it ran into.
        time_ms: event time of that.
        cause: what has shown it.
        receipt: by which state.
        outcome: takes the alert.
    """
    standing = disabling.standing
    if standing is None:
        return
    identity = f"{RULE_KIND}:{standing.rule.id}:{body['id']}"
    outcome.disabled.append(standing.rule.id)
    # In the place of the act that added it, once that is compacted away: it comes back nowhere.
    act = RuleDisable(1, standing.rule.id, disabling.because, identity[:_LONGEST_ID])
    key, value = written_act(act)
    outcome.rulings.append(Outgoing(cause.source, cause.offset, key, value, [], None))
    alert = {
        "id": identity,
        "kind": RULE_KIND,
        **{name: body[name] for name in _OF_ALERT},
        "severity": max(body["severity"], _LEAST_SEVERITY, key=SEVERITIES.index),
        "model": RULE_KIND,
        "reasons": body["reasons"],
        "rule": _told(standing, disabling.because, body["id"]),
        "receipt": {
            **cause.told(),
            "configuration": body["receipt"]["configuration"],
            **receipt,
            "features": [],
        },
    }
    message = monitor_message(
        alert, cause.source, cause.offset, standing.rule.id, time_ms, body["detector"]
    )
    outcome.add_alert((message, alert["severity"], []))
    outcome.rule_alerts += 1


def _told(standing: Standing, because: str, alert: str) -> dict[str, Any]:
    rule = standing.rule
    times = {"first_hidden": standing.first_ms, "last_hidden": standing.last_ms}
    return {
        "id": rule.id,
        "disabled": because,
        "alert": alert,
        "owner": rule.owner,
        "why": rule.why,
        "made": rule.made,
        "expires": rule.expires,
        "covers": rule.box.text(),
        "hidden": standing.hidden,
        **{name: iso_time(time_ms) for name, time_ms in times.items() if time_ms >= 0},
    }
