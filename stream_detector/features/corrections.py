"""Labels that are corrected after they were counted for a key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_detector.events import Float64, Int64, State
from stream_detector.features.distinct import NEVER
from stream_detector.labels import DelayQueue


@dataclass(frozen=True)
class Correction:
    """What changes for one key when the label of one of its events does.

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
    """The last events whose labels were counted (or were not known when they would have been).

    State: 48 bytes an event, at most ``most``, for ``seconds`` of event time after they were
    counted. What a key's older events were is not known any more: a run that a correction makes
    longer than these reach back ends with them.
    """

    def __init__(self, seconds: float, most: int) -> None:
        columns: dict[str, tuple[type, int]] = {
            "slot": (np.int64, 0),
            "owner": (np.int64, 0),
            "at": (np.float64, 0),
        }
        self._queue = DelayQueue(seconds, most, columns)

    def add(self, due: dict[str, NDArray[Any]], at: Float64) -> None:
        """Remember events as they were taken out of the queue; ``at``: see ``Correction``."""
        columns = {"slot": due["slot"], "owner": due["owner"], "at": at}
        self._queue.add(
            due["due"].astype(np.int64), due["id"].astype(np.int64), due["label"], columns
        )

    def forget(self, now_ms: int) -> None:
        """Let go of events that were counted too long ago."""
        self._queue.mature(now_ms)

    def correct(
        self, ids: Int64, labels: Float64, owner: Int64, marks: Float64
    ) -> list[Correction]:
        """Set labels, a later one over an earlier; what changes, in the order of the events.

        Args:
            ids: (labels,) identities of events.
            labels: (labels,) 1, 0 or NaN; NaN changes nothing.
            owner: (slots,) how often each slot was given away: events of a key that was forgotten
                have another number.
            marks: (slots, 2) last and first positive.
        """
        told = ~np.isnan(labels)
        rows = self._queue.relabel(ids[told], labels[told])
        found = []
        for row in range(len(rows["id"])):
            before, label = float(rows["before"][row]), float(rows["label"][row])
            slot = int(rows["slot"][row])
            if before == label or slot < 0 or owner[slot] != rows["owner"][row]:
                continue
            known = np.isnan(before)
            last, first = marks[slot]
            held = self._queue.rows_with("slot", slot)
            mine = (held["owner"] == owner[slot]) & ~np.isnan(held["label"])
            at, positive = held["at"][mine], held["label"][mine] > 0
            found.append(
                Correction(
                    slot,
                    float(rows["at"][row]),
                    float(known),
                    float(label > 0) - (0.0 if known else float(before > 0)),
                    _marks(at, positive, float(last), float(first)),
                    _runs(positive),
                )
            )
        return found

    def state(self, places: Int64, owner: Int64) -> State:
        """The state, with each event's slot by ``places``; -1 where its key was forgotten."""
        return with_places(self._queue.state(), places, owner)

    def restore(self, state: State) -> None:
        """Take ``state`` in. Raises ``StateMismatchError`` where columns do not fit."""
        self._queue.restore(state)


def with_places(queue: State, places: Int64, owner: Int64) -> State:
    """The state of a queue of events that name the slots of their keys.

    Slots are no part of a state: an event names its key's place in it, -1 if it has none.
    """
    slots = queue["slot"]
    current = (slots >= 0) & (owner[np.maximum(slots, 0)] == queue["owner"])
    named = np.where(current, places[np.maximum(slots, 0)], -1)
    return {**queue, "slot": named, "owner": np.zeros(len(slots), dtype=np.int64)}


def _marks(
    at: Float64, positive: NDArray[np.bool_], last: float, first: float
) -> tuple[float, float]:
    """Last and first positive; what came before the events remembered is as it was."""
    hits, oldest = at[positive], at.min()
    latest = hits.max() if len(hits) else last if last < oldest else NEVER
    if NEVER < first < oldest:
        return float(latest), first
    return float(latest), float(hits.min()) if len(hits) else NEVER


def _runs(positive: NDArray[np.bool_]) -> tuple[float, float]:
    """How many positives, and how many negatives, came last in a row; one of them is 0."""
    breaks = np.flatnonzero(positive != positive[-1])
    run = float(len(positive) - (breaks[-1] + 1 if len(breaks) else 0))
    return (run, 0.0) if positive[-1] else (0.0, run)
