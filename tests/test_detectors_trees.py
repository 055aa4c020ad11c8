"""Boosted trees beside the network: the arrays are the trees, and the better one is heard."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from stream_detector.detectors import boosted_trees
from stream_detector.detectors.base import Rows
from stream_detector.detectors.boosted_trees import LEAST_NEW, NEW_SHARE, BoostedTrees
from stream_detector.detectors.classifier import Classifier
from stream_detector.detectors.mixture import HALF_LIFE_ROWS, Mixture
from stream_detector.errors import StateMismatchError
from stream_detector.explanation import Layout, contributions
from stream_detector.features.columns import FeatureGroup

FEATURES = 5


def both_high(random: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """A corner that no single feature gives away, 4 % of the rows."""
    values = random.normal(size=(count, FEATURES))
    return values, (values[:, 0] > 0.84) & (values[:, 1] > 0.84)


def test_the_arrays_give_what_scikit_learn_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    models = []

    class Noting(HistGradientBoostingClassifier):
        def fit(self, *arguments: object) -> object:
            models.append(self)
            return super().fit(*arguments)

    monkeypatch.setattr("sklearn.ensemble.HistGradientBoostingClassifier", Noting)
    random = np.random.default_rng(0)
    trees = BoostedTrees(FEATURES, 3000, seed=0)
    trees.learn(*both_high(random, 3000))
    (model,) = models
    probe = np.concatenate([both_high(random, 500)[0], np.full((1, FEATURES), 1e300)])
    expected = model.decision_function(np.clip(probe, -1e30, 1e30))
    np.testing.assert_allclose(trees.logits(probe), expected, rtol=1e-12)
    one_by_one = np.concatenate([trees.logits(row[None]) for row in probe])
    assert one_by_one.tobytes() == trees.logits(probe).tobytes()


def walked(trees: BoostedTrees, features: np.ndarray) -> np.ndarray:
    """The values of the leaves, by walking down every tree."""
    leaves = np.zeros((len(features), boosted_trees.TREES))
    for row, values in enumerate(features):
        for tree in range(boosted_trees.TREES):
            at = tree * boosted_trees.NODES
            while trees._first[at] != at:
                at = trees._first[at] + (values[trees._feature[at]] > trees._threshold[at])
            leaves[row, tree] = trees._value[at]
    return leaves


def test_a_walk_ends_in_the_same_leaves() -> None:
    """Also for values that are a threshold, and for those beyond all of them."""
    random = np.random.default_rng(5)
    trees = BoostedTrees(FEATURES, 3000, seed=0)
    trees.learn(*both_high(random, 3000))
    probe = both_high(random, 60)[0]
    probe[:30, 0] = random.choice(trees._threshold[np.isfinite(trees._threshold)], 30)
    probe[30:32] = -1e30
    probe[32:34] = 1e30
    expected = walked(trees, probe).sum(axis=1) + trees._base
    np.testing.assert_array_equal(trees.logits(probe), expected)
    restored = BoostedTrees(FEATURES, 3000, seed=0)
    restored.restore(trees.state())
    np.testing.assert_array_equal(restored.logits(probe), expected)


def test_a_state_with_more_trees_than_are_grown_now_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(7)
    monkeypatch.setattr(boosted_trees, "TREES", 2 * boosted_trees.TREES)
    earlier = BoostedTrees(FEATURES, 3000, seed=0)
    earlier.learn(*both_high(random, 3000))
    monkeypatch.undo()
    now = BoostedTrees(FEATURES, 3000, seed=0)
    now.restore(earlier.state())
    probe = both_high(random, 60)[0]
    np.testing.assert_array_equal(now.logits(probe), earlier.logits(probe))
    with pytest.raises(StateMismatchError):
        now.restore(earlier.state() | {"value": np.zeros(5)})


@pytest.mark.parametrize("child", [0, -1, 22, 500])
def test_arrays_that_are_no_trees_are_refused(child: int) -> None:
    """A snapshot's nodes that refer back would be walked for ever."""
    random = np.random.default_rng(6)
    trees = BoostedTrees(FEATURES, 3000, seed=0)
    trees.learn(*both_high(random, 3000))
    state = dict(trees.state())
    first = state["first"].copy()
    first[boosted_trees.NODES + 1] = boosted_trees.NODES + child
    with pytest.raises(StateMismatchError):
        trees.restore(state | {"first": first})


