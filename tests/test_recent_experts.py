"""What the classifier adds where labels come soon: it turns at once, and knows when not to."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_detector.detectors.base import Rows
from stream_detector.detectors.classifier import Classifier
from stream_detector.detectors.fading_forest import EVERY, LEAF_ROWS, NODES, FadingForest
from stream_detector.detectors.fading_logistic import FadingLogistic
from stream_detector.detectors.label_history import CALLS, LabelHistory
from stream_detector.detectors.labelled_neighbours import ROWS, LabelledNeighbours
from stream_detector.detectors.memory import LabelledMemory
from stream_detector.detectors.recent_experts import LATE, SOON
from stream_detector.errors import StateMismatchError
from stream_detector.pipeline.chunk import EARLY_CHUNK, EARLY_EVENTS, chunk_size, chunk_sizes

FEATURES = 4


def crossed(random: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """No feature alone gives the label away."""
    values = random.normal(size=(count, FEATURES))
    return values, (values[:, 0] > 0) ^ (values[:, 1] > 0)


def forest_of(count: int, seed: int = 0) -> tuple[FadingForest, LabelledMemory]:
    forest, memory = FadingForest(seed), LabelledMemory(FEATURES, 5000)
    random = np.random.default_rng(seed)
    for _ in range(count // 32):
        values, positive = crossed(random, 32)
        memory.add(values, positive, None)
        forest.learn(memory, 32)
    return forest, memory


def test_a_forest_learns_what_no_single_feature_says_and_its_arrays_go_on() -> None:
    forest, memory = forest_of(2000)
    values, positive = crossed(np.random.default_rng(9), 500)
    assert ((forest.logits(values) > 0) == positive).mean() > 0.85
    again = FadingForest(0)
    again.restore(forest.state(), FEATURES)
    assert again.logits(values).tobytes() == forest.logits(values).tobytes()
    more, labels = crossed(np.random.default_rng(10), 200)
    memory.add(more, labels, None)
    for one in (forest, again):
        one.learn(memory, 200)
    assert again.logits(values).tobytes() == forest.logits(values).tobytes()


def test_the_bits_of_a_row_do_not_depend_on_the_rows_beside_it() -> None:
    forest, _ = forest_of(500)
    values, _ = crossed(np.random.default_rng(3), 96)
    whole = forest.logits(values)
    assert np.concatenate([forest.logits(row[None]) for row in values]).tobytes() == whole.tobytes()


def test_a_forest_ends_in_the_leaves_of_scikit_learn_also_at_thresholds() -> None:
    forest, _ = forest_of(1000)
    state = forest.state()
    values, _ = crossed(np.random.default_rng(4), 50)
    finite = state["threshold"][np.isfinite(state["threshold"])]
    values[:, 0] = np.random.default_rng(5).choice(finite, 50)
    leaves = forest._leaves(values)
    single = values.astype(np.float32)
    for row in range(50):
        for tree in range(leaves.shape[1]):
            at = tree * NODES
            while state["left"][at] != at:
                right = single[row, state["feature"][at]] > state["threshold"][at]
                at = state["right"][at] if right else state["left"][at]
            assert leaves[row, tree] == at


def test_leaves_forget_so_that_a_turned_world_is_known_before_the_trees_are_new() -> None:
    forest, memory = forest_of(2000)
    values, positive = crossed(np.random.default_rng(6), EVERY - 1)
    memory.add(values, ~positive, None)
    forest.learn(memory, EVERY - 1)
    assert forest.state()["counts"].sum(axis=1).max() <= LEAF_ROWS * (1 + 1e-9)
    probe, labels = crossed(np.random.default_rng(7), 500)
    before = ((forest_of(2000)[0].logits(probe) > 0) == ~labels).mean()
    assert ((forest.logits(probe) > 0) == ~labels).mean() > before


@pytest.mark.parametrize("name", ["left", "right"])
def test_trees_that_refer_back_or_to_another_are_refused(name: str) -> None:
    forest, _ = forest_of(200)
    state = forest.state()
    for child in (0, 5 * NODES):
        wrong = state[name].copy()
        wrong[NODES + 1] = child
        with pytest.raises(StateMismatchError):
            FadingForest(0).restore(state | {name: wrong}, FEATURES)


def test_neighbours_know_their_corner_and_the_oldest_leave() -> None:
    neighbours = LabelledNeighbours(FEATURES)
    assert not neighbours.fitted
    random = np.random.default_rng(0)
    values, positive = crossed(random, 300)
    neighbours.learn(values, positive)
    probe, labels = crossed(random, 320)
    assert ((neighbours.logits(probe) > 0) == labels).mean() > 0.8
    neighbours.learn(values, ~positive)
    neighbours.learn(*crossed(random, ROWS))
    assert ((neighbours.logits(probe) > 0) == labels).mean() > 0.8
    again = LabelledNeighbours(FEATURES)
    again.restore(neighbours.state(), 20.0)
    assert again.logits(probe).tobytes() == neighbours.logits(probe).tobytes()
    blocks = [neighbours.logits(probe[n : n + 32]) for n in range(0, 320, 32)]
    assert np.concatenate(blocks).tobytes() == neighbours.logits(probe).tobytes()


def test_a_logistic_regression_finds_the_plane_and_follows_it() -> None:
    random = np.random.default_rng(0)
    model = FadingLogistic(np.zeros(3), half_life=300.0, ridge=1.0)
    for sign in (1.0, -1.0):
        for _ in range(40):
            x = np.column_stack([random.normal(size=(50, 2)), np.ones(50)])
            model.learn(x, random.random(50) < 1 / (1 + np.exp(-sign * 2 * x[:, 0])))
        assert sign * model.weights[0] > 1.2
        assert abs(model.weights[1]) < 0.5


@given(st.lists(st.integers(1, 80), min_size=1, max_size=60), st.integers(0, 3000))
def test_memories_are_given_as_they_stood_when_the_event_was_scored(
    calls: list[int], age: int
) -> None:
    history = LabelHistory()
    random = np.random.default_rng(0)
    stood: list[np.ndarray] = []
    for rows in calls:
        stood += [history.logits] * rows
        history.pass_by(rows)
        history.learn(random.random(5) < 0.5)
    age = age % len(stood) + 1
    np.testing.assert_array_equal(history.logits_at(np.array([age]))[0], stood[-age])


def test_older_than_what_is_remembered_is_the_oldest() -> None:
    history = LabelHistory()
    for number in range(CALLS + 10):
        history.pass_by(32)
        history.learn(np.array([number % 2 == 0]))
    oldest, older = history.logits_at(np.array([32 * CALLS, 10**6]))
    np.testing.assert_array_equal(oldest, older)


def turned(delay: int, *, recent: bool) -> float:
    """Share of rows judged rightly in the 600 after the world has turned, labels so late."""
    random = np.random.default_rng(1)
    detector = Classifier(FEATURES, recent=recent, min_positives=5)
    waiting: list[tuple[np.ndarray, np.ndarray]] = []
    right = []
    for number in range(120):
        values, positive = crossed(random, 32)
        positive ^= number >= 100
        scores = detector.score(Rows(values, values))
        if number >= 100:
            right.append((scores > 0) == positive)
        detector.learn(Rows(values, values))
        waiting.append((values, positive))
        if len(waiting) > delay // 32:
            rows, labels = waiting.pop(0)
            ages = np.arange(32, 0, -1) + delay
            detector.learn(Rows(rows, rows, ages=ages), labels.astype(float))
    return float(np.concatenate(right).mean())


def test_with_prompt_labels_the_classifier_turns_sooner() -> None:
    assert turned(0, recent=True) > turned(0, recent=False) + 0.1


def test_where_labels_are_late_it_is_as_without() -> None:
    def last(*, recent: bool) -> bytes:
        random = np.random.default_rng(2)
        detector = Classifier(FEATURES, recent=recent, min_positives=5)
        for _ in range(40):
            values, positive = crossed(random, 32)
            rows = Rows(values, values, ages=np.full(32, int(LATE) + 1))
            detector.learn(Rows(values, values))
            detector.learn(rows, positive.astype(float))
        return detector.score(Rows(values, values)).tobytes()

    assert SOON < LATE
    assert last(recent=True) == last(recent=False)


def test_chunks_are_no_longer_than_labels_are_old() -> None:
    assert chunk_size(EARLY_EVENTS - 1, 512, 10_000) == EARLY_CHUNK
    assert [chunk_size(EARLY_EVENTS, 512, age) for age in (0, 1, 80, 128, 600, 1024, 10**6)] == [
        *(EARLY_CHUNK, EARLY_CHUNK, EARLY_CHUNK, 64, 256, 512, 512)
    ]
    assert chunk_size(EARLY_EVENTS, 512, None) == 512
    assert chunk_sizes(512) == (32, 64, 128, 256, 512)
