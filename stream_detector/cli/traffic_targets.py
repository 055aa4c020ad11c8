"""Targets that ``stream-detector simulate`` writes to."""

from __future__ import annotations

import argparse
import gzip
import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, Protocol

from pydantic import ValidationError

from stream_detector.config.models.config import KafkaConfig
from stream_detector.connectors.base import Sink
from stream_detector.connectors.registry.client import registered
from stream_detector.errors import ConfigurationError, ConnectorError
from stream_detector.events import TopicPartition
from stream_detector.formats.avro import fingerprint
from stream_detector.messages import Outgoing
from stream_detector.simulation.bad import ONLY_IN_LOGS, Spoiler, Spoilt
from stream_detector.simulation.formats import FormatWriter
from stream_detector.simulation.traffic import Generated

STANDARD_OUTPUT = "-"


class Target(Protocol):
    """Target of batches."""

    def write(self, batch: Generated) -> None:
        """Write the events, safely once it returns."""


class FileTarget:
    """A file or standard output, a line an event."""

    def __init__(self, file: BinaryIO, format: str, spoiler: Spoiler) -> None:  # noqa: A002 - as the option
        self._file = file
        self._format = format
        self._spoiler = spoiler
        self._header_written = False

    def write(self, batch: Generated) -> None:
        """Write and flush."""
        if self._format == "csv":
            lines = batch.csv_lines()
            if not self._header_written:
                lines.insert(0, batch.csv_header())
                self._header_written = True
        else:
            lines = [made.value or b"" for _, made in self._spoiler.spoil(batch.json_lines())]
        self._file.write(b"\n".join(lines) + b"\n")
        self._file.flush()


class FormatValues:
    """Values of records in Avro or Protobuf, framed as consumers expect them.

    State: the schema and what stands before each event, once there was one.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._kind = arguments.format
        self._topic, self._registry = arguments.topic, arguments.registry
        self._file = arguments.schema
        self._writer: FormatWriter | None = None
        self._prefix = b""

    def of(self, batch: Generated) -> list[bytes]:
        """Return the values. Raises ``ConnectorError`` where the registry takes no schema."""
        if self._writer is None:
            self._writer = FormatWriter(self._kind, batch)
            self._prefix = self._prefix_of(self._writer.schema)
            if self._file is not None:
                Path(self._file).write_text(self._writer.schema, encoding="utf-8")
        return [self._prefix + value for value in self._writer.values(batch)]

    def _prefix_of(self, schema: str) -> bytes:
        if self._registry is not None:
            number = registered(self._registry, f"{self._topic}-value", self._kind, schema)
            place = b"\0" if self._kind == "protobuf" else b""  # the first message of the file
            return b"\0" + number.to_bytes(4, "big") + place
        if self._kind == "protobuf":
            return b""
        return b"\xc3\x01" + int(fingerprint([schema]), 16).to_bytes(8, "little")


class KafkaTarget:
    """A topic."""

    def __init__(self, sink: Sink, arguments: argparse.Namespace) -> None:
        self._sink = sink
        self._topic: str = arguments.topic
        self._key: str | None = arguments.partitions_key
        self._event_time = arguments.record_time == "event"
        self._spoiler = spoiler_of(arguments)
        self._source = TopicPartition("simulate", 0)
        self._values = FormatValues(arguments) if arguments.format != "jsonl" else None

    def write(self, batch: Generated) -> None:
        """Send and wait until all is confirmed. Raises ``OutputError``."""
        keys = self._keys(batch)
        from stream_detector.connectors.kafka.client.record_batch import (  # noqa: PLC0415 - slow to import
            header_name,
        )

        times = batch.time_ms.tolist()
        messages = [
            Outgoing(
                source=self._source,
                offset=row,
                key=self._key_of(made, keys[row]),
                value=made.value,
                headers=[(header_name(name), content) for name, content in made.headers],
                timestamp_ms=times[row] if self._event_time else None,
            )
            for row, made in self._made(batch)
        ]
        self._sink.send(self._topic, messages)
        self._sink.flush()

    def _made(self, batch: Generated) -> Iterable[tuple[int, Spoilt]]:
        if self._values is None:
            return self._spoiler.spoil(batch.json_lines())
        return enumerate(Spoilt(value) for value in self._values.of(batch))

    @staticmethod
    def _key_of(made: Spoilt, key: bytes | None) -> bytes | None:
        """The record's key; an empty one where our client would refuse to send neither."""
        kept = None if made.keyless else key
        return b"" if kept is None and made.value is None else kept

    def _keys(self, batch: Generated) -> Sequence[bytes | None]:
        if self._key is None:
            return batch.key
        if self._key == "none":
            return [None] * len(batch)
        return [str(value).encode() for value in batch.columns[self._key]]


def spoiler_of(arguments: argparse.Namespace) -> Spoiler:
    """Return what mixes bad records in; into a file only those that mean something there."""
    return Spoiler(arguments.seed, arguments.bad_share, () if arguments.kafka else ONLY_IN_LOGS)


def open_target(arguments: argparse.Namespace, stack: ExitStack) -> Target:
    """Open the target of the options, closed with ``stack``. Raises ``ConnectorError``."""
    if arguments.kafka:
        return KafkaTarget(_open_sink(arguments, stack), arguments)
    spoiler = spoiler_of(arguments)
    if arguments.output in (None, STANDARD_OUTPUT):
        return FileTarget(sys.stdout.buffer, arguments.format, spoiler)
    try:
        file = stack.enter_context(Path(arguments.output).open("wb"))  # noqa: SIM115 - the stack is one
    except OSError as error:
        raise ConnectorError(f"cannot write {arguments.output}: {error.strerror}") from error
    if arguments.output.endswith(".gz"):
        # Without a time in its header, the same seed gives the same file.
        zipped = gzip.GzipFile(fileobj=file, mode="wb", compresslevel=3, mtime=0)
        return FileTarget(stack.enter_context(zipped), arguments.format, spoiler)  # type: ignore[arg-type]  # GzipFile is a BinaryIO but by name
    return FileTarget(file, arguments.format, spoiler)


def _open_sink(arguments: argparse.Namespace, stack: ExitStack) -> Sink:
    from stream_detector.connectors.kafka.writing.sink import KafkaSink  # noqa: PLC0415 - slow to import

    try:
        kafka = KafkaConfig.model_validate(
            {
                "bootstrap_servers": arguments.kafka,
                "topics": [arguments.topic],
                "group": "stream-detector-simulate",
                "alerts": "unused-alerts",
                "dead_letters": "unused-dead-letters",
                "producer": {"batch_size": 2**18, "compression_type": "lz4"},
            }
        )
    except ValidationError as error:
        problems = "; ".join(problem["msg"] for problem in error.errors())
        raise ConfigurationError(f"--kafka, --topic: {problems}") from error
    sink = KafkaSink(kafka)
    stack.callback(sink.close)
    return sink
