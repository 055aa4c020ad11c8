"""Monitors say when what they found is over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from stream_detector.errors import StateMismatchError
from stream_detector.monitors import Monitor, MonitorEvents
from stream_detector.monitors.rate import RateMonitor, RateMonitorConfig
from stream_detector.monitors.silence import SilenceMonitor, SilenceMonitorConfig

MINUTE, HOUR = 60_000, 3_600_000
KEYS = ("a", "b", "c", "d")
DOWN, UP = 200 * HOUR, 208 * HOUR
"""Key b sends nothing from one to the other."""


def silence() -> Monitor:
    settings: dict[str, Any] = {"name": "silent", "key": "k", "season": "none", "bucket": "1h"}
    return SilenceMonitor(SilenceMonitorConfig(**settings))


def rate() -> Monitor:
    settings: dict[str, Any] = {"name": "rate", "key": "k", "season": "none", "bucket": "1h"}
    return RateMonitor(RateMonitorConfig(**settings))


def events(hours: int = 260) -> tuple[np.ndarray, list[str]]:
    """Each key by chance every five minutes."""
    random = np.random.default_rng(3)
    times, names = [], []
    for key in KEYS:
        own = np.cumsum(random.exponential(5 * MINUTE, hours * 14)).astype(np.int64)
        own = own[own < hours * HOUR]
        if key == "b":
            own = own[(own < DOWN) | (own >= UP)]
        times.append(own)
        names += [key] * len(own)
    joined = np.concatenate(times)
    order = np.argsort(joined, kind="stable")
    return joined[order], [names[at] for at in order.tolist()]


def follow(
    monitor: Monitor,
    *,
    cut: Callable[[], int] | None = None,
    stop: int | None = None,
    begin: int = 0,
) -> tuple[list[tuple[int, str]], list[tuple[int, str]]]:
    """What was found, and what was over, with the rows."""
    times, names = events()
    found: list[tuple[int, str]] = []
    back: list[tuple[int, str]] = []
    row, last = begin, stop or len(times)
    while row < last:
        end = min(last, row + (cut() if cut else 1000))
        part = MonitorEvents(times[row:end], times[row:end], text={"k": names[row:end]})
        for at, findings in monitor.take(part):
            found += [(row + at, one.key) for one in findings]
        back += [(row + at, key) for at, key in monitor.returned]
        row = end
    return found, back


def followed(make: Callable[[], Monitor]) -> Monitor:
    monitor = make()
    monitor.follows = True
    return monitor


@pytest.mark.parametrize("make", [silence, rate])
def test_what_was_found_of_a_key_is_over_when_it_is_back(make: Callable[[], Monitor]) -> None:
    times, _ = events()
    found, back = follow(followed(make))
    first = next(row for row, key in found if key == "b" and times[row] >= DOWN)
    over = next(row for row, key in back if key == "b" and row > first)
    assert DOWN < times[first] < UP
    assert UP <= times[over] < UP + 8 * HOUR
    if make is silence:
        assert times[over] == times[times >= UP][0] or times[over] < UP + HOUR


@pytest.mark.parametrize("make", [silence, rate])
def test_any_cut_says_the_same(make: Callable[[], Monitor]) -> None:
    sizes = np.random.default_rng(1)
    whole = follow(followed(make))
    assert follow(followed(make), cut=lambda: int(sizes.integers(1, 90))) == whole
    assert whole[1]


@pytest.mark.parametrize("make", [silence, rate])
def test_restored_in_between_it_says_the_same(make: Callable[[], Monitor]) -> None:
    times, _ = events()
    stop = int(np.searchsorted(times, DOWN + 5 * HOUR))
    whole, first, second = followed(make), followed(make), followed(make)
    expected = follow(whole)
    found, back = follow(first, stop=stop)
    second.restore(first.state(), int(times[stop - 1]))
    more = follow(second, begin=stop)
    assert (found + more[0], back + more[1]) == expected


def test_without_incidents_nothing_is_followed_and_states_are_as_they_were() -> None:
    monitor = rate()
    _, back = follow(monitor)
    assert back == []
    assert "followed" not in monitor.state()


def test_a_state_of_what_is_followed_that_makes_no_sense_is_refused() -> None:
    monitor = followed(rate)
    follow(monitor)
    state = dict(monitor.state())
    state["followed"] = {**state["followed"], "widths": np.array([0], dtype=np.int64)}
    with pytest.raises(StateMismatchError):
        followed(rate).restore(state, 10**12)