def test_they_are_fitted_when_enough_are_new_and_never_without_both_labels() -> None:
    random = np.random.default_rng(1)
    trees = BoostedTrees(FEATURES, 4000, seed=0)
    trees.learn(random.normal(size=(1000, FEATURES)), np.zeros(1000, dtype=bool))
    assert trees.fits == 0
    assert (trees.logits(np.zeros((3, FEATURES))) == 0).all()
    trees.learn(*both_high(random, 3000))
    assert trees.fits == 1
    for _ in range(10):
        trees.learn(*both_high(random, LEAST_NEW))
    assert trees.fits == 1 + 10 * LEAST_NEW // (4000 // NEW_SHARE + LEAST_NEW)


def test_the_mixture_follows_the_losses_of_late() -> None:
    random = np.random.default_rng(2)
    mixture = Mixture(0.75)
    assert mixture.share == 0.75
    positive = random.random(500) < 0.3
    right = np.where(positive, 3.0, -3.0)
    noise = random.normal(size=500)
    mixture.learn(right, noise, positive)
    assert mixture.share == 0.0
    for _ in range(int(3 * HALF_LIFE_ROWS / 500)):
        mixture.learn(noise, right, positive)
    assert mixture.share == 1.0
    whole, parts = Mixture(0.75), Mixture(0.75)
    whole.learn(noise, right, positive)
    for begin in range(0, 500, 50):
        cut = slice(begin, begin + 50)
        parts.learn(noise[cut], right[cut], positive[cut])
    np.testing.assert_allclose(whole.state()["losses"], parts.state()["losses"], rtol=1e-12)


def test_a_corrected_label_counts_in_the_next_fit() -> None:
    random = np.random.default_rng(4)
    values, positive = both_high(random, 1000)
    ids = np.arange(1, 1001)
    corrected = Classifier(FEATURES, replay=1, replay_rows=2000, min_positives=5)
    corrected.learn(Rows(values, values, ids), np.zeros(1000))
    assert corrected.score_scale == 0
    found = corrected.correct(np.append(ids[positive], 5000), np.ones(positive.sum() + 1))
    assert found.tolist() == [True] * int(positive.sum()) + [False]
    more, more_positive = both_high(random, 300)
    corrected.learn(Rows(more, more, np.zeros(300, dtype=np.int64)), more_positive.astype(float))
    assert corrected.state()["trees"]["fits"] == 1
    assert corrected.state()["trees"]["memory"]["positive"].sum() == (
        positive.sum() + more_positive.sum()
    )


def test_where_the_corner_is_what_counts_the_trees_are_heard_and_explain_it() -> None:
    random = np.random.default_rng(3)
    detector = Classifier(FEATURES, replay=2)
    for _ in range(40):
        values, positive = both_high(random, 256)
        detector.learn(Rows(values, values), positive.astype(float))
    assert detector.state()["trees"]["fits"] > 3
    values, positive = both_high(random, 2048)
    scores = detector.score(Rows(values, values))
    assert np.quantile(scores[positive], 0.05) > np.quantile(scores[~positive], 0.99)
    groups = [FeatureGroup(str(n), (n,), "numeric", None) for n in range(FEATURES)]
    layout = Layout.of(groups)
    first_two = [
        set(np.argsort(-contributions(detector, layout, Rows(row, row), np.zeros(FEATURES)))[:2])
        for row in values[positive][:30, None]
    ]
    assert sum(pair == {0, 1} for pair in first_two) >= 27
