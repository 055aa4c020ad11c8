"""``init`` names the slow level that an amount of money can be held against, and leaves it out."""

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
def test_the_window_of_whose_money_it_is_names_the_slow_baseline(number: str, slow: bool) -> None:
    proposed = infer(sample(number)).windows
    assert {window["value"] for window, _ in proposed} == {number}
    assert [window["key"] for window, _ in proposed] == ["customer_id", "terminal_id"]
    assert ["`baseline`" in comment for _, comment in proposed] == [slow, False]
    assert not any("baseline" in window["compute"] for window, _ in proposed)
