"""What must be told once: a burst, a level shift, and outages of everything."""

from __future__ import annotations

import csv
import gzip
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import departures, payments, seldom
from .plants import HOUR_MS, Plant, Stream, iso, named_whole
from .stream import incidents

DAY_MS = 24 * HOUR_MS
MINUTE_MS = 60_000
NETWORK_ROWS = 30_000
SELDOM_DRAW = 200
"""Settings were tried on draw 100."""

_NETWORK_NUMBERS = {"duration": 0, "src_bytes": 4, "dst_bytes": 5, "count": 22, "serror_rate": 24}
NETWORK: dict[str, Any] = {
    "name": "network",
    "event": {"time": {"field": "time"}},
    "features": [
        *({"numeric": name} for name in _NETWORK_NUMBERS),
        {"categorical": "protocol", "encoding": "one_hot", "size": 4},
        {"categorical": "service", "encoding": "one_hot", "size": 80},
        {"categorical": "flag", "encoding": "one_hot", "size": 12},
    ],
    "threshold": {"budget": "0.1 %", "burn_in": 2000},
    "incidents": {"fields": ["service", "flag", "protocol"]},
}

DEPARTURES: dict[str, Any] = {
    **departures.CONFIGURATION,
    "threshold": {"budget": "0.5 %", "burn_in": 1000},
    # As `stream-detector init` proposes them for this file.
    "monitors": [
        {
            "name": "by_carrier",
            "kind": "rate",
            "key": "carrier",
            "bucket": "1h",
            "season": "hour_of_week",
            "deviations": 3.5,
        },
        {"name": "all", "kind": "rate", "bucket": "1h", "season": "hour_of_week"},
        {"name": "silent_carrier", "kind": "silence", "key": "carrier", "season": "hour_of_week"},
    ],
}
OUTAGES = ((45, 14, 2), (50, 10, 2), (57, 10, 4))
"""Day, hour and length in hours."""


