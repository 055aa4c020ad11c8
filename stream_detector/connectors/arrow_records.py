"""Records in columns of Arrow: fields are taken from the columns, bytes are made where needed.

A back-test needs a few columns of every row, and the whole of the few rows that are reported or
rejected. Making text of each row and reading it again costs several times what the columns do.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Any, ClassVar, overload

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_detector.events import NO_TIMESTAMP, ColumnarRecords, ColumnKind, Int64, Record

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS_AT_ONCE = 32
"""Rows whose bytes are made together: one of them is as dear as a few."""

_MOST_BLOCKS = 8
"""Where bytes of more blocks than this were asked for, those of all rows will be."""

_CELL_BYTES = 96
"""More than the JSON of any number, time or truth value, with its comma."""

_ESCAPED = 6
"""Bytes of the longest escape, of one character."""

_NUMBER = r"^\s*([+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?)?\s*$"
_LARGEST_WHOLE = 1e15
_DAY_MS = 86_400_000
_LATEST_MS = 7_258_118_400_000 - _DAY_MS  # local times still are what they will be in UTC


class ArrowRecord(msgspec.Struct, gc=False, eq=False):
    """A ``Record`` that is a row of columns. Thousands are made at once: the collector skips them.

    Attributes:
        offset: the row's place in the file.
        rows: the rows that it is one of.
    """

    offset: int
    rows: Any

    timestamp: ClassVar[int] = NO_TIMESTAMP
    key: ClassVar[None] = None
    headers: ClassVar[tuple[()]] = ()

    @property
    def value(self) -> bytes:
        """The row as JSON."""
        text: bytes = self.rows.value(self.offset)
        return text


class ArrowRecords(ColumnarRecords):
    """Rows of a batch of Arrow as records.

    State: the bytes of those rows that they were asked of.
    """

    def __init__(
        self,
        batch: pa.RecordBatch,
        start: int,
        to_json: Callable[[pa.RecordBatch], list[bytes]],
        typed: Collection[str],
    ) -> None:
        """Take the rows of a batch.

        Args:
            batch: the rows.
            start: offset of the first one.
            to_json: makes bytes of rows.
            typed: columns whose texts are numbers or truth values in those bytes, where they can
                be.
        """
        self._batch, self._start, self._to_json, self._typed = batch, start, to_json, typed
        self._blocks: dict[int, list[bytes]] = {}
        self._all: list[bytes] | None = None

    def __len__(self) -> int:
        return int(self._batch.num_rows)

    @overload
    def __getitem__(self, index: int) -> Record: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Record]: ...

    def __getitem__(self, index: int | slice) -> Record | Sequence[Record]:
        places = range(self._start, self._start + len(self))[index]
        if isinstance(places, range):
            return [ArrowRecord(place, self) for place in places]
        return ArrowRecord(places, self)

    def __iter__(self) -> Iterator[Record]:
        return map(ArrowRecord, range(self._start, self._start + len(self)), repeat(self))

    @property
    def offsets(self) -> Int64:
        """As ``ColumnarRecords.offsets``."""
        return np.arange(self._start, self._start + len(self), dtype=np.int64)

    @property
    def timestamps(self) -> Int64:
        """As ``ColumnarRecords.timestamps``: a file has none."""
        return np.full(len(self), NO_TIMESTAMP, dtype=np.int64)

    def value(self, offset: int) -> bytes:
        """JSON of the row with this offset."""
        row = offset - self._start
        if self._all is None and len(self._blocks) >= _MOST_BLOCKS:
            self._all, self._blocks = self._to_json(self._batch), {}
        if self._all is not None:
            return self._all[row]
        block, place = divmod(row, _ROWS_AT_ONCE)
        if block not in self._blocks:
            rows = self._batch.slice(block * _ROWS_AT_ONCE, _ROWS_AT_ONCE)
            self._blocks[block] = self._to_json(rows)
        return self._blocks[block][place]

    def columns(
        self, fields: Mapping[str, ColumnKind], max_bytes: int, max_text_length: int
    ) -> Mapping[str, Sequence[Any] | NDArray[Any]] | None:
        """As ``ColumnarRecords.columns``."""
        names = set(self._batch.schema.names)
        if not all(_means_one_column(name, names) for name in fields):
            return None
        if not self._within(max_bytes, max_text_length):
            return None
        columns: dict[str, Sequence[Any] | NDArray[Any]] = {}
        for name, kind in fields.items():
            column = self._batch.column(name) if name in names else None
            if name in self._typed and column is not None and _holds_numbers(column):
                return None
            values = _READERS[kind](column, len(self))
            if values is None:
                return None
            columns[name] = values
        return columns

    def _within(self, max_bytes: int, max_text_length: int) -> bool:
        """Tell whether no row can be longer than the limits, whatever is in it."""
        import pyarrow as pa  # noqa: PLC0415 - an extra, and slow to import
        import pyarrow.compute as pc  # noqa: PLC0415

        size = sum(len(name.encode()) * _ESCAPED + 4 for name in self._batch.schema.names)
        for column in self._batch.columns:
            values = column.dictionary if pa.types.is_dictionary(column.type) else column
            if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
                longest = pc.max(pc.binary_length(values)).as_py() or 0
                if longest > max_text_length:
                    return False
                size += longest * _ESCAPED
            elif not _is_plain(values.type):
                return False  # of lists and objects nobody knows it
            size += _CELL_BYTES
        return size <= max_bytes


def _is_plain(kind: Any) -> bool:
    import pyarrow as pa  # noqa: PLC0415

    return bool(pa.types.is_primitive(kind) or pa.types.is_decimal(kind) or pa.types.is_null(kind))


def _means_one_column(name: str, names: set[str]) -> bool:
    """Tell whether a field is the column of its name, or in no column at all.

    ``a.b`` may lie inside of an object ``a`` too, and ``a[0]`` in an array: the bytes tell.
    """
    parts = name.split(".")
    above = {".".join(parts[:length]) for length in range(1, len(parts))}
    if name in names:
        return not above & names
    return len(parts) == 1 and "[" not in name and not any(n.startswith(f"{name}.") for n in names)


def _holds_numbers(column: Any) -> bool:
    """Tell whether a column of texts has some that the bytes would have as numbers or null."""
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.compute as pc  # noqa: PLC0415

    column = _decoded(column)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return False
    return bool(pc.any(pc.match_substring_regex(column, _NUMBER)).as_py())


def _decoded(column: Any) -> Any:
    import pyarrow as pa  # noqa: PLC0415

    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _number(column: Any, count: int) -> NDArray[np.float64] | None:
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.compute as pc  # noqa: PLC0415

    if column is None or pa.types.is_null(column.type):
        return np.full(count, np.nan)
    kind = column.type
    if pa.types.is_float32(kind) or pa.types.is_float16(kind) or pa.types.is_decimal(kind):
        # The number that the text of the cell says: .1 of 32 bits is .1 to whoever reads it.
        column = column.cast(pa.string()).cast(pa.float64())
    elif pa.types.is_integer(kind):
        column = pc.cast(column, pa.float64(), safe=False)
    elif not pa.types.is_float64(kind):
        return None
    # The text of -0.0 has no point, and a whole number has no sign at 0.
    values: NDArray[np.float64] = column.to_numpy(zero_copy_only=False) + 0.0
    finite = np.isfinite(values)
    return values if finite.all() else np.where(finite, values, np.nan)


def _boolean(column: Any, count: int) -> NDArray[np.float64] | None:
    import pyarrow as pa  # noqa: PLC0415

    if column is not None and pa.types.is_boolean(column.type):
        return _number(column.cast(pa.int8()), count)
    if column is None or pa.types.is_integer(column.type) or pa.types.is_null(column.type):
        return _number(column, count)
    return None


def _text(column: Any, count: int) -> list[Any] | None:
    import pyarrow as pa  # noqa: PLC0415

    if column is None or pa.types.is_null(column.type):
        return [None] * count
    column = _decoded(column)
    kind = column.type
    if pa.types.is_floating(kind):
        return _whole_numbers(column)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind) or pa.types.is_time(kind):
        column = column.cast(pa.string())
    elif not (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_boolean(kind)
    ):
        return None
    values: list[Any] = column.to_pylist()
    return values


def _whole_numbers(column: Any) -> list[int | None] | None:
    """Whole numbers that became floats since some are missing: without a point, as in JSON."""
    numbers = _number(column, len(column))
    if numbers is None:
        return None
    known = ~np.isnan(numbers)
    some = numbers[known]
    whole = (some == np.trunc(some)) & (np.abs(some) < _LARGEST_WHOLE)
    if not (whole & ((some != 0) | ~np.signbit(some))).all():
        return None
    values: list[int | None] = np.where(known, numbers, 0).astype(np.int64).tolist()
    for row in np.flatnonzero(~known).tolist():
        values[row] = None
    return values


def _time(column: Any, count: int) -> list[Any] | NDArray[Any] | None:
    import pyarrow as pa  # noqa: PLC0415

    if column is None or column.null_count:
        return _text(column, count)
    kind = column.type
    if not (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
        return _text(column, count)
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
    if pa.types.is_date(kind):
        moments = column.cast(pa.date32()).cast(pa.int32()).to_numpy().astype(np.int64) * _DAY_MS
    else:
        ticks = column.cast(pa.int64()).to_numpy()
        unit = per_second[kind.unit]
        moments = ticks * (1000 // unit) if unit < 1000 else ticks // (unit // 1000)  # noqa: PLR2004
    if len(moments) and (moments.min() < _DAY_MS or moments.max() >= _LATEST_MS):
        return _text(column, count)
    named = pa.types.is_timestamp(kind) and kind.tz is not None
    result: NDArray[Any] = moments if named else moments.astype("datetime64[ms]")
    return result


_READERS: dict[ColumnKind, Callable[[Any, int], Sequence[Any] | NDArray[Any] | None]] = {
    "number": _number,
    "boolean": _boolean,
    "text": _text,
    "time": _time,
}
