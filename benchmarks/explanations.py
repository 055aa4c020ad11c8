"""Whether the feature in which an anomaly was planted is the first reason of its alert.

    python benchmarks/explanations.py [--rows 12000] [--json FILE]

Normal rows of public streams in a random order (seed 0), and synthetic rows with correlated
features; in one row of 200, after the first 4,000, one feature chosen at random is moved by ten of
its standard deviations. Counted: of the alerts raised for planted rows, the share whose first
reason is the feature (`first`), and of the planted rows the share with an alert (`alerted`).

Data: ``--data DIR``, else ``STREAM_DETECTOR_DATA``, else ``../shared/data`` beside the repository.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from quality.data import data_directory, load
from quality.own import configuration, events

from stream_detector.config.fingerprint import state_fingerprint
from stream_detector.pipeline import Pipeline

CLEAN, EVERY, DEVIATIONS = 4000, 200, 10.0
STREAMS = ("shuttle", "mammography", "satimage-2", "pendigits", "kdd_smtp", "cover", "correlated")
DETECTORS: dict[str, dict[str, Any]] = {
    "ensemble": {},
    "autoencoder": {},
    "half_space_forest": {},
    "loda": {},
    "random_fourier": {},
    "river": {"model": "river.anomaly.HalfSpaceTrees", "scaling": "minmax"},
}


def normal_rows(name: str, count: int, directory: Path) -> np.ndarray:
    """(rows, features) without the rows that are anomalous by their label."""
    random = np.random.default_rng(0)
    if name == "correlated":
        causes = random.normal(size=(count, 4))
        mixing = random.normal(size=(4, 12)) / 2
        return causes @ mixing + 0.3 * random.normal(size=(count, 12))
    features, labels = load(name, directory)
    features = features[labels == 0]
    return features[random.permutation(len(features))[:count]]


def plant(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows with anomalies, and (rows,) the feature planted, -1 for none."""
    random = np.random.default_rng(1)
    planted = np.full(len(rows), -1)
    deviations = rows.std(axis=0)
    moving = np.flatnonzero(deviations > 0)
    rows = rows.copy()
    for row in range(CLEAN, len(rows), EVERY):
        feature = int(random.choice(moving))
        rows[row, feature] += random.choice([-1.0, 1.0]) * DEVIATIONS * deviations[feature]
        planted[row] = feature
    return rows, planted


def measure(detector: dict[str, Any], rows: np.ndarray, planted: np.ndarray) -> dict[str, float]:
    """``first`` and ``alerted`` of one detector, and how many alerts that is."""
    sections = {"detector": detector, "threshold": {"budget": "2 %", "burn_in": 1000}}
    config = configuration(rows.shape[1], sections)
    pipeline = Pipeline(config, state_fingerprint(config))
    hits, alerts = 0, 0
    for start in range(0, len(rows), 4096):
        for alert in pipeline.process(events(rows[start : start + 4096], start)).alerts:
            feature = planted[alert.offset]
            if feature >= 0:
                alerts += 1
                reasons = json.loads(alert.value or b"")["reasons"]
                hits += bool(reasons) and reasons[0]["feature"] == f"f{feature}"
    count = int((planted >= 0).sum())
    return {"first": hits / alerts if alerts else 0.0, "alerted": alerts / count, "alerts": alerts}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=12_000)
    parser.add_argument("--streams", default=",".join(STREAMS))
    parser.add_argument("--detectors", default=",".join(DETECTORS))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--data")
    arguments = parser.parse_args()
    found: dict[str, dict[str, Any]] = {}
    for stream in arguments.streams.split(","):
        rows, planted = plant(normal_rows(stream, arguments.rows, data_directory(arguments.data)))
        for kind in arguments.detectors.split(","):
            figures = measure({"kind": kind, **DETECTORS[kind]}, rows, planted)
            found.setdefault(kind, {})[stream] = figures
            print(f"{stream:12} {kind:18}", *(f"{v:7.3f}" for v in figures.values()), flush=True)
    for kind, streams in found.items():
        alerts = sum(each["alerts"] for each in streams.values())
        hits = sum(each["first"] * each["alerts"] for each in streams.values())
        share = hits / alerts if alerts else 0.0
        print(f"{'all':12} {kind:18} {share:7.3f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
