"""Rates over the recent past, in constant memory."""

from __future__ import annotations

from collections import deque

RATE_WINDOW_SECONDS = 10.0
SHARE_HALF_LIFE_EVENTS = 10_000


class RecentRate:
    """Events a second over about the last ten seconds.

    State: (time, total) points at least a second apart within the window, so about a dozen.

    Args:
        now: monotonic seconds, as in every method.
    """

    def __init__(self, now: float) -> None:
        self._total = 0
        self._points: deque[tuple[float, int]] = deque([(now, 0)])

    def add(self, now: float, count: int) -> None:
        """Count events."""
        self._total += count
        if now - self._points[-1][0] >= 1.0:
            self._points.append((now, self._total))
        self._drop_old(now)

    def per_second(self, now: float) -> float:
        """The rate; 0 in the moment in which counting began."""
        self._drop_old(now)
        then, total = self._points[0]
        return (self._total - total) / (now - then) if now > then else 0.0

    def _drop_old(self, now: float) -> None:
        while len(self._points) > 1 and now - self._points[1][0] >= RATE_WINDOW_SECONDS:
            self._points.popleft()


class RecentShare:
    """Share of events that have some property; one 10,000 events back counts half.

    State: two numbers.
    """

    def __init__(self) -> None:
        self._events = self._having = 0.0

    def add(self, events: int, having: int) -> None:
        """Count events, and those of them that have the property."""
        decay = 0.5 ** (events / SHARE_HALF_LIFE_EVENTS)
        self._events = decay * self._events + events
        self._having = decay * self._having + having

    def value(self) -> float | None:
        """The share; None before the first event."""
        return self._having / self._events if self._events > 0 else None
