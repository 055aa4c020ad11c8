"""Labels that come on a topic of their own: the id of an event, and what it turned out to be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np

from stream_detector.config.derived.field_plan import FieldPlan
from stream_detector.config.models.config import LabelsConfig
from stream_detector.decoding.label_values import read_label
from stream_detector.decoding.times import read_time
from stream_detector.events import (
    NO_TIMESTAMP,
    EventBatch,
    Record,
    Rejection,
    TopicPartition,
    UnreadableRecord,
    object_column,
)
from stream_detector.foreign import json_of, looks_like
from stream_detector.formats.errors import PayloadError
from stream_detector.formats.reader import FormatReader
from stream_detector.formats.wanted import Wanted

MAX_BYTES = 16_384
_MAX_ID = 1024


class _Message(msgspec.Struct):
    """``time`` is when the label became known; without it the record's timestamp counts."""

    event_id: str | int
    label: str | int | float | bool
    time: str | int | float | None = None


class LabelDecoder:
    """Decodes the records of the labels' topic into rows that merge with events. Holds no state."""

    def __init__(
        self,
        labels: LabelsConfig,
        plan: FieldPlan,
        make_reader: Callable[[Wanted], FormatReader] | None = None,
    ) -> None:
        """``make_reader``: of a format other than JSON, for the fields that are wanted."""
        self._reader = None
        if make_reader is not None:
            self._reader = make_reader({"event_id": {}, "label": {}, "time": {}})
        self._labels = labels
        self._plan = plan
        self._decode = msgspec.json.Decoder(_Message).decode

    def decode(self, source: TopicPartition, records: Sequence[Record]) -> EventBatch:
        """Rows with ``is_label``, ``event_id``, ``time_ms`` and ``label``; all else missing."""
        count = len(records)
        ids: list[str | None] = []
        rejections: list[Rejection | None] = []
        labels, times = np.full(count, np.nan), np.full(count, NO_TIMESTAMP, dtype=np.int64)
        for row, record in enumerate(records):
            try:
                message = self._read(source, record)
                labels[row] = self._label(message.label)
                times[row] = record.timestamp
                if message.time is not None:
                    times[row] = _time(message.time)
            except _BadLabelError as error:
                ids.append(None)
                rejections.append(Rejection("decode", error.reason, str(error)))
                times[row] = NO_TIMESTAMP
            else:
                ids.append(str(message.event_id))
                rejections.append(None)
        source_column = np.empty(count, dtype=object)
        source_column.fill(source)
        nothing = object_column([None] * count)
        return EventBatch(
            source=source_column,
            offset=np.fromiter((r.offset for r in records), np.int64, count),
            time_ms=times,
            record=object_column(records),
            rejection=object_column(rejections),
            event_id=object_column(ids),
            numeric=np.full((count, len(self._plan.numeric)), np.nan),
            text=tuple(nothing for _ in self._plan.text),
            label=labels,
            is_label=np.ones(count, dtype=bool),
        )

    def _label(self, value: Any) -> float:
        label = read_label(value, self._labels)
        if np.isnan(label):
            raise _BadLabelError("wrong_type", f"the label is {value!r:.80}")
        return label

    def _read(self, source: TopicPartition, record: Record) -> _Message:
        if isinstance(record, UnreadableRecord):
            raise _BadLabelError("unreadable", record.problem)
        value = record.value
        if value is None:
            raise _BadLabelError("tombstone", "the record has no value")
        if not value:
            raise _BadLabelError("empty", "the value is empty")
        if len(value) > MAX_BYTES:
            raise _BadLabelError("too_large", f"{len(value)} bytes, the limit is {MAX_BYTES}")
        try:
            if self._reader is None:
                message = self._decode(json_of(value))
            else:
                message = msgspec.convert(self._reader.read(source, record), _Message)
        except PayloadError as error:
            raise _BadLabelError(error.reason, str(error)[:300]) from error
        except msgspec.ValidationError as error:
            raise _BadLabelError("wrong_type", str(error)[:300]) from error
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            what = looks_like(value)
            said = str(error)[:300] + (f". It looks like {what}" if what is not None else "")
            raise _BadLabelError("malformed", said) from error
        if len(str(message.event_id)) > _MAX_ID:
            raise _BadLabelError("text_too_long", "event_id is too long")
        return message


class _BadLabelError(Exception):
    """Why a record is no label. Never leaves this module."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def _time(value: Any) -> int:
    try:
        return read_time(value, "auto")
    except (ValueError, OverflowError) as error:
        raise _BadLabelError("time_invalid", f"time is none: {str(error)[:200]}") from error
