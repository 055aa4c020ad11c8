"""What counting detectors promise beyond the shared contract, and how the default joins them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_detector.detectors.base import Rows
from stream_detector.detectors.draws import frozen_stream
from stream_detector.detectors.ensemble import Ensemble
from stream_detector.detectors.half_space_forest import RARE_SHARE, SOFTENING, HalfSpaceForest
from stream_detector.detectors.loda import Loda
from stream_detector.detectors.moments import RunningMoments
from stream_detector.detectors.nearest_neighbours import NearestNeighbours
from stream_detector.detectors.random_fourier import RandomFourier


def normal(seed: int, count: int = 256, features: int = 5) -> Rows:
    values = np.random.default_rng(seed).normal(size=(count, features))
    return Rows(values, values)


def test_the_draws_of_a_seed_are_frozen_for_good() -> None:
    # A snapshot holds counts, not cuts: other draws would make nonsense of every old snapshot.
    draws = frozen_stream(3, "loda").standard_normal(3)
    np.testing.assert_array_equal(
        draws, [-0.3783716888568639, 0.34120370116816723, 0.4870792738766382]
    )
    assert frozen_stream(3, "other").random_sample() != frozen_stream(3, "loda").random_sample()
    assert frozen_stream(3, "a", 1).random_sample() != frozen_stream(3, "a", 2).random_sample()


def naive_forest_score(forest: HalfSpaceForest, row: np.ndarray) -> float:
    """The definition, tree by tree and level by level."""
    low, high = forest._low, forest._high
    unit = ((row - low) / (high - low)).astype(np.float32)
    total = 0.0
    for tree in range(forest._trees):
        code = 0
        for level in range(1, forest._depth + 1):
            code = 2 * code + int(
                unit[forest._feature[level - 1, tree]] > forest._cut[level - 1, tree]
            )
            width = 2 ** (forest._depth - level)
            share = forest._counts[code * width : (code + 1) * width, tree].sum() / forest._total
            if share <= RARE_SHARE:
                break
        total -= np.log(share * 2**level + SOFTENING)
    return total / forest._trees


@pytest.mark.parametrize("depth", [1, 2, 8, 9])
def test_the_forest_scores_as_defined(depth: int) -> None:
    forest = HalfSpaceForest(5, trees=30, depth=depth, half_life=2000)
    for seed in range(6):
        forest.learn(normal(seed))
    events = normal(99, 64)
    expected = [naive_forest_score(forest, row) for row in events.features]
    np.testing.assert_allclose(forest.score(events), expected, rtol=1e-9)


def test_the_forest_finds_a_value_that_a_constant_feature_never_had() -> None:
    forest = HalfSpaceForest(2, seed=1)
    crowd = np.column_stack([np.full(256, 5.0), np.random.default_rng(0).normal(size=256)])
    for _ in range(8):
        forest.learn(Rows(crowd, crowd))
    probe = np.tile([5.0, 0.0], (32, 1))
    probe[0, 0], probe[1, 0] = 5.1, -1e300
    scores = forest.score(Rows(probe, probe))
    assert (scores[:2] > scores[2] + 0.5).all()


@pytest.mark.parametrize("detector", [HalfSpaceForest, Loda])
def test_counts_decay_with_the_half_life(detector: type) -> None:
    model = detector(5, half_life=256.0)
    model.learn(normal(0))
    early = model.state()["counts"]
    model.learn(normal(1))
    fresh = detector(5, half_life=256.0)
    if detector is HalfSpaceForest:
        fresh._low, fresh._high = model._low, model._high
    fresh.learn(normal(1))
    np.testing.assert_allclose(model.state()["counts"], early / 2 + fresh.state()["counts"])
    assert model.state()["total"] == pytest.approx(256 / 2 + 256)


@pytest.mark.parametrize("detector", [HalfSpaceForest, Loda])
def test_what_is_long_forgotten_becomes_zero_and_not_a_denormal_number(detector: type) -> None:
    model = detector(2, half_life=10.0)
    model.learn(normal(0, features=2))
    still = Rows(np.zeros((256, 2)), np.zeros((256, 2)))
    for _ in range(60):
        model.learn(still)
        counts = model.state()["counts"]
        assert not ((counts > 0) & (counts < 1e-9)).any()
    assert np.isfinite(model.score(still)).all()


def test_a_burst_stays_strange_to_detectors_that_hardly_forget() -> None:
    random = np.random.default_rng(0)
    for detector in (HalfSpaceForest(5), Loda(5), Ensemble(5)):
        for seed in range(40):
            detector.learn(normal(seed))
        burst = np.array([4.0, -4.0, 4.0, -4.0, 4.0]) + 0.05 * random.normal(size=(256, 5))
        for _ in range(2):  # 5 % of all rows seen
            detector.learn(Rows(burst, burst))
        crowd = detector.score(normal(1000, 1024))
        assert detector.score(Rows(burst, burst)).min() > np.quantile(crowd, 0.95)


def test_loda_has_unit_projections_every_second_one_sparse() -> None:
    projection = Loda(50, projections=40)._projection
    np.testing.assert_allclose((projection**2).sum(axis=0), 1.0)
    used = (projection != 0).sum(axis=0)
    assert (used[0::2] == 50).all()
    assert (used[1::2] == 7).all()


def test_loda_densities_add_up_to_one() -> None:
    loda = Loda(5, projections=10, bins=16)
    for seed in range(3):
        loda.learn(normal(seed))
    loda.score(normal(9))
    np.testing.assert_allclose(np.exp(-loda._rarity).sum(axis=1), 1.0)


def test_fourier_scores_the_mahalanobis_distance_of_all_rows_learnt() -> None:
    detector = RandomFourier(5, components=20, half_life=1e18)
    chunks = [normal(seed) for seed in range(5)]
    for rows in chunks:
        detector.learn(rows)
    features = np.concatenate([detector._cosines(rows.standardised) for rows in chunks])
    covariance = np.cov(features.T, bias=True)
    covariance += 0.1 * np.trace(covariance) / 20 * np.eye(20)
    events = normal(99, 32)
    offset = detector._cosines(events.standardised) - features.mean(axis=0)
    distance = (offset @ np.linalg.inv(covariance) * offset).sum(axis=1)
    np.testing.assert_allclose(detector.score(events), np.log(distance), rtol=1e-5)  # float32


def test_neighbours_score_the_mean_distance_to_the_nearest_of_each_full_sample() -> None:
    detector = NearestNeighbours(5, samples=4, sample_rows=10)
    first, more = normal(1, 32), normal(2, 32)
    detector.learn(first)
    events = normal(99, 32)

    def expected(samples: np.ndarray) -> np.ndarray:
        apart = events.standardised[:, None, None] - samples.astype(np.float32)
        return np.log(np.sqrt((apart**2).sum(axis=-1)).min(axis=-1).mean(axis=-1) + 1e-3)

    three = first.standardised[:30].reshape(3, 10, 5)  # two rows stand in a sample not yet full
    np.testing.assert_allclose(detector.score(events), expected(three), rtol=1e-6)
    detector.learn(more)
    held = detector.state()["rows"]
    assert np.isin(held, np.concatenate([first.standardised, more.standardised], dtype="f4")).all()
    np.testing.assert_allclose(detector.score(events), expected(held.reshape(4, 10, 5)), rtol=1e-6)


def test_fewer_rows_than_a_sample_holds_are_neighbours_all_the_same() -> None:
    detector = NearestNeighbours(2, samples=3, sample_rows=50)
    assert detector.score(normal(0, 32, 2)).tolist() == [0.0] * 32
    detector.learn(Rows(np.array([[3.0, 4.0]]), np.array([[3.0, 4.0]])))
    score = detector.score(Rows(np.zeros((32, 2)), np.zeros((32, 2))))
    np.testing.assert_allclose(score, np.log(5.001))


def test_rows_remembered_are_a_fair_sample_that_ages_with_the_half_life() -> None:
    for half_life, learnt in ((1e18, 20_000), (2_000.0, 40_000)):
        detector = NearestNeighbours(1, samples=50, sample_rows=40, half_life=half_life)
        number = np.arange(learnt, dtype=float)[:, None] / 1e4  # within the clip
        for start in range(0, learnt, 500):
            part = number[start : start + 500]
            detector.learn(Rows(part, part))
        age = learnt - detector.state()["rows"][:, 0] * 1e4
        if half_life > learnt:  # all rows alike: mean age in the middle
            assert age.mean() == pytest.approx(learnt / 2, rel=0.05)
            assert (age < learnt / 4).mean() == pytest.approx(0.25, abs=0.04)
        else:
            assert (age < half_life).mean() == pytest.approx(0.5, abs=0.04)


def test_the_places_of_rows_do_not_depend_on_the_chunks() -> None:
    one, other = NearestNeighbours(3, samples=5), NearestNeighbours(3, samples=5)
    rows = normal(4, 9000, 3)
    for start in range(0, 9000, 3000):
        one.learn(rows.take(slice(start, start + 3000)))
    for start in range(0, 9000, 250):
        other.learn(rows.take(slice(start, start + 250)))
    assert one.state()["rows"].tobytes() == other.state()["rows"].tobytes()


def test_parts_of_the_distance_are_those_of_the_nearest_rows() -> None:
    detector = NearestNeighbours(4)
    for seed in range(20):
        detector.learn(normal(seed, 256, 4))
    events = normal(99, 32, 4)
    total = detector.contributions(events).sum(axis=1)
    np.testing.assert_allclose(total / 16, np.exp(detector.score(events)), rtol=0.01)


@given(
    values=st.lists(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=20), min_size=1, max_size=8)
)
@settings(max_examples=50)
def test_running_moments_are_those_of_all_values(values: list[list[float]]) -> None:
    moments = RunningMoments(half_life=1e18)
    for chunk in values:
        moments.learn(np.array(chunk))
    everything = np.concatenate(values)
    assert moments.mean == pytest.approx(everything.mean(), abs=1e-6)
    assert moments.deviation == pytest.approx(everything.std(), abs=1e-4)


def test_old_moments_are_forgotten_with_the_half_life() -> None:
    moments = RunningMoments(half_life=100.0)
    moments.learn(np.full(100, 3.0))
    moments.learn(np.full(100, 0.0))
    assert moments.mean == pytest.approx(1.0)  # weights 1/2 and 1
    assert moments.deviation == pytest.approx(np.sqrt(2.0))


def test_the_default_is_the_weighted_sum_of_its_members() -> None:
    plain, full = Ensemble(5, autoencoder=False), Ensemble(5)
    members = HalfSpaceForest(5), Loda(5), NearestNeighbours(5), RandomFourier(5)
    for seed in range(12):
        for detector in (plain, full, *members[:2]):
            detector.learn(normal(seed))
    for member, branch in zip(members[2:], ("neighbours", "fourier"), strict=True):
        member.restore(plain.state()[branch])  # these learn trimmed: tests/test_trimming.py
    events = normal(99)
    forest, loda, neighbours, fourier = (member.score(events) for member in members)
    moments = plain._distance_moments
    distance = np.maximum((fourier - moments.mean) / moments.deviation, 0)
    near = (neighbours - plain._nearness_moments.mean) / plain._nearness_moments.deviation
    assert (near < 0).any()  # a crowd close by does excuse
    expected = forest + 2 * loda + plain._rarity_moments.deviation * (near + 0.3 * distance)
    np.testing.assert_allclose(plain.score(events), expected)
    assert (distance > 0).any()
    assert (distance == 0).any()  # a small distance excuses nothing
    surprise = full.score(events) - plain.score(events)
    assert (surprise > -1e-12).all()
    low = full._autoencoder.score(events) < full._error_moments.mean
    assert np.abs(surprise[low]).max() < 1e-12  # nor does a small error
    assert (surprise[~low] > 0).all()
