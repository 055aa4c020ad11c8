"""The last labelled rows, kept to be learnt again, with labels that may be corrected."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_detector.detectors.stored import read_array, read_count
from stream_detector.events import Float64, Int64, State

LARGEST = 1e30
"""Values are clipped at ± this: they are kept in float32."""


class LabelledMemory:
    """A ring of rows with their labels. State: the rows held, in float32, and how many came."""

    def __init__(self, features: int, rows: int) -> None:
        self._rows: NDArray[np.float32] = np.zeros((rows, features), dtype=np.float32)
        self._positive: NDArray[np.bool_] = np.zeros(rows, dtype=bool)
        self._ids: Int64 = np.zeros(rows, dtype=np.int64)
        self._added = 0

    def __len__(self) -> int:
        """Rows held."""
        return min(self._added, len(self._positive))

    @property
    def rows(self) -> NDArray[np.float32]:
        """(held, features), not to be written to, in no particular order."""
        return self._rows[: len(self)]

    @property
    def positive(self) -> NDArray[np.bool_]:
        """(held,), likewise."""
        return self._positive[: len(self)]

    def add(self, rows: Float64, positive: NDArray[np.bool_], ids: Int64 | None) -> None:
        """Take rows in; the oldest leave where there are too many."""
        capacity = len(self._positive)
        first = max(len(rows) - capacity, 0)
        places = np.arange(self._added + first, self._added + len(rows)) % capacity
        self._rows[places] = np.clip(rows[first:], -LARGEST, LARGEST)
        self._positive[places] = positive[first:]
        self._ids[places] = ids[first:] if ids is not None else 0
        self._added += len(rows)

    def at_ages(self, ages: Int64) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """(ages, features) rows and their labels, by how many came after each: 0 is the newest."""
        places = (self._added - 1 - ages) % len(self._positive)
        return self._rows[places], self._positive[places]

    def correct(self, ids: Int64, positive: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Set the labels of rows by their ids, a later one over an earlier; which were found."""
        found = np.zeros(len(ids), dtype=bool)
        for place, (identity, label) in enumerate(zip(ids, positive, strict=True)):
            rows = np.flatnonzero(self._ids[: len(self)] == identity)
            self._positive[rows] = label
            found[place] = len(rows) > 0
        return found

    def state(self) -> State:
        """The rows held and the count."""
        return {
            "rows": self.rows.copy(),
            "positive": self.positive.copy(),
            "ids": self._ids[: len(self)].copy(),
            "added": self._added,
        }

    def emptied(self) -> State:
        """The state of one that holds no rows."""
        none = LabelledMemory(self._rows.shape[1], 0)
        return none.state()

    def restore(self, state: State) -> None:
        """Take the state in. Raises ``StateMismatchError`` where shapes do not fit."""
        added = read_count(state, "added")
        held = min(added, len(self._positive))
        most = 1.001 * LARGEST  # in single precision
        shape = (held, self._rows.shape[1])
        rows = read_array(state, "rows", shape, np.float32, low=-most, high=most)
        positive = read_array(state, "positive", (held,), np.bool_)
        ids = read_array(state, "ids", (held,), np.int64)
        self._rows[:held], self._positive[:held], self._ids[:held] = rows, positive, ids
        self._added = added
