"""Streams whose concept changes: X, y, in the order of time."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

Stream = tuple[np.ndarray, np.ndarray]


def packed(directory: Path, name: str) -> Stream:
    """One of the files."""
    with np.load(directory / f"{name}.npz") as file:
        return np.asarray(file["X"], dtype=float), np.asarray(file["y"]).ravel() > 0


def rows_of(parts: Iterator[Any], count: int) -> Stream:
    """The first rows of one of River's generators."""
    rows = list(islice(parts, count))
    fields = sorted(rows[0][0], key=str)
    values = np.array([[float(x[field]) for field in fields] for x, _ in rows])
    return values, np.array([bool(y) for _, y in rows])


def chain(streams: list[Any], each: int) -> Iterator[Any]:
    """So many rows of each generator, one after the other."""
    for stream in streams:
        yield from stream.take(each)


def agrawal(seed: int) -> Stream:
    """Five of Agrawal's functions, 3,000 rows each."""
    from river.datasets import synth

    parts = [synth.Agrawal(classification_function=n, seed=seed + n) for n in (0, 4, 2, 6, 8)]
    return rows_of(chain(parts, 3000), 15_000)


def agrawal_gradual(seed: int) -> Stream:
    """One function gives way to another over 4,000 rows."""
    from river.datasets import synth

    stream = synth.ConceptDriftStream(
        synth.Agrawal(classification_function=1, seed=seed),
        synth.Agrawal(classification_function=5, seed=seed + 1),
        seed=seed,
        position=7500,
        width=4000,
    )
    return rows_of(stream.take(15_000), 15_000)


def hyperplane(seed: int) -> Stream:
    """A plane that turns slowly."""
    from river.datasets import synth

    stream = synth.Hyperplane(seed=seed, n_features=10, n_drift_features=5, mag_change=0.001)
    return rows_of(stream.take(15_000), 15_000)


def sea(seed: int) -> Stream:
    """SEA with 5 % of noise, 3,000 rows each."""
    from river.datasets import synth

    parts = [synth.SEA(variant=n, seed=seed + n, noise=0.05) for n in (0, 2, 1, 3, 0)]
    return rows_of(chain(parts, 3000), 15_000)


def moving_centroids(seed: int) -> Stream:
    """Fifty centroids that wander."""
    from river.datasets import synth

    stream = synth.RandomRBFDrift(
        seed_model=seed,
        seed_sample=seed,
        n_classes=2,
        n_features=10,
        n_centroids=50,
        change_speed=0.0005,
        n_drift_centroids=50,
    )
    return rows_of(stream.take(15_000), 15_000)


def digits(seed: int) -> Stream:
    """LED digits, which is at least five; the irrelevant segments change places."""
    from river.datasets import synth

    parts = [
        synth.LEDDrift(
            seed=seed + n, noise_percentage=0.1, irrelevant_features=True, n_drift_features=2 * n
        )
        for n in range(5)
    ]
    rows = ((x, y >= 5) for x, y in chain(parts, 3000))
    return rows_of(rows, 15_000)


KDD_NAMES = (1, 2, 3)
"""Columns of KDD 99 that are names."""


def kdd_in_order(directory: Path) -> Stream:
    """KDD 99's ten per cent without repeated rows, every seventh, in their order."""
    seen, rows = set(), []
    with gzip.open(directory / "kddcup99_10_percent.csv.gz", "rt", newline="") as file:
        for row in csv.reader(file):
            text = ",".join(row)
            if text not in seen:
                seen.add(text)
                rows.append(row)
    rows = rows[::7]
    numbers = [n for n in range(41) if n not in KDD_NAMES]
    values = np.array([[float(row[n]) for n in numbers] for row in rows])
    return values[:, values.std(axis=0) > 0], np.array([row[41] != "normal." for row in rows])


MADE: dict[str, Callable[[int], Stream]] = {
    "agr": agrawal,
    "agg": agrawal_gradual,
    "hyp": hyperplane,
    "sea": sea,
    "rbf": moving_centroids,
    "led": digits,
}
PACKED = {"nslb": "nsl_campaigns", "elec": "elec2_20000", "weather": "weather"}


def load(name: str, directory: Path, seed: int = 1) -> Stream:
    """The stream of a name."""
    if name in MADE:
        return MADE[name](seed)
    if name == "kddb":
        return kdd_in_order(directory)
    return packed(directory, PACKED[name])


NAMES = [*PACKED, "kddb", *MADE]
