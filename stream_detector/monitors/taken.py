"""Events as monitors of buckets count them: keys, and what else of each is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from stream_detector.detectors.stored import read_array, read_branch
from stream_detector.errors import StateMismatchError
from stream_detector.events import Float64, Int64, State
from stream_detector.monitors.base import MonitorEvents
from stream_detector.tables.texts import pack_texts, present, unpack_texts

LARGEST_VALUE = 1e100
"""A number beyond counts as this: sums of squares stay finite."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Fields that a monitor of buckets asks for.

    Attributes:
        key: what events are counted by; None: all together.
        over: whose value tells which keys are held against one another; None: all are.
        number: the number that is summed up; None: none.
        text: the text whose values are told apart; None: none.
    """

    key: str | None
    over: str | None = None
    number: str | None = None
    text: str | None = None


@dataclass(slots=True)
class Taken:
    """Events that are counted, in their order.

    Attributes:
        buckets: (events,) number of the bucket of each one's time since 1970.
        keys: of each.
        groups: value of ``over`` of each; empty where that is not asked for.
        values: (events,) the number of each, within ``LARGEST_VALUE``; (0,) likewise.
        texts: the text of each; empty likewise.
        rows: the row of each in the batch in hand; empty where they are of earlier ones.
    """

    buckets: Int64
    keys: list[str]
    groups: list[str | None]
    values: Float64
    texts: list[str]
    rows: Int64

    @classmethod
    def none(cls) -> Taken:
        """No events."""
        nothing: Int64 = np.empty(0, dtype=np.int64)
        return cls(nothing, [], [], np.empty(0), [], nothing)

    @classmethod
    def of(cls, events: MonitorEvents, asked: Asked, bucket_ms: int, first: int) -> TakenRows:
        """Read what is asked for, from row ``first`` on; events that lack key or value are none."""
        keys = events.keys(asked.key)
        there = np.ones(len(events), dtype=np.bool_)
        there[:first] = False
        if keys is not None and None in keys:
            there &= present(keys)
        counted = there.copy()
        if asked.number is not None:
            there &= np.isfinite(events.numbers[asked.number])
        if asked.text is not None:
            there &= present(events.text[asked.text])
        rows = np.flatnonzero(there)
        places = rows.tolist()
        number = events.numbers[asked.number][rows] if asked.number is not None else np.empty(0)
        taken = cls(
            events.times_ms[rows] // bucket_ms,
            [""] * len(rows) if keys is None else _texts(keys, places),
            _picked(events.text[asked.over], places) if asked.over is not None else [],
            np.clip(number, -LARGEST_VALUE, LARGEST_VALUE),
            _texts(events.text[asked.text], places) if asked.text is not None else [],
            rows,
        )
        return TakenRows(taken, int((counted & ~there).sum()))

    def __len__(self) -> int:
        return len(self.keys)

    def take(self, rows: Int64) -> Taken:
        """Pick events by their places."""
        places = rows.tolist()
        return Taken(
            self.buckets[rows],
            [self.keys[row] for row in places],
            _picked(self.groups, places) if self.groups else [],
            self.values[rows] if len(self.values) else self.values,
            [self.texts[row] for row in places] if self.texts else [],
            self.rows[rows] if len(self.rows) else self.rows,
        )

    def cut(self, begin: int, end: int) -> Taken:
        """Cut events out."""
        return Taken(
            self.buckets[begin:end],
            self.keys[begin:end],
            self.groups[begin:end],
            self.values[begin:end],
            self.texts[begin:end],
            self.rows[begin:end],
        )

    def with_more(self, more: Taken) -> Taken:
        """Join these and more, in this order, to wait for other batches."""
        return Taken(
            np.concatenate([self.buckets, more.buckets]),
            self.keys + more.keys,
            self.groups + more.groups,
            np.concatenate([self.values, more.values]),
            self.texts + more.texts,
            self.rows[:0],
        )

    def state(self) -> State:
        """``waiting``, ``waiting_for``, and what else is asked for."""
        return {
            "waiting": pack_texts(self.keys),
            "waiting_for": self.buckets.copy(),
            **({"waiting_groups": pack_texts(self.groups)} if self.groups else {}),
            **({"waiting_values": self.values.copy()} if len(self.values) else {}),
            **({"waiting_texts": pack_texts(self.texts)} if self.texts else {}),
        }

    @classmethod
    def read(cls, state: State, asked: Asked, least: int) -> Taken:
        """Read what ``state`` gave; ``least``: no bucket is before it.

        Raises ``StateMismatchError`` where it is none of such a monitor.
        """
        keys = [key for key in unpack_texts(read_branch(state, "waiting")) if key is not None]
        count = len(keys)
        groups: list[str | None] = []
        texts: list[str | None] = []
        values = np.empty(0)
        if count and asked.over is not None:
            groups = unpack_texts(read_branch(state, "waiting_groups"))
        if count and asked.text is not None:
            texts = unpack_texts(read_branch(state, "waiting_texts"))
        if count and asked.number is not None:
            largest = LARGEST_VALUE
            values = read_array(state, "waiting_values", (count,), low=-largest, high=largest)
        known = [text for text in texts if text is not None]
        if len(groups) not in (0, count) or len(known) != (count if texts else 0):
            raise StateMismatchError("what waits for its bucket has not a value for each event")
        buckets = read_array(state, "waiting_for", (count,), np.int64, low=least)
        return cls(buckets, keys, groups, values, known, np.empty(0, dtype=np.int64))


@dataclass(frozen=True, slots=True)
class TakenRows:
    """Events that are counted, and how many could not be.

    Attributes:
        taken: the events.
        unusable: those that were to be counted but for what is missing in them.
    """

    taken: Taken
    unusable: int


def _texts(column: Sequence[str | None], rows: Sequence[int]) -> list[str]:
    """Pick texts that are there by their rows, each once and ascending."""
    if len(rows) == len(column):
        return cast("list[str]", list(column))
    return [column[row] or "" for row in rows]


def _picked(column: Sequence[str | None], places: list[int]) -> list[str | None]:
    return [column[place] for place in places]


def ahead_of(buckets: Int64, bucket: int, room: int) -> NDArray[np.bool_]:
    """(events,) which lie after a bucket: the first of them, as far as there is room."""
    ahead: NDArray[np.bool_] = buckets > bucket
    if int(ahead.sum()) > room:
        ahead &= np.cumsum(ahead) <= room
    return ahead
