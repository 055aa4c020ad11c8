"""Avro and Protobuf as producers write them, for tests: schemas, events, framings."""

from __future__ import annotations

import io
import json
from base64 import b64decode
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import fastavro
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from stream_detector.config import Config, FieldPlan
from stream_detector.connectors.registry.protoc import compiled
from stream_detector.decoding.topic_decoder import TopicDecoder
from stream_detector.events import EventBatch, PlainRecord, TopicPartition
from stream_detector.formats.framing import LOCAL
from stream_detector.formats.schemas import Schema, SchemaBook

SOURCE = TopicPartition("events", 0)


def avro_schema(*fields: dict[str, Any], name: str = "shop.Event") -> str:
    return json.dumps({"type": "record", "name": name, "fields": list(fields)})


def avro_bytes(schema: str, event: Any) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, _parsed(schema), event)
    return out.getvalue()


@cache
def _parsed(schema: str) -> Any:
    return fastavro.parse_schema(json.loads(schema))


def proto(text: str, others: Mapping[str, str] | None = None) -> Schema:
    return compiled("event.proto", {"event.proto": text, **(others or {})})


def message_class(schema: Schema, name: str) -> Any:
    pool = descriptor_pool.DescriptorPool()
    files = descriptor_pb2.FileDescriptorSet.FromString(b64decode(schema.parts[1]))
    for file in files.file:
        pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))


def framed(number: int, payload: bytes, indexes: bytes = b"") -> bytes:
    """With Confluent's prefix; ``indexes`` for Protobuf."""
    return b"\0" + number.to_bytes(4, "big") + indexes + payload


def decoder(
    config: Config, schemas: Mapping[str, Schema] | None = None, local: Schema | None = None
) -> TopicDecoder:
    book = SchemaBook()
    book.take_in(dict(schemas or {}), ())
    return TopicDecoder(config, FieldPlan.of(config), book, {LOCAL: local} if local else {})


def batch_of(some: TopicDecoder, values: Sequence[bytes | PlainRecord]) -> EventBatch:
    return some.decode(
        SOURCE,
        [
            value if isinstance(value, PlainRecord) else PlainRecord(row, row * 1000, b"k", value)
            for row, value in enumerate(values)
        ],
    )
