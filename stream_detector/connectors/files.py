"""A file, a pipe or standard input as a source: tables of text, JSON, Parquet, Arrow and npz."""

from __future__ import annotations

import zipfile
from collections.abc import Collection, Sequence
from itertools import repeat
from pathlib import Path
from typing import Literal, Protocol, TypeAlias, get_args

from stream_detector.cells.times import NUMBER_FORMATS
from stream_detector.config.derived.field_plan import FieldPlan
from stream_detector.config.models.config import Config
from stream_detector.connectors.base import Fetched
from stream_detector.connectors.columnar import ArrowRows, columnar_format
from stream_detector.connectors.json_records import JsonObjects, JsonShape, json_shape
from stream_detector.connectors.lines import JsonLines, LineReader
from stream_detector.connectors.reading.notes import Chunk, FileNote, FileOptions
from stream_detector.connectors.reading.stream import STANDARD_INPUT, ByteStream
from stream_detector.connectors.tables import ArrayRows
from stream_detector.connectors.text_tables import TextRows
from stream_detector.decoding.spellings import number_spellings
from stream_detector.errors import ConnectorError
from stream_detector.events import (
    NO_TIMESTAMP,
    PlainRecord,
    Record,
    TopicPartition,
    UnreadableRecord,
)

Format: TypeAlias = Literal["csv", "jsonl", "json", "npz", "parquet", "arrow"]
_MAGIC_BYTES = 8
_ZIP_MAGIC = b"PK\x03\x04"
_HEAD_BYTES = 2**20
_HEAD_PAUSE_SECONDS = 0.2


class Rows(Protocol):
    """Records of one file as they are cut out of it."""

    notes: list[FileNote]

    @property
    def ended(self) -> bool:
        """Tell whether all were read."""

    def fill(self, timeout_seconds: float | None) -> bool:
        """Read until a record may wait; False where none came in time or at the end."""

    def read(self, count: int) -> Chunk:
        """Up to ``count`` records of what waits."""


