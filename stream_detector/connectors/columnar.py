"""Parquet, Arrow and Feather files, read as columns by pyarrow, and their rows as JSON.

Fields are taken from the columns (``arrow_records``). A row becomes text inside of Arrow: each
column is made text at once, and the texts of a row are joined there. pyarrow is an extra
(``pip install 'stream-detector[parquet]'``): it weighs more than everything else together.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from stream_detector.connectors.arrow_records import ArrowRecords
from stream_detector.connectors.reading.notes import FileNote
from stream_detector.connectors.tables import RowEncoder, refuse_too_wide
from stream_detector.errors import ConnectorError
from stream_detector.visible import shown

if TYPE_CHECKING:
    import pyarrow as pa

ColumnarFormat: TypeAlias = Literal["parquet", "arrow"]

_MAGIC: tuple[tuple[bytes, ColumnarFormat], ...] = (
    (b"PAR1", "parquet"),
    (b"ARROW1", "arrow"),
    (b"FEA1", "arrow"),
)
_BATCH_ROWS = 15_000
_MOST_TEXT_BYTES = 2**28
_NEEDS_ESCAPE = r'["\\\x00-\x1f]'


def columnar_format(head: bytes) -> ColumnarFormat | None:
    """Return which of these formats a file has, by its first bytes."""
    return next((name for magic, name in _MAGIC if head.startswith(magic)), None)


class ArrowRows:
    """Rows of a file of columns. State: the batch that is being given, and the place in it."""

    def __init__(
        self,
        path: str,
        format: ColumnarFormat,  # noqa: A002 - as in FileSource
        numeric: Collection[str],
        boolean: Collection[str],
    ) -> None:
        """Raises ``ConnectorError`` where pyarrow is not there or the file cannot be read."""
        try:
            import pyarrow  # noqa: F401, ICN001, PLC0415 - an extra, and slow to import
        except ImportError as error:
            raise ConnectorError(
                f"{path} is a {format.capitalize()} file: to read it, install pyarrow (pip install "
                "'stream-detector[parquet]')"
            ) from error
        self._path, self._numeric, self._boolean = path, numeric, boolean
        self.notes: list[FileNote] = []
        self._schema, self._rows, self._batches = self._open(format)
        self.columns = [str(name) for name in self._schema.names]
        refuse_too_wide(path, len(self.columns))
        if len(set(self.columns)) < len(self.columns):
            raise ConnectorError(f"{path}: a column name occurs twice")
        self._batch: pa.RecordBatch | None = None
        self._place = self._given = 0

    def _open(self, format: ColumnarFormat) -> tuple[pa.Schema, int, Iterator[pa.RecordBatch]]:  # noqa: A002
        import pyarrow as pa  # noqa: PLC0415
        from pyarrow import feather, parquet  # noqa: PLC0415

        try:
            if format == "parquet":
                file = parquet.ParquetFile(self._path)
                batches = file.iter_batches(_BATCH_ROWS)
                return file.schema_arrow, file.metadata.num_rows, batches
            with open(self._path, "rb") as head:  # noqa: PTH123 - a path as it was given
                if head.read(4) == b"FEA1":
                    table = feather.read_table(self._path)
                    return table.schema, table.num_rows, iter(table.to_batches(_BATCH_ROWS))
            reader = pa.ipc.open_file(pa.memory_map(self._path))
            rows = sum(reader.get_batch(i).num_rows for i in range(reader.num_record_batches))
            return reader.schema, rows, self._pieces(reader)
        except (pa.ArrowException, OSError, MemoryError) as error:
            raise self._broken(error) from error

    def _broken(self, error: Exception) -> ConnectorError:
        if isinstance(error, MemoryError):
            return ConnectorError(
                f"{self._path}: {_BATCH_ROWS:,} rows of it do not fit into memory: leave out the "
                "columns of long texts, or write them shorter"
            )
        return ConnectorError(f"{self._path} cannot be read ({str(error)[:200]}); is it whole?")

    @staticmethod
    def _pieces(reader: Any) -> Iterator[pa.RecordBatch]:
        for index in range(reader.num_record_batches):
            batch = reader.get_batch(index)
            for start in range(0, batch.num_rows, _BATCH_ROWS):
                yield batch.slice(start, _BATCH_ROWS)

    @property
    def ended(self) -> bool:
        """Tell whether all rows were read."""
        return self._given == self._rows

    @property
    def share(self) -> float:
        """Return how much was read, 0 to 1."""
        return self._given / max(1, self._rows)

    def fill(self, _timeout_seconds: float | None) -> bool:
        """Tell whether a row is left. Raises ``ConnectorError`` for a damaged file."""
        import pyarrow as pa  # noqa: PLC0415

        while self._batch is None or self._place == self._batch.num_rows:
            try:
                self._batch, self._place = next(self._batches, None), 0
            except (pa.ArrowException, OSError, MemoryError) as error:
                raise self._broken(error) from error
            if self._batch is None:
                self._rows = self._given
                return False
            self._refuse_large(self._batch)
        return True

    def _refuse_large(self, batch: pa.RecordBatch) -> None:
        """Refuse texts that are short in the file, by being there once, and huge in the rows."""
        import pyarrow as pa  # noqa: PLC0415
        import pyarrow.compute as pc  # noqa: PLC0415

        for name, column in zip(self.columns, batch.columns, strict=True):
            if not pa.types.is_dictionary(column.type):
                continue
            values = column.dictionary
            if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
                lengths = pc.binary_length(values).cast(pa.int64())
                size = pc.sum(lengths.take(column.indices)).as_py() or 0
                if size > _MOST_TEXT_BYTES:
                    raise ConnectorError(
                        f"{self._path}: {batch.num_rows:,} rows of the column {shown(name)} hold "
                        f"{size / 2**20:,.0f} MiB of text; leave it out, or write it shorter"
                    )

    def read(self, count: int) -> ArrowRecords:
        """Up to ``count`` rows of those that wait; ``fill`` has said that some do."""
        assert self._batch is not None
        rows = self._batch.slice(self._place, count)
        typed = {*self._numeric, *self._boolean}
        records = ArrowRecords(rows, self._given, self._objects, typed)
        self._place += len(records)
        self._given += len(records)
        return records

    def _objects(self, batch: pa.RecordBatch) -> list[bytes]:
        import pyarrow as pa  # noqa: PLC0415
        import pyarrow.compute as pc  # noqa: PLC0415

        encoder = RowEncoder(self.columns, (), ())
        pieces: list[Any] = []
        texts = [
            self._json(name, column)
            for name, column in zip(self.columns, batch.columns, strict=True)
        ]
        for before, index in zip(encoder.between, encoder.order, strict=False):
            pieces += [pa.scalar(before.replace("%%", "%"), pa.string()), texts[index]]
        pieces.append(pa.scalar(encoder.between[-1].replace("%%", "%"), pa.string()))
        joined = pc.binary_join_element_wise(*pieces, "")
        return joined.cast(pa.binary()).to_pylist()  # type: ignore[no-any-return]

    def _json(self, name: str, column: Any) -> Any:
        """JSON of each cell of a column, an array of strings."""
        import pyarrow as pa  # noqa: PLC0415
        import pyarrow.compute as pc  # noqa: PLC0415

        kind = column.type
        if pa.types.is_dictionary(kind):
            column = column.dictionary_decode()
            kind = column.type
        if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind):
            text = column.cast(pa.string())
        elif pa.types.is_floating(kind):
            finite = pc.is_finite(column)
            text = pc.if_else(finite, column.cast(pa.string()), pa.scalar(None, pa.string()))
        elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
            return self._json_text(name, column.cast(pa.string()))
        elif pa.types.is_timestamp(kind) or pa.types.is_date(kind) or pa.types.is_time(kind):
            text = _quoted(column.cast(pa.string()))
        elif pa.types.is_null(kind):
            text = pa.nulls(len(column), pa.string())
        else:
            text = pa.array([_nested(value) for value in column.to_pylist()], pa.string())
        return pc.fill_null(text, "null")

    def _json_text(self, name: str, column: Any) -> Any:
        """JSON of texts; of those of a numeric or boolean field, as a table of text has it."""
        import pyarrow as pa  # noqa: PLC0415
        import pyarrow.compute as pc  # noqa: PLC0415

        if name in self._numeric or name in self._boolean:
            encoder = RowEncoder([name], self._numeric, self._boolean)
            cells = pc.fill_null(column, "").to_pylist()
            return pa.array(encoder.cells_json(0, cells), pa.string())
        if pc.any(pc.match_substring_regex(column, _NEEDS_ESCAPE)).as_py():
            values = column.to_pylist()
            texts = [None if value is None else encode_basestring(value) for value in values]
            return pc.fill_null(pa.array(texts, pa.string()), "null")
        return pc.fill_null(_quoted(column), "null")


def _quoted(column: Any) -> Any:
    import pyarrow.compute as pc  # noqa: PLC0415

    return pc.binary_join_element_wise('"', column, '"', "")


def _nested(value: Any) -> str | None:
    """JSON of a struct, list, map, duration or of bytes."""
    return None if value is None else json.dumps(_plain(value), default=str, ensure_ascii=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return None if isinstance(value, float) and not np.isfinite(value) else value
