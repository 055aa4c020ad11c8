"""Parts of the event time as features, neutral until the stream has been through their cycle.

Of a cycle that it has not been through a model knows nothing, and whatever comes next is new to it:
the first midnight, the first Saturday. Until then such a feature is missing (NaN) in what is
extracted, and the pipeline puts two different things in its place. *Learnt* is a moment of the
cycle drawn by lot, so that the model believes every hour and day to be equally common; *scored* is
one and the same moment for every event, so that the feature has no part in how events are ranked.
When the cycle is complete the true moments find a model that knows all of them, and that learns
from there on which are rare.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_detector.config.models.config import TimeFeatureConfig
from stream_detector.detectors.stored import LARGEST_TIME_MS, read_count, read_time
from stream_detector.events import NO_TIMESTAMP, EventBatch, Float64, Int64, State
from stream_detector.features.columns import FeatureGroup, Transform, untransformed

_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS
_WEEK_MS = 7 * _DAY_MS
_NIGHT_ENDS_HOUR = 6
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_WEDNESDAY, _SATURDAY = 2, 5
_NOON_MS, _DEEP_NIGHT_MS = 12 * _HOUR_MS, 3 * _HOUR_MS
_EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday
_PERIODS_MS = {
    "hour_of_day": _DAY_MS,
    "night": _DAY_MS,
    "day_of_week": _WEEK_MS,
    "weekend": _WEEK_MS,
}
_STEPS_OF_A_CYCLE = 24
"""A silence counts as a 24th of the cycle at most: what happens in it is not known."""

_NEUTRAL_MS = 4 * _DAY_MS + 9 * _HOUR_MS
"""A Monday at nine, local time: what all events are scored at while a cycle is not known."""


class TimeEncoder:
    """A part of the event time: sine and cosine of a cycle, or a flag.

    State: how much of its cycle the stream has been through, and the watermark before.
    """

    def __init__(self, feature: TimeFeatureConfig, field: str | None) -> None:
        """``field``: the event field that holds the time, None for the record's timestamp."""
        self._part = feature.time
        self._offset_ms = round(feature.utc_offset * _HOUR_MS)
        self._cyclic = self._part in ("hour_of_day", "day_of_week")
        self._period_ms = _PERIODS_MS[self._part]
        self._covered_ms = 0
        self._mark_ms = NO_TIMESTAMP
        self.columns: tuple[str, ...] = (
            (f"{self._part}.sin", f"{self._part}.cos") if self._cyclic else (self._part,)
        )
        self.transforms: tuple[Transform, ...] = untransformed(len(self.columns))
        columns = tuple(range(len(self.columns)))
        self.groups = (FeatureGroup(self._part, columns, "time", field, ("",)),)

    def encode(self, batch: EventBatch, out: Float64) -> None:
        """(events, 2) sine and cosine, or (events, 1) of 0 and 1; NaN before the cycle is known."""
        known = self._covered_ms >= self._period_ms
        if not known and len(batch):
            marks = batch.mark_ms
            if marks is None:
                marks = np.maximum.accumulate(batch.time_ms)
            covered = self._go_on(marks)
            if covered[-1] < self._period_ms:  # it only grows
                out[:] = np.nan
                return
        self.write(batch.time_ms + self._offset_ms, out)
        if not known and len(batch):
            out[covered < self._period_ms] = np.nan

    def _go_on(self, marks: Int64) -> Int64:
        """(events,) how much of the cycle was covered at each watermark; what is remembered."""
        first = self._mark_ms if self._mark_ms != NO_TIMESTAMP else int(marks[0])
        steps = np.empty_like(marks)
        steps[0] = marks[0] - first
        np.subtract(marks[1:], marks[:-1], out=steps[1:])
        longest = self._period_ms // _STEPS_OF_A_CYCLE
        covered: Int64 = self._covered_ms + np.minimum(np.maximum(steps, 0), longest).cumsum()
        self._covered_ms, self._mark_ms = int(covered[-1]), int(marks[-1])
        return covered

    def write(self, local_ms: Int64, out: Float64) -> None:
        """The columns of local times, into ``out``."""
        part, period = self._number(local_ms)
        if self._cyclic:
            angle = part * (2 * math.pi / period)
            out[:, 0] = np.sin(angle)
            out[:, 1] = np.cos(angle)
        else:
            out[:, 0] = part

    def hypothetical(self, variants: EventBatch, row: int, x: Float64, out: Float64) -> None:  # noqa: ARG002 - whether it is known counts
        """The columns of the variants' times; NaN before the cycle is known."""
        if np.isnan(x[0]):
            out[:] = x
        else:
            self.write(variants.time_ms + self._offset_ms, out)

    def shift_ms(self, time_ms: int, mean: Float64) -> int:
        """Return how far another moment is, on which events are more usual.

        Args:
            time_ms: the event's time.
            mean: (columns,) running means of the columns.

        Returns:
            Of a cycle, to its usual full hour or day; of a flag, to the middle of what it is not.
        """
        local_ms = time_ms + self._offset_ms
        if not self._cyclic:
            is_set = self._number(np.array([local_ms]))[0][0] != 0
            if self._part == "night":
                return int((_NOON_MS if is_set else _DEEP_NIGHT_MS) - local_ms % _DAY_MS)
            day = int(_weekday(np.array([local_ms]))[0])
            return ((_WEDNESDAY if is_set else _SATURDAY) - day) * _DAY_MS
        turn = math.atan2(float(mean[0]), float(mean[1])) / (2 * math.pi) % 1.0
        if self._part == "hour_of_day":
            return round(turn * 24) % 24 * _HOUR_MS - local_ms % _DAY_MS
        day = int(_weekday(np.array([local_ms]))[0])
        return (round(turn * len(_DAYS)) % len(_DAYS) - day) * _DAY_MS

    def describe(self, group: int, batch: EventBatch, row: int, x: Float64) -> Any:  # noqa: ARG002 - the time itself says more than sine and cosine
        """``14:35``, ``Tuesday``, or True or False."""
        part = float(self._number(batch.time_ms[row : row + 1] + self._offset_ms)[0][0])
        if self._part == "hour_of_day":
            minutes = int(part * 60 + 1e-6)  # 14:35 as hours may lie a little below
            return f"{minutes // 60:02d}:{minutes % 60:02d}"
        return _DAYS[int(part)] if self._part == "day_of_week" else part != 0

    def _number(self, local_ms: Int64) -> tuple[Float64, float]:
        """The part of each time as a number (hours, days or 0 and 1) and its period."""
        match self._part:
            case "hour_of_day":
                return local_ms % _DAY_MS / _HOUR_MS, 24.0
            case "day_of_week":
                return _weekday(local_ms).astype(np.float64), float(len(_DAYS))
            case "weekend":
                return (_weekday(local_ms) >= _SATURDAY).astype(np.float64), 1.0
            case "night":
                in_day = local_ms % _DAY_MS
                return (in_day < _NIGHT_ENDS_HOUR * _HOUR_MS).astype(np.float64), 1.0

    def go_back(self, mark_ms: int) -> None:
        """The watermark was wrong and is ``mark_ms``."""
        self._mark_ms = min(self._mark_ms, mark_ms)

    def state(self) -> State:
        """Covered part of the cycle and the watermark, in milliseconds."""
        return {"covered_ms": self._covered_ms, "mark_ms": self._mark_ms}

    def restore(self, state: State | None, latest_ms: int = LARGEST_TIME_MS) -> None:
        """Take the state in; None, of an older version, has its features already learnt as known.

        Raises ``StateMismatchError`` where a number is missing, or a time after ``latest_ms``.
        """
        if state is None:
            self._covered_ms = self._period_ms
            return
        covered_ms = read_count(state, "covered_ms")
        self._mark_ms = read_time(state, "mark_ms", latest_ms=latest_ms)
        self._covered_ms = covered_ms


