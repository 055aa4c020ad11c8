"""A file, a pipe or standard input as a source: CSV, JSON Lines (both gzipped or not) and npz."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import repeat
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from stream_detector.cells.times import NUMBER_FORMATS
from stream_detector.config.derived.field_plan import FieldPlan
from stream_detector.config.models.config import Config
from stream_detector.connectors.base import Fetched
from stream_detector.connectors.json_documents import JsonDocuments, holds_documents
from stream_detector.connectors.lines import STANDARD_INPUT, LineReader
from stream_detector.connectors.tables import ArrayRows, CsvRows
from stream_detector.decoding.spellings import number_spellings
from stream_detector.errors import ConnectorError
from stream_detector.events import NO_TIMESTAMP, PlainRecord, TopicPartition

Format: TypeAlias = Literal["csv", "jsonl", "npz"]
_ZIP_MAGIC = b"PK\x03\x04"


class FileSource:
    """The records of one file, each a JSON object in bytes.

    - JSON Lines: each line untouched; blank lines are no records. One array of objects, and objects
      that are spread over several lines, are taken apart.
    - CSV: each row an object. Cells of ``numeric`` fields become numbers, of ``boolean`` fields
      true or false, all others strings; empty cells become null. What does not fit its kind stays
      a string and a row of another width stays as it is: decoding rejects both.
    - npz: the rows of ``X`` as f0, f1, ... and ``y`` as ``label``.

    The offset is the number of the record, from 0; there is neither key nor timestamp. Memory
    holds one poll and one block of the file (npz: the arrays).
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
    ) -> None:
        """Open a file.

        Args:
            path: file, named pipe, or ``-`` for standard input.
            format: read off the first bytes where it is None.
            numeric: CSV columns whose cells are numbers.
            boolean: CSV columns whose cells are 0, 1, true or false.
            max_poll_records: records that one poll brings at most.
            limit: records after which the source counts as exhausted.
            columns: names for a CSV file without a header; without them such a file is known by
                a first row that is mostly numbers, and its columns are called f0, f1, ...

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
        self._max_poll_records = max_poll_records
        self._left = limit
        self._next_offset = 0
        name = "stdin" if path == STANDARD_INPUT else Path(path).name
        self.source = TopicPartition(name, 0)
        self._lines = LineReader(path)
        self._begun = False
        self._csv: CsvRows | None = None
        self._documents: JsonDocuments | None = None
        self._arrays: ArrayRows | None = None
        if format == "npz" and self._lines.size_bytes is None:
            raise ConnectorError("npz cannot be read from a pipe: give a file")
        if format == "npz" or (format is None and _starts_with_zip(path)):
            self._lines.close()
            self._arrays = ArrayRows(path)

    def poll(self, timeout_seconds: float) -> list[Fetched]:
        """As ``Source.poll``; only a pipe ever waits."""
        count = self._max_poll_records
        if self._left is not None:
            count = min(count, self._left)
        values = self._read(count, timeout_seconds) if count else []
        if not values:
            return []
        start = self._next_offset
        self._next_offset += len(values)
        if self._left is not None:
            self._left -= len(values)
        return [Fetched(self.source, plain_records(values, start))]

    def _read(self, count: int, timeout_seconds: float) -> list[bytes]:
        if self._arrays is not None:
            return self._arrays.read(count)
        values: list[bytes] = []
        # Whole polls from a file, whatever is there already from a pipe.
        while len(values) < count and self._lines.fill(0 if values else timeout_seconds):
            if not self._begun:
                self._begin()
            elif self._csv is not None:
                values += self._csv.read(count - len(values))
            elif self._documents is not None:
                values += self._documents.read(count - len(values))
            else:
                lines = self._lines.take(count - len(values))
                values += [line for line in lines if line and not line.isspace()]
        self._lines.fill(0)  # so that `exhausted` knows of the end
        if self._documents is not None and len(values) < count:
            values += self._documents.read(count - len(values))
        return values

    def _begin(self) -> None:
        """Find the format by the first line; one that is blank is skipped."""
        line = self._lines.peek()
        if line.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise ConnectorError(f"{self._lines.name} is UTF-16 text; convert it to UTF-8")
        if b"\0" in line:
            raise ConnectorError(
                f"{self._lines.name} is binary; CSV, JSON Lines (also gzipped) and npz are read"
            )
        if not line.strip():
            self._lines.take(1)
            return
        self._begun = True
        if self._format is None:
            jsonl = line.lstrip().startswith(b"{") or holds_documents(line)
            self._format = "jsonl" if jsonl else "csv"
        if self._format == "jsonl" and holds_documents(line):
            self._documents = JsonDocuments(self._lines)
        if self._format == "csv":
            self._csv = CsvRows(self._lines, self._numeric, self._boolean, self._columns)

    @property
    def columns(self) -> list[str] | None:
        """Names of a table's columns, once known; None for JSON Lines."""
        table = self._csv or self._arrays
        return list(table.columns) if table is not None else None

    @property
    def headerless(self) -> bool:
        """Whether the columns of a CSV file are named from outside, not by its first row."""
        return self._csv is not None and self._csv.headerless

    @property
    def format(self) -> Format | None:
        """What the records are read as; None while that is not known."""
        return "npz" if self._arrays is not None else self._format

    def size_hint(self) -> int | None:
        """Bytes of the file (compressed, where it is); None for a pipe."""
        return self._lines.size_bytes

    def progress(self) -> int | None:
        """Bytes of ``size_hint`` that were read; None for a pipe."""
        if self._lines.size_bytes is None:
            return None
        if self._arrays is not None:
            return self._lines.size_bytes * self._arrays.taken // max(1, len(self._arrays))
        return self._lines.read_bytes

    def exhausted(self) -> bool:
        """Whether the end of the file, or ``limit``, was reached and all was returned."""
        if self._left == 0:
            return True
        if self._arrays is not None:
            return self._arrays.taken == len(self._arrays)
        return self._lines.ended and not (self._documents is not None and self._documents.waiting)

    def close(self) -> None:
        """Close the file."""
        self._lines.close()


def plain_records(values: list[bytes], start: int) -> list[PlainRecord]:
    """Records of a file, the first with the offset ``start``."""
    offsets = range(start, start + len(values))
    fields = zip(offsets, repeat(NO_TIMESTAMP), repeat(None), values, repeat(()), strict=False)
    return list(map(PlainRecord._make, fields))


def typed_columns(config: Config) -> tuple[frozenset[str], frozenset[str]]:
    """The ``numeric`` and ``boolean`` of a ``FileSource`` that is read under a configuration."""
    plan = FieldPlan.of(config)
    # Elsewhere a cell that looks like a plain number may mean another one: 1.234 is 1234 there.
    numeric = set(plan.numeric) - plan.boolean - number_spellings(config, plan).keys()
    time = config.event.time
    if time is not None and time.format in ("auto", *NUMBER_FORMATS):
        numeric |= {*time.names}  # a time that is no number stays text
    return frozenset(numeric), plan.boolean


def _starts_with_zip(path: str) -> bool:
    if path == STANDARD_INPUT or not Path(path).is_file():
        return False
    with Path(path).open("rb") as file:
        return file.read(len(_ZIP_MAGIC)) == _ZIP_MAGIC
