"""When a shard commits."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from stream_detector.daemon.commit_pacer import CommitPacer


def _shard(*, emits: bool = False, dirty: bool = True, full: bool = False) -> SimpleNamespace:
    return SimpleNamespace(emits=emits, dirty=dirty, full=full)


WRITTEN, PENDING = SimpleNamespace(pending=False), SimpleNamespace(pending=True)


def _paced(took: float) -> tuple[CommitPacer, float]:
    pace = CommitPacer(interval=1.0)
    pace.committed(took)
    return pace, time.monotonic()


@pytest.mark.parametrize(
    ("took", "gap"), [(0.001, 0.010), (0.010, 0.020), (0.5, 0.050)], ids=["quick", "usual", "slow"]
)
def test_alerts_wait_for_twice_as_long_as_a_commit_takes(took: float, gap: float) -> None:
    pace, now = _paced(took)
    assert not pace.due(_shard(emits=True), WRITTEN, now)
    assert pace.wait(_shard(emits=True), WRITTEN, now) == pytest.approx(gap, abs=0.005)
    assert pace.due(_shard(emits=True), WRITTEN, now + gap)
    assert pace.wait(_shard(emits=True), WRITTEN, now + 2 * gap) == 0


def test_without_alerts_the_interval_counts_and_an_idle_shard_does_not_commit() -> None:
    pace, now = _paced(0.001)
    assert not pace.due(_shard(), WRITTEN, now + 0.9)
    assert pace.due(_shard(), WRITTEN, now + 1.1)
    assert not pace.due(_shard(dirty=False), WRITTEN, now + 100)


def test_a_commit_that_was_not_written_is_tried_at_every_turn() -> None:
    pace, now = _paced(0.001)
    assert pace.due(_shard(), PENDING, now)
    assert 0 < pace.wait(_shard(), PENDING, now) <= 0.05


def test_what_fills_a_commit_does_not_wait() -> None:
    pace, now = _paced(0.001)
    assert pace.due(_shard(full=True), WRITTEN, now)
