"""Avro and Protobuf give the columns that the same events give as JSON, and refuse what is none."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import struct
import uuid
from random import Random
from typing import Any

import fastavro
import format_comparison as comparison
import numpy as np
import pytest
from support.formats import (
    SOURCE,
    avro_bytes,
    avro_schema,
    batch_of,
    decoder,
    framed,
    message_class,
    proto,
)
from support.streams import SETTINGS, bytes_of, configuration, new_pipeline, records

from stream_detector.config import Config
from stream_detector.errors import ConfigurationError
from stream_detector.events import EventBatch, PlainRecord
from stream_detector.formats.avro import AvroReader
from stream_detector.formats.errors import PayloadError, SchemaError
from stream_detector.formats.schemas import Schema

URL = {"url": "http://registry.invalid"}


def reading(
    kind: str, *fields: dict[str, Any], registry: dict[str, Any] | None = None, **event: Any
) -> Config:
    """A configuration that reads features of a format from a registry."""
    return configuration(
        features=list(fields),
        windows=[],
        suppression=None,
        event={"format": kind, **event},
        registry=registry or URL,
    )


def avro(text: str, *others: str) -> Schema:
    return Schema("avro", (text, *others))


def numbers(batch: EventBatch) -> list[list[float]]:
    return [[round(float(v), 6) for v in row] for row in batch.numeric]


def reasons(batch: EventBatch) -> list[str | None]:
    return [None if each is None else each.reason for each in batch.rejection]


def field(name: str, kind: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, **more}


# --- the same in every format ---------------------------------------------------------------------

STREAM = avro_schema(
    field("id", "string"),
    field("time", {"type": "long", "logicalType": "timestamp-millis"}),
    field("user", "string"),
    field("amount", "double"),
    field("kind", {"type": "enum", "name": "Kind", "symbols": list("abcdef")}),
    field("weight", ["null", "double"], default=None),
    field("flag", ["null", "boolean"], default=None),
    field("label", "int"),
)
STREAM_PROTO = """
syntax = "proto3";
import "google/protobuf/timestamp.proto";
message Event {
  enum Kind { a = 0; b = 1; c = 2; d = 3; e = 4; f = 5; }
  string id = 1;
  google.protobuf.Timestamp time = 2;
  string user = 3;
  double amount = 4;
  Kind kind = 5;
  optional double weight = 6;
  optional bool flag = 7;
  int32 label = 8;
}
"""


def in_avro(record: PlainRecord) -> bytes:
    return framed(7, avro_bytes(STREAM, json.loads(record.value or b"")))


def in_protobuf(record: PlainRecord, made: Any) -> bytes:
    event = json.loads(record.value or b"")
    time_ms = event.pop("time")
    message = made(**event)
    message.time.seconds, rest = divmod(time_ms, 1000)
    message.time.nanos = rest * 10**6
    return framed(7, message.SerializeToString(), b"\0")


def test_the_same_stream_gives_the_same_scores_and_alerts_in_every_format():
    some = records(900)
    schema = proto(STREAM_PROTO)
    made = message_class(schema, "Event")
    found = {}
    for kind, known, values in (
        ("json", None, [r.value or b"" for r in some]),
        ("avro", avro(STREAM), [in_avro(r) for r in some]),
        ("protobuf", schema, [in_protobuf(r, made) for r in some]),
    ):
        config = configuration(event={**SETTINGS["event"], "format": kind}, registry=URL)
        read = decoder(config, {"id:7": known} if known else {})
        batch = batch_of(read, [r._replace(value=v) for r, v in zip(some, values, strict=True)])
        assert reasons(batch) == [None] * 900
        scores, alerts = bytes_of([new_pipeline(config).process(batch)])
        bodies = [json.loads(alert or b"") for alert in alerts]
        for body in bodies:
            body["event"] = {n: v for n, v in body["event"].items() if v is not None}
        found[kind] = (scores, bodies)
    assert len(found["json"][1]) > 3
    assert found["avro"] == found["json"]
    assert found["protobuf"] == found["json"]


def test_card_events_are_the_same_in_every_format_and_version_of_the_schema():
    expected = comparison.result_of("json", 5000)
    assert len(expected["alerts"]) > 10
    assert expected["rejected"] == 0
    del expected["decoding_us"]
    for way in comparison.WAYS[1:]:
        found = comparison.result_of(way, 5000)
        del found["decoding_us"]
        assert found == expected, way


# --- Avro ----------------------------------------------------------------------------------------


def test_logical_types_are_numbers_and_texts_as_json_has_them():
    schema = avro_schema(
        field("day", {"type": "int", "logicalType": "date"}),
        field("clock", {"type": "long", "logicalType": "time-micros"}),
        field("ms", {"type": "long", "logicalType": "timestamp-millis"}),
        field("us", {"type": "long", "logicalType": "timestamp-micros"}),
        field("ns", {"type": "long", "logicalType": "timestamp-nanos"}),
        field("local", {"type": "long", "logicalType": "local-timestamp-micros"}),
        field("price", {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}),
        field(
            "fixed",
            {"type": "fixed", "name": "F", "size": 4, "logicalType": "decimal", "precision": 9},
        ),
        field("id", {"type": "string", "logicalType": "uuid"}),
        field("raw", "bytes"),
        field("span", {"type": "fixed", "name": "S", "size": 12, "logicalType": "duration"}),
    )
    moment = dt.datetime(2024, 2, 29, 12, 30, 0, 250_000, tzinfo=dt.UTC)
    local = moment.replace(tzinfo=None)
    ms = 1_709_209_800_250
    event = {
        "day": dt.date(2024, 2, 29),
        "clock": dt.time(0, 0, 1, 500_250),
        "ms": moment,
        "us": moment,
        "ns": ms * 10**6 + 500_000,
        "local": local,
        "price": decimal.Decimal("-12.34"),
        "fixed": decimal.Decimal(77),
        "id": uuid.UUID(int=5),
        "raw": b"\x00\xff",
        "span": struct.pack("<III", 1, 2, 3),
    }
    payload = avro_bytes(schema.replace("timestamp-nanos", "none"), event)
    assert AvroReader([schema], {}, whole=True).read(payload) == {
        "day": 1_709_164_800_000,
        "clock": 1500.25,
        "ms": ms,
        "us": ms,
        "ns": ms + 0.5,
        "local": ms,
        "price": -12.34,
        "fixed": 77,
        "id": "00000000-0000-0000-0000-000000000005",
        "raw": "AP8=",
        "span": {"months": 1, "days": 2, "milliseconds": 3},
    }
    seconds = AvroReader([schema], {}, "unix_s", whole=True).read(payload)
    assert (seconds["ms"], seconds["us"], seconds["day"]) == (ms / 1000, ms / 1000, 1_709_164_800)
    assert seconds["clock"] == 1500.25  # of a day, no moment


@pytest.mark.parametrize("time_format", ["auto", "unix_ms", "unix_s", "unix_us", "unix_ns"])
def test_a_moment_is_the_same_whatever_unit_its_schema_and_the_configuration_have(time_format):
    config = reading(
        "avro", {"numeric": "x"}, time={"field": "t", "format": time_format}, max_ahead="9000d"
    )
    ms = 1_709_209_800_250
    schemas, values = {}, []
    for number, (unit, count) in enumerate(
        (("millis", ms), ("micros", ms * 1000), ("nanos", ms * 10**6))
    ):
        kind = {"type": "long", "logicalType": f"timestamp-{unit}"}
        schemas[f"id:{number}"] = avro(avro_schema(field("t", kind), field("x", "int")))
        plain = avro_schema(field("t", "long"), field("x", "int"))
        values.append(framed(number, avro_bytes(plain, {"t": count, "x": 1})))
    batch = batch_of(
        decoder(config, schemas), [PlainRecord(0, ms, None, value) for value in values]
    )
    assert reasons(batch) == [None] * 3
    assert batch.time_ms.tolist() == [ms] * 3


def test_fields_are_found_by_path_in_records_arrays_maps_and_unions():
    schema = avro_schema(
        field(
            "card",
            ["null", {"type": "record", "name": "Card", "fields": [field("limit", "long")]}],
        ),
        field("items", {"type": "array", "items": {"type": "record", "name": "Item", "fields": [
            field("price", ["null", "double"]), field("unread", "string")]}}),
        field("tags", {"type": "map", "values": "int"}),
        field("either", ["string", "long", "boolean"]),
        field("unread", ["string", "bytes", "null"]),
    )  # fmt: skip
    config = reading(
        "avro",
        {"numeric": "card.limit", "missing": "mean"},
        {"numeric": "items[0].price", "missing": "mean"},
        {"numeric": "items[count]"},
        {"numeric": "tags.a", "missing": "mean"},
        {"categorical": "either"},
    )
    full = {
        "card": {"limit": 5},
        "items": [{"price": 1.5, "unread": "x"}, {"price": None, "unread": "y"}],
        "tags": {"a": 1, "b": 2},
        "either": 17,
        "unread": b"x",
    }
    empty = {"card": None, "items": [], "tags": {}, "either": True, "unread": None}
    values = [framed(1, avro_bytes(schema, event)) for event in (full, empty)]
    batch = batch_of(decoder(config, {"id:1": avro(schema)}), values)
    assert reasons(batch) == [None, None]
    first, second = batch.numeric
    assert first.tolist() == [5, 1.5, 2, 1]
    assert second[2] == 0
    assert np.isnan(second[[0, 1, 3]]).all()
    assert batch.text[0].tolist() == ["17", "true"]


def test_the_schema_changes_along_the_topic_and_fields_keep_their_meaning():
    first = avro_schema(field("amount", "int"), field("kind", "string"))
    second = avro_schema(  # renamed, wider, one more, another order
        field("sort", "string", aliases=["kind"]),
        field("more", {"type": "array", "items": "string"}, default=[]),
        field("amount", ["null", "double"], default=None),
    )
    third = avro_schema(field("kind", "string"))
    fourth = avro_schema(field("amount", {"type": "array", "items": "int"}), field("kind", "int"))
    config = reading("avro", {"numeric": "amount"}, {"categorical": "kind"})
    schemas = {f"id:{n}": avro(text) for n, text in enumerate((first, second, third, fourth))}
    values = [
        framed(0, avro_bytes(first, {"amount": 3, "kind": "a"})),
        framed(1, avro_bytes(second, {"amount": 4.5, "more": ["x"], "sort": "b"})),
        framed(2, avro_bytes(third, {"kind": "c"})),
        framed(3, avro_bytes(fourth, {"amount": [1], "kind": 5})),
        framed(0, avro_bytes(first, {"amount": 7, "kind": "d"})),
    ]
    batch = batch_of(decoder(config, schemas), values)
    assert reasons(batch) == [None, None, "missing_field", "wrong_type", None]
    assert batch.rejection[3].field == "amount"
    assert batch.numeric[[0, 1, 4], 0].tolist() == [3, 4.5, 7]
    assert batch.text[0].tolist() == ["a", "b", "c", None, "d"]


def test_a_readers_schema_brings_its_aliases_and_defaults():
    writer = avro_schema(field("old", "double"))
    reader = avro_schema(
        field("amount", "double", aliases=["old"]),
        field("kind", "string", default="none"),
        field("inner", ["null", {"type": "record", "name": "I", "fields": []}], default=None),
    )
    config = reading("avro", {"numeric": "amount"}, {"categorical": "kind"})
    read = decoder(config, {"id:1": avro(writer)}, avro(reader))
    batch = batch_of(read, [framed(1, avro_bytes(writer, {"old": 2.5}))])
    assert reasons(batch) == [None]
    assert (batch.numeric[0, 0], batch.text[0][0]) == (2.5, "none")
    assert batch.original(batch.record[0]) == {"amount": 2.5, "kind": "none", "inner": None}


def test_types_of_other_schemas_are_found_by_reference():
    inner = json.dumps({"type": "record", "name": "Card", "namespace": "pay",
                        "fields": [field("limit", "int")]})  # fmt: skip
    outer = avro_schema(field("card", "pay.Card"), field("again", "pay.Card"))
    config = reading("avro", {"numeric": "card.limit"}, {"numeric": "again.limit"})
    whole = avro_schema(field("card", json.loads(inner)), field("again", "pay.Card"))
    value = framed(1, avro_bytes(whole, {"card": {"limit": 3}, "again": {"limit": 4}}))
    batch = batch_of(decoder(config, {"id:1": avro(outer, inner)}), [value])
    assert batch.numeric.tolist() == [[3, 4]]
    with pytest.raises(SchemaError, match=r"pay\.Card"):
        AvroReader([outer], {})


def test_avro_without_a_registry_is_read_by_a_file_as_it_is_and_as_a_single_object():
    schema = avro_schema(field("x", "long"))
    config = configuration(
        features=[{"numeric": "x"}], windows=[], suppression=None,
        event={"format": "avro", "schema_file": "unread.avsc"},
    )  # fmt: skip
    payload = avro_bytes(schema, {"x": 300})
    canonical = fastavro.schema.to_parsing_canonical_form(json.loads(schema))
    mark = int(fastavro.schema.fingerprint(canonical, "CRC-64-AVRO"), 16)
    values = [
        payload,
        b"\xc3\x01" + struct.pack("<Q", mark) + payload,
        b"\xc3\x01" + struct.pack("<Q", mark + 1) + payload,
    ]
    batch = batch_of(decoder(config, local=avro(schema)), values)
    assert reasons(batch) == [None, None, "schema_unknown"]
    assert f"{mark + 1:016x}" in batch.rejection[2].message
    assert batch.numeric[:2, 0].tolist() == [300, 300]


def test_a_type_inside_of_itself_is_read_to_a_depth_and_refused_beyond():
    schema = json.dumps({"type": "record", "name": "Node", "fields": [
        field("x", "int"), field("next", ["null", "Node"])]})  # fmt: skip

    def chain(length: int) -> bytes:
        event: Any = None
        for _ in range(length):
            event = {"x": 1, "next": event}
        return framed(1, avro_bytes(schema, event))

    config = reading("avro", {"numeric": "x"}, {"numeric": "next.x"})
    # 100,000 levels in 200,000 bytes: fastavro by itself ends the process on its stack.
    deep = framed(1, b"\x02\x02" * 100_000 + b"\x02\x00")
    batch = batch_of(decoder(config, {"id:1": avro(schema)}), [chain(32), chain(33), deep])
    assert reasons(batch) == [None, "too_deep", "too_deep"]


def test_arrays_of_what_holds_them_are_read():
    # As in the tests of Confluent's serializers: a user has friends, who are users.
    schema = json.dumps({"type": "record", "name": "User", "fields": [
        field("name", "string"),
        field("friends", ["null", {"type": "array", "items": "User"}], default=None)]})  # fmt: skip
    event = {"name": "a", "friends": [{"name": "b", "friends": None}, {"name": "c", "friends": []}]}
    config = reading("avro", {"numeric": "friends[count]"}, {"categorical": "friends[1].name"})
    value = framed(1, avro_bytes(schema, event))
    batch = batch_of(decoder(config, {"id:1": avro(schema)}), [value])
    assert (batch.numeric[0, 0], batch.text[0][0]) == (2, "c")
    assert batch.original(batch.record[0]) == event


def test_files_that_serializers_know_need_not_be_registered():
    schema = proto(
        'syntax = "proto3"; import "google/type/date.proto"; import "google/type/timeofday.proto"; '
        'import "confluent/meta.proto"; import "confluent/type/decimal.proto"; message E { '
        'google.type.Date day = 1; double x = 2 [(confluent.field_meta).doc = "said"]; }'
    )
    config = reading("protobuf", {"numeric": "day.month"}, {"numeric": "x"})
    event = message_class(schema, "E")(x=1.5)
    event.day.month = 7
    value = framed(1, event.SerializeToString(), b"\0")
    assert batch_of(decoder(config, {"id:1": schema}), [value]).numeric.tolist() == [[7, 1.5]]


@pytest.mark.parametrize(
    "items",
    [
        "null",
        {"type": "record", "name": "E", "fields": []},
        {"type": "record", "name": "E", "fields": [field(f"n{i}", "null") for i in range(9)]
            + [field("i", "int")]},
        {"type": "fixed", "name": "Z", "size": 0},
    ],
)  # fmt: skip
def test_a_schema_by_which_few_bytes_become_any_number_of_values_is_refused(items):
    schema = avro_schema(field("x", "int"), field("many", {"type": "array", "items": items}))
    config = reading("avro", {"numeric": "x"})
    bomb = framed(1, b"\x02" + b"\xfe\xff\xff\xff\xff\xff\xff\xff\x7f" + b"\x00")
    batch = batch_of(decoder(config, {"id:1": avro(schema)}), [bomb])
    assert reasons(batch) == ["schema_unknown"]
    assert "any number of them" in batch.rejection[0].message


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "no JSON"),
        ('{"type": "record", "name": "R"}', "no list of fields"),
        ('{"type": "record", "fields": []}', "without a name"),
        ('{"type": "wrong"}', "wrong"),
        ("[]", "no branches"),
        ('"Nowhere"', "Nowhere"),
        ('{"type": "enum", "name": "E", "symbols": "abc"}', "symbols"),
        ('{"type": "fixed", "name": "F", "size": -1}', "size"),
        ('{"type": "array", "items": ' * 200 + '"int"' + "}" * 200, "deep"),
        ("[" * 5000 + "]" * 5000, "no JSON|deep"),
    ],
)
def test_what_is_no_schema_is_said_to_be_none(text, why):
    with pytest.raises(SchemaError, match=why):
        AvroReader([text], {}, whole=True)


def test_a_payload_that_is_cut_or_too_long_or_foreign_is_a_bad_record():
    schema = avro_schema(field("x", "double"), field("s", "string"))
    whole = framed(1, avro_bytes(schema, {"x": 1.0, "s": "hello"}))
    config = reading("avro", {"numeric": "x"})
    values = [whole, whole[:-1], whole + b"x", whole[:5], b"\0\0", b'{"x": 1}', b"", b"Obj\x01"]
    batch = batch_of(decoder(config, {"id:1": avro(schema)}), values)
    bad = ["malformed"] * 5
    assert reasons(batch) == [None, *bad, "empty", "malformed"]
    assert "7b 22 78 22 3a" in batch.rejection[5].message


def test_numbers_that_json_has_not_are_missing_and_not_learnt():
    schema = avro_schema(field("x", "double"), field("k", "double"))
    config = reading("avro", {"numeric": "x", "missing": "mean"}, {"categorical": "k"})
    values = [
        framed(1, avro_bytes(schema, {"x": x, "k": x})) for x in (1.0, float("nan"), float("inf"))
    ]
    batch = batch_of(decoder(config, {"id:1": avro(schema)}), values)
    assert np.isnan(batch.numeric[1:, 0]).all()
    assert batch.text[0].tolist() == ["1.0", None, None]
    assert batch.original(batch.record[1])["k"] != 1.0


# --- Protobuf ------------------------------------------------------------------------------------

RICH = """
syntax = "proto3";
package shop;
import "google/protobuf/timestamp.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/wrappers.proto";
import "google/protobuf/struct.proto";
import "confluent/type/decimal.proto";
import "other/card.proto";
message First { int32 unused = 1; }
message Outer { message Event {
  enum Kind { NONE = 0; BUY = 1; }
  string user_id = 1;
  google.protobuf.Timestamp at = 2;
  google.protobuf.Duration took = 3;
  google.protobuf.DoubleValue score = 4;
  google.protobuf.Struct extra = 5;
  confluent.type.Decimal price = 6;
  other.Card card = 7;
  Kind kind = 8;
  oneof pay { int64 iban = 9; string wallet = 10; }
  repeated double amounts = 11;
  map<string, int32> tags = 12;
  optional int32 maybe = 13;
  int32 always = 14;
  bytes raw = 15;
  Event inner = 16;
} }
"""
CARD = """
syntax = "proto2";
package other;
message Card { optional int32 limit = 1 [default = 500]; optional int32 other = 2; }
"""


@pytest.fixture(scope="module")
def rich() -> Schema:
    return proto(RICH, {"other/card.proto": CARD})


def rich_event(schema: Schema) -> Any:
    event = message_class(schema, "shop.Outer.Event")(
        user_id="u1", kind=1, iban=5, amounts=[1.5, 2.5], tags={"a": 3}, raw=b"\x00\xff"
    )
    event.at.FromMilliseconds(1_709_209_800_250)
    event.took.FromMilliseconds(1500)
    event.score.value = 0.0
    event.extra.update({"deep": {"list": [1, "x", None, True]}})
    event.price.value, event.price.scale = (1234).to_bytes(2, "big"), 2
    event.card.other = 7
    return event


def test_protobuf_is_read_by_path_with_presence_oneofs_and_well_known_types(rich):
    config = reading(
        "protobuf",
        {"numeric": "took"},
        {"numeric": "score"},
        {"numeric": "extra.deep.list[0]"},
        {"numeric": "price"},
        {"numeric": "card.limit"},
        {"numeric": "amounts[-1]"},
        {"numeric": "tags.a"},
        {"numeric": "maybe", "missing": "mean"},
        {"numeric": "always"},
        {"categorical": "userId"},  # as Protobuf's JSON has it
        {"categorical": "kind"},
        {"categorical": "pay"},
        time={"field": "at"},
        max_ahead="9000w",
    )
    event = rich_event(rich)
    value = framed(3, event.SerializeToString(), bytes([4, 2, 0]))
    batch = batch_of(decoder(config, {"id:3": rich}), [value])
    assert reasons(batch) == [None]
    assert batch.time_ms.tolist() == [1_709_209_800_250]
    found = batch.numeric[0].tolist()
    assert np.isnan(found.pop(7))
    assert found == [1500, 0, 1, 12.34, 500, 2.5, 3, 0]
    assert [column[0] for column in batch.text] == ["u1", "BUY", "iban"]
    assert batch.original(batch.record[0]) == {
        "userId": "u1",
        "at": 1_709_209_800_250,
        "took": 1500,
        "score": 0.0,
        "extra": {"deep": {"list": [1.0, "x", None, True]}},
        "price": 12.34,
        "card": {"limit": 500, "other": 7},
        "kind": "BUY",
        "pay": "iban",
        "iban": 5,
        "amounts": [1.5, 2.5],
        "tags": {"a": 3},
        "always": 0,
        "raw": "AP8=",
    }


def test_what_is_no_protobuf_of_its_schema_is_a_bad_record(rich):
    config = reading("protobuf", {"numeric": "always"})
    payload = rich_event(rich).SerializeToString()
    whole = framed(3, payload, bytes([4, 2, 0]))
    unknown_only = bytes([0xFA, 0x3F, 1, 0x78])  # field 1023, which it has not
    values = [
        whole,
        whole[:-3],
        framed(3, unknown_only, bytes([4, 2, 0])),
        framed(3, payload, bytes([2, 18])),  # a message that is not there
        framed(3, payload, bytes([1])),  # a negative number of indexes
        framed(3, payload, bytes([0xFE, 0xFF, 0x03])),
        framed(3, b""),
    ]
    batch = batch_of(decoder(config, {"id:3": rich}), values)
    assert reasons(batch) == [None, *["malformed"] * 6]
    nested = message_class(rich, "shop.Outer.Event")()
    inner = nested
    for _ in range(60):
        inner = inner.inner
    inner.always = 1
    deep = framed(3, nested.SerializeToString(), bytes([4, 2, 0]))
    whole_batch = batch_of(decoder(config, {"id:3": rich}), [deep])
    assert reasons(whole_batch) == [None]  # what is not read may nest
    with pytest.raises(PayloadError, match="nested"):
        whole_batch.original(whole_batch.record[0])


def test_two_versions_of_a_message_live_beside_each_other():
    first = proto('syntax = "proto3"; message E { int32 x = 1; }')
    second = proto('syntax = "proto3"; message E { reserved 1; double x = 2; string y = 3; }')
    config = reading("protobuf", {"numeric": "x"}, {"categorical": "y"})
    read = decoder(config, {"id:1": first, "id:2": second})
    values = [
        framed(1, message_class(first, "E")(x=4).SerializeToString(), b"\0"),
        framed(2, message_class(second, "E")(x=4.5, y="b").SerializeToString(), b"\0"),
    ] * 2
    batch = batch_of(read, values)
    assert batch.numeric[:, 0].tolist() == [4, 4.5, 4, 4.5]
    assert batch.text[0].tolist() == [None, "b"] * 2


@pytest.mark.parametrize(
    "name", ["../../outside.proto", "/etc/outside.proto", "a//b.proto", "-o.proto", "a\0.proto"]
)
def test_no_name_that_a_registry_gives_leads_out_of_its_directory(name):
    with pytest.raises(SchemaError, match="no name of a file"):
        proto('syntax = "proto3"; message E {}', {name: 'syntax = "proto3";'})


def test_text_that_the_compiler_refuses_says_where():
    with pytest.raises(SchemaError, match=r"event\.proto:1:20"):
        proto('syntax = "proto3"; mes E {}')


# --- what goes together --------------------------------------------------------------------------

KAFKA = {"bootstrap_servers": "x:9", "topics": ["events"], "group": "g", "alerts": "a",
         "dead_letters": "d", "labels": "labels"}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"event": {"format": "avro"}}, r"avro needs `registry`, or event\.schema_file"),
        ({"event": {"schema_file": "x.avsc"}}, "schema_file is for the formats avro and protobuf"),
        ({"event": {"format": "avro", "message": "M"}, "registry": URL}, "message is for"),
        ({"registry": {"url": "ftp://x"}}, "http:// or https://"),
        ({"registry": {"url": "http://me:secret@x"}}, "no login in url"),
        ({"registry": {**URL, "username": "me"}}, "one of password and password_file"),
        ({"registry": {**URL, "token": "a", "token_file": "b"}}, "one of username, token"),
        ({"registry": {**URL, "id_bytes": 8}}, "framing: apicurio"),
        ({"registry": {**URL, "certificate_file": "x"}}, "both certificate_file and key_file"),
        (
            {"kafka": KAFKA, "labels": {"delay": "1d", "format": "avro"}, "registry": URL,
                "event": {**SETTINGS["event"]}, "metrics": {"label_token": "x" * 16}},
            "writes labels as JSON",
        ),
    ],
)  # fmt: skip
def test_settings_that_do_not_go_together_are_mistakes(changes, why):
    with pytest.raises(ConfigurationError, match=why) as found:
        configuration(**changes)
    assert "secret" not in str(found.value)


# --- framings ------------------------------------------------------------------------------------


def test_schemas_are_named_in_headers_and_by_apicurio_as_well(rich):
    schema = avro_schema(field("x", "int"))
    payload = avro_bytes(schema, {"x": 5})
    guid = uuid.UUID(int=99).bytes
    config = reading("avro", {"numeric": "x"})
    keys = {f"guid:{guid.hex()}": avro(schema), "content:9": avro(schema), "global:4": avro(schema)}
    eight = (9).to_bytes(8, "big")

    def headed(name: str, content: bytes) -> PlainRecord:
        return PlainRecord(0, 0, None, payload, [("other", b"x"), (name, content)])

    batch = batch_of(
        decoder(config, keys),
        [
            headed("__value_schema_id", b"\x01" + guid),
            headed("apicurio.value.contentId", eight),
            headed("apicurio.value.globalId", (4).to_bytes(8, "big")),
            headed("__value_schema_id", b"\x07"),
        ],
    )
    assert reasons(batch) == [None, None, None, "malformed"]
    own = {**URL, "framing": "apicurio", "id_bytes": 8, "ids": "global"}
    config = reading("avro", {"numeric": "x"}, registry=own)
    batch = batch_of(
        decoder(config, {"global:9": avro(schema)}), [b"\0" + eight + payload, framed(9, payload)]
    )
    assert reasons(batch) == [None, "malformed"]


def test_apicurio_names_the_message_before_it_or_in_a_header(rich):
    own = {**URL, "framing": "apicurio"}
    config = reading("protobuf", {"numeric": "took"}, registry=own)
    payload = rich_event(rich).SerializeToString()
    name = b"shop.Outer.Event"
    named = bytes([len(name) + 2, 0x0A, len(name)]) + name
    headers = [
        ("apicurio.value.contentId", (3).to_bytes(8, "big")),
        ("apicurio.value.msgType", name),
    ]
    batch = batch_of(
        decoder(config, {"content:3": rich}),
        [framed(3, payload, named), PlainRecord(1, 0, None, payload, headers), framed(3, payload)],
    )
    assert reasons(batch) == [None, None, "malformed"]
    assert batch.numeric[:2, 0].tolist() == [1500, 1500]


def test_json_schema_is_json_behind_a_prefix():
    config = reading("json_schema", {"numeric": "x"})
    batch = batch_of(decoder(config), [framed(5, b'{"x": 1}'), b'{"x": 2}', framed(5, b"{")])
    assert reasons(batch) == [None, None, "malformed"]
    assert batch.numeric[:2, 0].tolist() == [1, 2]


def test_an_envelope_of_debezium_is_opened_in_avro_too():
    row = {"type": "record", "name": "Row", "fields": [field("x", "int")]}
    schema = avro_schema(
        field("before", ["null", row], default=None),
        field("after", ["null", "Row"], default=None),
        field("op", "string"),
        field("ts_ms", ["null", "long"]),
        name="db.Envelope",
    )
    config = reading("avro", {"numeric": "x"}, {"categorical": "@op"}, envelope="debezium")
    events = [
        {"before": None, "after": {"x": 4}, "op": "c", "ts_ms": 1},
        {"before": {"x": 4}, "after": None, "op": "d", "ts_ms": 2},
    ]
    values = [*(framed(1, avro_bytes(schema, e)) for e in events), framed(1, b"\x00")]
    batch = batch_of(decoder(config, {"id:1": avro(schema)}), values)
    assert reasons(batch) == [None, "tombstone", "malformed"]
    assert (batch.numeric[0, 0], batch.text[0][0]) == (4, "c")


def test_labels_have_a_format_of_their_own():
    schema = avro_schema(field("event_id", "string"), field("label", "boolean"), field("time", {
        "type": "long", "logicalType": "timestamp-millis"}))  # fmt: skip
    kafka = {"bootstrap_servers": "x:9", "topics": ["events"], "group": "g", "alerts": "a",
             "dead_letters": "d", "labels": "labels"}  # fmt: skip
    config = configuration(
        kafka=kafka, labels={"delay": "1d", "format": "avro"}, registry=URL,
    )  # fmt: skip
    read = decoder(config, {"id:2": avro(schema)})
    value = framed(
        2, avro_bytes(schema, {"event_id": "e1", "label": True, "time": 1_600_000_000_000})
    )
    source = type(SOURCE)("labels", 0)
    batch = read.decode(source, [PlainRecord(0, 5, None, value), PlainRecord(1, 5, None, b"{}")])
    assert batch.event_id.tolist() == ["e1", None]
    assert (batch.label[0], batch.time_ms[0]) == (1.0, 1_600_000_000_000)
    assert reasons(batch) == [None, "malformed"]


# --- many at once --------------------------------------------------------------------------------

SEVERAL = proto(
    'syntax = "proto2"; import "google/protobuf/timestamp.proto"; '
    'import "google/protobuf/wrappers.proto"; message E { optional double x = 1; '
    "optional string name = 2 [default = 'none']; enum K { A = 0; B = 5; } optional K kind = 3; "
    "optional google.protobuf.Timestamp at = 4; optional google.protobuf.Int64Value n = 5; "
    "oneof pay { string card = 6; int64 iban = 7; } required int32 always = 8; "
    "optional string other = 9; optional bool flag = 10; } message Second { optional int32 x = 1; }"
)
PLAIN = proto(
    'syntax = "proto3"; import "google/protobuf/timestamp.proto"; message E { double x = 1; '
    "string name = 2; int32 kind = 3; google.protobuf.Timestamp at = 4; int64 n = 5; "
    "string pay = 6; int32 always = 8; string other = 9; bool flag = 10; }"
)
FIELDS = [
    {"numeric": "x", "missing": "mean"},
    {"categorical": "name"},
    {"categorical": "pay"},
    {"numeric": "n", "missing": "mean"},
    {"numeric": "gone", "missing": "mean"},
    {"boolean": "flag", "missing": "mean"},
]


def any_payload(random: Random, schema: Schema) -> bytes:
    """An event of some fields, now and then of none, damaged, or with fields of strangers."""
    event = message_class(schema, "E")(always=random.randrange(2))
    plain = schema is PLAIN
    if random.random() < 0.8:
        event.x = random.choice([0.0, -0.0, 1.5, float("nan")])
    if random.random() < 0.5:
        event.name = random.choice(["", "a", "ü" * 5])
    if random.random() < 0.5:
        event.at.FromMilliseconds(random.randrange(10**12))
    if random.random() < 0.4:
        event.flag = random.random() < 0.5
    if random.random() < 0.5 and not plain:
        event.n.value = random.randrange(3)
        event.card = "visa"
    payload = event.SerializeToString()
    kind = random.random()
    if kind < 0.03:
        return payload[: random.randrange(len(payload) + 1)]
    if kind < 0.06:
        return b"\xfa\x3f\x01x"  # a field that it does not have
    if kind < 0.08:
        return b""
    return payload


@pytest.mark.parametrize("schema", [SEVERAL, PLAIN], ids=["proto2", "proto3"])
@pytest.mark.parametrize("seed", range(6))
def test_records_of_protobuf_read_together_are_what_each_is_by_itself(schema, seed):
    random = Random(seed)
    config = reading("protobuf", *FIELDS)
    read = decoder(config, {"id:1": schema})
    values = [framed(1, any_payload(random, schema), b"\0") for _ in range(400)]
    if seed % 2:  # with a record that makes the rest be read one by one
        values[200] = framed(1, b"", random.choice([b"\x02\x02", b"\x00\xff"]))
    alone = [batch_of(read, [PlainRecord(r, r * 1000, b"k", v)]) for r, v in enumerate(values)]
    for size in (1, 7, 50, 400):
        for start in range(0, 400, size):
            records = [PlainRecord(r, r * 1000, b"k", values[r])
                       for r in range(start, min(start + size, 400))]  # fmt: skip
            batch = batch_of(read, records)
            single = alone[start : start + size]
            assert reasons(batch) == [each for one in single for each in reasons(one)]
            assert batch.numeric.tobytes() == b"".join(one.numeric.tobytes() for one in single)
            for column, text in enumerate(batch.text):
                assert text.tolist() == [one.text[column][0] for one in single]
