"""Trimmed learning: what copies of an attack teach, and that a change of everything is learnt."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_detector.detectors.base import Rows
from stream_detector.detectors.ensemble import Ensemble
from stream_detector.detectors.random_fourier import RandomFourier
from stream_detector.detectors.trimming import (
    TRIM_AFTER_ROWS,
    TRIMMED_SHARE,
    TRIMMED_WEIGHT,
    Trimming,
    quantile,
)
from stream_detector.errors import StateMismatchError

CHUNK, FEATURES = 256, 6
PLACE = 5.0
"""Where in every feature the copies lie, in deviations."""


def chunk_of(random: np.random.Generator, copies: int, shift: float = 0.0) -> Rows:
    """A crowd around ``shift``, and copies of one row among it."""
    values = random.normal(shift, 1.0, (CHUNK, FEATURES))
    values[random.permutation(CHUNK)[:copies]] = PLACE
    return Rows(values, values)


def taught(copies: int, chunks: int = 60) -> Ensemble:
    """An ensemble after eight chunks of the crowd, and ``chunks`` with copies of an attack."""
    random = np.random.default_rng(3)
    ensemble = Ensemble(FEATURES, autoencoder=False)
    for number in range(8 + chunks):
        ensemble.learn(chunk_of(random, copies if number >= 8 else 0))
    return ensemble


def distance_left(ensemble: Ensemble) -> float:
    """How far the copies lie above the crowd's middle, in the score of the Fourier features."""
    member = RandomFourier(FEATURES)
    member.restore(ensemble.state()["fourier"])
    rows = chunk_of(np.random.default_rng(7), 8)
    copies = (rows.features == PLACE).all(axis=1)
    scores = member.score(rows)
    return float(scores[copies].mean() - np.median(scores[~copies]))


def test_all_rows_count_in_full_until_there_is_a_level() -> None:
    trimming, random = Trimming(), np.random.default_rng(0)
    for _ in range(TRIM_AFTER_ROWS // CHUNK):
        assert trimming.weights(random.normal(size=CHUNK)) is None
    weights = trimming.weights(random.normal(size=CHUNK))
    assert weights is not None
    assert set(weights.tolist()) == {1.0, TRIMMED_WEIGHT}


def test_about_a_fifth_of_ordinary_rows_is_trimmed() -> None:
    trimming, random = Trimming(), np.random.default_rng(1)
    weights = [trimming.weights(random.gamma(2.0, size=CHUNK)) for _ in range(40)][8:]
    trimmed = np.concatenate([each for each in weights if each is not None]) < 1.0
    assert trimmed.mean() == pytest.approx(TRIMMED_SHARE, abs=0.03)


def test_a_change_of_everything_is_learnt_in_full_again_soon() -> None:
    trimming, random = Trimming(), np.random.default_rng(2)
    for _ in range(20):
        trimming.weights(random.normal(size=CHUNK))
    first = trimming.weights(random.normal(50.0, 1.0, CHUNK))
    assert first is not None
    assert (first < 1.0).all()
    for _ in range(19):
        last = trimming.weights(random.normal(50.0, 1.0, CHUNK))
    assert last is None or (last == 1.0).mean() > 0.7


@pytest.mark.parametrize(("share", "least"), [(0.0, 3.0), (0.01, 2.0)])
def test_copies_of_an_attack_stay_far_from_the_crowd(share: float, least: float) -> None:
    assert distance_left(taught(int(share * CHUNK))) > least


def test_copies_beyond_the_breakdown_point_are_the_crowd(monkeypatch: pytest.MonkeyPatch) -> None:
    assert distance_left(taught(CHUNK // 3)) < 0
    monkeypatch.setattr(Trimming, "weights", lambda *_: None)
    assert distance_left(taught(CHUNK // 10)) < 0


def test_copies_that_are_a_twentieth_of_the_traffic_stay_above_the_crowd() -> None:
    random = np.random.default_rng(5)
    rows = chunk_of(random, 8)
    copies = (rows.features == PLACE).all(axis=1)
    scores = taught(CHUNK // 20).score(rows)
    assert scores[copies].min() > np.quantile(scores[~copies], 0.95)


def test_a_state_from_before_there_was_trimming_goes_on_without_a_level() -> None:
    ensemble = taught(0, chunks=2)
    state = ensemble.state()
    assert state["trimming"]["rows_seen"] == 9 * CHUNK  # the first chunk has no score
    old = {name: branch for name, branch in state.items() if name != "trimming"}
    restored = Ensemble(FEATURES, autoencoder=False)
    restored.restore(old)
    assert restored.state()["trimming"] == {"level": 0.0, "rows_seen": 0}
    rows = chunk_of(np.random.default_rng(9), 0)
    assert restored.score(rows).tobytes() == ensemble.score(rows).tobytes()
    restored.learn(rows)
    assert restored.state()["trimming"]["rows_seen"] == CHUNK


@pytest.mark.parametrize("broken", [{"level": float("nan")}, {"level": 1e9}, {"rows_seen": -1}])
def test_a_level_that_makes_no_sense_is_refused(broken: dict[str, float]) -> None:
    with pytest.raises(StateMismatchError):
        Trimming().restore({"level": 0.0, "rows_seen": 5} | broken)


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=70),
    st.one_of(st.just(1.0 - TRIMMED_SHARE), st.floats(0, 1, exclude_max=True)),
)
def test_the_quantile_is_numpys_to_the_bit(values: list[float], share: float) -> None:
    scores = np.array(values)
    assert quantile(scores, share) == float(np.quantile(scores, share))
