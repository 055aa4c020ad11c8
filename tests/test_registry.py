"""Schemas from a real registry, and what is made of one that is down, slow, or lies."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from schema_registry.registry import Registry
from support.fake_registry import FakeRegistry, fake_registry
from support.formats import avro_schema, message_class
from support.process import wait_until
from support.streams import configuration

from stream_detector.config.models.config import RegistryConfig
from stream_detector.connectors.registry import source
from stream_detector.connectors.registry.client import RegistryClient, schema_of_texts
from stream_detector.connectors.registry.http import MAX_ANSWER_BYTES, UnavailableError
from stream_detector.connectors.registry.protoc import compiled
from stream_detector.connectors.registry.source import RegistrySchemas, wait_for_registry
from stream_detector.errors import ConfigurationError, InputMissingError
from stream_detector.formats.errors import PayloadError, SchemaError
from stream_detector.formats.protobuf import ProtobufFiles
from stream_detector.formats.schemas import MAX_SCHEMA_BYTES, Answer, Schema, schema_of

INT = avro_schema({"name": "x", "type": "int"})
JSON_SCHEMA = '{"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}'


def client(url: str, **settings: Any) -> RegistryClient:
    plain = {"url": url, "request_timeout": "5s", **settings}
    return RegistryClient(RegistryConfig.model_validate_json(json.dumps(plain)))


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with fake_registry() as registry:
        yield registry


# --- a real one ----------------------------------------------------------------------------------


def described(name: str, text: str, **others: str) -> str:
    """A file as Confluent's serializer for Python registers it: compiled, in base64."""
    texts = {name: text, **{f"{each}.proto": other for each, other in others.items()}}
    files = FileDescriptorSet.FromString(b64decode(compiled(name, texts).parts[1]))
    file = next(each for each in files.file if each.name == name)
    return b64encode(file.SerializeToString()).decode()


MONEY = 'syntax = "proto3"; package shop; message Money { int64 units = 1; }'
ORDER = (
    'syntax = "proto2"; package shop; import "money.proto"; '
    'import "google/protobuf/timestamp.proto"; message Other { optional int32 y = 1; } '
    "message Order { message Item { optional string sku = 1; } required Money paid = 1; "
    "optional group Place = 2 { optional string city = 3; } "
    "optional google.protobuf.Timestamp at = 4; map<string, Item> items = 5; }"
)


@pytest.mark.parametrize("both", [True, False], ids=["both compiled", "what it refers to a text"])
def test_a_file_of_protobuf_may_be_registered_compiled(registry: Registry, both):
    money = f"money-{both}"
    registry.register(money, described("money.proto", MONEY) if both else MONEY, "PROTOBUF")
    number = registry.register(
        f"order-{both}-value",
        described("deep/in/order.proto", ORDER, money=MONEY),
        "PROTOBUF",
        references=({"name": "money.proto", "subject": money, "version": 1},),
    )
    answer = client(registry.url).answer(f"id:{number}", "protobuf")
    assert answer.schema is not None, answer.why
    order = message_class(answer.schema, "shop.Order")(paid={"units": 3}, place={"city": "Rome"})
    files = ProtobufFiles(answer.schema.parts, {}, "unix_ms", whole=True)
    assert list(files.messages()) == [
        "shop.Other", "shop.Order", "shop.Order.Item", "shop.Order.Place",
    ]  # fmt: skip
    found = files.reader(files.message_at((1,)))(order.SerializeToString(), 0)
    assert found == {"paid": {"units": 3}, "place": {"city": "Rome"}, "items": {}}


@pytest.mark.parametrize(
    ("text", "said"),
    [("message", "schema.proto:1:"), ("aGVsbG8=", "schema.proto"), ("CgFh", "no message"),
     (described("a.proto", ORDER, money=MONEY), "money.proto")],
)  # fmt: skip
def test_what_is_no_file_of_protobuf_is_said_without_the_compilers_noise(text, said):
    with pytest.raises((SchemaError, PayloadError)) as raised:
        schema_of_texts("protobuf", "protobuf", {"": text})
    assert said in str(raised.value)
    assert "absl" not in str(raised.value)
    assert "parser.cc" not in str(raised.value)


