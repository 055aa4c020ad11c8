"""Incidents of a run: how many were opened and ended, and what each had come to."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from stream_detector.alerts import SEVERITIES

MOST_KEPT = 10_000
LISTED = 20

Body = Mapping[str, Any]


class IncidentTally:
    """Counts the messages of incidents and keeps the last one of each.

    State: at most ``MOST_KEPT`` incidents; those that changed longest ago go first.

    Attributes:
        on: whether the configuration has incidents.
        changes: messages by what had changed.
    """

    def __init__(self, *, on: bool = False) -> None:
        self.on = on
        self.changes: Counter[str] = Counter()
        self._last: dict[str, Body] = {}

    def __bool__(self) -> bool:
        return self.on

    def add_all(self, bodies: Iterable[Body]) -> None:
        """Take the messages of a batch in."""
        for body in bodies:
            self.changes[str(body["change"])] += 1
            self._last.pop(body["id"], None)
            self._last[body["id"]] = body
            if len(self._last) > MOST_KEPT:
                del self._last[next(iter(self._last))]

    @property
    def opened(self) -> int:
        """How many were opened, each once."""
        return self.changes["opened"]

    def heaviest(self, count: int = LISTED) -> list[Body]:
        """Those that are not part of another one, the most severe first, then the largest."""
        own = (body for body in self._last.values() if body["merged_into"] is None)
        return heapq.nsmallest(count, own, key=_order)

    def figures(self) -> dict[str, Any]:
        """How many were opened, ended, reopened, merged; and the heaviest as they stand last."""
        ended = ("quiet", "expired", "evicted")
        return {
            "opened": self.opened,
            "reopened": self.changes["reopened"],
            "over": sum(self.changes[change] for change in ended),
            "merged": self.changes["merged"],
            "heaviest": [_told(body) for body in self.heaviest()],
        }


def _order(body: Body) -> tuple[int, int, str]:
    return (
        -SEVERITIES.index(body["severity"]),
        -(int(body["alerts"]) + int(body["held"])),
        str(body["id"]),
    )


_TOLD = (
    "id", "state", "scope", "severity", "opened", "first_seen", "last_seen", "resolved", "alerts",
    "held", "hidden", "kinds", "attributes", "reasons", "condition", "reopened",
)  # fmt: skip


def _told(body: Body) -> dict[str, Any]:
    return {name: body[name] for name in _TOLD}
