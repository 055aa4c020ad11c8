"""Acts beside a real broker: taken in once, through kills; replayed without their topic."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from kafka_broker.clients import (
    Message,
    admin_client,
    consume_all,
    create_topic,
    produce,
    unique_name,
)
from support.process import DaemonProcess, alerts_in, wait_until
from support.streams import records
from test_daemon import messages, settings, topics
from test_state_verify import verify

from stream_detector.commits.slices import composed
from stream_detector.config.loading.load import parse
from stream_detector.connectors.kafka.reading.acts import KafkaActs
from stream_detector.connectors.kafka.writing.acts import write_act
from stream_detector.errors import StateError
from stream_detector.journal import JournalAct, JournalRecord, Range, decode, encode
from stream_detector.rules import RuleAdd, RuleDisable, RuleRemove, read_act

QUICK = {"session_timeout_ms": 1500, "heartbeat_interval_ms": 300}
EVENTS = 3000


def rule(name: str, low: float, high: float, **changes: Any) -> dict[str, Any]:
    return {
        "id": name,
        "owner": "Ada",
        "why": "paid so",
        "made": "2020-09-13T00:00:00Z",
        "expires": "2020-10-13T00:00:00Z",
        "from": ["in-0-1"],
        "box": {"features": [{"feature": "amount", "at_least": low, "at_most": high}]},
        "rarest": 1e9,
        **changes,
    }


def added(name: str, low: float, high: float, **changes: Any) -> Message:
    act = {"version": 1, "act": "rule-add", "rule": rule(name, low, high, **changes)}
    return Message(json.dumps(act).encode(), 0, f"rule:{name}".encode(), None)


ACTS = [
    added("large", 20_000.0, 1e9),
    Message(b"\xff no act", 0, b"rule:broken", None),
    Message(None, 0, b"rule:gone", None),
    added("middle", 2_000.0, 19_999.0),
    added("later", 0.0, 1e9, made="2020-09-14T00:00:00Z", expires="2020-09-14T02:00:00Z"),
]


@pytest.fixture
def empty(kafka) -> tuple[str, str]:
    """A topic to write events to."""
    return kafka.bootstrap, topics(kafka.bootstrap, 2)["topics"][0]


@pytest.fixture
def stream(empty: tuple[str, str]) -> tuple[str, str]:
    """A topic of events."""
    produce(*empty, messages(records(EVENTS), 2))
    return empty


def ruled(
    bootstrap: str, source: str, directory: Path, acts: list[Message], **changes: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A group of its own on the same events, with acts that are there before it begins."""
    directory.mkdir()
    control = create_topic(bootstrap, unique_name("rules"), 1, {"retention.ms": "-1"})
    produce(bootstrap, control, acts)
    section = {**topics(bootstrap, 1), "topics": [source], "rules": control, "consumer": QUICK}
    config = settings(
        section,
        directory,
        processing={"commit_interval": "50ms"},
        state={"directory": str(directory / "state"), "interval": "500ms"},
        labels={"field": "label", "delay": "1h"},
        **changes,
    )
    return section, config


