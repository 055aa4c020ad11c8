"""Comparing configurations: intervals of a stream's figures, and paired differences."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from sklearn.metrics import average_precision_score, roc_auc_score
from support.commands import call, run
from support.streams import SETTINGS, records

from stream_detector.errors import ConfigurationError
from stream_detector.evaluation import bootstrap
from stream_detector.evaluation.backtest import Scored
from stream_detector.evaluation.bootstrap import RankCounts, Units, draw_weights, interval
from stream_detector.evaluation.figures import DAY_MS, precision_per_day
from stream_detector.evaluation.paired_comparison import Events, compare, compare_scores
from stream_detector.report.comparison_table import shown_names

FIGURES = ["roc_auc", "average_precision", "precision_at_100_per_day"]


def stream(count=4000, days=40, positives=0.05, seed=0):
    """Labels, times and two scores (the second a little better), with many ties."""
    random = np.random.default_rng(seed)
    labels = (random.random(count) < positives).astype(float)
    times = np.sort(random.integers(0, days * DAY_MS, count))
    noise = random.normal(size=count)
    first = np.round(noise + 0.7 * labels, 1)
    second = np.round(noise + random.normal(size=count) / 4 + 1.2 * labels, 1)
    return Events(labels, times, True), first, second


def scored(labels, scores, times=None, rows=None, rejected=0):
    count = len(scores)
    rows = np.arange(count) if rows is None else rows
    times_ms = np.zeros(count, np.int64) if times is None else times
    reasons = {"decode": rejected} if rejected else {}
    return Scored(
        np.asarray(scores, float),
        np.asarray(labels, float),
        np.zeros(count, bool),
        times_ms,
        rows,
        times is not None,
        reasons,
    )


# --- the bootstrap -------------------------------------------------------------------------------


def test_a_resample_is_as_long_as_the_stream_and_takes_every_unit_equally_often():
    units = Units.of(np.arange(50) * DAY_MS, has_time=True)
    weights = draw_weights(units, 4000, seed=1)
    assert (weights.sum(axis=1) == 50).all()
    assert weights.mean(axis=0) == pytest.approx(np.ones(50), abs=0.15)
    assert (weights == draw_weights(units, 4000, seed=1)).all()
    assert (weights != draw_weights(units, 4000, seed=2)).any()


def test_neighbours_are_drawn_together():
    units = Units.of(np.arange(1000) * DAY_MS, has_time=True)
    weights = draw_weights(units, 300, seed=0)
    assert units.mean_block == pytest.approx(10)
    after = np.roll(weights, -1, axis=1)
    # Nine of ten draws go on to the next unit; among independent draws there is no correlation.
    assert np.corrcoef(weights.ravel(), after.ravel())[0, 1] == pytest.approx(0.9, abs=0.03)


def test_units_are_days_where_there_are_enough_and_stretches_of_rows_elsewhere():
    times = np.arange(2800) * DAY_MS // 100
    assert Units.of(times, has_time=True).kind == "days"
    assert Units.of(times, has_time=True).count == 28
    for units in (Units.of(times[:500], has_time=True), Units.of(times, has_time=False)):
        assert units.kind == "rows"
        sizes = np.bincount(units.of_event)
        assert len(sizes) == units.count
        assert sizes.max() - sizes.min() <= 1
        assert (np.diff(units.of_event) >= 0).all()


@pytest.mark.parametrize("positives", [0.01, 0.4, 0.97])
@pytest.mark.parametrize("seed", range(3))
def test_figures_by_counts_are_those_of_scikit_learn_with_weights(positives, seed):
    events, scores, _ = stream(positives=positives, seed=seed)
    units = Units.of(events.times_ms, has_time=True)
    weights = draw_weights(units, 20, seed)
    counts = RankCounts(events.labels, scores, units)
    assert counts.exact
    roc_auc, average_precision = counts.figures(weights)
    for row, weight in enumerate(weights):
        given = {"sample_weight": weight[units.of_event]}
        assert roc_auc[row] == pytest.approx(roc_auc_score(events.labels, scores, **given))
        assert average_precision[row] == pytest.approx(
            average_precision_score(events.labels, scores, **given)
        )


def test_a_resample_without_one_of_the_classes_has_no_figure():
    labels = np.zeros(200)
    labels[:5] = 1
    units = Units.of(np.arange(200), has_time=False)
    weights = np.ones((2, units.count), np.int64)
    weights[1, 0] = 0
    figures = RankCounts(labels, np.arange(200.0), units).figures(weights)
    assert [bool(np.isnan(each[1])) for each in figures] == [True, True]
    assert [bool(np.isnan(each[0])) for each in figures] == [False, False]
    assert interval(np.array([0.5, np.nan, np.nan])) is None


def slow_interval(events, runs, resamples, seed):
    """The same, by rows: each resample is put together and judged as if it were a file."""
    days = events.times_ms // DAY_MS
    names = np.unique(days)
    units = Units.of(events.times_ms, has_time=True)
    drawn = {name: np.empty((resamples, len(runs))) for name in FIGURES}
    for row, weights in enumerate(draw_weights(units, resamples, seed)):
        picked = [np.flatnonzero(days == day) for day in np.repeat(names, weights)]
        rows = np.concatenate(picked)
        # A day that is drawn twice counts as two days.
        times = np.repeat(np.arange(len(picked)) * DAY_MS, [len(each) for each in picked])
        for column, scores in enumerate(runs):
            taken = events.labels[rows], scores[rows]
            drawn["roc_auc"][row, column] = roc_auc_score(*taken)
            drawn["average_precision"][row, column] = average_precision_score(*taken)
            drawn["precision_at_100_per_day"][row, column] = precision_per_day(*taken, times)
    return drawn


def test_intervals_are_those_of_a_plain_slow_bootstrap():
    events, *runs = stream()
    fast = compare_scores(events, runs, resamples=150, seed=3)
    slow = slow_interval(events, runs, 150, 3)
    assert fast.resamples == 150
    assert fast.units == "days"
    for name in FIGURES:
        for column in range(2):
            found = fast.figures[column][name]
            limits = np.quantile(slow[name][:, column], [0.025, 0.975])
            assert (found.low, found.high) == pytest.approx(limits)
            assert found.low < found.value < found.high
        difference = fast.differences[1, 0][name]
        limits = np.quantile(slow[name][:, 1] - slow[name][:, 0], [0.025, 0.975])
        assert (difference.low, difference.high) == pytest.approx(limits)


def test_bins_that_are_put_together_hardly_change_the_intervals(monkeypatch):
    random = np.random.default_rng(0)
    labels = (random.random(20_000) < 0.3).astype(float)
    runs = [random.normal(size=20_000) + labels * shift for shift in (1.0, 1.1)]
    events = Events(labels, np.zeros(20_000, np.int64), False)
    exact = compare_scores(events, runs, resamples=200)
    monkeypatch.setattr(bootstrap, "_MAX_BINS", 4000)
    coarse = compare_scores(events, runs, resamples=200)
    assert not RankCounts(labels, runs[0], Units.of(events.times_ms, has_time=False)).exact
    for name in FIGURES[:2]:
        for one, other in (
            (exact.figures[0][name], coarse.figures[0][name]),
            (exact.differences[1, 0][name], coarse.differences[1, 0][name]),
        ):
            assert one.value == other.value
            assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=2e-4)


def bursty(seed):
    """Positives in bursts that one hidden number each makes easy or hard: not independent."""
    random = np.random.default_rng(seed)
    labels = np.zeros(6000)
    scores = random.normal(size=6000)
    for start in range(0, 6000, 100):
        labels[start : start + 20] = 1
        scores[start : start + 20] += 1 + random.normal()
    return labels, scores


def test_intervals_hold_what_they_promise_on_a_stream_of_bursts():
    # The score of a positive is normal with mean 1 and variance 2, so AUC = Phi(1 / sqrt 3).
    truth = 0.71815
    by_block, by_row = 0, 0
    for seed in range(60):
        labels, scores = bursty(seed)
        units = Units.of(np.arange(6000), has_time=False)
        roc_auc, _ = RankCounts(labels, scores, units).figures(draw_weights(units, 300, seed))
        low, high = interval(roc_auc)
        by_block += low < truth < high
        random = np.random.default_rng(seed)
        drawn = [random.integers(6000, size=6000) for _ in range(40)]
        middle = roc_auc_score(labels, scores)
        spread = np.std([roc_auc_score(labels[rows], scores[rows]) for rows in drawn])
        by_row += abs(middle - truth) < 1.96 * spread
    assert by_block >= 51  # 85 %: block intervals are known to be a little short of 95
    assert by_row < 40  # rows one by one pretend to know far more than they do


def test_a_shorter_stream_than_ten_units_has_figures_but_no_intervals():
    events, first, second = stream(count=80, days=3)
    found = compare_scores(events, [first, second])
    assert found.resamples == 0
    assert found.figures[0]["roc_auc"].low is None
    assert found.differences[1, 0]["roc_auc"].verdict == "undecided"


# --- comparing runs ------------------------------------------------------------------------------


def test_a_run_differs_from_itself_by_nothing_and_from_a_better_one_beyond_chance():
    events, first, second = stream(count=20_000)
    runs = [scored(events.labels, each, events.times_ms) for each in (first, first, second)]
    found = compare(runs, resamples=300)
    same = found.differences[1, 0]["roc_auc"]
    assert (same.value, same.low, same.high) == (0, 0, 0)
    assert same.verdict == "undecided"
    assert found.differences[2, 0]["roc_auc"].verdict == "better"
    assert set(found.differences) == {(1, 0), (2, 0), (2, 1)}
    backwards = compare([runs[2], runs[0]], resamples=300)
    assert backwards.differences[1, 0]["roc_auc"].verdict == "worse"


def test_a_paired_difference_is_known_better_than_either_figure():
    events, first, second = stream(count=20_000)
    found = compare_scores(events, [first, second], resamples=300)

    def width(estimate):
        return estimate.high - estimate.low

    assert width(found.differences[1, 0]["roc_auc"]) < 0.7 * width(found.figures[0]["roc_auc"])


def test_runs_are_compared_on_the_events_that_all_of_them_scored():
    random = np.random.default_rng(0)
    labels = (random.random(500) < 0.2).astype(float)
    labels[10] = np.nan
    scores = random.normal(size=500) + labels
    scores[10] = 0
    some = np.delete(np.arange(500), [3, 4, 400])
    runs = [scored(labels, scores), scored(labels[some], scores[some], rows=some, rejected=3)]
    found = compare(runs, skip=100)
    assert found.left_out == 103
    assert found.events == 397
    assert found.figures[0] == found.figures[1]
    kept = some[100:]
    assert found.figures[0]["roc_auc"].value == roc_auc_score(labels[kept], scores[kept])


def test_runs_with_other_labels_are_not_compared():
    labels = np.array([0.0, 1.0] * 100)
    with pytest.raises(ConfigurationError, match="different labels"):
        compare([scored(labels, labels), scored(1 - labels, labels)])


# --- the command ---------------------------------------------------------------------------------


@pytest.fixture
def configs(tmp_path: Path) -> list[str]:
    paths = []
    for name, kind in (("loda", "loda"), ("forest", "half_space_forest")):
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump({**SETTINGS, "detector": {"kind": kind}}))
        paths.append(str(path))
    return paths


@pytest.fixture
def data(tmp_path: Path) -> str:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"\n".join(record.value or b"" for record in records(3000)) + b"\n")
    return str(path)


def test_evaluate_compares_configurations_as_json(configs, data):
    options = ("--data", data, "--label", "label", "--json")
    done = run("evaluate", *configs, *options, "--resamples", "200")
    assert done.returncode == 0, done.stderr
    both = json.loads(done.stdout)
    assert both["events"] == 3000
    assert both["bootstrap"]["resamples"] == 200
    assert [each["path"] for each in both["configurations"]] == configs
    for each in both["configurations"]:
        alone = json.loads(call("evaluate", each["path"], *options).stdout)
        for name in set(alone) - {"seconds", "events_per_second"}:
            assert each["figures"][name] == alone[name]
        for name in FIGURES:
            estimate = each["estimates"][name]
            assert estimate["value"] == pytest.approx(alone[name])
        assert each["estimates"]["roc_auc"]["low"] < each["estimates"]["roc_auc"]["high"]
    (difference,) = both["differences"]
    assert (difference["against"], difference["of"]) == tuple(configs)
    assert difference["roc_auc"]["verdict"] in {"better", "worse", "undecided"}


def test_evaluate_compares_configurations_in_a_table(configs, data):
    done = call("evaluate", *configs, "--data", data, "--label", "label")
    assert done.returncode == 0, done.stderr
    assert "1,000 resamples" in done.stdout
    assert done.stdout.count("forest.yaml against loda.yaml") == len(FIGURES)
    assert max(map(len, done.stdout.splitlines())) <= 100


def test_configurations_without_labels_have_nothing_to_compare_but_are_shown(configs, data):
    done = call("evaluate", *configs, "--data", data)
    assert done.returncode == 0, done.stderr
    assert "no intervals" in done.stdout
    assert "loda.yaml" in done.stdout


def test_a_pipe_cannot_be_read_by_several(configs):
    done = call("evaluate", *configs, "--data", "-")
    assert done.returncode == 2
    assert "need a file" in done.stderr


def test_names_are_short_and_told_apart():
    assert shown_names(["a/x.yaml", "a/y.yaml"]) == ["x.yaml", "y.yaml"]
    assert shown_names(["a/x.yaml", "b/x.yaml"]) == ["a/x.yaml", "b/x.yaml"]
    assert shown_names(["a" * 40 + ".yaml"]) == ["…" + "a" * 15 + ".yaml"]
