"""The data that flows: raw records, batches of columns, rejections.

Floor 0: imports nothing of this package. Every later stage works on whole columns; one Python
object an event would cost more than scoring it does.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Float32: TypeAlias = NDArray[np.float32]
Float64: TypeAlias = NDArray[np.float64]
Int64: TypeAlias = NDArray[np.int64]
Objects: TypeAlias = NDArray[np.object_]
State: TypeAlias = Mapping[str, Any]
"""State of a component: a tree of dicts with string keys whose leaves are NumPy arrays (never of
dtype object) or JSON values. Snapshots store exactly this and nothing else."""

NO_TIMESTAMP = -1
"""Timestamp of a record whose source has none (a file). Kafka uses the same number."""

_SIZE = attrgetter("size_bytes")


@dataclass(frozen=True, order=True, slots=True)
class TopicPartition:
    """Origin of a record. Files and memory use their name as topic and partition 0."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}"


class Record(Protocol):
    """A record as its source gave it; kafka-python's ``ConsumerRecord`` satisfies this as it is."""

    @property
    def offset(self) -> int:
        """The record's place in its partition."""

    @property
    def timestamp(self) -> int:
        """Milliseconds since 1970, or ``NO_TIMESTAMP``."""

    @property
    def key(self) -> bytes | None:
        """Kafka's key."""

    @property
    def value(self) -> bytes | None:
        """Kafka's value; None is a tombstone."""

    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]:
        """Name and value of each header."""


def record_bytes(record: Record) -> int:
    """Estimate the bytes that a record holds: names of headers count as their characters."""
    size = len(record.key or b"") + len(record.value or b"")
    for name, content in record.headers:
        size += len(name) + len(content or b"")
    return size


def record_sizes(records: Sequence[Record]) -> Int64:
    """``record_bytes`` of many, at once where all of them know their ``size_bytes``."""
    try:
        return np.fromiter(map(_SIZE, records), np.int64, len(records))
    except AttributeError:
        return np.fromiter(map(record_bytes, records), np.int64, len(records))


class PlainRecord(NamedTuple):
    """A ``Record`` made by the file and memory sources and by tests."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]] = ()


class UnreadableRecord(NamedTuple):
    """Stands in a log for records that cannot be read, at the last of their offsets.

    ``value`` is the beginning of their bytes, ``problem`` what is wrong and where.
    """

    offset: int
    timestamp: int
    value: bytes
    problem: str
    key: None = None
    headers: Sequence[tuple[str, bytes | None]] = ()


ColumnKind: TypeAlias = Literal["number", "boolean", "text", "time"]
"""What a field is to be read as. The values of a ``time`` are to be those of its text, unless they
are moments already."""


class ColumnarRecords(Sequence[Record]):
    """Records that lie in columns: the bytes of one are made where somebody asks for them."""

    @property
    @abstractmethod
    def offsets(self) -> Int64:
        """(records,) their offsets."""

    @property
    @abstractmethod
    def timestamps(self) -> Int64:
        """(records,) their timestamps."""

    @abstractmethod
    def columns(
        self, fields: Mapping[str, ColumnKind], max_bytes: int, max_text_length: int
    ) -> Mapping[str, Sequence[Any] | NDArray[Any]] | None:
        """Values of ``fields`` just as the records' bytes would give them.

        Args:
            fields: what each field is to be read as.
            max_bytes: a record may be no longer.
            max_text_length: a text may be no longer.

        Returns:
            A column for each field: float64 with NaN for missing (number, boolean), datetime64[ms]
            of local times or int64 of milliseconds since 1970 UTC (time), or a list of JSON values
            and None. None where one of them has to be read from the bytes, or a limit is passed.
        """


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a record touches no model.

    ``stage`` and ``reason`` are metric labels from short fixed lists; ``message`` is for people
    (bounded, may quote the record); ``field`` is the one that was looked at, where it is one.
    """

    stage: str
    reason: str
    message: str
    field: str | None = None


