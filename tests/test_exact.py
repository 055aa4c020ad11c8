"""Exact sums of many numbers, against ``math.fsum``."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_detector.events import Float64
from stream_detector.monitors.exact import exact_sum

MOST = 20_000


def numbers(kind: str, count: int, seed: int) -> Float64:
    random = np.random.default_rng(seed)
    if kind == "counts":
        return random.poisson(1.0, count).astype(float)
    if kind == "rates":
        return random.lognormal(0, 2, count)
    if kind == "cancelling":
        half = random.normal(size=count // 2)
        return np.concatenate([half, -half, random.normal(size=count % 2) * 1e-30])
    spread = {"wide": (-40, 40), "widest": (-320, 200)}[kind]
    return random.normal(size=count) * 10.0 ** random.integers(*spread, count)


@settings(max_examples=60)
@given(
    kind=st.sampled_from(["counts", "rates", "cancelling", "wide", "widest"]),
    count=st.integers(0, MOST),
    seed=st.integers(0, 1000),
)
def test_a_sum_has_the_bits_of_fsum_in_any_order(kind: str, count: int, seed: int) -> None:
    values = numbers(kind, count, seed)
    kept = values.copy()
    expected = math.fsum(values.tolist())
    assert exact_sum(values) == expected
    assert exact_sum(values[::-1]) == expected
    assert np.array_equal(values, kept)


def test_nothing_and_next_to_nothing() -> None:
    assert exact_sum(np.empty(0)) == exact_sum(np.zeros(1000)) == 0.0
    assert exact_sum(np.full(1000, 5e-324)) == 1000 * 5e-324


def test_what_has_no_sum_is_as_fsum_has_it() -> None:
    assert exact_sum(np.array([math.inf, *range(1000)])) == math.inf
    assert math.isnan(exact_sum(np.array([math.nan, *range(1000)])))
    assert exact_sum(np.full(1000, 1e300)) == math.fsum([1e300] * 1000)
    with pytest.raises(OverflowError):
        exact_sum(np.full(1000, 1e308))
