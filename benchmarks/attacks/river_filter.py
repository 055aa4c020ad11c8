"""River's half-space trees behind its quantile filter, as a detector of the pipeline.

So the trees see the same features, the same budget and the same suppression as ours; what they
learn is River's to say: what scores above a running quantile is kept from them.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pydantic import Field

from stream_detector.detectors.base import Detector, DetectorConfig, Rows
from stream_detector.detectors.river_pickle import dump_model, load_model
from stream_detector.events import Float64, State


class FilteredTreesConfig(DetectorConfig):
    """River's HalfSpaceTrees in its QuantileFilter."""

    kind: Literal["benchmarks.attacks.river_filter:FilteredTrees"]
    q: float = Field(0.95, gt=0, lt=1, description="Quantile above which a row is not learnt.")


class FilteredTrees(Detector):
    """``MinMaxScaler``'s range, then ``QuantileFilter(HalfSpaceTrees(), q)``.

    q = .95 is what the filter's documentation shows for these trees. State: River's, and the range.
    """

    Config = FilteredTreesConfig
    block_rows = 1

    def __init__(self, features: int, *, q: float = 0.95, seed: int = 0) -> None:
        from river import anomaly

        super().__init__(features)
        self._filter: Any = anomaly.QuantileFilter(anomaly.HalfSpaceTrees(seed=seed), q=q)
        self._low: Float64 = np.full(features, np.inf)
        self._high: Float64 = np.full(features, -np.inf)

    def score(self, rows: Rows) -> Float64:
        return np.array([self._filter.score_one(x) for x in self._scaled(rows)], dtype=np.float64)

    def learn(self, rows: Rows, labels: Float64 | None = None) -> None:
        if labels is not None or not len(rows):
            return
        np.minimum(self._low, rows.features.min(axis=0), out=self._low)
        np.maximum(self._high, rows.features.max(axis=0), out=self._high)
        for x in self._scaled(rows):
            self._filter.learn_one(x)

    def _scaled(self, rows: Rows) -> list[dict[int, float]]:
        span = self._high - self._low
        known = np.isfinite(span) & (span > 0)
        low = np.where(known, self._low, 0.0)
        scaled = np.where(known, (rows.features - low) / np.where(known, span, 1.0), 0.0)
        return [dict(enumerate(row)) for row in scaled.tolist()]

    def state(self) -> State:
        return {"filter": dump_model(self._filter), "low": self._low, "high": self._high}

    def restore(self, state: State) -> None:
        self._filter = load_model(state["filter"])
        self._low, self._high = np.array(state["low"]), np.array(state["high"])
