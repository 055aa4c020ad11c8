"""Messages by the Open Cybersecurity Schema Framework 1.3: Detection Finding (class 2004).

https://schema.ocsf.io/1.3.0/classes/detection_finding
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

import stream_detector
from stream_detector.alerts import SEVERITIES
from stream_detector.forwarding.message import Message
from stream_detector.forwarding.wording import text_of, title_of

OCSF_VERSION = "1.3.0"

_CATEGORY, _CLASS = 2, 2004
_CREATE, _UPDATE, _CLOSE = 1, 2, 3
_ACTIVITIES = {None: _CREATE, "open": _CREATE, "updated": _UPDATE, "resolved": _CLOSE}
_NAMES = {_CREATE: "Create", _UPDATE: "Update", _CLOSE: "Close"}
_SEVERITY_NAMES = ("Low", "Medium", "High", "Critical")
_NEW, _IN_PROGRESS, _RESOLVED = 1, 2, 4
_STATUS_NAMES = {_NEW: "New", _IN_PROGRESS: "In Progress", _RESOLVED: "Resolved"}
_LEARNING = 4
_OTHER = 99
_MOST_OBSERVABLES = 20


def ocsf(message: Message) -> dict[str, Any]:
    """Return a message as a Detection Finding."""
    body, level = message.body, SEVERITIES.index(message.severity)
    activity, status = _ACTIVITIES[message.state], _status(message)
    at = message.begin if activity == _CREATE else message.end
    time_ms = message.record.timestamp if at is None else _ms(at)
    finding: dict[str, Any] = {
        "uid": message.id,
        "title": title_of(message),
        "desc": text_of(message),
        "types": sorted(message.kinds),
        "product_uid": str(body.get("detector")),
        "analytic": {
            "name": str(body.get("model") or body.get("detector")),
            "type_id": _LEARNING,
            "type": "Learning (ML/DL)",
        },
    }
    times = (("first_seen_time", message.begin), ("last_seen_time", _last_seen(message)))
    finding.update({name: _ms(when) for name, when in times if when is not None})
    document: dict[str, Any] = {
        "activity_id": activity,
        "activity_name": _NAMES[activity],
        "category_uid": _CATEGORY,
        "category_name": "Findings",
        "class_uid": _CLASS,
        "class_name": "Detection Finding",
        "type_uid": _CLASS * 100 + activity,
        "type_name": f"Detection Finding: {_NAMES[activity]}",
        "severity_id": level + 2,
        "severity": _SEVERITY_NAMES[level],
        "status_id": status,
        "status": _STATUS_NAMES[status],
        "time": time_ms,
        "message": title_of(message),
        "metadata": {
            "version": OCSF_VERSION,
            "uid": message.key,
            "product": {
                "name": "stream-detector",
                "vendor_name": "stream-detector",
                "version": stream_detector.__version__,
            },
            "log_name": message.source.topic,
        },
        "finding_info": finding,
        "observables": _observables(message),
        "raw_data": msgspec.json.encode(body).decode(),
    }
    if message.begin is not None:
        document["start_time"] = _ms(message.begin)
    if message.state == "resolved" and message.end is not None:
        document["end_time"] = _ms(message.end)
    if message.kind == "incident" and isinstance(body.get("alerts"), int):
        document["count"] = max(1, body["alerts"])
    if not document["observables"]:
        del document["observables"]
    return document


def _status(message: Message) -> int:
    if message.state == "resolved":
        return _RESOLVED
    known = ("acknowledged", "snoozed")
    return _IN_PROGRESS if any(message.body.get(name) for name in known) else _NEW


def _last_seen(message: Message) -> datetime | None:
    return message.begin if message.kind == "alert" else message.end


def _observables(message: Message) -> list[dict[str, Any]]:
    """Fields and values that it is about: of an incident its scope and attributes."""
    body = message.body
    pairs: list[Mapping[str, Any]] = []
    if isinstance(body.get("scope"), Mapping):
        pairs.append(body["scope"])
    if isinstance(monitor := body.get("monitor"), Mapping):
        pairs.append({"field": monitor.get("field"), "value": monitor.get("key")})
    attributes = body.get("attributes")
    pairs += [each for each in attributes if isinstance(each, Mapping)] if attributes else []
    found: dict[str, str] = {}
    for pair in pairs:
        if pair.get("field") is not None and pair.get("value") is not None:
            found.setdefault(str(pair["field"]), str(pair["value"]))
    return [
        {"name": name, "value": value, "type_id": _OTHER, "type": "Other"}
        for name, value in list(found.items())[:_MOST_OBSERVABLES]
    ]


def _ms(when: datetime) -> int:
    return round(when.astimezone(UTC).timestamp() * 1000)