class Calendar:
    """The columns of all ``TimeEncoder`` of an extractor. Stateless."""

    def __init__(self, encoders: Sequence[tuple[TimeEncoder, slice]]) -> None:
        """``encoders``: each with its columns in the feature matrix."""
        self._encoders = tuple(encoders)
        columns = [column for _, span in encoders for column in range(span.start, span.stop)]
        self._columns = np.array(columns, dtype=np.intp)
        self._neutral = np.empty((1, len(columns)))
        begin = 0
        for encoder, span in encoders:
            end = begin + span.stop - span.start
            encoder.write(np.full(1, _NEUTRAL_MS), self._neutral[:, begin:end])
            begin = end

    def scored(self, raw: Float64) -> Float64:
        """``raw`` with one and the same moment where a cycle is not known.

        Args:
            raw: (events, features) float64, as extracted; it stays as it is.
        """
        times = raw.take(self._columns, axis=1)
        missing = np.isnan(times)
        if not missing.any():
            return raw
        filled = raw.copy()
        filled[:, self._columns] = np.where(missing, self._neutral, times)
        return filled

    def learnt(self, raw: Float64, first: int) -> Float64:
        """``raw`` with moments drawn by lot where a cycle is not known.

        Args:
            raw: (events, features) float64, as extracted; it stays as it is.
            first: number of the first event in the stream, which the draws depend on.
        """
        filled = raw
        for encoder, span in self._encoders:
            rows = np.flatnonzero(np.isnan(raw[:, span.start]))
            if not len(rows):
                continue
            if filled is raw:
                filled = raw.copy()
            columns = np.empty((len(rows), span.stop - span.start))
            encoder.write(_drawn(first + rows), columns)
            filled[rows, span] = columns
        return filled

    def neutral(self, raw: Float64) -> NDArray[np.bool_]:
        """(features,) which columns of one event, (features,) as extracted, have no part in it."""
        neutral = np.zeros(len(raw), dtype=bool)
        for _, span in self._encoders:
            neutral[span] = np.isnan(raw[span])
        return neutral


def _weekday(local_ms: Int64) -> Int64:
    weekday: Int64 = (local_ms // _DAY_MS + _EPOCH_WEEKDAY) % len(_DAYS)
    return weekday


def _drawn(numbers: Int64) -> Int64:
    """Moments of a week for event numbers, as even as random ones (SplitMix64, Vigna 2015)."""
    mixed = (numbers.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    drawn: Int64 = (mixed % np.uint64(_WEEK_MS)).astype(np.int64)
    return drawn
