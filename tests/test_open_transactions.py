"""How long open transactions have kept partitions from being read, and what is said of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from stream_detector.daemon.open_transactions import Stability
from stream_detector.events import TopicPartition
from stream_detector.telemetry.conditions import Conditions
from stream_detector.telemetry.health import HealthState
from stream_detector.telemetry.metrics import Metrics

ONE, TWO = TopicPartition("in", 0), TopicPartition("labels", 0)


class Broker:
    """Ends of two logs, and who is asked for how often."""

    def __init__(self) -> None:
        self.ends = {ONE: 100, TWO: 50}
        self.asked: list[TopicPartition] = []

    def log_end(self, source: TopicPartition) -> int:
        return self.ends[source]

    def open_transaction(self, source: TopicPartition) -> str:
        self.asked.append(source)
        return "producer id 7"


def parts() -> tuple[Broker, Any, Metrics, HealthState, Any]:
    broker, metrics = Broker(), Metrics()
    health = HealthState(broker_timeout_seconds=None)
    now = SimpleNamespace(seconds=1000.0)
    conditions = Conditions(metrics, health, clock=lambda: now.seconds)
    stability: Any = Stability(broker, metrics, conditions, lambda: now.seconds)  # type: ignore[arg-type]
    shards = [SimpleNamespace(sources=[ONE, TWO])]
    return broker, now, metrics, health, lambda stable: stability.look(shards, stable)


def age(metrics: Metrics, source: TopicPartition) -> float | None:
    labels = {"topic": source.topic, "partition": str(source.partition)}
    value: float | None = metrics.registry.get_sample_value(
        "stream_detector_last_stable_offset_age_seconds", labels
    )
    return value


def test_one_of_many_that_stands_is_said_and_leaves_the_worker_ready(caplog: Any) -> None:
    broker, now, metrics, health, look = parts()
    for _ in range(30):
        assert look({ONE: 100, TWO: 40}) == {ONE: 100, TWO: 50}
        now.seconds += 5
    assert (age(metrics, ONE), age(metrics, TWO)) == (0, 145)
    said = [r.getMessage() for r in caplog.records if "open there" in r.getMessage()]
    assert len(said) == 3  # after 10 s, 70 s and 130 s
    assert "topic labels, partition 0: nothing after offset 40 of 50" in said[0]
    assert "producer id 7" in said[0]
    assert broker.asked == [TWO] * 3
    assert not any("open there" in reason for reason in health.ready()[1])


def test_a_worker_with_nothing_else_is_not_ready_until_it_is_over() -> None:
    _, now, metrics, health, look = parts()
    for _ in range(20):
        look({ONE: 90, TWO: 40})
        now.seconds += 5
    assert any("open there" in reason for reason in health.ready()[1])
    look({ONE: 100, TWO: 50})
    assert not any("open there" in reason for reason in health.ready()[1])
    assert (age(metrics, ONE), age(metrics, TWO)) == (0, 0)


def test_transactions_that_come_and_go_are_no_matter(caplog: Any) -> None:
    broker, now, metrics, _, look = parts()
    for stable in range(90, 190, 2):
        broker.ends[ONE] = stable + 10
        look({ONE: stable, TWO: 50})
        now.seconds += 5
        assert age(metrics, ONE) == 0
    assert "open there" not in caplog.text
