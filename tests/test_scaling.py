"""The running scaler: right moments, strange constants, and no number that poisons it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stream_detector.errors import StateMismatchError
from stream_detector.scaling import RunningScaler

ANY_NUMBER = st.floats(-1e100, 1e100, allow_nan=False) | st.just(np.nan)


def moments(scaler: RunningScaler) -> np.ndarray:
    return np.array([scaler.count, scaler.mean, scaler.deviation, scaler.low, scaler.high])


@given(
    matrix=hnp.arrays(np.float64, (50, 3), elements=st.floats(-1e6, 1e6) | st.just(np.nan)),
    size=st.integers(1, 50),
)
def test_moments_learnt_in_chunks_are_those_of_all_that_is_not_missing(
    matrix: np.ndarray, size: int
) -> None:
    scaler = RunningScaler(3)
    for start in range(0, 50, size):
        scaler.learn(matrix[start : start + size])
    for feature in range(3):
        known = matrix[~np.isnan(matrix[:, feature]), feature]
        expected = (
            [len(known), known.mean(), known.std(), known.min(), known.max()]
            if len(known)
            else [0, 0, 0, 0, 0]
        )
        np.testing.assert_allclose(moments(scaler)[:, feature], expected, rtol=1e-9, atol=1e-6)


def test_a_large_offset_does_not_eat_the_deviation() -> None:
    scaler = RunningScaler(1)
    rng = np.random.default_rng(0)
    for _ in range(100):
        scaler.learn(1e9 + rng.normal(0, 1, (256, 1)))
    assert scaler.deviation[0] == pytest.approx(1, rel=0.02)
    np.testing.assert_allclose(scaler.standardise(np.array([[1e9 + 5]])), [[5]], rtol=0.03)


@settings(max_examples=200)
@given(
    chunks=st.lists(hnp.arrays(np.float64, (4, 2), elements=ANY_NUMBER), max_size=6),
    half_life=st.sampled_from([None, 0.001, 10.0]),
    probe=hnp.arrays(np.float64, (3, 2), elements=ANY_NUMBER),
)
def test_no_number_makes_the_state_or_a_result_infinite_or_nan(
    chunks: list[np.ndarray], half_life: float | None, probe: np.ndarray
) -> None:
    scaler = RunningScaler(2, half_life)
    for chunk in chunks:
        scaler.learn(chunk)
    assert all(np.isfinite(array).all() for array in scaler.state().values())
    imputed = scaler.impute(probe)
    assert np.isfinite(imputed).all()
    standardised = scaler.standardise(imputed)
    assert (np.abs(standardised) <= 1e6).all()


def test_nothing_learnt_imputes_and_standardises_to_zero() -> None:
    scaler = RunningScaler(2)
    matrix = np.array([[np.nan, 3.0]])
    np.testing.assert_array_equal(scaler.impute(matrix), [[0, 3]])
    np.testing.assert_array_equal(scaler.standardise(scaler.impute(matrix)), [[0, 0]])
    scaler.learn(np.array([[np.nan, 3.0]] * 4))
    np.testing.assert_array_equal(scaler.standardise(np.array([[7.0, 3.0]])), [[0, 0]])


def test_a_missing_value_becomes_the_mean_and_stands_at_zero() -> None:
    scaler = RunningScaler(2)
    scaler.learn(np.array([[1.0, 10.0], [3.0, np.nan]]))
    matrix = np.array([[np.nan, np.nan], [4.0, 5.0]])
    imputed = scaler.impute(matrix)
    np.testing.assert_array_equal(imputed, [[2, 10], [4, 5]])
    assert scaler.standardise(imputed)[0].tolist() == [0, 0]
    assert np.isnan(matrix[0]).all()


def test_complete_rows_are_imputed_without_a_copy() -> None:
    matrix = np.ones((3, 2))
    assert RunningScaler(2).impute(matrix) is matrix


@pytest.mark.parametrize("constant", [0.0, 0.1, -300.0, 1e9, 1e-30, 1e100])
def test_a_constant_stands_at_zero_and_what_differs_from_it_is_strange(constant: float) -> None:
    scaler = RunningScaler(1)
    for _ in range(50):
        scaler.learn(np.full((256, 1), constant))
    assert abs(scaler.standardise(np.array([[constant]]))[0, 0]) < 0.01
    other = constant * 1.001 if constant else 1e-9
    assert abs(scaler.standardise(np.array([[other]]))[0, 0]) > 100


def test_with_a_half_life_the_old_fades_and_without_it_stays() -> None:
    fading, lasting = RunningScaler(1, half_life=100.0), RunningScaler(1)
    for scaler in (fading, lasting):
        scaler.learn(np.zeros((100, 1)))
        scaler.learn(np.ones((100, 1)))
    assert fading.mean[0] == pytest.approx(2 / 3)
    assert fading.count[0] == pytest.approx(150)
    assert lasting.mean[0] == pytest.approx(1 / 2)
    assert lasting.count[0] == 200
    assert [fading.low[0], fading.high[0]] == [0, 1]


def test_a_feature_that_stays_away_for_long_keeps_its_moments() -> None:
    scaler = RunningScaler(1, half_life=1.0)
    scaler.learn(np.array([[1.0], [3.0]]))
    for _ in range(50):
        scaler.learn(np.full((256, 1), np.nan))
    assert [scaler.mean[0], scaler.deviation[0], scaler.low[0]] == [2, 1, 1]
    assert scaler.standardise(np.array([[4.0]]))[0, 0] == 2


@given(rows=st.integers(1, 40), cut=st.integers(0, 40))
def test_standardised_rows_have_the_same_bits_alone_and_together(rows: int, cut: int) -> None:
    rng = np.random.default_rng(rows)
    scaler = RunningScaler(7)
    scaler.learn(rng.normal(size=(64, 7)) * 10.0 ** np.arange(7))
    matrix = rng.normal(size=(rows, 7))
    matrix[rng.random((rows, 7)) < 0.1] = np.nan
    parts = [scaler.standardise(scaler.impute(part)) for part in (matrix[:cut], matrix[cut:])]
    whole = scaler.standardise(scaler.impute(matrix))
    assert np.concatenate(parts).tobytes() == whole.tobytes()


@pytest.mark.parametrize("half_life", [None, 500.0])
def test_a_restored_scaler_goes_on_with_the_same_bits(half_life: float | None) -> None:
    rng = np.random.default_rng(1)
    scaler = RunningScaler(4, half_life)
    for _ in range(5):
        scaler.learn(rng.normal(size=(32, 4)))
    saved = scaler.state()
    restored = RunningScaler(4, half_life)
    restored.restore(saved)
    for _ in range(5):
        chunk = rng.normal(size=(32, 4))
        assert restored.standardise(chunk).tobytes() == scaler.standardise(chunk).tobytes()
        restored.learn(chunk)
        scaler.learn(chunk)
        assert moments(restored).tobytes() == moments(scaler).tobytes()
    again = RunningScaler(4, half_life)
    again.restore(saved)
    assert moments(again).tobytes() != moments(scaler).tobytes()


def test_a_state_or_a_chunk_of_another_width_is_refused() -> None:
    with pytest.raises(StateMismatchError, match="shape"):
        RunningScaler(3).restore(RunningScaler(4).state())
    with pytest.raises(ValueError, match="expected"):
        RunningScaler(3).learn(np.zeros((2, 4)))