class FileSource:
    """The records of one file, each a JSON object in bytes.

    - JSON Lines: each line untouched; blank lines are no records. An array of objects, and objects
      over several lines: each object.
    - Tables of text (CSV and its kin): each row an object. Cells of ``numeric`` fields become
      numbers, of ``boolean`` fields true or false, all others strings; empty cells become null.
      What does not fit its kind stays a string, which decoding rejects; a row of another width is
      an ``UnreadableRecord`` that names its line.
    - Parquet and Arrow: each row an object with the types of its columns; decoding takes its fields
      from the columns, and the object is made where somebody asks for it.
    - npz: the rows of ``X`` as f0, f1, ... and ``y`` as ``label``.

    Packing, encoding, dialect and header are found from the file's first bytes, as far as
    ``options`` do not say them, and told in ``notes``. The offset is the number of the record, from
    0; there is neither key nor timestamp. Memory holds one poll and one block of the file (npz: the
    arrays).
    """

    def __init__(
        self,
        path: str,
        format: Format | None = None,  # noqa: A002 - the word that people look for
        *,
        numeric: Collection[str] = (),
        boolean: Collection[str] = (),
        max_poll_records: int = 5000,
        limit: int | None = None,
        columns: Sequence[str] | None = None,
        options: FileOptions = FileOptions(),  # noqa: B008 - frozen
    ) -> None:
        """Open a file.

        Args:
            path: file, named pipe, or ``-`` for standard input.
            format: read off the first bytes where it is None.
            numeric: CSV columns whose cells are numbers.
            boolean: CSV columns whose cells are 0, 1, true or false.
            max_poll_records: records that one poll brings at most.
            limit: records after which the source counts as exhausted.
            columns: names for a table of text without a header; without them such columns are
                called column_1, column_2, ...
            options: what is known about a file of text.

        Raises:
            ConnectorError: the file is missing or unreadable, or not of a format known here
                (the latter may come from ``poll``, since a pipe's first bytes may be long in
                coming).
        """
        if format is not None and format not in get_args(Format):
            raise ConnectorError(f"unknown format {format!r}: one of {', '.join(get_args(Format))}")
        self._format = format
        self._numeric = frozenset(numeric)
        self._boolean = frozenset(boolean)
        self._columns = columns
        self._options = options
        self._max_poll_records = max_poll_records
        self._left = limit
        self._next_offset = 0
        name = "stdin" if path == STANDARD_INPUT else Path(path).name
        self.source = TopicPartition(name, 0)
        self._stream = ByteStream(path, options.encoding)
        self._rows: Rows | ArrowRows | None = None
        self._columnar: ArrayRows | ArrowRows | None = None
        self._empty = False
        if self._format in (None, "npz", "parquet", "arrow"):
            self._rows = self._columnar = self._open_columns(path)

    def _open_columns(self, path: str) -> ArrayRows | ArrowRows | None:
        """The rows of a file of columns; None for any other."""
        if self._stream.size_bytes is None:
            if self._format is not None:
                raise ConnectorError(f"{self._format} cannot be read from a pipe: give a file")
            return None
        with Path(path).open("rb") as file:
            head = file.read(_MAGIC_BYTES)
        found = columnar_format(head)
        if found is None and self._format in ("parquet", "arrow"):
            raise ConnectorError(f"{path} is no {self._format} file")
        if found is None and self._format is None and not _holds_arrays(path, head):
            return None
        self._stream.close()
        if found is not None:
            self._format = found
            return ArrowRows(path, found, self._numeric, self._boolean)
        self._format = "npz"
        return ArrayRows(path)

    def poll(self, timeout_seconds: float) -> list[Fetched]:
        """As ``Source.poll``; only a pipe ever waits."""
        count = self._max_poll_records
        if self._left is not None:
            count = min(count, self._left)
        if isinstance(self._rows, ArrowRows):
            return self._poll_columns(self._rows, count)
        chunk = self._read(count, timeout_seconds) if count else Chunk()
        if not chunk.values:
            return []
        start = self._next_offset
        self._next_offset += len(chunk.values)
        if self._left is not None:
            self._left -= len(chunk.values)
        return [Fetched(self.source, file_records(chunk, start))]

    def _poll_columns(self, rows: ArrowRows, count: int) -> list[Fetched]:
        if not count or not rows.fill(0):
            return []
        records = rows.read(count)
        if self._left is not None:
            self._left -= len(records)
        rows.fill(0)  # so that `exhausted` knows of the end
        return [Fetched(self.source, records)]

    def _read(self, count: int, timeout_seconds: float) -> Chunk:
        chunk = Chunk()
        assert not isinstance(self._rows, ArrowRows)
        # Whole polls from a file, whatever is there already from a pipe.
        while len(chunk.values) < count:
            wait = 0 if chunk.values else timeout_seconds
            rows = self._rows or self._begin(wait)
            if rows is None or not rows.fill(wait):
                break
            chunk.extend(rows.read(count - len(chunk.values)))
        if self._rows is not None:
            self._rows.fill(0)  # so that `exhausted` knows of the end
        return chunk

    def _begin(self, timeout_seconds: float) -> Rows | None:
        """Find the format by the first bytes; None while there are none."""
        if self._empty or self._stream.peek(timeout_seconds) is None:
            return None
        head, whole = self._head()
        if not head.strip():
            self._empty = whole
            if len(head) >= _HEAD_BYTES:
                raise ConnectorError(
                    f"{self._stream.name} begins with a megabyte of blanks and ends of lines; is "
                    "this a file of records?"
                )
            return None
        shape = self._shape(head, whole)
        if shape is not None and shape != "lines":
            self._format = "json"
            self._rows = JsonObjects(self._stream, shape)
            return self._rows
        lines = LineReader(self._stream)
        if self._format == "jsonl" or (self._format is None and shape == "lines"):
            self._format = "jsonl"
            self._rows = JsonLines(lines)
            if whole and head.count(b"\n", 0, len(head.rstrip())) == 0:
                said = (
                    "the file is one JSON object; if its members are columns (pandas), write it "
                    "with orient='records', lines=True"
                )
                self._rows.notes.append(FileNote("format", said, guess=True))
        else:
            self._format = "csv"
            lines.fill(None)
            self._rows = TextRows(lines, self._numeric, self._boolean, self._columns, self._options)
        return self._rows

    def _shape(self, head: bytes, whole: bool) -> JsonShape | None:
        if self._format in ("csv", "jsonl"):
            return None
        try:
            return json_shape(head, whole)
        except ConnectorError as error:
            raise ConnectorError(f"{self._stream.name} is {error}") from error

    def _head(self) -> tuple[bytes, bool]:
        """First bytes, in which a line ends where one does, not taken; and whether that is all."""
        blocks: list[bytes] = []
        size, whole = 0, False
        while size < _HEAD_BYTES and not whole:
            block = self._stream.read(_HEAD_PAUSE_SECONDS)
            if not block:
                whole = block is not None
                break
            blocks.append(block)
            size += len(block)
            whole = self._stream.drained
            if b"\n" in block.strip():
                break
        head = b"".join(blocks)
        self._stream.push_back(head)
        return head, whole

    @property
    def in_columns(self) -> bool:
        """Tell whether fields are taken from columns, which another process would be no help in."""
        return isinstance(self._rows, ArrowRows)

    @property
    def columns(self) -> list[str] | None:
        """Names of a table's columns, once known; None for JSON."""
        columns = getattr(self._rows, "columns", None)
        return list(columns) if columns is not None else None

    @property
    def headerless(self) -> bool:
        """Tell whether the columns of a table of text are named from outside, not by the file."""
        return isinstance(self._rows, TextRows) and self._rows.headerless

    @property
    def format(self) -> Format | None:
        """Return the format that the records are read as; None while that is not known."""
        return self._format

    @property
    def notes(self) -> list[FileNote]:
        """Return what is known so far about the file: all at its end, nearly all after a poll."""
        notes = list(self._stream.notes)
        if self._rows is not None:
            notes += self._rows.notes
        if isinstance(self._rows, TextRows):
            notes += self._rows.late_notes()
        if self._empty:
            notes.append(FileNote("format", "the file is empty"))
        return notes

    def size_hint(self) -> int | None:
        """Bytes of the file (compressed, where it is); None for a pipe."""
        return self._stream.size_bytes

    def progress(self) -> int | None:
        """Bytes of ``size_hint`` that were read; None for a pipe."""
        if self._stream.size_bytes is None:
            return None
        if self._columnar is not None:
            return int(self._stream.size_bytes * self._columnar.share)
        return self._stream.read_bytes

    def exhausted(self) -> bool:
        """Tell whether the end of the file, or ``limit``, was reached and all was returned."""
        if self._left == 0 or self._empty:
            return True
        return self._rows is not None and self._rows.ended

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


