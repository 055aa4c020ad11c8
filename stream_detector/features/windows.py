"""Running statistics of the events that share a key, forgotten exponentially in event time.

All are as of just before the event. Every key's numbers come from the same sequence of elementwise
operations however the stream is cut into batches, so their bits do not depend on the cuts.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from stream_detector.config.models.config import Statistic, WindowConfig
from stream_detector.detectors.stored import (
    LARGEST_COUNT,
    LARGEST_TIME_MS,
    read_array,
    read_branch,
)
from stream_detector.errors import StateMismatchError
from stream_detector.events import EventBatch, Float64, State
from stream_detector.features.baselines import Baselines, read_levels
from stream_detector.features.columns import (
    FeatureGroup,
    Transform,
    apply_transform,
    undo_transform,
)
from stream_detector.features.distinct import NEVER, SKETCH_SLOTS, estimate, sketch_slots
from stream_detector.tables.history import (
    Histories,
    Occurrences,
    advance_sketches,
    check_moments,
    read_times,
)
from stream_detector.tables.keys import KeyTable, grown
from stream_detector.units import format_duration

LARGEST_VALUE = 1e30
"""Values are clipped at ± this in a window: squares and their sums stay far from overflow."""

LARGEST_DEVIATION = 100.0
LEAST_EVENTS = 1.5
"""A deviation is unknown (0) below this effective number of events, (sum w)^2 / (sum w^2)."""

LEAST_RELATIVE_DEVIATION = 1e-6
"""A standard deviation counts as at least this share of the mean's size: a key that always had the
same value, and suddenly another, is strange; one whose last digit rounds differently is not."""

_NEW_KEY_HALF_LIVES = 10
_LOGARITHMIC: frozenset[Statistic] = frozenset(
    ("count", "sum", "burst", "time_since_last", "distinct")
)
_OF_VALUE: frozenset[Statistic] = frozenset(
    ("sum", "mean", "deviation", "ratio", "baseline", "burst")
)
_ONE_COLUMN: frozenset[Statistic] = frozenset(("baseline", "time_since_last"))


class KeyedWindow:
    """The features of one ``WindowConfig`` of the configuration.

    Columns, for each statistic asked for, in order, and each half-life:

    - ``count``: log(1 + n), n the sum of weights 2**(-age / half-life) of the key's events.
    - ``sum``: sign(s) log(1 + abs(s)), s the weighted sum of ``value``.
    - ``mean``: the weighted mean; a key without history has the event's own value.
    - ``deviation``: (value - mean) / standard deviation, drawn towards 0 for few events, within
      ±100; 0 where unknown.
    - ``ratio``: value / mean, within ±100; 1 for a key without history, or with the mean 0.
    - ``baseline``: value over the key's slow level (``Baselines``), both plus 1, up to 100; 1 for
      a key without history. One column.
    - ``burst``: log(1 + b), b the sum of weights times how far the value exceeded the mean by the
      longest half-life, as a share of it (``ratio`` - 1 where above 0), this event's included.
    - ``distinct``: log(1 + d), d the weighted number of different values of ``distinct_of``.
    - ``time_since_last``: log(1 + seconds), one column; at most, and for a new key, that of ten
      times the longest half-life.

    An event older than the key's newest counts as if it came at the newest's time, one after the
    stream's watermark as if it came at that.

    State: for each key 4 numbers a half-life (1 without ``value``, 5 with ``burst``), its last
    time and, for ``distinct``, 32 times, for ``baseline`` two numbers. At most ``max_keys`` keys,
    and a chunk's more within a chunk; those seldom and long ago seen go at the end of a chunk.
    """

    def __init__(
        self, window: WindowConfig, numeric: tuple[str, ...], text: tuple[str, ...], label: str
    ) -> None:
        """``numeric``, ``text``: the fields of the plan; ``label``: begins the column names."""
        half_lives = tuple(dict.fromkeys(window.half_lives))
        self._statistics = tuple(dict.fromkeys(window.compute))
        self._burst = "burst" in self._statistics
        self._baselines: Baselines | None = None
        if "baseline" in self._statistics:
            self._baselines = Baselines(max(half_lives))
        self._with_ratio = bool({"ratio", "burst"} & set(self._statistics))
        self._key = text.index(window.key)
        self._value = None if window.value is None else numeric.index(window.value)
        self._distinct = None if window.distinct_of is None else text.index(window.distinct_of)
        self._half_lives = half_lives
        self._rates: Float64 = -1.0 / (np.array(half_lives) * 1000.0)
        self._longest_gap_ms = _NEW_KEY_HALF_LIVES * max(half_lives) * 1000.0
        self._table = KeyTable(window.max_keys)
        self._histories = Histories(len(half_lives), with_values=self._value is not None)
        self._bursts = Histories(len(half_lives), with_values=False)
        self._longest = half_lives.index(max(half_lives))
        self._last_time: Float64 = np.empty(0)
        self._sketches: Float64 = np.empty((0, SKETCH_SLOTS))
        self._grow()
        self._name_columns(window, label)

    def _name_columns(self, window: WindowConfig, label: str) -> None:
        columns: list[str] = []
        groups: list[FeatureGroup] = []
        transforms: list[Transform] = []
        spans = [_span(half_life) for half_life in self._half_lives]
        for statistic in self._statistics:
            field = window.value if statistic in _OF_VALUE else window.key
            field = window.distinct_of if statistic == "distinct" else field
            for name in (
                [statistic]
                if statistic in _ONE_COLUMN
                else [f"{statistic}_{span}" for span in spans]
            ):
                groups.append(FeatureGroup(f"{label}.{name}", (len(columns),), "window", field))
                columns.append(f"{label}.{name}")
                transforms.append("log" if statistic in _LOGARITHMIC else "none")
        self.columns = tuple(columns)
        self.groups = tuple(groups)
        self.transforms: tuple[Transform, ...] = tuple(transforms)

    @property
    def keys_held(self) -> int:
        """Keys in memory now."""
        return len(self._table)

    @property
    def keys_evicted(self) -> int:
        """Keys forgotten since the beginning."""
        return self._table.evicted

    def encode(self, batch: EventBatch, out: Float64) -> None:
        """(events, columns): each event against its key's history, which then takes it in."""
        if len(batch) == 0:
            return
        slots = self._table.slots_of(batch.text[self._key].tolist())
        self._grow()
        events = Occurrences.of(slots)
        order = events.order
        last, time_ms = events.newest_times(self._last_time[events.slots], batch.counted_ms[order])
        gap_ms = time_ms - last
        decay = np.exp2(gap_ms[:, None] * self._rates)
        values = np.ones(len(batch))
        if self._value is not None:
            values = batch.numeric[order, self._value]
            values = np.minimum(np.maximum(values, -LARGEST_VALUE), LARGEST_VALUE)
        before = self._histories.advance(events, decay, values)
        ratio = _ratio(before, values) if self._with_ratio else before[0]
        bursts = before[0]
        if self._burst:
            excess = np.maximum(ratio[:, self._longest] - 1.0, 0.0)
            bursts = self._bursts.advance(events, decay, excess)[0] * decay + excess[:, None]
        baseline = before[0]
        if self._baselines is not None:
            above = self._baselines.advance(events, gap_ms, values)
            baseline = np.exp(np.minimum(above, math.log(LARGEST_DEVIATION)))[:, None]
        distinct = None
        if self._distinct is not None:
            touched = sketch_slots(batch.text[self._distinct][order].tolist())
            seen = advance_sketches(self._sketches, events, touched, time_ms)
            distinct = estimate(time_ms[:, None] - seen, self._rates)
        # A key's times rise, and of those that come twice the later stays: NumPy assigns in order.
        self._last_time[events.slots] = time_ms
        self._table.touch(slots)
        extra = {"ratio": ratio, "burst": bursts, "baseline": baseline}
        out[order] = self._features(before, decay, gap_ms, values, extra, distinct)

    def _features(
        self,
        before: Float64,
        decay: Float64,
        gap_ms: Float64,
        values: Float64,
        extra: dict[str, Float64],
        distinct: Float64 | None,
    ) -> Float64:
        """(events, columns). ``before``: (moments, events, half-lives) at the key's last event."""
        parts: list[Float64] = []
        weight = before[0] * decay
        for statistic in self._statistics:
            match statistic:
                case "count":
                    parts.append(np.log1p(weight))
                case "sum":
                    parts.append(apply_transform(weight * before[2], "log"))
                case "mean":
                    parts.append(np.where(before[0] > 0, before[2], values[:, None]))
                case "deviation":
                    parts.append(_deviation(before, values))
                case "ratio" | "baseline":
                    parts.append(extra[statistic])
                case "burst":
                    parts.append(np.log1p(extra["burst"]))
                case "time_since_last":
                    seconds = np.minimum(gap_ms, self._longest_gap_ms) / 1000.0
                    parts.append(np.log1p(seconds)[:, None])
                case "distinct":
                    assert distinct is not None
                    parts.append(np.log1p(distinct))
        return np.concatenate(parts, axis=1)

    def describe(self, group: int, batch: EventBatch, row: int, x: Float64) -> Any:  # noqa: ARG002 - the number is all there is
        """The feature's number, its logarithm undone: events, seconds, the value's own unit."""
        return undo_transform(float(x[group]), self.transforms[group])

    def go_back(self, mark_ms: int) -> None:
        """The watermark was wrong and is ``mark_ms``: no key was seen later than now."""
        np.minimum(self._last_time, mark_ms, out=self._last_time)
        np.minimum(self._sketches, mark_ms, out=self._sketches)

    def end_chunk(self) -> None:
        """Forget the keys that are worth least, if there are too many."""
        freed = self._table.evict()
        if len(freed):
            self._histories.clear(freed)
            if self._burst:
                self._bursts.clear(freed)
            if self._baselines is not None:
                self._baselines.clear(freed)
            self._last_time[freed] = NEVER
            if self._distinct is not None:
                self._sketches[freed] = NEVER

    def _grow(self) -> None:
        rows = self._table.rows
        self._histories.grow(rows)
        self._bursts.grow(rows if self._burst else 0)
        if self._baselines is not None:
            self._baselines.grow(rows)
        self._last_time = grown(self._last_time, rows, NEVER)
        if self._distinct is not None:
            self._sketches = grown(self._sketches, rows, NEVER)

    def state(self) -> State:
        """The keys, least recently seen first, and their numbers in that order."""
        table, slots = self._table.state()
        # Not there where it is not asked for: a state's bytes are then what they were before.
        slow = self._baselines
        baselines = {} if slow is None else {"baselines": slow.levels[slots]}
        return {
            **baselines,
            "half_lives": list(self._half_lives),
            "table": table,
            "moments": self._histories.moments.take(slots, axis=1),
            "bursts": self._bursts.moments[0, slots if self._burst else slots[:0]],
            "last_time": self._last_time[slots],
            "sketches": self._sketches[slots if self._distinct is not None else slots[:0]],
        }

    def restore(self, state: State, latest_ms: int = LARGEST_TIME_MS) -> None:
        """Take the state in; no key was seen after ``latest_ms``.

        Raises ``StateMismatchError`` where shapes or half-lives differ, or numbers make no sense.
        """
        if tuple(state["half_lives"]) != self._half_lives:
            raise StateMismatchError(
                f"window has half-lives {state['half_lives']}, expected {list(self._half_lives)}"
            )
        table = read_branch(state, "table")
        keys, (kinds, _, half_lives) = len(table["last_used"]), self._histories.moments.shape
        moments = read_array(state, "moments", (kinds, keys, half_lives))
        check_moments(moments, 2 * LARGEST_VALUE)
        last_time = read_times(state, "last_time", (keys,), latest_ms)
        held = keys if self._distinct is not None else 0
        sketches = read_times(state, "sketches", (held, SKETCH_SLOTS), latest_ms)
        bursts = np.empty((0, half_lives))
        if self._burst or "bursts" in state:  # since format 2
            shape = (keys if self._burst else 0, half_lives)
            bursts = read_array(state, "bursts", shape, low=0.0, high=LARGEST_COUNT)
        levels = np.empty((0, 2))
        if self._baselines is not None:
            levels = read_levels(state, "baselines", keys)
        self._table.restore(table)
        self._histories.moments = moments
        self._last_time, self._sketches = last_time, sketches
        self._bursts.moments = bursts[None]
        if self._baselines is not None:
            self._baselines.levels = levels
        self._grow()


