"""One detector on one stream: scores, figures and speed."""

from __future__ import annotations

import time
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score
from threadpoolctl import threadpool_limits

from . import data, own
from .parts import Task
from .peers import PEERS, SLOW, VERY_SLOW, Step

PREFIXES = {"5000": VERY_SLOW, "30000": SLOW, "whole": None}
"""Rows of a stream that figures are made of. Whoever scores a row before learning it gives the
first rows the same scores however long the stream is, so one run serves all three."""


def measure(task: Task, directory: Path) -> dict[str, Any]:
    """A record for the results, with ``error`` instead of figures where the detector fails."""
    record = {"part": task.part, "detector": task.detector, "set": task.stream, "rows": 0}
    try:
        features, labels = data.load(task.stream, directory)
    except PackageNotFoundError as error:
        return record | {"error": f"not installed: {error}"}
    features, labels = features[: task.rows], labels[: task.rows]
    first = data.first_scored(task.stream, len(features))
    if task.warm_up:
        features, labels, first = data.normal_first(features, labels, task.warm_up, first)
    if task.varied:
        features = features[:, ~data.near_constant(features[: task.warm_up])]
    peer = PEERS[task.peer] if task.peer is not None else None
    if peer is not None:
        features = features[: peer.rows]
    record |= {"rows": len(features), "columns": features.shape[1]}
    begin = time.perf_counter()
    try:
        with threadpool_limits(1):
            if peer is None:
                scores = own.prequential(features, task.settings)
            else:
                scores = one_by_one(peer.build(features.shape[1], task.seed), features)
    except (ImportError, PackageNotFoundError) as error:
        return record | {"error": f"not installed: {error}"}
    except Exception as error:  # noqa: BLE001 - whatever a peer raises belongs into the results
        return record | {"error": f"{type(error).__name__}: {error}"[:200]}
    seconds = time.perf_counter() - begin
    record |= {"seconds": round(seconds, 2), "events_per_second": round(len(features) / seconds)}
    return record | figures(labels, scores, first)


def one_by_one(step: Step, features: np.ndarray) -> np.ndarray:
    """Score of every row (rows,), each given before the row was learnt."""
    scores = np.array([step(row) for row in features])
    if not np.isfinite(scores).all():
        raise ValueError(f"{np.count_nonzero(~np.isfinite(scores))} scores are not finite")
    return scores


def figures(labels: np.ndarray, scores: np.ndarray, first: int) -> dict[str, dict[str, float]]:
    """``auc`` and ``ap`` by prefix; none for a prefix with one class, or longer than the run.

    Args:
        labels: of the whole stream.
        scores: of all its rows or of the first ones.
        first: first row that counts.
    """
    result: dict[str, dict[str, float]] = {"auc": {}, "ap": {}}
    for name, prefix in PREFIXES.items():
        rows = min(prefix or len(labels), len(labels))
        known, given = labels[first:rows], scores[first:rows]
        if rows <= len(scores) and len(np.unique(known)) > 1:
            result["auc"][name] = round(float(roc_auc_score(known, given)), 4)
            result["ap"][name] = round(float(average_precision_score(known, given)), 4)
    return result
