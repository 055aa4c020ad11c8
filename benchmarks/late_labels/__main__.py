"""The classifier where labels come soon and the world changes, beside River's adaptive forests.

    python -m late_labels [--streams nslb,elec] [--delays 1,100] [--peers ARF,SRP] [--keep]
        [--json results/late_labels.json]

Every detector is given the same numbers in the same order, scores each row before it learns it, and
learns a label so many events after its row. Ours is the whole pipeline with ``detector:
classifier`` and all defaults; peers are River's with ten trees. Rows after the first 512. AP, ROC
AUC, and F1 at odds of 1.

Data: ``--data DIR``, else ``STREAM_DETECTOR_DATA``, else ``../shared/data`` beside the repository.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import deque
from pathlib import Path
from typing import Any

import labelled
import numpy as np
import river
import sklearn
from quality.data import data_directory
from river import ensemble, forest
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from late_labels.streams import NAMES, load
from stream_detector.config.derived.field_plan import FieldPlan
from stream_detector.config.derived.fingerprint import state_fingerprint
from stream_detector.config.models.config import Config
from stream_detector.decoding import Decoder
from stream_detector.events import NO_TIMESTAMP, EventBatch, PlainRecord, TopicPartition
from stream_detector.pipeline import PipelineCore

UNSCORED = 512
HERE = TopicPartition("stream", 0)
FILES = ("paysim", "iotid20", "ai4i")
OURS = "stream-detector classifier"


def peer(name: str) -> Any:
    """One of River's, as its documentation has it, with ten trees."""
    if name == "ARF":
        return forest.ARFClassifier(n_models=10, seed=0)
    return ensemble.SRPClassifier(n_models=10, seed=0)


def configured(names: list[str], delay: int, seed: int) -> Config:
    """A configuration that says nothing but what the fields are."""
    return Config.model_validate(
        {
            "name": "stream",
            "event": {"time": {"field": "place", "format": "unix_s"}},
            "features": [{"numeric": name} for name in names],
            "labels": {"field": "label", "delay": f"{delay}s"},
            "detector": {"kind": "classifier", "seed": seed},
        }
    )


def batches(config: Config, rows: list[dict[str, Any]]) -> list[EventBatch]:
    """The rows as the daemon would decode them, in their order."""
    decoder = Decoder(config, FieldPlan.of(config))
    return [
        decoder.decode(
            HERE,
            [
                PlainRecord(begin + n, NO_TIMESTAMP, None, json.dumps(row).encode())
                for n, row in enumerate(rows[begin : begin + 512])
            ],
        )
        for begin in range(0, len(rows), 512)
    ]


def stream_of(
    name: str, delay: int, directory: Path, seed: int
) -> tuple[Config, list[EventBatch], np.ndarray, np.ndarray]:
    """Our configuration and batches; numbers and labels for the peers."""
    if name in FILES:
        rows = labelled.load(name, directory)
        given = labelled.configuration(name, rows, {"kind": "classifier", "seed": seed})
        changed = given.model_dump(mode="json", exclude_unset=True)
        changed["labels"]["delay"] = f"{delay}s"
        changed["processing"] = {}
        config = Config.model_validate(changed)
        features = labelled.numbers(name, rows)
        return (
            config,
            batches(config, rows),
            features,
            np.array([row[labelled.LABELS[name]] > 0 for row in rows]),
        )
    features, labels = load(name, directory)
    fields = [f"f{n}" for n in range(features.shape[1])]
    config = configured(fields, delay, seed)
    rows = [
        {"place": 1_000_000_000 + n, "label": int(label), **dict(zip(fields, values, strict=True))}
        for n, (values, label) in enumerate(zip(features.tolist(), labels, strict=True))
    ]
    return config, batches(config, rows), features, labels


def figures(labels: np.ndarray, scores: np.ndarray, even: float, seconds: float) -> dict[str, Any]:
    """AP, AUC, F1 and CPU time an event; ``even``: the score at odds of 1."""
    truth, said = labels[UNSCORED:], scores[UNSCORED:]
    return {
        "ap": round(float(average_precision_score(truth, said)), 4),
        "auc": round(float(roc_auc_score(truth, said)), 4),
        "f1": round(float(f1_score(truth, said > even)), 4),
        "us": round(seconds / len(labels) * 1e6, 1),
    }


def ours(name: str, delay: int, directory: Path, seed: int) -> dict[str, Any]:
    """Our figures."""
    config, given, _, labels = stream_of(name, delay, directory, seed)
    pipeline = PipelineCore(config, state_fingerprint(config))
    pipeline.explains = False
    start = time.process_time()
    scores = np.concatenate([pipeline.process(batch).scores for batch in given])
    return figures(labels, scores, 0.0, time.process_time() - start)


def theirs(which: str, name: str, delay: int, directory: Path) -> dict[str, Any]:
    """A peer's figures."""
    _, _, features, labels = stream_of(name, delay, directory, 0)
    model, waiting, scores = peer(which), deque[Any](), np.empty(len(labels))
    start = time.process_time()
    for place, row in enumerate(features.tolist()):
        x = dict(enumerate(row))
        scores[place] = model.predict_proba_one(x).get(True, 0.0)
        waiting.append((x, bool(labels[place])))
        if len(waiting) >= delay:
            model.learn_one(*waiting.popleft())
    return figures(labels, scores, 0.5, time.process_time() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--streams", default=",".join([*NAMES, *FILES]))
    parser.add_argument("--delays", default="1,100,1000,10000")
    parser.add_argument("--peers", default="ARF,SRP", help="empty: ours alone")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", action="store_true", help="measure what is missing alone")
    parser.add_argument("--data")
    parser.add_argument("--json", type=Path, default=Path("results/late_labels.json"))
    arguments = parser.parse_args()
    directory = data_directory(arguments.data)
    known: dict[str, Any] = {}
    if arguments.json.exists():
        known = json.loads(arguments.json.read_text())["figures"]
    peers = [each for each in arguments.peers.split(",") if each]
    for delay in arguments.delays.split(","):
        for name in arguments.streams.split(","):
            for which in [OURS, *peers]:
                cell = f"{which}/{delay}/{name}"
                if not (arguments.keep and cell in known):
                    known[cell] = (
                        ours(name, int(delay), directory, arguments.seed)
                        if which == OURS
                        else theirs(which, name, int(delay), directory)
                    )
                print(f"{delay:>6} {name:9}{which:28}", *known[cell].values(), flush=True)
                versions = {"river": river.__version__, "scikit-learn": sklearn.__version__}
                text = json.dumps({"versions": versions, "figures": known}, indent=1)
                arguments.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
