"""The last buckets of keys, kept bucket by bucket: sums over them run along memory."""

from __future__ import annotations

import numpy as np

from stream_detector.events import Float64

SLACK = 8
"""Buckets that the last ones move along in memory before they are put back: that costs most."""

_TERMS = 8
_AT_ONCE = 128
_KEYS = 4096  # as many sums as stay in a processor's cache


class Rings:
    """Columns of the last buckets by name, each (keys, buckets), the newest last.

    State: theirs; what the open bucket came to is put behind the last, and the first is forgotten.
    """

    def __init__(self, names: tuple[str, ...], buckets: int) -> None:
        """No key."""
        self._buckets, self._end = buckets, buckets
        self._wide = {name: np.zeros((buckets + SLACK, 0)) for name in names}

    def __getitem__(self, name: str) -> Float64:
        """(keys, buckets) view of a column."""
        ring: Float64 = self._wide[name][self._end - self._buckets : self._end].T
        return ring

    def grow(self, rows: int) -> None:
        """Have a row for each of so many keys, more than there are."""
        for name, wide in self._wide.items():
            self._wide[name] = np.zeros((len(wide), rows))
            self._wide[name][:, : wide.shape[1]] = wide

    def push(self, newest: dict[str, Float64]) -> None:
        """Put (keys,) a bucket behind the last ones of each column."""
        if self._end == self._buckets + SLACK:
            for wide in self._wide.values():
                wide[: self._buckets] = wide[SLACK:]
            self._end = self._buckets
        for name, wide in self._wide.items():
            wide[self._end] = newest[name]
        self._end += 1


def sums(ring: Float64) -> Float64:
    """(keys,) sums of (keys, buckets).

    Each is added up in the order of NumPy's pairwise summation along a row, whatever lies next to
    what in memory: eight partial sums up to 128 buckets, halves beyond.
    """
    rows = ring.T
    result = np.empty(rows.shape[1])
    for first in range(0, len(result), _KEYS):
        part = slice(first, first + _KEYS)
        result[part] = _pairwise(rows[:, part])
    return result


def _pairwise(rows: Float64) -> Float64:
    """(keys,) sums of (buckets, keys)."""
    count = len(rows)
    if count > _AT_ONCE:
        half = count // 2 - count // 2 % _TERMS
        return _pairwise(rows[:half]) + _pairwise(rows[half:])
    if count < _TERMS:
        return _added(rows[0].copy(), rows[1:])
    whole = count - count % _TERMS
    terms = _added(rows[:_TERMS].copy(), rows[_TERMS:whole].reshape(-1, _TERMS, rows.shape[1]))
    first = (terms[0] + terms[1]) + (terms[2] + terms[3])
    return _added(first + ((terms[4] + terms[5]) + (terms[6] + terms[7])), rows[whole:])


def _added(total: Float64, more: Float64) -> Float64:
    for each in more:
        total += each
    return total
