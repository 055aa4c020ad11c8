"""Recent alerts, rates, scores and shifts, in bounded memory."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import msgspec
import numpy as np

from stream_detector.counterfactuals.wording import ordinary_sentence
from stream_detector.drift import DriftEvent
from stream_detector.messages import Outgoing
from stream_detector.monitors.wording import monitor_sentence
from stream_detector.pipeline import BatchResult
from stream_detector.rejections import RejectedKind, RejectionTally, Remedies
from stream_detector.telemetry.status.incidents import OpenIncidents
from stream_detector.telemetry.status.shifts import Moments, Shift, ShiftWatch
from stream_detector.telemetry.status.watched import WatchedKeys

ALERTS_KEPT = 50
CHANGES_KEPT = 20
STEP_SECONDS = 2.0
STEPS_KEPT = 300
_MAX_TEXT = 300
_LONGEST_SENTENCE = 500
_MAX_EVENT_BYTES = 2_000


@dataclass(frozen=True, slots=True)
class RecentReason:
    """A line of an alert's explanation, as people read it."""

    feature: str
    value: str
    share: float
    usual: str


@dataclass(frozen=True, slots=True)
class RecentAlert:
    """An alert without its feature vector. Texts come from events: whoever shows them escapes.

    Attributes:
        id: of the alert.
        event_id: of its event, None where the configuration names no field.
        partition: of the input topic; None where a tick showed it.
        event: the event as JSON, cut to 2,000 bytes.
        sentence: what a monitor has found; empty where the alert is about one event.
        monitor: the monitor and the key that it is about; None likewise.
        time_ms: end of the stretch that a monitor looked at; None likewise.
        ordinary: what would have made the event ordinary; empty where the alert does not say.
    """

    id: str
    event_id: str | None
    partition: int | None
    event_time: str
    severity: str
    score: float
    threshold: float
    rarity: float
    suppressed: int
    reasons: tuple[RecentReason, ...]
    event: str
    sentence: str = ""
    monitor: tuple[str, str] | None = None
    time_ms: int | None = None
    ordinary: str = ""


@dataclass(slots=True)
class Step:
    """Counts and scores of one interval of ``STEP_SECONDS``.

    Attributes:
        began: monotonic seconds.
        highest: highest score, NaN where nothing was scored.
        threshold: the shards' mean, NaN before it is known.
    """

    began: float
    events: int = 0
    alerts: int = 0
    highest: float = float("nan")
    threshold: float = float("nan")


@dataclass(slots=True)
class _Totals:
    events: int = 0
    alerts: int = 0
    suppressed: int = 0
    rejected: int = 0
    thresholds: dict[int, float] = field(default_factory=dict)


