"""Our monitors, run through the whole pipeline, configured as a user would configure them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from stream_detector import Pipeline

from .departures import START, Draw
from .score import Line

PART = 8192
MINUTE_MS = 60_000
START_MS = int(START.astype("datetime64[ms]").astype(int))

MONITOR = {"name": "departures", "kind": "rate", "key": "carrier", "deviations": 3}
"""All else by default: buckets of an hour, hour of the week, both sides, widths to five days."""

HOLIDAYS = {"name": "holidays", "country": "US", "like": "sunday"}
"""Public holidays; the days about them are as always."""


def configuration(detector: dict[str, Any] | None = None, **monitor: Any) -> dict[str, Any]:
    """What a file would hold, without Kafka; ``monitor`` is said besides ``MONITOR``."""
    made: dict[str, Any] = {
        "name": "departures",
        "event": {"time": {"field": "time"}},
        "features": [
            {"categorical": name, "encoding": "rarity"} for name in ("carrier", "origin", "dest")
        ],
        "monitors": [{**MONITOR, **monitor}],
    }
    if "calendars" in monitor:
        made["calendars"] = [HOLIDAYS]
    if detector is not None:
        made["detector"] = detector
    return made


def bodies(config: dict[str, Any], drawn: Draw, stop: int | None = None) -> list[dict[str, Any]]:
    """The monitors' alerts of the first ``stop`` events, as they would lie in Kafka."""
    pipeline = Pipeline(config)
    times, rows = drawn.times(), drawn.rows
    found = []
    for first in range(0, min(stop or len(rows), len(rows)), PART):
        part = zip(times[first : first + PART], rows[first : first + PART], strict=True)
        text = "\n".join(
            f'{{"time":"{time}","carrier":"{carrier}","origin":"{origin}","dest":"{dest}"}}'
            for time, (carrier, origin, dest) in part
        )
        result = pipeline.process(text.encode())
        alerts = [json.loads(message.value) for message in result.messages]
        found += [body for body in alerts if "monitor" in body]
    return found


def lines(alerts: list[dict[str, Any]]) -> list[Line]:
    """What they found, when."""
    return [
        (
            body["monitor"]["key"],
            (milliseconds(body["event_time"]) - START_MS) // MINUTE_MS,
            float(body["score"]),
        )
        for body in alerts
    ]


def milliseconds(text: str) -> int:
    return int(np.datetime64(text.removesuffix("Z"), "ms").astype(int))
