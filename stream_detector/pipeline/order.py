"""Events that come too late, or absurdly early, are bad records; what time it is for the others."""

from __future__ import annotations

import numpy as np

from stream_detector.alerts import iso_time
from stream_detector.cells.times import LATEST_TIME_MS
from stream_detector.config.models.config import EventConfig
from stream_detector.detectors.stored import LARGEST_TIME_MS, read_time
from stream_detector.errors import StateMismatchError
from stream_detector.events import EventBatch, Int64, Rejection, State
from stream_detector.stream_time import HELD, Shift, StreamTime, carried

_SECTION = "docs/runbook.md#streamdetectorrejectingevents"


class EventOrder:
    """Holds each event's time against what most events before it say.

    State: the stream's time.

    Attributes:
        time: the stream's time.
    """

    def __init__(self, event: EventConfig) -> None:
        """``event``: its limits."""
        self._field = " ".join(event.time.names) if event.time is not None else None
        self._behind_ms = int(event.max_behind * 1000)
        self._gap_ms = int(max(event.max_gap, event.max_ahead) * 1000)
        self.time = StreamTime(int(event.max_step * 1000), self._gap_ms, self._behind_ms)

    def judge(self, batch: EventBatch) -> list[Shift]:
        """Reject what is too late or too early, and give every row its watermark.

        A label is late by its nature: it has a watermark and no say. A batch that brings its
        watermarks along (a replay of accepted events) keeps them.

        Returns:
            Where the watermark did more than go on; rows of ``batch``.
        """
        if batch.mark_ms is not None:
            return self._follow(batch.mark_ms)
        readable = (batch.rejection == None) & (batch.time_ms >= 0)  # noqa: E711 - elementwise
        if batch.is_label is not None:
            readable &= ~batch.is_label
        if readable.all():
            reading = self.time.read(batch.time_ms)
            batch.mark_ms = reading.marks
            refused, shifts = reading.ahead | reading.behind, reading.shifts
            rows = np.arange(len(batch))
        else:
            rows, before = np.flatnonzero(readable), self.time.mark_ms
            reading = self.time.read(batch.time_ms[rows])
            batch.mark_ms = carried(reading.marks, readable, before)
            refused = reading.ahead | reading.behind
            shifts = [Shift(int(rows[s.row]), s.before_ms, s.after_ms) for s in reading.shifts]
        for at in np.flatnonzero(refused).tolist():
            time_ms, centre_ms = int(batch.time_ms[rows[at]]), int(reading.centres[at])
            batch.rejection[rows[at]] = self._rejection(time_ms, centre_ms)
        return shifts

    def _follow(self, marks: Int64) -> list[Shift]:
        """Watermarks that were decided before; where they go back."""
        before = np.concatenate([[self.time.mark_ms], marks])
        self.time.mark_ms = int(before[-1])
        return [
            Shift(row, int(before[row]), int(before[row + 1]))
            for row in np.flatnonzero(np.diff(before) < 0).tolist()
        ]

    def _rejection(self, time_ms: int, centre_ms: int) -> Rejection:
        days = abs(time_ms - centre_ms) / 86_400_000
        held = f"most of the last {HELD} events, which are at {iso_time(centre_ms)}"
        if time_ms > centre_ms:
            return Rejection(
                "order",
                "time_ahead",
                f"{iso_time(time_ms)} is {days:.4g} days after {held}; event.max_gap is "
                f"{self._gap_ms / 86_400_000:.4g} days. A clock or a unit; a real gap is accepted "
                f"once most events are beyond it. See {_SECTION}",
                self._field,
            )
        return Rejection(
            "order",
            "time_behind",
            f"{iso_time(time_ms)} is {days:.4g} days behind {held}; event.max_behind is "
            f"{self._behind_ms / 86_400_000:.4g} days. See {_SECTION}",
            self._field,
        )

    def state(self) -> State:
        """The stream's time."""
        return self.time.state()

    def restore(self, state: State) -> int:
        """Take a pipeline's ``state`` in.

        Returns the time after which nothing else in it may lie. States of older versions have but
        a watermark, which one event may have steered: what most events say is not known there.

        Raises ``StateMismatchError`` where there are two watermarks.
        """
        mark_ms, time = (
            read_time(state, "watermark_ms", latest_ms=LATEST_TIME_MS),
            state.get("time"),
        )
        if time is None:
            self.time.set(mark_ms)
            return LARGEST_TIME_MS
        self.time.restore(time, LATEST_TIME_MS)
        if self.time.mark_ms != mark_ms:
            raise StateMismatchError("the state has two watermarks")
        return mark_ms
