"""The first reason of an alert is the feature in which the anomaly was planted."""

from __future__ import annotations

import numpy as np
import pytest

from stream_detector.detectors.adaptive_ensemble import AdaptiveEnsemble
from stream_detector.detectors.base import Rows
from stream_detector.detectors.ensemble import Ensemble
from stream_detector.detectors.random_fourier import RandomFourier
from stream_detector.detectors.shares import distribute
from stream_detector.explanation import Layout, contributions, rank_reasons
from stream_detector.features.columns import FeatureGroup

WIDTH = 6


def correlated(random: np.random.Generator, count: int) -> np.ndarray:
    """Pairs with a correlation of .95."""
    common = np.repeat(random.normal(size=(count, WIDTH // 2)), 2, axis=1)
    return np.sqrt(0.95) * common + np.sqrt(0.05) * random.normal(size=(count, WIDTH))


@pytest.mark.parametrize(
    ("kind", "relation"),
    [(AdaptiveEnsemble, False), (Ensemble, False), (RandomFourier, False), (RandomFourier, True)],
)
def test_the_planted_feature_is_first_in_nine_of_ten(kind: type, relation: bool) -> None:
    random = np.random.default_rng(0)
    detector = kind(WIDTH)
    for _ in range(40):
        crowd = correlated(random, 256)
        detector.learn(Rows(crowd, crowd))
    groups = [FeatureGroup(f"f{column}", (column,), "numeric", None) for column in range(WIDTH)]
    first = 0
    for row in correlated(random, 50)[:, None, :]:
        feature = int(random.integers(WIDTH))
        expected = {feature}
        if relation:
            row[0, feature], row[0, feature ^ 1] = 1.5, -1.5
            expected.add(feature ^ 1)
        else:
            row[0, feature] += 8.0
        event = Rows(row, row)
        parts = contributions(detector, Layout.of(groups), event, np.zeros(WIDTH))
        first += rank_reasons(parts, groups, event)[0].group in expected
    assert first >= 45


def test_the_columns_of_a_group_count_together() -> None:
    random = np.random.default_rng(2)
    detector = AdaptiveEnsemble(WIDTH)
    crowd = correlated(random, 256)
    detector.learn(Rows(crowd, crowd))
    event = Rows(crowd[:1] + 3.0, crowd[:1] + 3.0)
    single = [FeatureGroup(f"f{column}", (column,), "numeric", None) for column in range(WIDTH)]
    joined = [single[5], FeatureGroup("three", (4, 0, 2), "categorical", None), single[1]]
    usual = np.zeros(WIDTH)
    each = contributions(detector, Layout.of(single), event, usual)
    together = contributions(detector, Layout.of(joined), event, usual)
    assert together == pytest.approx([each[5], each[[4, 0, 2]].sum(), each[1]])


def test_a_surprise_that_no_feature_has_a_part_in_makes_no_share_of_nothing() -> None:
    shares = np.zeros((3, 2))
    parts = np.array([[0.0, 0.0], [1e-310, 0.0], [1.0, 3.0]])
    with np.errstate(all="raise"):
        distribute(np.full(3, 1e3), parts, shares)
    assert shares.tolist() == [[0.0, 0.0], [0.0, 0.0], [250.0, 750.0]]
