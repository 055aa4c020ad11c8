"""Shards with every kind of detector and state, their snapshots, and what mutants are held to."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from support.streams import SETTINGS, SOURCE, configuration, records

from stream_detector.config import Config
from stream_detector.connectors.base import Fetched
from stream_detector.daemon.shard import Shard
from stream_detector.errors import StateError
from stream_detector.events import Float64, PlainRecord
from stream_detector.snapshots import Snapshot, check_complete, decode, encode
from stream_detector.telemetry.metrics import Metrics

BEFORE, AFTER = 700, 420
"""Events of a snapshot, and those that follow: some chunks are learnt."""

_LABELS = {
    "field": "label",
    "delay": "10m",
    "keep_first": 1000,
    "risk": [{"key": "user", "half_lives": ["1h"], "max_keys": 32, "max_events": 200}],
}
_DRIFT = [
    {"on": "score", "method": "page_hinkley", "answer": "none", "begin": 0},
    {"on": "score", "method": "kswin", "answer": "reset", "begin": 0},
]
_WINDOW = {
    **SETTINGS["windows"][0],
    "compute": ["count", "sum", "mean", "deviation", "ratio", "burst", "distinct"],
    "distinct_of": "kind",
    "half_lives": ["1h"],
    "max_keys": 16,
}
_RARE = {"categorical": "kind", "encoding": "rarity", "size": 4}
_LEVEL = {
    "kind": "level",
    "key": "user",
    "of": "amount",
    "bucket": "10m",
    "season": "none",
    "max_keys": 16,
}
_SMALL_LODA = {"kind": "loda", "projections": 20, "bins": 16}

CHANGES: dict[str, dict[str, Any]] = {
    "ensemble": {},
    "autoencoder": {"detector": {"kind": "autoencoder"}},
    "classifier": {
        "detector": {"kind": "classifier", "replay_rows": 256, "min_positives": 3, "hidden": [8]},
        "labels": _LABELS,
    },
    "half_space_forest": {"detector": {"kind": "half_space_forest", "trees": 20, "depth": 6}},
    "loda": {"detector": _SMALL_LODA, "drift": _DRIFT},
    "adwin": {
        "detector": _SMALL_LODA,
        "drift": [{"on": "inputs", "answer": "faster", "begin": 0}],
    },
    "nearest_neighbours": {"detector": {"kind": "nearest_neighbours"}},
    "random_fourier": {"detector": {"kind": "random_fourier", "components": 30}},
    "river": {
        "detector": {
            "kind": "river",
            "model": "river.anomaly.HalfSpaceTrees",
            "parameters": {"n_trees": 3, "height": 3, "window_size": 50},
            "scaling": "minmax",
        }
    },
    "river_filter": {
        "detector": {
            "kind": "river",
            "model": "river.anomaly.OneClassSVM",
            "parameters": {"nu": 0.1},
        }
    },
    "river_classifier": {
        "detector": {"kind": "river", "model": "river.tree.HoeffdingTreeClassifier"},
        "labels": _LABELS,
    },
    "levels": {
        "detector": _SMALL_LODA,
        "monitors": [
            {"name": "sum", "compute": "sum", "over": "kind", **_LEVEL},
            {"name": "mean", "compute": "mean", **_LEVEL},
            {"name": "high", "compute": "quantile", "quantile": 0.9, **_LEVEL},
            {**_LEVEL, "name": "kinds", "compute": "distinct", "of": "kind", "calendars": ["work"]},
        ],
        "calendars": [{"name": "work", "weekly": ["Sun 02:00-04:00"], "skip": ["alert"]}],
    },
    "challenger": {
        "detector": _SMALL_LODA,
        "challenger": {"detector": {"kind": "half_space_forest", "trees": 5, "depth": 5}},
        "labels": {**_LABELS, "risk": []},
        "windows": [_WINDOW],
        "features": [*SETTINGS["features"], _RARE],
    },
    "monitors": {
        "detector": _SMALL_LODA,
        "monitors": [
            {"kind": "rate", "name": "rate", "key": "kind", "bucket": "10m", "season": "none"},
            {"kind": "new_value", "name": "new", "key": "user", "field": "kind", "rare": 1},
            {"kind": "hours", "name": "hours", "key": "kind"},
            {
                "kind": "places",
                "name": "places",
                "key": "kind",
                "latitude": "weight",
                "longitude": "amount",
            },
        ],
    },
}


@dataclass(frozen=True, slots=True)
class Kind:
    """A shard that has processed ``BEFORE`` events, and what comes of the next ``AFTER``.

    Attributes:
        config: of it.
        data: its snapshot.
        scores: (events,) of the next events.
        raised: how many of them are raised.
        anomalous: (events,) which of them are planted.
    """

    config: Config
    data: bytes
    scores: Float64
    raised: int
    anomalous: np.ndarray[Any, np.dtype[np.bool_]]


@functools.cache
def stream() -> list[PlainRecord]:
    return records(BEFORE + AFTER)


@functools.cache
def metrics() -> Metrics:
    return Metrics()


def advanced(shard: Shard, start: int, stop: int) -> tuple[Float64, int]:
    """Scores and how many were raised of some events of the stream."""
    shard.add(SOURCE, start)
    shard.take_in(Fetched(SOURCE, stream()[start:stop]))
    scores, raised = [], 0
    while (outcome := shard.advance({SOURCE})) is not None:
        scores.append(outcome.scores)
        raised += int(outcome.raised.sum())
    shard.take_slices()
    return np.concatenate(scores), raised


@functools.cache
def kind(name: str) -> Kind:
    """The shard of a name in ``CHANGES``."""
    processing = {"processing": {"chunk_size": 64}}
    config = configuration(**{**processing, **CHANGES[name]})
    shard = Shard(0, config, metrics())
    advanced(shard, 0, BEFORE)
    data = bytes(encode(shard.snapshot({"written_at": 1.0})))
    scores, raised = advanced(shard, BEFORE, BEFORE + AFTER)
    labels = [json.loads(record.value or b"")["label"] for record in stream()[BEFORE:]]
    return Kind(config, data, scores, raised, np.array(labels) > 0)


NAMES = list(CHANGES)


def seed(name: str) -> bytes:
    """The snapshot of a kind, with the number of its kind before it."""
    return bytes([NAMES.index(name)]) + kind(name).data


def read(data: bytes) -> bool:
    """Take a snapshot in, if it is one, and hold what comes of it to the sound one.

    Raises ``AssertionError`` where it is taken in and does harm.
    """
    if not data:
        return False
    sound = kind(NAMES[data[0] % len(NAMES)])
    shard = Shard(0, sound.config, metrics())
    try:
        snapshot: Snapshot = decode(data[1:])
        check_complete(snapshot.meta)
        shard.restore(snapshot)
    except StateError:
        return False
    # As the daemon would: begin where the snapshot stands; where it stands is its own word.
    scores, raised = advanced(shard, BEFORE, BEFORE + AFTER)
    known = ~np.isnan(scores)
    assert np.isfinite(scores[known]).all(), "scores are not finite"
    assert known.mean() > 0.5, "most events are rejected"
    assert np.ptp(scores[known]) > 0.01 * np.ptp(sound.scores), "scores are all alike"
    planted = sound.anomalous & known
    if _rank(sound.scores, sound.anomalous) > 0.8:
        assert _rank(scores[known], planted[known]) > 0.6, "what is strange scores low"
    if sound.raised >= 3:
        assert raised > 0, "nothing is raised any more"
    # What was taken in can be kept, and read again.
    again = Shard(0, sound.config, metrics())
    again.restore(decode(encode(shard.snapshot({"written_at": 1.0}))))
    return True


def _rank(scores: Float64, anomalous: np.ndarray[Any, np.dtype[np.bool_]]) -> float:
    """Probability that a planted event scores above another (ROC AUC)."""
    above = scores[anomalous][:, None] > scores[~anomalous][None, :]
    return float(above.mean()) if above.size else 1.0
