"""Reads records of one topic's format by their schemas: finds the schema, then the values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, Literal, NamedTuple, TypeAlias

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
from stream_detector.formats.protobuf import ProtobufFiles, ReadColumns
from stream_detector.formats.schemas import Schema, SchemaBook
from stream_detector.formats.wanted import Wanted
from stream_detector.formats.well_known import well_known

Kind: TypeAlias = Literal["avro", "protobuf"]

_VALUE, _HEADERS = attrgetter("value"), attrgetter("headers")
_Read: TypeAlias = Callable[[bytes, int], Any]
_ReadMany: TypeAlias = Callable[[list[bytes]], list[Any]]

_LONG = b"\0" * 9
_MOST_PREFIXES = 16
"""Schemas in a batch of records; of more each record is read by itself."""


class _Look(NamedTuple):
    """Records with what was found of them: it is asked for twice."""

    records: Sequence[Record]
    values: list[Any]
    prefixes: set[bytes]


class FormatReader:
    """Reads a topic's records into JSON's values.

    State: what was made of each schema that was met, as many as the book has; the records that were
    looked at last, until they are read.
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
        self._looked: _Look | None = None
        self._many: dict[bytes, _ReadMany] = {}
        self._columns: dict[bytes, ReadColumns] = {}
        self._avro: dict[str, AvroReader] = {}
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

    def knows_all(self, records: Sequence[Record]) -> bool:
        """Tell quickly that no schema is missing; False may mean that each is to be looked at."""
        look = self._look(records)
        return look is not None and look.prefixes <= self._by_prefix.keys()

    def _look(self, records: Sequence[Record]) -> _Look | None:
        """Return values and what they begin with; None where there are headers or tombstones."""
        if self._looked is not None and self._looked.records is records:
            return self._looked
        self._looked = None
        if any(map(_HEADERS, records)):
            return None
        size = len(self._framing.prefix(_LONG))
        values = list(map(_VALUE, records))
        try:
            prefixes = {value[:size] for value in values}
        except TypeError:  # a tombstone
            return None
        self._looked = _Look(records, values, prefixes)
        return self._looked

    def read(self, source: TopicPartition, record: Record, *, whole: bool = False) -> Any:
        """Return the event of a record with a value; ``whole``: all of it, not what is wanted.

        Raises ``PayloadError``; ``StateError`` where its schema is neither known nor refused.
        """
        value = record.value or b""
        if self._book.refuses_any(source, record.offset, record.offset):
            # It stays so, even if the schema has been found since: a later record may rest on it.
            self._refuse(source, record, self._framing.frame(value, record.headers or ()).key)
        if not record.headers and not whole:
            prefix = self._framing.prefix(value)
            read = self._by_prefix.get(prefix)
            if read is None:
                frame = self._framing.frame(value, ())
                read = self._of_key(source, record, frame)
                if len(self._by_prefix) < len(self._by_key):
                    self._by_prefix[prefix] = read
                    if len(prefix) == frame.start:
                        self._many[prefix] = self._many_of(prefix, frame.key, read)
            return read(value, len(prefix))
        frame = self._framing.frame(value, record.headers or ())
        return self._by_frame(source, record, frame, whole=whole)

    def read_many(
        self, source: TopicPartition, records: Sequence[Record], most_bytes: int
    ) -> list[Any] | None:
        """Return the events of records that can be read together; None where some cannot be.

        So it is where one was refused, has no value, is too long, has headers, is of a schema
        that was not met yet, or cannot be read.
        """
        look, self._looked = self._look(records), None
        if look is None or not records:
            return None
        if self._book.refuses_any(source, records[0].offset, records[-1].offset):
            return None
        values, prefixes = look.values, look.prefixes
        size = len(self._framing.prefix(_LONG))
        longest = max(map(len, values), default=0)
        if (
            longest > most_bytes
            or len(prefixes) > _MOST_PREFIXES
            or not prefixes <= self._many.keys()
        ):
            return None
        try:
            if len(prefixes) == 1:
                return self._many[next(iter(prefixes))]([value[size:] for value in values])
            events: list[Any] = [None] * len(values)
            for prefix in prefixes:
                rows = [row for row, value in enumerate(values) if value.startswith(prefix)]
                found = self._many[prefix]([values[row][size:] for row in rows])
                for row, event in zip(rows, found, strict=True):
                    events[row] = event
        except PayloadError:
            return None
        return events

    def read_columns(
        self, source: TopicPartition, records: Sequence[Record], most_bytes: int
    ) -> dict[str, list[Any]] | None:
        """Return the fields of records one by one; None where that cannot be, as ``read_many``.

        It can be where all are the first message of one file of Protobuf.
        """
        look = self._look(records)
        if look is None or len(look.prefixes) != 1:
            return None
        (prefix,) = look.prefixes
        read, start = self._columns.get(prefix), len(prefix)
        if read is None or self._book.refuses_any(source, records[0].offset, records[-1].offset):
            return None
        values = look.values
        if max(map(len, values)) > most_bytes or {value[start : start + 1] for value in values} != {
            b"\0"
        }:
            return None
        try:
            columns = read(values, start + 1)
        except PayloadError:
            return None
        self._looked = None
        return columns

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

    def _many_of(self, prefix: bytes, key: str, read: _Read) -> _ReadMany:
        avro = self._avro.get(key)
        if avro is not None and key != self._local_key:
            return avro.read_many
        if self._kind == "protobuf" and key.startswith("id:"):
            files = self._files_of(key, whole=False)
            message = files.message_at((0,))
            first = files.reader(message)
            if well_known(files.descriptor(message), self._moments) is None:
                self._columns[prefix] = files.columns(message)
            # Nearly all are of the first message of the file.
            return lambda payloads: [
                first(each, 1) if each[:1] == b"\0" else read(each, 0) for each in payloads
            ]
        return lambda payloads: [read(payload, 0) for payload in payloads]

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
            avro = AvroReader(parts, self._wanted, self._moments, expected, whole=whole)
            if key == self._local_key:
                return _after_fingerprint(avro.read, fingerprint(parts))
            if not whole:
                self._avro[key] = avro
            return avro.read
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
