"""Incidents along the stream: signals are made of alerts and findings, messages of what changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from stream_detector.alerts import incident_message, iso_time
from stream_detector.events import EventBatch
from stream_detector.incidents import Change, IncidentTracker, Returned, Signal
from stream_detector.monitors import Finding, Monitor
from stream_detector.pipeline.alerting import WrittenAlert
from stream_detector.pipeline.batch_result import BatchResult
from stream_detector.pipeline.cause import Cause

Place: TypeAlias = dict[str, Any]
"""What a receipt says of the place in the stream and of the state."""

ReceiptOf: TypeAlias = Callable[[int], Place]


class Following:
    """Tells the tracker what happens at one place after the other, and adds what it answers.

    State: the place; nothing that a snapshot holds.
    """

    def __init__(self, tracker: IncidentTracker, detector: str, outcome: BatchResult) -> None:
        """``detector``: its name; ``outcome`` takes the messages."""
        self.tracker = tracker
        self._detector, self._outcome = detector, outcome
        self._where: Callable[[], tuple[Cause, Place]]
        self._mark_ms = 0

    def stand(self, cause: Cause, mark_ms: int, receipt: Place) -> None:
        """From now on things happen here, at this watermark or tick."""
        self.stand_where(lambda: (cause, receipt), mark_ms)

    def stand_where(self, where: Callable[[], tuple[Cause, Place]], mark_ms: int) -> None:
        """The same; ``where`` is asked once something has happened: mostly nothing does."""
        self._where, self._mark_ms = where, mark_ms

    @property
    def mark_ms(self) -> int:
        """The watermark, or the tick's time."""
        return self._mark_ms

    def place(self) -> Place:
        """Where this is, as in an alert's receipt."""
        cause, receipt = self._where()
        return {**cause.told(), **receipt}

    def is_snoozed(self, signal: Callable[[], Signal]) -> bool:
        """Tell whether a signal, which is made only where it is asked for, is of a snoozed one."""
        tracker = self.tracker
        return tracker.any_snoozed and tracker.snoozed(signal()) is not None

    def advance(self) -> None:
        """Time has come here."""
        self.add(self.tracker.advance(self._mark_ms))

    def take(self, signal: Signal) -> None:
        """A signal has come, after ``advance``."""
        self.add(self.tracker.take(signal))

    def returned(self, monitor: Monitor, key: str) -> None:
        """A key of which a monitor had found something is as usual again."""
        self.add(self.tracker.take(Returned(monitor.config.name, key, self._mark_ms)))

    def of_finding(
        self,
        monitor: Monitor,
        finding: Finding,
        alert: Mapping[str, Any],
        *,
        shown: bool = True,
        hidden_by: str = "",
    ) -> Signal:
        """The signal of a monitor's finding; ``alert``: the body of its alert."""
        config, about = monitor.config, alert["monitor"]
        kind = getattr(config, "of", "everything")
        values: tuple[tuple[str, str], ...] = ()
        if config.key is not None:
            values = ((config.key, finding.key),)
        elif finding.key:  # of a partition or a topic
            values = ((str(kind), finding.key),)
        pace = about.get("pace_of_others")
        return Signal(
            time_ms=finding.end_ms,
            mark_ms=self._mark_ms,
            kind=config.kind,
            alert_id=alert["id"],
            severity=alert["severity"],
            rarity=finding.rarity,
            shown=shown,
            values=values,
            reason=alert["reasons"][0]["feature"],
            place=self.place(),
            hidden_by=hidden_by,
            monitor=config.name,
            others_pace=None if pace is None else float(pace),
            ongoing=monitor.finds_lasting,
        )

    def add(self, changes: Iterable[Change]) -> None:
        """Add the messages of what has changed here."""
        for change in changes:
            cause, receipt = self._where()
            time = iso_time(self._mark_ms)
            body = {
                "id": change["id"],
                "time": time,
                **change,
                "receipt": {**cause.told(), **change["receipt"], **receipt},
            }
            message = incident_message(
                body, cause.source, cause.offset, self._mark_ms, self._detector
            )
            self._outcome.add_incident(message, body)


class FollowingEvents:
    """The same along a slice of events, row by row.

    The tracker is taken to the watermark of each row at which it has something to do, and of each
    row with a signal, before that: the same rows however the stream is cut.
    """

    def __init__(
        self,
        told: Following,
        events: EventBatch,
        receipt_of: ReceiptOf,
        columns: Sequence[int | None],
    ) -> None:
        """``columns``: those of the tracker's fields among the texts of ``events``."""
        assert events.mark_ms is not None
        self.told = told
        self._events, self._columns = events, columns
        self._receipt_of = receipt_of
        self._marks = np.maximum.accumulate(events.mark_ms)
        self._next = 0
        if len(events):
            self.at(0)  # the tracker counts time from the stream's first watermark on

    def come_to(self, row: int) -> Following:
        """Let time go on up to and with an event; what happens next happens there."""
        tracker, marks = self.told.tracker, self._marks
        while self._next <= row and (due := tracker.due_ms) is not None:
            at = max(self._next, int(np.searchsorted(marks, due, side="left")))
            if at > row:
                break
            self._stand(at)
            self.told.advance()
            self._next = at + 1
        self._next = max(self._next, row + 1)
        self._stand(row)
        return self.told

    def at(self, row: int) -> Following:
        """The same for something that happens at an event: time is sure to have come there."""
        told = self.come_to(row)
        told.advance()
        return told

    def _stand(self, row: int) -> None:
        self.told.stand_where(lambda: self._where(row), int(self._marks[row]))

    def _where(self, row: int) -> tuple[Cause, Place]:
        cause = Cause(self._events.source[row], int(self._events.offset[row]))
        return cause, self._receipt_of(row)

    def of_event(
        self, row: int, raised: WrittenAlert, *, shown: bool = True, hidden_by: str = ""
    ) -> Signal:
        """The signal of a raised event."""
        events, tracker = self._events, self.told.tracker
        values = [
            (name, text)
            for name, at in zip(tracker.fields, self._columns, strict=True)
            if at is not None and (text := events.text[at][row]) is not None
        ]
        return Signal(
            time_ms=int(events.time_ms[row]),
            mark_ms=int(self._marks[row]),
            kind="event",
            alert_id=raised.alert_id,
            severity=raised.severity,
            rarity=raised.rarity,
            shown=shown,
            values=values,
            reason=raised.reasons[0] if raised.reasons else "",
            place=self.told.place(),
            hidden_by=hidden_by,
        )

    def end(self) -> None:
        """All signals of the slice are in: time goes on to its end, and its events are counted."""
        count, texts = len(self._events), self._events.text
        if not count:
            return
        self.at(count - 1)
        columns = [[None] * count if at is None else texts[at].tolist() for at in self._columns]
        self.told.tracker.population(columns, count)
