"""Detectors that learn from labels, 100 events late, beside River's, on three public streams.

    python benchmarks/labelled.py [--sets paysim,iotid20,ai4i] [--json FILE] [--seeds 3]

PaySim's sample without the balances, IoTID20's sample without ids, addresses and ports, AI4I 2020
without the kinds of failure. Ours is the whole pipeline with ``detector: classifier``, defaults but
for ``chunk_size: 64`` (slow streams learn in small steps); the peers are given the very numbers
that our features come to, event by event, scored before learnt. Rows after the first 512.

Data: ``--data DIR``, else ``STREAM_DETECTOR_DATA``, else ``../shared/data`` beside the repository.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import statistics
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import river
import sklearn
from quality.data import data_directory
from river import ensemble, forest, linear_model, preprocessing, tree
from sklearn.metrics import average_precision_score, roc_auc_score

from stream_detector.config.derived.field_plan import FieldPlan
from stream_detector.config.derived.fingerprint import state_fingerprint
from stream_detector.config.models.config import Config
from stream_detector.decoding import Decoder
from stream_detector.events import NO_TIMESTAMP, EventBatch, PlainRecord, TopicPartition
from stream_detector.features import FeatureExtractor
from stream_detector.pipeline import PipelineCore

DELAY = 100
UNSCORED = 512
HERE = TopicPartition("file", 0)
LABELS = {"paysim": "isFraud", "iotid20": "Label", "ai4i": "Machine_failure"}
FILES = {
    "paysim": "paysim_sample.csv.gz",
    "iotid20": "iotid20_sample.csv.gz",
    "ai4i": "ai4i2020.csv.gz",
}
LEAKS = {
    "iotid20": {"Flow_ID", "Src_IP", "Src_Port", "Dst_IP", "Dst_Port", "Timestamp", "Label"},
    "ai4i": {"UDI", "Product ID", "Type", "Machine_failure", "TWF", "HDF", "PWF", "OSF", "RNF"},
}


def load(name: str, directory: Path) -> list[dict[str, Any]]:
    """Rows in time order, numbers, each with its place as its time."""
    with gzip.open(directory / FILES[name], "rt", encoding="utf-8-sig", newline="") as file:
        rows: list[dict[str, Any]] = list(csv.DictReader(file))
    for row in rows:
        for field, text in row.items():
            if field not in {"type", "nameOrig", "nameDest", "Type", "Product ID"}:
                row[field] = float(text)
    if name == "paysim":
        rows.sort(key=lambda row: row["step"])
        for row in rows:
            row["hour"] = row["step"] % 24
    for place, row in enumerate(rows):
        row["place"] = place + 1_000_000_000
    return rows


def configuration(name: str, rows: list[dict[str, Any]], detector: dict[str, Any]) -> Config:
    """What a user would write for these fields."""
    features: list[dict[str, Any]]
    windows: list[dict[str, Any]] = []
    if name == "paysim":
        features = [{"numeric": "amount", "transform": "log"}, {"numeric": "hour"}]
        features.append({"categorical": "type"})
        lives = ["1000s", "10000s"]
        windows = [{"key": "nameDest", "half_lives": lives, "compute": ["count", "deviation"]}]
        windows[0]["value"] = "amount"
    else:
        features = [{"numeric": field} for field in rows[0] if field not in LEAKS[name] | {"place"}]
        if name == "ai4i":
            features.append({"categorical": "Type"})
            features.append({"difference": ["Process temperature [K]", "Air temperature [K]"]})
    return Config.model_validate(
        {
            "name": name,
            "event": {"time": {"field": "place", "format": "unix_s"}},
            "features": features,
            "windows": windows,
            "labels": {"field": LABELS[name], "delay": f"{DELAY}s"},
            "detector": detector,
            "processing": {"chunk_size": 64},
        }
    )


def batches(config: Config, rows: list[dict[str, Any]]) -> Iterator[EventBatch]:
    """The rows as the daemon would decode them, in their order."""
    decoder = Decoder(config, FieldPlan.of(config))
    for begin in range(0, len(rows), 64):
        records = [
            PlainRecord(begin + n, NO_TIMESTAMP, None, json.dumps(row).encode())
            for n, row in enumerate(rows[begin : begin + 64])
        ]
        yield decoder.decode(HERE, records)


def ours(name: str, rows: list[dict[str, Any]], detector: dict[str, Any]) -> np.ndarray:
    """Our scores."""
    config = configuration(name, rows, detector)
    pipeline = PipelineCore(config, state_fingerprint(config))
    return np.concatenate([pipeline.process(batch).scores for batch in batches(config, rows)])


def numbers(name: str, rows: list[dict[str, Any]]) -> np.ndarray:
    """(rows, features): what our pipeline makes of the rows, for the peers."""
    config = configuration(name, rows, {"kind": "classifier"})
    extractor = FeatureExtractor(config, FieldPlan.of(config))
    return np.concatenate([extractor.extract(batch) for batch in batches(config, rows)])


def peers() -> dict[str, Any]:
    """River's models as their documentation has them."""
    bagging = ensemble.ADWINBaggingClassifier(tree.HoeffdingTreeClassifier(), n_models=10, seed=0)
    return {
        "River ADWINBagging(HoeffdingTree)": bagging,
        "River ARFClassifier": forest.ARFClassifier(seed=0),
        "River LogisticRegression": preprocessing.StandardScaler()
        | linear_model.LogisticRegression(),
    }


def peer_scores(model: Any, features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Each row scored, then the row of 100 events ago learnt."""
    scores, waiting = np.empty(len(labels)), deque()
    for place, row in enumerate(features.tolist()):
        x = dict(enumerate(row))
        scores[place] = model.predict_proba_one(x).get(True, 0.0)
        waiting.append((x, bool(labels[place])))
        if len(waiting) > DELAY:
            model.learn_one(*waiting.popleft())
    return scores


def figures(labels: np.ndarray, scores: np.ndarray, seconds: float) -> dict[str, float]:
    labels, scores = labels[UNSCORED:], scores[UNSCORED:]
    return {
        "average_precision": float(average_precision_score(labels, scores)),
        "roc_auc": float(roc_auc_score(labels, scores)),
        "events_per_second": len(labels) / seconds,
    }


def compare(name: str, directory: Path, seeds: int, changes: dict[str, Any]) -> dict[str, Any]:
    """Figures by detector; ours as the median over the seeds."""
    rows = load(name, directory)
    labels = np.array([row[LABELS[name]] for row in rows])
    runs = []
    for seed in range(seeds):
        start = time.perf_counter()
        scores = ours(name, rows, {"kind": "classifier", "seed": seed, **changes})
        runs.append(figures(labels, scores, time.perf_counter() - start))
    result = {
        "stream-detector classifier": {
            key: statistics.median(run[key] for run in runs) for key in runs[0]
        }
    }
    features = numbers(name, rows)
    for peer, model in ({} if changes else peers()).items():
        start = time.perf_counter()
        scores = peer_scores(model, features, labels)
        result[peer] = figures(labels, scores, time.perf_counter() - start)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", default=",".join(FILES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    changes = {k: json.loads(v) for k, v in (each.split("=") for each in arguments.set)}
    directory = data_directory(arguments.data)
    found: dict[str, Any] = {"river": river.__version__, "scikit-learn": sklearn.__version__}
    for name in arguments.sets.split(","):
        found[name] = compare(name, directory, arguments.seeds, changes)
        for detector, values in found[name].items():
            print(f"{name:9}{detector:36}", *(f"{v:10.4f}" for v in values.values()), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
