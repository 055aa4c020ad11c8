"""Event time of a shard to which nothing comes: how far it has gone on, for certain.

Events say what time it is. Where none comes, time goes on all the same, from the watermark, at the
pace of the monotonic clock; what is written down of it is a tick of the journal. Two things are
learnt of the events that come, so that nothing is called silence that is only on its way:

- the *slack*: by how much events lay behind the time that had been counted on to, when they came.
  A producer that delivers an hour's events at once makes it an hour. What came while nobody looked
  (a slow commit, a frozen process) is held against the last look before: no tick was later.
- the *lag*: how far the watermark lay behind the wall clock when all there was had been read. After
  a restart, or a backlog, it says how much of the time since the newest event has passed already.

Both are the largest of late, so one odd arrival costs patience and no false alarm. While the broker
does not answer, time stands still: nobody could have written.
"""

from __future__ import annotations

from typing import Any

from stream_detector.detectors.stored import LARGEST_TIME_MS, read_count
from stream_detector.events import NO_TIMESTAMP, Int64

OLDEST_LIVE_MS = 2 * 86_400_000
"""A stream whose newest event is older than this when it comes is a replay: no silence there."""

UNANSWERED_SECONDS = 15.0
"""The ends of the logs are asked for every five seconds; after three missed answers time stands."""

_MARGIN = 1.25
"""What comes an hour late may come an hour and a quarter late."""

_SHORTEST_SPAN_SECONDS = 3600.0
_SPANS = 4.0


class RecentMaximum:
    """The largest of recent values, in milliseconds.

    State: the largest of the present span of time, and of the one before. A span lasts an hour, or
    four times the largest value where that is longer: what comes daily is remembered for days.
    """

    def __init__(self) -> None:
        self._present: int | None = None
        self._before: int | None = None
        self._began = 0.0

    def add(self, value_ms: int, now: float) -> None:
        """Take a value in, at the monotonic time ``now``."""
        span = max(_SHORTEST_SPAN_SECONDS, _SPANS * (self.value_ms or 0) / 1000)
        if self._present is not None and now - self._began > span:
            self._before, self._present = self._present, None
        if self._present is None:
            self._began = now
        self._present = max(self._present or 0, value_ms)

    @property
    def value_ms(self) -> int | None:
        """The largest; None where nothing was taken in."""
        known = [value for value in (self._present, self._before) if value is not None]
        return max(known) if known else None


class IdleClock:
    """Tells how far event time has gone on while nothing came.

    State: the watermark and when it last rose, slack and lag, when all had been read last, when the
    broker answered last. A snapshot keeps slack and lag alone: the rest is of this process.

    Attributes:
        stale: whether what came last was so old that it is a replay, for which there are no ticks.
    """

    def __init__(self) -> None:
        self.stale = False
        self._mark_ms = NO_TIMESTAMP
        self._since = self._anchored = self._looked = 0.0
        self._rise_ms: int | None = None
        self._idle = self._live = self._counts = False
        self._answered: float | None = None
        self._slack, self._lag = RecentMaximum(), RecentMaximum()

    def take(self, before_ms: int, marks_ms: Int64 | None) -> None:
        """Events were processed; the watermark before them, and after each."""
        if marks_ms is None or self._rise_ms is not None:
            return
        rising = marks_ms[marks_ms > before_ms]
        if len(rising):
            self._rise_ms = int(rising[0])

    def look(self, mark_ms: int, now: float, wall_ms: int, *, idle: bool) -> None:
        """Note how things stand, once a turn.

        Args:
            mark_ms: the watermark.
            now: a monotonic time, in seconds.
            wall_ms: the wall clock.
            idle: whether all there is was read and processed.
        """
        moved = mark_ms != self._mark_ms
        if self._idle and (moved or not idle):
            self._live = True  # what comes now, comes as it is written
            if self._counts and self._rise_ms is not None:
                self._slack.add(max(self._passed_ms(self._looked) - self._rise_ms, 0), now)
        if moved:
            self._mark_ms, self._rise_ms, self._counts = mark_ms, None, False
        if idle and not self._counts and mark_ms >= 0:
            self._anchor(now, max(wall_ms - mark_ms, 0))
        self._idle = idle
        self._looked = now if idle else self._looked

    def _anchor(self, now: float, behind_ms: int) -> None:
        """All there was is processed: count from here on. ``behind_ms``: the watermark's delay."""
        lag_ms = self._lag.value_ms
        self.stale = behind_ms > OLDEST_LIVE_MS and (self._live or lag_ms is None)
        if not self.stale and (self._live or lag_ms is None):
            self._lag.add(behind_ms, now)
        if not self.stale and lag_ms is None and not self._live:
            # A first start: the newest event may be as old as a delivery is long.
            self._slack.add(behind_ms, now)
        passed_ms = 0 if self._live or lag_ms is None else max(behind_ms - lag_ms, 0)
        self._since, self._anchored, self._counts = now - passed_ms / 1000, now, True

    def _passed_ms(self, now: float) -> int:
        """The watermark, and the time since for which the broker was there."""
        if self._answered is not None and now - self._answered > UNANSWERED_SECONDS:
            now = max(self._answered, self._anchored)
        return self._mark_ms + round(1000 * (now - self._since))

    def answered(self, now: float) -> None:
        """The broker says that nothing waits; time in which it gave no answer does not count."""
        if self._answered is not None and now - self._answered > UNANSWERED_SECONDS:
            self._since += max(now - max(self._answered, self._anchored), 0.0)
        self._answered = now

    def time_ms(self, now: float, wall_ms: int) -> int | None:
        """The event time that has certainly come; None where that cannot be said."""
        if not (self._idle and self._counts) or self.stale or self._answered is None:
            return None
        if now - self._answered > UNANSWERED_SECONDS:
            return None
        return min(self._passed_ms(now), wall_ms) - round(_MARGIN * (self._slack.value_ms or 0))

    def state(self) -> dict[str, int]:
        """Slack and lag, as far as they are known."""
        values = {"slack_ms": self._slack.value_ms, "lag_ms": self._lag.value_ms}
        return {name: value for name, value in values.items() if value is not None}

    def restore(self, state: dict[str, Any], now: float) -> None:
        """Take slack and lag in. Raises ``StateMismatchError`` where they are no times."""
        for name, recent in (("slack_ms", self._slack), ("lag_ms", self._lag)):
            if name in state:
                recent.add(read_count(state, name, high=LARGEST_TIME_MS), now)
