"""Rows that wait until their label may be known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_detector.detectors.stored import LARGEST_TIME_MS, read_array, read_count
from stream_detector.errors import StateMismatchError
from stream_detector.events import Float64, Int64, State

Columns = Mapping[str, NDArray[Any]]

_BLOCK_ROWS = 32_768
"""Blocks are merged up to this: many small ones would make every look for a label slow."""


class DelayQueue:
    """Columns of rows in event order, each row held until ``delay`` of event time has passed.

    Every row has an ``id`` (int64, a hash of the event's; 0 where labels come with the events) and
    a ``label`` (1, 0 or NaN unknown), which a message may still set while the row waits.

    State: the rows. Bounded by ``most``: the oldest leave first, counted in ``dropped``.
    """

    def __init__(
        self, delay_seconds: float, most: int, columns: Mapping[str, tuple[type, int]]
    ) -> None:
        """``columns``: of each further column, the type and the width (0: one number a row)."""
        self._delay_ms = int(delay_seconds * 1000)
        self._most = most
        own: dict[str, tuple[type, int]] = {
            "due": (np.int64, 0),
            "id": (np.int64, 0),
            "label": (np.float64, 0),
        }
        self._shapes = {**own, **columns}
        self._blocks: list[dict[str, NDArray[Any]]] = []
        self.waiting = 0
        self.dropped = 0

    def add(self, times_ms: Int64, ids: Int64, labels: Float64, columns: Columns) -> None:
        """Let rows wait. ``times_ms``: (rows,) event times; the columns likewise, row by row."""
        if not len(times_ms):
            return
        block = {"due": times_ms + self._delay_ms, "id": ids, "label": labels, **columns}
        self._blocks.append({name: np.array(column) for name, column in block.items()})
        self._merge()
        self.waiting += len(times_ms)
        while self.waiting > self._most:
            excess = min(self.waiting - self._most, len(self._blocks[0]["due"]))
            self._leave(excess)
            self.dropped += excess

    def mature(self, now_ms: int) -> dict[str, NDArray[Any]]:
        """Take out the rows, oldest first, whose delay is over at ``now_ms`` of event time."""
        taken = [self._empty()]
        if not self._blocks or self._blocks[0]["due"][0] > now_ms:
            return taken[0]
        while self._blocks:
            due: NDArray[Any] = self._blocks[0]["due"]
            # In event order, not in order of due time: a late event waits for its elders.
            held = np.flatnonzero(due > now_ms)
            count = int(held[0]) if len(held) else len(due)
            whole = count == len(due)
            taken.append({name: column[:count] for name, column in self._blocks[0].items()})
            self._leave(count)
            if not whole:
                break
        return {name: np.concatenate([each[name] for each in taken]) for name in self._shapes}

    def set_labels(self, ids: Int64, labels: Float64) -> NDArray[np.bool_]:
        """Set the labels of waiting rows by id, a later one over an earlier; which were found."""
        newest: dict[int, float] = dict(zip(ids.tolist(), labels.tolist(), strict=True))
        wanted = np.array(sorted(newest), dtype=np.int64)
        values = np.array([newest[each] for each in wanted.tolist()])
        found = np.zeros(len(wanted), dtype=bool)
        for block in self._blocks:
            rows = np.flatnonzero(np.isin(block["id"], wanted))
            at = np.searchsorted(wanted, block["id"][rows])
            block["label"][rows] = values[at]
            found[at] = True
        return found[np.searchsorted(wanted, ids)]

    def go_back(self, mark_ms: int) -> None:
        """The watermark was wrong and is ``mark_ms``: no row waits longer than one of now."""
        for block in self._blocks:
            block["due"] = np.minimum(block["due"], mark_ms + self._delay_ms)

    def replace(self, name: str, mapping: Int64) -> None:
        """Put ``mapping[value]`` in place of each value of an integer column, -1 staying -1."""
        for block in self._blocks:
            column = block[name].astype(np.int64)
            block[name] = np.where(column < 0, -1, mapping[np.maximum(column, 0)])

    def state(self) -> State:
        """All rows as one block."""
        blocks = [self._empty(), *self._blocks]
        rows = {name: np.concatenate([each[name] for each in blocks]) for name in self._shapes}
        return {**rows, "dropped": self.dropped}

    def restore(self, state: State) -> None:
        """Take ``state`` in. Raises ``StateMismatchError`` where columns do not fit."""
        count = len(state["due"])
        dropped = read_count(state, "dropped")
        block: dict[str, NDArray[Any]] = {
            name: read_array(
                state, name, (count, width) if width else (count,), kind, missing=name == "label"
            )
            for name, (kind, width) in self._shapes.items()
        }
        check_labels(block["label"])
        if np.abs(block["due"]).max(initial=0) > LARGEST_TIME_MS + self._delay_ms:
            raise StateMismatchError("rows waiting for labels: a time is none")
        self._blocks = [block] if count else []
        self.waiting, self.dropped = count, dropped

    def _merge(self) -> None:
        """Put the last blocks together, so that there are few and each row is copied seldom."""
        blocks = self._blocks
        while len(blocks) > 1:
            before, last = blocks[-2], blocks[-1]
            rows = len(last["due"])
            if len(before["due"]) > 2 * rows or len(before["due"]) + rows > _BLOCK_ROWS:
                break
            blocks[-2:] = [
                {name: np.concatenate([before[name], last[name]]) for name in self._shapes}
            ]

    def _leave(self, count: int) -> None:
        """The first ``count`` rows of the first block leave."""
        first = self._blocks[0]
        self.waiting -= count
        if count == len(first["due"]):
            self._blocks.pop(0)
        else:
            self._blocks[0] = {name: column[count:] for name, column in first.items()}

    def _empty(self) -> dict[str, NDArray[Any]]:
        return {
            name: np.empty((0, width) if width else 0, dtype=kind)
            for name, (kind, width) in self._shapes.items()
        }


def check_labels(labels: NDArray[Any]) -> None:
    """Raise ``StateMismatchError`` where restored labels are neither 1, 0 nor NaN."""
    if not (np.isnan(labels) | (labels == 0) | (labels == 1)).all():
        raise StateMismatchError("a label is neither 1 nor 0 nor unknown")