@dataclass(slots=True)
class EventBatch:
    """Decoded events as columns, all of one length, in the order of processing.

    Attributes:
        source: ``TopicPartition`` of each event, dtype object.
        offset: int64, offset of each record in its source.
        time_ms: int64, event time in milliseconds since 1970 UTC. A rejected record carries the
            best time known for it (its record timestamp), used only to place it in the order.
        record: the raw ``Record`` objects, dtype object (for dead letters and for the original
            event inside an alert).
        rejection: ``Rejection`` or None for each event, dtype object.
        event_id: str or None for each event, dtype object.
        numeric: float64 (events, numeric fields), NaN where missing.
        text: one object column (str or None) for each categorical field or key, in plan order.
        label: float64, 1 anomalous, 0 normal, NaN unknown. Never a feature.
        mark_ms: int64, the stream's watermark after each event; None until it was decided.
        is_label: bool, rows that are no events but labels of earlier ones (``event_id``,
            ``time_ms`` and ``label``, or a ``rejection``); None where all rows are events.
        original: reads a record of a format other than JSON as JSON's values; None for JSON.
    """

    source: Objects
    offset: Int64
    time_ms: Int64
    record: Objects
    rejection: Objects
    event_id: Objects
    numeric: Float64
    text: tuple[Objects, ...]
    label: Float64
    mark_ms: Int64 | None = None
    is_label: NDArray[np.bool_] | None = None
    original: Callable[[Record], Any] | None = None

    @property
    def counted_ms(self) -> Int64:
        """Times that what is shared with other events may take over: never after the watermark."""
        return self.time_ms if self.mark_ms is None else np.minimum(self.time_ms, self.mark_ms)

    @property
    def last_mark_ms(self) -> int:
        """The stream's watermark after the last event, of one at least; it was decided."""
        assert self.mark_ms is not None
        return int(self.mark_ms[-1])

    def __len__(self) -> int:
        return len(self.offset)

    def take(self, rows: NDArray[np.intp] | slice) -> EventBatch:
        """The events at ``rows`` (indices or a slice), in that order."""
        return EventBatch(
            source=self.source[rows],
            offset=self.offset[rows],
            time_ms=self.time_ms[rows],
            record=self.record[rows],
            rejection=self.rejection[rows],
            event_id=self.event_id[rows],
            numeric=self.numeric[rows],
            text=tuple(column[rows] for column in self.text),
            label=self.label[rows],
            mark_ms=None if self.mark_ms is None else self.mark_ms[rows],
            is_label=None if self.is_label is None else self.is_label[rows],
            original=self.original,
        )

    @staticmethod
    def concatenate(batches: Sequence[EventBatch]) -> EventBatch:
        """Join several batches (at least one) into one, one after the other."""
        if len(batches) == 1:
            return batches[0]
        return EventBatch(
            source=np.concatenate([b.source for b in batches]),
            offset=np.concatenate([b.offset for b in batches]),
            time_ms=np.concatenate([b.time_ms for b in batches]),
            record=np.concatenate([b.record for b in batches]),
            rejection=np.concatenate([b.rejection for b in batches]),
            event_id=np.concatenate([b.event_id for b in batches]),
            numeric=np.concatenate([b.numeric for b in batches]),
            text=tuple(
                np.concatenate(columns) for columns in zip(*(b.text for b in batches), strict=True)
            ),
            label=np.concatenate([b.label for b in batches]),
            is_label=_label_rows(batches),
            original=next((b.original for b in batches if b.original is not None), None),
        )


def _label_rows(batches: Sequence[EventBatch]) -> NDArray[np.bool_] | None:
    """``is_label`` of batches one after the other; None where no batch has any."""
    if all(batch.is_label is None for batch in batches):
        return None
    return np.concatenate(
        [
            np.zeros(len(batch), dtype=bool) if batch.is_label is None else batch.is_label
            for batch in batches
        ]
    )


def object_column(values: Sequence[Any] | NDArray[Any]) -> Objects:
    """A one-dimensional object array of ``values``, even where they are tuples of one length."""
    # Assigned as a whole, each text would be looked through for the depth of the array.
    return np.fromiter(values, dtype=object, count=len(values))