def told(plants: Sequence[Plant], changes: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each plant how often incidents with its alerts were opened, and what became of them."""
    return [_told(plant, changes) for plant in plants]


def _told(plant: Plant, changes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    begin, end = iso(plant.begin_ms), iso(plant.end_ms + 6 * HOUR_MS)
    mine = [one for one in named_whole(changes) if any(map(plant.shown_by, one["alert_ids"]))]
    ids = {one["id"] for one in mine if begin <= one["last_seen"] and one["first_seen"] <= end}
    counts = Counter(one["change"] for one in changes if one["id"] in ids)
    largest = max(mine, key=lambda one: one["alerts"] + one["held"], default=None)
    return {
        "kind": plant.kind,
        "events": len(plant.offsets),
        "incidents": len(ids),
        "merged": counts["merged"],
        "opened": counts["opened"],
        "reopened": counts["reopened"],
        "resolved": counts["quiet"],
        "largest": None
        if largest is None
        else {
            "scope": largest["scope"],
            "alerts": largest["alerts"],
            "held": largest["held"],
            "kinds": largest["kinds"],
            "state": largest["state"],
        },
    }


def of_payments(directory: Path) -> list[dict[str, Any]]:
    """A burst of a thousand payments of a card, one whose level shifts, everything ten times."""
    random = np.random.default_rng(9)
    times, customers, terminals, amounts = (column.copy() for column in payments.load(directory))
    first = int(times[0]) // DAY_MS * DAY_MS
    kept = times < first + 16 * DAY_MS
    times, customers, terminals, amounts = (
        column[kept] for column in (times, customers, terminals, amounts)
    )
    counts = np.bincount(customers)
    shifted, loud = (int(one) for one in np.argsort(-counts)[[0, 5]])
    spans = {
        "burst": (first + 8 * DAY_MS + 10 * HOUR_MS, 2 * HOUR_MS),
        "level shift": (first + 9 * DAY_MS, 3 * DAY_MS),
        "everything": (first + 13 * DAY_MS + 12 * HOUR_MS, HOUR_MS),
    }
    marked = np.full(len(times), -1)
    begin, length = spans["level shift"]
    chosen = (times >= begin) & (times < begin + length) & (customers == shifted)
    marked[chosen] = 1
    begin, length = spans["everything"]
    everything = (times >= begin) & (times < begin + length)
    marked[everything] = 2
    amounts[chosen | everything] = np.round(amounts[chosen | everything] * 20, 2)
    begin, length = spans["burst"]
    added = (
        begin + random.integers(0, length, 1000),
        np.full(1000, loud),
        random.choice(terminals, 1000),
        np.round(np.median(amounts[customers == loud]) * random.uniform(5, 10, 1000), 2),
        np.zeros(1000, dtype=int),
    )
    columns = (times, customers, terminals, amounts, marked)
    joined = [np.concatenate(pair) for pair in zip(columns, added, strict=True)]
    order = np.argsort(joined[0], kind="stable")
    *rows, marked = (column[order] for column in joined)
    stream = Stream(
        payments.lines(*rows),
        [
            Plant(
                kind,
                "CUSTOMER_ID",
                "",
                span[0],
                span[0] + span[1],
                frozenset(np.flatnonzero(marked == number).tolist()),
            )
            for number, (kind, span) in enumerate(spans.items())
        ],
    )
    return told(stream.plants, incidents(payments.CONFIGURATION, stream.lines))


def of_seldom(directory: Path) -> list[dict[str, Any]]:
    """Ten cards that pay a few times a day, each with a level shifted for three days."""
    drawn = seldom.draw(SELDOM_DRAW, directory)
    return told(drawn.plants, incidents(payments.CONFIGURATION, drawn.lines))


def of_network(directory: Path) -> list[dict[str, Any]]:
    """Connections of a network, all of which take long and fail for ten minutes."""
    with gzip.open(directory / "nsl_kdd_train.csv.gz", "rt", newline="") as file:
        rows = [row for row in csv.reader(file) if row[41] == "normal"][:NETWORK_ROWS]
    begin, end = 20_000, 20_600
    lines = []
    for number, row in enumerate(rows):
        values = {name: row[place] for name, place in _NETWORK_NUMBERS.items()}
        if begin <= number < end:
            values |= {"duration": str(30_000 + number), "serror_rate": "1.00", "count": "500"}
        text = ",".join(f'"{name}":{float(value):g}' for name, value in values.items())
        lines.append(
            f'{{"time":"{iso(number * 1000)}","protocol":"{row[1]}","service":"{row[2]}",'
            f'"flag":"{row[3]}",{text}}}'.encode()
        )
    plant = Plant("everything", "", "", begin * 1000, end * 1000, frozenset(range(begin, end)))
    return told([plant], incidents(NETWORK, lines))


def of_departures(directory: Path) -> list[dict[str, Any]]:
    """No departure of any carrier for two hours, twice, and for four, with proposed monitors."""
    times, names, delays = departures.load(directory)
    first = int(times[0]) // DAY_MS * DAY_MS
    kept = times < first + (OUTAGES[-1][0] + 3) * DAY_MS
    plants = []
    for day, hour, hours in OUTAGES:
        begin = first + day * DAY_MS + hour * HOUR_MS
        end = begin + hours * HOUR_MS
        kept &= (times < begin) | (times >= end)
        plants.append(Silent(f"everything silent for {hours} h", "", "", begin, end))
    rows = np.flatnonzero(kept)
    return told(plants, incidents(DEPARTURES, departures.lines(times, names, delays, rows)))


class Silent(Plant):
    """An outage that monitors' alerts show which end within six hours of it."""

    def shown_by(self, alert: str) -> bool:
        """Tell whether a monitor's alert comes of this."""
        parts = alert.split(":", 3)
        begin, end = iso(self.begin_ms), iso(self.end_ms + 2 * HOUR_MS)
        return len(parts) > 3 and begin <= parts[3] <= end
