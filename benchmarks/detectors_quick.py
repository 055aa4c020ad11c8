"""Quality and speed of a detector on twelve public label-free streams, test-then-train.

    python benchmarks/detectors_quick.py ensemble [--rows 30000] [--sets http,cover] [--seed 0]
    python benchmarks/detectors_quick.py ensemble --set autoencoder=false

Chunks of 32 rows until 2,048 have been seen (throughout on sets shorter than that), then 256;
each chunk is scored by the model as it was before, then learnt. Printed: ROC AUC without the first
512 rows (ionosphere 64, pima 128; cover from row 5,000, whose first part is balanced by hand), its
mean, and events a second through scaler and detector, on one thread.

Data: ``--data DIR``, else ``STREAM_DETECTOR_DATA``, else ``../shared/data`` beside the repository.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import time
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter
from sklearn.metrics import average_precision_score, roc_auc_score
from threadpoolctl import threadpool_limits

from stream_detector.config.models import DetectorConfig
from stream_detector.detectors.base import BLOCK_ROWS, Detector, Rows
from stream_detector.detectors.registry import build_detector

SETS = {  # name: first row that counts
    "cardio": 512,
    "satimage-2": 512,
    "pendigits": 512,
    "mammography": 512,
    "ionosphere": 64,
    "pima": 128,
    "shuttle": 512,
    "kdd_smtp": 512,
    "nsl_kdd": 512,
    "kdd99_thinned": 512,
    "cover": 5000,
    "kdd_http": 512,
}
SHUFFLED = {"cardio", "satimage-2"}
SMALL_CHUNK, CHUNK, SMALL_CHUNKS_UNTIL = 32, 256, 2048
CATEGORICAL = (1, 2, 3)  # protocol, service, flag
KDD_FEATURES = 41


def data_directory(given: str | None) -> Path:
    path = given or os.environ.get("STREAM_DETECTOR_DATA")
    return Path(path) if path else Path(__file__).resolve().parents[2] / "shared" / "data"


def load(name: str, directory: Path) -> tuple[np.ndarray, np.ndarray]:
    """Features (rows, columns) and labels (rows,) 0 or 1, both float64."""
    if name == "nsl_kdd":
        return load_kdd(directory / "nsl_kdd_train.csv.gz")
    if name == "kdd99_thinned":
        return thin(*load_kdd(directory / "kddcup99_10_percent.csv.gz"))
    with np.load(directory / f"{name}.npz") as file:
        features, labels = file["X"].astype(float), file["y"].astype(float).ravel()
    if name in SHUFFLED:
        order = np.random.default_rng(0).permutation(len(features))
        features, labels = features[order], labels[order]
    return features, labels


def load_kdd(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Numeric columns and one-hot columns of the three categorical ones."""
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
    """All normal rows, and attacks at random so that they are 2 % of what is kept."""
    attacks = np.flatnonzero(labels)
    wanted = int(0.02 / 0.98 * (len(labels) - len(attacks)))
    kept = np.random.default_rng(0).choice(attacks, size=wanted, replace=False)
    rows = np.sort(np.concatenate([np.flatnonzero(labels == 0), kept]))
    return features[rows], labels[rows]


class Scaler:
    """Running mean and deviation over everything learnt, nothing forgotten."""

    def __init__(self, features: int) -> None:
        self.count, self.mean, self.scatter = 0, np.zeros(features), np.zeros(features)

    def scale(self, features: np.ndarray) -> np.ndarray:
        if self.count == 0:
            return np.zeros_like(features)
        deviation = np.sqrt(self.scatter / self.count)
        return (features - self.mean) / np.where(deviation > 0, deviation, 1.0)

    def learn(self, features: np.ndarray) -> None:
        count, mean = len(features), features.mean(axis=0)
        difference = mean - self.mean
        total = self.count + count
        self.scatter += ((features - mean) ** 2).sum(axis=0)
        self.scatter += difference**2 * (self.count * count / total)
        self.mean += difference * (count / total)
        self.count = total


def prequential(detector: Detector, features: np.ndarray) -> np.ndarray:
    """Score of every row by the model as it was before the row's chunk."""
    scaler = Scaler(features.shape[1])
    scores = np.zeros(len(features))
    start, chunk = 0, SMALL_CHUNK
    while start < len(features):
        if start >= SMALL_CHUNKS_UNTIL:
            chunk = CHUNK
        part = features[start : start + chunk]
        real = len(part)
        if real % BLOCK_ROWS:
            part = np.concatenate([part, np.zeros((-real % BLOCK_ROWS, part.shape[1]))])
        rows = Rows(part, scaler.scale(part))
        scores[start : start + real] = detector.score(rows)[:real]
        detector.learn(rows.take(slice(real)))
        scaler.learn(part[:real])
        start += real
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", help="kind of the detector")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=JSON", dest="settings")
    parser.add_argument("--sets", default=",".join(SETS), help="data sets, by comma")
    parser.add_argument("--rows", type=int, help="only the first rows of each set")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", help="directory of the data sets")
    arguments = parser.parse_args()
    settings = {
        name: json.loads(value)
        for name, value in (item.split("=", 1) for item in arguments.settings)
    }
    settings |= {"kind": arguments.kind, "seed": arguments.seed}
    config = TypeAdapter(DetectorConfig).validate_python(settings)
    directory = data_directory(arguments.data)
    table: list[tuple[float, float]] = []
    all_rows, all_seconds = 0, 0.0
    print(f"{'set':14s} {'rows':>7s} {'features':>8s} {'AUC':>6s} {'AP':>6s} {'events/s':>9s}")
    for name in arguments.sets.split(","):
        features, labels = load(name, directory)
        features, labels = features[: arguments.rows], labels[: arguments.rows]
        with threadpool_limits(1):
            detector = build_detector(config, features.shape[1])
            begin = time.perf_counter()
            scores = prequential(detector, features)
            seconds = time.perf_counter() - begin
        counted = slice(SETS[name], None)
        if len(np.unique(labels[counted])) < 2:
            print(f"{name:14s} {len(labels):7d}  one class only in these rows")
            continue
        auc = roc_auc_score(labels[counted], scores[counted])
        precision = average_precision_score(labels[counted], scores[counted])
        table.append((auc, precision))
        all_rows, all_seconds = all_rows + len(labels), all_seconds + seconds
        print(
            f"{name:14s} {len(labels):7d} {features.shape[1]:8d} {auc:6.3f} {precision:6.3f} "
            f"{len(labels) / seconds:9,.0f}",
            flush=True,
        )
    mean = np.mean(table, axis=0)
    speed = all_rows / all_seconds
    print(f"{'mean':14s} {all_rows:7d} {'':8s} {mean[0]:6.4f} {mean[1]:6.4f} {speed:9,.0f}")


if __name__ == "__main__":
    main()
