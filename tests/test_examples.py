"""The examples run, and say what they promise; the notebook as Jupyter would run it."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stream_detector.__main__ import main

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
README = EXAMPLES.parent / "README.md"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))


def shown(code: str, names: dict[str, Any], where: str) -> Any:
    """Run a cell; the value of its last line, where that is an expression, as a notebook shows."""
    tree = ast.parse(code, where)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, where, "exec"), names)
    if last is None:
        return None
    return eval(compile(ast.Expression(last.value), where, "eval"), names)


def html_or_text(value: Any) -> str:
    return value._repr_html_() if hasattr(value, "_repr_html_") else repr(value)


@pytest.fixture
def in_an_empty_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(EXAMPLES.parent))
    return tmp_path


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
@pytest.mark.usefixtures("in_an_empty_place")
def test_the_notebook_runs_from_top_to_bottom(path):
    names: dict[str, Any] = {"__name__": "__main__"}
    outputs = {}
    for cell in json.loads(path.read_text())["cells"]:
        if cell["cell_type"] == "code":
            code = "".join(cell["source"])
            outputs[cell["id"]] = html_or_text(shown(code, names, f"{path.name}#{cell['id']}"))
    assert "alerts" in outputs["scores"]
    assert "1 in " in outputs["scores"]
    assert "roc auc" in outputs["backtests"]
    assert "half_space_forest against adaptive_ensemble" in outputs["comparison"]
    assert len(names["alerts"]) > 20


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_the_notebook_is_committed_without_outputs_and_sound(path):
    notebook = json.loads(path.read_text())
    assert notebook["nbformat"] == 4
    identifiers = [cell["id"] for cell in notebook["cells"]]
    assert len(set(identifiers)) == len(identifiers) > 5
    for cell in notebook["cells"]:
        fields = {"cell_type", "id", "metadata", "source"}
        if cell["cell_type"] == "code":
            fields |= {"execution_count", "outputs"}
            assert cell["outputs"] == []
            assert cell["execution_count"] is None
        assert set(cell) == fields
        assert cell["metadata"] == {}


def run(name: str, *arguments: str, given: str = "") -> str:
    ran = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        input=given,
        env={**os.environ, "PYTHONPATH": str(EXAMPLES.parent)},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout + ran.stderr


def test_the_example_of_dicts_goes_on_where_it_has_ended(tmp_path):
    state = str(tmp_path / "state.bin")
    assert "5,000 events scored" in run("score_events.py", state)
    second = run("score_events.py", state)
    assert "10,000 events scored" in second
    assert "duration" in second


def test_the_example_of_lines_says_what_it_leaves_out(tmp_path):
    command = "stream_detector simulate transactions --count 8000 --customers 300"
    lines = subprocess.run(
        [sys.executable, "-m", *command.split()],
        capture_output=True,
        text=True,
        check=True,
        timeout=240,
    ).stdout.splitlines()
    given = "\n".join(["no JSON", *lines])
    said = run("filter_lines.py", given=given)
    assert "left out: event 0" in said
    found = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert len(found) > 3
    assert all(alert["reasons"] for alert in found)


@pytest.mark.usefixtures("in_an_empty_place")
def test_the_lines_of_python_in_the_readme_run(capsys):
    command = "simulate transactions --count 9000 --customers 300 --format csv --output events.csv"
    assert main(command.split()) == 0
    assert main(["init", "--data", "events.csv", "--output", "config.yaml"]) == 0
    capsys.readouterr()
    block = re.search(r"^```python\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    assert block is not None
    names: dict[str, Any] = {}
    exec(compile(block[1], "README.md", "exec"), names)
    assert "9,000 events, 9,000 scored" in capsys.readouterr().out
    assert names["events"]["score"].notna().all()
    assert len(names["state"]) > 1000


def test_every_example_is_run_here():
    assert {path.name for path in EXAMPLES.iterdir() if path.suffix in {".py", ".ipynb"}} == {
        "compare_detectors.ipynb",
        "filter_lines.py",
        "score_events.py",
    }
