"""init, check and simulate with a real broker and a real registry."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from kafka_broker.clients import Message, create_topic, produce, unique_name
from schema_registry.registry import Registry
from support.formats import avro_bytes, framed, message_class, proto
from test_daemon import topics

from stream_detector.__main__ import main
from stream_detector.config.loading.load import parse
from stream_detector.formats.errors import SchemaError
from stream_detector.formats.outline import FieldOutline, has_field, outline
from stream_detector.formats.schemas import Schema

PAYMENT = json.dumps({"type": "record", "name": "Payment", "fields": [
    {"name": "payment_id", "type": {"type": "string", "logicalType": "uuid"}},
    {"name": "created", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "card", "type": {"type": "record", "name": "Card", "fields": [
        {"name": "number", "type": "string", "doc": "Token of the card."}]}},
    {"name": "amount", "doc": "In euros, with taxes.",
        "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
    {"name": "channel", "type": {"type": "enum", "name": "Channel",
        "symbols": ["SHOP", "WEB", "PHONE"]}},
]})  # fmt: skip


def payments(count: int) -> list[dict[str, Any]]:
    return [
        {
            "payment_id": f"00000000-0000-4000-8000-{row * 7919 % 10**12:012d}",
            "created": (1_700_000_000_000 + row * 60_000) * 1000,
            "card": {"number": f"card{row * row % 17}"},
            "amount": (1000 + row * 37 % 900).to_bytes(4, "big"),
            "channel": ["SHOP", "WEB", "PHONE"][row * 5 % 3],
        }
        for row in range(count)
    ]


@pytest.fixture(scope="module")
def payment_topic(kafka, registry: Registry) -> str:
    topic = create_topic(kafka.bootstrap, unique_name("payments"))
    number = registry.register(f"{topic}-value", PAYMENT)
    plain = re.sub(r'"logicalType": "(decimal|timestamp-micros|uuid)", ?', "", PAYMENT)
    plain = re.sub(r', "logicalType": "(timestamp-micros|uuid)"', "", plain)
    produce(
        kafka.bootstrap,
        topic,
        [Message(framed(number, avro_bytes(plain, event))) for event in payments(400)],
    )
    return topic


def test_init_proposes_from_the_schema(kafka, registry, payment_topic, tmp_path, capsys):
    out = tmp_path / "config.yaml"
    words = ["init", "--kafka", kafka.bootstrap, "--topic", payment_topic, "--output", str(out)]
    assert main([*words, "--registry", registry.url]) == 0
    assert "avro by 1 schemas of the registry" in capsys.readouterr().out
    text = out.read_text()
    config = parse(text, "proposal", {}).config
    assert config.registry is not None
    assert (config.registry.url, config.event.format) == (registry.url, "avro")
    assert config.event.time is not None
    assert (config.event.time.field, config.event.time.format) == ("created", "auto")
    features = yaml.safe_load(text)["features"]
    assert any(each.get("categorical") == "channel" for each in features)
    assert any(each.get("numeric") == "amount" for each in features)
    assert "an enum of the schema" in text
    assert "the schema: In euros, with taxes." in text


def test_init_says_where_the_registry_does_not_answer(kafka, payment_topic, capsys):
    words = ["init", "--kafka", kafka.bootstrap, "--topic", payment_topic]
    assert main([*words, "--registry", "http://127.0.0.1:9"]) == 3
    assert "the schema registry at http://127.0.0.1:9" in capsys.readouterr().err


def configured(kafka: Any, topic: str, url: str, directory: Path, **event: Any) -> Path:
    section = topics(kafka.bootstrap)
    path = directory / "check.yaml"
    path.write_text(yaml.safe_dump({
        "name": "check",
        "kafka": {**section, "topics": [topic]},
        "registry": {"url": url, "wait": "1s"},
        "event": {"format": "avro", "time": {"field": "created"}, **event},
        "features": [{"numeric": "amount"}, {"numeric": "tax", "missing": "mean"}],
        "windows": [{"key": "card.number", "half_lives": ["1h"], "compute": ["count"]},
                    {"key": "card.owner", "half_lives": ["1h"], "compute": ["count"]}],
    }))  # fmt: skip
    return path


def test_check_says_which_schemas_there_are_and_which_fields_lack(
    kafka, registry, payment_topic, tmp_path, capsys
):
    path = configured(kafka, payment_topic, registry.url, tmp_path)
    assert main(["check", str(path), "--connect"]) == 0
    out = capsys.readouterr().out
    assert re.search(rf"{payment_topic}-value +avro, newest id \d+", out)
    assert "has no field tax: it is missing in every event" in out
    assert "has no field card.owner: every event is a bad record" in out
    assert "amount" not in out.replace("name", "")
    assert "card.number" not in out

    other = create_topic(kafka.bootstrap, unique_name("other"))
    path = configured(kafka, other, registry.url, tmp_path)
    assert main(["check", str(path), "--connect"]) == 0
    assert f"the registry has no subject {other}-value" in capsys.readouterr().out
    path = configured(kafka, payment_topic, "http://127.0.0.1:9", tmp_path)
    assert main(["check", str(path), "--connect"]) == 3
    assert "registry.url: the schema registry at http://127.0.0.1:9" in capsys.readouterr().out


ORDERS = (
    'syntax = "proto3"; package shop; import "google/protobuf/timestamp.proto"; '
    "message Money { int64 units = 1; } message Order { "
    "message Line { enum Kind { SHOP = 0; WEB = 1; } google.protobuf.Timestamp at = 1; "
    "Kind kind = 2; double amount = 3; string user = 4; } Line first = 1; }"
)


def test_of_protobuf_the_message_that_the_records_are_is_looked_into(
    kafka, registry, tmp_path, capsys
):
    topic = create_topic(kafka.bootstrap, unique_name("lines"))
    number = registry.register(f"{topic}-value", ORDERS, "PROTOBUF")
    line = message_class(proto(ORDERS), "shop.Order.Line")
    values = []
    for row in range(300):
        event = line(kind=row * 5 % 3 % 2, amount=row * 37 % 90 + 0.5, user=f"u{row * row % 17}")
        event.at.FromMilliseconds(1_700_000_000_000 + row * 60_000)
        values.append(Message(framed(number, event.SerializeToString(), b"\x04\x02\x00")))
    produce(kafka.bootstrap, topic, values)
    out = tmp_path / "config.yaml"
    words = ["init", "--kafka", kafka.bootstrap, "--topic", topic, "--output", str(out)]
    assert main([*words, "--registry", registry.url]) == 0
    text = out.read_text()
    assert yaml.safe_load(text)["event"]["time"] == {"field": "at", "format": "auto"}
    assert "an enum of the schema" in text
    capsys.readouterr()
    section = topics(kafka.bootstrap)
    plain = yaml.safe_load(text)
    plain["kafka"] |= {**section, "topics": [topic]}
    plain["features"].append({"numeric": "tax", "missing": "mean"})
    out.write_text(yaml.safe_dump(plain))
    assert main(["check", str(out), "--connect"]) == 0
    shown = capsys.readouterr().out
    assert "message shop.Order.Line, has no field tax: it is missing in every event" in shown
    assert shown.count("has no field") == 1


PRICE = json.dumps({"type": "object", "$defs": {"card": {"type": "object",
    "properties": {"no": {"type": "string"}}}}, "properties": {
    "id": {"type": "string"}, "when": {"type": "string", "format": "date-time"},
    "price": {"type": "number", "description": "In euros."}, "card": {"$ref": "#/$defs/card"},
    "kind": {"enum": ["a", "b"]}, "tags": {"type": "object", "additionalProperties": {}},
    "lines": {"type": "array", "items": {"allOf": [{"properties": {"sku": {}}}]}}}})  # fmt: skip


def test_a_json_schema_is_shown_and_proposed_from(kafka, registry, tmp_path, capsys):
    topic = create_topic(kafka.bootstrap, unique_name("prices"))
    number = registry.register(f"{topic}-value", PRICE, "JSON")
    values = []
    for row in range(300):
        event = {"id": f"p{row}", "when": f"2026-03-{row % 28 + 1:02d}T{row // 28:02d}:00:00Z",
                 "price": row * 37 % 90 + 0.5, "card": {"no": f"c{row * row % 17}"},
                 "kind": "ab"[row * 5 % 3 % 2]}  # fmt: skip
        values.append(Message(framed(number, json.dumps(event).encode())))
    produce(kafka.bootstrap, topic, values)
    out = tmp_path / "config.yaml"
    words = ["init", "--kafka", kafka.bootstrap, "--topic", topic, "--output", str(out)]
    assert main([*words, "--registry", registry.url]) == 0
    text = out.read_text()
    assert "the schema: In euros." in text
    assert "an enum of the schema" in text
    plain = yaml.safe_load(text)
    assert plain["event"]["format"] == "json_schema"
    plain["kafka"] |= {**topics(kafka.bootstrap), "topics": [topic]}
    plain["features"].append({"numeric": "tax", "missing": "mean"})
    plain["registry"] = {"url": registry.url}
    out.write_text(yaml.safe_dump(plain))
    capsys.readouterr()
    assert main(["check", str(out), "--connect"]) == 0
    shown = capsys.readouterr().out
    assert re.search(rf"{topic}-value +json, newest id {number}", shown)
    assert f"id {number}, does not name the field tax" in shown
    assert shown.count("does not name") == 1
    # The events are read without it, so that a registry that is down keeps nothing.
    plain["registry"] = {"url": "http://127.0.0.1:9"}
    out.write_text(yaml.safe_dump(plain))
    assert main(["check", str(out), "--connect"]) == 0
    assert "not checked: registry.url: the schema registry at" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["avro", "protobuf"])
def test_simulate_writes_what_init_reads(kafka, registry, tmp_path, capsys, kind):
    topic = create_topic(kafka.bootstrap, unique_name("simulated"))
    place = ["--kafka", kafka.bootstrap, "--topic", topic, "--registry", registry.url]
    schema = tmp_path / "schema"
    written = ["simulate", "transactions", "--count", "600", "--format", kind]
    assert main([*written, *place, "--schema", str(schema)]) == 0
    assert "TX_AMOUNT" in schema.read_text()
    assert main(["init", *place, "--output", str(tmp_path / "config.yaml")]) == 0
    config = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert config["event"]["format"] == kind
    assert config["event"]["time"] == {"field": "TX_DATETIME", "format": "auto"}
    assert "rejected" not in capsys.readouterr().out


# --- outlines ------------------------------------------------------------------------------------


def test_an_outline_has_the_paths_that_a_configuration_may_name():
    fields = outline(Schema("avro", (PAYMENT,)))
    assert fields["created"].meaning == "moment"
    assert fields["channel"].meaning == "enum"
    assert fields["card.number"] == FieldOutline("value", "Token of the card.")
    assert has_field(fields, "card.number")
    assert not has_field(fields, "card.owner")

    nested = json.dumps({"type": "record", "name": "N", "fields": [
        {"name": "tags", "type": {"type": "map", "values": "string"}},
        {"name": "many", "type": ["null", {"type": "array", "items": "N"}]},
        {"name": "new", "aliases": ["old"], "type": "int"}]})  # fmt: skip
    fields = outline(Schema("avro", (nested,)))
    for name in ("tags.anything", "many[0].new", "many[count]", "old"):
        assert has_field(fields, name), name
    assert not has_field(fields, "many[0].none")


def test_an_outline_of_a_json_schema_follows_what_it_refers_to_within_bounds():
    fields = outline(Schema("json_schema", (PRICE,)))
    assert fields["card"].meaning == "inside"
    for name in ("card.no", "tags.anything", "lines[0].sku", "lines[count]"):
        assert has_field(fields, name), name
    assert not has_field(fields, "card.owner")
    node = {"$ref": "#"}
    endless = {"allOf": [node] * 20, "properties": {"a": node, "b": {"items": node}}}
    assert has_field(outline(Schema("json_schema", (json.dumps(endless),))), "a.b")
    for text in ("3", "[]", "true", '{"properties": 3, "allOf": 1, "$ref": "#/a/b"}',
                 '{"properties": {"a": true, "b": {"$ref": 3}}}'):  # fmt: skip
        assert "c" not in outline(Schema("json_schema", (text,)))
    with pytest.raises(SchemaError):
        outline(Schema("json_schema", ("{",)))


def test_an_outline_of_protobuf_has_both_names_of_a_field():
    schema = proto(
        'syntax = "proto3"; import "google/protobuf/timestamp.proto"; '
        "message E { enum K { A = 0; } "
        "google.protobuf.Timestamp sent_at = 1; K kind = 2; map<string, E> inner = 3; "
        "oneof pay { int32 card = 4; } E again = 5; }"
    )
    fields = outline(schema)
    assert fields["sent_at"].meaning == fields["sentAt"].meaning == "moment"
    assert fields["kind"].meaning == "enum"
    for name in ("pay", "card", "inner.x.kind", "again.again.sentAt"):
        assert has_field(fields, name), name
    with pytest.raises(SchemaError):
        outline(Schema("avro", ('{"type": "record"}',)))
