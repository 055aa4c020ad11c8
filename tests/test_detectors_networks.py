"""Traps of scikit-learn's networks, of refusing rows, and of rare late labels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.neural_network import MLPClassifier, MLPRegressor

from stream_detector.detectors.autoencoder import Autoencoder
from stream_detector.detectors.base import Rows
from stream_detector.detectors.classifier import Classifier
from stream_detector.detectors.experience_replay import BATCH_ROWS, ReplayBuffer
from stream_detector.detectors.mlp import FLUSH_EVERY, OnlineNetwork, adam

FEATURES = 6
TINY = np.finfo(np.float64).tiny


def rows(standardised: np.ndarray) -> Rows:
    return Rows(standardised, standardised)


def correlated(random: np.random.Generator, count: int) -> np.ndarray:
    """Two hidden causes behind six features."""
    causes = random.normal(size=(count, 2))
    mixing = np.random.default_rng(0).normal(size=(2, FEATURES)) / math.sqrt(2)
    return causes @ mixing + 0.1 * random.normal(size=(count, FEATURES))


def labelled(random: np.random.Generator, count: int, share: float) -> tuple[Rows, np.ndarray]:
    labels = (random.random(count) < share).astype(float)
    values = random.normal(size=(count, FEATURES))
    values[labels == 1, 0] += 2.0
    return rows(values), labels


@pytest.mark.parametrize("kind", ["tanh", "relu", "one output", "classifier"])
def test_a_step_has_the_bits_of_scikit_learns_partial_fit(kind: str) -> None:
    """Two hundred steps of batches of any size; then the same weights and the same moments."""
    random = np.random.default_rng(2)
    settings = adam(learning_rate_init=0.01, alpha=0.003, hidden_layer_sizes=(7, 3))
    settings["activation"] = "relu" if kind in ("relu", "classifier") else "tanh"
    of = MLPClassifier if kind == "classifier" else MLPRegressor
    outputs = 1 if kind in ("one output", "classifier") else FEATURES
    network = OnlineNetwork(of(**settings), [FEATURES, 7, 3, outputs], seed=5)
    theirs = of(**settings)
    for step in range(200):
        inputs = random.normal(size=(int(random.integers(1, 600)), FEATURES))
        if kind == "classifier":
            targets = (inputs[:, 0] > 0.3).astype(float)
        else:
            targets = np.sin(inputs[:, :outputs])
        if step == 0:  # fitted once, so that it has arrays; then made the same as ours
            begin_like(theirs, network, inputs, targets)
        theirs.batch_size = len(inputs)
        theirs.partial_fit(inputs, targets.ravel() if outputs == 1 else targets)
        network.step(inputs, targets)
    state = network.state()
    weights = [*theirs.coefs_, *theirs.intercepts_]
    moments = [*theirs._optimizer.ms, *theirs._optimizer.vs]
    np.testing.assert_array_equal(state["weights"], np.concatenate([w.ravel() for w in weights]))
    np.testing.assert_array_equal(state["moments"], np.concatenate([m.ravel() for m in moments]))
    assert (state["steps"], state["rows"]) == (theirs._optimizer.t, theirs.t_)


def begin_like(
    theirs: Any, network: OnlineNetwork, inputs: np.ndarray, targets: np.ndarray
) -> None:
    """Give a network of scikit-learn's the weights of ours, before either has learnt anything."""
    theirs.batch_size = len(inputs)
    if isinstance(theirs, MLPClassifier):
        theirs.partial_fit(inputs, targets, classes=[0.0, 1.0])
    else:
        theirs.partial_fit(inputs, targets.ravel() if targets.shape[1] == 1 else targets)
    given = network.state()["weights"]
    start = 0
    for array in (*theirs.coefs_, *theirs.intercepts_):
        array[...] = given[start : start + array.size].reshape(array.shape)
        start += array.size
    for moment in (*theirs._optimizer.ms, *theirs._optimizer.vs):
        moment[...] = 0.0
    theirs._optimizer.t = theirs.t_ = 0


