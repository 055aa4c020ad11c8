"""The ensemble whose weights follow from the stream: what it adds up, and how it is weighted."""

from __future__ import annotations

import subprocess
import sys

import numpy as np

from stream_detector.detectors.adaptive_ensemble import AdaptiveEnsemble
from stream_detector.detectors.base import Rows
from stream_detector.detectors.half_space_forest import HalfSpaceForest
from stream_detector.detectors.loda import Loda
from stream_detector.detectors.nearest_neighbours import NearestNeighbours


def normal(seed: int, count: int = 256, features: int = 5) -> Rows:
    values = np.random.default_rng(seed).normal(size=(count, features))
    return Rows(values, values)


def taught(count: int) -> AdaptiveEnsemble:
    """An ensemble after so many chunks of 256 rows."""
    ensemble = AdaptiveEnsemble(5)
    for seed in range(count):
        ensemble.learn(normal(seed))
    return ensemble


def parts_of(ensemble: AdaptiveEnsemble, events: Rows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores of forest and LODA, and of the neighbours at two scales."""
    forest, loda, neighbours = HalfSpaceForest(5), Loda(5), NearestNeighbours(5)
    for member, name in ((forest, "forest"), (loda, "loda"), (neighbours, "neighbours")):
        member.restore(ensemble.state()[name])
    return forest.score(events), loda.score(events), neighbours.at_two_scales(events)


def test_it_is_the_sum_of_its_members_where_rows_come_alone() -> None:
    ensemble, events = taught(12), normal(99)
    assert ensemble.state()["spread_moments"]["weight"] > 300
    forest, loda, near = parts_of(ensemble, events)
    assert (near < 0.5).any()  # a crowd close by does excuse
    assert ensemble.weights() == {"forest": 1.0, "loda": 1.0, "neighbours": 5.0}
    np.testing.assert_allclose(ensemble.score(events), forest + loda + 5 * near)


def copies(seed: int) -> Rows:
    """Rows of which nine in ten are near copies of one of three, and the others anywhere."""
    random = np.random.default_rng(seed)
    values = random.integers(-1, 2, (256, 1)) + 0.001 * random.normal(size=(256, 5))
    values[:26] = random.normal(0.0, 4.0, (26, 5))
    return Rows(values, values)


def test_among_near_copies_the_neighbours_have_little_to_say_and_loda_more() -> None:
    ensemble = AdaptiveEnsemble(5)
    for seed in range(12):
        ensemble.learn(copies(seed))
    weights, events = ensemble.weights(), copies(99)
    assert weights["forest"] == 1.0
    assert weights["neighbours"] < 1.0
    assert weights["loda"] > 1.8
    forest, loda, near = parts_of(ensemble, events)
    expected = forest + weights["loda"] * loda + weights["neighbours"] * near
    np.testing.assert_allclose(ensemble.score(events), expected)


def test_weights_are_never_beyond_their_ends() -> None:
    ensemble = AdaptiveEnsemble(5)
    state = ensemble.state()
    for deviation in (0.0, 1e-9, 0.36, 0.5, 3.0, 1e9):
        moments = {"weight": 1.0, "mean": 0.0, "scatter": deviation**2}
        ensemble.restore(state | {"spread_moments": moments})
        weights = ensemble.weights()
        assert 0.25 <= weights["neighbours"] <= 5.0
        assert 1.0 <= weights["loda"] <= 2.0


def test_two_scales_are_samples_and_pairs_of_them() -> None:
    detector = NearestNeighbours(5, samples=5, sample_rows=10)
    for seed in range(4):
        detector.learn(normal(seed, 64))
    events = normal(99, 32)
    samples = detector.state()["rows"].reshape(5, 10, 5)
    apart = events.standardised[:, None, None] - samples
    nearest = np.sqrt((apart**2).sum(axis=3)).min(axis=2)
    pairs = np.minimum(nearest[:, [0, 2]], nearest[:, [1, 3]])  # the fifth has no other
    expected = (np.log(nearest.mean(axis=1) + 0.1) + np.log(pairs.mean(axis=1) + 0.1)) / 2
    np.testing.assert_allclose(detector.at_two_scales(events), expected, rtol=1e-4, atol=1e-5)


def test_the_reason_is_the_feature_that_is_far_away() -> None:
    ensemble = taught(12)
    values = np.zeros((32, 5))
    values[0, 3] = 9.0
    shares = ensemble.contributions(Rows(values, values))
    assert shares.shape == (32, 5)
    assert (shares >= 0).all()
    assert shares[0].argmax() == 3


def test_a_daemon_of_the_default_loads_neither_scikit_learn_nor_scipy() -> None:
    """They take a second of a start and 80 MiB, and nothing of the default uses them."""
    code = (
        "import sys\n"
        "import numpy as np\n"
        "import stream_detector.cli.run\n"
        "from stream_detector.config.models.config import Config\n"
        "from stream_detector.detectors.base import Rows\n"
        "from stream_detector.detectors.registry import build_detector\n"
        "config = Config.model_validate({'name': 't', 'features': [{'numeric': 'a'}]})\n"
        "detector = build_detector(config.detector, 3)\n"
        "matrix = np.random.default_rng(0).normal(size=(512, 3))\n"
        "rows = Rows(matrix, matrix)\n"
        "detector.learn(rows)\n"
        "detector.score(rows)\n"
        "detector.contributions(rows)\n"
        "print(*sorted({'sklearn', 'scipy', 'pandas', 'river'} & sys.modules.keys()))\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=True, timeout=120, capture_output=True, text=True)
    assert done.stdout.split() == []
