"""Keys of which something was found, until they are as usual again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from stream_detector.detectors.stored import read_array, read_branch
from stream_detector.errors import StateMismatchError
from stream_detector.events import State
from stream_detector.monitors.base import Finding
from stream_detector.tables.texts import pack_texts, unpack_texts

_MOST_BUCKETS = 1000


class Followed:
    """Follows keys over the buckets in which each was found, the shortest of these.

    State: a number for each key that is followed; these are among those that are remembered.

    Attributes:
        row: row of the event that closes the next bucket.
    """

    def __init__(self) -> None:
        self.row = 0
        self._widths: dict[str, int] = {}
        self._returned: list[tuple[int, str]] = []

    def begin(self) -> Sequence[tuple[int, str]]:
        """A call begins; what it returns grows by the rows and keys that are back."""
        self.row, self._returned = 0, []
        return self._returned

    def look(
        self, findings: Sequence[Finding], bucket_ms: int, is_back: Callable[[str, int], bool]
    ) -> None:
        """A bucket has closed.

        Args:
            findings: what that showed.
            bucket_ms: its length.
            is_back: tells whether a key has been as usual for so many buckets.
        """
        fresh = {one.key: (one.end_ms - one.start_ms) // bucket_ms for one in findings}
        for key, width in fresh.items():
            self._widths[key] = min(width, self._widths.get(key, width))
        back = [
            key for key, width in self._widths.items() if key not in fresh and is_back(key, width)
        ]
        for key in back:
            del self._widths[key]
        self._returned += [(self.row, key) for key in sorted(back)]

    def state(self) -> State:
        """The keys and the buckets of each."""
        widths = np.array(list(self._widths.values()), dtype=np.int64)
        return {"keys": pack_texts(list(self._widths)), "widths": widths}

    def restore(self, state: State, most: int) -> None:
        """Take the state in. Raises ``StateMismatchError``."""
        keys = [key for key in unpack_texts(read_branch(state, "keys")) if key is not None]
        widths = read_array(state, "widths", (len(keys),), np.int64, low=1, high=_MOST_BUCKETS)
        self._widths = dict(zip(keys, widths.tolist(), strict=True))
        if not len(self._widths) == len(keys) <= most:
            raise StateMismatchError("keys that are followed repeat, or there are too many")