def test_a_pass_is_one_step_on_all_rows() -> None:
    detector = Autoencoder(FEATURES, passes=3)
    random = np.random.default_rng(0)
    for _ in range(4):
        detector.learn(rows(random.normal(size=(256, FEATURES))))
    state = detector.state()["network"]
    assert state["steps"] == 12  # one minibatch a pass, not 200 rows and the rest
    assert state["rows"] == 4 * 3 * 256


def test_weights_that_are_not_finite_are_said() -> None:
    detector = Autoencoder(FEATURES, learning_rate=1e300, passes=5)
    with np.errstate(all="ignore"), pytest.raises(ValueError, match="diverged"):
        detector.learn(rows(np.full((32, FEATURES), 9.0)))


def test_the_forward_pass_is_that_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    detector = Autoencoder(FEATURES)
    classifier = Classifier(FEATURES, min_positives=1, replay=1, trees=False)
    for _ in range(20):
        events, labels = labelled(random, 256, 0.3)
        detector.learn(events)
        classifier.learn(events, labels)
    events, _ = labelled(random, 64, 0.3)
    reconstructed = detector._network._model.predict(events.standardised)
    error = np.log(((reconstructed - events.standardised) ** 2).mean(axis=1))
    np.testing.assert_allclose(detector.score(events), error, rtol=1e-9)
    probability = classifier._network._model.predict_proba(events.standardised)[:, 1]
    shown = 1 / (1 + np.exp(-classifier.score(events)))
    np.testing.assert_allclose(shown, probability, rtol=0.05)  # "none" corrects next to nothing


def test_a_feature_that_stands_still_leaves_no_denormal_numbers_behind() -> None:
    random = np.random.default_rng(0)
    detector = Autoencoder(FEATURES, alpha=0.0)
    network = detector._network
    detector.learn(rows(random.normal(size=(32, FEATURES))))
    for moment in (network._first_moment, network._second_moment):
        moment[np.abs(moment) > 0] = 1e-200  # as if its feature had stood still for long
    still = np.zeros((32, FEATURES))
    for _ in range(40 * FLUSH_EVERY):
        detector.learn(rows(still))
    for values in (network._all, network._first_moment, network._second_moment):
        assert not ((values != 0) & (np.abs(values) < TINY)).any()


def test_relations_between_features_are_learnt() -> None:
    random = np.random.default_rng(1)
    detector = Autoencoder(FEATURES, learning_rate=0.01, hidden=[8, 2, 8])
    for _ in range(150):
        detector.learn(rows(correlated(random, 256)))
    broken = correlated(random, 512)
    broken = np.column_stack([random.permutation(column) for column in broken.T])
    usual = detector.score(rows(correlated(random, 512)))
    assert (detector.score(rows(broken)) > np.quantile(usual, 0.8)).mean() > 0.8


