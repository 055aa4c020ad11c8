"""Conditions that last: said at once, then once a minute, counted in a gauge until they are over.

A poll loop meets such a condition at every turn (a topic that is gone, an open transaction).
Whoever finds it reports it each time, and this module decides when a person is told again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from stream_detector.telemetry.families import Condition
from stream_detector.telemetry.health import HealthState
from stream_detector.telemetry.logs import fields
from stream_detector.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

REMINDER_SECONDS = 60.0
"""How long until a condition that still holds is said again."""


@dataclass(slots=True)
class _Held:
    """A condition that holds: since when, when it was said last, whether it stops all work."""

    since: float
    said: float
    blocking: bool
    message: str


class Conditions:
    """The conditions that hold just now.

    State: one entry for each name and thing that it is about. Things are topics, partitions and
    shards of this worker, so their number is bounded by its assignment.
    """

    def __init__(
        self,
        metrics: Metrics,
        health: HealthState,
        logger: logging.Logger = log,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take who is told: the gauge ``conditions``, ``/readyz``, the log."""
        self._metrics, self._health, self._log, self._clock = metrics, health, logger, clock
        self._held: dict[tuple[Condition, str], _Held] = {}

    def report(
        self,
        name: Condition,
        about: object,
        message: str,
        *,
        extra: Mapping[str, Any],
        blocking: bool = False,
    ) -> float:
        """Note that a condition holds; a line at first and then once a minute.

        Args:
            name: which condition, as the gauge ``conditions`` has it.
            about: the topic, partition or shard.
            message: what is wrong, what to do, and where docs/runbook.md says more.
            extra: ``fields(action, stage=...)`` of the log line.
            blocking: whether nothing at all can be done meanwhile: ``/readyz`` says 503 then.

        Returns:
            For how many seconds it has held.
        """
        now, key = self._clock(), (name, str(about))
        held = self._held.get(key)
        if held is None:
            held = self._held[key] = _Held(now, now - REMINDER_SECONDS, blocking, message)
        changed = held.blocking != blocking
        held.blocking, held.message = blocking, message
        lasted = now - held.since
        if now - held.said >= REMINDER_SECONDS:
            held.said = now
            since = f" (for {lasted:.0f} s)" if lasted else ""
            self._log.warning("%s%s", message, since, extra=dict(extra))
        if changed or not lasted:
            self._show(name)
        return lasted

    def over(self, name: Condition, about: object) -> None:
        """Note that a condition does not hold (any more); where it did, a line says so."""
        held = self._held.pop((name, str(about)), None)
        if held is None:
            return
        self._log.info(
            "no longer: %s (it lasted %.0f s)",
            held.message,
            self._clock() - held.since,
            extra=fields("condition-over", condition=name, about=str(about)),
        )
        self._show(name)

    def keep(self, name: Condition, abouts: Collection[object]) -> None:
        """End a condition for everything but ``abouts``."""
        still = set(map(str, abouts))
        for one, about in list(self._held):
            if one == name and about not in still:
                self.over(name, about)

    def holds(self, name: Condition, about: object) -> bool:
        """Tell whether a condition holds."""
        return (name, str(about)) in self._held

    def _show(self, name: Condition) -> None:
        self._metrics.set_conditions(name, sum(one == name for one, _ in self._held))
        self._health.set_blocked([held.message for held in self._held.values() if held.blocking])
