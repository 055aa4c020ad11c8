"""Sum, mean, number of different values or quantile of a field in buckets of time, by key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from stream_detector.events import Float64, Int64
from stream_detector.monitors.bucketed import BucketMonitor
from stream_detector.monitors.buckets import BucketMonitorConfig
from stream_detector.monitors.deviations import CLIP
from stream_detector.monitors.history import KeyHistory
from stream_detector.monitors.level_history import LevelHistory
from stream_detector.monitors.scales import CountScale, MeanScale, Scale
from stream_detector.monitors.sketches import DistinctHistory, QuantileHistory
from stream_detector.monitors.taken import Asked, Taken
from stream_detector.parameters import FieldName
from stream_detector.tables.history import Occurrences
from stream_detector.tables.texts import hash_texts

_TOWARDS_NEW = 0.5
"""Part of the way to the median of the last values that a bucket may teach, where it is farther."""

_ONE_BUCKET = ("distinct", "quantile")


class LevelMonitorConfig(BucketMonitorConfig):
    """Watch on a level: what a field comes to in a bucket of time, against what is usual then."""

    kind: Literal["level"] = Field("level", description="What is watched: values of a field.")
    of: FieldName = Field(
        description="Field whose values are looked at; events without one have no part in it."
    )
    compute: Literal["sum", "mean", "distinct", "quantile"] = Field(
        description="What of a number, or (`distinct`) how many different texts. `distinct` and "
        "`quantile` are of single buckets: `widths: [1]`."
    )
    quantile: float | None = Field(
        None, ge=0.001, le=0.999, description="With `compute: quantile` the share that lies below."
    )

    @model_validator(mode="before")
    @classmethod
    def _of_single_buckets(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and data.get("compute") in _ONE_BUCKET:
            return {"widths": [1], **data}
        return data

    @model_validator(mode="after")
    def _computes(self) -> LevelMonitorConfig:
        if (self.compute == "quantile") != (self.quantile is not None):
            raise ValueError("quantile goes with `compute: quantile`, such as 0.95")
        if self.compute in _ONE_BUCKET and self.widths != [1]:
            raise ValueError(f"widths: {self.compute} is of single buckets, [1]")
        return self

    @property
    def text_fields(self) -> tuple[str, ...]:
        """Those of every monitor of buckets, and the field itself where texts are told apart."""
        return super().text_fields + ((self.of,) if self.compute == "distinct" else ())

    @property
    def number_fields(self) -> tuple[str, ...]:
        """Those of ``where``, and the field itself where it is a number."""
        return super().number_fields + (() if self.compute == "distinct" else (self.of,))


class LevelMonitor(BucketMonitor):
    """Watches what a field comes to in buckets, and finds what is too much or too little.

    Sums, in units of what an event of the key usually comes to, and numbers of different texts are
    held against what is usual as counts are. Means and quantiles are on a scale of their own: the
    distance to what is usual over what the key's values spread by, times the root of the number of
    events; an empty bucket has none. What the others deviate by, in the median, is subtracted.

    Values spread by their median distance to the median of the last 31, so that no single one
    changes the scale; one farther off than a hundred times that counts as so far.

    State: that of every monitor of buckets; units, centers, the last values; sketches of the open
    bucket (256 hashes or 512 bins a key).
    """

    Config = LevelMonitorConfig
    _history: LevelHistory

    def __init__(self, config: LevelMonitorConfig) -> None:
        self._compute, self._share = config.compute, config.quantile or 0.0
        self._amounts = config.compute in ("sum", "distinct")
        text = config.compute == "distinct"
        asked = Asked(
            config.key, config.over, None if text else config.of, config.of if text else None
        )
        super().__init__(config, _scale(config), asked)
        self._learns = 1 - 0.5 ** (config.bucket / config.half_life)

    def _new_history(self, slots: int, buckets: int, widths: int) -> KeyHistory:
        kinds = {"distinct": DistinctHistory, "quantile": QuantileHistory}
        return kinds.get(self._compute, LevelHistory)(slots, buckets, widths)

    def _add(self, slots: Int64, taken: Taken) -> None:
        history, events = self._history, Occurrences.of(slots)
        if isinstance(history, DistinctHistory):
            history.add_hashes(events, hash_texts(taken.texts))
            return
        if isinstance(history, QuantileHistory):
            history.add_values(slots, taken.values)
        history.add(slots, events, taken.values)

    def _actual(self) -> Float64:
        history = self._history
        if isinstance(history, DistinctHistory):
            return history.estimates()
        if isinstance(history, QuantileHistory):
            return self._open_quantiles
        if self._compute == "sum":
            return history.total.copy()
        return history.total / np.maximum(history.counts, 1.0)

    def _prepare(self) -> NDArray[np.bool_]:
        """As of every monitor of buckets: a mean of nothing tells nothing, a sum does."""
        history = self._history
        if isinstance(history, DistinctHistory):
            return self._keys.held
        told = filled = self._keys.held & (history.counts > 0)
        if isinstance(history, QuantileHistory):
            # By the center and the unit that the bins are of; before any these are too coarse.
            self._open_quantiles = history.quantiles(self._share)
            told = filled & (history.met > 0)
        history.learn_scale(np.flatnonzero(filled), self._learns, amounts=self._amounts)
        return self._keys.held if self._amounts else told

    def _reach(self, expected: Float64) -> Float64:
        history = self._history
        if self._amounts:
            reach: Float64 = CLIP * history.unit * np.sqrt(np.abs(expected) / history.unit + 0.5)
            return reach
        towards = _TOWARDS_NEW * np.abs(history.center - expected)
        return np.maximum(CLIP * history.unit, towards)

    def _close_more(self) -> None:
        self._history.empty_bucket()


def _scale(config: LevelMonitorConfig) -> Scale:
    name = {
        "sum": f"sum of {config.of}",
        "mean": f"mean of {config.of}",
        "distinct": f"different {config.of}",
        "quantile": f"quantile {config.quantile} of {config.of}",
    }[config.compute]
    kind = CountScale if config.compute in ("sum", "distinct") else MeanScale
    return kind(name, population=config.population)
