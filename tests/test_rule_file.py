"""Rules from a file, over history."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.commands import call
from test_rules import CONFIGURATION, rule, strange, stream


@pytest.fixture
def history(tmp_path: Path) -> tuple[str, str]:
    """A configuration, and events in which a card is strange each time."""
    events = stream(5000)
    strange(events, range(3200, 5000, 200))
    data, config = tmp_path / "events.jsonl", tmp_path / "config.json"
    data.write_text("\n".join(map(json.dumps, events)))
    config.write_text(json.dumps(CONFIGURATION))
    return str(config), str(data)


@pytest.mark.parametrize("form", ["array", "lines"])
def test_history_is_run_with_rules(history: tuple[str, str], tmp_path: Path, form: str) -> None:
    config, data = history
    bare = json.loads(call("evaluate", config, "--data", data, "--json").stdout)
    assert "hidden_by_rules" not in bare
    rules = tmp_path / "rules.json"
    act = {"version": 1, "act": "rule-add", "rule": rule()}
    rules.write_text(json.dumps([{**rule(), "state": "active"}] if form == "array" else act))
    ran = call("evaluate", config, "--data", data, "--rules", str(rules), "--json")
    assert ran.returncode == 0, ran.stderr
    figures = json.loads(ran.stdout)
    assert figures["hidden_by_rules"] >= 8
    assert figures["alerts"] + figures["hidden_by_rules"] >= bare["alerts"]


@pytest.mark.parametrize(
    "text", ["{", "[1]", '[{"id": "a"}]', '{"version": 1, "act": "else"}', "\x00"]
)
def test_what_is_no_rule_is_refused(history: tuple[str, str], tmp_path: Path, text: str) -> None:
    config, data = history
    rules = tmp_path / "rules.json"
    rules.write_text(text)
    ran = call("evaluate", config, "--data", data, "--rules", str(rules))
    assert ran.returncode == 2
    assert "--rules" in ran.stderr
