"""Liveness and readiness of the process, as the main loop reports them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable


class HealthState:
    """Last report of the main loop about itself: a handful of values, thread-safe.

    Args:
        clock: monotonic seconds.
        broker_timeout_seconds: how long the broker may be silent; None: there is no broker.
        loop_timeout_seconds: how long a turn of the main loop may take. Kafka excludes a consumer
            that has not polled for five minutes, so a longer turn does no good any more.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        *,
        broker_timeout_seconds: float | None = 30.0,
        loop_timeout_seconds: float = 300.0,
    ) -> None:
        self._clock = clock
        self._broker_timeout = broker_timeout_seconds
        self._loop_timeout = loop_timeout_seconds
        self._lock = threading.Lock()
        self._last_turn = clock()
        self._last_answer: float | None = None
        self._assigned = False
        self._recovering = True
        self._stopping = False
        self._blocked: tuple[str, ...] = ()

    def loop_turned(self) -> None:
        """The main loop (or a step of recovery) went round."""
        with self._lock:
            self._last_turn = self._clock()

    def broker_answered(self) -> None:
        """The broker gave a sign of life: records, a commit, metadata."""
        with self._lock:
            self._last_answer = self._clock()

    def set_assigned(self) -> None:
        """The group has told this worker its share, be it none: one that stands by is ready too."""
        with self._lock:
            self._assigned = True

    def set_recovering(self, recovering: bool) -> None:
        """Set whether state is being rebuilt; true until first told otherwise."""
        with self._lock:
            self._recovering = recovering

    def set_stopping(self) -> None:
        """The process was asked to stop; it does not get ready again."""
        with self._lock:
            self._stopping = True

    def set_blocked(self, reasons: Iterable[str]) -> None:
        """Conditions while which nothing can be done; none where there are none."""
        with self._lock:
            self._blocked = tuple(reasons)

    def ready(self) -> tuple[bool, list[str]]:
        """Tell whether events are being processed, and every reason why not."""
        with self._lock:
            reasons = ["stopping"] if self._stopping else []
            if not self._assigned:
                reasons.append("not yet a member of the group")
            if self._recovering:
                reasons.append("recovery not done")
            reasons.extend(self._blocked)
            if self._broker_timeout is not None:
                if self._last_answer is None:
                    reasons.append("broker has not answered yet")
                elif (silence := self._clock() - self._last_answer) > self._broker_timeout:
                    reasons.append(f"broker has not answered for {silence:.0f} s")
        return not reasons, reasons

    def alive(self) -> tuple[bool, list[str]]:
        """Tell whether the main loop turns, and the reason if not: only a restart helps then."""
        with self._lock:
            silence = self._clock() - self._last_turn
        if silence > self._loop_timeout:
            return False, [f"the main loop has not turned for {silence:.0f} s"]
        return True, []
