"""What a back-test keeps, and what it does not look for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stream_detector.config.models.config import Config
from stream_detector.connectors.files import FileSource
from stream_detector.counterfactuals.finder import Counterfactuals
from stream_detector.evaluation.backtest import Scored, backtest
from stream_detector.simulation import transactions

CONFIG = {
    "name": "backtest",
    "event": {"id": "TRANSACTION_ID", "time": {"field": "TX_DATETIME"}},
    "features": [{"numeric": "TX_AMOUNT"}, {"time": "night"}],
    "detector": {"kind": "loda"},
    "threshold": {"budget": "2 %"},
}


def run(path: Path, keep_alerts: int) -> Scored:
    source = FileSource(str(path), max_poll_records=500)
    return backtest(Config.model_validate(CONFIG), source, keep_alerts=keep_alerts)


def test_alerts_that_nobody_keeps_are_counted_without_their_reasons(tmp_path: Path) -> None:
    """All else is the same: scores, what was raised, and the alerts that are kept."""
    path = tmp_path / "events.jsonl"
    days = transactions.generate(6000, seed=4)
    path.write_bytes(b"\n".join(line for day in days for line in day.json_lines()))
    every, some, none = (run(path, keep) for keep in (10**6, 20, 0))
    assert len(every.alerts) == every.alert_count == some.alert_count == none.alert_count > 40
    assert [a.value for a in some.alerts] == [a.value for a in every.alerts[:20]]
    assert none.alerts == []
    assert every.scores.tobytes() == some.scores.tobytes() == none.scores.tobytes()
    assert (every.raised == none.raised).all()
    assert all(json.loads(alert.value)["reasons"] for alert in every.alerts)


def test_what_would_have_been_ordinary_is_looked_for_only_of_alerts_that_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Incidents need the reasons of all alerts, and no more than these."""
    path = tmp_path / "events.jsonl"
    days = transactions.generate(6000, seed=4)
    path.write_bytes(b"\n".join(line for day in days for line in day.json_lines()))
    asked: list[float] = []
    find = Counterfactuals.find

    def counted(self: Counterfactuals, *arguments: Any) -> Any:
        asked.append(1)
        return find(self, *arguments)

    monkeypatch.setattr(Counterfactuals, "find", counted)
    config = Config.model_validate({**CONFIG, "incidents": {"fields": ["CUSTOMER_ID"]}})
    every = backtest(config, FileSource(str(path), max_poll_records=100), keep_alerts=10**6)
    of_every = len(asked)
    some = backtest(config, FileSource(str(path), max_poll_records=100), keep_alerts=5)
    assert every.alert_count == some.alert_count
    # Kept ones are judged batch by batch; of a burst the first ones of a chunk are asked about.
    assert 5 <= len(asked) - of_every < 30 < of_every <= every.alert_count
    assert every.incidents.figures() == some.incidents.figures()
    assert every.incidents.figures()["opened"] > 0
