"""Rows of a table (CSV, npz) as JSON events, thousands at a time.

A row becomes text by one ``%`` on a template of the whole object; what has to be looked at is
looked at a column at a time. One dict a row through a JSON encoder costs about twice as much.
"""

from __future__ import annotations

import csv
import math
import zipfile
from collections.abc import Collection, Iterator, Sequence
from json.encoder import encode_basestring
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_detector.connectors.lines import LineReader
from stream_detector.errors import ConnectorError

_decode_numbers = msgspec.json.Decoder(list[float]).decode
_BOOLEANS = {"": "null"} | {
    spelling: word
    for word, spellings in (("true", "1 1.0 true"), ("false", "0 0.0 false"))
    for lower in spellings.split()
    for spelling in (lower, lower.capitalize(), lower.upper())
}
DELIMITERS = ",;\t"


def number_json(cell: str) -> str:
    """JSON of a numeric cell: a number, ``null`` where empty, else the text itself as a string.

    What is no finite number stays text (``NaN``, ``inf``, ``n/a``, ``1_000``), so that decoding
    rejects the row for its type instead of taking a made-up value in.
    """
    text = cell.strip()
    if not text:
        return "null"
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or "_" in text:
        return str(encode_basestring(cell))
    return repr(number)


def _number_column(cells: Sequence[str]) -> tuple[str, Sequence[str]]:
    try:
        # The JSON parser itself says whether every cell is a number as JSON writes numbers; the
        # count says that no cell was two of them.
        if len(_decode_numbers("[" + ",".join(cells) + "]")) == len(cells):
            return "%s", cells
    except (msgspec.MsgspecError, UnicodeEncodeError):
        pass
    return "%s", [_raw_or_converted(cell) for cell in cells]


def _raw_or_converted(cell: str) -> str:
    # As in the fast path: a cell's text must not depend on its neighbours in the chunk.
    try:
        if len(_decode_numbers(f"[{cell}]")) == 1:
            return cell
    except (msgspec.MsgspecError, UnicodeEncodeError):
        pass
    return number_json(cell)


def _boolean_column(cells: Sequence[str]) -> tuple[str, Sequence[str]]:
    return "%s", [_BOOLEANS.get(cell) or encode_basestring(cell) for cell in cells]


def _text_column(cells: Sequence[str]) -> tuple[str, Sequence[str]]:
    joined = "".join(cells)
    if joined.isascii() and joined.isprintable() and '"' not in joined and "\\" not in joined:
        if "" not in cells:
            return '"%s"', cells
        return "%s", [f'"{cell}"' if cell else "null" for cell in cells]
    return "%s", [encode_basestring(cell) if cell else "null" for cell in cells]


class RowEncoder:
    """Turns rows of cells into JSON objects.

    A column name with dots is a path: ``a.b`` is written ``{"a": {"b": ...}}``, which is how the
    configuration reads it; unless ``a`` is a column of its own.
    """

    def __init__(
        self, columns: Sequence[str], numeric: Collection[str], boolean: Collection[str]
    ) -> None:
        tree: dict[str, Any] = {}
        for index, name in enumerate(columns):
            *parents, leaf = name.split(".")
            paths = {".".join(parents[: depth + 1]) for depth in range(len(parents))}
            if paths & set(columns):
                parents, leaf = [], name
            node = tree
            for parent in parents:
                node = node.setdefault(parent, {})
            node[leaf] = index
        self._order: list[int] = []
        self._between: list[str] = []
        end = self._build(tree, "")
        self._between.append(end)
        converters = [
            _boolean_column
            if name in boolean
            else _number_column
            if name in numeric
            else _text_column
            for name in columns
        ]
        self._converters = [converters[index] for index in self._order]

    def _build(self, node: dict[str, Any], prefix: str) -> str:
        """Notes what stands before each cell; returns what stands after the last one."""
        prefix += "{"
        for name, inner in node.items():
            prefix += f"{encode_basestring(name)}:".replace("%", "%%")
            if isinstance(inner, dict):
                prefix = self._build(inner, prefix)
            else:
                self._between.append(prefix)
                self._order.append(inner)
                prefix = ""
            prefix += ","
        return prefix.removesuffix(",") + "}"

    def encode(self, rows: Sequence[Sequence[str]]) -> list[bytes]:
        """JSON of rows of one width. Bytes that were no UTF-8 stay so: decoding rejects them."""
        if not rows:
            return []
        cells = list(zip(*rows, strict=True))
        slots: list[str] = []
        columns: list[Sequence[str]] = []
        for index, convert in zip(self._order, self._converters, strict=True):
            slot, column = convert(cells[index])
            slots.append(slot)
            columns.append(column)
        return self.fill(slots, columns)

    def encode_json(self, columns: Sequence[Sequence[Any]]) -> list[bytes]:
        """JSON of columns whose cells are JSON, or numbers, already; in the constructor's order."""
        return self.fill(["%s"] * len(columns), [columns[index] for index in self._order])

    def fill(self, slots: Sequence[str], columns: Sequence[Sequence[Any]]) -> list[bytes]:
        """One object for each row of ``columns``, each formatted by its slot."""
        pieces = (piece for pair in zip(self._between, slots, strict=False) for piece in pair)
        template = "".join(pieces) + self._between[-1]
        return [
            (template % row).encode("utf-8", "surrogateescape")
            for row in zip(*columns, strict=True)
        ]


