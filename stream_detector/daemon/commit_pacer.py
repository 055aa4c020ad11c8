"""Pace of a shard's commits: at once where somebody waits for an alert, not more than pays."""

from __future__ import annotations

import time

from stream_detector.commits.committer import Committer
from stream_detector.daemon.shard import Shard

_SHORTEST_GAP_SECONDS = 0.01
_LONGEST_GAP_SECONDS = 0.05
"""Alerts wait no longer than this for the commit, however slow commits are."""

_GAP_PER_COMMIT = 2.0
"""A gap of twice what the last commit took leaves two thirds of the time to the events. (What one
poll of a backlog brings keeps a shard busy for longer than any gap.)"""

_PENDING_SECONDS = 0.02
"""How soon a commit that was refused is tried again, with a membership of then."""


class CommitPacer:
    """Paces one shard's commits. State: time of the last one, gap until alerts may be committed."""

    def __init__(self, interval: float) -> None:
        """``interval``: the longest time between commits of a shard at work, in seconds."""
        self._interval = interval
        self._last = time.monotonic()
        self._gap = _LONGEST_GAP_SECONDS

    def committed(self, took: float) -> None:
        """A commit was written just now; ``took``: seconds that all of a worker's shards need."""
        self._last = time.monotonic()
        self._gap = min(max(_GAP_PER_COMMIT * took, _SHORTEST_GAP_SECONDS), _LONGEST_GAP_SECONDS)

    def due(self, shard: Shard, committer: Committer, now: float) -> bool:
        """Tell whether to commit; also where a commit is under way that was not written yet."""
        return committer.pending or self._left(shard, now) <= 0

    def wait(self, shard: Shard, committer: Committer, now: float) -> float:
        """Return how many seconds to wait for events at most, until a commit is due."""
        return _PENDING_SECONDS if committer.pending else max(self._left(shard, now), 0.0)

    def _left(self, shard: Shard, now: float) -> float:
        if shard.full:
            return 0.0
        if shard.emits:
            return self._last + self._gap - now
        return self._last + self._interval - now if shard.dirty else self._interval
