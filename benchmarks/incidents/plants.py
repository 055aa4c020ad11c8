"""What is planted into a stream, and whether an incident names it first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

HOUR_MS = 3_600_000


@dataclass(frozen=True)
class Plant:
    """An incident that is known: of which value, when, and what shows it.

    Attributes:
        kind: what was done.
        field: whose value it is about.
        value: of that field.
        begin_ms: event time of its beginning.
        end_ms: event time of its end.
        offsets: places of the events that were changed or added; none where some fell out.
    """

    kind: str
    field: str
    value: str
    begin_ms: int
    end_ms: int
    offsets: frozenset[int] = field(default=frozenset(), repr=False)

    def shown_by(self, alert: str) -> bool:
        """Tell whether an alert, by its id, is about this."""
        parts = alert.split(":")
        if len(parts) > 2:  # of a monitor: kind, name, key, end
            return not self.offsets and parts[2] == self.value
        return int(alert.rsplit("-", 1)[1]) in self.offsets


@dataclass(frozen=True)
class Stream:
    """Events as lines of JSON with what was planted.

    Attributes:
        lines: the events, in order.
        plants: what is to be found.
    """

    lines: Sequence[bytes]
    plants: Sequence[Plant]


def named_whole(changes: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The last message of each incident, with all alerts that any of its messages names.

    A message has the first twenty, the last, and the rarest.
    """
    last = {one["id"]: one for one in changes}
    named: dict[str, dict[str, None]] = {}
    for one in changes:
        ids = [*one["alert_ids"], *(one[each]["alert"] for each in ("last", "peak"))]
        named.setdefault(one["id"], {}).update(dict.fromkeys(ids))
    return [{**one, "alert_ids": list(named[name])} for name, one in last.items()]


def judge(plants: Iterable[Plant], changes: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each plant the incident that has most of its alerts, and what that names first.

    An incident counts from an hour before the plant's beginning to twelve hours after its end.
    """
    incidents = named_whole(changes)
    return [_judged(plant, incidents) for plant in plants]


def _judged(plant: Plant, incidents: Sequence[dict[str, Any]]) -> dict[str, Any]:
    begin, end = iso(plant.begin_ms - HOUR_MS), iso(plant.end_ms + 12 * HOUR_MS)
    near = [one for one in incidents if one["last_seen"] >= begin and one["first_seen"] <= end]
    shown = [
        (sum(plant.shown_by(alert) for alert in one["alert_ids"]), one)
        for one in near
        if one["merged_into"] is None
    ]
    most, best = max(shown, key=lambda one: one[0], default=(0, None))
    record: dict[str, Any] = {
        "kind": plant.kind,
        "planted": [plant.field, plant.value],
        "events": len(plant.offsets),
        "incidents": sum(count > 0 for count, _ in shown),
    }
    if not most or best is None:
        return record | {"found": False, "first": None, "right": False}
    named = best["attributes"][0] if best["attributes"] else {"field": None, "value": None}
    first = [named["field"], named["value"]]
    return record | {
        "found": True,
        "first": first,
        "right": first == record["planted"],
        "scope": [best["scope"]["field"], best["scope"]["value"]],
        "alerts": best["alerts"] + best["held"],
        "shown": most,
        "condition": best["condition"],
        "id": best["id"],
    }


def iso(time_ms: int) -> str:
    """A time as messages have it."""
    return f"{np.datetime64(time_ms, 'ms')}Z"
