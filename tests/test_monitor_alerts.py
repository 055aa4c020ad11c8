"""Alerts of monitors wherever people meet alerts: they have no event, and are said in words."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import yaml
from support.commands import run
from support.monitoring import settings_of
from test_monitors import KEYS, WEEK, planted, stream

from stream_detector import load_config
from stream_detector.api import backtest
from stream_detector.cli.label import event_of
from stream_detector.cli.live import alert_lines as live_lines
from stream_detector.config.models.config import KafkaConfig
from stream_detector.errors import ConfigurationError
from stream_detector.events import TopicPartition
from stream_detector.messages import Outgoing
from stream_detector.monitors.wording import monitor_sentence
from stream_detector.pipeline import BatchResult
from stream_detector.report.alert_text import readable
from stream_detector.telemetry.metrics import Metrics
from stream_detector.telemetry.status.page import alert_card
from stream_detector.telemetry.status.recent import Recent

HOSTILE = "<script>alert(1)</script>\x1b[2J\u202e\"'&"
SETTINGS = settings_of(
    {"kind": "rate", "name": "orders", "key": "k"},
    {"kind": "rate", "name": "together", "deviations": 3},
)


def records(named: str = "b") -> list[dict[str, Any]]:
    events = stream(KEYS, 5 * WEEK, planted("b", -111, -105, 0.0), seed=4)
    return [{"t": time, "k": named if key == "b" else key} for time, key in events]


@pytest.fixture(scope="module")
def hostile_alert() -> bytes:
    """The alert of a key whose name would like to be more than a name."""
    found = backtest(load_config(SETTINGS), records(HOSTILE))
    return json.dumps(found.scored.monitors.each["orders"].keys[HOSTILE].strongest).encode()


def recent_of(value: bytes) -> Recent:
    recent = Recent()
    outcome = BatchResult(np.array([0.5]), np.array([False]))
    outcome.alerts.append(Outgoing(TopicPartition("events", 0), 1, None, value, [], None))
    recent.take(outcome)
    return recent


def test_the_sentence_says_what_there_was_and_what_was_expected(hostile_alert: bytes) -> None:
    said = monitor_sentence(json.loads(hostile_alert))
    assert said.startswith("orders, k <script>")
    assert " events from 2024-01-" in said
    assert "were expected (band" in said
    assert "; the others at " in said


def test_on_a_terminal_it_is_two_lines_that_steer_nothing(hostile_alert: bytes) -> None:
    text = readable(hostile_alert)
    assert len(text.splitlines()) == 2
    assert "where" in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    (alert,) = recent_of(hostile_alert).alerts()
    lines = live_lines(alert)
    assert len(lines) == 2
    assert "\x1b" not in "".join(lines)


def test_on_the_status_page_it_has_a_band_and_no_label(hostile_alert: bytes) -> None:
    (alert,) = recent_of(hostile_alert).alerts()
    assert alert.monitor == ("orders", HOSTILE)
    card = alert_card(alert, {})
    assert "<script>" not in card
    assert "were expected (band" in card
    assert 'href="/monitor?monitor=orders&amp;key=%3Cscript%3E' in card
    assert "/label" not in card


def test_one_that_a_tick_showed_is_shown_too(hostile_alert: bytes) -> None:
    body = json.loads(hostile_alert)
    for name in ("topic", "partition", "offset"):
        del body["receipt"][name]
    body["receipt"] |= {"tick": "2024-01-30T10:00:30.000Z", "shard": 0}
    value = json.dumps(body).encode()
    (alert,) = recent_of(value).alerts()
    assert alert.partition is None
    assert "were expected" in readable(value)


@pytest.mark.parametrize(
    "change",
    [
        {"monitor": None},
        {"monitor": {"name": 1, "field": {}, "key": [], "start": "x", "end": "y"}},
        {"reasons": []},
        {"reasons": [{"feature": "events", "value": 1, "share": 1.0, "usual": [1]}]},
        {"monitor": {"name": "m", "field": "k", "key": "a", "start": "2024", "end": None}},
    ],
)
def test_what_others_write_on_the_topic_breaks_nothing(
    hostile_alert: bytes, change: dict[str, Any]
) -> None:
    value = json.dumps({**json.loads(hostile_alert), **change}).encode()
    assert readable(value).startswith("not an alert:")
    assert recent_of(value).alerts() == []


def test_kinds_without_an_expected_number_are_said_by_their_reasons() -> None:
    alert = {
        "monitor": {
            "name": "logins",
            "field": "user",
            "key": "ann",
            "start": "2024-01-30T10:00:30.000Z",
            "end": "2024-01-30T10:00:30.000Z",
            "calendar": "Carnival",
        },
        "reasons": [{"feature": "country", "value": "XX", "share": 1.0}],
    }
    assert monitor_sentence(alert) == (
        "logins, user ann: country XX at 2024-01-30 10:00:30 UTC; calendar Carnival"
    )


def test_silence_is_told_by_its_length() -> None:
    alert = {
        "monitor": {
            "name": "quiet",
            "field": "carrier",
            "key": "AA",
            "start": "2013-03-04T09:12:00.000Z",
            "end": "2013-03-04T10:30:00.000Z",
            "actual": 0,
            "expected": 9.31,
            "pace_of_others": 0.98,
        },
        "reasons": [{"feature": "silence", "value": 4680.0, "share": 1.0, "usual": [0.0, 2400.0]}],
    }
    assert monitor_sentence(alert) == (
        "quiet, carrier AA: no event from 2013-03-04 09:12 to 10:30 UTC where 9.31 were expected "
        "(1.3 h; one gap of a hundred lasts 40 min); the others at 0.98 of their pace"
    )


def test_a_monitors_alert_cannot_be_labelled() -> None:
    kafka = KafkaConfig(
        bootstrap_servers="localhost:1",
        topics=["events"],
        group="g",
        alerts="alerts",
        dead_letters="dead",
    )
    with pytest.raises(ConfigurationError, match="many events, and has no label"):
        event_of(load_config(SETTINGS), kafka, "rate:orders:a-1-2:2024-01-01T00:00:00.000Z")


def test_evaluate_tells_alerts_by_monitor_and_key(tmp_path: Any) -> None:
    config, data = tmp_path / "c.yaml", tmp_path / "d.jsonl"
    config.write_text(yaml.safe_dump(SETTINGS))
    data.write_text("".join(json.dumps(record) + "\n" for record in records(HOSTILE)))
    done = run("evaluate", str(config), "--data", str(data), "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    orders, together = found["monitors"]
    assert (orders["name"], orders["kind"], orders["field"]) == ("orders", "rate", "k")
    assert found["monitor_alerts"] == orders["alerts"] + together["alerts"]
    assert sum(each["alerts"] for each in orders["top_keys"]) == orders["alerts"]
    assert orders["top_keys"][0]["key"] == HOSTILE
    assert (orders["keys"], orders["keys_judged"], together["keys"]) == (5, 5, 1)
    scores = [each["strongest"] for each in orders["top_keys"]]
    assert scores == sorted(scores, reverse=True)
    shown = run("evaluate", str(config), "--data", str(data))
    assert "monitor orders (rate by k): " in shown.stdout
    assert "were expected (band" in shown.stdout
    assert "\x1b" not in shown.stdout


def test_alerts_of_monitors_are_no_part_of_the_events_alert_rate() -> None:
    metrics = Metrics()
    metrics.add_decisions(0, 10_000, {"low": 50}, 0, beside=50)
    samples = {s.name: s.value for f in metrics.registry.collect() for s in f.samples}
    assert samples["stream_detector_alert_rate_ratio"] == 0.0
    assert samples["stream_detector_alerts_total"] == 50
