"""Real flight departures of nine carriers, and the incidents that a draw plants into them."""

from __future__ import annotations

import csv
import functools
import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np

KEYS = ("UA", "B6", "EV", "DL", "AA", "MQ", "US", "9E", "WN")
START = np.datetime64("2013-01-01T00:00", "m")
DAY = 1440
MINUTES = 365 * DAY
PLANTS = 54

KINDS = ("silence", "half", "double", "leak", "night", "half")
"""Nine plants of each, one a carrier: nothing for 3 h, half of the flights for 8 h, double for
3 h, a quarter fewer for five days, twelve flights at night."""

LENGTH = {"silence": 180, "half": 480, "double": 180, "leak": 5 * DAY, "night": 120}
HOURS = {"silence": (7, 17), "double": (7, 17), "half": (7, 12), "leak": (0, 1), "night": (1, 3)}
MISSING = {"half": 0.5, "leak": 0.25}
AT_NIGHT = 12


@dataclass(frozen=True, slots=True)
class Plant:
    """An incident: its kind, whose, and the minutes of the year it lies in."""

    kind: str
    key: str
    begin: int
    length: int


@dataclass(frozen=True)
class Draw:
    """Departures with incidents.

    Attributes:
        minutes: (events,) minute of the year, in order.
        rows: carrier, origin and destination of each.
        plants: what was planted.
    """

    minutes: np.ndarray
    rows: list[tuple[str, str, str]]
    plants: tuple[Plant, ...]

    @property
    def carriers(self) -> np.ndarray:
        return np.array([row[0] for row in self.rows])

    def times(self) -> list[str]:
        """The time of each, as ISO text without a zone: that of the airport."""
        texts: list[str] = (START + self.minutes).astype("datetime64[s]").astype(str).tolist()
        return texts


@functools.cache
def load(directory: Path) -> tuple[list[tuple[str, str, str]], np.ndarray]:
    """Carrier, origin and destination of each departure of 2013, and (events,) its minute."""
    with gzip.open(directory / "flight_departures.csv.gz", "rt", newline="") as file:
        read = [
            ((row["carrier"], row["origin"], row["dest"]), row["time"])
            for row in csv.DictReader(file)
            if row["carrier"] in KEYS
        ]
    minutes = (np.array([time for _, time in read], dtype="datetime64[m]") - START).astype(int)
    inside = (minutes >= 0) & (minutes < MINUTES)
    return [row for (row, _), kept in zip(read, inside, strict=True) if kept], minutes[inside]


def plan(random: np.random.Generator) -> list[Plant]:
    """Where the incidents lie: those of a carrier are at least two days apart."""
    busy: dict[str, set[int]] = {key: set() for key in KEYS}
    plants = []
    for number in range(PLANTS):
        key, kind = KEYS[number % len(KEYS)], KINDS[number // len(KEYS)]
        while True:
            day, hour = int(random.integers(60, 355)), int(random.integers(*HOURS[kind]))
            begin = day * DAY + hour * 60 + int(random.integers(0, 60))
            days = set(range(day - 2, day + LENGTH[kind] // DAY + 3))
            if not busy[key] & days:
                busy[key] |= days
                break
        plants.append(Plant(kind, key, begin, LENGTH[kind]))
    return plants


def draw(seed: int, directory: Path) -> Draw:
    """The departures with the incidents of a seed; no other code has a part in its bits."""
    random = np.random.default_rng(seed)
    rows, minutes = load(directory)
    plants = plan(random)
    keep = np.ones(len(rows), dtype=bool)
    extra: list[tuple[int, tuple[str, str, str]]] = []
    carriers = np.array([row[0] for row in rows])
    for plant in plants:
        end = plant.begin + plant.length
        inside = (carriers == plant.key) & (minutes >= plant.begin) & (minutes < end)
        if plant.kind == "silence":
            keep &= ~inside
        elif plant.kind in MISSING:
            keep &= ~(inside & (random.random(len(rows)) < MISSING[plant.kind]))
        elif plant.kind == "double":
            extra += [(int(minutes[row]), rows[row]) for row in np.flatnonzero(inside)]
        else:
            some = random.choice(np.flatnonzero(carriers == plant.key), AT_NIGHT)
            extra += [(plant.begin + int(random.integers(0, plant.length)), rows[r]) for r in some]
    kept = [(int(m), row) for m, row, k in zip(minutes, rows, keep, strict=True) if k]
    everything = sorted(kept + extra, key=lambda event: event[0])
    return Draw(
        np.array([minute for minute, _ in everything]),
        [row for _, row in everything],
        tuple(plants),
    )


def counts(drawn: Draw, bucket: int) -> np.ndarray:
    """(keys, buckets) departures of each carrier in buckets of so many minutes."""
    table = np.zeros((len(KEYS), MINUTES // bucket))
    carriers = drawn.carriers
    for row, key in enumerate(KEYS):
        places = drawn.minutes[carriers == key] // bucket
        table[row] = np.bincount(places, minlength=MINUTES // bucket)
    return table
