"""Is an event ordinary with what its alert says would have made it so? Scored again by another way.

    python benchmarks/counterfactuals.py [--sets cards,nsl_kdd] [--kinds classifier,ensemble]
        [--events 300000] [--json FILE]

Each set goes through the pipeline with its configuration of config/ and each detector in turn. For
every alert that has ``ordinary``, a second pipeline is restored to the state before the stretch of
512 events, its events come again, the alert's own with the fields that are said to be changed, and
its score is held against the threshold. Nothing of the search takes part: the event is decoded,
extracted, scaled and scored as any other. Where a statistic of what came before is said to be
another, it is changed as it comes out of the extractor. Of ranges, three random values within what
was seen are tried as well. Printed: alerts, the share with ``ordinary``, how many changes they
have, of how many the score is below the threshold, and is bit for bit what the alert says, and of
how many random values of ranges.
"""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from quality.data import data_directory
from threadpoolctl import threadpool_limits

from stream_detector.config import Config
from stream_detector.config.derived.fingerprint import state_fingerprint
from stream_detector.connectors.ahead import open_file
from stream_detector.evaluation.backtest import batches
from stream_detector.events import EventBatch
from stream_detector.features.columns import apply_transform
from stream_detector.pipeline import PipelineCore

CONFIGURATIONS = Path(__file__).resolve().parents[1] / "config"
SETS = {
    "cards": ("transactions.yaml", "card_transactions.csv.gz"),
    "nsl_kdd": ("network.yaml", "nsl_kdd_train.csv.gz"),
}
DETECTORS: dict[str, dict[str, Any]] = {
    "river": {"model": "river.anomaly.HalfSpaceTrees", "scaling": "minmax"}
}
STRETCH = 512
RANDOM_VALUES = 3


def configuration(name: str, kind: str) -> Config:
    text = os.path.expandvars((CONFIGURATIONS / name).read_text())
    raw = yaml.safe_load(text)
    for section in ("kafka", "state", "metrics"):
        raw.pop(section, None)
    raw["detector"] = {"kind": kind, **DETECTORS.get(kind, {})}
    if kind != "classifier":
        raw["labels"].pop("keep_first", None)
    return Config.model_validate(raw)


class Again:
    """Scores an event of a stretch again, with changes; one state serves all events of it."""

    def __init__(self, config: Config, state: Any, batch: EventBatch) -> None:
        self._config, self._state, self._batch = config, state, batch

    def scored(self, row: int, values: dict[str, Any]) -> tuple[float, float]:
        """Score and threshold of an event with other values of groups of features."""
        patches: dict[int, float] = {}

        def extract(events: EventBatch) -> np.ndarray:
            raw = pipeline.features.extract(events)
            if events.offset[-1] == self._batch.offset[row]:
                for column, value in patches.items():
                    raw[-1, column] = value
            return raw

        pipeline = PipelineCore(self._config, state_fingerprint(self._config), extract=extract)
        pipeline.explains = False
        pipeline.restore(self._state)
        batch = self._batch.take(slice(0, row + 1))
        numeric = batch.numeric.copy()
        text = tuple(column.copy() for column in batch.text)
        groups = {group.name: group for group in pipeline.features.groups}
        for name, value in values.items():
            group = groups[name]
            if group.kind in ("numeric", "boolean"):
                numeric[row, pipeline.plan.numeric.index(group.made_of[0])] = value
            elif group.kind == "categorical":
                text[pipeline.plan.text.index(group.made_of[0])][row] = value
            else:
                column = group.columns[0]
                transform = pipeline.features.transform_of(column)
                patches[column] = float(apply_transform(np.array([value]), transform)[0])
                patches.update(dict.fromkeys(group.columns[1:], 0.0))
        before = batch.take(slice(0, row))
        pipeline.process(before)
        last = replace(batch, numeric=numeric, text=text).take(slice(row, row + 1))
        threshold = pipeline.threshold.value
        return float(pipeline.process(last).scores[0]), threshold


