"""Time of a stream: decided by many events, so that no single one can steer it.

Every readable event claims a time. Claims are held against the median of the last ``HELD`` of
them, which a minority cannot move: with fewer than half of them wrong it lies among the right ones.
The watermark goes with every claim that lies within a step of the median, and with no other. So an
event from the future moves nothing until most of the others say the same; a genuine gap is
confirmed when they do. What is decided is a function of the sequence of claims and of nothing else:
not of how it was cut, and of no clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stream_detector.detectors.stored import read_array, read_time
from stream_detector.errors import StateMismatchError
from stream_detector.events import NO_TIMESTAMP, Int64, State

HELD = 64
"""Claims that the median is of. A third of them wrong at random outvote the others once in 10^3
events, a tenth once in 10^17; after a real gap the watermark waits for 33, and of a leap that is
longer than any gap 33 are refused."""

MAX_STEP_MS = 3_600_000
"""Default of ``event.max_step``."""

_LEAST_TO_REFUSE = 32
_LEAST_TO_GO_BACK = 16
_SPREADS = 8
"""A step is at least so many times the distance from the lower quartile to the median: of an even
stream three times the way from the median to the newest. The upper half has no say in it: a
minority from the future would widen the step that is to keep it out."""


@dataclass(frozen=True, slots=True)
class Shift:
    """The watermark was set to what most claims say, over more than a step.

    Attributes:
        row: of the event that decided it; it holds from before this event.
        before_ms: watermark before.
        after_ms: watermark after, later (a gap was confirmed) or earlier (it had been wrong).
    """

    row: int
    before_ms: int
    after_ms: int


@dataclass(frozen=True, slots=True)
class Reading:
    """Outcome of reading a sequence of claims.

    Attributes:
        marks: (events,) the watermark after each.
        centres: (events,) median before each, where ``ahead`` or ``behind`` is set.
        ahead: (events,) too far ahead of the median to be used.
        behind: (events,) too far behind it.
        shifts: where the watermark did more than go on, in order.
    """

    marks: Int64
    centres: Int64
    ahead: NDArray[np.bool_]
    behind: NDArray[np.bool_]
    shifts: list[Shift] = field(default_factory=list)


class StreamTime:
    """The watermark of a sequence of events.

    State: ``mark_ms`` and the last ``HELD`` claims, accepted or refused.

    Attributes:
        mark_ms: the newest time that is not contradicted by most events; ``NO_TIMESTAMP`` before
            the first.
    """

    def __init__(
        self, max_step_ms: int, max_gap_ms: int, max_behind_ms: int, *, doubts_first: bool = False
    ) -> None:
        """The limits.

        Args:
            max_step_ms: how far beyond the median a claim may lie and move the watermark; the
                stream's own spread raises it.
            max_gap_ms: how far beyond such a step a claim may lie and be used at all.
            max_behind_ms: how far behind the median.
            doubts_first: the first claim, which nothing confirms, leaves the watermark unknown.
        """
        self._step, self._gap, self._behind = max_step_ms, max_gap_ms, max_behind_ms
        self._doubts_first = doubts_first
        self._claims: Int64 = np.empty(0, dtype=np.int64)
        self.mark_ms = NO_TIMESTAMP

    def read(self, times_ms: Int64) -> Reading:
        """Take in the claims of events in their order. Any cut of a sequence gives the same."""
        count = len(times_ms)
        reading = Reading(
            np.empty(count, dtype=np.int64),
            np.full(count, NO_TIMESTAMP, dtype=np.int64),
            np.zeros(count, dtype=bool),
            np.zeros(count, dtype=bool),
        )
        claims = np.concatenate([self._claims, times_ms])
        held, row = len(self._claims), 0
        while row < count and held + row < HELD:  # the beginning of a stream
            if held + row:
                self._judge(claims[None, : held + row], times_ms[row : row + 1], reading, row)
            else:
                self._begin(int(times_ms[0]), reading)
            row += 1
        if row < count:
            self._read_full(claims[held + row - HELD :], row, reading)
        self._claims = claims[-HELD:].copy()
        return reading

    def _begin(self, time_ms: int, reading: Reading) -> None:
        if self.mark_ms == NO_TIMESTAMP and not self._doubts_first:
            self.mark_ms = time_ms
        reading.marks[0] = self.mark_ms

    def _read_full(self, claims: Int64, first: int, reading: Reading) -> None:
        """The rest of a sequence from row ``first``; ``claims``: with the ``HELD`` before it."""
        starts = np.arange(HELD, len(claims), HELD)
        lows = np.minimum.reduceat(claims, np.concatenate([[0], starts]))
        highs = np.maximum.reduceat(claims, np.concatenate([[0], starts]))
        # Each block with the one before it, where all its medians come from.
        low, high = np.minimum(lows[1:], lows[:-1]), np.maximum(highs[1:], highs[:-1])
        most = np.maximum.accumulate(np.concatenate([[self.mark_ms], highs[1:]]))[:-1]
        width = min(self._step, self._gap, self._behind)
        calm = (high - low <= width) & (most <= low + width)
        bounds = np.flatnonzero(np.diff(calm)) + 1
        for begin, end in zip([0, *bounds.tolist()], [*bounds.tolist(), len(starts)], strict=True):
            start, block = int(starts[begin]), begin
            if calm[begin]:
                # Blocks where every claim is within a step of every median; but the watermark
                # may still have to come there.
                while block < end and not low[block] <= self.mark_ms <= low[block] + width:
                    block += 1
            else:
                block = end
            stop = int(starts[block]) if block < len(starts) else len(claims)
            if start < stop:
                windows = np.lib.stride_tricks.sliding_window_view(claims, HELD)
                self._judge(
                    windows[start - HELD : stop - HELD],
                    claims[start:stop],
                    reading,
                    first + start - HELD,
                )
            if block < end:
                start, stop = stop, int(starts[end]) if end < len(starts) else len(claims)
                marks = np.maximum.accumulate(claims[start:stop])
                np.maximum(marks, self.mark_ms, out=marks)
                reading.marks[first + start - HELD : first + stop - HELD] = marks
                self.mark_ms = int(marks[-1])

    def _judge(self, windows: Int64, times_ms: Int64, reading: Reading, first: int) -> None:
        """Hold claims, rows from ``first`` on, against the claims before each of them.

        ``windows``: (events, claims held), those before each event in their order.
        """
        held = windows.shape[1]
        ordered = np.sort(windows, axis=1)
        centre = ordered[:, (held - 1) // 2]
        step = np.maximum(_SPREADS * (centre - ordered[:, (held - 1) // 4]), self._step)
        limit = centre + step
        rows = slice(first, first + len(times_ms))
        if held >= _LEAST_TO_REFUSE:
            reading.centres[rows] = centre
            reading.ahead[rows] = times_ms > limit + self._gap
            reading.behind[rows] = times_ms < centre - self._behind
        rising = np.where(times_ms <= limit, times_ms, NO_TIMESTAMP)
        latest = np.full(len(times_ms), np.iinfo(np.int64).max)
        if held + 1 >= _LEAST_TO_GO_BACK:
            recent = windows[:, 1 - _LEAST_TO_GO_BACK :].max(axis=1)
            latest = np.maximum(recent, times_ms) + step
        start = 0
        while start < len(times_ms):
            marks = np.maximum.accumulate(np.concatenate([[self.mark_ms], rising[start:]]))
            before, after = marks[:-1], marks[1:]
            wrong = np.flatnonzero((before > limit[start:]) & (latest[start:] < before))
            stop = len(times_ms) if not len(wrong) else start + int(wrong[0])
            kept = stop - start
            reading.marks[first + start : first + stop] = after[:kept]
            jumps = (after - before > self._step) & (before != NO_TIMESTAMP)
            for at in np.flatnonzero(jumps[:kept]).tolist():
                # A gap of a slow stream is a single step; here others had claimed the same before.
                was, now = int(before[at]), int(after[at])
                if np.count_nonzero(windows[start + at] > was + self._step) > 1:
                    reading.shifts.append(Shift(first + start + at, was, now))
            self.mark_ms = int(marks[kept])
            if len(wrong):
                known = np.append(windows[stop], times_ms[stop])
                was, self.mark_ms = self.mark_ms, int(known[known <= limit[stop]].max())
                reading.shifts.append(Shift(first + stop, was, self.mark_ms))
                reading.marks[first + stop] = self.mark_ms
                stop += 1
            start = stop

    def set(self, mark_ms: int) -> None:
        """Put the watermark somewhere, and forget what was claimed before."""
        self.mark_ms = mark_ms
        self._claims = np.array([mark_ms] if mark_ms >= 0 else [], dtype=np.int64)

    def state(self) -> State:
        """The watermark and the last claims."""
        return {"mark_ms": self.mark_ms, "claims": self._claims.copy()}

    def restore(self, state: State, latest_ms: int | None = None) -> None:
        """Take ``state`` in, whose claims lie up to ``latest_ms``.

        Raises ``StateMismatchError`` where it holds more than it may.
        """
        claims = read_array(state, "claims", (-1,), np.int64, low=0, high=latest_ms)
        if len(claims) > HELD:
            raise StateMismatchError(f"{len(claims)} claims of time, at most {HELD} are kept")
        self.mark_ms, self._claims = read_time(state, "mark_ms"), claims


def carried(marks: Int64, readable: NDArray[np.bool_], before_ms: int) -> Int64:
    """Watermarks of all rows from those of the readable ones: the others have the last before."""
    last = np.cumsum(readable)
    return np.concatenate([[before_ms], marks])[last]
