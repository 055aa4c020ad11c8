"""Alerts and incidents as the detector writes them, for tests of who reads them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from kafka_broker.clients import Message

NOW = datetime.now(UTC).replace(microsecond=0)


def text(when: datetime) -> str:
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def alert(number: int, severity: str = "high", **changes: Any) -> dict[str, Any]:
    body: dict[str, Any] = {
        "id": f"events-0-{number}",
        "detector": "cards",
        "event_id": str(number),
        "event_time": text(NOW - timedelta(minutes=5) + timedelta(milliseconds=number)),
        "score": 15.6,
        "threshold": 5.5,
        "rarity": 660600.0,
        "severity": severity,
        "model": "ensemble",
        "reasons": [
            {"feature": "TX_AMOUNT", "value": 844.5, "share": 0.46, "deviations": 18.2,
             "usual": [0.01, 141.3]},
        ],
        "receipt": {"topic": "events", "partition": 0, "offset": number,
                    "configuration": "cb49d25d91156f62", "sequence": number, "chunk": 1,
                    "state": "9a1cad58593c4ff2105c0c9b88369959", "features": [844.5]},
        "event": {"CUSTOMER_ID": 625, "TX_AMOUNT": 844.53},
    }  # fmt: skip
    return body | changes


def incident(
    name: str, state: str = "open", revision: int = 1, severity: str = "high", **changes: Any
) -> dict[str, Any]:
    begin = NOW - timedelta(minutes=10)
    change = {"open": "opened", "updated": "count", "resolved": "quiet"}[state]
    body: dict[str, Any] = {
        "id": f"cards:{name}",
        "state": state,
        "revision": revision,
        "change": change,
        "detector": "cards",
        "scope": {"field": "CUSTOMER_ID", "value": "625"},
        "severity": severity,
        "opened": text(begin),
        "first_seen": text(begin),
        "last_seen": text(begin + timedelta(minutes=revision)),
        "resolved": text(NOW - timedelta(minutes=1)) if state == "resolved" else None,
        "alerts": 12,
        "held": 988,
        "hidden": 0,
        "kinds": {"event": 998, "rate": 2},
        "hidden_by": {},
        "peak": {"time": text(begin), "rarity": 660600.0, "alert": "events-0-1"},
        "first": {"alert": "events-0-1", "topic": "events", "partition": 0, "offset": 1},
        "last": {"alert": "events-0-9", "topic": "events", "partition": 0, "offset": 9},
        "alert_ids": ["events-0-1", "events-0-9"],
        "attributes": [
            {"field": "TERMINAL_ID", "value": "4208", "share": 0.97, "usual_share": 0.02,
             "lift": 48.5}
        ],
        "reasons": [{"feature": "TX_AMOUNT", "share": 0.8}],
        "condition": {"field": "TERMINAL_ID", "value": "4208", "covers": 0.93},
        "reopened": 0,
        "merged_into": None,
        "acknowledged": None,
        "snoozed": None,
        "receipt": {"configuration": "cb49d25d91156f62", "sequence": revision, "state": "9a1c"},
    }  # fmt: skip
    return body | changes


def record(body: dict[str, Any], partition: int | None = 0) -> Message:
    """The record of a message; of an incident its id is the key, as compaction needs it."""
    key = body["id"].encode() if "state" in body else b"625"
    return Message(json.dumps(body).encode(), partition, key)
