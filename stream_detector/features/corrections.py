"""Labels that are corrected after they were counted for a key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_detector.detectors.stored import LARGEST_TIME_MS, read_array
from stream_detector.errors import StateMismatchError
from stream_detector.events import Float64, Int64, State
from stream_detector.features.distinct import NEVER
from stream_detector.labels.delay_queue import check_labels
from stream_detector.tables.history import read_times

_COLUMNS: dict[str, type] = {
    "due": np.int64,
    "id": np.int64,
    "label": np.float64,
    "slot": np.int64,
    "owner": np.int64,
    "at": np.float64,
}
_UNSORTED = 4096
"""New events that are searched one by one, before they go into the sorted index."""


@dataclass(frozen=True)
class Correction:
    """Changes for one key when the label of one of its events changes.

    Attributes:
        slot: of the key.
        at: the key's newest time when the event was counted, in ms: its weight was 1 then.
        known: 1 where the event had no label before, else 0.
        positive: 1, 0 or -1: how many positives there are more.
        marks: last and first positive known, in ms; ``NEVER`` where there is none.
        runs: how many positives and how many negatives came last in a row.
    """

    slot: int
    at: float
    known: float
    positive: float
    marks: tuple[float, float]
    runs: tuple[float, float]


class CountedEvents:
    """The last events whose labels were counted, or were not known when they would have been.

    State: 48 bytes an event, at most ``most``, for ``seconds`` of event time after they were
    counted. An index of their ids, 16 bytes an event more, is made anew when a share of the events
    is new: a label is looked up in microseconds, among a million events too.
    """

    def __init__(self, seconds: float, most: int) -> None:
        self._window_ms = int(seconds * 1000)
        self._most = most
        self._columns = _empty(0)
        self._begin = self._end = 0  # of what is held, among the places of the columns
        self._indexed = 0  # places below are in the index
        self._ids: Int64 = np.empty(0, dtype=np.int64)  # sorted, and the place of each
        self._places: Int64 = np.empty(0, dtype=np.int64)

    @property
    def held(self) -> int:
        """Events whose label may be corrected now."""
        return self._end - self._begin

    def add(self, due: dict[str, NDArray[Any]], at: Float64) -> None:
        """Remember events as they left the queue, in its order; ``at``: see ``Correction``."""
        count = len(at)
        self._make_room(count)
        for name, column in self._columns.items():
            column[self._end : self._end + count] = at if name == "at" else due[name]
        self._end += count
        self._begin = max(self._begin, self._end - self._most)

    def forget(self, now_ms: int) -> None:
        """Let go of events that were counted too long ago, the oldest first."""
        due, before = self._columns["due"], now_ms - self._window_ms
        while self._begin < self._end:
            held = due[self._begin : min(self._begin + _UNSORTED, self._end)] > before
            gone = int(held.argmax()) if held.any() else len(held)
            self._begin += gone
            if gone < len(held):
                break

    def go_back(self, mark_ms: int, delay_ms: int) -> None:
        """The watermark was wrong and is ``mark_ms``: nothing was counted later than now."""
        held = slice(self._begin, self._end)
        for name, latest in (("at", mark_ms), ("due", mark_ms + delay_ms)):
            self._columns[name][held] = np.minimum(self._columns[name][held], latest)

    def correct(
        self, place: int, label: float, owner: Int64, marks: Float64, runs: Float64
    ) -> Correction | None:
        """Set the label of an event; what that changes for its key, None where it changes nothing.

        Args:
            place: of the event.
            label: 1 or 0.
            owner: (slots,) how often each slot was given away: events of a key that was forgotten
                have another number.
            marks: (slots, 2) last and first positive.
            runs: (slots, 2) positives and negatives that came last in a row.
        """
        row = {name: column[place] for name, column in self._columns.items()}
        slot, before = int(row["slot"]), float(row["label"])
        if before == label or slot < 0 or owner[slot] != row["owner"]:
            return None
        # The key's events, with this one as it was and as it is.
        held = slice(self._begin, self._end)
        mine = self._columns["slot"][held] == slot
        mine &= self._columns["owner"][held] == owner[slot]
        places = self._begin + np.flatnonzero(mine)
        labels = self._columns["label"][places]
        old = labels[~np.isnan(labels)] > 0
        self._columns["label"][place] = label
        labels[places == place] = label
        known = ~np.isnan(labels)
        at, positive = self._columns["at"][places[known]], labels[known] > 0
        unknown = bool(np.isnan(before))
        last, first = marks[slot]
        return Correction(
            slot,
            float(row["at"]),
            float(unknown),
            float(label > 0) - (0.0 if unknown else float(before > 0)),
            _marks(at, positive, float(last), float(first)),
            _runs(old, positive, runs[slot]),
        )

    def state(self, places: Int64, owner: Int64) -> State:
        """All events, each naming its key by ``places``."""
        rows = {name: column[self._begin : self._end] for name, column in self._columns.items()}
        return {**rows, **with_places(rows, places, owner)}

    def restore(self, state: State | None, latest_ms: int = LARGEST_TIME_MS) -> None:
        """Take ``state`` in, or hold nothing; no event was counted after ``latest_ms``.

        Raises ``StateMismatchError`` where it is no such state.
        """
        if state is None:
            self._columns = _empty(0)
        else:
            count = len(state["id"])
            columns: dict[str, NDArray[Any]] = {
                name: read_array(state, name, (count,), kind, missing=name == "label")
                for name, kind in _COLUMNS.items()
            }
            columns["at"] = read_times(state, "at", (count,), latest_ms)
            check_labels(columns["label"])
            if np.abs(columns["due"]).max(initial=0) > LARGEST_TIME_MS:
                raise StateMismatchError("counted events: a time is none")
            self._columns = columns
        self._begin, self._end, self._indexed = 0, len(self._columns["id"]), 0
        self._ids = self._places = np.empty(0, dtype=np.int64)

    def _make_room(self, count: int) -> None:
        """For more events: what was let go of leaves, and the columns grow by half."""
        if self._end + count <= len(self._columns["id"]):
            return
        held = slice(self._begin, self._end)
        grown = _empty(self.held + count + max(_UNSORTED, self.held // 2))
        for name, column in self._columns.items():
            grown[name][: self.held] = column[held]
        self._end -= self._begin
        self._columns, self._begin, self._indexed = grown, 0, 0

    def place_of(self, identity: int) -> int | None:
        """Return where an event, the newest of its id, is held until more events are added."""
        ids = self._columns["id"]
        if self._end - self._indexed > max(_UNSORTED, self.held // 8):
            places = np.arange(self._begin, self._end)
            order = np.argsort(ids[places], kind="stable")
            self._places, self._ids = places[order], ids[places[order]]
            self._indexed = self._end
        start = max(self._begin, self._indexed)
        recent = np.flatnonzero(ids[start : self._end] == identity)
        if len(recent):
            return start + int(recent[-1])
        after = int(np.searchsorted(self._ids, identity, side="right")) if self._indexed else 0
        if after and self._ids[after - 1] == identity and self._places[after - 1] >= self._begin:
            return int(self._places[after - 1])
        return None


def with_places(queue: State, places: Int64, owner: Int64) -> State:
    """The state of a queue of events that name the slots of their keys.

    Slots are no part of a state: an event names its key's place in it, -1 if it has none.
    """
    slots = queue["slot"]
    current = (slots >= 0) & (owner[np.maximum(slots, 0)] == queue["owner"])
    named = np.where(current, places[np.maximum(slots, 0)], -1)
    return {**queue, "slot": named, "owner": np.zeros(len(slots), dtype=np.int64)}


def _empty(rows: int) -> dict[str, NDArray[Any]]:
    return {name: np.zeros(rows, dtype=kind) for name, kind in _COLUMNS.items()}


def _marks(
    at: Float64, positive: NDArray[np.bool_], last: float, first: float
) -> tuple[float, float]:
    """Last and first positive; what came before the events remembered is as it was.

    Where the last one is no more and only the first is known to have come before, it is the last.
    """
    hits, oldest = at[positive], at.min()
    before = first if NEVER < first < oldest else NEVER
    latest = hits.max() if len(hits) else last if NEVER < last < oldest else before
    earliest = before if before > NEVER else hits.min() if len(hits) else NEVER
    return float(latest), float(earliest)


def _runs(old: NDArray[np.bool_], new: NDArray[np.bool_], runs: Float64) -> tuple[float, float]:
    """Return how many positives, and negatives, came last in a row; one of them is 0.

    Args:
        old: (events,) whether each event remembered was positive before.
        new: the same as it is now; perhaps one event more.
        runs: what they were before, events included that are not remembered any more.
    """
    kind = 0 if new[-1] else 1
    run = _last_run(new)
    # Unbroken as far as is remembered, now and before: what came earlier goes on in it.
    alike = len(old) == 0 or (_last_run(old) == len(old) and old[-1] == new[-1])
    if run == len(new) and alike:
        run += max(int(runs[kind]) - len(old), 0)
    return (float(run), 0.0) if kind == 0 else (0.0, float(run))


def _last_run(values: NDArray[np.bool_]) -> int:
    breaks = np.flatnonzero(values != values[-1])
    return len(values) - (int(breaks[-1]) + 1 if len(breaks) else 0)