def test_the_strangest_rows_are_not_learnt_once_enough_were_seen() -> None:
    random = np.random.default_rng(2)
    refusing = Autoencoder(FEATURES, learning_rate=0.03)
    plain = Autoencoder(FEATURES, learning_rate=0.03, refuse_share=0.0)
    for _ in range(4):  # 1,024 rows: everything is learnt
        crowd = random.normal(size=(256, FEATURES))
        refusing.learn(rows(crowd))
        plain.learn(rows(crowd))
    first = rows(random.normal(size=(256, FEATURES)))
    assert refusing.score(first).tobytes() == plain.score(first).tobytes()
    attack = np.full((12, FEATURES), 6.0) * np.array([1, -1] * (FEATURES // 2))
    for _ in range(60):
        crowd = random.normal(size=(256, FEATURES))
        crowd[40:52] = attack
        accepted = refusing._accepted(rows(crowd))
        assert accepted.sum() == 256 - 12
        assert not accepted[40:52].any()
        refusing.learn(rows(crowd))
        plain.learn(rows(crowd))
    probe = rows(np.repeat(attack[:1], 32, axis=0))
    assert refusing.score(probe)[0] > plain.score(probe)[0] + 0.5


@pytest.mark.parametrize("resampling", ["none", "over", "under"])
def test_probabilities_are_corrected_for_the_resampling(resampling: str) -> None:
    random = np.random.default_rng(3)
    detector = Classifier(
        FEATURES, resampling=resampling, positive_share=0.3, replay=2, trees=False, alpha=0.001
    )
    for _ in range(300):
        detector.learn(*labelled(random, 256, 0.03))
    events, labels = labelled(random, 64 * 256, 0.03)
    probability = 1 / (1 + np.exp(-detector.score(events)))
    assert probability.mean() == pytest.approx(labels.mean(), rel=0.5)


def test_the_classifier_takes_over_once_and_says_so() -> None:
    random = np.random.default_rng(4)
    detector = Classifier(FEATURES, min_positives=20)
    events, _ = labelled(random, 256, 0.0)
    detector.learn(events)
    fallback = detector.score(events)
    assert fallback.std() > 0  # LODA has learnt the unlabelled chunk
    assert detector.score_scale == 0
    positives = np.ones(256)
    detector.learn(events, positives)
    assert detector.score_scale == 0  # 256 positives and no negative teach no boundary
    labels = np.full(256, np.nan)
    labels[:19] = 0.0
    detector.learn(events, labels)
    assert detector.score_scale == 0
    labels[:] = np.nan
    labels[:1] = 0.0
    detector.learn(events, labels)
    assert detector.score_scale == 1
    assert detector.state()["score_regime"] == 1
    restored = Classifier(FEATURES, min_positives=20)
    restored.restore(detector.state())
    assert restored.score_scale == 1


def test_unknown_labels_teach_the_network_nothing() -> None:
    random = np.random.default_rng(5)
    detector = Classifier(FEATURES)
    before = detector.state()["network"]["weights"]
    events, _ = labelled(random, 256, 0.1)
    detector.learn(events, np.full(256, np.nan))
    detector.learn(events, None)
    np.testing.assert_array_equal(detector.state()["network"]["weights"], before)


@pytest.mark.parametrize(
    ("resampling", "share", "size"), [("none", 0.05, 256), ("over", 0.2, 256), ("under", 0.2, 65)]
)
def test_a_replayed_batch_has_the_share_of_positives_that_is_asked_for(
    resampling: str, share: float, size: int
) -> None:
    buffer = ReplayBuffer(1, 2000, 20, resampling, 0.2, seed=0)
    inputs = np.arange(2000.0)[:, None]
    positive = inputs[:, 0] < 100
    buffer.add(inputs, positive)
    batches = []
    while (batch := buffer.next_batch()) is not None:
        batches.append(batch)
    assert len(batches) == 2000 * 20 // BATCH_ROWS
    for drawn, labels in batches:
        assert (labels == (drawn[:, 0] < 100)).all()
    labels = np.concatenate([labels for _, labels in batches])
    assert labels.mean() == pytest.approx(share, rel=0.15)
    assert len(labels) / len(batches) == pytest.approx(size, rel=0.15)
    assert set(np.concatenate([drawn for drawn, _ in batches])[labels, 0]) == set(range(100))


@given(st.lists(st.integers(0, 700), max_size=6))
def test_the_replay_holds_the_newest_rows(counts: list[int]) -> None:
    buffer = ReplayBuffer(1, 300, 1, "none", 0.1, seed=0)
    values = np.arange(sum(counts), dtype=float)[:, None]
    start = 0
    for count in counts:
        buffer.add(values[start : start + count], np.zeros(count, dtype=bool))
        start += count
    assert sorted(buffer.state()["memory"]["rows"][:, 0]) == values[-300:, 0].tolist()


def test_a_long_batch_of_labels_is_learnt_in_bounded_steps() -> None:
    random = np.random.default_rng(6)
    detector = Classifier(FEATURES, replay=2)
    detector.learn(*labelled(random, 5000, 0.1))
    assert detector.state()["network"]["steps"] == 2 * 5000 // BATCH_ROWS
    assert detector._network.rows_learnt == 2 * 5000 // BATCH_ROWS * BATCH_ROWS
