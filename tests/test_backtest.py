"""What a back-test keeps, and what it does not look for."""

from __future__ import annotations

import json
from pathlib import Path

from stream_detector.config.models.config import Config
from stream_detector.connectors.files import FileSource
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
