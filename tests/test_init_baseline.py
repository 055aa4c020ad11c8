"""``init`` holds an amount of money against a slow level of its subject's, and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stream_detector.inference import infer


def sample(number: str) -> list[dict[str, Any]]:
    random = np.random.default_rng(1)
    return [
        {
            "time": 1_600_000_000 + 300 * row,
            "customer_id": int(random.integers(40)),
            "terminal_id": int(random.integers(40)),
            number: round(float(random.lognormal(3.0, 1.0)), 2),
        }
        for row in range(600)
    ]


@pytest.mark.parametrize(("number", "slow"), [("amount", True), ("bytes", False)])
def test_money_gets_a_slow_baseline_in_the_window_of_whose_it_is(number: str, slow: bool) -> None:
    windows = [window for window, _ in infer(sample(number)).windows]
    assert {window["value"] for window in windows} == {number}
    assert [window["key"] for window in windows] == ["customer_id", "terminal_id"]
    assert ["baseline" in window["compute"] for window in windows] == [slow, False]