def file_records(chunk: Chunk, start: int) -> list[Record]:
    """Records of a file, the first with the offset ``start``."""
    records: list[Record] = [*plain_records(chunk.values, start)]
    for index, problem in chunk.problems.items():
        value = chunk.values[index]
        records[index] = UnreadableRecord(start + index, NO_TIMESTAMP, value, problem)
    return records


def plain_records(values: list[bytes], start: int) -> list[PlainRecord]:
    """Records of a file, the first with the offset ``start``."""
    offsets = range(start, start + len(values))
    fields = zip(offsets, repeat(NO_TIMESTAMP), repeat(None), values, repeat(()), strict=False)
    # As `PlainRecord._make` does it, without a Python call for each.
    return list(map(tuple.__new__, repeat(PlainRecord), fields))


def typed_columns(config: Config) -> tuple[frozenset[str], frozenset[str]]:
    """The ``numeric`` and ``boolean`` of a ``FileSource`` that is read under a configuration."""
    plan = FieldPlan.of(config)
    # Elsewhere a cell that looks like a plain number may mean another one: 1.234 is 1234 there.
    numeric = set(plan.numeric) - plan.boolean - number_spellings(config, plan).keys()
    time = config.event.time
    if time is not None and time.format in ("auto", *NUMBER_FORMATS):
        numeric |= {*time.names}  # a time that is no number stays text
    return frozenset(numeric), plan.boolean


def file_options(config: Config, encoding: str | None = None) -> FileOptions:
    """Return what the section `files` says about a file, and ``encoding`` over it."""
    files = config.files
    return FileOptions(
        encoding=encoding or files.encoding,
        delimiter=files.delimiter,
        quote=files.quote,
        header=files.header,
        comment=files.comment,
    )


def _holds_arrays(path: str, head: bytes) -> bool:
    if not head.startswith(_ZIP_MAGIC):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, OSError):
        return False  # said where the archive is opened
    return bool(names) and all(name.endswith(".npy") for name in names)
