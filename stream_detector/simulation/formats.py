"""Generated events in Avro and Protobuf, with a schema made of their fields."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any, Literal, TypeAlias

from stream_detector.cells.times import TimeFormat
from stream_detector.connectors.registry.protoc import compiled
from stream_detector.errors import ConfigurationError
from stream_detector.formats.errors import SchemaError
from stream_detector.formats.protobuf import ProtobufFiles
from stream_detector.simulation.traffic import Generated

Kind: TypeAlias = Literal["avro", "protobuf"]

TIMES = ("TX_DATETIME", "timestamp")
"""Fields that are a text in JSON and a moment here."""

_NAME = "Event"
_AVRO = {int: "long", float: "double", str: "string"}
_PROTOBUF = {int: "int64", float: "double", str: "string"}
_LIBRARIES = "Avro and Protobuf need more: pip install 'stream-detector[formats]'"


class FormatWriter:
    """Writes batches of one kind of traffic in a format. Holds no state.

    Attributes:
        kind: the format.
        schema: its text, as a registry has it.
    """

    def __init__(self, kind: Kind, first: Generated) -> None:
        """Make the schema of the fields of a batch. Raises ``ConfigurationError``."""
        self.kind = kind
        event = json.loads(first.take(slice(0, 1)).json_lines()[0])
        self._types = {name: type(value) for name, value in event.items() if name not in TIMES}
        self._times = [name for name in event if name in TIMES]
        self._names = list(event)
        self.schema = self._avro_text() if kind == "avro" else self._protobuf_text()
        try:
            self._encode = self._avro() if kind == "avro" else self._protobuf()
        except (ImportError, SchemaError) as error:
            raise ConfigurationError(f"{_LIBRARIES} ({error})") from error

    def values(self, batch: Generated) -> list[bytes]:
        """Each event, without what a registry would have before it."""
        events = [json.loads(line) for line in batch.json_lines()]
        for name in self._times:
            moments = TimeFormat("auto", None).read_many([event[name] for event in events])
            assert moments is not None  # our own generator's
            for event, moment in zip(events, moments.tolist(), strict=True):
                event[name] = moment
        return self._encode(events)

    def _avro_text(self) -> str:
        moment = {"type": "long", "logicalType": "timestamp-millis"}
        fields = [
            {"name": name, "type": moment if name in TIMES else _AVRO[self._types[name]]}
            for name in self._names
        ]
        return json.dumps({"type": "record", "name": _NAME, "fields": fields})

    def _protobuf_text(self) -> str:
        moment = "google.protobuf.Timestamp"
        fields = [
            f"  {moment if name in TIMES else _PROTOBUF[self._types[name]]} {name} = {number};\n"
            for number, name in enumerate(self._names, 1)
        ]
        return (
            'syntax = "proto3";\nimport "google/protobuf/timestamp.proto";\n'
            f"message {_NAME} {{\n{''.join(fields)}}}\n"
        )

    def _avro(self) -> Callable[[Sequence[dict[str, Any]]], list[bytes]]:
        import fastavro  # noqa: PLC0415 - an extra

        # The moments are numbers already.
        plain = json.loads(self.schema.replace('"logicalType": "timestamp-millis"', '"doc": ""'))
        schema = fastavro.parse_schema(plain)

        def encode(events: Sequence[dict[str, Any]]) -> list[bytes]:
            made = []
            for event in events:
                out = BytesIO()
                fastavro.schemaless_writer(out, schema, event)
                made.append(out.getvalue())
            return made

        return encode

    def _protobuf(self) -> Callable[[Sequence[dict[str, Any]]], list[bytes]]:
        parts = compiled("event.proto", {"event.proto": self.schema}).parts
        files = ProtobufFiles(parts, {}, "unix_ms", whole=False)
        new = files.message_class(_NAME)

        def encode(events: Sequence[dict[str, Any]]) -> list[bytes]:
            made = []
            for event in events:
                moments = {name: event.pop(name) for name in self._times}
                message = new(**event)
                for name, moment in moments.items():
                    getattr(message, name).FromMilliseconds(moment)
                made.append(message.SerializeToString())
            return made

        return encode