def test_schemas_come_with_what_they_refer_to(registry: Registry):
    registry.register("pay.Card", avro_schema({"name": "limit", "type": "int"}, name="pay.Card"))
    number = registry.register(
        "avro-references-value",
        avro_schema({"name": "card", "type": "pay.Card"}),
        references=({"name": "pay.Card", "subject": "pay.Card", "version": 1},),
    )
    asked = client(registry.url)
    asked.check()
    answer = asked.answer(f"id:{number}", "avro")
    assert answer.schema is not None
    assert [json.loads(part)["name"] for part in answer.schema.parts] == ["shop.Event", "pay.Card"]
    assert schema_of(answer.schema.stored()) == answer.schema

    registry.register(
        "card.proto",
        'syntax = "proto3"; package pay; message Card { int32 limit = 1; }',
        "PROTOBUF",
    )
    number = registry.register(
        "protobuf-references-value",
        'syntax = "proto3"; import "pay/card.proto"; import "google/protobuf/timestamp.proto"; '
        "message Event { pay.Card card = 1; google.protobuf.Timestamp at = 2; }",
        "PROTOBUF",
        ({"name": "pay/card.proto", "subject": "card.proto", "version": 1},),
    )
    for url, settings, key in (
        (registry.url, {}, f"id:{number}"),
        (registry.own_url, {"framing": "apicurio"}, f"content:{number}"),
        (registry.own_url, {"framing": "apicurio", "ids": "global"}, f"global:{number}"),
    ):
        asked = client(url, **settings)
        asked.check()
        found = asked.answer(key, "protobuf").schema
        assert found is not None
        event = message_class(found, "Event")()
        event.card.limit = 5
        assert event.SerializeToString() == b"\n\x02\x08\x05"


def test_what_a_registry_has_not_or_has_otherwise_is_said(registry: Registry):
    number = registry.register("other-value", JSON_SCHEMA, "JSON")
    nowhere = registry.register("nowhere-value", INT)
    asked = client(registry.url)
    for key, kind, why in (
        (f"id:{number}", "avro", "of the format json, not avro"),
        (f"id:{nowhere}", "protobuf", "of the format avro, not protobuf"),
        ("id:123456", "avro", "the registry has none"),
        (f"guid:{'ab' * 16}", "avro", "the registry has none"),
    ):
        answer = asked.answer(key, kind)
        assert (answer.schema, answer.final) == (None, True)
        assert why in answer.why
    own = client(registry.own_url, framing="apicurio")
    assert own.answer("content:123456", "avro").final
    for wrong in (f"{registry.address}/nothing/here", registry.address):
        with pytest.raises(UnavailableError, match="status 404"):
            client(wrong).check()
        assert not client(wrong).answer("id:1", "avro").final  # no word of a registry's


# --- one that fails ------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", FakeRegistry.MODES)
def test_an_answer_that_is_none_is_no_answer(fake: FakeRegistry, mode: str):
    fake.avro(1, INT)
    fake.mode = mode
    timeout = "400ms" if mode == "endless" else "5s"
    asked = client(fake.url, username="me", password="very-secret", request_timeout=timeout)
    answer = asked.answer("id:1", "avro")
    assert (answer.schema, answer.final) == (None, False)
    assert fake.url in answer.why or "answers without" in answer.why
    assert "very-secret" not in answer.why
    if mode == "huge":
        assert str(MAX_ANSWER_BYTES) in answer.why
    if mode == "endless":
        assert "no whole answer within 0.4 s" in answer.why
    if mode == "redirect":
        assert fake.asked == ["/schemas/ids/1"]
    if mode != "list":
        with pytest.raises(UnavailableError):
            asked.check()
    fake.mode = "well"
    assert asked.answer("id:1", "avro").schema is not None


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ({"schema": "{"}, "no JSON"),
        ({"schema": '{"type": "record", "name": "R"}'}, "no list of fields"),
        ({"schema": json.dumps({"type": "array", "items": "null"})}, "any number"),
        ({"schema": INT, "schemaType": "PROTOBUF"}, "of the format protobuf"),
        ({"schema": '"' + "x" * MAX_SCHEMA_BYTES + '"'}, "larger than"),
        ({"schema": '{"type": "array", "items": ' * 300 + '"int"' + "}" * 300}, "deep"),
        (
            {"schema": INT, "references": [{"name": "a", "subject": "none", "version": 1}]},
            "not there",
        ),
    ],
)
def test_a_schema_that_cannot_be_used_is_no_schema(fake: FakeRegistry, members, why):
    fake.schemas[1] = members
    answer = client(fake.url).answer("id:1", "avro")
    assert (answer.schema, answer.final) == (None, True)
    assert why in answer.why


