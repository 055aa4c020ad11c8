"""Encoders without memory: numbers, flags, differences and ratios."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from stream_detector.config.models.config import (
    BooleanFeatureConfig,
    DifferenceFeatureConfig,
    NumericFeatureConfig,
    RatioFeatureConfig,
)
from stream_detector.events import EventBatch, Float64
from stream_detector.features.columns import (
    LARGEST,
    FeatureGroup,
    Transform,
    apply_transform,
)


def _difference(first: Float64, second: Float64) -> Float64:
    with np.errstate(over="ignore"):
        return first - second


def _ratio(first: Float64, second: Float64) -> Float64:
    with np.errstate(over="ignore"):
        quotient: Float64 = np.divide(first, second, out=np.zeros_like(first), where=second != 0)
    # 0 stands for "second is 0", never for "first is missing".
    return np.where(np.isnan(first), np.nan, quotient)


class NumberEncoder:
    """A numeric or boolean field, or a difference or ratio of two, with what missing means.

    A missing number is NaN in the first column (the scaler puts the running mean there); with
    ``missing: indicator`` a second column is 1 where it was missing. Stateless.
    """

    def __init__(
        self,
        feature: NumericFeatureConfig
        | BooleanFeatureConfig
        | DifferenceFeatureConfig
        | RatioFeatureConfig,
        fields: tuple[str, ...],
    ) -> None:
        """``fields``: ``FieldPlan.numeric``, the order of ``EventBatch.numeric``."""
        self._combine: Callable[[Float64, Float64], Float64] | None = None
        self._transform: Transform = "none"
        field: str | None = None
        match feature:
            case NumericFeatureConfig():
                used: tuple[str, ...] = (feature.numeric,)
                name, field, kind = feature.numeric, feature.numeric, "numeric"
                self._transform = feature.transform
            case BooleanFeatureConfig():
                used = (feature.boolean,)
                name, field, kind = feature.boolean, feature.boolean, "boolean"
            case DifferenceFeatureConfig():
                used, kind = feature.difference, "difference"
                name, self._combine = " - ".join(used), _difference
            case RatioFeatureConfig():
                used, kind = feature.ratio, "ratio"
                name, self._combine = " / ".join(used), _ratio
        self._fields = [fields.index(each) for each in used]
        self._boolean = kind == "boolean"
        self._indicator = feature.missing == "indicator"
        column = name if self._transform == "none" else f"{self._transform}({name})"
        self.columns: tuple[str, ...] = (column,)
        self.transforms: tuple[Transform, ...] = (self._transform,)
        if self._indicator:
            self.columns += (f"{name}.missing",)
            self.transforms += ("none",)
        columns = tuple(range(len(self.columns)))
        self.groups = (FeatureGroup(name, columns, kind, field, tuple(used)),)

    def encode(self, batch: EventBatch, out: Float64) -> None:
        """(events, 1 or 2): the number, and whether it was missing."""
        values = self._values(batch.numeric)
        out[:, 0] = apply_transform(values, self._transform)
        if self._indicator:
            out[:, 1] = np.isnan(values)

    def hypothetical(self, variants: EventBatch, row: int, x: Float64, out: Float64) -> None:  # noqa: ARG002 - nothing is remembered
        """The columns of the variants."""
        self.encode(variants, out)

    def describe(self, group: int, batch: EventBatch, row: int, x: Float64) -> Any:  # noqa: ARG002 - a group's number says nothing where there is one group
        """The field's own number (before the transform), True or False, or None if missing."""
        value = float(self._values(batch.numeric[row : row + 1])[0])
        if math.isnan(value):
            return None
        return value != 0 if self._boolean else value

    def _values(self, numeric: Float64) -> Float64:
        values = numeric[:, self._fields[0]]
        if self._combine is not None:
            values = self._combine(values, numeric[:, self._fields[1]])
        # What two finite numbers make may be infinite.
        return np.clip(values, -LARGEST, LARGEST)