def written(bootstrap: str, section: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [
        (one.key, one.value, tuple(one.headers))
        for name in ("alerts", "dead_letters", "rules")
        for one in consume_all(bootstrap, section[name])
    ]


POINTS = (
    "acted:1",
    "acted:3",
    # In the commit of the acts, which is the first.
    "after_flush:1",
    "after_offsets:1",
    "after_commit:1",
    # In one of events.
    "after_flush:1",
    "after_commit:1",
    "in_replay:1",
    "snap_tmp:1",
    "snap_renamed:1",
    "mid_produce:1",
)
PORTION = 250


def test_kills_at_every_failpoint_change_no_byte_and_the_topic_is_not_needed_afterwards(
    empty: tuple[str, str], tmp_path: Path
) -> None:
    bootstrap, source = empty
    made = messages(records(EVENTS), 2)
    wild, config = ruled(bootstrap, source, tmp_path / "wild", ACTS)
    for number, point in enumerate(POINTS):
        produce(bootstrap, source, made[number * PORTION : (number + 1) * PORTION])
        armed = {"FAILPOINT": point}
        with DaemonProcess(
            tmp_path / "wild", config, environment=armed, name=f"kill-{number}"
        ) as killed:
            wait_until(lambda killed=killed: not killed.running(), f"the kill at {point}", 90)
            assert killed.wait(10) == -9, killed.text()
    produce(bootstrap, source, made[len(POINTS) * PORTION :])
    with DaemonProcess(tmp_path / "wild", config, name="last") as daemon:
        daemon.wait_ready().wait_worked_off()
        assert daemon.stop() == 0, daemon.text()

    calm, calm_config = ruled(bootstrap, source, tmp_path / "calm", ACTS)
    with DaemonProcess(tmp_path / "calm", calm_config) as undisturbed:
        undisturbed.wait_processed(EVENTS).wait_worked_off()
        assert undisturbed.metric("acts_total", act="rule-add", result="taken") == 3
        assert undisturbed.metric("acts_total", result="skipped") == 2
        assert undisturbed.metric("rule_hidden_total") > 3
        assert undisturbed.metric("rules_disabled_total") >= 1
        assert undisturbed.stop() == 0, undisturbed.text()
    alerts = alerts_in(bootstrap, calm["alerts"])
    assert {one["rule"]["disabled"] for one in alerts if one.get("kind") == "rule"} == {"label"}
    assert any("shown_by" in one["receipt"] for one in alerts)
    assert any("expired" in one.get("rule", {}) for one in alerts)
    assert written(bootstrap, wild) == written(bootstrap, calm)

    delete_topic(bootstrap, wild["rules"])
    code, found = verify(daemon.config)
    assert code == 0, json.dumps(found, indent=1)
    assert found[0]["alerts_expected"] == len(alerts)
    journal = [decode(r.value) for r in consume_all(bootstrap, f"{wild['group']}-journal")]
    acts = [act for one in journal for act in one.acts]
    assert [act.offset for act in acts[:5]] == [0, 1, 2, 3, 4]
    assert [bool(act.text) for act in acts[:5]] == [True, False, False, True, True]
    own = [read_act(act.text) for act in acts[5:]]
    assert {type(act) for act in own} == {RuleDisable}, "what the daemon itself has written"


def delete_topic(bootstrap: str, name: str) -> None:
    with admin_client(bootstrap) as admin:
        admin.delete_topics([name], timeout_ms=10_000)


def test_a_rule_that_comes_while_events_do_is_taken_in_and_computed_again(
    stream: tuple[str, str], tmp_path: Path
) -> None:
    bootstrap, source = stream
    section, config = ruled(bootstrap, source, tmp_path / "live", [])
    more = records(2 * EVENTS)[EVENTS:]
    with DaemonProcess(tmp_path / "live", config) as daemon:
        daemon.wait_processed(EVENTS).wait_worked_off()
        kafka = parse(json.dumps(config), "config.yaml", {}).config.kafka
        assert kafka is not None
        text = json.dumps({"version": 1, "act": "rule-add", "rule": rule("all", 100.0, 1e9)})
        act = read_act(text)
        assert isinstance(act, RuleAdd)
        write_act(kafka, act)
        wait_until(lambda: daemon.metric("rules", state="active") == 1, "the rule")
        produce(bootstrap, source, messages(more, 2))
        wait_until(lambda: daemon.metric("rule_hidden_total") > 0, "something hidden")
        write_act(kafka, RuleRemove(1, "all", "Ada", "moved"))
        wait_until(lambda: daemon.metric("rules", state="active") == 0, "no rule")
        daemon.wait_worked_off()
        assert daemon.stop() == 0, daemon.text()
    delete_topic(bootstrap, section["rules"])
    code, found = verify(daemon.config)
    assert code == 0, json.dumps(found, indent=1)


def test_a_control_topic_made_anew_is_read_from_its_beginning(kafka, tmp_path: Path) -> None:
    section, config = ruled(kafka.bootstrap, "none", tmp_path / "anew", ACTS[:1])
    settings_of = parse(json.dumps(config), "config.yaml", {}).config.kafka
    assert settings_of is not None
    for offset, found in ((0, [0]), (1, []), (100, [0])):
        acts = KafkaActs(settings_of, section["rules"], offset)
        try:
            assert [at for at, _ in acts.catch_up()] == found
            assert acts.poll() == []
        finally:
            acts.close()


# --- the journal's form -------------------------------------------------------------------------


def record(**changes: Any) -> JournalRecord:
    from test_ticks import SOURCE  # noqa: PLC0415

    steps = ((Range(SOURCE, 0, 5),), (Range(SOURCE, 5, 9),))
    return JournalRecord(0, 1, steps, (), 9, "f" * 32, "c" * 16, **changes)


def test_acts_come_back_as_they_were_and_records_without_them_are_as_before() -> None:
    acts = (JournalAct(0, 0, 4, '{"a":"ü"}'), JournalAct(1, 1, 5, ""), JournalAct(2, 1, 7, "{}"))
    ticked = record(acts=acts, ticks=((1, 5000),))
    assert decode(encode(ticked)) == ticked
    assert b"acts" not in encode(record())


@pytest.mark.parametrize(
    "acts",
    [
        (JournalAct(3, 0, 0, "x"),),
        (JournalAct(0, 1, 0, "x"),),
        (JournalAct(1, 0, 0, "x"), JournalAct(0, 0, 1, "x")),
        (JournalAct(0, 0, -2, "x"),),
    ],
)
def test_an_act_without_a_place_in_its_record_is_refused(acts: tuple[JournalAct, ...]) -> None:
    with pytest.raises(StateError, match="act"):
        decode(encode(record(acts=acts)))


def test_slices_count_steps_and_ticks_through() -> None:
    from stream_detector.commits.slices import Slice  # noqa: PLC0415

    parts = [
        Slice({}, record(acts=(JournalAct(2, 0, 3, "x"),)), {}, 0),
        Slice({}, record(ticks=((0, 7),), acts=(JournalAct(1, 1, 4, "y"),)), {}, 0),
    ]
    composite = decode(composed(parts, 1, {}).journal)
    assert composite.acts == (JournalAct(2, 0, 3, "x"), JournalAct(3, 1, 4, "y"))