def test_references_without_end_end(fake: FakeRegistry):
    refers = [{"name": f"r{n}", "subject": "s", "version": 1} for n in range(300)]
    fake.schemas[1] = {"schema": INT, "references": refers}
    answer = client(fake.url).answer("id:1", "avro")
    assert "more than 200 others" in answer.why
    # One that refers to itself under its own name is met once.
    fake.schemas[1] = {"schema": INT, "references": refers[:1]}
    assert client(fake.url).answer("id:1", "avro").schema is not None


def test_a_token_file_is_read_again_where_the_token_is_refused(fake: FakeRegistry, tmp_path):
    file = tmp_path / "token"
    file.write_text("first\n")
    fake.avro(1, INT)
    asked = client(fake.url, token_file=str(file))
    assert asked.answer("id:1", "avro").schema is not None
    assert fake.headers["Authorization"] == "Bearer first"
    file.write_text("second\n")
    fake.mode = "refused"
    answer = asked.answer("id:1", "avro")
    assert fake.headers["Authorization"] == "Bearer second"
    assert not answer.final
    assert "second" not in answer.why
    with pytest.raises(ConfigurationError, match="token_file"):
        client(fake.url, token_file=str(tmp_path / "none"))


def test_a_secret_stands_nowhere(fake: FakeRegistry):
    config = configuration(
        event={"format": "avro"},
        registry={"url": fake.url, "username": "me", "password": "very-secret"},
    )
    assert "very-secret" not in repr(config)
    assert "very-secret" not in config.model_dump_json()
    schemas = source.open_schemas(config)
    assert schemas.secret == "very-secret"
    assert "very-secret" not in repr(vars(schemas))


def test_the_secret_is_known_where_alerts_alone_need_the_registry():
    kafka = {"bootstrap_servers": "x:9", "topics": ["e"], "group": "g", "alerts": "a",
             "dead_letters": "d", "alerts_format": "avro"}  # fmt: skip
    config = configuration(registry={"url": "http://registry.invalid", "token": "s3"}, kafka=kafka)
    assert source.open_schemas(config).secret == "s3"
    assert not source.needs_registry(config)


def test_a_start_waits_for_the_registry_and_gives_up_by_name():
    fake = FakeRegistry()
    fake.start()
    fake.stop()
    section = {"url": fake.url, "wait": "500ms"}
    config = configuration(event={"format": "avro"}, registry=section)
    said: list[str] = []
    with pytest.raises(InputMissingError, match=fake.url):
        wait_for_registry(config, said.append)
    assert said
    assert fake.url in said[0]
    assert InputMissingError.exit_code == 3
    wait_for_registry(configuration(registry=section))  # JSON needs none

    def reason(_why: str) -> None:
        if fake._server is None:
            fake.start()

    patient = configuration(event={"format": "avro"}, registry={**section, "wait": "1m"})
    wait_for_registry(patient, reason)
    fake.stop()


# --- asked beside the loop -----------------------------------------------------------------------


def answered(schemas: RegistrySchemas, key: str) -> Answer:
    return wait_until(lambda: schemas.answer(key, "avro"), f"an answer for {key}", timeout=30)


def test_answers_come_later_and_once(fake: FakeRegistry, monkeypatch):
    monkeypatch.setattr(source, "FINAL_SECONDS", 0.2)
    fake.avro(1, INT)
    schemas = RegistrySchemas(client(fake.url), {})
    assert schemas.answer("id:1", "avro") is None  # nothing waits for it
    assert answered(schemas, "id:1").schema == Schema("avro", (INT,))
    for _ in range(3):
        assert answered(schemas, "id:1").schema is not None
        assert answered(schemas, "id:2").final
    assert fake.asked.count("/schemas/ids/1") == 1
    assert fake.asked.count("/schemas/ids/2") == 1
    fake.avro(2, INT)  # registered a little later
    wait_until(lambda: (a := schemas.answer("id:2", "avro")) and a.schema, "the second", 30)
    schemas.close()


def test_it_is_asked_on_while_the_registry_is_down(fake: FakeRegistry):
    fake.avro(1, INT)
    fake.stop()
    schemas = RegistrySchemas(client(fake.url), {})
    first = answered(schemas, "id:1")
    assert (first.schema, first.final) == (None, False)
    second = schemas.answer("id:2", "avro")
    assert second is not None  # known to be down: no need to wait for its turn
    assert not second.final
    fake.over.clear()
    fake.start()
    wait_until(lambda: (a := schemas.answer("id:1", "avro")) and a.schema, "the schema", 30)
    schemas.close()


def test_without_a_registry_there_is_nothing_to_ask():
    answer = RegistrySchemas(None, {}).answer("id:1", "avro")
    assert answer is not None
    assert answer.final
