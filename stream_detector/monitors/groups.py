"""Which keys are held against one another: those of the same value of another field."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from stream_detector.detectors.stored import read_branch
from stream_detector.errors import StateMismatchError
from stream_detector.events import Int64, State
from stream_detector.tables.texts import pack_texts, unpack_texts


class Groups:
    """The newest value of the field for each key. State: these, in the order of the keys.

    Keys of which no value is known are held against one another.
    """

    def __init__(self) -> None:
        self._names: list[str | None] = []
        self._codes: Int64 | None = None

    def learn(self, slots: Iterable[int], names: Sequence[str | None]) -> None:
        """Note the value that each event has, of the key in its slot."""
        for slot, name in zip(slots, names, strict=True):
            if name is not None:
                self._grow(slot + 1)
                if self._names[slot] != name:
                    self._names[slot] = name
                    self._codes = None

    def _grow(self, rows: int) -> None:
        if len(self._names) < rows:
            self._names += [None] * (rows - len(self._names))
            self._codes = None

    def forget(self, slots: Int64) -> None:
        """Forget what the slots held."""
        for slot in slots.tolist():
            if slot < len(self._names):
                self._names[slot] = None
                self._codes = None

    def codes(self, rows: int) -> Int64:
        """(rows,) equal numbers where keys are held against one another."""
        self._grow(rows)
        if self._codes is None:
            numbers: dict[str | None, int] = {None: 0}
            each = [numbers.setdefault(name, len(numbers)) for name in self._names]
            self._codes = np.array(each, dtype=np.int64)
        return self._codes[:rows]

    def state(self, slots: Int64) -> State:
        """The values, in the order of ``slots``."""
        self._grow(int(slots.max(initial=-1)) + 1)
        return {"groups": pack_texts([self._names[slot] for slot in slots.tolist()])}

    def restore(self, state: State, count: int) -> None:
        """Take the values of ``count`` keys in. Raises ``StateMismatchError``."""
        names = unpack_texts(read_branch(state, "groups"))
        if len(names) != count:
            raise StateMismatchError(f"{len(names)} groups for {count} keys")
        self._names, self._codes = names, None
