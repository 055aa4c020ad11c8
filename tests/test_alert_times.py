"""How late alerts are, by part of the way: what is counted, and that nothing of it grows."""

from __future__ import annotations

import sys

import pytest

from stream_detector.commits.alert_times import AlertTimes, Arrivals, stages
from stream_detector.events import NO_TIMESTAMP, TopicPartition
from stream_detector.messages import Outgoing
from stream_detector.telemetry.metrics import Metrics

SOURCE, OTHER = TopicPartition("events", 0), TopicPartition("events", 1)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def alert(offset: int, recorded_ms: int | None, source: TopicPartition = SOURCE) -> Outgoing:
    return Outgoing(source, offset, None, b"{}", [], None, recorded_ms=recorded_ms)


def test_each_alert_has_the_time_of_the_poll_that_brought_its_record() -> None:
    clock = Clock()
    arrivals = Arrivals(clock)
    arrivals.polled(SOURCE, 9)
    clock.now += 1
    arrivals.polled(SOURCE, 19)
    arrivals.polled(OTHER, 5)
    clock.now += 1
    some = [alert(9, 999_000), alert(10, 999_500), alert(2, NO_TIMESTAMP, OTHER), alert(3, None)]
    assert arrivals.decided(some) == [
        AlertTimes(999.0, 1000.0, 1002.0),
        AlertTimes(999.5, 1001.0, 1002.0),
        AlertTimes(None, 1001.0, 1002.0),
    ]
    # Of what is committed nothing is known any more; the rest of a poll keeps its time.
    arrivals.forget_before({SOURCE: 15, OTHER: 6})
    assert arrivals.decided([alert(15, 0)]) == [AlertTimes(0.0, 1001.0, 1002.0)]
    assert arrivals.decided([alert(3, 0, OTHER)]) == []


def test_polls_that_nothing_commits_are_remembered_up_to_a_bound() -> None:
    clock = Clock()
    arrivals = Arrivals(clock)
    for last in range(100_000):
        clock.now = float(last)
        arrivals.polled(SOURCE, last)
    held = arrivals._ends[SOURCE]
    assert len(held) == len(arrivals._times[SOURCE]) <= 4096
    assert sys.getsizeof(held) < 100_000
    # Of what was forgotten no time is made up.
    assert arrivals.decided([alert(50_000, 0)]) == []
    assert arrivals.decided([alert(held[0], 0), alert(99_999, 0)]) == [
        AlertTimes(0.0, float(held[0]), 99_999.0),
        AlertTimes(0.0, 99_999.0, 99_999.0),
    ]


def test_the_parts_of_the_way_add_up_and_clocks_that_differ_count_as_nothing() -> None:
    spent = stages([AlertTimes(10.0, 10.5, 11.5), AlertTimes(None, 12.0, 12.5)], 13.0, 13.25)
    assert spent == {
        "arrival": [0.5],
        "decision": [1.0, 0.5],
        "wait": [1.5, 0.5],
        "commit": [0.25, 0.25],
        "all": [3.25],
    }
    assert spent["all"][0] == sum(spent[part][0] for part in list(spent)[:4])
    ahead = stages([AlertTimes(20.0, 10.0, 10.0)], 10.0, 10.5)
    assert ahead["arrival"] == [0.0]
    assert ahead["all"] == [0.0]


def test_the_histogram_has_every_part_from_the_start() -> None:
    metrics = Metrics()
    name = "stream_detector_alert_latency_seconds"
    value = metrics.registry.get_sample_value
    for part in ("arrival", "decision", "wait", "commit", "all"):
        assert value(f"{name}_count", {"stage": part}) == 0
    metrics.latency.observe(stages([AlertTimes(10.0, 10.5, 11.5)], 13.0, 13.25))
    assert value(f"{name}_count", {"stage": "wait"}) == 1
    assert value(f"{name}_sum", {"stage": "all"}) == pytest.approx(3.25)
    assert value(f"{name}_bucket", {"stage": "commit", "le": "0.25"}) == 1
    assert value(f"{name}_bucket", {"stage": "commit", "le": "0.1"}) == 0
