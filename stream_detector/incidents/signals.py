"""What incidents are made of, and what they give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Value: TypeAlias = tuple[str, str]
"""A field and its value, which alerts may share."""

CHANGES = (
    "opened",
    "severity",
    "scope",
    "count",
    "acknowledged",
    "snoozed",
    "reopened",
    "merged",
    "quiet",
    "expired",
    "evicted",
    "rule",
)
"""What a message may be about."""

Change: TypeAlias = dict[str, Any]
"""Body of an incident's message; the place in the stream is still to be added to ``receipt``."""


@dataclass(frozen=True, slots=True)
class Returned:
    """A monitor says that a key of which it had found something is as usual again.

    Attributes:
        monitor: its name.
        key: the key; empty where it looks at everything together.
        mark_ms: the stream's watermark, or a tick's time.
    """

    monitor: str
    key: str
    mark_ms: int


@dataclass(frozen=True, slots=True)
class Signal:
    """A raised event or a monitor's finding, shown or held back.

    Attributes:
        time_ms: event time; of a monitor the end of the stretch looked at.
        mark_ms: the stream's watermark, or a tick's time.
        kind: ``event``, or the monitor's.
        alert_id: id that its alert has, or would have.
        severity: ``low`` to ``critical``.
        rarity: one in how many is so rare.
        shown: whether it was alerted: not held back by suppression, a rule or a snooze.
        values: what it may share with others, keys first; of a monitor its field and key, none
            where it looks at everything together.
        reason: name of its first reason's feature; empty without any.
        place: where it was found, as in the alert's receipt.
        hidden_by: id of the rule that hid it; empty: none did.
        monitor: name of the monitor; empty: none.
        others_pace: what all other keys did, as a multiple of what is usual; None: unknown.
        ongoing: it goes on until the monitor says that the key is back.
    """

    time_ms: int
    mark_ms: int
    kind: str
    alert_id: str
    severity: str
    rarity: float
    shown: bool
    values: Sequence[Value]
    reason: str = ""
    place: dict[str, Any] = field(default_factory=dict)
    hidden_by: str = ""
    monitor: str = ""
    others_pace: float | None = None
    ongoing: bool = False
