"""Running statistics of the events that share a key, forgotten exponentially in event time.

All are as of just before the event. Every key's numbers come from the same sequence of elementwise
operations however the stream is cut into batches, so their bits do not depend on the cuts.
"""

from __future__ import annotations

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
    undo_transform,
)
from stream_detector.features.distinct import NEVER, SKETCH_SLOTS, estimate, sketch_slots
from stream_detector.features.key_statistics import (
    LARGEST_VALUE,
    Met,
    excess_of,
    ratio_to_mean,
    statistics_of,
    window_values,
)
from stream_detector.tables.history import (
    Histories,
    Occurrences,
    advance_sketches,
    check_moments,
    read_times,
)
from stream_detector.tables.keys import KeyTable, grown
from stream_detector.tables.lookups import KeyFinder, Lookups
from stream_detector.units import format_duration

_NEW_KEY_HALF_LIVES = 10
_LOGARITHMIC: frozenset[Statistic] = frozenset(
    ("count", "sum", "burst", "time_since_last", "distinct")
)
_OF_VALUE: frozenset[Statistic] = frozenset(
    ("sum", "mean", "deviation", "ratio", "baseline", "burst")
)
_OF_EVENT: frozenset[Statistic] = frozenset(("mean", "deviation", "ratio", "baseline", "burst"))
"""What the event's own value has a part in: in the mean only where the key has no history."""
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
        self,
        window: WindowConfig,
        numeric: tuple[str, ...],
        text: tuple[str, ...],
        label: str,
        lookups: Lookups | None = None,
    ) -> None:
        """Remember no key.

        Args:
            window: the settings.
            numeric: the fields of the plan.
            text: likewise.
            label: begins the column names.
            lookups: of the batch in hand, always.
        """
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
        self._finder, self._lookups = KeyFinder(self._table, window.key), lookups
        self._histories = Histories(len(half_lives), with_values=self._value is not None)
        self._bursts = Histories(len(half_lives), with_values=False)
        self._longest = half_lives.index(max(half_lives))
        self._met: Met = Met.nothing()
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
                own = (window.value,) if window.value and statistic in _OF_EVENT else ()
                groups.append(
                    FeatureGroup(f"{label}.{name}", (len(columns),), "window", field, own)
                )
                columns.append(f"{label}.{name}")
                transforms.append("log" if statistic in _LOGARITHMIC else "none")
        self.columns = tuple(columns)
        self.groups = tuple(groups)
        self._own = [column for column, group in enumerate(groups) if group.made_of]
        self._own_kinds = [each for each in self._statistics if each in _OF_EVENT]
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
        slots = self._finder.slots_of(batch.text[self._key].tolist(), self._lookups)
        self._grow()
        events = Occurrences.of(slots)
        order = events.order
        last, time_ms = events.newest_times(self._last_time[events.slots], batch.counted_ms[order])
        gap_ms = time_ms - last
        decay = np.exp2(gap_ms[:, None] * self._rates)
        values = np.ones(len(batch))
        if self._value is not None:
            values = window_values(batch.numeric[order, self._value])
        before = self._histories.advance(events, decay, values)
        ratio = ratio_to_mean(before, values) if self._with_ratio else before[0]
        faded = before[0]
        if self._burst:
            excess = excess_of(ratio, self._longest)
            faded = self._bursts.advance(events, decay, excess)[0] * decay
        above = levels = gap_ms
        if self._baselines is not None:
            above, levels = self._baselines.advance(events, gap_ms, values)
        self._met = Met(order, before, decay, gap_ms, values, faded, above, levels)
        distinct = None
        if self._distinct is not None:
            touched = sketch_slots(batch.text[self._distinct][order].tolist())
            seen = advance_sketches(self._sketches, events, touched, time_ms)
            distinct = estimate(time_ms[:, None] - seen, self._rates)
        # A key's times rise, and of those that come twice the later stays: NumPy assigns in order.
        self._last_time[events.slots] = time_ms
        self._table.touch(slots)
        out[order] = self._features(self._met, ratio, distinct)

    def _features(self, met: Met, ratio: Float64, distinct: Float64 | None) -> Float64:
        """(events, columns) of events that met their keys' histories so."""
        return statistics_of(
            met, self._statistics, ratio, self._longest, self._longest_gap_ms, distinct
        )

    def hypothetical(self, variants: EventBatch, row: int, x: Float64, out: Float64) -> None:
        """The statistics that the event's own value has a part in, at the variants' values."""
        out[:] = x
        if self._value is None or not self._own_kinds:
            return
        met = self._met.again(row, window_values(variants.numeric[:, self._value]))
        ratio = ratio_to_mean(met.before, met.values) if self._with_ratio else met.before[0]
        gap_ms = self._longest_gap_ms
        out[:, self._own] = statistics_of(met, self._own_kinds, ratio, self._longest, gap_ms, None)

    def usual_value(self, row: int) -> float | None:
        """The mean, by the longest half-life, of the key of a row of the last batch, before it.

        None without ``value``, and where the key has no history.
        """
        if self._value is None:
            return None
        before = self._met.before[:, self._met.place_of(row), self._longest]
        return float(before[2]) if before[0] > 0 else None

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


def _span(seconds: float) -> str:
    """``7d`` rather than ``1w``: people write windows in days."""
    text = format_duration(seconds)
    return f"{int(text[:-1]) * 7}d" if text.endswith("w") else text
