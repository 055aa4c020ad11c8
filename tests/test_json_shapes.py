"""Events in the shapes that JSON comes in: dotted keys, arrays, NaN, quotes, envelopes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_detector.alerts import alert_message
from stream_detector.config.derived.field_plan import FieldPlan
from stream_detector.config.models.config import Config
from stream_detector.connectors.files import FileSource, typed_columns
from stream_detector.decoding import Decoder
from stream_detector.decoding.envelopes import guess_envelope, open_envelope
from stream_detector.decoding.structs import routes_of, struct_of
from stream_detector.events import EventBatch, PlainRecord, TopicPartition

SOURCE = TopicPartition("events", 0)


def decoded(config: dict[str, Any], values: list[Any], headers: Any = ()) -> EventBatch:
    full = Config.model_validate({"name": "shapes", **config})
    encoded = [v if isinstance(v, bytes) else json.dumps(v).encode() for v in values]
    records = [PlainRecord(row, -1, None, value, headers) for row, value in enumerate(encoded)]
    return Decoder(full, FieldPlan.of(full)).decode(SOURCE, records)


def reasons(batch: EventBatch) -> list[str | None]:
    return [None if each is None else each.reason for each in batch.rejection]


NUMBERS = {"features": [{"numeric": "amount", "missing": "mean"}]}


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ('{"amount": 12.5}', 12.5),
        ('{"amount": "12.5"}', 12.5),
        ('{"amount": " 1e3 "}', 1000),
        ('{"amount": "$1,234.56"}', 1234.56),
        ('{"amount": "-"}', np.nan),
        ('{"amount": "N/A"}', np.nan),
        ('{"amount": "NaN"}', np.nan),
        ('{"amount": NaN}', np.nan),
        ('{"amount": -Infinity}', np.nan),
        ('{"amount": null}', np.nan),
        ("{}", np.nan),
        ('{"note": "NaN or Infinity", "amount": NaN}', np.nan),
    ],
)
def test_one_number_in_many_spellings(value: str, number: float) -> None:
    batch = decoded(NUMBERS, [value.encode()])
    assert reasons(batch) == [None]
    np.testing.assert_equal(batch.numeric[0, 0], number)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ('{"amount": "abc"}', "amount: 'abc' is no number"),
        ('{"amount": "1,234"}', "say which by `numbers:"),
        ('{"amount": true}', "`$.amount`"),
        ('{"amount": [1]}', "`$.amount`"),
        ('{"amount": "1e999"}', "no finite number"),
    ],
)
def test_what_is_no_number_is_rejected_with_field_and_reason(value: str, said: str) -> None:
    batch = decoded(NUMBERS, [b'{"amount": "1"}', value.encode(), b'{"amount": 2}'])
    assert reasons(batch) == [None, "wrong_type", None]
    assert said in batch.rejection[1].message
    assert batch.rejection[1].field == "amount"
    assert batch.numeric[[0, 2], 0].tolist() == [1, 2]


def test_a_spelling_is_of_all_fields_or_of_one() -> None:
    config = {
        "event": {
            "numbers": {"decimal": ",", "thousands": "."},
            "fields": {
                "rate": {"numbers": {"units": {"%": 0.01}}},
                "code": {"missing_values": ["x"]},
            },
            "missing_values": ["-999", "-999.0"],
        },
        "features": [
            {"numeric": "amount", "missing": "mean"},
            {"numeric": "rate", "missing": "mean"},
            {"numeric": "code", "missing": "mean"},
            {"categorical": "kind"},
        ],
    }
    values = [
        {"amount": "1.234,5", "rate": "12.5 %", "code": "x", "kind": "-999"},
        {"amount": 7.5, "rate": "-999", "code": "-999", "kind": "x"},
        {"amount": -999, "rate": -999.0, "code": "?", "kind": None},
    ]
    batch = decoded(config, values)
    assert reasons(batch) == [None] * 3
    expected = [[1234.5, 0.125, np.nan], [7.5, np.nan, -999], [np.nan, np.nan, np.nan]]
    np.testing.assert_allclose(batch.numeric, expected)
    assert batch.text[0].tolist() == [None, "x", None]


def test_booleans_in_words() -> None:
    config = {"features": [{"boolean": "flag", "missing": "mean"}]}
    values = [{"flag": v} for v in (True, "yes", "F", 0, "NA", 1.0, "maybe", 2)]
    batch = decoded(config, values)
    assert reasons(batch) == [None] * 6 + ["wrong_type"] * 2
    np.testing.assert_equal(batch.numeric[:6, 0], [1, 1, 0, 0, np.nan, 1])


@pytest.mark.parametrize("cut", range(1, 6))
def test_the_way_a_value_is_read_does_not_depend_on_its_neighbours(cut: int) -> None:
    values = [
        {"amount": 1},
        {"amount": "2"},
        {"amount": 3.5},
        {"amount": "x"},
        {"amount": True},
        {},
    ]
    whole = decoded(NUMBERS, values)
    parts = EventBatch.concatenate([decoded(NUMBERS, values[:cut]), decoded(NUMBERS, values[cut:])])
    np.testing.assert_equal(whole.numeric, parts.numeric)
    assert [r and r.message for r in whole.rejection] == [r and r.message for r in parts.rejection]


def test_the_alert_of_an_event_with_nan_holds_the_event() -> None:
    record = PlainRecord(0, -1, b"k", b'{"amount": NaN, "note": "NaN"}')
    alert = alert_message({"id": "a"}, SOURCE, record, 0, "shapes")
    assert json.loads(alert.value or b"")["event"] == {"amount": None, "note": "NaN"}


# --- paths --------------------------------------------------------------------------------------

TEXT, NUMBER = str | int | float | bool | None, float | None


def test_keys_with_dots_and_objects_are_the_same_field() -> None:
    config = {"features": [{"numeric": "a.b.c"}, {"categorical": "id.orig_h"}]}
    values = [
        {"a": {"b": {"c": 1}}, "id": {"orig_h": "x"}},
        {"a.b.c": 2, "id.orig_h": "x"},
        {"a": {"b.c": 3}, "id.orig_h": "x"},
        {"a.b": {"c": 4}, "id": {"orig_h": "x"}},
        {"a.b.c": 9, "a": {"b": {"c": 5}}, "id": {"orig_h": "x"}, "id.orig_h": "y"},
        {"a.b": None, "a": {"b": {"c": 6}}, "id.orig_h": "x", "id": None},
    ]
    batch = decoded(config, values)
    assert reasons(batch) == [None] * 6
    assert batch.numeric[:, 0].tolist() == [1, 2, 3, 4, 5, 6]
    assert set(batch.text[0]) == {"x"}


def test_a_field_and_a_key_that_begins_like_it_are_told_apart() -> None:
    config = {"features": [{"categorical": "flow"}, {"numeric": "flow.age"}]}
    batch = decoded(config, [{"flow": "f", "flow.age": 3}, {"flow": {"age": 3}}])
    assert reasons(batch) == [None, "wrong_type"]
    assert batch.numeric[0, 0] == 3


def test_arrays_give_their_first_last_and_count() -> None:
    config = {
        "features": [
            {"numeric": "tags[count]", "missing": "mean"},
            {"categorical": "tags[0]"},
            {"categorical": "tags[last]"},
            {"categorical": "dns.answers[0].rdata"},
            {"numeric": "dns.answers[count]", "missing": "mean"},
            {"numeric": "message[length]", "missing": "mean"},
            {"categorical": "cell[0]"},
        ]
    }
    values = [
        {"tags": ["a", "b"], "dns": {"answers": [{"rdata": "r"}, {}]}, "message": "four"},
        {"tags": [], "dns": {"answers": []}, "cell[0]": "literal"},
        {"tags": "alone", "dns": {"answers": {"rdata": "one"}}},
        {"dns": None, "message": None, "cell": ["x"]},
    ]
    batch = decoded(config, values)
    assert reasons(batch) == [None] * 4
    expected = [[2, 2, 4], [0, 0, np.nan], [1, 1, np.nan], [np.nan] * 3]
    np.testing.assert_equal(batch.numeric, expected)
    assert [column.tolist() for column in batch.text] == [
        ["a", None, "alone", None],
        ["b", None, "alone", None],
        ["r", None, "one", None],
        [None, "literal", None, "x"],
    ]


KEYS = st.text("ab.", min_size=1, max_size=9)


@given(KEYS, st.integers(0, 9))
def test_every_way_to_nest_a_name_is_read(name: str, number: int) -> None:
    struct, columns = struct_of({name: NUMBER, "other": TEXT})
    decode = msgspec.json.Decoder(struct).decode
    for route in routes_of(name):
        value: Any = number
        for key in reversed(route):
            value = {key: value}
        assert columns[name]([decode(msgspec.json.encode(value))]) == [number]


# --- times --------------------------------------------------------------------------------------


def test_the_time_may_lie_in_several_fields_and_in_a_zone() -> None:
    config = {
        "event": {
            "time": {"fields": ["Date", "Time"], "format": "day_first", "zone": "Europe/Berlin"}
        },
        "features": [{"numeric": "x"}],
    }
    values = [
        {"Date": "04/07/2024", "Time": "08:05:00", "x": 1},
        {"Date": "04/07/2024", "x": 1},
        {"Date": "40/07/2024", "Time": "08:05:00", "x": 1},
    ]
    full = Config.model_validate({"name": "shapes", **config})
    records = [PlainRecord(row, -1, None, json.dumps(v).encode()) for row, v in enumerate(values)]
    batch = Decoder(full, FieldPlan.of(full)).decode(SOURCE, records)
    assert reasons(batch) == [None, "missing_field", "time_invalid"]
    assert str(np.datetime64(int(batch.time_ms[0]), "ms")) == "2024-07-04T06:05:00.000"
    assert "(got '40/07/2024 08:05:00')" in batch.rejection[2].message
    assert batch.rejection[1].field == "Date Time"


def test_epochs_in_quotes() -> None:
    config = {"event": {"time": {"field": "t", "format": "unix_s"}}, **NUMBERS}
    full = Config.model_validate({"name": "shapes", **config})
    record = PlainRecord(0, -1, None, b'{"t": "1709539224.9", "amount": "1"}')
    batch = Decoder(full, FieldPlan.of(full)).decode(SOURCE, [record])
    assert batch.time_ms.tolist() == [1709539224900]


# --- envelopes ----------------------------------------------------------------------------------

SCHEMA = {
    "type": "struct",
    "fields": [
        {"field": "before", "type": "struct", "fields": []},
        {
            "field": "after",
            "type": "struct",
            "fields": [
                {
                    "field": "amount",
                    "type": "bytes",
                    "name": "org.apache.kafka.connect.data.Decimal",
                    "parameters": {"scale": "2"},
                },
                {"field": "day", "type": "int32", "name": "io.debezium.time.Date"},
                {"field": "fee", "type": "struct", "name": "io.debezium.data.VariableScaleDecimal"},
            ],
        },
    ],
}
ROW = {"amount": "AfQ=", "day": 19786, "fee": {"scale": 1, "value": "DA=="}, "kind": "a"}


def test_a_change_of_debezium_with_its_schema() -> None:
    config = {
        "event": {"envelope": "debezium", "id": "@source.lsn", "time": {"field": "day"}},
        "features": [{"numeric": "amount"}, {"numeric": "fee"}, {"categorical": "@op"}],
    }
    change = {"before": None, "after": ROW, "op": "c", "source": {"lsn": 7}, "ts_ms": 1}
    values = [
        {"schema": SCHEMA, "payload": change},
        {"schema": SCHEMA, "payload": {**change, "after": None, "before": ROW, "op": "d"}},
        {"schema": SCHEMA, "payload": None},
    ]
    full = Config.model_validate({"name": "shapes", **config})
    records = [PlainRecord(row, -1, None, json.dumps(v).encode()) for row, v in enumerate(values)]
    batch = Decoder(full, FieldPlan.of(full)).decode(SOURCE, records)
    assert reasons(batch) == [None, "tombstone", "tombstone"]
    assert "a delete" in batch.rejection[1].message
    assert batch.numeric[0].tolist() == [5.0, 1.2]
    assert batch.text[0][0] == "c"
    assert batch.event_id[0] == "7"
    assert str(np.datetime64(int(batch.time_ms[0]), "ms")) == "2024-03-04T00:00:00.000"


def test_a_change_of_debezium_without_a_schema_has_the_scale_from_the_configuration() -> None:
    config = {
        "event": {"envelope": "debezium", "fields": {"amount": {"numbers": {"base64_scale": 2}}}},
        **NUMBERS,
    }
    flat = {"amount": "AfQ="}
    batch = decoded(config, [{"before": None, "after": flat, "op": "r", "ts_ms": 1}, flat])
    assert reasons(batch) == [None, None]
    assert batch.numeric[:, 0].tolist() == [5, 5]


def test_schema_and_payload_of_kafka_connect() -> None:
    config = {"event": {"envelope": "connect"}, **NUMBERS}
    schema = SCHEMA["fields"][1]
    values = [
        {"schema": schema, "payload": ROW},
        {"schema": None, "payload": {"amount": 3}},
        {"schema": {"type": "string"}, "payload": '{"amount": 4}'},
        {"amount": 5},
        {"schema": None, "payload": [1]},
    ]
    batch = decoded(config, values)
    assert reasons(batch) == [None] * 4 + ["tombstone"]
    assert batch.numeric[:4, 0].tolist() == [5, 3, 4, 5]


def test_cloud_events_in_both_modes() -> None:
    config = {
        "event": {"envelope": "cloudevents", "id": "@id"},
        "features": [{"numeric": "amount"}, {"categorical": "id"}],
    }
    structured = {"specversion": "1.0", "id": "e1", "type": "t", "source": "s"}
    values = [
        {**structured, "data": {"amount": 5, "id": "inner"}},
        {**structured, "data_base64": "eyJhbW91bnQiOiA2fQ=="},
        structured,
        {**structured, "data_base64": "%"},
    ]
    batch = decoded(config, values)
    assert reasons(batch) == [None, None, "tombstone", "malformed"]
    assert batch.numeric[:2, 0].tolist() == [5, 6]
    assert batch.text[0].tolist()[:2] == ["inner", None]
    assert batch.event_id.tolist()[:2] == ["e1", "e1"]
    headers = [("ce_specversion", b"1.0"), ("ce_id", b"e9"), ("content-type", b"application/json")]
    binary = decoded(config, [{"amount": 7, "id": "inner"}], headers)
    assert reasons(binary) == [None]
    assert binary.event_id[0] == "e9"
    assert binary.text[0][0] == "inner"


def test_documents_of_mongodb_are_json_in_a_string() -> None:
    assert (
        open_envelope(b'{"op":"c","after":"{\\"a\\": 1}"}', "debezium", about=False) == b'{"a": 1}'
    )


MEMBERS = st.sampled_from(["schema", "payload", "after", "op", "data", "specversion", "before"])
TREES = st.recursive(
    st.none() | st.text(max_size=5) | st.integers(), lambda inner: st.dictionaries(MEMBERS, inner)
)


@pytest.mark.parametrize("envelope", ["debezium", "connect", "cloudevents"])
@given(value=st.binary(max_size=60) | TREES.map(lambda tree: json.dumps(tree).encode()))
def test_no_value_breaks_an_envelope(value: bytes, envelope: Any) -> None:
    batch = decoded({"event": {"envelope": envelope}, **NUMBERS}, [value])
    assert reasons(batch)[0] in (None, "tombstone", "malformed", "wrong_type", "empty")


def test_an_envelope_is_known_by_its_members() -> None:
    change = {"before": None, "after": {}, "op": "c", "source": {}}
    assert guess_envelope([{"schema": {}, "payload": change}]) == "debezium"
    assert guess_envelope([change, change]) == "debezium"
    assert guess_envelope([{"schema": {}, "payload": {"a": 1}}]) == "connect"
    assert guess_envelope([{"specversion": "1.0", "data": {}}]) == "cloudevents"
    assert guess_envelope([{"a": 1}]) is guess_envelope([]) is None


# --- files --------------------------------------------------------------------------------------

EVENTS = [
    {"a": number, "t": f'{{["x{number}', "inner": {"b": [1, {"c": 2}]}} for number in range(7)
]


def file_values(path: Path, **options: Any) -> list[bytes]:
    source = FileSource(str(path), **options)
    values: list[bytes] = []
    while not source.exhausted():
        values += [r.value for fetched in source.poll(1.0) for r in fetched.records]
    source.close()
    return values


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(EVENTS),
        json.dumps(EVENTS, indent=2),
        "\n".join(json.dumps(event, indent=4) for event in EVENTS),
        "[\n" + ",\n".join(map(json.dumps, EVENTS)) + "\n]\n",
        "[" + "\n,".join(map(json.dumps, EVENTS)) + "]",
        "\n\n" + json.dumps(EVENTS, indent="\t").replace("\n", "\r\n"),
    ],
)
@pytest.mark.parametrize("max_poll_records", [1, 3, 5000])
def test_arrays_and_objects_over_several_lines(
    tmp_path: Path, text: str, max_poll_records: int
) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(text.encode())
    values = file_values(path, max_poll_records=max_poll_records)
    assert [json.loads(value) for value in values] == EVENTS
    assert [json.loads(v) for v in file_values(path, limit=4)] == EVENTS[:4]


def test_what_is_broken_among_the_objects_is_a_record_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('[\n{"a": 1},\n7,\n{"a":\n 2}, oops\n{"a": 3}\n{"a": ')
    values = file_values(path)
    assert values == [b'{"a": 1}', b"7", b'{"a":\n 2}', b"oops", b'{"a": 3}', b'{"a": ']


def test_cells_of_a_table_are_read_by_the_spelling_of_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("t;x;y;b\n04.03.2024 08:05;1.234;?;ja\n04.03.2024 08:06;2,5;7;nein\n")
    config = {
        "event": {
            "time": {"field": "t", "format": "day_first"},
            "numbers": {"decimal": ",", "thousands": "."},
        },
        "features": [{"numeric": "x"}, {"numeric": "y", "missing": "mean"}],
    }
    full = Config.model_validate({"name": "shapes", **config})
    numeric, boolean = typed_columns(full)
    values = file_values(path, numeric=numeric, boolean=boolean)
    batch = decoded(config, values)
    assert reasons(batch) == [None, None]
    np.testing.assert_equal(batch.numeric, [[1234, np.nan], [2.5, 7]])
