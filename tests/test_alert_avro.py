"""Alerts as Avro: the same content as JSON, whatever kinds of alerts there will be."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import fastavro
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.formats import SOURCE
from support.streams import configuration, records
from test_docs import alerts
from test_monitors import RECORDS, alerts_of, pipeline_of
from test_schema_journal import Source, journalled, work_off

from stream_detector.alert_avro.form import AlertForm, body_of, number_of
from stream_detector.alert_avro.schema import ALERT, ALERT_SCHEMA, MORE
from stream_detector.connectors.base import Fetched
from stream_detector.daemon.output_comparison import origin
from stream_detector.daemon.shard import Shard
from stream_detector.errors import StateError
from stream_detector.events import PlainRecord, TopicPartition
from stream_detector.formats.errors import PayloadError
from stream_detector.formats.schemas import ALERTS, Schema, schema_of
from stream_detector.journal import JournalRecord
from stream_detector.messages import LEFT_OUT, WHOLE, Outgoing, digest, refitted, size_bytes
from stream_detector.pipeline import BatchResult
from stream_detector.snapshots import decode as decode_snapshot
from stream_detector.snapshots.format import encode as encode_snapshot
from stream_detector.telemetry.metrics import Metrics

REPOSITORY = Path(__file__).resolve().parents[1]
FIRST = json.loads((REPOSITORY / "tests" / "data" / "alert-schema-1.avsc").read_text())
"""The schema as it was when it was published first."""

FORM = AlertForm(7, ALERT_SCHEMA)
OTHER = AlertForm(70_000, ALERT_SCHEMA)


@cache
def monitor_bodies() -> list[dict[str, Any]]:
    return [one for one in alerts_of(pipeline_of(), RECORDS, 2000) if "monitor" in one]


def by_fastavro(value: bytes, writer: Any = ALERT, reader: Any = None) -> Any:
    """As somebody else reads it, who has the schema from the registry."""
    return fastavro.schemaless_reader(io.BytesIO(value[5:]), writer, reader)


@pytest.mark.parametrize("kind", ["adaptive_ensemble", "ensemble", "half_space_forest"])
def test_an_alert_is_read_back_with_the_bytes_that_its_json_had(kind):
    assert len(alerts(kind)) > 5
    for alert in alerts(kind):
        written = FORM.written(alert)
        assert written.value[:5] == b"\0\0\0\0\7"
        assert msgspec.json.encode(FORM.decode(written.value)) == alert.value
        assert (written.key, written.source, written.offset) == (
            alert.key, alert.source, alert.offset,
        )  # fmt: skip
        changed = dict(alert.headers) | {"content-type": b"application/avro"}
        assert dict(written.headers) == changed
        assert FORM.written(alert) == written
        assert len(written.value) < len(alert.value)


def test_somebody_else_reads_the_fields_by_their_types():
    body = json.loads(alerts()[0].value)
    found = by_fastavro(FORM.written(alerts()[0]).value)
    assert found["id"] == body["id"]
    assert found["event_time"] == datetime.fromisoformat(body["event_time"]).astimezone(UTC)
    assert json.loads(found["event"]) == body["event"]
    assert found["receipt"]["features"] == body["receipt"]["features"]
    assert found["receipt"][MORE] == found[MORE] == {}
    assert found["reasons"][0]["usual"] == body["reasons"][0]["usual"]
    assert (found["kind"], found["monitor"]) == (None, None)


def test_alerts_of_monitors_are_read_back_with_what_their_kind_says():
    bodies = monitor_bodies()
    assert bodies
    for body in bodies:
        written = FORM.encode(body)
        assert FORM.decode(written) == body | {"event": None}
        found = by_fastavro(written)
        assert found["monitor"]["expected"] == body["monitor"]["expected"]
        assert found["monitor"]["start"].tzinfo is UTC
        assert json.loads(found["monitor"][MORE]["pace_of_others"]) is not None


# --- kinds and versions to come ------------------------------------------------------------------

PLAIN = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
JSON = st.recursive(
    PLAIN, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
)
BODY = json.loads(alerts()[0].value)


def paths_of(body: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    children = body.items() if isinstance(body, dict) else enumerate(body)
    for name, each in children:
        yield (*path, name)
        if isinstance(each, dict | list) and name != "event":
            yield from paths_of(each, (*path, name))


def holds(found: Any, expected: Any) -> bool:
    """Whether all that is expected was found; fields that were not said may be there as well."""
    if isinstance(expected, dict) and isinstance(found, dict):
        return all(name in found and holds(found[name], each) for name, each in expected.items())
    if isinstance(expected, list) and isinstance(found, list):
        return len(found) == len(expected) and all(map(holds, found, expected))
    return bool(found == expected) and isinstance(found, bool) == isinstance(expected, bool)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_whatever_an_alert_says_is_written_and_read_back(data):
    body = json.loads(json.dumps(data.draw(st.sampled_from([BODY, monitor_bodies()[0]]))))
    for path in data.draw(st.lists(st.sampled_from(list(paths_of(body))), max_size=3)):
        *way, name = path
        inner = body
        try:
            for step in way:
                inner = inner[step]
            if data.draw(st.booleans()):
                inner[name] = data.draw(JSON)
            else:
                del inner[name]
        except (LookupError, TypeError):
            continue  # an earlier change has taken it away
    body |= data.draw(st.dictionaries(st.sampled_from(["signal", "more", "monitor", "kind"]), JSON))
    body = json.loads(json.dumps(body))  # a list may have become an object since
    value = FORM.encode(body)
    assert holds(json.loads(msgspec.json.encode(FORM.decode(value))), body)
    assert by_fastavro(value)["receipt"] is not None


def test_an_alert_that_a_tick_has_shown_names_no_record():
    body = json.loads(json.dumps(monitor_bodies()[0]))
    for name in ("topic", "partition", "offset"):
        del body["receipt"][name]
    body["receipt"] |= {"tick": "2024-02-01T07:00:00.000Z", "shard": 3}
    value = FORM.encode(body)
    assert json.loads(msgspec.json.encode(FORM.decode(value))) == body
    receipt = by_fastavro(value)["receipt"]
    assert (receipt["offset"], receipt["shard"], receipt[MORE]) == (None, 3, {})
    assert origin(PlainRecord(0, 0, None, value), FORM.decode) == (
        TopicPartition("", 3), receipt["tick"].timestamp() * 1000,
    )  # fmt: skip


def test_numbers_that_no_double_holds_and_missing_ones_are_read_back():
    body = json.loads(alerts()[0].value)
    body["receipt"]["features"][0] = None  # as JSON has a NaN
    body["reasons"][0]["value"] = 2**60 + 1
    body["receipt"]["partition"] = 2**40
    value = FORM.encode(body)
    assert json.loads(msgspec.json.encode(FORM.decode(value))) == body | {
        "receipt": body["receipt"] | {"features": [None, *body["receipt"]["features"][1:]]}
    }
    assert math.isnan(by_fastavro(value)["receipt"]["features"][0])
    assert by_fastavro(value)["reasons"][0][MORE] == {"value": str(2**60 + 1)}


def test_the_published_schema_is_that_of_the_code_and_of_the_documents():
    published = json.loads((REPOSITORY / "docs" / "alert.avsc").read_text())
    assert published == ALERT == json.loads(ALERT_SCHEMA)
    fastavro.parse_schema(published)
    described = json.loads((REPOSITORY / "docs" / "alert.schema.json").read_text())
    names = {field["name"] for field in ALERT["fields"]}
    assert names - {MORE} == described["properties"].keys()
    assert {
        field["name"] for field in ALERT["fields"] if "default" not in field
    } <= set(described["required"])  # fmt: skip


def test_the_schema_reads_what_the_first_one_wrote_and_the_other_way_round():
    first, now = AlertForm(1, json.dumps(FIRST)), FORM
    for body in (BODY, *monitor_bodies()[:2]):
        old, new = by_fastavro(first.encode(body), FIRST), by_fastavro(now.encode(body))
        assert by_fastavro(first.encode(body), FIRST, ALERT).items() >= old.items()
        assert by_fastavro(now.encode(body), ALERT, FIRST).items() <= new.items()


def test_a_later_schema_and_this_one_read_each_other():
    later = json.loads(ALERT_SCHEMA)
    added = {"name": "verdict", "type": ["null", "string"], "default": None}
    later["fields"].insert(3, added)
    receipt = next(f for f in later["fields"] if f["name"] == "receipt")["type"]
    receipt["fields"].append({"name": "lane", "type": "int", "default": -1})
    form = AlertForm(8, json.dumps(later))
    said = BODY | {"verdict": "odd", "receipt": BODY["receipt"] | {"lane": 3}}
    assert by_fastavro(form.encode(said), later, ALERT)["id"] == BODY["id"]
    old = by_fastavro(FORM.encode(BODY), ALERT, later)
    assert (old["verdict"], old["receipt"]["lane"]) == (None, -1)
    # This version's commands read an alert of the later one by its own schema.
    assert json.loads(msgspec.json.encode(form.decode(form.encode(said)))) == said
    # And it says what it has no field for.
    assert json.loads(msgspec.json.encode(FORM.decode(FORM.encode(said)))) == said


# --- what others write, and what is too large ----------------------------------------------------


def test_an_alert_that_a_broker_refuses_loses_the_event_as_in_json():
    event = {"text": "x" * 5000}
    source = alerts()[0]
    value = msgspec.json.encode(json.loads(source.value) | {"event": event})
    whole = FORM.written(replace(source, value=value))
    less = refitted(whole, 3000)
    assert size_bytes(less) <= 3000
    body = json.loads(msgspec.json.encode(FORM.decode(less.value)))
    assert body == BODY | {"event": {"truncated": True, "size_bytes": 5011}}
    headers = dict(less.headers)
    assert headers[LEFT_OUT] == b"event"
    assert headers[WHOLE] == digest(whole.key, whole.value, whole.headers).hex().encode()
    least = refitted(whole, 900)
    assert dict(least.headers)[LEFT_OUT].startswith(b"event, features")
    assert FORM.decode(least.value)["receipt"]["features"] == []


@pytest.mark.parametrize(
    "value",
    [b"", b"{}", b"\0", b"\0\0\0\0\7", b"\0\0\0\0\6" + FORM.encode(BODY)[5:],
     FORM.encode(BODY)[:-3], FORM.encode(BODY) + b"x", b"\0\0\0\0\7" + b"\xff" * 40],
)  # fmt: skip
def test_what_is_no_alert_is_an_error_and_never_another_exception(value):
    with pytest.raises(PayloadError):
        FORM.decode(value)


@settings(max_examples=300, deadline=None)
@given(st.integers(5, len(FORM.encode(BODY)) - 1), st.binary(min_size=1, max_size=4))
def test_damaged_alerts_are_read_or_refused(place, damage):
    value = FORM.encode(BODY)
    with suppress(PayloadError):
        msgspec.json.encode(FORM.decode(value[:place] + damage + value[place + len(damage) :]))


def test_what_is_of_another_schema_is_no_alert():
    for found in (3, None, [], {"event": "{", "id": "x"}, {MORE: {"a": "{"}}, {"start": 1e30}):
        with pytest.raises(PayloadError):
            body_of(found)
    assert number_of(b"\0\0\1\0\0x") == 65536
    assert [number_of(each) for each in (b"", b"{}", b"{123456", b"\0\0\0\0\1")] == [None] * 4


@pytest.mark.parametrize("parts", [(), ("7",), ("x", ALERT_SCHEMA), ("7", "{"), ("7", "{}"),
                                   ("-1", ALERT_SCHEMA), ("7", '"int"')])  # fmt: skip
def test_a_schema_of_alerts_that_makes_no_sense_is_bad_state(parts):
    with pytest.raises(StateError):
        AlertForm.of(Schema("alerts", parts))


# --- kept in the journal and in snapshots --------------------------------------------------------


class Wanting(Source):
    """A source that wants alerts in a form."""

    def __init__(self, form: AlertForm | None) -> None:
        super().__init__({})
        self.form = form

    def alerts(self) -> Schema | None:
        return self.form.stored() if self.form is not None else None


def shard_of(form: AlertForm | None) -> Shard:
    return Shard(0, configuration(), Metrics(), Wanting(form))


def run(shard: Shard, some: list[Any]) -> tuple[list[Outgoing], list[JournalRecord]]:
    """The alerts that are written and the journal's records."""
    shard.take_in(Fetched(SOURCE, some))
    work_off(shard)
    slices = shard.take_slices()
    written = [message for one in slices for message in one.messages["alerts"]]
    return written, [one.record for one in slices]


