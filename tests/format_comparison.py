"""The same card events as JSON, Avro and Protobuf, in one and in three versions of the schema.

Through decoding and pipeline as the daemon has them; what comes out must be the same alerts, but
for the event inside. As a command (``make formats``) it takes 200,000 events::

    python tests/format_comparison.py --events 200000
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import fastavro
import msgspec

from stream_detector.config import Config, FieldPlan, state_fingerprint
from stream_detector.config.loading.load import parse
from stream_detector.connectors.registry.protoc import compiled
from stream_detector.decoding.topic_decoder import TopicDecoder
from stream_detector.events import PlainRecord, TopicPartition
from stream_detector.formats.protobuf import ProtobufFiles
from stream_detector.formats.schemas import Schema, SchemaBook
from stream_detector.pipeline import PipelineCore
from stream_detector.simulation import transactions
from stream_detector.simulation.formats import FormatWriter
from stream_detector.simulation.traffic import Generated

SOURCE = TopicPartition("transactions", 0)
POLL = 3000

SETTINGS: dict[str, Any] = {
    "name": "comparison",
    "event": {"id": "TRANSACTION_ID", "time": {"field": "TX_DATETIME"}},
    "features": [{"numeric": "TX_AMOUNT", "transform": "log"}, {"time": "night"}],
    "windows": [
        {
            "key": key,
            "value": "TX_AMOUNT",
            "half_lives": ["17h", "5d", "21d"],
            "compute": ["count", "mean", "deviation"],
        }
        for key in ("CUSTOMER_ID", "TERMINAL_ID")
    ],
    "detector": {"kind": "half_space_forest"},
    "threshold": {"budget": "0.5 %"},
    "registry": {"url": "http://registry.invalid"},
}

AVRO_VERSIONS = [
    [
        ("TRANSACTION_ID", "long", {}),
        ("TX_DATETIME", {"type": "long", "logicalType": "timestamp-millis"}, {}),
        ("CUSTOMER_ID", "long", {}),
        ("TERMINAL_ID", "long", {}),
        ("TX_AMOUNT", "double", {}),
    ],
    [  # another order, an amount with another name, in cents; a moment in microseconds
        ("AMOUNT", {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2},
            {"aliases": ["TX_AMOUNT"]}),
        ("CHANNEL", {"type": "enum", "name": "Channel", "symbols": ["CARD", "WEB"]}, {}),
        ("TX_DATETIME", {"type": "long", "logicalType": "timestamp-micros"}, {}),
        ("TRANSACTION_ID", "string", {}),
        ("CUSTOMER_ID", "int", {}),
        ("TERMINAL_ID", ["null", "string"], {}),
    ],
    [  # unions, a nested record that nobody reads
        ("MORE", {"type": "record", "name": "More", "fields": [
            {"name": "tags", "type": {"type": "map", "values": "string"}}]}, {}),
        ("TRANSACTION_ID", ["string", "long"], {}),
        ("TX_AMOUNT", ["null", "double"], {}),
        ("TERMINAL_ID", ["null", "long"], {}),
        ("CUSTOMER_ID", "string", {}),
        ("TX_DATETIME", {"type": "long", "logicalType": "timestamp-nanos"}, {}),
    ],
]  # fmt: skip
PROTOBUF_VERSIONS = [
    """int64 TRANSACTION_ID = 1; google.protobuf.Timestamp TX_DATETIME = 2;
    int64 CUSTOMER_ID = 3; int64 TERMINAL_ID = 4; double TX_AMOUNT = 5;""",
    """reserved 1, 5; string TRANSACTION_ID = 7; google.protobuf.Timestamp TX_DATETIME = 2;
    int32 CUSTOMER_ID = 3; optional int64 TERMINAL_ID = 4;
    google.protobuf.DoubleValue TX_AMOUNT = 8; map<string, string> MORE = 9;""",
    """string TRANSACTION_ID = 7; int64 TX_DATETIME = 10;
    oneof WHO { int64 CUSTOMER_ID = 3; string OTHER = 11; }
    int64 TERMINAL_ID = 4; oneof WHAT { double TX_AMOUNT = 8; double CENTS = 12; }""",
]
HEADER = (
    'syntax = "proto3"; import "google/protobuf/timestamp.proto"; '
    'import "google/protobuf/wrappers.proto"; message Event { %s }'
)


def configuration(kind: str) -> Config:
    event = {**SETTINGS["event"], "format": kind}
    return parse(json.dumps({**SETTINGS, "event": event}), "comparison", {}).config


def moments(batch: Generated) -> list[int]:
    return [int(each) // 1000 * 1000 for each in batch.time_ms]


def avro_versions() -> tuple[dict[str, Schema], list[Callable[[dict[str, Any]], bytes]]]:
    schemas, encoders = {}, []
    for number, fields in enumerate(AVRO_VERSIONS):
        made = [{"name": name, "type": kind, **more} for name, kind, more in fields]
        text = json.dumps({"type": "record", "name": "Event", "fields": made})
        schemas[f"id:{number}"] = Schema("avro", (text,))
        plain = [
            {**each, "type": "bytes" if "decimal" in str(each["type"]) else each["type"]}
            for each in made
        ]
        for each in plain:
            if "timestamp" in str(each["type"]):
                each["type"] = "long"
        parsed = fastavro.parse_schema({"type": "record", "name": "Event", "fields": plain})

        def encode(event: dict[str, Any], number: int = number, parsed: Any = parsed) -> bytes:
            changed = dict(event)
            if number == 1:
                cents = round(changed["TX_AMOUNT"] * 100)
                changed["AMOUNT"] = cents.to_bytes(8, "big", signed=True)
                changed["CHANNEL"] = "WEB"
                changed["TX_DATETIME"] *= 1000
                changed["TRANSACTION_ID"] = str(changed["TRANSACTION_ID"])
                changed["TERMINAL_ID"] = str(changed["TERMINAL_ID"])
            if number == 2:
                changed["MORE"] = {"tags": {"a": "b"}}
                changed["TX_DATETIME"] *= 10**6
                changed["CUSTOMER_ID"] = str(changed["CUSTOMER_ID"])
            out = io.BytesIO()
            out.write(b"\0" + number.to_bytes(4, "big"))
            fastavro.schemaless_writer(out, parsed, changed)
            return out.getvalue()

        encoders.append(encode)
    return schemas, encoders


def protobuf_versions() -> tuple[dict[str, Schema], list[Callable[[dict[str, Any]], bytes]]]:
    schemas, encoders = {}, []
    for number, fields in enumerate(PROTOBUF_VERSIONS):
        schema = compiled("event.proto", {"event.proto": HEADER % fields})
        schemas[f"id:{number}"] = schema
        new = ProtobufFiles(schema.parts, {}, "unix_ms", whole=False).message_class("Event")

        def encode(event: dict[str, Any], number: int = number, new: Any = new) -> bytes:
            changed = dict(event)
            moment, amount = changed.pop("TX_DATETIME"), changed.pop("TX_AMOUNT")
            if number:
                changed["TRANSACTION_ID"] = str(changed["TRANSACTION_ID"])
            message = new(**changed)
            if number == 2:
                message.TX_DATETIME = moment
            else:
                message.TX_DATETIME.FromMilliseconds(moment)
            if number == 1:
                message.TX_AMOUNT.value = amount
                message.MORE["a"] = "b"
            else:
                message.TX_AMOUNT = amount
            return b"\0" + number.to_bytes(4, "big") + b"\0" + message.SerializeToString()

        encoders.append(encode)
    return schemas, encoders


def one_version(kind: Any, first: Generated) -> tuple[dict[str, Schema], FormatWriter]:
    writer = FormatWriter(kind, first)
    schema = Schema("avro", (writer.schema,))
    if kind == "protobuf":
        schema = compiled("event.proto", {"event.proto": writer.schema})
    return {"id:0": schema}, writer


def values_of(way: str, count: int) -> tuple[str, Mapping[str, Schema], Iterator[list[bytes]]]:
    """The format of a way, its schemas, and the values of the records, batch by batch."""
    batches = transactions.generate(count, seed=1, customers=500, terminals=1000)
    kind, _, versions = way.partition(", ")
    if kind == "json":
        return kind, {}, (batch.json_lines() for batch in batches)
    if not versions:
        first = next(transactions.generate(10, seed=1))
        schemas, writer = one_version(kind, first)
        prefix = b"\0\0\0\0\0" + (b"\0" if kind == "protobuf" else b"")
        return kind, schemas, ([prefix + v for v in writer.values(batch)] for batch in batches)
    schemas, encoders = avro_versions() if kind == "avro" else protobuf_versions()

    def changing() -> Iterator[list[bytes]]:
        done = 0
        for batch in batches:
            made = []
            for line, moment in zip(batch.json_lines(), moments(batch), strict=True):
                event = json.loads(line)
                del event["TX_FRAUD"]
                event["TX_DATETIME"] = moment
                # The second from a third on, beside the first for a while; then the third.
                share = 3 * done / count
                number = 0 if share < 1 else 1 + (share >= 2) if share % 1 > 0.2 else done % 3
                made.append(encoders[number](event))
                done += 1
            yield made

    return kind, schemas, changing()


WAYS = ("json", "avro", "protobuf", "avro, three versions", "protobuf, three versions")


def result_of(way: str, count: int) -> dict[str, Any]:
    """Fingerprint of all scores, and the alerts without their events."""
    kind, schemas, batches = values_of(way, count)
    config = configuration(kind)
    book = SchemaBook()
    book.take_in(dict(schemas), ())
    decoder = TopicDecoder(config, FieldPlan.of(config), book)
    pipeline = PipelineCore(config, state_fingerprint(config))
    alerts: list[Any] = []
    rejected = offset = 0
    decoding = 0.0
    for values in batches:
        for start in range(0, len(values), POLL):
            records = [
                PlainRecord(offset + row, -1, None, value)
                for row, value in enumerate(values[start : start + POLL])
            ]
            offset += len(records)
            began = time.process_time()
            batch = decoder.decode(SOURCE, records)
            decoding += time.process_time() - began
            outcome = pipeline.process(batch)
            rejected += len(outcome.dead_letters)
            for alert in outcome.alerts:
                body = msgspec.json.decode(alert.value or b"")
                event = body.pop("event")
                # The same event, whatever its version calls things.
                body["amount"] = event.get("TX_AMOUNT", event.get("AMOUNT"))
                alerts.append(body)
    return {
        "alerts": alerts,
        "fingerprint": pipeline.fingerprint,
        "events": pipeline.sequence,
        "rejected": rejected,
        "decoding_us": round(decoding / max(offset, 1) * 1e6, 2),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=200_000)
    arguments = parser.parse_args()
    expected: dict[str, Any] | None = None
    same = True
    for way in WAYS:
        found = result_of(way, arguments.events)
        decoding = found.pop("decoding_us")
        expected = expected or found
        verdict = "the same" if found == expected else "NOT the same"
        same &= found == expected
        print(
            f"{way:<26} {found['events']:>9,} events, {found['rejected']} rejected, "
            f"{len(found['alerts']):>6,} alerts, {decoding:5.2f} µs decoding: {verdict}"
        )
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
