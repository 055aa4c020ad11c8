"""Encoders without memory: numbers, flags, differences, ratios and the time of day."""

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
    TimeFeatureConfig,
)
from stream_detector.events import EventBatch, Float64, Int64
from stream_detector.features.columns import (
    LARGEST,
    FeatureGroup,
    Transform,
    apply_transform,
    untransformed,
)

_DAY_MS = 86_400_000
_HOUR_MS = 3_600_000
_NIGHT_ENDS_HOUR = 6
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_SATURDAY = 5
_EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday


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
        self.groups = (FeatureGroup(name, tuple(range(len(self.columns))), kind, field),)

    def encode(self, batch: EventBatch, out: Float64) -> None:
        """(events, 1 or 2): the number, and whether it was missing."""
        values = self._values(batch.numeric)
        out[:, 0] = apply_transform(values, self._transform)
        if self._indicator:
            out[:, 1] = np.isnan(values)

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


class TimeEncoder:
    """A part of the event time: sine and cosine of a cycle, or a flag. Stateless."""

    def __init__(self, feature: TimeFeatureConfig, field: str | None) -> None:
        """``field``: the event field that holds the time, None for the record's timestamp."""
        self._part = feature.time
        self._offset_ms = round(feature.utc_offset * _HOUR_MS)
        self._cyclic = self._part in ("hour_of_day", "day_of_week")
        self.columns: tuple[str, ...] = (
            (f"{self._part}.sin", f"{self._part}.cos") if self._cyclic else (self._part,)
        )
        self.transforms = untransformed(len(self.columns))
        self.groups = (FeatureGroup(self._part, tuple(range(len(self.columns))), "time", field),)

    def encode(self, batch: EventBatch, out: Float64) -> None:
        """(events, 2) sine and cosine, or (events, 1) of 0 and 1."""
        part, period = self._number(batch.time_ms)
        if self._cyclic:
            angle = part * (2 * math.pi / period)
            out[:, 0] = np.sin(angle)
            out[:, 1] = np.cos(angle)
        else:
            out[:, 0] = part

    def describe(self, group: int, batch: EventBatch, row: int, x: Float64) -> Any:  # noqa: ARG002 - the time itself says more than sine and cosine
        """``14:35``, ``Tuesday``, or True or False."""
        part = float(self._number(batch.time_ms[row : row + 1])[0][0])
        if self._part == "hour_of_day":
            minutes = int(part * 60 + 1e-6)  # 14:35 as hours may lie a little below
            return f"{minutes // 60:02d}:{minutes % 60:02d}"
        return _DAYS[int(part)] if self._part == "day_of_week" else part != 0

    def _number(self, time_ms: Int64) -> tuple[Float64, float]:
        """The part of each time as a number (hours, days or 0 and 1) and its period."""
        local = time_ms + self._offset_ms
        in_day = local % _DAY_MS
        weekday = (local // _DAY_MS + _EPOCH_WEEKDAY) % len(_DAYS)
        match self._part:
            case "hour_of_day":
                return in_day / _HOUR_MS, 24.0
            case "day_of_week":
                return weekday.astype(np.float64), float(len(_DAYS))
            case "weekend":
                return (weekday >= _SATURDAY).astype(np.float64), 1.0
            case "night":
                return (in_day < _NIGHT_ENDS_HOUR * _HOUR_MS).astype(np.float64), 1.0
