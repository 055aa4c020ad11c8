"""The numbers of a report: drift, curves, calibration, windows of the budget, slices, days."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_curve, roc_curve

from stream_detector.evaluation.backtest import Scored
from stream_detector.evaluation.bootstrap import Units, draw_weights
from stream_detector.evaluation.curves import (
    FALSE_POSITIVE_RATES,
    RECALLS,
    probability,
    ranking_curves,
    score_groups,
)
from stream_detector.evaluation.feature_samples import FeatureSamples
from stream_detector.evaluation.figures import DAY_MS
from stream_detector.evaluation.population_stability import feature_drift, stability_index
from stream_detector.evaluation.time_slices import budget_windows, days, shown_rows, slices
from stream_detector.features import FeatureGroup
from stream_detector.units import Budget


def scored(scores, labels=None, raised=None, times=None):
    count = len(scores)
    return Scored(
        np.asarray(scores, float),
        np.full(count, np.nan) if labels is None else np.asarray(labels, float),
        np.zeros(count, bool) if raised is None else np.asarray(raised, bool),
        np.arange(count) * 1000 if times is None else np.asarray(times),
        np.arange(count),
        has_time=True,
    )


# --- samples of the features ---------------------------------------------------------------------


def sampled(events, cuts=(), skip=0):
    samples = FeatureSamples(skip)
    rows = np.arange(events, dtype=float)[:, None]
    for part in np.split(rows, cuts):
        samples.add(part)
    return samples


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 20_000), max_size=8), st.integers(0, 3000))
def test_the_sample_does_not_depend_on_how_the_stream_is_cut(cuts, skip):
    whole, parts = sampled(20_000, skip=skip), sampled(20_000, sorted(cuts), skip=skip)
    for (events, numbers, rows), (other_events, other_numbers, other_rows) in zip(
        whole.blocks(), parts.blocks(), strict=True
    ):
        assert events == other_events
        np.testing.assert_array_equal(numbers, other_numbers)
        np.testing.assert_array_equal(rows, other_rows)


def test_the_sample_is_bounded_whatever_the_length_of_the_stream():
    samples = FeatureSamples()
    most = 0
    for _ in range(600):
        samples.add(np.zeros((1000, 3)))
        most = max(most, sum(len(n) for block in samples._blocks for n, _ in block.pieces))
    assert most <= 32 * 2 * 1000 + 1000
    assert 16 <= len(samples.blocks()) <= 32
    assert all(len(rows) <= 1000 for _, _, rows in samples.blocks())


def test_the_sample_of_a_merged_block_is_uniform_over_all_of_it():
    # 64 blocks of 4,096 events become 16 or more; in each, every tenth has its tenth of the rows.
    for events, _, rows in sampled(262_144).blocks():
        place = (rows[:, 0] - rows[:, 0].min()) / events
        tenths = np.histogram(place, 10, (0, 1))[0]
        assert tenths.sum() == 1000
        assert tenths.min() > 60
        assert tenths.max() < 145
        assert (np.diff(rows[:, 0]) > 0).all()


def test_skipped_events_are_in_no_sample():
    (block, *_) = sampled(5000, skip=1234).blocks()
    assert block[2].min() == 1234


def test_short_blocks_are_merged_until_they_are_long_enough():
    samples = sampled(3000)
    assert [events for events, _, _ in samples.blocks()] == [256] * 11 + [184]
    assert [events for events, _, _ in samples.blocks(500)] == [512] * 5 + [440]


def test_an_empty_stream_has_no_blocks():
    assert FeatureSamples().blocks(500) == []


# --- drift ---------------------------------------------------------------------------------------


def test_the_index_of_a_distribution_with_itself_is_zero():
    values = np.random.default_rng(0).normal(size=1000)
    assert stability_index(values, values) == pytest.approx(0)


def test_the_index_of_two_bins_is_what_the_formula_gives():
    whole = np.repeat([0.0, 1.0], [500, 500])
    part = np.repeat([0.0, 1.0], [200, 800])
    p, q = np.array([200.5, 800.5]) / 1001, np.array([500.5, 500.5]) / 1001
    assert stability_index(part, whole) == pytest.approx(float(np.sum((p - q) * np.log(p / q))))


def test_missing_values_are_a_bin_of_their_own():
    whole = np.random.default_rng(0).normal(size=1000)
    part = whole.copy()
    part[:500] = np.nan
    assert stability_index(part, whole) > 1
    assert stability_index(np.full(10, np.nan), np.full(10, np.nan)) == pytest.approx(0)


def test_a_value_that_makes_up_most_is_told_from_those_below_it():
    random = np.random.default_rng(0)
    whole = np.where(random.random(10_000) < 0.95, 100.0, random.random(10_000))
    part = np.where(random.random(10_000) < 0.7, 100.0, random.random(10_000))
    assert stability_index(part, whole) > 0.4


def groups(*specs):
    return [FeatureGroup(name, columns, kind, None) for name, columns, kind in specs]


def test_drift_is_found_where_it_was_planted():
    random = np.random.default_rng(1)
    features = random.normal(size=(30_000, 2))
    features[15_000:18_000, 1] += 2
    samples = FeatureSamples()
    samples.add(features)
    found = feature_drift(
        samples, groups(("still", (0,), "numeric"), ("moved", (1,), "numeric")), lambda _c, v: v
    )
    moved, still = found.groups
    assert (moved.name, still.name) == ("moved", "still")
    assert still.index.max() < 0.1
    middles = (found.starts[:-1] + found.starts[1:]) / 2
    inside = (middles > 15_000) & (middles < 18_000)
    assert moved.index[inside].min() > 0.25
    assert moved.index[middles < 14_000].max() < 0.1
    assert found.starts[0] == 0
    assert found.starts[-1] <= 30_000


def test_chance_gives_about_as_much_drift_as_is_expected_of_it():
    samples = FeatureSamples()
    samples.add(np.random.default_rng(2).normal(size=(32_000, 40)))
    every = groups(*((f"f{i}", (i,), "numeric") for i in range(40)))
    found = feature_drift(samples, every, lambda _c, v: v)
    mean = np.mean([group.index for group in found.groups])
    assert mean == pytest.approx(found.expected, rel=0.25)


def test_categories_are_compared_as_a_whole_and_quantiles_are_in_the_fields_unit():
    random = np.random.default_rng(3)
    one_hot = np.zeros((4000, 3))
    one_hot[np.arange(4000), np.where(np.arange(4000) < 2000, 0, random.integers(0, 3, 4000))] = 1
    number = np.log1p(random.lognormal(3, 1, 4000))
    number[3500:] = np.nan
    samples = FeatureSamples()
    samples.add(np.column_stack([one_hot, number, np.zeros(4000)]))
    found = feature_drift(
        samples,
        groups(
            ("kind", (0, 1, 2), "categorical"), ("amount", (3,), "numeric"), ("hour", (4,), "time")
        ),
        lambda _column, value: float(np.expm1(value)),
    )
    by_name = {group.name: group for group in found.groups}
    assert set(by_name) == {"kind", "amount"}  # clock and calendar move by their nature
    assert by_name["kind"].index.max() > 0.25
    assert by_name["kind"].early is None
    low, middle, high = by_name["amount"].early
    assert middle == pytest.approx(np.exp(3), rel=0.2)
    assert low < middle < high
    assert by_name["amount"].missing == (0, pytest.approx(0.5, abs=0.1))


def test_less_than_two_parts_say_nothing_of_drift():
    assert feature_drift(sampled(300), groups(("a", (0,), "numeric")), lambda _c, v: v) is None
    assert feature_drift(FeatureSamples(), [], lambda _c, v: v) is None


# --- curves and calibration ----------------------------------------------------------------------


def ranked(count=3000, seed=0, ties=True):
    random = np.random.default_rng(seed)
    labels = (random.random(count) < 0.05).astype(float)
    scores = random.normal(size=count) + 1.5 * labels
    return labels, np.round(scores, 1) if ties else scores


@pytest.mark.parametrize("ties", [False, True])
def test_the_curves_are_those_of_scikit_learn(ties):
    labels, scores = ranked(ties=ties)
    units = Units.of(np.zeros(len(labels), np.int64), has_time=False)
    roc, precision_recall = ranking_curves(labels, scores, units, None)
    rates, recalls, _ = roc_curve(labels, scores, drop_intermediate=False)
    np.testing.assert_allclose(roc.y, np.interp(FALSE_POSITIVE_RATES, rates, recalls), atol=0.004)
    precision, recall, _ = precision_recall_curve(labels, scores)
    # Of the thresholds that reach a recall, the highest: scikit-learn's recalls fall.
    expected = [precision[np.flatnonzero(recall >= r - 1e-9)[-1]] for r in RECALLS]
    np.testing.assert_allclose(precision_recall.y, expected)
    assert roc.low is None
    assert roc.at(1.0) == (1.0, None, None)


def test_the_bands_hold_the_curves_and_narrow_with_more_events():
    widths = []
    for count in (3000, 30_000):
        labels, scores = ranked(count)
        units = Units.of(np.zeros(count, np.int64), has_time=False)
        roc, precision_recall = ranking_curves(labels, scores, units, draw_weights(units, 200))
        for curve in (roc, precision_recall):
            assert (curve.low <= curve.y + 0.02).all()
            assert (curve.high >= curve.y - 0.02).all()
        value, low, high = roc.at(0.1)
        assert low < value < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 2


def test_groups_have_every_event_once_and_rates_that_rise_with_the_score():
    labels, scores = ranked(20_000, ties=False)
    units = Units.of(np.zeros(20_000, np.int64), has_time=False)
    made = score_groups(labels, scores, units, draw_weights(units, 100), log_odds=False)
    assert sum(group.events for group in made) == 20_000
    assert sum(group.positives for group in made) == labels.sum()
    assert [group.first_share for group in made][:3] == [0, 0.1, 0.2]
    assert made[-1].last_share == 1
    assert made[-1].rate > 10 * made[0].rate
    assert all(group.low <= group.rate <= group.high for group in made)
    assert all(group.predicted is None for group in made)
    for lower, upper in pairwise(made):
        assert lower.scores[1] <= upper.scores[0]


def test_equal_scores_are_in_one_group():
    labels = np.tile([0.0, 0.0, 0.0, 1.0], 250)
    scores = np.repeat([0.0, 1.0], 500)
    units = Units.of(np.zeros(1000, np.int64), has_time=False)
    made = score_groups(labels, scores, units, None, log_odds=False)
    assert [(group.events, group.rate, group.low) for group in made] == [
        (500, 0.25, None),
        (500, 0.25, None),
    ]


def test_log_odds_that_are_right_lie_on_the_diagonal():
    random = np.random.default_rng(5)
    log_odds = random.normal(-3, 2, 200_000)
    labels = (random.random(200_000) < probability(log_odds)).astype(float)
    units = Units.of(np.zeros(200_000, np.int64), has_time=False)
    for group in score_groups(labels, log_odds, units, None, log_odds=True):
        spread = np.sqrt(group.predicted * (1 - group.predicted) / group.events)
        assert abs(group.rate - group.predicted) < 5 * spread


def test_probabilities_of_huge_log_odds_are_no_overflow():
    with np.errstate(over="raise", invalid="raise"):
        np.testing.assert_allclose(probability(np.array([-1000.0, 0, 1000])), [0, 0.5, 1])


# --- stretches of the stream ---------------------------------------------------------------------


def test_windows_count_alerts_against_a_share():
    raised = np.zeros(60_000, bool)
    raised[10_000:20_000:100] = True  # 100, as allowed
    raised[20_000:30_000:70] = True  # 143: more than 1.25 times as many
    raised[30_000:40_000:130] = True  # 77: less than 1 / 1.25
    raised[40_000:50_000:80] = True  # 125: just within
    windows = budget_windows(scored(np.zeros(60_000), raised=raised), Budget.parse("1 %"), 5000)
    assert windows.size == 10_000
    assert windows.raised.tolist() == [0, 100, 143, 77, 125, 0]
    assert windows.allowed.tolist() == [100] * 6
    assert windows.within.tolist() == [False, True, False, False, True, False]
    assert windows.settled.tolist() == [False, True, True, True, True, True]


def test_a_budget_by_time_allows_by_the_time_that_a_window_takes():
    times = np.concatenate([np.arange(20_000) * 1000, 20_000_000 + np.arange(30_000) * 3000])
    windows = budget_windows(scored(np.zeros(50_000), times=times), Budget.parse("360 per hour"), 0)
    assert windows.allowed == pytest.approx([1000, 1000, 3000, 3000, 3000], rel=0.001)


def test_short_streams_have_short_windows_or_none():
    assert budget_windows(scored(np.zeros(2000)), None, 0).size == 100
    assert budget_windows(scored(np.zeros(2000)), None, 0).allowed is None
    assert budget_windows(scored(np.zeros(2000)), None, 0).within is None
    assert budget_windows(scored(np.zeros(399)), None, 0) is None


def test_slices_have_the_quantiles_of_their_scores_and_count_what_was_raised():
    random = np.random.default_rng(6)
    scores = random.normal(size=1000)
    labels = np.where(np.arange(1000) % 3 == 0, np.nan, np.arange(1000) % 2)
    raised = random.random(1000) < 0.1
    run = scored(scores, labels, raised)
    position = np.arange(1000.0)
    cut = slices(run, position, 7)
    bounds = np.searchsorted(position, cut.edges[1:-1])
    for index, rows in enumerate(np.split(np.arange(1000), bounds)):
        expected = np.quantile(scores[rows], [0.05, 0.5, 0.95, 0.99], method="lower")
        np.testing.assert_allclose(cut.quantiles[index], expected)
        assert cut.highest[index] == scores[rows].max()
        mine = [
            np.sum(raised[rows] & (labels[rows] == 0)),
            np.sum(raised[rows] & (labels[rows] == 1)),
            np.sum(raised[rows] & np.isnan(labels[rows])),
        ]
        assert cut.raised[index].tolist() == mine
        assert cut.missed[index] == np.sum(~raised[rows] & (labels[rows] == 1))


def test_a_slice_without_events_has_no_quantiles():
    cut = slices(scored([1.0, 2.0]), np.array([0.0, 100.0]), 4)
    assert np.isnan(cut.quantiles[1]).all()
    assert cut.highest.tolist()[::3] == [1, 2]
    assert slices(scored([1.0]), np.array([5.0]), 3).highest[0] == 1


def test_days_say_what_was_possible():
    labels = np.concatenate([np.ones(5), np.zeros(195), np.ones(30), np.zeros(20)])
    scores = np.arange(250.0)
    times = np.repeat([0, DAY_MS], [200, 50])
    made = days(labels, scores, times)
    assert made.starts_ms.tolist() == [0, DAY_MS]
    assert made.precision.tolist() == [0, 0.6]  # 50 events: all of them are looked at
    assert made.possible.tolist() == [0.05, 0.6]
    assert made.positives.tolist() == [5, 30]


@settings(max_examples=50, deadline=None)
@given(st.integers(100, 400), st.integers(0, 5000), st.integers(0, 3))
def test_at_most_so_many_rows_are_shown_and_the_highest_of_all_is_one(limit, count, seed):
    random = np.random.default_rng(seed)
    position = np.sort(random.random(count) ** 3 * 1e6)
    scores = random.normal(size=count)
    rows = np.flatnonzero(random.random(count) < 0.7)
    shown = shown_rows(scores, position, rows, limit)
    assert len(shown) <= limit
    assert np.isin(shown, rows).all()
    if len(rows):
        assert rows[scores[rows].argmax()] in shown
