"""One-hot encoder of texts, whose columns go to the values that come most."""

from __future__ import annotations

from collections import Counter
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_detector.config.models.config import CategoricalFeatureConfig
from stream_detector.detectors.stored import (
    LARGEST_COUNT,
    LARGEST_TIME_MS,
    read_array,
    read_branch,
    read_count,
)
from stream_detector.errors import StateMismatchError
from stream_detector.events import EventBatch, Float64, Int64, State
from stream_detector.features.columns import FeatureGroup, untransformed
from stream_detector.tables.texts import pack_texts, unpack_texts

VALUE_HALF_LIFE = 100_000.0
"""Events after which an occurrence counts half: old habits fade, rare values stay rare."""

_TAKES_OVER, _TAKES_OVER_EARLY, _EARLY = 8.0, 2.0, 2048
"""Times as often, and times at least, that a value must have come to take the column of another:
more than once as often, or two that come alike would take turns; fewer among the first events."""

_WAITING, _LEAST_WAITING = 4, 64
"""Values without a column that are counted: so many for each column, but so many at least."""

_COUNT_OF_OLD = 64.0
"""Count of a value with a column in a state that has no counts."""


class OneHotEncoder:
    """A column for each of ``size`` values, one for all others.

    Values get columns in event order while there are any left. After that a value takes the column
    of the one that has come least: among the first 2,048 events as soon as it has come twice as
    often, later at the end of a chunk if it has come eight times as often (and eight times). So
    what a column means changes only where a model has learnt little of it: the old value was next
    to never seen, and the new one has its column before it is common. Values sent to fill the table
    lose their columns to those that people use, and take one back for eight times as many events.

    Where a missing value is a category, it has a column of its own, the last.

    State: the values with columns, at most ``size``, and others that may come to have one, at most
    four times as many (and those of a chunk), each with its count. Counts fade at the chunk's end;
    what is counted within a chunk is whole numbers, the same however it is cut into calls.
    """

    def __init__(self, feature: CategoricalFeatureConfig, field: int) -> None:
        name = feature.categorical
        self._field, self._size = field, feature.size
        self._table: dict[str, int] = {}
        self._counts: Float64 = np.zeros(feature.size)
        self._in_chunk: Int64 = np.zeros(feature.size, dtype=np.int64)
        self._waiting: dict[str, float] = {}
        self._waiting_in_chunk: Counter[str] = Counter()
        self._events = self._chunk_began = 0
        self.columns: tuple[str, ...] = (
            *(f"{name}#{index}" for index in range(feature.size)),
            f"{name}#other",
        )
        self._missing_column = feature.size
        if feature.missing == "category":
            self._missing_column = feature.size + 1
            self.columns += (f"{name}#missing",)
        self.transforms = untransformed(len(self.columns))
        columns = tuple(range(len(self.columns)))
        self.groups = (FeatureGroup(name, columns, "categorical", name, (name,)),)

    def encode(self, batch: EventBatch, out: Float64) -> None:
        """(events, size + 1 or 2) of 0 and 1; the table takes in what is new."""
        texts = batch.text[self._field].tolist()
        early = min(max(_EARLY - self._events, 0), len(texts))
        columns = np.empty(len(texts), dtype=np.intp)
        columns[:early] = [self._early_column(text) for text in texts[:early]]
        if early < len(texts):
            columns[early:] = self._later_columns(texts[early:])
        self._events += len(texts)
        out[:] = 0.0
        out[np.arange(len(texts)), columns] = 1.0

    def _early_column(self, text: str | None) -> int:
        if text is None:
            return self._missing_column
        column = self._table.get(text)
        if column is None and len(self._table) < self._size:
            column = self._table[text] = len(self._table)
        if column is None:
            self._waiting_in_chunk[text] += 1
            count = self._waiting.get(text, 0.0) + self._waiting_in_chunk[text]
            weakest, least = self._weakest()
            if count < _TAKES_OVER_EARLY * least:
                return self._size
            self._take_over(text, weakest)
            return weakest
        self._in_chunk[column] += 1
        return column

    def _later_columns(self, texts: list[str | None]) -> NDArray[np.intp]:
        table, size = self._table, self._size
        columns = np.fromiter(map(table.get, texts, repeat(size)), np.intp, len(texts))  # type: ignore[arg-type]
        # None has no column in the table, so nothing else has to be looked for there.
        others = np.flatnonzero(columns == size).tolist()
        if others and len(table) < size:
            for row in others:
                columns[row] = self._column_while_room(texts[row])
            others = [row for row in others if columns[row] == size]
        self._in_chunk += np.bincount(columns, minlength=size + 1)[:size]
        for row in others:
            if (text := texts[row]) is None:
                columns[row] = self._missing_column
            else:
                self._waiting_in_chunk[text] += 1
        return columns

    def _column_while_room(self, text: str | None) -> int:
        """The column of a text, which gets one while there are any left."""
        if text is not None and text not in self._table and len(self._table) < self._size:
            self._table[text] = len(self._table)
        return self._size if text is None else self._table.get(text, self._size)

    def usual_values(self, row: int, most: int) -> list[str]:  # noqa: ARG002 - the same all through a chunk
        """The values with columns that had come most when the chunk began, at most ``most``.

        [] among the first events: columns may change hands within a chunk then, and which have
        done so depends on how many events of the chunk have come.
        """
        if self._chunk_began < _EARLY:
            return []
        counts, columns = self._counts, range(len(self._table))
        best = sorted(columns, key=lambda column: (-counts[column], column))[:most]
        owners = list(self._table)  # in the order of their columns
        return [owners[column] for column in best if counts[column] > 0]

    def hypothetical(self, variants: EventBatch, row: int, x: Float64, out: Float64) -> None:  # noqa: ARG002 - its own columns are all
        """The event's own columns, or that of another of ``usual_values``."""
        out[:] = x
        for place, text in enumerate(variants.text[self._field].tolist()):
            column = self._table.get(text, self._size)
            if column < self._size and x[column] == 0.0:
                out[place] = 0.0
                out[place, column] = 1.0

    def describe(self, group: int, batch: EventBatch, row: int, x: Float64) -> Any:  # noqa: ARG002 - the text says it all
        """The text, None if missing."""
        return batch.text[self._field][row]

    def end_chunk(self) -> None:
        """Let the counts fade, and give columns to values that come far more often."""
        fade = 0.5 ** ((self._events - self._chunk_began) / VALUE_HALF_LIFE)
        self._chunk_began = self._events
        self._counts = self._counts * fade + self._in_chunk
        self._in_chunk[:] = 0
        if not self._waiting and not self._waiting_in_chunk:
            return
        self._waiting = {text: count * fade for text, count in self._waiting.items()}
        for text, count in self._waiting_in_chunk.items():
            self._waiting[text] = self._waiting.get(text, 0.0) + count
        self._waiting_in_chunk.clear()
        # Stable, so that of equals those go that have waited longest.
        waiting = sorted(self._waiting, key=self._waiting.__getitem__)
        for text in reversed(waiting):
            weakest, least = self._weakest()
            if self._waiting[text] < _TAKES_OVER * least:
                break
            self._take_over(text, weakest)
        surplus = len(self._waiting) - max(_LEAST_WAITING, _WAITING * self._size)
        for text in waiting[: max(surplus, 0)]:
            self._waiting.pop(text, None)

    def _weakest(self) -> tuple[int, float]:
        """The column whose value has come least, and how often, at least once."""
        counts = self._counts + self._in_chunk
        column = int(counts.argmin())
        return column, max(float(counts[column]), 1.0)

    def _take_over(self, text: str, column: int) -> None:
        """Give the column to ``text``; its value waits in the place of that."""
        owners = list(self._table)  # in the order of their columns
        old, owners[column] = owners[column], text
        count, new = self._waiting.pop(text, 0.0), self._waiting_in_chunk.pop(text, 0)
        self._waiting[old] = float(self._counts[column])
        if self._in_chunk[column]:
            self._waiting_in_chunk[old] = int(self._in_chunk[column])
        self._counts[column], self._in_chunk[column] = count, new
        self._table = {owner: index for index, owner in enumerate(owners)}

    def state(self) -> State:
        """The values in the order of their columns, those that wait, and how often they came."""
        waiting = list(dict.fromkeys([*self._waiting, *self._waiting_in_chunk]))
        return {
            "size": self._size,
            "values": pack_texts(list(self._table)),
            "counts": self._counts.copy(),
            "in_chunk": self._in_chunk.copy(),
            "waiting": pack_texts(waiting),
            "waiting_counts": np.array([self._waiting.get(t, -1.0) for t in waiting], np.float64),
            "waiting_in_chunk": np.array([self._waiting_in_chunk[t] for t in waiting], np.int64),
            "events": self._events,
            "chunk_began": self._chunk_began,
        }

    def restore(self, state: State, latest_ms: int = LARGEST_TIME_MS) -> None:  # noqa: ARG002 - without times
        """Take the state in. Raises ``StateMismatchError`` where the size differs."""
        values = [text for text in values_of(state, self._size, self._size) if text is not None]
        if "counts" not in state:  # of an older version: what was learnt of a column is kept
            self._table = {text: index for index, text in enumerate(values)}
            self._counts = np.where(np.arange(self._size) < len(values), _COUNT_OF_OLD, 0.0)
            self._in_chunk = np.zeros(self._size, dtype=np.int64)
            self._waiting, self._waiting_in_chunk = {}, Counter()
            self._events = self._chunk_began = _EARLY
            return
        events = read_count(state, "events")
        began = read_count(state, "chunk_began", high=events)
        counts = read_array(state, "counts", (self._size,), low=0.0, high=LARGEST_COUNT)
        in_chunk = _whole(state, "in_chunk", self._size)
        waiting = [text for text in unpack_texts(read_branch(state, "waiting")) if text is not None]
        shape = (len(waiting),)
        waited = read_array(state, "waiting_counts", shape, low=-1.0, high=LARGEST_COUNT)
        new = _whole(state, "waiting_in_chunk", len(waiting))
        if len(set(waiting) | set(values)) != len(waiting) + len(values):
            raise StateMismatchError("a value has two columns, or has one and waits for one")
        self._table = {text: index for index, text in enumerate(values)}
        self._counts, self._in_chunk = counts, in_chunk
        pairs = zip(waiting, waited.tolist(), strict=True)
        self._waiting = {text: count for text, count in pairs if count >= 0}
        more = zip(waiting, new.tolist(), strict=True)
        self._waiting_in_chunk = Counter({text: count for text, count in more if count})
        self._events, self._chunk_began = events, began


def values_of(state: State, size: int, most: int) -> list[str | None]:
    """The values of a table that a state holds. Raises ``StateMismatchError``."""
    if state["size"] != size:
        raise StateMismatchError(f"the table has {state['size']} values, expected {size}")
    values = unpack_texts(state["values"])
    if len(values) > most or len(set(values)) != len(values):
        raise StateMismatchError(
            f"the table holds {len(values)} values of at most {most}, each once"
        )
    return values


def _whole(state: State, name: str, length: int) -> Int64:
    counts: Int64 = read_array(state, name, (length,), np.int64, low=0, high=LARGEST_COUNT)
    return counts
