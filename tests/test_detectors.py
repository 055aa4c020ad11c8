"""Every promise of the ``Detector`` contract, checked on every detector of the registry."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest

from stream_detector.detectors.base import (
    BLOCK_ROWS,
    Detector,
    Rows,
    blocked_matmul,
    whole_blocks,
)
from stream_detector.detectors.registry import BUILT_IN, adapter, build_detector
from stream_detector.errors import StateMismatchError

FEATURES = 7
CHUNK = 256
LEARNER = {"kind": "classifier", "min_positives": 5, "replay": 5, "replay_rows": 2000}
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "autoencoder": {"kind": "autoencoder", "passes": 2},
    "autoencoder_denoising": {"kind": "autoencoder", "input_dropout": 0.2, "passes": 2},
    "classifier_before_labels": {"kind": "classifier", "replay_rows": 256},
    "classifier_over": {**LEARNER, "resampling": "over"},
    "classifier_under": {**LEARNER, "resampling": "under"},
    "classifier_none": LEARNER,
    "classifier_network": {**LEARNER, "trees": False},
    "classifier_rarity": {**LEARNER, "rarity": True},
    "river_trees": {
        "kind": "river",
        "model": "river.anomaly.HalfSpaceTrees",
        "parameters": {"n_trees": 25, "height": 6},
        "scaling": "minmax",
    },
    "river_classifier": {"kind": "river", "model": "river.linear_model.LogisticRegression"},
    "half_space_forest": {"kind": "half_space_forest", "half_life": 3000},
    "loda": {"kind": "loda", "half_life": 3000},
    "nearest_neighbours": {"kind": "nearest_neighbours", "half_life": 3000},
    "random_fourier": {"kind": "random_fourier", "half_life": 3000},
    "ensemble": {"kind": "ensemble", "half_life": 3000},
    "adaptive_ensemble": {"kind": "adaptive_ensemble", "half_life": 3000},
    "ensemble_without_autoencoder": {"kind": "ensemble", "autoencoder": False},
}
SUPERVISED = (
    "classifier_over",
    "classifier_under",
    "classifier_none",
    "classifier_network",
    "classifier_rarity",
    "river_classifier",
)
UNSUPERVISED = tuple(name for name in CONFIGURATIONS if name not in SUPERVISED)

every_detector = pytest.mark.parametrize("name", CONFIGURATIONS)


def build(name: str, seed: int = 0, features: int = FEATURES) -> Detector:
    config = adapter().validate_python(CONFIGURATIONS[name] | {"seed": seed})
    return build_detector(config, features)


def chunk(number: int, rows: int = CHUNK, features: int = FEATURES) -> tuple[Rows, np.ndarray]:
    """Correlated rows, 4 % of them shifted and labelled 1; a fifth of the labels is unknown."""
    random = np.random.default_rng([number, rows])
    labels = (random.random(rows) < 0.04).astype(float)
    common = random.normal(size=(rows, 1))
    standardised = 0.6 * common + 0.8 * random.normal(size=(rows, features))
    standardised[labels == 1, :2] += 4.0
    labels[random.random(rows) < 0.2] = np.nan
    return Rows(standardised * np.arange(1, features + 1) + 3.0, standardised), labels


def labels_for(name: str, labels: np.ndarray) -> np.ndarray | None:
    return None if name == "classifier_before_labels" else labels


def train(detector: Detector, name: str, chunks: range, rows: int = CHUNK) -> list[np.ndarray]:
    """Test, then train; the scores of each chunk."""
    scores = []
    for number in chunks:
        events, labels = chunk(number, rows)
        scores.append(detector.score(events))
        detector.learn(events, labels_for(name, labels))
    return scores


def leaves(state: Any, path: str = "") -> dict[str, Any]:
    """Every leaf of a state by its path."""
    if not isinstance(state, dict):
        return {path: state}
    assert all(isinstance(key, str) for key in state), path
    found = {}
    for key, value in state.items():
        found |= leaves(value, f"{path}/{key}")
    return found


def assert_same_state(left: Any, right: Any) -> None:
    left, right = leaves(left), leaves(right)
    assert left.keys() == right.keys()
    for path, value in left.items():
        if isinstance(value, np.ndarray):
            assert value.dtype == right[path].dtype
            assert value.tobytes() == right[path].tobytes(), path
        else:
            assert value == right[path], path


def size_of(state: Any) -> int:
    return sum(
        value.nbytes if isinstance(value, np.ndarray) else len(json.dumps(value))
        for value in leaves(state).values()
    )


def test_every_kind_of_the_registry_is_checked_here() -> None:
    assert {settings["kind"] for settings in CONFIGURATIONS.values()} == set(BUILT_IN)


@every_detector
def test_scoring_changes_nothing(name: str) -> None:
    detector = build(name)
    train(detector, name, range(6))
    before = copy.deepcopy(detector.state())
    events, _ = chunk(100)
    first = detector.score(events)
    assert_same_state(before, detector.state())
    np.testing.assert_array_equal(detector.score(events), first)


@every_detector
def test_scores_do_not_depend_on_how_the_rows_are_cut(name: str) -> None:
    detector = build(name)
    train(detector, name, range(6))
    events, _ = chunk(100, 1024)
    whole = detector.score(events)
    for size in (BLOCK_ROWS, 2 * BLOCK_ROWS, 256):
        parts = [
            detector.score(events.take(slice(start, start + size)))
            for start in range(0, 1024, size)
        ]
        assert np.concatenate(parts).tobytes() == whole.tobytes(), size


@every_detector
def test_a_row_scores_the_same_bits_in_a_partly_filled_block(name: str) -> None:
    detector = build(name)
    train(detector, name, range(6))
    events, _ = chunk(100, BLOCK_ROWS)
    whole = detector.score(events)
    for filled in (1, 3, 17, 31):
        features, standardised = events.features.copy(), events.standardised.copy()
        features[filled:], standardised[filled:] = 0.0, 0.0
        partly = detector.score(Rows(features, standardised))
        assert partly[:filled].tobytes() == whole[:filled].tobytes(), filled


@every_detector
def test_the_memory_layout_of_the_rows_does_not_matter(name: str) -> None:
    detector = build(name)
    train(detector, name, range(6))
    events, _ = chunk(100)
    other = Rows(np.asfortranarray(events.features), np.asfortranarray(events.standardised))
    assert detector.score(other).tobytes() == detector.score(events).tobytes()


@every_detector
def test_the_same_stream_twice_gives_the_same_bits(name: str) -> None:
    first, second = build(name), build(name)
    assert np.array(train(first, name, range(8))).tobytes() == (
        np.array(train(second, name, range(8))).tobytes()
    )
    assert_same_state(first.state(), second.state())


@every_detector
def test_another_seed_gives_another_model(name: str) -> None:
    if name == "river_classifier":
        pytest.skip("logistic regression draws nothing")
    first, second = build(name, seed=1), build(name, seed=2)
    train(first, name, range(6))
    train(second, name, range(6))
    events, _ = chunk(100)
    assert not np.array_equal(first.score(events), second.score(events))


@every_detector
def test_a_restored_detector_goes_on_with_the_same_bits(name: str) -> None:
    original = build(name)
    train(original, name, range(8), rows=32)
    train(original, name, range(8, 14))
    stored = original.state()
    kept = copy.deepcopy(stored)
    expected = train(original, name, range(14, 20))
    assert_same_state(kept, stored)  # what came later did not reach into the stored state

    restored = build(name)
    restored.restore(stored)
    assert_same_state(restored.state(), kept)
    assert np.array(train(restored, name, range(14, 20))).tobytes() == np.array(expected).tobytes()
    assert_same_state(restored.state(), original.state())
    used = build(name, seed=0)
    train(used, name, range(30, 34))
    used.score(chunk(14)[0])  # whatever it worked out beforehand belongs to its old state
    used.restore(stored)  # learning after a restore did not reach into the stored state either
    assert_same_state(used.state(), kept)
    assert used.score(chunk(14)[0]).tobytes() == expected[0].tobytes()


@every_detector
def test_an_untrained_detector_survives_save_and_restore(name: str) -> None:
    original, restored = build(name), build(name)
    train(restored, name, range(3))
    restored.restore(original.state())
    assert np.array(train(restored, name, range(4))).tobytes() == (
        np.array(train(original, name, range(4))).tobytes()
    )


@every_detector
def test_state_is_arrays_and_json_only(name: str) -> None:
    detector = build(name)
    for chunks in (range(0), range(6)):
        train(detector, name, chunks)
        for path, value in leaves(detector.state()).items():
            if isinstance(value, np.ndarray):
                assert value.dtype != object, path
            else:
                text = json.dumps(value, allow_nan=False)
                assert json.loads(text) == value, path
                assert type(json.loads(text)) is type(value), path


@every_detector
def test_memory_does_not_grow_with_the_stream(name: str) -> None:
    detector = build(name)
    rows = 64 if name.startswith("river") else CHUNK
    train(detector, name, range(50), rows)
    after_50 = size_of(detector.state())
    train(detector, name, range(50, 100), rows)
    assert size_of(detector.state()) <= after_50 + 1024


@every_detector
def test_scores_are_finite_for_extreme_values_before_and_after_learning_them(name: str) -> None:
    detector = build(name)
    events, labels = chunk(0)
    wild = events.take(slice(None))
    wild.features[:8] = 1e100
    wild.features[8:16] = -1e308
    wild.features[16:24] = 1e308
    wild.standardised[:8] = 1e150
    wild.standardised[8:16] = -1e308
    wild.standardised[16:24] = 5e-324
    assert np.isfinite(detector.score(wild)).all()
    for number in range(1, 6):
        train(detector, name, range(number, number + 1))
        assert np.isfinite(detector.score(wild)).all()
        detector.learn(wild, labels_for(name, labels))
        assert np.isfinite(detector.score(wild)).all()
    zero = np.zeros((CHUNK, FEATURES))
    for _ in range(5):
        detector.learn(Rows(zero, zero), labels_for(name, labels))
    assert np.isfinite(detector.score(wild)).all()
    assert np.isfinite(detector.score(Rows(zero, zero))).all()


@pytest.mark.parametrize(
    ("name", "clip"),
    [
        ("autoencoder", 10.0),
        ("loda", 10.0),
        ("nearest_neighbours", 10.0),
        ("random_fourier", 10.0),
        ("classifier_over", 20.0),
        ("river_classifier", 20.0),
    ],
)
def test_standardised_values_beyond_the_clip_count_as_the_clip(name: str, clip: float) -> None:
    detector, other = build(name), build(name)
    train(detector, name, range(6))
    train(other, name, range(6))
    events, labels = chunk(100)
    wild, tame = events.standardised.copy(), events.standardised.copy()
    wild[::3, 1], tame[::3, 1] = 1e150, clip
    wild[1::3, 2], tame[1::3, 2] = -clip - 0.01, -clip
    far, near = Rows(events.features, wild), Rows(events.features, tame)
    assert detector.score(far).tobytes() == other.score(near).tobytes()
    detector.learn(far, labels_for(name, labels))
    other.learn(near, labels_for(name, labels))
    assert_same_state(detector.state(), other.state())


@every_detector
def test_a_constant_stream_is_learnt_and_scored(name: str) -> None:
    detector = build(name)
    zero = np.zeros((CHUNK, FEATURES))
    labels = np.arange(CHUNK) % 2.0
    for _ in range(5):
        detector.learn(Rows(zero + 7.0, zero), labels_for(name, labels))
    assert np.isfinite(detector.score(Rows(zero + 7.0, zero))).all()
    assert np.isfinite(detector.score(Rows(zero + 8.0, zero + 1.0))).all()


@every_detector
def test_any_number_of_rows_is_learnt(name: str) -> None:
    detector = build(name)
    train(detector, name, range(6))
    before = copy.deepcopy(detector.state())
    events, labels = chunk(50)
    detector.learn(events.take(slice(0)), labels_for(name, labels[:0]))
    assert_same_state(detector.state(), before)
    for rows in (1, 17, 33):
        detector.learn(events.take(slice(rows)), labels_for(name, labels[:rows]))
    assert np.isfinite(detector.score(events)).all()


@every_detector
@pytest.mark.parametrize("features", [1, 2, 40])
def test_any_number_of_features_is_taken(name: str, features: int) -> None:
    detector = build(name, features=features)
    for number in range(3):
        events, labels = chunk(number, features=features)
        detector.learn(events, labels_for(name, labels))
    scores = detector.score(events)
    assert scores.shape == (CHUNK,)
    assert scores.dtype == np.float64
    assert np.isfinite(scores).all()
    assert len(np.unique(scores)) > 1 or name == "river_trees"


@pytest.mark.parametrize("name", UNSUPERVISED)
def test_planted_outliers_outrank_the_crowd(name: str) -> None:
    detector = build(name)
    random = np.random.default_rng(5)
    for _ in range(20):
        crowd = random.normal(size=(CHUNK, FEATURES))
        detector.learn(Rows(crowd, crowd))
    test = random.normal(size=(1024, FEATURES))
    planted = np.array([100, 500, 900])
    test[planted] = [[8.0] * FEATURES, [-8.0] * FEATURES, [9, -9] * 3 + [9]]
    scores = detector.score(Rows(test, test))
    assert (scores[planted] > np.quantile(np.delete(scores, planted), 0.99)).all()


@pytest.mark.parametrize("name", SUPERVISED)
def test_a_class_that_was_labelled_is_recognised(name: str) -> None:
    detector = build(name)
    train(detector, name, range(30))
    events, labels = chunk(100, 2048)
    scores = detector.score(events)
    assert np.quantile(scores[labels == 1], 0.2) > np.quantile(scores[labels == 0], 0.95)


@pytest.mark.parametrize("name", [name for name in CONFIGURATIONS if "river" not in name])
def test_contributions_name_the_feature_that_is_strange(name: str) -> None:
    if name == "random_fourier" or name.startswith("classifier"):
        pytest.skip("does not explain itself: see test_explanation")
    detector = build(name)
    random = np.random.default_rng(5)
    for _ in range(60):
        crowd = random.normal(size=(CHUNK, FEATURES))
        labels = np.zeros(CHUNK)
        strange = random.integers(FEATURES, size=10)
        crowd[np.arange(10), strange] = 7.0
        labels[:10] = 1.0
        detector.learn(Rows(crowd, crowd), labels_for(name, labels))
    test = random.normal(size=(256, FEATURES))
    strange = random.integers(FEATURES, size=256)
    test[np.arange(256), strange] = 7.0
    before = copy.deepcopy(detector.state())
    contributions = detector.contributions(Rows(test, test))  # type: ignore[attr-defined]
    assert contributions.shape == (256, FEATURES)
    assert np.isfinite(contributions).all()
    assert (contributions >= 0).all()
    assert (contributions.argmax(axis=1) == strange).mean() > 0.8
    assert_same_state(detector.state(), before)
    parts = [
        detector.contributions(Rows(test[at : at + 32], test[at : at + 32]))  # type: ignore[attr-defined]
        for at in range(0, 256, 32)
    ]
    assert np.concatenate(parts).tobytes() == contributions.tobytes()


@every_detector
def test_a_state_of_another_shape_is_refused(name: str) -> None:
    detector = build(name)
    train(detector, name, range(2))
    other = build(name, features=FEATURES + 1)
    if name in {"loda", "random_fourier"}:  # their state does not depend on the features
        with pytest.raises(StateMismatchError):
            other.restore({})
        return
    with pytest.raises(StateMismatchError):
        other.restore(detector.state())


def paths_of(name: str) -> list[str]:
    return list(leaves(build(name).state()))


@every_detector
def test_a_state_with_a_leaf_missing_is_refused(name: str) -> None:
    for path in paths_of(name):
        if path == "/score_regime":  # said for readers; follows from the counts
            continue
        detector = build(name)
        train(detector, name, range(1), rows=32)
        state = detector.state()
        *branches, leaf = path.strip("/").split("/")
        branch: Any = state
        for key in branches:
            branch = branch[key]
        del branch[leaf]
        with pytest.raises(StateMismatchError, match=leaf):
            detector.restore(state)


@pytest.mark.parametrize("inner", [1, 3, 20, 121])
@pytest.mark.parametrize("outer", [1, 7, 100])
def test_a_blocked_product_has_the_same_bits_however_many_rows(inner: int, outer: int) -> None:
    random = np.random.default_rng(inner * outer)
    left, right = random.normal(size=(256, inner)), random.normal(size=(inner, outer))
    whole = blocked_matmul(left, right)
    np.testing.assert_allclose(whole, left @ right, atol=1e-9)
    for start in range(0, 256, BLOCK_ROWS):
        part = blocked_matmul(left[start : start + BLOCK_ROWS], right)
        assert part.tobytes() == whole[start : start + BLOCK_ROWS].tobytes()
    padded = whole_blocks(left[:40])
    assert padded.shape == (64, inner)
    assert blocked_matmul(padded, right)[:32].tobytes() == whole[:32].tobytes()