def _ratio(before: Float64, values: Float64) -> Float64:
    """(events, half-lives): the value over the key's own mean, 1 where there is none."""
    mean = before[2]
    known = (before[0] > 0) & (mean != 0)
    with np.errstate(over="ignore"):
        ratio = np.where(known, values[:, None], 1.0) / np.where(known, mean, 1.0)
    return np.minimum(np.maximum(ratio, -LARGEST_DEVIATION), LARGEST_DEVIATION)


def _deviation(before: Float64, values: Float64) -> Float64:
    """(events, half-lives): the value in the key's own standard deviations, 0 where unknown.

    The variance is unbiased for reliability weights, M2 / (V1 - V2 / V1) (Finch 2009, "Incremental
    calculation of weighted mean and variance"; V1, V2 the sums of weights and of their squares);
    fading since the last event cancels out of it. With n = V1^2 / V2, the effective number of
    events, the result is times sqrt((n - 1) / (n + 1)): two or three events that happen to agree
    say little about the next. On the card transactions this took the average precision of the
    30-day deviation alone on stolen cards from .34 to .37, of the 1-day one from .09 to .11.
    """
    weight, square, mean, spread = before
    squared = weight * weight
    known = squared > LEAST_EVENTS * square
    # Where it is unknown there may be 0 / 0, which nobody sees. Over the least float, a difference
    # of 0 stays 0 and any other goes to the bound.
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        number = squared / square
        freedom = weight - square / np.maximum(weight, 1.0)
        scale = np.maximum(np.sqrt(spread / freedom), np.abs(mean) * LEAST_RELATIVE_DEVIATION)
        deviation = (values[:, None] - mean) / np.maximum(scale, np.finfo(np.float64).tiny)
        bounded = np.minimum(np.maximum(deviation, -LARGEST_DEVIATION), LARGEST_DEVIATION)
        return np.where(known, bounded * np.sqrt((number - 1.0) / (number + 1.0)), 0.0)


def _span(seconds: float) -> str:
    """``7d`` rather than ``1w``: people write windows in days."""
    text = format_duration(seconds)
    return f"{int(text[:-1]) * 7}d" if text.endswith("w") else text