def is_number(cell: str) -> bool:
    """Whether a cell holds a number, finite or not."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


class CsvRows:
    """CSV from a ``LineReader``: made once its first line waits.

    ``columns`` names those of a file without a header; the last of them may be absent. They yield
    to a first row that holds most of these names. Without them, the first row is the header,
    unless more than half of its cells are numbers: then there is none, and the columns are called
    f0, f1 and so on.
    """

    def __init__(
        self,
        lines: LineReader,
        numeric: Collection[str],
        boolean: Collection[str],
        columns: Sequence[str] | None,
    ) -> None:
        self._lines = lines
        text = lines.peek().decode("utf-8", "surrogateescape")
        self._delimiter = max(DELIMITERS, key=lambda delimiter: len(_cells(text, delimiter)))
        self._rows = csv.reader(self._line_texts(), delimiter=self._delimiter)
        first = _cells(text, self._delimiter)
        if columns is not None and 2 * len({cell.strip() for cell in first} & {*columns}) > len(
            first
        ):
            columns = None  # there is a header after all
        self.headerless = columns is not None
        if columns is not None:
            columns = columns[: len(first)]  # the last ones may be absent from the whole file
        else:
            self.headerless = 2 * sum(map(is_number, first)) > len(first)
            columns = (
                [f"f{index}" for index in range(len(first))] if self.headerless else self._header()
            )
        _refuse_duplicates(lines.name, columns)
        self.columns = list(columns)
        self._encoder = RowEncoder(columns, numeric, boolean)

    def _header(self) -> list[str]:
        try:
            row = next(self._rows)
        except csv.Error as error:
            raise ConnectorError(f"{self._lines.name}: the header is no CSV ({error})") from error
        return [cell.strip() or f"column_{index}" for index, cell in enumerate(row)]

    def _line_texts(self) -> Iterator[str]:
        # A quoted cell that goes on in the next line makes the reader ask for it: then, and only
        # then, this waits without a limit.
        while self._lines.fill(None):
            for line in self._lines.take(1):
                yield line.decode("utf-8", "surrogateescape") + "\n"

    def read(self, count: int) -> list[bytes]:
        """Up to ``count`` rows of the lines that wait; rows that are no rows as they are."""
        bad: dict[int, bytes] = {}
        rows = self._plain_rows(count)
        while len(rows) < count and self._lines.waiting:
            try:
                for row in self._rows:
                    if row:
                        rows.append(row)
                    if len(rows) == count or not self._lines.waiting:
                        break
            except csv.Error as error:
                bad[len(rows)] = f"no CSV: {error}".encode()
                rows.append([])
        width = len(self.columns)
        if set(map(len, rows)) == {width}:
            return self._encoder.encode(rows)
        good = [row for row in rows if len(row) == width]
        encoded = iter(self._encoder.encode(good))
        return [
            next(encoded)
            if len(row) == width
            else bad.get(index) or self._delimiter.join(row).encode("utf-8", "surrogateescape")
            for index, row in enumerate(rows)
        ]

    def _plain_rows(self, count: int) -> list[list[str]]:
        """Rows of lines without quotes, all at once: half the time. None of any others.

        A quoted cell may go on in the next line, which only the reader that was given all lines
        before it can tell.
        """
        text = b"\n".join(self._lines.peek_some(count)).decode("utf-8", "surrogateescape")
        if '"' in text or "\r" in text:
            return []
        try:
            rows = [row for row in csv.reader(text.split("\n"), delimiter=self._delimiter) if row]
        except csv.Error:  # a cell that is too long: the way of single lines says which
            return []
        self._lines.take(count)
        return rows


def _cells(line: str, delimiter: str) -> list[str]:
    """Cells of a single line; none where it is no CSV under this delimiter."""
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return []


def _refuse_duplicates(name: str, columns: Sequence[str]) -> None:
    twice = sorted({column for column in columns if list(columns).count(column) > 1})
    if twice:
        raise ConnectorError(f"{name}: columns that occur twice: {', '.join(twice[:10])}")


class ArrayRows:
    """``X`` and ``y`` of an npz file: fields f0, f1, ..., and ``label`` where there is a ``y``."""

    def __init__(self, path: str) -> None:
        """Raises ``ConnectorError`` where the file holds anything else; never unpickles."""
        try:
            with np.load(path, allow_pickle=False) as arrays:
                features = np.asarray(arrays["X"])
                label = np.asarray(arrays["y"]) if "y" in arrays else None
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise ConnectorError(f"{path}: no npz file with an array X ({error})") from error
        if features.ndim != 2 or features.dtype.kind not in "fiub":  # noqa: PLR2004 - a matrix
            raise ConnectorError(f"{path}: X must be a numeric matrix, is {features.shape}")
        if label is not None and (
            label.shape != features.shape[:1] or label.dtype.kind not in "fiub"
        ):
            raise ConnectorError(f"{path}: y must have one number for each row of X")
        self._features: NDArray[Any] = features
        self._label: NDArray[Any] | None = label
        self.columns = [f"f{index}" for index in range(features.shape[1])]
        if label is not None:
            self.columns.append("label")
        self._encoder = RowEncoder(self.columns, (), ())
        self._next = 0

    def __len__(self) -> int:
        return len(self._features)

    @property
    def taken(self) -> int:
        """Rows read so far."""
        return self._next

    def read(self, count: int) -> list[bytes]:
        """Up to ``count`` rows."""
        rows = slice(self._next, self._next + count)
        block = self._features[rows]
        self._next += len(block)
        columns = [_number_texts(column) for column in block.T]
        if self._label is not None:
            columns.append(_number_texts(self._label[rows]))
        return self._encoder.fill(["%s"] * len(columns), columns)


def _number_texts(column: NDArray[Any]) -> list[Any]:
    if column.dtype.kind == "b":
        column = column.astype(np.int64)
    values: list[Any] = column.tolist()
    if column.dtype.kind == "f" and not np.isfinite(column).all():
        return [value if math.isfinite(value) else f'"{value}"' for value in values]
    return values
