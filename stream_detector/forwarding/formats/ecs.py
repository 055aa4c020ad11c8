"""Messages by the Elastic Common Schema 8.11.

https://www.elastic.co/guide/en/ecs/8.11/

Only fields of the schema stand on its level; what has no place there is under
``stream_detector``, which ECS leaves to others.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

import stream_detector
from stream_detector.alerts import SEVERITIES
from stream_detector.forwarding.message import Message
from stream_detector.forwarding.wording import text_of, title_of

ECS_VERSION = "8.11.0"

_RISK = (21.0, 47.0, 73.0, 99.0)
"""Elastic's own scores of the four severities."""

_ACTIONS = {"open": "incident-opened", "updated": "incident-updated", "resolved": "incident-closed"}
_TYPES = {"open": "start", "updated": "change", "resolved": "end"}


def ecs(message: Message) -> dict[str, Any]:
    """Return a message as a document of ECS."""
    body, level = message.body, SEVERITIES.index(message.severity)
    state = message.state
    event: dict[str, Any] = {
        "kind": "alert",
        "id": message.key,
        "dataset": f"stream_detector.{message.kind}",
        "module": "stream_detector",
        "provider": str(body.get("detector")),
        "severity": int(_RISK[level]),
        "risk_score": _RISK[level],
        "action": "anomaly-detected" if state is None else _ACTIONS[state],
        "type": ["info"] if state is None else [_TYPES[state]],
    }
    if (begin := message.begin) is not None:
        event["start"] = _text(begin)
    if (end := message.end) is not None and state == "resolved":
        event["end"] = _text(end)
    at = message.begin if state in (None, "open") else message.end
    document: dict[str, Any] = {
        "@timestamp": _text(at or datetime.fromtimestamp(message.record.timestamp / 1000, UTC)),
        "ecs": {"version": ECS_VERSION},
        "message": f"{title_of(message)}\n{text_of(message)}",
        "event": event,
        "log": {"level": message.severity},
        "rule": {"name": str(body.get("detector")), "ruleset": "stream-detector"},
        "observer": {
            "name": str(body.get("detector")),
            "product": "stream-detector",
            "vendor": "stream-detector",
            "type": "anomaly-detector",
            "version": stream_detector.__version__,
        },
        "labels": {"severity": message.severity},
        "stream_detector": {message.kind: _flat_event(body)},
    }
    if state is not None:
        document["labels"] |= {"incident": message.id, "state": state}
    return document


def _flat_event(body: Any) -> dict[str, Any]:
    """Return a body with its event as a text: events of others would give an index their types."""
    if body.get("event") is None:
        return dict(body)
    return {**body, "event": msgspec.json.encode(body["event"]).decode()}


def _text(when: datetime) -> str:
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
