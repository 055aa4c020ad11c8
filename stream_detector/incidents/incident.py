"""One incident, and what is known of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, TypeAlias

import msgspec

from stream_detector.alerts import SEVERITIES, iso_time
from stream_detector.events import NO_TIMESTAMP
from stream_detector.incidents.signals import Signal, Value
from stream_detector.incidents.tally import Tally

MOST_IDS = 20
"""Ids of alerts that an incident names: its first ones."""

MOST_NAMES = 50
"""Kinds, rules and reasons that are counted apart."""

MOST_ONGOING = 10_000
"""Keys whose return an incident waits for; further ones are not waited for."""

_PLACE = frozenset(("topic", "partition", "offset", "tick", "shard", "sequence", "state"))

Text = Annotated[str, msgspec.Meta(max_length=4000)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**52)]
Time = Annotated[int, msgspec.Meta(ge=NO_TIMESTAMP, le=2**50)]
_Rarity = Annotated[float, msgspec.Meta(ge=0.0, le=1e300)]
_Pulse = Annotated[float, msgspec.Meta(ge=0.0, le=1e15)]

Scope: TypeAlias = tuple[Text | None, Text | None]
"""Field and value that an incident is about."""

EVERYTHING: Scope = (None, None)
"""Scope where no single value explains what many signals have in common."""


class Care(msgspec.Struct):
    """Somebody looks after it, or wants to hear no more of it: who, until when, and why."""

    owner: Text
    until_ms: Time
    why: Text

    def told(self) -> dict[str, Any]:
        """As messages have it; without an end where there is none."""
        until = None if self.until_ms == NO_TIMESTAMP else iso_time(self.until_ms)
        return {"owner": self.owner, "until": until, "why": self.why}


class Told(msgspec.Struct):
    """A signal as an incident remembers it."""

    alert: Text
    time_ms: Time
    rarity: _Rarity
    place: dict[Text, Text | int | None]

    @classmethod
    def of(cls, signal: Signal) -> Told:
        """What is remembered of a signal."""
        place: dict[str, str | int | None] = {}
        for name, value in signal.place.items():
            if name in _PLACE:
                place[name] = value if type(value) is int or value is None else plain(str(value))
        rarity = signal.rarity
        rarity = min(max(rarity, 0.0), 1e300) if rarity == rarity else 0.0  # noqa: PLR0124 - NaN
        return cls(plain(signal.alert_id), max(signal.time_ms, NO_TIMESTAMP), rarity, place)


class Incident(msgspec.Struct):
    """Signals that belong together.

    Attributes:
        number: of all incidents, in the order in which they began.
        id: the detector's name and the id of the first signal's alert.
        scope: field and value that it is about.
        usual: the share of all events in its scope; 1 for everything.
        gap_ms: time from one event of its scope to the next, usually; 0: not known.
        began_ms: watermark at its first signal.
        active_ms: watermark at its last signal that was more than chance brings.
        first: its first signal.
        last: its last signal.
        peak: its rarest.
        wait_ms: watermark at which it is to be opened; ``NO_TIMESTAMP``: not yet, or it is.
        opened_ms: watermark at which it was; ``NO_TIMESTAMP`` before.
        resolved_ms: watermark at which it ended.
        severity: the highest of its signals', as a place among ``SEVERITIES``.
        alerts: signals that were shown.
        held: signals that suppression or a snooze held back.
        hidden: signals that a rule hid.
        kinds: signals of each kind.
        hidden_by: signals that each rule hid.
        ids: ids of its first alerts.
        reasons: signals of each first reason.
        tally: counts of its signals' values.
        common: values that most of them had when these were last looked at.
        pulse: its signals, each halved after a stretch of time.
        ongoing: keys that are not as usual again yet, by monitor.
        of_events: signals that do not go on until a key is back.
        events: events of its scope since the first chunk that it was open in.
        ordinary: those of them since the last signal.
        touched: number of the chunk in which the last signal came.
        revision: messages about it.
        told_count: signals when one was last sent for their number.
        reopened: how often it was opened again.
        merged_into: id of the incident that it is a part of now.
        acknowledged: who looks after it.
        snoozed: who does not want to hear of it.
    """

    number: Count
    id: Text
    scope: Scope
    usual: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)]
    began_ms: Time
    active_ms: Time
    first: Told
    last: Told
    peak: Told
    gap_ms: Count = 0
    wait_ms: Time = NO_TIMESTAMP
    opened_ms: Time = NO_TIMESTAMP
    resolved_ms: Time = NO_TIMESTAMP
    severity: Annotated[int, msgspec.Meta(ge=0, le=len(SEVERITIES) - 1)] = 0
    alerts: Count = 0
    held: Count = 0
    hidden: Count = 0
    kinds: dict[Text, Count] = {}
    hidden_by: dict[Text, Count] = {}
    ids: Annotated[list[Text], msgspec.Meta(max_length=MOST_IDS)] = []
    reasons: dict[Text, Count] = {}
    tally: Tally = msgspec.field(default_factory=Tally)
    common: list[tuple[Text, Text]] = []
    pulse: _Pulse = 0.0
    ongoing: dict[Text, list[Text]] = {}
    of_events: Count = 0
    events: Count = 0
    ordinary: Count = 0
    touched: Count = 0
    revision: Count = 0
    told_count: Count = 0
    reopened: Count = 0
    merged_into: Text | None = None
    acknowledged: Care | None = None
    snoozed: Care | None = None

    @property
    def is_open(self) -> bool:
        """Whether it was opened, and has not ended."""
        return self.opened_ms != NO_TIMESTAMP and not self.is_over

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.resolved_ms != NO_TIMESTAMP

    @property
    def count(self) -> int:
        """Signals but for those that a rule hid."""
        return self.alerts + self.held

    def add(self, signal: Signal, values: Sequence[Value]) -> bool:
        """Take a signal in, but for the tally; tells whether the severity rose."""
        if signal.shown:
            self.alerts += 1
            if len(self.ids) < MOST_IDS:
                self.ids.append(plain(signal.alert_id))
        else:
            self.held += 1
        count_name(self.kinds, signal.kind)
        count_name(self.reasons, signal.reason)
        told = Told.of(signal)
        if told.rarity > self.peak.rarity:
            self.peak = told
        self.last = told
        if not signal.ongoing:
            self.of_events += 1
        elif sum(map(len, self.ongoing.values())) < MOST_ONGOING:
            keys = self.ongoing.setdefault(plain(signal.monitor), [])
            key = values[0][1] if values else ""
            if key not in keys:
                keys.append(key)
        severity = SEVERITIES.index(signal.severity) if signal.severity in SEVERITIES else 0
        rose = severity > self.severity
        self.severity = max(self.severity, severity)
        return rose

    def hide(self, signal: Signal) -> bool:
        """Count a signal that a rule hid; tells whether these have become twice as many."""
        self.hidden += 1
        count_name(self.hidden_by, signal.hidden_by)
        return self.hidden & (self.hidden - 1) == 0

    def beat(self, mark_ms: int, half_life_ms: int) -> float:
        """What the pulse would be with a signal now."""
        kept: float = 0.5 ** (max(mark_ms - self.active_ms, 0) / half_life_ms)
        return 1.0 + self.pulse * kept

    def join(self, other: Incident) -> None:
        """Take in all of another; scope, id and who looks after it stay."""
        self.began_ms = min(self.began_ms, other.began_ms)
        self.active_ms = max(self.active_ms, other.active_ms)
        if other.first.time_ms < self.first.time_ms:
            self.first = other.first
        if other.last.time_ms >= self.last.time_ms:
            self.last = other.last
        if other.peak.rarity > self.peak.rarity:
            self.peak = other.peak
        self.severity = max(self.severity, other.severity)
        self.alerts += other.alerts
        self.held += other.held
        self.hidden += other.hidden
        self.of_events += other.of_events
        self.ids = (self.ids + other.ids)[:MOST_IDS]
        for mine, theirs in (
            (self.kinds, other.kinds),
            (self.hidden_by, other.hidden_by),
            (self.reasons, other.reasons),
        ):
            for name, times in theirs.items():
                count_name(mine, name, times)
        self.tally.join(other.tally)
        self.pulse += other.pulse
        room = MOST_ONGOING - sum(map(len, self.ongoing.values()))
        for monitor, theirs_of in other.ongoing.items():
            keys = self.ongoing.setdefault(monitor, [])
            fresh = [key for key in theirs_of if key not in set(keys)][: max(room, 0)]
            keys += fresh
            room -= len(fresh)
        self.ordinary = min(self.ordinary, other.ordinary)
        self.touched = max(self.touched, other.touched)

    def reopen(self, before: Incident, half_life_ms: int) -> None:
        """Be what ended a short time ago, and goes on with this."""
        began_ms, active_ms, pulse = self.began_ms, self.active_ms, self.pulse
        self.join(before)
        kept = 0.5 ** (max(active_ms - before.active_ms, 0) / half_life_ms)
        self.pulse = pulse + before.pulse * kept
        self.began_ms, self.active_ms = began_ms, active_ms
        self.id, self.revision = before.id, before.revision
        self.scope, self.usual, self.reopened = before.scope, before.usual, before.reopened + 1
        self.gap_ms = before.gap_ms

    def go_back(self, mark_ms: int, wait_ms: int) -> None:
        """The watermark was wrong and is ``mark_ms``: nothing of this came after it."""
        self.began_ms, self.active_ms = min(self.began_ms, mark_ms), min(self.active_ms, mark_ms)
        self.opened_ms, self.resolved_ms = (
            min(self.opened_ms, mark_ms),
            min(self.resolved_ms, mark_ms),
        )
        self.wait_ms = min(self.wait_ms, mark_ms + wait_ms)


def plain(text: str) -> str:
    """A text that UTF-8 can write, and that is not too long."""
    if text.isascii() and len(text) <= 1000:  # noqa: PLR2004 - nearly all are
        return text
    return text[:1000].encode("utf-8", "replace").decode()


def count_name(counts: dict[str, int], name: str, times: int = 1) -> None:
    """Count by name; beyond ``MOST_NAMES`` names they are others."""
    name = plain(name)
    key = name if name in counts or len(counts) < MOST_NAMES else "other"
    counts[key] = counts.get(key, 0) + times
