"""An alert or an incident as it is to be sent: what every target asks of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Literal
from urllib.parse import quote

import msgspec

from stream_detector.alerts import SEVERITIES
from stream_detector.events import Record, TopicPartition

Kind = Literal["alert", "incident"]
State = Literal["open", "updated", "resolved"]

_LONGEST_KEY = 200
_FIRST_YEAR, _LAST_YEAR = 1970, 9000
_STATES = ("open", "updated", "resolved")


class NoMessageError(Exception):
    """A record that is no alert and no incident, and in words why."""


@dataclass(frozen=True, slots=True)
class Message:
    """What is to be sent.

    Attributes:
        kind: alert or incident.
        body: as it stands in the topic.
        source: topic and partition of its record.
        record: the record itself.
    """

    kind: Kind
    body: Mapping[str, Any]
    source: TopicPartition
    record: Record

    @property
    def id(self) -> str:
        """The id: of an alert its own, of an incident that of all its messages."""
        return str(self.body["id"])

    @property
    def severity(self) -> str:
        """One of ``SEVERITIES``."""
        return str(self.body["severity"])

    @property
    def state(self) -> State | None:
        """The state of an incident; None for an alert."""
        return self.body["state"] if self.kind == "incident" else None

    @property
    def key(self) -> str:
        """What tells this message from every other one, and is the same for its copies.

        ASCII without blanks, at most ``_LONGEST_KEY`` characters: it goes into headers.
        """
        text = self.id if self.kind == "alert" else f"{self.id}/{self.body.get('revision', 0)}"
        key = quote(text, safe="-._~:/", errors="replace")
        if len(key) <= _LONGEST_KEY:
            return key
        return f"{key[: _LONGEST_KEY - 33]}-{blake2b(text.encode(), digest_size=16).hexdigest()}"

    @property
    def kinds(self) -> frozenset[str]:
        """Kinds of what was found: ``event``, or monitors' kinds."""
        if self.kind == "alert":
            return frozenset([str(self.body.get("kind") or "event")])
        kinds = self.body.get("kinds")
        return frozenset(map(str, kinds)) if isinstance(kinds, Mapping) else frozenset()

    @property
    def begin(self) -> datetime | None:
        """When it began, event time."""
        name = "event_time" if self.kind == "alert" else "first_seen"
        return moment(self.body.get(name) or self.body.get("opened"))

    @property
    def end(self) -> datetime | None:
        """When it was seen last or, for what is resolved, found to be over; event time."""
        if self.kind == "alert":
            return self.begin
        return moment(self.body.get("resolved") or self.body.get("last_seen")) or self.begin


def read_message(kind: Kind, source: TopicPartition, record: Record, text: bytes) -> Message:
    """Read a record's JSON. Raises ``NoMessageError``."""
    try:
        body = msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise NoMessageError(f"is no JSON: {error}") from error
    if not isinstance(body, dict):
        raise NoMessageError("is no object")
    name = body.get("id")
    if not isinstance(name, str) or not name:
        raise NoMessageError("has no id")
    if body.get("severity") not in SEVERITIES:
        raise NoMessageError("has no severity")
    if kind == "incident" and body.get("state") not in _STATES:
        raise NoMessageError("has no state")
    return Message(kind, body, source, record)


def moment(value: Any) -> datetime | None:
    """Read an ISO 8601 text as UTC; None where it is none, or of no year that an event has."""
    if not isinstance(value, str):
        return None
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        return None
    if not _FIRST_YEAR <= found.year <= _LAST_YEAR:
        return None
    return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).astimezone(UTC)
