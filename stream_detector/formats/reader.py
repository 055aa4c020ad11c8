"""Reads records of one topic's format by their schemas: finds the schema, then the values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

from stream_detector.errors import StateError
from stream_detector.events import Record, TopicPartition
from stream_detector.formats.avro import AvroReader, fingerprint
from stream_detector.formats.errors import PayloadError, SchemaError
from stream_detector.formats.framing import (
    SINGLE_OBJECT_START,
    Frame,
    Framing,
    indexes,
    message_name,
    single_object,
)
from stream_detector.formats.protobuf import ProtobufFiles
from stream_detector.formats.schemas import Schema, SchemaBook
from stream_detector.formats.wanted import Wanted

Kind: TypeAlias = Literal["avro", "protobuf"]

_Read: TypeAlias = Callable[[bytes, int], Any]


class FormatReader:
    """Reads a topic's records into JSON's values.

    State: what was made of each schema that was met, as many as the book has.
    """

    def __init__(
        self,
        kind: Kind,
        framing: Framing,
        book: SchemaBook,
        wanted: Wanted,
        *,
        moments: str = "unix_ms",
        message: str | None = None,
        local: Schema | None = None,
    ) -> None:
        """Take what is expected.

        Args:
            kind: the format.
            framing: how records name their schemas.
            book: the schemas by their keys.
            wanted: the fields to read.
            moments: unit of moments.
            message: full name of the Protobuf message, where the record does not name it.
            local: the schema of a file: the writer's where there is no registry, else the reader's,
                whose aliases and defaults count beside the writer's.
        """
        self._kind, self._framing, self._book, self._wanted = kind, framing, book, wanted
        self._moments, self._message, self._local = moments, message, local
        self._local_key = framing.local if not framing.id_bytes else ""
        self._by_prefix: dict[bytes, _Read] = {}
        self._by_key: dict[tuple[str, bool], _Read | SchemaError] = {}
        self._files: dict[tuple[str, bool], ProtobufFiles] = {}

    def unknown(self, record: Record) -> str | None:
        """Return the key of a record's schema where the book has none; None where all is there.

        A record that names no schema at all needs none: reading it says what is wrong.
        """
        value = record.value
        if not value or (not record.headers and self._framing.prefix(value) in self._by_prefix):
            return None
        try:
            key = self._framing.frame(value, record.headers or ()).key
        except PayloadError:
            return None
        return None if self._schema(key) is not None else key

    def _schema(self, key: str) -> Schema | None:
        return self._local if key == self._local_key else self._book.schemas.get(key)

    def read(self, source: TopicPartition, record: Record, *, whole: bool = False) -> Any:
        """Return the event of a record with a value; ``whole``: all of it, not what is wanted.

        Raises ``PayloadError``; ``StateError`` where its schema is neither known nor refused.
        """
        value = record.value or b""
        if not record.headers and not whole:
            prefix = self._framing.prefix(value)
            read = self._by_prefix.get(prefix)
            if read is None:
                frame = self._framing.frame(value, ())
                read = self._of_key(source, record, frame)
                if len(self._by_prefix) < len(self._by_key):
                    self._by_prefix[prefix] = read
            return read(value, len(prefix))
        frame = self._framing.frame(value, record.headers or ())
        return self._by_frame(source, record, frame, whole=whole)

    def whole(self, record: Record) -> Any:
        """Return all of a record's event, for people. Raises ``PayloadError``."""
        value = record.value or b""
        frame = self._framing.frame(value, record.headers or ())
        if self._schema(frame.key) is None:
            raise PayloadError("schema_unknown", f"schema {frame.key} is not known")
        return self._by_frame(None, record, frame, whole=True)

    def _by_frame(
        self, source: TopicPartition | None, record: Record, frame: Frame, *, whole: bool
    ) -> Any:
        value = record.value or b""
        if frame.message and self._kind == "protobuf":
            self._of_key(source, record, frame, whole=whole)  # which also says what is wrong
            files = self._files_of(frame.key, whole=whole)
            if frame.message.startswith("#"):
                place = tuple(map(int, frame.message[1:].split(",")))
                message = files.message_at(place)
            else:
                message = files.message_called(frame.message)
            return files.reader(message)(value, frame.start)
        return self._of_key(source, record, frame, whole=whole)(value, frame.start)

    def _of_key(
        self, source: TopicPartition | None, record: Record, frame: Frame, *, whole: bool = False
    ) -> _Read:
        known = self._by_key.get((frame.key, whole))
        if known is None:
            schema = self._schema(frame.key)
            if schema is None:
                self._refuse(source, record, frame.key)
            assert schema is not None
            try:
                known = self._make(frame.key, schema, whole=whole)
            except SchemaError as error:
                known = error
            self._by_key[frame.key, whole] = known
        if isinstance(known, SchemaError):
            raise PayloadError("schema_unknown", f"schema {frame.key} cannot be used: {known}")
        return known

    def _refuse(self, source: TopicPartition | None, record: Record, key: str) -> None:
        why = self._book.refusal(source, record.offset) if source is not None else None
        if why is None:
            raise StateError(f"{source}, offset {record.offset}: its schema {key} was not kept")
        raise PayloadError("schema_unknown", f"schema {key}: {why}")

    def _make(self, key: str, schema: Schema, *, whole: bool) -> _Read:
        if schema.kind != self._kind:
            raise SchemaError(f"it is of the format {schema.kind}, not {self._kind}")
        if self._kind == "avro":
            expected = list(self._local.parts) if self._local and key != self._local_key else None
            parts = list(schema.parts)
            read = AvroReader(parts, self._wanted, self._moments, expected, whole=whole).read
            return _after_fingerprint(read, fingerprint(parts)) if key == self._local_key else read
        self._files_of(key, whole=whole)
        return self._protobuf(key, whole=whole)

    def _files_of(self, key: str, *, whole: bool) -> ProtobufFiles:
        files = self._files.get((key, whole))
        if files is None:
            schema = self._schema(key)
            assert schema is not None
            if schema.kind != "protobuf":
                raise SchemaError(f"it is of the format {schema.kind}, not protobuf")
            files = ProtobufFiles(schema.parts, self._wanted, self._moments, whole=whole)
            self._files[key, whole] = files
        return files

    def _protobuf(self, key: str, *, whole: bool) -> _Read:
        """Return what reads payloads of a schema, each by the message that it names."""
        files = self._files_of(key, whole=whole)
        if key == self._local_key:
            name = self._message
            return files.reader(files.message_called(name) if name else files.message_at((0,)))
        named, first = not key.startswith("id:"), list[_Read]()

        def read(data: bytes, start: int) -> Any:
            if named:
                name, begin = message_name(data, start)
                return files.reader(files.message_called(name))(data, begin)
            if first and data[start : start + 1] == b"\0":  # the first one, as nearly all are
                return first[0](data, start + 1)
            place, begin = indexes(data, start)
            reader = files.reader(files.message_at(place))
            if place == (0,) and not first:
                first.append(reader)
            return reader(data, begin)

        return read


def _after_fingerprint(read: _Read, fingerprint: str) -> _Read:
    """Return what reads an event that may stand in an Avro single object of this fingerprint."""

    def either(data: bytes, start: int) -> Any:
        found = single_object(data)
        if found == fingerprint:
            return read(data, SINGLE_OBJECT_START)
        try:
            return read(data, start)
        except PayloadError as error:
            if found is None:
                raise
            message = f"an Avro single object of the schema {found}; schema_file is {fingerprint}"
            raise PayloadError("schema_unknown", message) from error

    return either
