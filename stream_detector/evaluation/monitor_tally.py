"""What monitors have found in a run: alerts by monitor and key, the strongest of each kept."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from stream_detector.messages import Outgoing
from stream_detector.monitors import Monitor
from stream_detector.monitors.bands import MonitorFigures

MOST_KEYS = 10_000


@dataclass(slots=True)
class KeyAlerts:
    """Alerts of a key.

    Attributes:
        alerts: how many.
        strongest: the body of the one with the largest score.
        ends: end of each alert's stretch of time, as in the body; the first thousand.
    """

    alerts: int
    strongest: dict[str, Any]
    ends: list[str] = field(default_factory=list)

    @property
    def order(self) -> tuple[float, int, str]:
        """Sorts the strongest key first."""
        body = self.strongest
        return (-float(body["score"]), -self.alerts, str(body["monitor"]["key"]))


@dataclass(slots=True)
class MonitorAlerts:
    """Alerts of a monitor.

    Attributes:
        kind: what it watches.
        key_field: the field of its keys; None where all events are taken together.
        alerts: how many.
        keys: by key; further ones than ``MOST_KEYS`` are counted in ``alerts`` alone.
        figures: of the monitor at the end; None before that.
    """

    kind: str
    key_field: str | None
    alerts: int = 0
    keys: dict[str, KeyAlerts] = field(default_factory=dict)
    figures: MonitorFigures | None = None

    def strongest_keys(self, count: int) -> list[KeyAlerts]:
        """Return the keys with the strongest alerts, the strongest first."""
        return heapq.nsmallest(count, self.keys.values(), key=lambda each: each.order)

    def add(self, body: dict[str, Any]) -> None:
        """Count an alert."""
        self.alerts += 1
        key, end = str(body["monitor"]["key"]), str(body["monitor"]["end"])
        known = self.keys.get(key)
        if known is None:
            if len(self.keys) < MOST_KEYS:
                self.keys[key] = KeyAlerts(1, body, [end])
            return
        known.alerts += 1
        if len(known.ends) < 1000:  # noqa: PLR2004 - more are no marks that anybody sees
            known.ends.append(end)
        if body["score"] > known.strongest["score"]:
            known.strongest = body


def body_of(alert: Outgoing) -> dict[str, Any]:
    """The alert as it would have been written."""
    body: dict[str, Any] = msgspec.json.decode(alert.value or b"{}")
    return body


class MonitorTally:
    """Counts the alerts of a configuration's monitors. State: bounded by ``MOST_KEYS`` each."""

    def __init__(self, monitors: Sequence[Monitor]) -> None:
        self._monitors = monitors
        self.each = {
            monitor.config.name: MonitorAlerts(monitor.config.kind, monitor.config.key)
            for monitor in monitors
        }

    def __bool__(self) -> bool:
        return bool(self.each)

    @property
    def alerts(self) -> int:
        """All of them."""
        return sum(each.alerts for each in self.each.values())

    def add_all(self, alerts: Iterable[Outgoing]) -> None:
        """Count those of a batch that are a monitor's."""
        for alert in alerts:
            body = body_of(alert)
            if "monitor" in body:
                self.each[body["monitor"]["name"]].add(body)

    def end(self) -> None:
        """The run is over: take the monitors' own figures."""
        for monitor in self._monitors:
            self.each[monitor.config.name].figures = monitor.figures()