def lives(forms: list[AlertForm | None], snapshots: bool) -> tuple[Any, list[Any], list[Any]]:
    """Workers one after the other, each with its form; the state, what was written, the journal."""
    some, share = records(900), 900 // len(forms)
    written: list[Outgoing] = []
    journal: list[JournalRecord] = []
    state = None
    for number, form in enumerate(forms):
        shard = shard_of(form)
        begin = 0
        if state is not None:
            shard.restore(decode_snapshot(state))
            begin = number * share
        shard.add(SOURCE, begin)
        rest = journal if state is None else []
        shard.begin_to_follow(rest)
        shard.take_in(Fetched(SOURCE, some[begin : number * share]))
        while shard.replaying:
            shard.follow(lambda _source, end=number * share: end)
        fresh, told = run(shard, some[number * share : (number + 1) * share])
        written += fresh
        journal += told
        if snapshots:
            taken = shard.snapshot({})
            state = encode_snapshot(replace(taken, meta={**taken.meta, "written_at": 1.0}))
    return state, written, journal


@pytest.mark.parametrize("snapshots", [False, True])
@pytest.mark.parametrize(
    "forms",
    [[FORM], [FORM, FORM], [FORM, OTHER, FORM], [None, FORM, None], [FORM, FORM, None]],
    ids=["one", "same", "there and back", "in the midst", "json again"],
)
def test_a_replay_writes_each_alert_as_it_was_written(forms, snapshots):
    _, written, journal = lives(forms, snapshots)
    assert len(written) > 5
    assert {m.value[:1] for m in written} == {b"{" if f is None else b"\0" for f in forms}
    again = shard_of(None)  # nobody wants a form: the journal has it
    again.add(SOURCE, 0)
    repeated: list[Outgoing] = []

    def witness(outcome: BatchResult) -> None:
        repeated.extend(again.output.written(outcome.alerts))

    again.begin_to_follow(journal)
    again.take_in(Fetched(SOURCE, records(900)))
    while again.replaying:
        again.follow(lambda _source: 900, witness)
    assert again.replay.mismatches == 0
    assert [(m.value, m.headers) for m in repeated] == [(m.value, m.headers) for m in written]
    told = [schema_of(one) for record in journal for key, one in record.schemas if key == ALERTS]
    changes = [form for at, form in enumerate(forms) if at == 0 or form != forms[at - 1]]
    if changes[0] is None:
        del changes[0]  # JSON needs no word
    assert [AlertForm.of(one) and AlertForm.of(one).number for one in told] == [
        form and form.number for form in changes
    ]


def test_a_snapshot_says_how_alerts_are_written_and_json_leaves_it_as_it_was():
    state, _, _ = lives([FORM], snapshots=True)
    again = shard_of(None)
    again.restore(decode_snapshot(state))
    assert again.output.form.number == 7
    assert again.output.form.stored() == FORM.stored()
    state, _, journal = lives([None], snapshots=True)
    assert "schemas" not in decode_snapshot(state).state
    assert not any(record.schemas for record in journal)
    assert shard_of(None).output.form is None


def test_journal_records_of_a_shard_hold_the_form_once():
    shard = shard_of(FORM)
    shard.add(SOURCE, 0)
    shard.begin_to_follow(())
    some = records(600)
    found = []
    for start in range(0, 600, 100):
        shard.take_in(Fetched(SOURCE, some[start : start + 100]))
        work_off(shard)
        found += [key for record in journalled(shard) for key, _ in record.schemas]
    assert found == [ALERTS]