class Recent:
    """Thread-safe; the main loop writes, whoever shows it reads.

    State: the last 50 alerts, 20 drifts, 300 steps of two seconds, and the means of each feature
    over the last minutes; ``watched`` and ``incidents``, which are bounded.

    Args:
        clock: wall clock, seconds since 1970.
        monotonic: monotonic clock, seconds.
        remedies: what to set against rejected records; None: nothing is known of it.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        remedies: Remedies | None = None,
    ) -> None:
        self._clock, self._monotonic = clock, monotonic
        self._lock = threading.Lock()
        self._alerts: deque[RecentAlert] = deque(maxlen=ALERTS_KEPT)
        self._changes: deque[tuple[float, DriftEvent]] = deque(maxlen=CHANGES_KEPT)
        self._steps: deque[Step] = deque(maxlen=STEPS_KEPT)
        self._totals = _Totals()
        self._rejected = RejectionTally()
        self.remedies = remedies
        self._shifts: dict[int, ShiftWatch] = {}
        self.watched = WatchedKeys()
        self.incidents = OpenIncidents()
        self.began = monotonic()

    def take(self, outcome: BatchResult) -> None:
        """A processed batch."""
        scores = outcome.scores[~np.isnan(outcome.scores)]
        shown = [_shown(alert.value) for alert in outcome.alerts[-ALERTS_KEPT:]]
        with self._lock:
            self._rejected.add_all(outcome.rejections, map(place_of, outcome.dead_letters))
            self._alerts.extend(alert for alert in shown if alert is not None)
            self._changes.extend((self._clock(), change) for change in outcome.changes)
            totals = self._totals
            totals.events += len(outcome.scores)
            totals.alerts += len(outcome.alerts)
            totals.suppressed += outcome.suppressed
            totals.rejected += len(outcome.rejections)
            step = self._step()
            step.events += len(outcome.scores)
            step.alerts += len(outcome.alerts)
            if len(scores):
                step.highest = float(np.fmax(step.highest, scores.max()))

    def observe_shard(
        self, shard: int, threshold: float, groups: Mapping[str, Sequence[int]], moments: Moments
    ) -> None:
        """A shard's threshold and the running moments of its features, every few seconds.

        Args:
            shard: its number.
            threshold: score from which an event alerts.
            groups: columns by the name that people know.
            moments: (count, mean, deviation), each (columns,) float64.
        """
        with self._lock:
            if np.isfinite(threshold):
                self._totals.thresholds[shard] = threshold
            watch = self._shifts.setdefault(shard, ShiftWatch())
            watch.observe(self._monotonic(), groups, *moments)

    def rejected(self) -> list[RejectedKind]:
        """Return what was rejected since the process began, the most frequent kind first."""
        with self._lock:
            return [replace(kind) for kind in self._rejected.kinds()]

    def forget(self, shard: int) -> None:
        """A shard was given up."""
        with self._lock:
            self._totals.thresholds.pop(shard, None)
            self._shifts.pop(shard, None)
        self.watched.forget(shard)
        self.incidents.forget(shard)

    def alerts(self) -> list[RecentAlert]:
        """The last ones, newest first."""
        with self._lock:
            return list(reversed(self._alerts))

    def find(self, alert_id: str) -> RecentAlert | None:
        """Return one of the alerts; None where it is not among them any more."""
        return next((alert for alert in self.alerts() if alert.id == alert_id), None)

    def changes(self) -> list[tuple[float, DriftEvent]]:
        """The last drifts with their time, seconds since 1970; newest first."""
        with self._lock:
            return list(reversed(self._changes))

    def shifts(self) -> list[Shift]:
        """Return how far each feature's mean has moved, the furthest first; a name once a shard."""
        with self._lock:
            found = [shift for watch in self._shifts.values() for shift in watch.shifts()]
        return sorted(found, key=lambda shift: -abs(shift.deviations))

    def steps(self) -> list[Step]:
        """The last ten minutes, oldest first; time without events has empty steps."""
        with self._lock:
            self._step()
            return [Step(s.began, s.events, s.alerts, s.highest, s.threshold) for s in self._steps]

    def totals(self) -> tuple[int, int, int, int]:
        """Events, alerts, suppressed alerts and rejected records since the process began."""
        with self._lock:
            totals = self._totals
            return totals.events, totals.alerts, totals.suppressed, totals.rejected

    def _step(self) -> Step:
        """The step of now. What lies between is filled in, at most all that is kept."""
        now = self._monotonic()
        if not self._steps:
            self._steps.append(Step(now))
        missing = int((now - self._steps[-1].began) / STEP_SECONDS)
        first = self._steps[-1].began
        for number in range(max(1, missing - STEPS_KEPT + 1), missing + 1):
            self._steps.append(Step(first + number * STEP_SECONDS))
        step = self._steps[-1]
        if thresholds := self._totals.thresholds:
            step.threshold = sum(thresholds.values()) / len(thresholds)
        return step


def _shown(value: bytes | None) -> RecentAlert | None:
    """Return what is kept of an alert; None where it is not one of this daemon's."""
    try:
        body = msgspec.json.decode(value or b"")
        return RecentAlert(
            id=_text(body["id"]),
            event_id=None if body["event_id"] is None else str(body["event_id"]),
            partition=body["receipt"].get("partition"),
            event_time=_text(body["event_time"]),
            severity=_text(body["severity"]),
            score=float(body["score"]),
            threshold=float(body["threshold"]),
            rarity=float(body["rarity"]),
            suppressed=int(body.get("suppression", {}).get("suppressed", 0)),
            reasons=tuple(_reason(reason) for reason in body["reasons"]),
            event=_event(body["event"]),
            **_of_monitor(body),
            ordinary=_ordinary(body),
        )
    except (msgspec.MsgspecError, LookupError, TypeError, ValueError):
        return None


def _of_monitor(body: Mapping[str, Any]) -> dict[str, Any]:
    if "monitor" not in body:
        return {}
    about = body["monitor"]
    return {
        "sentence": monitor_sentence(body)[:_LONGEST_SENTENCE],
        "monitor": (str(about["name"]), str(about["key"])),
        "time_ms": round(datetime.fromisoformat(about["end"]).timestamp() * 1000),
    }


def _ordinary(body: Mapping[str, Any]) -> str:
    return ordinary_sentence(body["ordinary"])[:_LONGEST_SENTENCE] if "ordinary" in body else ""


def _reason(reason: Mapping[str, Any]) -> RecentReason:
    usual = reason.get("usual")
    return RecentReason(
        feature=_text(reason["feature"]),
        value=_text("missing" if reason["value"] is None else reason["value"]),
        share=float(reason["share"]),
        usual=f"{usual[0]:g} to {usual[1]:g}" if usual else "",
    )


def _event(event: Any) -> str:
    text = msgspec.json.encode(event)
    cut = text[:_MAX_EVENT_BYTES].decode(errors="replace")
    return cut if len(text) <= _MAX_EVENT_BYTES else f"{cut}… ({len(text):,} bytes)"


def _text(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + "…"


def place_of(letter: Outgoing) -> str:
    """Return where the record of a dead letter lies."""
    return f"{letter.source} offset {letter.offset}"
