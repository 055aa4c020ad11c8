"""Incidents in the pipeline: no cut and no restart matters, and alerts stay as they are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from support.streams import bytes_of, configuration, decode, new_pipeline, records, run_in_cuts

from stream_detector.connectors.kafka.reading.incident_log import read_incident
from stream_detector.errors import StateMismatchError
from stream_detector.events import TopicPartition
from stream_detector.incidents import CHANGES
from stream_detector.markup import escape
from stream_detector.messages import Outgoing
from stream_detector.pipeline import BatchResult, PipelineCore
from stream_detector.report.incident_text import change_line, incident_lines, timeline
from stream_detector.snapshots import Snapshot, encode
from stream_detector.snapshots import decode as decode_snapshot
from stream_detector.telemetry.status.incidents import OpenIncidents, incidents_section

DOCS = Path(__file__).resolve().parents[1] / "docs"
STREAM = records(3000)
MONITORS = [
    {"kind": "rate", "name": "users", "key": "user", "bucket": "10m", "budget": "20 per day"},
    {"kind": "silence", "name": "missed", "bucket": "10m", "budget": "20 per day"},
]
SECTION = {"group_wait": "2m", "quiet": "20m"}


def config_of(**changes: Any):
    return configuration(**{"monitors": MONITORS, "incidents": SECTION, **changes})


def incidents_of(outcomes: Sequence[BatchResult]) -> list[Outgoing]:
    return [message for outcome in outcomes for message in outcome.incidents]


def stored(pipeline: PipelineCore) -> bytes:
    return bytes(encode(Snapshot({}, pipeline.state())))


@pytest.fixture(scope="module")
def whole() -> tuple[list[Outgoing], bytes]:
    config = config_of()
    pipeline = new_pipeline(config)
    messages = incidents_of(run_in_cuts(pipeline, config, STREAM, []))
    states = {json.loads(message.value or b"")["state"] for message in messages}
    assert states >= {"open", "resolved"}
    return messages, stored(pipeline)


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(1, 2999), max_size=60))
def test_incidents_do_not_depend_on_how_polls_cut_the_stream(whole, cuts) -> None:
    config = config_of()
    pipeline = new_pipeline(config)
    assert incidents_of(run_in_cuts(pipeline, config, STREAM, cuts)) == whole[0]
    assert stored(pipeline) == whole[1]


def test_one_event_a_poll_gives_the_same_incidents(whole) -> None:
    config = config_of()
    pipeline = new_pipeline(config)
    assert incidents_of(run_in_cuts(pipeline, config, STREAM, list(range(3000)))) == whole[0]
    assert stored(pipeline) == whole[1]


@pytest.mark.parametrize("stop", [1, 700, 1000, 2047, 2900])
def test_a_restart_goes_on_with_the_same_incidents(whole, stop: int) -> None:
    config = config_of()
    first = new_pipeline(config)
    before = run_in_cuts(first, config, STREAM[:stop], [])
    second = new_pipeline(config)
    second.restore(decode_snapshot(stored(first)).state)
    after = run_in_cuts(second, config, STREAM[stop:], [])
    assert incidents_of([*before, *after]) == whole[0]
    assert stored(second) == whole[1]


def test_alerts_and_scores_are_those_of_a_pipeline_without_incidents() -> None:
    plain, grouped = config_of(incidents=None), config_of()
    expected = run_in_cuts(new_pipeline(plain), plain, STREAM, [])
    outcomes = run_in_cuts(new_pipeline(grouped), grouped, STREAM, [])
    assert bytes_of(outcomes) == bytes_of(expected)
    assert not incidents_of(expected)


def test_without_the_section_the_state_has_no_incidents() -> None:
    config = configuration()
    pipeline = new_pipeline(config)
    run_in_cuts(pipeline, config, STREAM[:600], [])
    assert "incidents" not in pipeline.state()


def test_every_message_says_what_caused_it_and_comes_in_the_order_of_the_events(whole) -> None:
    offsets = [message.offset for message in whole[0]]
    assert offsets == sorted(offsets)
    for message in whole[0]:
        body = json.loads(message.value or b"")
        headers = dict(message.headers)
        receipt = body["receipt"]
        assert message.key == body["id"].encode()
        assert headers["ce_id"] == f"{body['id']}/{body['revision']}".encode()
        assert headers["ce_type"] == b"io.stream-detector.incident.v1"
        assert headers["ce_time"] == body["time"].encode()
        assert (receipt["topic"], receipt["partition"], receipt["offset"]) == (
            message.source.topic,
            message.source.partition,
            message.offset,
        )
        assert {"configuration", "sequence", "chunk", "state"} <= receipt.keys()


def test_each_incident_counts_its_revisions_without_a_gap(whole) -> None:
    seen: dict[str, int] = {}
    for message in whole[0]:
        body = json.loads(message.value or b"")
        assert body["revision"] == seen.get(body["id"], 0) + 1
        seen[body["id"]] = body["revision"]


def test_a_tick_ends_what_waits_for_time() -> None:
    config = config_of(monitors=[], incidents={"quiet": "1d", "longest_quiet": "1d"})
    pipeline = new_pipeline(config)
    before = incidents_of(run_in_cuts(pipeline, config, STREAM, []))
    ticked: list[BatchResult] = []
    while (due := pipeline.decisions.due_ms) is not None:
        ticked.append(pipeline.tick(due, 3))
    assert incidents_of(ticked)
    for outcome in ticked:
        for message, body in zip(outcome.incidents, outcome.incident_bodies, strict=True):
            assert message.source == TopicPartition("", 3)
            assert body["receipt"]["shard"] == 3
            assert body["receipt"]["tick"] == body["time"]
    latest = {m.key: json.loads(m.value or b"")["state"] for m in [*before, *incidents_of(ticked)]}
    assert set(latest.values()) == {"resolved"}


def test_settings_may_change_between_two_runs_and_what_is_open_goes_on() -> None:
    first_config = config_of(incidents={"quiet": "1d"})
    second_config = config_of(incidents={"quiet": "1m"})
    first = new_pipeline(first_config)
    run_in_cuts(first, first_config, STREAM[:2900], [])
    second = new_pipeline(second_config)
    second.restore(first.state())
    incidents = second.decisions.incidents
    assert incidents.settings == first.decisions.incidents.settings  # until live work begins
    assert incidents.use_own()
    assert not incidents.use_own()
    after = run_in_cuts(second, second_config, STREAM[2900:], [])
    assert {json.loads(m.value or b"")["state"] for m in incidents_of(after)} & {"resolved"}


def test_a_state_of_before_there_were_incidents_goes_on_without_them() -> None:
    plain, grouped = config_of(incidents=None), config_of()
    first = new_pipeline(plain)
    run_in_cuts(first, plain, STREAM[:2900], [])
    second = new_pipeline(grouped)
    second.restore(first.state())
    assert second.decisions.incidents.tracker is None
    assert second.decisions.incidents.use_own()
    assert second.decisions.incidents.tracker is not None


@pytest.mark.parametrize(
    "settings", [7, "", "{", '{"quiet": "none"}', '{"else": 1}', "x" * 200_000]
)
def test_settings_that_are_none_are_refused(settings: Any) -> None:
    config = config_of()
    pipeline = new_pipeline(config)
    run_in_cuts(pipeline, config, STREAM[:100], [])
    state = pipeline.state()
    changed = {**state, "incidents": {**state["incidents"], "settings": settings}}
    with pytest.raises(StateMismatchError):
        new_pipeline(config).restore(changed)


def test_a_field_of_the_section_is_read_though_nothing_else_needs_it() -> None:
    config = config_of(incidents={"fields": ["label"]})
    batch = decode(config, STREAM[:10])
    assert len(batch.text) == len(decode(config_of(), STREAM[:10]).text) + 1


def test_messages_fit_the_schema_and_read_well(whole) -> None:
    schema = json.loads((DOCS / "incident.schema.json").read_text())
    validator = Draft202012Validator(schema)
    Draft202012Validator.check_schema(schema)
    bodies = [json.loads(message.value or b"") for message in whole[0]]
    changes = set()
    for body in bodies:
        validator.validate(body)
        assert body.keys() <= schema["properties"].keys()
        changes.add(body["change"])
        assert "not an incident" not in change_line(body)
        assert read_incident(json.dumps(body).encode()) == body
    assert changes <= set(CHANGES)
    assert changes <= set(schema["properties"]["change"]["enum"])
    last = [body for body in bodies if body["id"] == bodies[-1]["id"]]
    text = "\n".join(timeline(last))
    assert bodies[-1]["id"] in text
    assert text.count("\n    20") >= len(last)


@pytest.mark.parametrize("value", [None, b"", b"\xff", b"[]", b"{}", b'{"id": 1}', b"[" * 10_000])
def test_what_is_no_incident_is_passed_over(value: bytes | None) -> None:
    assert read_incident(value) is None


def test_what_an_event_holds_steers_neither_terminal_nor_page(whole) -> None:
    evil = "\x1b[2J<script>alert(1)</script>\u202e"
    body = json.loads(whole[0][0].value or b"")
    body |= {
        "scope": {"field": evil, "value": evil},
        "attributes": [
            {"field": evil, "value": evil, "share": 1.0, "usual_share": 0.1, "lift": 10}
        ],
        "condition": {"field": evil, "value": evil, "covers": 0.9},
        "acknowledged": {"owner": evil, "until": None, "why": evil},
        "kinds": {evil: 1},
        "id": evil,
    }
    text = "\n".join([*incident_lines(body), *timeline([body])])
    assert not {"\x1b", "\u202e"} & set(text)
    incidents = OpenIncidents()
    incidents.put(0, [body])
    page = incidents_section(incidents, shows_values=True)
    assert "<script" not in page
    assert not {"\x1b", "\u202e"} & set(page)
    hidden = incidents_section(incidents, shows_values=False)
    assert "alert(1)" not in hidden.replace(escape(evil), "")


def test_the_page_shows_the_worst_first_and_says_how_many_more_there_are(whole) -> None:
    body = json.loads(whole[0][0].value or b"")
    incidents = OpenIncidents()
    assert incidents_section(incidents, shows_values=True) == ""
    incidents.put(0, [])
    assert "nothing is going on" in incidents_section(incidents, shows_values=True)
    incidents.put(0, [{**body, "id": f"low {n}", "severity": "low"} for n in range(30)])
    incidents.put(1, [{**body, "id": "worst", "severity": "critical"}])
    page = incidents_section(incidents, shows_values=True)
    assert page.index("worst") < page.index("low ")
    assert "11 more" in page
    incidents.forget(1)
    assert "worst" not in incidents_section(incidents, shows_values=True)
