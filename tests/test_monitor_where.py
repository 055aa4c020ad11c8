"""Which events a monitor counts (``where``): conditions, and that time goes on with the others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from stream_detector import ConfigurationError, Pipeline, load_config
from stream_detector.config import state_fingerprint
from stream_detector.monitors import MonitorEvents
from stream_detector.monitors.conditions import ConditionConfig
from stream_detector.monitors.rate import RateMonitor, RateMonitorConfig

HOUR = 3_600_000
START = 1_704_067_200_000
TEXT = {"status": ["ok", "declined", None, "500", "true"]}
NUMBERS = {"amount": np.array([10.0, 2000.0, np.nan, 1000.0, -5.0])}


@pytest.mark.parametrize(
    ("condition", "met"),
    [
        ({"field": "status", "any_of": ["declined", 500, True]}, [0, 1, 0, 1, 1]),
        ({"field": "status", "none_of": ["ok"]}, [0, 1, 1, 1, 1]),
        ({"field": "status", "missing": True}, [0, 0, 1, 0, 0]),
        ({"field": "status", "missing": False}, [1, 1, 0, 1, 1]),
        ({"field": "amount", "above": 1000}, [0, 1, 0, 0, 0]),
        ({"field": "amount", "below": 1000, "above": 0}, [1, 0, 0, 0, 0]),
    ],
)
def test_a_condition_names_the_events_that_count(condition: Any, met: list[int]) -> None:
    assert ConditionConfig(**condition).holds(TEXT, NUMBERS).astype(int).tolist() == met


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ({"field": "status"}, "give one of"),
        ({"field": "amount", "above": 5, "below": 5}, "nothing lies above"),
        ({"field": "status", "any_of": []}, "at least 1 item"),
    ],
)
def test_a_condition_that_says_nothing_is_refused(condition: Any, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        ConditionConfig(**condition)


def monitor_of(**settings: Any) -> RateMonitor:
    return RateMonitor(RateMonitorConfig(**{"name": "m", "key": "k", **settings}))


WHERE = [{"field": "status", "any_of": ["declined"]}]


@pytest.mark.parametrize("key", ["k", None])
def test_time_goes_on_with_events_that_do_not_count(key: str | None) -> None:
    monitor = monitor_of(key=key, where=WHERE)
    times = np.arange(6, dtype=np.int64) * HOUR // 2 + START
    events = MonitorEvents(
        times,
        times,
        text={"k": ["a", "a", "b", None, None, "a"], "status": ["declined", "ok"] * 3},
    )
    monitor.take(monitor.config.counted(events))
    assert monitor.due_ms == START + 3 * HOUR
    # What does not count makes no key known, and is none that lacks one.
    assert monitor.keys == (2 if key else 1)
    assert monitor.without_key == (1 if key else 0)
    assert monitor._history.actual[0, -2:].tolist() == [1.0, 0.0 if key else 1.0]


def document(**monitor: Any) -> dict[str, Any]:
    return {
        "name": "shop",
        "event": {"time": {"field": "t", "format": "unix_ms"}},
        "features": [{"categorical": "k", "encoding": "rarity"}],
        "monitors": [{"kind": "rate", "name": "orders", "key": "k", **monitor}],
    }


def test_the_pipeline_reads_what_conditions_ask_for() -> None:
    config = load_config(
        document(where=[*WHERE, {"field": "amount", "above": 100}, {"field": "x", "missing": True}])
    )
    pipeline = Pipeline(config)
    rows = [
        {"t": START, "k": "a", "status": "declined", "amount": 200},
        {"t": START, "k": "b", "status": "declined", "amount": 99},
        {"t": START, "k": "c", "status": "ok", "amount": 200},
        {"t": START, "k": "d", "status": "declined", "amount": 200, "x": 1},
        {"t": START, "k": "e", "status": "declined"},
    ]
    pipeline.process(rows)
    (monitor,) = pipeline._core.monitors.each
    assert monitor.keys == 1


def test_conditions_stand_in_the_fingerprint_only_where_there_are_any() -> None:
    plain, other = load_config(document()), load_config(document(where=WHERE))
    assert state_fingerprint(plain) != state_fingerprint(other)


def test_a_mistake_in_a_condition_has_its_place() -> None:
    with pytest.raises(ConfigurationError, match=r"monitors\[0\]\.where\[0\]"):
        load_config(document(where=[{"field": "status", "anyof": ["x"]}]))
