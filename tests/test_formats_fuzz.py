"""Payloads and schemas from strangers: dead letters in bounded time and memory, no exception.

``FUZZ=10000`` makes so many of each (default 1,500).
"""

from __future__ import annotations

import json
import os
import random
import tracemalloc
from contextlib import suppress
from typing import Any

import pytest
from support.formats import (
    SOURCE,
    avro_bytes,
    avro_schema,
    decoder,
    framed,
    message_class,
    proto,
)
from test_formats import CARD, RICH, avro, field, reading, rich_event

from stream_detector.decoding import REASONS
from stream_detector.events import PlainRecord
from stream_detector.formats.avro import AvroReader
from stream_detector.formats.errors import PayloadError, SchemaError
from stream_detector.formats.schemas import Schema

COUNT = int(os.environ.get("FUZZ", "1500"))
MOST_BYTES = 120 * 1024 * 1024
"""What a batch of a hundred payloads of up to 64 KiB may hold at once."""

NESTED = avro_schema(
    field("x", ["null", "double"]),
    field("name", "string"),
    field("many", {"type": "array", "items": ["null", "long", "string"]}),
    field("map", {"type": "map", "values": {"type": "record", "name": "In", "fields": [
        field("price", {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}),
        field("next", ["null", "In"])]}}),
    field("kind", {"type": "enum", "name": "Kind", "symbols": ["A", "B"]}),
    field("raw", {"type": "fixed", "name": "Raw", "size": 4}),
)  # fmt: skip
EVENT = {
    "x": 1.5,
    "name": "hello",
    "many": [None, 5, "x"],
    "map": {"k": {"price": b"\x04", "next": {"price": b"", "next": None}}},
    "kind": "B",
    "raw": b"abcd",
}
LARGE = [2**63 - 1, -(2**63), 2**31, -1, 2**62, 10**9]


def varint(number: int) -> bytes:
    rest = ((number << 1) ^ (number >> 63)) & (2**64 - 1)
    made = bytearray()
    while rest > 127:
        made.append(rest & 127 | 128)
        rest >>= 7
    return bytes((*made, rest))


def damaged(rng: random.Random, good: bytes) -> bytes:  # noqa: PLR0911 - one for each kind
    """The payload as a fault, or a stranger, would leave it."""
    kind = rng.randrange(8)
    place = rng.randrange(len(good) + 1)
    if kind == 0:
        return good[:place]
    if kind == 1:
        return good[:place] + rng.randbytes(rng.randrange(1, 9)) + good[place:]
    if kind == 2:
        return good[:place] + varint(rng.choice(LARGE)) + good[place:]
    if kind == 3:
        return rng.randbytes(rng.randrange(1, 300))
    if kind == 4:
        return good[:5] + rng.randbytes(rng.choice((1, 10, 65_000)))
    if kind == 5:
        return good[:5] + bytes([rng.randrange(256)]) * 65_000
    if kind == 6:
        return good + good
    changed = bytearray(good)
    for _ in range(rng.randrange(1, 6)):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def parts(kind: str) -> tuple[Any, Schema, bytes]:
    if kind == "avro":
        config = reading(
            "avro", {"numeric": "x", "missing": "mean"}, {"categorical": "map.k.price"}
        )
        return config, avro(NESTED), framed(1, avro_bytes(NESTED.replace(
            '"logicalType": "decimal", ', ""), EVENT))  # fmt: skip
    schema = proto(RICH, {"other/card.proto": CARD})
    assert message_class(schema, "shop.First")
    config = reading(
        "protobuf", {"numeric": "price", "missing": "mean"}, {"categorical": "inner.kind"}
    )
    good = framed(1, rich_event(schema).SerializeToString(), bytes([4, 2, 0]))
    return config, schema, good


@pytest.mark.parametrize("kind", ["avro", "protobuf"])
def test_damaged_payloads_are_events_or_dead_letters_in_bounded_memory(kind):
    config, schema, good = parts(kind)
    read = decoder(config, {"id:1": schema})
    rng = random.Random(f"{kind} {COUNT}")
    refused = 0
    for start in range(0, COUNT, 100):
        values = [good, *(damaged(rng, good) for _ in range(99)), good]
        tracemalloc.start()
        batch = read.decode(SOURCE, [
            PlainRecord(start + row, 0, None, value)
            for row, value in enumerate(values)
            if not read.readable(SOURCE, [PlainRecord(start + row, 0, None, value)])[1]
        ])  # fmt: skip
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < MOST_BYTES
        assert batch.rejection[0] is None
        assert batch.rejection[-1] is None
        for row, rejection in enumerate(batch.rejection):
            if rejection is not None:
                refused += 1
                assert rejection.reason in REASONS
                assert len(rejection.message) <= 300
            else:
                with suppress(PayloadError):  # what is not read may be damaged
                    assert isinstance(batch.original(batch.record[row]), dict)
    assert refused > COUNT / 3


def schema_of(rng: random.Random, depth: int = 0) -> Any:  # noqa: PLR0911 - likewise
    """A schema, or what looks like one."""
    kind = rng.randrange(12 if depth < 6 else 6)
    if kind < 5:
        return rng.choice(["int", "long", "null", "string", "bytes", "double", "boolean", "Rec0"])
    if kind == 5:
        return rng.choice(
            [None, 5, {}, [], "", "Nowhere", {"type": "fixed", "name": "F", "size": 9}]
        )
    if kind == 6:
        return {"type": "array", "items": schema_of(rng, depth + 1)}
    if kind == 7:
        return {"type": "map", "values": schema_of(rng, depth + 1)}
    if kind == 8:
        return [schema_of(rng, depth + 1) for _ in range(rng.randrange(4))]
    if kind == 9:
        return {"type": "enum", "name": f"En{rng.randrange(3)}", "symbols": ["a", "b"]}
    if kind == 10:
        return {"type": "int", "logicalType": rng.choice(["date", "time-millis", "x", 5])}
    fields = [field(f"f{n}", schema_of(rng, depth + 1)) for n in range(rng.randrange(5))]
    return {"type": "record", "name": f"Rec{rng.randrange(4)}", "fields": fields}


def test_any_schema_is_refused_or_read_by_without_harm():
    rng = random.Random(7)
    usable = 0
    for _ in range(COUNT):
        text = json.dumps(schema_of(rng))
        try:
            found = AvroReader([text], {"f0": {"f1": {}}}, whole=rng.random() < 0.5)
        except SchemaError:
            continue
        usable += 1
        read = decoder(reading("avro", {"numeric": "f0"}), {"id:1": avro(text)})
        tracemalloc.start()
        read.decode(SOURCE, [
            PlainRecord(row, 0, None, framed(1, rng.randbytes(rng.choice((0, 1, 20, 20_000)))))
            for row in range(4)
        ])  # fmt: skip
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < MOST_BYTES, text
        assert found is not None
    assert usable > COUNT / 10
