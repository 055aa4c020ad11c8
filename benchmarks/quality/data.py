"""The twelve streams: features and labels in the order in which every detector sees them."""

from __future__ import annotations

import csv
import gzip
import os
from pathlib import Path

import numpy as np

from . import fresh, keel

SETS = {
    "cardio": 512,
    "satimage-2": 512,
    "pendigits": 512,
    "mammography": 512,
    "ionosphere": 64,
    "pima": 128,
    "shuttle": 512,
    "cover": 5000,
    "kdd_http": 512,
    "kdd_smtp": 512,
    "nsl_kdd": 512,
    "kdd99_thinned": 512,
}
"""Each with the first row that is scored. ionosphere and pima are short; cover begins with a part
that is balanced by hand (half of its first 4,320 rows are positive, then none for long)."""

FIRST = {**SETS, "kdd99_flipped": 0, "kdd99_without_rates": 512}
"""The same for all streams that ``load`` knows but those of ``keel`` and ``fresh``."""

SHUFFLED = {"cardio", "satimage-2"}
"""Sorted or blocked by label as they lie: shuffled with seed 0, or the order alone would score."""

ATTACKS_KEPT = 0.034
CATEGORICAL = (1, 2, 3)  # protocol, service, flag
KDD_FEATURES = 41
RATES = slice(19, 38)
"""Of the columns as loaded, those that count connections of the last two seconds or hundred."""


def data_directory(given: str | None = None) -> Path:
    """``given``, else ``STREAM_DETECTOR_DATA``, else ``../shared/data`` beside the repository."""
    path = given or os.environ.get("STREAM_DETECTOR_DATA")
    return Path(path) if path else Path(__file__).resolve().parents[3] / "shared" / "data"


def load(name: str, directory: Path) -> tuple[np.ndarray, np.ndarray]:
    """Features (rows, columns) and labels (rows,) 0 or 1, both float64."""
    if name.startswith(keel.PREFIX):
        return keel.load(name)
    if name.startswith(fresh.PREFIX):
        return fresh.load(name)
    if name == "nsl_kdd":
        return load_kdd(directory / "nsl_kdd_train.csv.gz")
    if name.startswith("kdd99"):
        features, labels = load_kdd(directory / "kddcup99_10_percent.csv.gz")
        # Four fifths are attacks. Flipped, normal traffic is what is to be found among them.
        if name == "kdd99_flipped":
            return features, 1 - labels
        features, labels = thin(features, labels)
        if name == "kdd99_without_rates":
            features = np.delete(features, RATES, axis=1)
        return features, labels
    with np.load(directory / f"{name}.npz") as file:
        features, labels = file["X"].astype(float), file["y"].astype(float).ravel()
    if name in SHUFFLED:
        order = np.random.default_rng(0).permutation(len(features))
        features, labels = features[order], labels[order]
    return features, labels


def first_scored(name: str, rows: int) -> int:
    """The first row of a stream that is scored."""
    made = name.startswith((keel.PREFIX, fresh.PREFIX))
    return keel.first_scored(rows) if made else FIRST[name]


def load_kdd(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Numeric columns, then one column of 0 and 1 for each value of the three categorical ones.

    Neither the attack's name nor NSL-KDD's difficulty is among them.
    """
    with gzip.open(path, "rt", newline="") as file:
        rows = list(csv.reader(file))
    labels = np.array([row[KDD_FEATURES].rstrip(".") != "normal" for row in rows], dtype=float)
    numeric = [column for column in range(KDD_FEATURES) if column not in CATEGORICAL]
    parts = [np.array([[row[column] for column in numeric] for row in rows], dtype=float)]
    for column in CATEGORICAL:
        values = np.array([row[column] for row in rows])
        parts.append((values[:, None] == np.unique(values)).astype(float))
    return np.concatenate(parts, axis=1), labels


def thin(features: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All normal rows in order, and attacks at random so that they are 3.4 % of what is kept."""
    attacks = np.flatnonzero(labels)
    normal = len(labels) - len(attacks)
    wanted = round(ATTACKS_KEPT / (1 - ATTACKS_KEPT) * normal)
    kept = np.random.default_rng(0).choice(attacks, size=wanted, replace=False)
    rows = np.sort(np.concatenate([np.flatnonzero(labels == 0), kept]))
    return features[rows], labels[rows]


def normal_first(
    features: np.ndarray, labels: np.ndarray, rows: int, first: int
) -> tuple[np.ndarray, np.ndarray, int]:
    """The first ``rows`` normal rows brought to the front, *by their label*; the others as before.

    Returns:
        Features, labels, and the first row that counts: what stood at ``first`` or after it and
        is not part of the warm-up.
    """
    warm = np.flatnonzero(labels == 0)[:rows]
    others = np.setdiff1d(np.arange(len(labels)), warm)
    order = np.concatenate([warm, others])
    return features[order], labels[order], len(warm) + int(np.count_nonzero(others < first))


def near_constant(features: np.ndarray) -> np.ndarray:
    """(columns,) whether a column tells next to nothing: ``nearZeroVar`` of Kuhn's ``caret``.

    Its commonest value is more than 19 times as common as the second, and at most a tenth of
    its values differ (Kuhn 2008, "Building predictive models in R using the caret package", 3.2).
    """
    found = np.zeros(features.shape[1], dtype=bool)
    for column in range(features.shape[1]):
        _, counts = np.unique(features[:, column], return_counts=True)
        counts[::-1].sort()
        found[column] = len(counts) == 1 or (
            counts[0] > 19 * counts[1] and len(counts) <= 0.1 * len(features)
        )
    return found
