"""The comparison with other libraries: it runs, and its tables say what was measured."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


def record(detector: str, stream: str, auc: float, **changes: object) -> dict[str, object]:
    figures = {"auc": {"whole": auc, "30000": auc}, "ap": {"whole": auc / 2, "30000": auc / 2}}
    return {"part": "comparison", "detector": detector, "set": stream, **figures, **changes}


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(REPOSITORY))
    return importlib.import_module("benchmarks.quality.report")


def test_the_comparison_runs_and_scores_before_it_learns(tmp_path: Path) -> None:
    """Two detectors on a stream of our own in the place of a public one."""
    random = np.random.default_rng(0)
    labels = (random.random(1500) < 0.05).astype(float)
    features = random.normal(size=(1500, 4))
    features[labels > 0] += 6.0
    np.savez(tmp_path / "mammography.npz", X=features, y=labels)
    output = tmp_path / "results.json"
    command = [sys.executable, "-m", "benchmarks.quality", "--parts", "comparison"]
    command += ["--detectors", "ensemble,river-hst", "--sets", "mammography"]
    command += ["--data", str(tmp_path), "--output", str(output)]
    ran = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    found = {each["detector"]: each for each in json.loads(output.read_text())["records"]}
    assert set(found) == {"ensemble", "river-hst"}
    for each in found.values():
        assert each["rows"] == 1500
        assert each["auc"]["whole"] > 0.9
    assert "| mammography |" in ran.stdout
    assert "River HalfSpaceTrees" in ran.stdout


def test_means_are_of_the_same_rows_and_the_worst_gap_is_named(report) -> None:
    records = [
        record("ensemble", "cardio", 0.9),
        record("ensemble", "pima", 0.7),
        record("river-hst", "cardio", 0.8),
        record("river-hst", "pima", 0.75),
        record("pysad-loda", "cardio", 0.99),  # not on pima: in no mean
        {"part": "comparison", "detector": "capymoa-aif", "set": "pima", "error": "not installed"},
    ]
    results = {"records": records, "date": "2026-01-01", "versions": {"river": "0.26"}}
    tables = report.tables(results)
    whole = tables["comparison-whole"]
    assert "| **mean** | 0.800 | 0.775 |" in whole
    assert "+0.025 from the best peer's mean (River HalfSpaceTrees)" in whole
    assert "is -0.050 (pima)" in whole
    assert "LODA" not in whole
    assert "CapyMOA AdaptiveIsolationForest on pima: `not installed`" in tables["failures"]
    assert tables["versions"] == "Measured 2026-01-01 with river 0.26."


def test_the_page_has_a_mark_for_every_table(report) -> None:
    text = (REPOSITORY / "docs" / "quality.md").read_text()
    marks = [f"comparison-{prefix}" for prefix in report.PREFIXES]
    for name in (*marks, "members", "seeds", "warm_up", "ablation", "failures", "versions"):
        assert text.count(f"<!-- {name} -->\n") == 1