def measure(name: str, kind: str, most: int, directory: Path) -> dict[str, Any]:
    config_name, data = SETS[name]
    config = configuration(config_name, kind)
    source = open_file(config, str(directory / data), ahead=False)
    ahead, behind = (PipelineCore(config, state_fingerprint(config)) for _ in range(2))
    behind.explains = False
    random = np.random.default_rng(0)
    counts: Counter[str] = Counter()
    for whole, _ in batches(config, source, _Nothing()):
        for start in range(0, len(whole), STRETCH):
            batch = whole.take(slice(start, start + STRETCH))
            alerts = [json.loads(alert.value or b"") for alert in ahead.process(batch).alerts]
            counts["events"] += len(batch)
            counts["alerts"] += len(alerts)
            told = [alert for alert in alerts if "ordinary" in alert]
            if told:
                again = Again(config, behind.state(), batch)
                for alert in told:
                    judge(alert, again, batch, ahead, random, counts)
            behind.process(batch)
        if counts["events"] >= most:
            break
    return {"set": name, "kind": kind, **counts}


class _Nothing:
    """In place of a pipeline, where batches alone are wanted."""

    def process(self, _batch: EventBatch) -> None:
        """Do nothing."""


def judge(
    alert: dict[str, Any],
    again: Again,
    batch: EventBatch,
    pipeline: PipelineCore,
    random: np.random.Generator,
    counts: Counter[str],
) -> None:
    ordinary = alert["ordinary"]
    row = int(np.flatnonzero(batch.offset == alert["receipt"]["offset"])[0])
    groups = {group.name: group for group in pipeline.features.groups}
    changes = ordinary["changes"]
    counts["told"] += 1
    counts[f"changes {len(changes)}"] += 1
    if any(groups[change["feature"]].kind == "time" for change in changes):
        counts["with a time"] += 1
        return
    exact: dict[str, Any] = {}
    ranges: dict[str, tuple[float, float]] = {}
    actual = {name: own_value(pipeline, groups[name], batch, row, alert) for name in groups}
    for change in changes:
        feature = change["feature"]
        column = groups[feature].columns[0]
        seen = [
            pipeline.features.in_units(column, float(end[column]))
            for end in (pipeline.scaler.low, pipeline.scaler.high)
        ]
        if "equals" in change:
            exact[feature] = change["equals"]
            continue
        low, high = change.get("at_least", seen[0]), change.get("at_most", seen[1])
        exact[feature] = high if actual[feature] > high else low
        ranges[feature] = (low, high)
        counts["ranges"] += 1
        counts["ranges of two ends"] += "at_least" in change and "at_most" in change
        counts["beyond what was seen"] += high > seen[1] * (1 + 1e-5) + 1e-9 and "at_most" in change
    for value, change in zip(exact.values(), changes, strict=True):
        own = actual[change["feature"]]
        if isinstance(value, float) and isinstance(own, float) and own.is_integer():
            counts["whole became not"] += (
                not value.is_integer() and groups[change["feature"]].kind == "numeric"
            )
    score, threshold = again.scored(row, exact)
    counts["below"] += score < threshold
    counts["same bits"] += score == ordinary["score"]
    counts["same threshold"] += threshold == alert["threshold"]
    for _ in range(RANDOM_VALUES if ranges else 0):
        some = {name: float(random.uniform(*ends)) for name, ends in ranges.items()}
        score, threshold = again.scored(row, {**exact, **some})
        counts["random values"] += 1
        counts["random values below"] += score < threshold


def own_value(
    pipeline: PipelineCore, group: Any, batch: EventBatch, row: int, alert: dict[str, Any]
) -> Any:
    if group.kind in ("numeric", "boolean"):
        return float(batch.numeric[row, pipeline.plan.numeric.index(group.made_of[0])])
    if group.kind == "categorical":
        return batch.text[pipeline.plan.text.index(group.made_of[0])][row]
    column = group.columns[0]
    return pipeline.features.in_units(column, alert["receipt"]["features"][column])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--kinds", default="classifier,ensemble,autoencoder")
    parser.add_argument("--events", type=int, default=2_000_000, help="of each set, at most")
    parser.add_argument("--data", help="directory of the data sets")
    parser.add_argument("--json", type=Path, help="write the figures there")
    arguments = parser.parse_args()
    directory = data_directory(arguments.data)
    lines = []
    with threadpool_limits(1):
        for name in arguments.sets.split(","):
            for kind in arguments.kinds.split(","):
                lines.append(measure(name, kind, arguments.events, directory))
                print(json.dumps(lines[-1]), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(lines, indent=1))


if __name__ == "__main__":
    main()
