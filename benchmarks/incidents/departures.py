"""Flight departures with planted incidents: delays of one value, and carriers that fall silent."""

from __future__ import annotations

import csv
import functools
import gzip
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .plants import HOUR_MS, Plant, Stream

FIELDS = ("carrier", "origin", "dest")
KINDS = ("carrier late", "destination late", "origin late", "destination late", "carrier silent")
QUIET_DAYS = 22
DAYS = 73
DAY_MS = 24 * HOUR_MS
BUSIEST = {"carrier": 8, "dest": 12}
"""So many of the busiest are drawn from: others have no flight in most hours."""

CONFIGURATION: dict[str, Any] = {
    "name": "departures",
    "event": {"time": {"field": "time"}},
    "features": [{"numeric": "dep_delay"}],
    "detector": {"kind": "loda"},
    "incidents": {"fields": list(FIELDS)},
    "threshold": {"budget": "60 per day", "burn_in": 5000},
    "monitors": [
        {"name": "silent", "kind": "silence", "key": "carrier", "budget": "0.25 per week"},
    ],
}


@functools.cache
def load(directory: Path) -> tuple[np.ndarray, list[tuple[str, ...]], np.ndarray]:
    """(events,) time in ms; carrier, origin, destination and distance; (events,) delay in min."""
    with gzip.open(directory / "flight_departures.csv.gz", "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    times = np.array([row["time"] for row in rows], dtype="datetime64[ms]").astype(np.int64)
    names = [(row["carrier"], row["origin"], row["dest"], row["distance"]) for row in rows]
    delays = np.array([float(row["dep_delay"] or "nan") for row in rows])
    count = int(np.searchsorted(times, times[0] // DAY_MS * DAY_MS + DAYS * DAY_MS))
    return times[:count], names[:count], delays[:count]


def draw(seed: int, directory: Path, plants: int = 50) -> Stream:
    """The departures with the incidents of a seed."""
    random = np.random.default_rng([seed, 51])
    times, names, delays = load(directory)
    delays = delays.copy()
    origin = int(times[0]) // DAY_MS * DAY_MS
    columns = {name: np.array([row[at] for row in names]) for at, name in enumerate(FIELDS)}
    busiest = {
        name: [value for value, _ in Counter(columns[name]).most_common(BUSIEST.get(name, 3))]
        for name in FIELDS
    }
    kept = np.ones(len(times), dtype=bool)
    marked = np.full(len(times), -1)
    planned = []
    slot = (DAYS - QUIET_DAYS) / plants
    for number in range(plants):
        kind = KINDS[number % len(KINDS)]
        day = QUIET_DAYS + int(number * slot + random.uniform(0, max(slot - 1, 0)))
        begin = origin + day * DAY_MS + int(random.integers(7, 14)) * HOUR_MS
        field = {"c": "carrier", "d": "dest", "o": "origin"}[kind[0]]
        hours = 3 if kind == "carrier silent" else int(random.integers(5, 9))
        end = begin + hours * HOUR_MS
        value = str(random.choice(busiest[field]))
        chosen = (times >= begin) & (times < end) & (columns[field] == value)
        if kind == "carrier silent":
            kept &= ~chosen
        else:
            delays[chosen] += random.uniform(240, 420, int(chosen.sum())).round()
            marked[chosen] = number
        planned.append((kind, field, value, begin, end))
    rows = np.flatnonzero(kept)
    marked = marked[rows]
    found = [
        Plant(*what, frozenset(np.flatnonzero(marked == number).tolist()))
        for number, what in enumerate(planned)
    ]
    return Stream(lines(times, names, delays, rows), found)


def lines(
    times: np.ndarray, names: Sequence[tuple[str, ...]], delays: np.ndarray, rows: np.ndarray
) -> list[bytes]:
    """The departures of some rows as JSON."""
    written = times.astype("datetime64[ms]").astype("datetime64[s]").astype(str)
    made = []
    for row in rows.tolist():
        carrier, airport, dest, distance = names[row]
        delay = "null" if np.isnan(delays[row]) else f"{delays[row]:.0f}"
        made.append(
            f'{{"time":"{written[row]}","carrier":"{carrier}","origin":"{airport}",'
            f'"dest":"{dest}","distance":{distance},"dep_delay":{delay}}}'.encode()
        )
    return made
