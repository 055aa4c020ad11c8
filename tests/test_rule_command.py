"""``stream-detector rule``: proposed around an alert, held against history, written or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from kafka_broker.clients import Message, consume_all, create_topic, produce, unique_name
from test_daemon import topics
from test_rules import CONFIGURATION, Run, ruled, strange, stream

from stream_detector.__main__ import main
from stream_detector.rules import RuleAdd, read_act

TOLD = ["--expires", "30d", "--owner", "Ada", "--why", "the rent", "--yes"]


def seen() -> Run:
    """A stream in which the card "rent" is strange each time, with its alerts."""
    events = stream(6000)
    strange(events, range(3200, 6000, 400))
    return ruled(events)


RUN = seen()
RENT = RUN.of()[0]


@pytest.fixture
def place(kafka, tmp_path: Path) -> tuple[str, dict[str, Any], str]:
    """Events, alerts and labels on their topics, and the configuration's file."""
    bootstrap = kafka.bootstrap
    section = topics(bootstrap)
    section["rules"] = unique_name("rules")
    section["labels"] = create_topic(bootstrap, unique_name("labels"), 1, {"retention.ms": "-1"})
    produce(bootstrap, section["alerts"], [Message(json.dumps(a).encode()) for a in RUN.alerts])
    last = Message(json.dumps(stream(6000)[-1]).encode())
    produce(bootstrap, section["topics"][0], [last])
    config = {**CONFIGURATION, "kafka": section, "labels": {"delay": "2d"}, "metrics": {"port": 0}}
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    return bootstrap, section, str(path)


def labelled(bootstrap: str, section: dict[str, Any], event_id: str, label: str) -> None:
    value = json.dumps({"event_id": event_id, "label": label}).encode()
    produce(bootstrap, section["labels"], [Message(value)])


def written(bootstrap: str, section: dict[str, Any]) -> list[Any]:
    return [read_act(record.value) for record in consume_all(bootstrap, section["rules"])]


def test_a_rule_is_proposed_around_an_alert_shown_with_its_history_and_written(
    place: tuple[str, dict[str, Any], str], capsys: pytest.CaptureFixture[str]
) -> None:
    bootstrap, section, path = place
    labelled(bootstrap, section, RENT["event_id"], "normal")
    assert main(["rule", "add", path, "--from", RENT["id"], *TOLD]) == 0
    said = capsys.readouterr().out
    assert "card is rent" in said
    assert "1 false alarms" in said
    (act,) = written(bootstrap, section)
    assert isinstance(act, RuleAdd)
    low, high = act.rule.box.features[0].at_least, act.rule.box.features[0].at_most
    assert low is not None
    assert high is not None
    assert 700 < low < 900 < high < 1100
    assert act.rule.origins == (RENT["id"],)
    assert act.rule.rarest == RENT["rarity"]
    assert act.rule.made_ms == RUN.core.watermark_ms, "what time it is, the stream says"
    assert act.rule.expires_ms - act.rule.made_ms == 30 * 86_400_000
    assert act.rule.most_per_day == 20
    assert main(["rule", "list", path]) == 0
    assert f"{act.rule.id}  active" in capsys.readouterr().out
    assert main(["rule", "test", path, act.rule.id]) == 0
    assert "of the last" in capsys.readouterr().out
    assert main(["rule", "show", path, act.rule.id]) == 0
    assert "the rent" in capsys.readouterr().out
    assert main(["rule", "remove", path, act.rule.id, "--owner", "Ada", "--why", "moved"]) == 0
    assert main(["rule", "list", path, "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == []


def test_a_rule_that_covers_a_hit_is_refused(
    place: tuple[str, dict[str, Any], str], capsys: pytest.CaptureFixture[str]
) -> None:
    bootstrap, section, path = place
    labelled(bootstrap, section, RUN.of()[1]["event_id"], "fraud")
    assert main(["rule", "add", path, "--from", RENT["id"], *TOLD]) == 2
    said = capsys.readouterr()
    assert "a label calls a hit" in said.err
    assert RUN.of()[1]["id"] in said.err
    with pytest.raises(Exception, match="not"):
        written(bootstrap, section)


def test_a_back_test_shows_what_is_hidden_and_refuses_what_hides_a_labelled_hit(
    place: tuple[str, dict[str, Any], str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    _, _, path = place
    events = stream(6000)
    strange(events, range(3200, 6000, 400))
    strange(events, range(3600, 3601), fraud=1)
    data = tmp_path / "history.jsonl"
    data.write_text("\n".join(map(json.dumps, events)))
    given = ["--from", RENT["id"], "--data", str(data), "--label", "fraud"]
    assert main(["rule", "test", path, *given]) == 0
    said = capsys.readouterr().out
    assert "it hides 7" in said
    assert "refused" in said
    assert main(["rule", "add", path, *given, *TOLD]) == 2


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["--feature", "amonut=1..2"], "knows no amonut"),
        (["--feature", "amount=1..2"], "does not cover"),
        (["--feature", "amount"], "expected NAME=LOW..HIGH"),
        (["--feature", "amount=2000..1000"], "above at_most"),
        (["--field", "card"], "expected NAME=VALUE"),
        (["--expires", "500d"], "longer than a year"),
        (["--expires", "never"], "a duration"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(
    place: tuple[str, dict[str, Any], str],
    capsys: pytest.CaptureFixture[str],
    flags: list[str],
    why: str,
) -> None:
    _, _, path = place
    assert main(["rule", "add", path, "--from", RENT["id"], *TOLD, *flags]) == 2
    assert why in capsys.readouterr().err


def test_what_is_no_alert_is_refused(
    place: tuple[str, dict[str, Any], str],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    _, _, path = place
    other = tmp_path / "other.json"
    other.write_text("{}")
    for name, why in (("nothing-0-1", "does not hold it"), (str(other), "no alert")):
        assert main(["rule", "add", path, "--from", name, *TOLD]) == 2
        assert why in capsys.readouterr().err
