"""Keys that a window remembers, their slots in its arrays, and the order of forgetting."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from stream_detector.detectors.stored import LARGEST_COUNT, read_array, read_branch, read_count
from stream_detector.errors import StateMismatchError
from stream_detector.events import Float64, Int64, State
from stream_detector.tables.texts import pack_texts, unpack_texts

LARGEST_CHUNK = 2048
"""Events between two calls of ``evict``, at most; as many keys may be above the limit."""

MOST_USES = 32
"""Uses of a key beyond these count no more: what was used daily a year ago must not stay."""

_FIRST_SLOTS = 16
_EVICTED_SHARE = 16
_HALVES_AFTER = 4
_FREE = np.iinfo(np.int64).max
_HALVINGS = np.array([math.log2(max(uses, 1)) for uses in range(MOST_USES + 1)])
"""By the number of uses, after how many halvings a key is worth one use."""


class KeyTable:
    """A dict from key to slot, and how often and when last each slot was used, counted in events.

    Where there are too many keys, those go that are worth least: their uses, of which an idle key
    is taken to have half after four times ``max_keys`` events, a quarter after eight, and so on
    (the value of LRFU: Lee et al. 2001, "LRFU: a spectrum of policies that subsumes the least
    recently used and least frequently used policies", with whole numbers of uses, so that it is
    the same however events are cut into calls). Among keys of equal use that is the least recently
    used; but keys that come once, however many, drive out no key with a history until it has been
    idle for twenty times ``max_keys`` events. Keys that come back as often as that one can.

    State: at most ``max_keys + LARGEST_CHUNK`` keys. Slot numbers are no part of it: nothing that
    a caller computes may depend on which slot a key has.

    Attributes:
        evicted: keys forgotten for want of room.
        version: is another once slots may have come to mean other keys; no part of the state.
    """

    def __init__(self, max_keys: int) -> None:
        self.max_keys = max_keys
        self.capacity = max_keys + LARGEST_CHUNK
        self.evicted = 0
        self.version = 0
        self._slots: dict[str, int] = {}
        self._keys: list[str] = []
        self._free: list[int] = []
        self._last_used: Int64 = np.full(self.rows_for(0), _FREE)
        self._uses: Int64 = np.zeros(self.rows_for(0), dtype=np.int64)
        self._events = 0

    def __len__(self) -> int:
        return len(self._slots)

    def rows_for(self, slots: int) -> int:
        """Rows of an array for ``slots`` slots: doubling from a small start up to the capacity."""
        rows = _FIRST_SLOTS
        while rows < slots:
            rows *= 2
        return min(rows, self.capacity)

    @property
    def rows(self) -> int:
        """Rows that arrays indexed by slot must have now."""
        return len(self._last_used)

    def slots_of(self, keys: Sequence[str]) -> Int64:
        """(keys,) int64: the slot of each; new keys get one.

        Raises:
            ValueError: more keys than a chunk can bring, ``evict`` was not called.
        """
        slots = self._slots
        found = np.fromiter(map(slots.get, keys, repeat(-1)), np.int64, len(keys))
        for position in np.flatnonzero(found < 0).tolist():
            key = keys[position]
            known = slots.get(key)  # new, but here a second time?
            found[position] = self._new_slot(key) if known is None else known
        return found

    def _new_slot(self, key: str) -> int:
        if self._free:
            slot = self._free.pop()
            self._keys[slot] = key
        else:
            slot = len(self._keys)
            if slot >= self.capacity:
                raise ValueError(
                    f"more than {self.capacity} keys: evict() belongs after {LARGEST_CHUNK} events"
                )
            self._keys.append(key)
            if slot >= self.rows:
                more = self.rows_for(slot + 1) - self.rows
                self._last_used = np.concatenate([self._last_used, np.full(more, _FREE)])
                self._uses = np.concatenate([self._uses, np.zeros(more, dtype=np.int64)])
        self._slots[key] = slot
        return slot

    @property
    def held(self) -> NDArray[np.bool_]:
        """(rows,) which slots have a key."""
        held: NDArray[np.bool_] = self._last_used != _FREE
        return held

    def find(self, key: str) -> int | None:
        """Return the slot of a key; None where it is not remembered. Nothing is changed."""
        return self._slots.get(key)

    def key_of(self, slot: int) -> str:
        """Return the key that has a slot."""
        return self._keys[slot]

    def touch(self, slots: Int64) -> None:
        """Note the slot that each of the events at hand, in their order, has used."""
        # Of a slot that comes twice the later number stays: NumPy assigns in order.
        self._last_used[slots] = np.arange(self._events, self._events + len(slots))
        np.add.at(self._uses, slots, 1)
        self._events += len(slots)

    def evict(self) -> Int64:
        """Forget the keys that are worth least where there are too many; the slots freed.

        A sixteenth more than needed goes at once, so that this is rare.
        """
        if len(self._slots) <= self.max_keys:
            return np.empty(0, dtype=np.int64)
        count = len(self._slots) - (self.max_keys - self.max_keys // _EVICTED_SHARE)
        freed = np.sort(self._least(count))
        self._last_used[freed] = _FREE
        self._uses[freed] = 0
        self.version += 1
        for slot in freed.tolist():
            del self._slots[self._keys[slot]]
            self._keys[slot] = ""
            self._free.append(slot)
        self.evicted += count
        return freed

    def _least(self, count: int) -> Int64:
        """(count,) slots of the keys that are worth least.

        No two slots share an event number, so who goes does not depend on the algorithm.
        """
        held = np.flatnonzero(self._last_used != _FREE)
        last_used = self._last_used[held]
        idle = (last_used - self._events) / (_HALVES_AFTER * self.max_keys)
        worth = _HALVINGS[np.minimum(self._uses[held], MOST_USES)] + idle
        limit = np.partition(worth, count - 1)[count - 1]
        below, level = np.flatnonzero(worth < limit), np.flatnonzero(worth == limit)
        oldest = level[np.argsort(last_used[level])[: count - len(below)]]
        least: Int64 = held[np.concatenate([below, oldest])]
        return least

    def state(self) -> tuple[State, Int64]:
        """The state, and the slots in its order (least recently used first)."""
        slots = np.fromiter(self._slots.values(), dtype=np.int64, count=len(self._slots))
        slots = slots[np.argsort(self._last_used[slots])]
        keys = self._keys
        return {
            "keys": pack_texts([keys[slot] for slot in slots.tolist()]),
            "last_used": self._last_used[slots],
            "uses": self._uses[slots],
            "events": self._events,
            "evicted": self.evicted,
        }, slots

    def restore(self, state: State) -> int:
        """Take the state in; its keys get the slots 0, 1, ... in its order.

        Returns:
            The number of keys.

        Raises:
            StateMismatchError: more keys than this table may hold, or keys that repeat.
        """
        keys = [key for key in unpack_texts(read_branch(state, "keys")) if key is not None]
        events, evicted = read_count(state, "events"), read_count(state, "evicted")
        last_used = read_array(state, "last_used", (-1,), np.int64, low=0, high=events - 1)
        if len(keys) > self.capacity:
            raise StateMismatchError(f"{len(keys)} keys, but room for {self.capacity}")
        # States of older versions do not say how often: the least recently used go first there.
        uses: Int64 = np.ones(len(last_used), dtype=np.int64)
        if "uses" in state:
            uses = read_array(state, "uses", (len(last_used),), np.int64, low=1, high=LARGEST_COUNT)
        slots = {key: slot for slot, key in enumerate(keys)}
        if not len(slots) == len(keys) == len(last_used):
            raise StateMismatchError("keys repeat, or there is not one last use for each")
        if (np.diff(last_used) <= 0).any():
            raise StateMismatchError("keys are not in the order of their last use")
        self._slots, self._keys, self._free = slots, keys, []
        self._last_used = np.full(self.rows_for(len(keys)), _FREE)
        self._last_used[: len(keys)] = last_used
        self._uses = np.zeros(self.rows, dtype=np.int64)
        self._uses[: len(keys)] = uses
        self._events, self.evicted = events, evicted
        self.version += 1
        return len(keys)


def grown(array: Float64, rows: int, fill: float) -> Float64:
    """``array`` with at least ``rows`` rows, the new ones filled with ``fill``."""
    if len(array) >= rows:
        return array
    result: NDArray[np.float64] = np.full((rows, *array.shape[1:]), fill)
    result[: len(array)] = array
    return result
