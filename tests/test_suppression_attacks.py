"""Attempts to hide frauds behind suppression: decoys, times dated ahead, steps, floods of keys."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from stream_detector import Pipeline
from stream_detector.alerts import Admitted, Suppressor
from stream_detector.config.models.config import SuppressionConfig
from stream_detector.errors import StateMismatchError

HOUR = 3_600_000
MINUTE = 60_000
BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
CONFIGURATION = {
    "name": "payments",
    "event": {"time": {"field": "time", "format": "iso8601"}},
    "features": [{"numeric": "amount", "transform": "log"}],
    "threshold": {"budget": "1 %", "burn_in": 1000},
    "suppression": {"key": "card", "period": "1d"},
}


def payment(minute: float, card: str, amount: float) -> dict[str, Any]:
    return {
        "time": (BEGIN + timedelta(minutes=minute)).isoformat(),
        "card": card,
        "amount": amount,
    }


def ordinary(count: int) -> list[dict[str, Any]]:
    """A payment a minute, of a hundred cards."""
    random = np.random.default_rng(0)
    amounts = random.lognormal(4, 0.3, count).tolist()
    cards = random.integers(0, 100, count).tolist()
    rows = zip(cards, amounts, strict=True)
    return [payment(minute, f"c{card}", amount) for minute, (card, amount) in enumerate(rows)]


def alerts_of_the_victim(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    result = Pipeline(CONFIGURATION).process(events)
    raised = [events[row] for row in np.flatnonzero(result.raised)]
    assert sum(event["card"] == "victim" for event in raised) >= 22, "the frauds must be seen"
    return [alert for alert in result.alerts if alert["suppression"]["key"] == "victim"]


def frauds(first_minute: int) -> list[dict[str, Any]]:
    return [payment(first_minute + n, "victim", 20_000.0 + n) for n in range(22)]


def in_order(*parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted((row for part in parts for row in part), key=lambda row: row["time"])


def test_a_small_decoy_does_not_hide_large_frauds() -> None:
    decoy = payment(3900, "victim", 130.0)
    alerts = alerts_of_the_victim(in_order(ordinary(6000), [decoy], frauds(4200)))
    amounts = [alert["event"]["amount"] for alert in alerts]
    assert amounts[0] == 130.0, "the decoy must open a period, or nothing is attacked"
    assert amounts[1] == 20_000.0
    second = alerts[1]
    assert second["suppression"]["rarer_than"] == alerts[0]["rarity"]
    assert second["rarity"] > 10 * alerts[0]["rarity"]
    assert "rarer_than" not in alerts[0]["suppression"]
    assert len(alerts) <= 4, "what is as rare as the first fraud is held back as before"


def test_a_loud_event_dated_ahead_does_not_hide_the_frauds_of_the_next_hours() -> None:
    events = ordinary(6000)
    loud = payment(3900, "victim", 1e6)
    loud["time"] = (BEGIN + timedelta(minutes=3900, hours=40)).isoformat()
    events[3900:3900] = [loud]
    # The period is over by event time; had it begun 40 hours ahead, it would go on.
    later = 3901 + 25 * 60
    events[later:later] = frauds(later)
    alerts = alerts_of_the_victim(events)
    assert [alert["event"]["amount"] for alert in alerts][:2] == [1e6, 20_000.0]


def suppressor(max_keys: int = 10) -> Suppressor:
    return Suppressor(SuppressionConfig(key="k", period="1d", max_keys=max_keys), 3600.0)


def test_a_thousand_small_steps_pass_at_most_two_times_more_than_the_rarity_has_digits() -> None:
    tried = suppressor()
    passed = [
        tried.admit("k", n * MINUTE, n * MINUTE, rarity)
        for n, rarity in enumerate(np.geomspace(100, 1e9, 1000).tolist())
    ]
    admitted = [each for each in passed if each is not None]
    assert 9 <= len(admitted) <= 2 + 9
    assert sum(each.held for each in admitted) + len(admitted) <= 1000


def test_going_up_and_down_passes_no_more_often() -> None:
    tried = suppressor()
    passed = [tried.admit("k", n, n, rarity) for n, rarity in enumerate([10, 1e3] * 50)]
    assert [each for each in passed if each is not None] == [Admitted(0), Admitted(0, 10.0)]


def test_what_passes_does_not_prolong_the_period() -> None:
    tried = suppressor()
    tried.admit("k", 0, 0, 10.0)
    assert tried.admit("k", 23 * HOUR, 23 * HOUR, 1e4) == Admitted(0, 10.0)
    assert tried.admit("k", 24 * HOUR, 24 * HOUR, 10.0) == Admitted(0)


def test_a_flood_of_keys_makes_alerts_and_hides_none() -> None:
    tried = suppressor(max_keys=10)
    tried.admit("victim", 0, 0, 100.0)
    for number in range(1000):
        tried.admit(f"flood{number}", number, number, 1e9)
    assert tried.admit("victim", 2000, 2000, 100.0) == Admitted(0)
    assert len(tried.state()["until"]) == 10


@pytest.mark.parametrize("rarity", [19.9, 1.0, 1e-9])
def test_what_is_less_than_twice_as_rare_is_held_back(rarity: float) -> None:
    tried = suppressor()
    tried.admit("k", 0, 0, 10.0)
    assert tried.admit("k", 1, 1, rarity) is None


def test_the_more_have_passed_in_a_period_the_rarer_the_next_must_be() -> None:
    tried, last = suppressor(), 10.0
    tried.admit("k", 0, 0, last)
    for factor in (2, 4, 8, 10, 10, 10):
        assert tried.admit("k", 1, 1, last * factor * 0.99) is None
        assert tried.admit("k", 1, 1, last * factor) == Admitted(1, last)
        last *= factor
    assert tried.admit("k", 24 * HOUR, 24 * HOUR, 10.0) == Admitted(0)
    assert tried.admit("k", 25 * HOUR, 25 * HOUR, 20.0) == Admitted(0, 10.0), "a new period"


def test_the_end_of_a_slow_rise_is_seen_though_the_rise_has_alerted() -> None:
    tried = suppressor()
    rise = [tried.admit("k", n, n, rarity) for n, rarity in enumerate(np.geomspace(50, 90, 40))]
    assert sum(each is not None for each in rise) == 1
    assert tried.admit("k", 41, 41, 130.0) == Admitted(39, 50.0)


def test_a_restored_suppressor_goes_on_with_the_same_references() -> None:
    tried, restored = suppressor(), suppressor()
    tried.admit("k", 0, 0, 50.0)
    assert tried.admit("k", 1, 1, 100.0) == Admitted(0, 50.0)
    tried.admit("k", 1, 1, 60.0)
    state = tried.state()
    arrays = {name: state[name] for name in ("rarity", "passed")}
    restored.restore({**json.loads(json.dumps({"until": state["until"]})), **arrays})
    for each in (tried, restored):
        assert each.admit("k", 2, 2, 399.0) is None
        assert each.admit("k", 3, 3, 400.0) == Admitted(2, 100.0)


def test_a_period_of_a_state_without_passages_lets_through_what_is_ten_times_as_rare() -> None:
    tried = suppressor()
    tried.restore({"until": [["k", 24 * HOUR, 3]], "rarity": np.array([10.0])})
    assert tried.admit("k", HOUR, HOUR, 99.0) is None
    assert tried.admit("k", HOUR, HOUR, 100.0) == Admitted(4, 10.0)


@pytest.mark.parametrize("passed", [[-1], [4], [0, 0], [0.5]])
def test_passages_that_make_no_sense_are_refused(passed: list[float]) -> None:
    state = {"until": [["k", HOUR, 0]], "rarity": np.array([10.0])}
    with pytest.raises(StateMismatchError):
        suppressor().restore({**state, "passed": np.array(passed)})


def test_a_period_of_an_older_state_ends_before_anything_passes() -> None:
    tried = suppressor()
    tried.restore({"until": [["k", 24 * HOUR, 3]]})
    assert tried.admit("k", HOUR, HOUR, 1e9) is None
    assert tried.admit("k", 24 * HOUR, 24 * HOUR, 10.0) == Admitted(4)
