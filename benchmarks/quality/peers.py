"""The peers: detectors of other libraries, each fed one row at a time, scored before it is learnt.

Each is built as its library recommends, with its defaults, a fixed seed and the scaler that its
documentation asks for. Libraries are imported when a peer is built, so one that is not installed
is missing from a run, and the run says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

SLOW, VERY_SLOW = 30_000, 5_000
"""Rows of a stream for peers of hundreds to 2,000 and of about 100 events a second."""

Step = Callable[[np.ndarray], float]
"""Takes a row (features,), returns its score (higher is stranger) and then learns it."""

Build = Callable[[int, int], Step]


@dataclass(frozen=True)
class Peer:
    """A detector of another library.

    Attributes:
        title: what tables call it.
        distribution: what the library is called by pip.
        build: makes a new one for a number of features and a seed.
        rows: first rows of a stream that it is given, None for all: what its speed allows.
    """

    title: str
    distribution: str
    build: Build
    rows: int | None = None


class MinMax:
    """Running range of each feature to 0..1, as ``river.preprocessing.MinMaxScaler`` does it."""

    def __init__(self, features: int) -> None:
        self._low, self._high = np.full(features, np.inf), np.full(features, -np.inf)

    def __call__(self, row: np.ndarray) -> np.ndarray:
        """(features,) in 0..1; the row itself counts for the range, 0 where there is none yet."""
        np.minimum(self._low, row, out=self._low)
        np.maximum(self._high, row, out=self._high)
        span = self._high - self._low
        return (row - self._low) / np.where(span > 0, span, 1.0)


# --- River ---------------------------------------------------------------------------------------


def river_step(scaler: Any, model: Any) -> Step:
    pipeline = scaler | model

    def step(row: np.ndarray) -> float:
        x = dict(enumerate(row.tolist()))
        score = pipeline.score_one(x)
        pipeline.learn_one(x)
        return float(score)

    return step


def river_trees(**parameters: int) -> Build:
    """Half-space trees behind the MinMaxScaler that their documentation recommends."""

    def build(_features: int, seed: int) -> Step:
        from river import anomaly, preprocessing

        model = anomaly.HalfSpaceTrees(seed=seed, **parameters)
        return river_step(preprocessing.MinMaxScaler(), model)

    return build


def river_one_class_svm(_features: int, _seed: int) -> Step:
    """Behind StandardScaler. The QuantileFilter of the documentation would only cut the scores."""
    from river import anomaly, preprocessing

    return river_step(preprocessing.StandardScaler(), anomaly.OneClassSVM())


# --- CapyMOA -------------------------------------------------------------------------------------


def capymoa_peer(name: str, seed_name: str = "random_seed") -> Build:
    """A detector of ``capymoa.anomaly`` on features in 0..1, with the class hidden.

    Every instance bears the same label, so that none can be learnt from.
    """

    def build(features: int, seed: int) -> Step:
        from capymoa import anomaly
        from capymoa.core import LabeledInstance
        from capymoa.stream import Schema

        names = [f"f{index}" for index in range(features)]
        schema = Schema.from_custom([*names, "class"], "class", {"class": ["0", "1"]})
        model = getattr(anomaly, name)(schema=schema, **{seed_name: seed})
        scale = MinMax(features)

        def step(row: np.ndarray) -> float:
            instance = LabeledInstance.from_array(schema, scale(row), 0)
            score = model.score_instance(instance)
            model.train(instance)
            return float(score)

        return step

    return build


# --- PySAD ---------------------------------------------------------------------------------------


def pysad_peer(name: str, **parameters: Any) -> Build:
    """A detector of ``pysad.models`` on features in 0..1."""

    def build(features: int, seed: int) -> Step:
        from pysad import models

        model = getattr(models, name)(random_state=seed, **parameters)
        scale = MinMax(features)

        def step(row: np.ndarray) -> float:
            scaled = scale(row)
            score = model.score_partial(scaled)
            model.fit_partial(scaled)
            return float(np.asarray(score).ravel()[0])

        return step

    return build


PEERS = {
    "river-hst": Peer("River HalfSpaceTrees", "river", river_trees()),
    "river-hst-25x10": Peer(
        "River HalfSpaceTrees 25x10", "river", river_trees(n_trees=25, height=10)
    ),
    "river-ocsvm": Peer("River OneClassSVM", "river", river_one_class_svm),
    "capymoa-aif": Peer(
        "CapyMOA AdaptiveIsolationForest",
        "capymoa",
        capymoa_peer("AdaptiveIsolationForest", "seed"),
        SLOW,
    ),
    "capymoa-hst": Peer("CapyMOA HalfSpaceTrees", "capymoa", capymoa_peer("HalfSpaceTrees")),
    "pysad-loda": Peer("PySAD LODA", "pysad", pysad_peer("LODA")),
    "pysad-kitnet": Peer("PySAD KitNet", "pysad", pysad_peer("KitNet")),
    "pysad-xstream": Peer("PySAD xStream", "pysad", pysad_peer("xStream"), SLOW),
    "capymoa-oif": Peer(
        "CapyMOA OnlineIsolationForest",
        "capymoa",
        capymoa_peer("OnlineIsolationForest"),
        VERY_SLOW,
    ),
    "pysad-rrcf": Peer(
        "PySAD RobustRandomCutForest", "pysad", pysad_peer("RobustRandomCutForest"), VERY_SLOW
    ),
}
