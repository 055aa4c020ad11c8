"""Two public streams: NSL-KDD's connections with their categories, and KDD 1999's http.

Ordinary rows in their order, a background of attacks of other kinds, and in the last third the
attacks that are to be found, each a row of its own. One row a second.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from .streams import NOBODY, Stream, copies_for

ROWS, TEACHING, PLANTING = 15_000, (3_000, 10_000), 10_000
UNITS, BACKGROUND = 60, 0.004
FOUND, OF_EACH = ("neptune", "portsweep", "ipsweep", "smurf", "pod", "guess_passwd"), 50
"""NSL-KDD's attacks that are planted, those that the default finds; the background is of others."""

LABEL = "label"
Events = list[dict[str, Any]]
Random = np.random.Generator


@cache
def nsl(directory: Path, columns: tuple[str, ...]) -> tuple[Events, Events, Events]:
    """Ordinary rows, rows of the attacks that are planted, rows of other attacks."""
    with gzip.open(directory / "nsl_kdd_train.csv.gz", "rt", newline="") as file:
        table = list(csv.reader(file))
    groups: tuple[Events, Events, Events] = ([], [], [])
    seen = dict.fromkeys(FOUND, 0)
    for row in table:
        event: dict[str, Any] = dict(zip(columns, row, strict=False))
        event.pop("difficulty", None)
        name = event[LABEL]
        event[LABEL] = int(name != "normal")
        if name not in FOUND:
            groups[0 if name == "normal" else 2].append(event)
        elif seen[name] < OF_EACH:
            groups[1].append(event)
            seen[name] += 1
    return groups


@cache
def http(directory: Path) -> tuple[Events, Events, Events]:
    """The same of KDD's http, whose attacks are of one kind: a half for the background."""
    with np.load(directory / "kdd_http.npz") as file:
        features, labels = file["X"].astype(float), file["y"].ravel()
    names = [f"f{column}" for column in range(features.shape[1])]
    # From where the stream's first attacks lie, so that ordinary rows are of one time.
    ordinary = features[labels == 0][: 4 * ROWS]
    attacks = np.random.default_rng(5).permutation(features[labels != 0])
    half = len(attacks) // 2
    made = [
        [{**dict(zip(names, row, strict=True)), LABEL: label} for row in part.tolist()]
        for part, label in ((ordinary, 0), (attacks[:half], 1), (attacks[half:], 1))
    ]
    return made[0], made[1], made[2]


class Network:
    """Rows with a place in time (a fraction of a row number), and who put them there."""

    def __init__(self, source: tuple[Events, Events, Events], seed: int) -> None:
        ordinary, strange, other = source
        self.random = np.random.default_rng([seed, 78])
        first = int(self.random.integers(0, max(1, len(ordinary) - ROWS)))
        self.ordinary = ordinary[first : first + ROWS]
        self.planted = [strange[row] for row in self.random.choice(len(strange), UNITS, False)]
        count = round(BACKGROUND * ROWS)
        self.background = [other[row] for row in self.random.choice(len(other), count, False)]
        self.numeric = [
            name for name, value in self.ordinary[0].items() if name != LABEL and is_number(value)
        ]
        sized = ("duration", "src_bytes", "dst_bytes")
        self.loud = [name for name in self.numeric if name in sized] or self.numeric

    def usual(self, low: float, high: float) -> dict[str, tuple[float, float]]:
        """Two quantiles of each number of ordinary rows."""
        columns = {n: [float(row[n]) for row in self.ordinary] for n in self.numeric}
        return {
            n: (float(np.quantile(values, low)), float(np.quantile(values, high)))
            for n, values in columns.items()
        }


def is_number(value: Any) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def copies(network: Network, share: float) -> tuple[Events, np.ndarray]:
    """The very rows that are planted later, over and over, on ``share`` of the traffic."""
    count = copies_for(share, TEACHING[1] - TEACHING[0])
    rows = [network.planted[n] | {LABEL: 0} for n in network.random.integers(0, UNITS, count)]
    return rows, network.random.uniform(*TEACHING, count)


def category_flood(network: Network, values: float) -> tuple[Events, np.ndarray]:
    """Ordinary rows with ``values`` junk values of service and flag, the first of the stream."""
    count = int(values)
    rows = [
        network.ordinary[number] | {"service": f"junk{number}", "flag": f"J{number}"}
        for number in range(count)
    ]
    return rows, np.full(count, -1.0)


def budget_flood(network: Network, share: float) -> tuple[Events, np.ndarray]:
    """Rows far louder than any attack."""
    first = PLANTING - 1000
    count = copies_for(share, ROWS - first)
    loud = dict.fromkeys(network.loud, 1e9)
    rows = [network.ordinary[n] | loud for n in network.random.integers(0, ROWS, count)]
    return rows, network.random.uniform(first, ROWS, count)


ATTACKS: Mapping[str, Callable[[Network, float], tuple[Events, np.ndarray]]] = {
    "copies": copies,
    "category flood": category_flood,
    "budget flood": budget_flood,
}


def mimic(network: Network) -> Events:
    """The planted rows with every number drawn into what 98 % of the ordinary rows have."""
    bounds = network.usual(0.01, 0.99)
    return [
        row | {n: min(max(float(row[n]), low), high) for n, (low, high) in bounds.items()}
        for row in network.planted
    ]


def stream(
    source: tuple[Events, Events, Events], attack: str, strength: float, seed: int
) -> Stream:
    """The connections with what is to be found, and with the attack if there is one."""
    network = Network(source, seed)
    random = network.random
    planted = mimic(network) if attack == "mimicry" else network.planted
    rows = [*network.ordinary, *network.background, *planted]
    places = np.concatenate(
        [
            np.arange(ROWS),
            random.uniform(0, ROWS, len(network.background)),
            random.uniform(PLANTING, ROWS, UNITS),
        ]
    )
    units = np.full(len(rows), NOBODY)
    units[-UNITS:] = np.arange(UNITS)
    added = 0
    if attack in ATTACKS:
        more, where = ATTACKS[attack](network, strength)
        added = len(more)
        rows += more
        places = np.concatenate([places, where])
        units = np.concatenate([units, np.full(added, NOBODY)])
    order = np.argsort(places, kind="stable")
    rows = [rows[row] for row in order.tolist()]
    if attack == "label flips":
        flipped = random.random(len(rows)) < strength
        rows = [
            row | {LABEL: 1 - row[LABEL]} if turn else row
            for row, turn in zip(rows, flipped.tolist(), strict=True)
        ]
    return Stream(rows, units[order], added)
