"""How often a watch cries wolf, how soon it finds a shift, and what its answers are worth.

    python benchmarks/drift.py [--json FILE]

First: made-up columns. False findings in a million events and column (a million events of ten
columns; KSWIN 100,000 of three), and the median number of events until a shift of so many standard
deviations is found, of nine tries, after 4,096 and 30,208 calm events. ``correlated`` is an AR(1)
process with .98: its means of 32 are no new drawings.

Then: public streams of 40,000 rows and more, shuffled with seed 0, half of the features moved by
three deviations from the middle on, the default detector with each answer to a drift of the inputs
or of the score. ROC AUC before the jump and in each 5,000 events after it.

Data: ``--data DIR``, else ``STREAM_DETECTOR_DATA``, else ``../shared/data`` beside the repository.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from quality.data import data_directory, load
from quality.own import configuration, events
from scipy.signal import lfilter
from sklearn.metrics import roc_auc_score

from stream_detector.config.derived.fingerprint import state_fingerprint
from stream_detector.config.models.drift import DriftConfig
from stream_detector.drift import DriftWatch
from stream_detector.pipeline import PipelineCore

METHODS = ("adwin", "page_hinkley", "kswin")
SHIFTS = (0.25, 0.5, 1.0, 2.0)
CALM = (4096, 30_208)
CHUNK = 512
STREAMS = ("shuttle", "cover", "nsl_kdd", "kdd99_thinned")
PART = 5000


def made_up(kind: str, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """(events, columns) of standard deviation 1, or nearly."""
    if kind == "normal":
        return rng.normal(size=shape)
    if kind == "lognormal":
        return rng.lognormal(0.0, 1.5, size=shape) / 8.97
    if kind == "rare":
        return (rng.random(shape) < 0.002) / 0.0447
    if kind == "heavy":
        return rng.standard_t(2, size=shape) / 4.0  # has no deviation; 4 is about its spread
    assert kind == "correlated"
    return lfilter([1.0], [1.0, -0.98], rng.normal(size=shape), axis=0) / 5.0


def findings(watch: DriftWatch, values: np.ndarray) -> Iterator[int]:
    """The events up to each finding."""
    for start in range(0, len(values), CHUNK):
        for _ in watch.learn(values[start : start + CHUNK]):
            yield start + CHUNK


def synthetic() -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    table = []
    for method in METHODS:
        events_, columns = (100_000, 3) if method == "kswin" else (1_000_000, 10)
        settings = DriftConfig(on="inputs", method=method, begin=0)
        for kind in ("normal", "lognormal", "rare", "heavy", "correlated"):
            names = [str(column) for column in range(columns)]
            calm_events = made_up(kind, (events_, columns), rng)
            false = list(findings(DriftWatch(settings, names), calm_events))
            line: dict[str, Any] = {
                "method": method,
                "columns": kind,
                "false_per_million": len(false) / (events_ * columns) * 1e6,
            }
            for calm in CALM:
                for shift in SHIFTS:
                    delays = []
                    for _ in range(9):
                        values = made_up(kind, (calm + 30_000, 1), rng)
                        values[calm:] += shift
                        found = findings(DriftWatch(settings, ["a"]), values)
                        delays.append(next((each - calm for each in found if each > calm), np.inf))
                    median = float(np.median(delays))
                    line[f"{calm}:{shift}"] = int(median) if np.isfinite(median) else None
            table.append(line)
            print(line, flush=True)
    return table


def answers() -> Iterator[tuple[str, dict[str, Any]]]:
    yield "no watch", {}
    for on in ("inputs", "score"):
        for answer in ("faster", "reset"):
            yield f"{on}, {answer}", {"drift": [{"on": on, "answer": answer}]}
    yield (
        "score, reset of the neighbours",
        {"drift": [{"on": "score", "answer": "reset", "member": "neighbours"}]},
    )


def after_a_jump(directory: Path) -> list[dict[str, Any]]:
    table = []
    for name in STREAMS:
        rows, labels = load(name, directory)
        order = np.random.default_rng(0).permutation(len(rows))[:60_000]
        rows, labels = rows[order], labels[order]
        middle = len(rows) // 2
        half = np.arange(0, rows.shape[1], 2)
        rows[middle:, half] += 3.0 * rows[:, half].std(axis=0)
        for title, sections in answers():
            config = configuration(rows.shape[1], sections)
            pipeline = PipelineCore(config, state_fingerprint(config))
            scores, found = [], []
            for start in range(0, len(rows), CHUNK):
                outcome = pipeline.process(events(rows[start : start + CHUNK], start))
                scores.append(outcome.scores)
                found += [pipeline.sequence] * len(outcome.changes)
            score = np.concatenate(scores)
            line = {
                "stream": name,
                "answer": title,
                "found_before": sum(each <= middle for each in found),
                "found_after": next((each - middle for each in found if each > middle), None),
                "before": float(roc_auc_score(labels[10_000:middle], score[10_000:middle])),
            }
            for first in range(middle, min(middle + 4 * PART, len(rows) - PART + 1), PART):
                part = slice(first, first + PART)
                if 0 < labels[part].sum() < PART:
                    line[f"+{first - middle}"] = float(roc_auc_score(labels[part], score[part]))
            table.append(line)
            print(line, flush=True)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=data_directory())
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    result = {"jump": after_a_jump(arguments.data), "made_up": synthetic()}
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
