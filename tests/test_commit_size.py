"""How large commits may be: what a lasting quota, an outage and light traffic make of it."""

from __future__ import annotations

import pytest

from stream_detector.commits.commit_size import MOST_SLICES, CommitSize

PATIENCE = 30.0


class QuotaBroker:
    """A broker that lets a burst through at once and holds back what follows, as Kafka's do.

    State: how many slices more it would take at once.
    """

    def __init__(self, slices_per_second: float, burst: float) -> None:
        self._rate, self._burst, self._room = slices_per_second, burst, burst

    def commit(self, count: int) -> float:
        """Seconds that a commit takes."""
        took = max(count - self._room, 0.0) / self._rate
        self._room = min(self._room - count + took * self._rate, self._burst)
        return took

    def idle(self, seconds: float) -> None:
        self._room = min(self._room + seconds * self._rate, self._burst)


def drain(bound: CommitSize, broker: QuotaBroker, waiting: int, most: int = 32) -> tuple[int, int]:
    """How many commits were written, and how many were too slow, until nothing waits."""
    written = doubts = 0
    while waiting:
        count = min(bound.most, most, waiting)
        took = broker.commit(count)
        if took > PATIENCE:
            doubts += 1
            bound.shrink(count, slow=True)
            broker.idle(PATIENCE)
            continue
        bound.grow(count, took)
        written, waiting = written + 1, waiting - count
        broker.idle(0.02)
    return written, doubts


@pytest.mark.parametrize("rate", [0.08, 0.3, 0.9])
@pytest.mark.parametrize("burst", [1, 4, 10])
def test_a_lasting_quota_is_found_out_a_few_times_and_no_more(rate: float, burst: float) -> None:
    """2,000 slices that wait; before, a doubt came with every third commit or so."""
    written, doubts = drain(CommitSize(PATIENCE), QuotaBroker(rate, burst), 2000)
    assert written > 60
    assert doubts <= 6


def test_a_single_outage_is_made_good_after_a_few_commits() -> None:
    bound = CommitSize(PATIENCE)
    bound.shrink(32, slow=True)
    assert bound.most == 8
    written = 0
    while bound.most < 32:
        bound.grow(bound.most, 0.05)
        written += 1
    assert written == 8


def test_each_slow_commit_makes_the_way_back_longer_until_all_is_well() -> None:
    bound = CommitSize(PATIENCE)
    ways = []
    for _ in range(3):
        bound.shrink(8, slow=True)
        written = 0
        while bound.most < 8:
            bound.grow(bound.most, 0.05)
            written += 1
        ways.append(written)
    assert ways == [8, 32, 128]
    while bound.most < MOST_SLICES:
        bound.grow(bound.most, 0.05)
    bound.shrink(8, slow=True)
    assert bound.most == 2
    for _ in range(8):
        bound.grow(bound.most, 0.05)
    assert bound.most == 8


def test_commits_that_are_not_full_say_nothing_of_larger_ones() -> None:
    bound = CommitSize(PATIENCE)
    bound.shrink(32, slow=False)
    for _ in range(100):
        bound.grow(3, 0.01)
    assert bound.most == 8


def test_commits_that_take_their_time_are_not_made_larger() -> None:
    bound = CommitSize(PATIENCE)
    bound.shrink(32, slow=False)
    for _ in range(100):
        bound.grow(8, PATIENCE / 4)
    assert bound.most == 8
