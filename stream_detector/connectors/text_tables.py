"""Tables of text as JSON events: CSV in any dialect, with what stands before and between rows."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterator, Sequence

from stream_detector.connectors.lines import LineReader
from stream_detector.connectors.reading.layout import (
    SAMPLE_LINES,
    Layout,
    find_layout,
    is_comment,
    signed,
)
from stream_detector.connectors.reading.notes import Chunk, FileNote, FileOptions, shown
from stream_detector.connectors.reading.signatures import Signature, influx, zeek
from stream_detector.connectors.tables import RowEncoder, refuse_too_wide
from stream_detector.errors import ConnectorError

_SAMPLE_BYTES = 4 * 2**20
_SAMPLE_PAUSE_SECONDS = 0.2
_LONG_HEADER_LINES = 10_000
"""Data sets of Weka name each attribute in a line of its own."""
_ANNOTATION_LINES = 64
_QUOTED_CHARACTERS = 200


class _Rows:
    """Rows as they came: cells, the number of each one's first line, and what is no row."""

    def __init__(self, cells: list[list[str]], numbers: Sequence[int]) -> None:
        self.cells = cells
        self.numbers = numbers
        self.problems: dict[int, str] = {}


class TextRows:
    """Rows of a table of text from a ``LineReader``: made once its first line waits.

    What the table looks like is found from its first ``SAMPLE_LINES`` lines: of a pipe, from those
    that come without a pause. ``columns`` names those of a file without a header; the last of them
    may be absent. They yield to a first row that holds most of these names.
    """

    def __init__(
        self,
        lines: LineReader,
        numeric: Collection[str],
        boolean: Collection[str],
        columns: Sequence[str] | None,
        options: FileOptions,
    ) -> None:
        self._lines = lines
        self._numeric, self._boolean = numeric, boolean
        count = _LONG_HEADER_LINES if lines.peek()[:9].lower() == b"@relation" else SAMPLE_LINES
        lines.gather(count, _SAMPLE_BYTES, _SAMPLE_PAUSE_SECONDS)
        sample = [_text(line).removesuffix("\r") for line in lines.peek_some(count)]
        self._layout = find_layout(sample, options, columns)
        self.notes = list(self._layout.notes)
        self._comments = self._headers = self._read = 0
        self._raw: list[str] = []
        lines.take(self._layout.start)
        self._use(self._layout)

    def _use(self, layout: Layout) -> None:
        self._layout = layout
        self.columns = layout.columns
        refuse_too_wide(self._lines.name, len(self.columns))
        if len(set(self.columns)) < len(self.columns):
            raise ConnectorError(f"{self._lines.name}: --columns names a column twice")
        self._width = len(self.columns) + layout.skip_first
        self._reader = layout.dialect.rows(self._line_texts())
        self._encoder = RowEncoder(self.columns, self._numeric, self._boolean)

    @property
    def headerless(self) -> bool:
        """Tell whether the columns are named from outside, not by the file."""
        return self._layout.headerless

    def _line_texts(self) -> Iterator[str]:
        # A quoted cell that goes on in the next line makes the reader ask for it: then, and only
        # then, this waits without a limit.
        while self._lines.fill(None):
            for line in self._lines.take(1):
                text = _text(line) + "\n"
                self._raw.append(text)
                yield text

    @property
    def ended(self) -> bool:
        """Tell whether every row was read."""
        return self._lines.ended

    def fill(self, timeout_seconds: float | None) -> bool:
        """As ``LineReader.fill``."""
        return self._lines.fill(timeout_seconds)

    def read(self, count: int) -> Chunk:
        """Up to ``count`` rows of the lines that wait."""
        chunk = Chunk()
        while len(chunk.values) < count and self._lines.waiting:
            wanted = count - len(chunk.values)
            self._encode(self._plain_rows(wanted) or self._careful_rows(wanted), chunk)
        self._read += len(chunk.values)
        return chunk

    def _plain_rows(self, count: int) -> _Rows | None:
        """Rows of lines without quotes, all at once: half the time. None for any others.

        A quoted cell may go on in the next line, which only the reader that was given all lines
        before it can tell.
        """
        layout = self._layout
        if layout.dialect.escape:
            return None
        text = b"\n".join(self._lines.peek_some(count)).decode("utf-8", "surrogateescape")
        if "\r" in text:
            text = text.replace("\r\n", "\n").removesuffix("\r")
        if "\r" in text or _needs_care(text, layout):
            return None
        lines = text.split("\n")
        try:
            cells = [row for row in layout.dialect.rows(lines) if row]
        except csv.Error:  # a cell that is too long: the way of single lines says which
            return None
        number = self._lines.number
        self._lines.take(count)
        if len(cells) == len(lines):
            return _Rows(cells, range(number, number + len(lines)))
        return _Rows(cells, [number + index for index, line in enumerate(lines) if line.strip()])

    def _careful_rows(self, count: int) -> _Rows:
        """Rows one by one: quotes over several lines, comments, headers further down."""
        numbers: list[int] = []
        rows = _Rows([], numbers)
        layout_rows = self._layout.dialect.rows
        while len(numbers) < count and self._lines.waiting:
            line = _text(self._lines.peek()).removesuffix("\r")
            fresh = self._header_at(line)
            if fresh is not None:
                if numbers:
                    break  # rows of the columns so far first
                self._go_on_with(fresh)
                layout_rows = self._layout.dialect.rows
                continue
            if self._passes(line):
                self._lines.take(1)
                continue
            number = self._lines.number
            self._raw.clear()
            try:
                row = next(self._reader, None)
                if len(self._raw) > 1:  # a quote that is opened and not closed takes rows with it
                    list(layout_rows(self._raw, strict=True))
            except csv.Error as error:
                rows.problems[len(numbers)] = _no_row(number, self._lines.number - 1, error)
                row = [line[:_QUOTED_CHARACTERS]]
            if row:
                rows.cells.append(row)
                numbers.append(number)
        return rows

    def _passes(self, line: str) -> bool:
        """Tell whether a line is no row: blank, a comment, or the header again."""
        layout = self._layout
        if not line.strip():
            return True
        signed = layout.signature is not None
        if is_comment(line, layout.comment, layout.dialect, self._width, signed=signed):
            self._comments += 1
            return True
        if layout.header_line and line == layout.header_line:
            self._headers += 1
            return True
        return False

    def _header_at(self, line: str) -> Signature | None:
        """A further header of a known kind of file, where one begins at the next line."""
        before = self._layout.signature
        if before is None or not line.startswith("#"):
            return None
        if before.kind not in ("zeek", "influx"):
            return None
        self._lines.gather(_ANNOTATION_LINES, _SAMPLE_BYTES, _SAMPLE_PAUSE_SECONDS)
        lines = [_text(one).removesuffix("\r") for one in self._lines.peek_some(_ANNOTATION_LINES)]
        return zeek(lines, before) if before.kind == "zeek" else influx(lines)

    def _go_on_with(self, signature: Signature) -> None:
        number = self._lines.number
        self._lines.take(signature.start)
        layout = signed(signature)
        if layout.columns != self.columns:
            names = shown(", ".join(layout.columns), _QUOTED_CHARACTERS)
            text = f"from line {number:,} on the table has other columns: {names}"
            self.notes.append(FileNote("header", text))
        self._use(layout)

    def late_notes(self) -> list[FileNote]:
        """Return what only the whole file showed: comments and headers between its rows."""
        notes = []
        if self._comments:
            lines = "1 comment line" if self._comments == 1 else f"{self._comments:,} comment lines"
            notes.append(FileNote("lines", f"{lines} between the rows passed over"))
        if self._headers:
            often = "once more" if self._headers == 1 else f"{self._headers:,} times more"
            notes.append(FileNote("lines", f"the header stands {often} between the rows"))
        if self.ended and not self._read:
            notes.append(FileNote("lines", "the file ends before its first row"))
        return notes

    def _encode(self, rows: _Rows, chunk: Chunk) -> None:
        cells = rows.cells
        if rows.problems or set(map(len, cells)) != {self._width}:
            self._encode_ragged(rows, chunk)
        else:
            chunk.values += self._encoder.encode(self._prepared(cells))

    def _encode_ragged(self, rows: _Rows, chunk: Chunk) -> None:
        """Rows of several widths: an empty cell too much at the end is nothing, others are bad."""
        width, good, places = self._width, [], []
        mixed = Chunk()
        for index, (row, number) in enumerate(zip(rows.cells, rows.numbers, strict=True)):
            problem = rows.problems.get(index)
            if problem is None:
                if len(row) == width + 1 and not row[-1].strip():
                    row.pop()
                if len(row) == width:
                    good.append(row)
                    places.append(len(mixed.values))
                    mixed.values.append(b"")
                    continue
                if len(row) == 1 and not row[0].strip():
                    continue
                problem = _other_width(number, len(row), width)
            text = self._layout.dialect.joint.join(row)
            mixed.problems[len(mixed.values)] = f"{problem}: {shown(text, _QUOTED_CHARACTERS)}"
            mixed.values.append(text.encode("utf-8", "surrogateescape"))
        for place, value in zip(places, self._encoder.encode(self._prepared(good)), strict=True):
            mixed.values[place] = value
        chunk.extend(mixed)

    def _prepared(self, cells: list[list[str]]) -> list[list[str]]:
        layout = self._layout
        if layout.skip_first:
            cells = [row[1:] for row in cells]
        if layout.missing:
            missing = layout.missing
            cells = [["" if cell in missing else cell for cell in row] for row in cells]
        for place, value in layout.fill.items():
            for row in cells:
                row[place] = row[place] or value
        return cells


def _needs_care(text: str, layout: Layout) -> bool:
    """Tell whether lines hold quotes, comments or the header again."""
    if layout.dialect.quote and layout.dialect.quote in text:
        return True
    if layout.comment and (text.startswith(layout.comment) or f"\n{layout.comment}" in text):
        return True
    header = layout.header_line
    return bool(header) and header in text and f"\n{header}\n" in f"\n{text}\n"


def _text(line: bytes) -> str:
    # Bytes that are no UTF-8 stay so: decoding rejects them.
    return line.decode("utf-8", "surrogateescape")


def _other_width(number: int, cells: int, columns: int) -> str:
    has = "1 cell" if cells == 1 else f"{cells} cells"
    named = "1 column" if columns == 1 else f"{columns} columns"
    return f"line {number:,} has {has}, the table has {named}"


def _no_row(first: int, last: int, error: csv.Error) -> str:
    where = f"line {first:,}" if last <= first else f"lines {first:,} to {last:,}"
    quote = "; is a quote opened there and not closed?" if last > first else ""
    return f"{where}: no CSV: {error}{quote}"
