"""Rows of a table (CSV, npz) as JSON events, thousands at a time.

A row becomes text by one ``%`` on a template of the whole object; what has to be looked at is
looked at a column at a time. One dict a row through a JSON encoder costs about twice as much.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Collection, Sequence
from json.encoder import encode_basestring
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_detector.connectors.reading.arrays import read_arrays
from stream_detector.connectors.reading.notes import Chunk, FileNote
from stream_detector.errors import ConnectorError

_decode_numbers = msgspec.json.Decoder(list[float]).decode
_BOOLEANS = {"": "null"} | {
    spelling: word
    for word, spellings in (("true", "1 1.0 true"), ("false", "0 0.0 false"))
    for lower in spellings.split()
    for spelling in (lower, lower.capitalize(), lower.upper())
}


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
        self.order: list[int] = []
        self.between: list[str] = []
        end = self._build(tree, "")
        self.between.append(end)
        converters = [
            _boolean_column
            if name in boolean
            else _number_column
            if name in numeric
            else _text_column
            for name in columns
        ]
        self._converters = [converters[index] for index in self.order]

    def _build(self, node: dict[str, Any], prefix: str) -> str:
        """Notes what stands before each cell; returns what stands after the last one."""
        prefix += "{"
        for name, inner in node.items():
            prefix += f"{encode_basestring(name)}:".replace("%", "%%")
            if isinstance(inner, dict):
                prefix = self._build(inner, prefix)
            else:
                self.between.append(prefix)
                self.order.append(inner)
                prefix = ""
            prefix += ","
        return prefix.removesuffix(",") + "}"

    def cells_json(self, place: int, cells: Sequence[str]) -> list[str]:
        """JSON of the cells of the column at ``place`` in the order of writing."""
        slot, column = self._converters[place](cells)
        return list(column) if slot == "%s" else [slot % cell for cell in column]

    def encode(self, rows: Sequence[Sequence[str]]) -> list[bytes]:
        """JSON of rows of one width. Bytes that were no UTF-8 stay so: decoding rejects them."""
        if not rows:
            return []
        cells = list(zip(*rows, strict=True))
        slots: list[str] = []
        columns: list[Sequence[str]] = []
        for index, convert in zip(self.order, self._converters, strict=True):
            slot, column = convert(cells[index])
            slots.append(slot)
            columns.append(column)
        return self.fill(slots, columns)

    def encode_json(self, columns: Sequence[Sequence[Any]]) -> list[bytes]:
        """JSON of columns whose cells are JSON, or numbers, already; in the constructor's order."""
        return self.fill(["%s"] * len(columns), [columns[index] for index in self.order])

    def fill(self, slots: Sequence[str], columns: Sequence[Sequence[Any]]) -> list[bytes]:
        """Return one object for each row of ``columns``, each formatted by its slot."""
        pieces = (piece for pair in zip(self.between, slots, strict=False) for piece in pair)
        template = "".join(pieces) + self.between[-1]
        return [
            (template % row).encode("utf-8", "surrogateescape")
            for row in zip(*columns, strict=True)
        ]


MOST_COLUMNS = 16_384
"""Columns of a table, as many as a spreadsheet has."""


def refuse_too_wide(name: str, columns: int) -> None:
    """Raise ``ConnectorError`` where a table has more columns than one may."""
    if columns > MOST_COLUMNS:
        raise ConnectorError(
            f"{name} has {columns:,} columns, and {MOST_COLUMNS:,} are read at most: write a file "
            "with those that matter"
        )


_NO_ARRAYS = (
    *(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error),
    *(NotImplementedError, RuntimeError),  # of a compression that is unknown, and of a password
)


class ArrayRows:
    """``X`` and ``y`` of an npz file: fields f0, f1, ..., and ``label`` where there is a ``y``."""

    def __init__(self, path: str) -> None:
        """Raises ``ConnectorError`` where the file holds anything else; never unpickles."""
        try:
            arrays = read_arrays(path, ("X", "y"))
            features, label = arrays["X"], arrays.get("y")
        except _NO_ARRAYS as error:
            raise ConnectorError(
                f"{path}: no npz file with an array X ({str(error)[:200]})"
            ) from error
        if features.ndim != 2 or features.dtype.kind not in "fiub":  # noqa: PLR2004 - a matrix
            raise ConnectorError(f"{path}: X must be a numeric matrix, is {features.shape}")
        if label is not None and (
            label.shape != features.shape[:1] or label.dtype.kind not in "fiub"
        ):
            raise ConnectorError(f"{path}: y must have one number for each row of X")
        refuse_too_wide(path, features.shape[1])
        self._features: NDArray[Any] = features
        self._label: NDArray[Any] | None = label
        self.columns = [f"f{index}" for index in range(features.shape[1])]
        if label is not None:
            self.columns.append("label")
        self._encoder = RowEncoder(self.columns, (), ())
        self._next = 0
        self.notes: list[FileNote] = []

    @property
    def ended(self) -> bool:
        """Tell whether all rows were read."""
        return self._next == len(self._features)

    @property
    def share(self) -> float:
        """Return how much was read, 0 to 1."""
        return self._next / max(1, len(self._features))

    def fill(self, _timeout_seconds: float | None) -> bool:
        """Tell whether a row is left."""
        return not self.ended

    def read(self, count: int) -> Chunk:
        """Up to ``count`` rows."""
        rows = slice(self._next, self._next + count)
        block = self._features[rows]
        self._next += len(block)
        columns = [_number_texts(column) for column in block.T]
        if self._label is not None:
            columns.append(_number_texts(self._label[rows]))
        return Chunk(self._encoder.fill(["%s"] * len(columns), columns))


def _number_texts(column: NDArray[Any]) -> list[Any]:
    if column.dtype.kind == "b":
        column = column.astype(np.int64)
    values: list[Any] = column.tolist()
    if column.dtype.kind == "f" and not np.isfinite(column).all():
        return [value if math.isfinite(value) else f'"{value}"' for value in values]
    return values
