"""Is the feature that was planted the first reason of its alert?

    python benchmarks/explanations.py [--sets gaussian,shuttle] [--rows 12000] [--json FILE]

Into normal rows of public sets (labels used only to choose them), in a random order, one row in 200
is planted after the first third: one feature, drawn at random among those that vary, is moved by 6
or 10 of its deviations, up or down. Among correlated Gaussians there is also ``relation``: a pair
with a correlation of .95 gets 1.5 and -1.5, each usual in itself; either of the two counts. All of
it goes through the pipeline (budget 2 %). Of the alerts raised on planted rows those are counted
whose first reason is the planted feature.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from matrices import batch_of, new_pipeline, numeric_config
from quality.data import data_directory, load
from threadpoolctl import threadpool_limits

DETECTORS: dict[str, dict[str, Any]] = {
    "adaptive_ensemble": {},
    "ensemble": {},
    "autoencoder": {},
    "half_space_forest": {},
    "loda": {},
    "nearest_neighbours": {},
    "random_fourier": {},
    "river": {"model": "river.anomaly.HalfSpaceTrees", "scaling": "minmax"},
    "classifier": {},
}
SETS = ("gaussian", "shuttle", "mammography", "satimage-2", "kdd_smtp", "nsl_kdd")
WIDTH, SIZES = 8, ("6", "10")


def normal_rows(name: str, directory: Path, count: int) -> np.ndarray:
    """(count, features) rows in random order; small sets are gone through again and again."""
    random = np.random.default_rng(0)
    if name == "gaussian":  # pairs with a correlation of .95
        common = random.normal(size=(count, WIDTH // 2))
        own = random.normal(size=(count, WIDTH))
        return np.sqrt(0.95) * np.repeat(common, 2, axis=1) + np.sqrt(0.05) * own
    features, labels = load(name, directory)
    usual = features[labels == 0]
    parts = [usual[random.permutation(len(usual))] for _ in range(-(-count // len(usual)))]
    return np.concatenate(parts)[:count]


def plant(rows: np.ndarray, size: str) -> tuple[np.ndarray, dict[int, set[int]]]:
    """``rows`` with anomalies, and which features each planted row may be explained by."""
    random = np.random.default_rng(1)
    rows = rows.copy()
    deviation = rows.std(axis=0)
    varying = np.flatnonzero(deviation > 1e-9)
    places = random.choice(
        np.arange(len(rows) // 3, len(rows)), size=len(rows) // 200, replace=False
    )
    planted: dict[int, set[int]] = {}
    for place in np.sort(places).tolist():
        feature = int(random.choice(varying))
        planted[place] = {feature}
        if size == "relation":
            twin = feature ^ 1
            planted[place].add(twin)
            sign = float(random.choice([-1, 1]))
            rows[place, twin], rows[place, feature] = sign * 1.5, -sign * 1.5
        else:
            rows[place, feature] += float(random.choice([-1, 1])) * int(size) * deviation[feature]
    return rows, planted


def count_first(kind: str, rows: np.ndarray, planted: dict[int, set[int]]) -> tuple[int, int]:
    """Alerts raised on planted rows, and those whose first reason is the planted feature."""
    sections: dict[str, Any] = {
        "detector": {"kind": kind, **DETECTORS[kind]},
        "threshold": {"budget": "2 %", "burn_in": 1000},
    }
    labels = None
    if kind == "classifier":
        sections["labels"] = {"field": "label", "delay": "60s"}
        labels = np.zeros(len(rows))
        labels[list(planted)] = 1.0
    pipeline = new_pipeline(numeric_config(rows.shape[1], **sections))
    alerts = first = 0
    with threadpool_limits(1):
        for start in range(0, len(rows), 512):  # the chunk: the regime changes at its end only
            part = slice(start, start + 512)
            unlearnt = kind == "classifier" and getattr(pipeline.detector, "score_scale", 0) == 0
            batch = batch_of(rows[part], start, None if labels is None else labels[part])
            for alert in pipeline.process(batch).alerts:
                body = json.loads(alert.value or b"")
                expected = planted.get(body["receipt"]["offset"])
                if expected is None or unlearnt or not body["reasons"]:
                    continue
                alerts += 1
                first += int(body["reasons"][0]["feature"].removeprefix("f")) in expected
    return alerts, first


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--kinds", default=",".join(DETECTORS))
    parser.add_argument("--rows", type=int, default=12_000)
    parser.add_argument("--data", help="directory of the data sets")
    parser.add_argument("--json", type=Path, help="write the figures there")
    arguments = parser.parse_args()
    directory = data_directory(arguments.data)
    lines: list[dict[str, Any]] = []
    for name in arguments.sets.split(","):
        usual = normal_rows(name, directory, arguments.rows)
        for size in (*SIZES, "relation") if name == "gaussian" else SIZES:
            rows, planted = plant(usual, size)
            for kind in arguments.kinds.split(","):
                alerts, first = count_first(kind, rows, planted)
                line = {"set": name, "size": size, "kind": kind, "planted": len(planted)}
                line |= {"alerts": alerts, "first": first}
                line["share"] = round(first / alerts, 3) if alerts else None
                lines.append(line)
                print(*(f"{value!s:18s}" for value in line.values()), flush=True)
    for kind in arguments.kinds.split(","):
        of_kind = [line for line in lines if line["kind"] == kind]
        alerts, first = (sum(line[what] for line in of_kind) for what in ("alerts", "first"))
        print(f"{kind:18s} {first} of {alerts}: {first / alerts if alerts else float('nan'):.3f}")
    if arguments.json:
        arguments.json.parent.mkdir(exist_ok=True)
        arguments.json.write_text(json.dumps({"rows": arguments.rows, "lines": lines}, indent=1))


if __name__ == "__main__":
    main()
