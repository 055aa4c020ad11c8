"""Conditions that last: one line at once, one a minute, a gauge, not-ready, and a last word."""

from __future__ import annotations

import logging

import pytest

from stream_detector.log_fields import fields
from stream_detector.telemetry.conditions import Conditions
from stream_detector.telemetry.health import HealthState
from stream_detector.telemetry.metrics import Metrics


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def parts():
    clock, metrics = Clock(), Metrics()
    health = HealthState(broker_timeout_seconds=None)
    health.set_assigned()
    health.set_recovering(recovering=False)
    return clock, metrics, health, Conditions(metrics, health, clock=clock)


def missing(conditions: Conditions, about: str, *, blocking: bool = False) -> float:
    extra = fields("input-missing", stage="poll")
    text = f"the topic {about} is gone"
    return conditions.report("input_missing", about, text, extra=extra, blocking=blocking)


def gauge(metrics: Metrics) -> float | None:
    return metrics.registry.get_sample_value(
        "stream_detector_conditions", {"condition": "input_missing"}
    )


def test_a_condition_is_said_at_once_and_then_once_a_minute(parts, caplog):
    clock, _, _, conditions = parts
    caplog.set_level(logging.INFO)
    for tenth in range(1801):
        clock.now = tenth / 10
        missing(conditions, "in")
    assert [r.getMessage() for r in caplog.records] == [
        "the topic in is gone",
        "the topic in is gone (for 60 s)",
        "the topic in is gone (for 120 s)",
        "the topic in is gone (for 180 s)",
    ]


def test_it_is_counted_while_it_lasts_and_its_end_is_said(parts, caplog):
    clock, metrics, health, conditions = parts
    caplog.set_level(logging.INFO)
    assert gauge(metrics) == 0
    missing(conditions, "a")
    missing(conditions, "b")
    assert gauge(metrics) == 2
    assert health.ready() == (True, [])
    clock.now = 30.0
    conditions.keep("input_missing", ["b"])
    assert gauge(metrics) == 1
    assert "no longer: the topic a is gone (it lasted 30 s)" in caplog.text
    conditions.over("input_missing", "b")
    conditions.over("input_missing", "b")
    assert gauge(metrics) == 0
    assert caplog.text.count("no longer") == 2


def test_where_nothing_can_be_done_the_worker_is_not_ready_and_says_why(parts):
    _, _, health, conditions = parts
    missing(conditions, "a", blocking=True)
    assert health.ready() == (False, ["the topic a is gone"])
    missing(conditions, "a")
    assert health.ready() == (True, [])
    missing(conditions, "a", blocking=True)
    conditions.over("input_missing", "a")
    assert health.ready() == (True, [])
