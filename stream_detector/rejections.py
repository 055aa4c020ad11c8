"""Rejected records by reason and field, and what an operator can set against each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from stream_detector.config.derived.field_plan import FieldPlan
from stream_detector.config.models.config import Config
from stream_detector.events import Rejection

MOST_KINDS = 100
"""Kinds that are told apart. Fields come from the configuration, so a stream has a few dozen."""

OTHER = "other"
"""Reason of what is counted beyond ``MOST_KINDS``."""


@dataclass(slots=True)
class RejectedKind:
    """Records rejected for one reason at one field.

    Attributes:
        reason: one of ``decoding.REASONS``.
        field: the field that was looked at; None where it is the record as a whole.
        records: how many.
        first: where the first of them lies, for people.
        message: what exactly was wrong with the first; may quote the record.
    """

    reason: str
    field: str | None
    records: int
    first: str
    message: str


class RejectionTally:
    """Counts rejected records by reason and field. State: at most ``MOST_KINDS`` kinds and one."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[str, str | None], RejectedKind] = {}

    def add(self, rejection: Rejection, place: str) -> None:
        """Count one record; ``place`` says where it lies."""
        key = (rejection.reason, rejection.field)
        if key not in self._kinds and len(self._kinds) >= MOST_KINDS:
            key = (OTHER, None)
        kind = self._kinds.get(key)
        if kind is None:
            self._kinds[key] = RejectedKind(*key, 1, place, rejection.message)
        else:
            kind.records += 1

    def add_all(self, rejections: Iterable[Rejection], places: Iterable[str]) -> None:
        """Count several, each with its place."""
        for rejection, place in zip(rejections, places, strict=True):
            self.add(rejection, place)

    @property
    def records(self) -> int:
        """All of them."""
        return sum(kind.records for kind in self._kinds.values())

    def kinds(self) -> list[RejectedKind]:
        """The kinds, the most frequent first; equal ones in the order in which they came."""
        return sorted(self._kinds.values(), key=lambda kind: -kind.records)


class Remedies:
    """Says what to set against a kind of rejection under one configuration."""

    def __init__(self, config: Config) -> None:
        plan = FieldPlan.of(config)
        time = config.event.time
        self._time = " ".join(time.names) if time is not None else None
        self._id = config.event.id
        self._numbers = frozenset(plan.numeric) - plan.boolean
        self._booleans = plan.boolean
        self._keys = frozenset(window.key for window in config.windows)
        self._values = frozenset(window.value for window in config.windows if window.value)

    def of(self, reason: str, field: str | None) -> str:
        """Return what to set, or do, so that such records are taken; one line."""
        if reason == "wrong_type":
            return self._of_wrong_type(field)
        if reason == "missing_field":
            return self._of_missing(field)
        return _PLAIN.get(reason, "see docs/alerts.md#dead-letters")

    def _of_wrong_type(self, field: str | None) -> str:
        if field is None:
            return "each record must be one JSON object"
        if field in self._numbers:
            return (
                f"how its numbers are written: event.numbers or event.fields; words for missing: "
                f"event.missing_values; if {field} is no number, use `categorical: {field}`"
            )
        if field in self._booleans:
            return f"use `numeric: {field}` or `categorical: {field}` instead of `boolean`"
        return f"{field} must be a text, a number, true or false"

    def _of_missing(self, field: str | None) -> str:
        if field == self._time:
            return "let every event have its time, or leave event.time out"
        if field == self._id:
            return "let every event have its id, or leave event.id out"
        if field in self._keys:
            return f"let every event have {field}, or leave its window out"
        if field in self._values:
            return f"let every event have {field}, or leave `value: {field}` out of its window"
        if field in self._numbers | self._booleans:
            return f"`missing: mean` or `missing: indicator` beside {field}"
        return f"`missing: category` beside {field}"


_PLAIN = {
    "unreadable": "kafka.unreadable",
    "tombstone": "nothing: a record without a value is no event",
    "empty": "nothing: a value of no bytes is no event",
    "too_large": "event.max_bytes",
    "malformed": "let the producer write one JSON object a record",
    "schema_unknown": "registry: see docs/runbook.md#a-schema-cannot-be-had",
    "too_deep": "let the producer nest less deeply",
    "out_of_range": "`range` of the feature",
    "text_too_long": "event.max_text_length",
    "time_invalid": "event.time.format and event.time.zone",
    "time_ahead": "the unit in event.time.format; event.max_gap and event.max_ahead",
    "time_behind": "event.max_behind, or sort the data by time",
}
