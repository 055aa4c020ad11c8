"""Slices that a commit may hold: fewer after a doubt, more again while commits are quick."""

from __future__ import annotations

MOST_SLICES = 256
SMALLER = 4

_LONGEST_WAIT = 256
_QUICK_SHARE = 1 / (2 * SMALLER)
"""Of the time that a commit has: one that took less may be twice as large."""


class CommitSize:
    """Bound of one shard's commits, in slices.

    A broker's quota lets a first burst through and holds back what follows, so that one quick
    commit says little about one twice as large. Every commit that was too slow makes the way back
    longer: four times as many quick ones come before each doubling, until all is well again.

    State: the bound, how many quick commits a doubling takes, and how many there were.

    Attributes:
        most: so many slices at most.
    """

    def __init__(self, patience_seconds: float) -> None:
        """``patience_seconds``: how long a commit may take."""
        self._quick_seconds = patience_seconds * _QUICK_SHARE
        self.most = MOST_SLICES
        self._wait = 1
        self._quick = 0

    def shrink(self, count: int, *, slow: bool) -> None:
        """A commit of ``count`` slices has failed; ``slow``: for want of time."""
        self.most = max(count // SMALLER, 1)
        self._quick = 0
        if slow:
            self._wait = min(SMALLER * self._wait, _LONGEST_WAIT)

    def grow(self, count: int, took_seconds: float) -> None:
        """A commit of ``count`` slices was written; one that was not full says nothing of more."""
        if took_seconds >= self._quick_seconds:
            self._quick = 0
        elif count >= self.most:
            self._quick += 1
        if self._quick >= self._wait:
            self._quick, self.most = 0, min(2 * self.most, MOST_SLICES)
        if self.most == MOST_SLICES:
            self._wait = 1
