"""From bytes to columns. A record that cannot be used becomes a ``Rejection``, never an exception.

What reads fields out of records gives the values of one field of all of them; here they become
columns, by the spelling of each, and what cannot be used is said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from types import NoneType
from typing import Any

import numpy as np

from stream_detector.cells import (
    PLAIN,
    is_missing,
    join_parts,
)
from stream_detector.cells.times import LATEST_TIME_MS, TimeFormat
from stream_detector.config.derived.field_plan import FieldPlan
from stream_detector.config.models.config import Config, EventConfig, LabelsConfig
from stream_detector.decoding.columns import boolean_column, holds_text, number_column
from stream_detector.decoding.format_events import FormatEvents
from stream_detector.decoding.json_reader import FieldReader, FieldValues, JsonReader, Values
from stream_detector.decoding.label_values import read_label, text_of
from stream_detector.decoding.spellings import missing_values, number_spellings
from stream_detector.events import (
    NO_TIMESTAMP,
    ColumnarRecords,
    ColumnKind,
    EventBatch,
    Float64,
    Int64,
    Objects,
    Record,
    Rejection,
    TopicPartition,
    object_column,
)
from stream_detector.formats.reader import FormatReader
from stream_detector.formats.wanted import Wanted

REASONS = (
    "unreadable",
    "tombstone",
    "empty",
    "too_large",
    "malformed",
    "too_deep",
    "wrong_type",
    "missing_field",
    "out_of_range",
    "text_too_long",
    "schema_unknown",
    "time_invalid",
    "time_ahead",
    "time_behind",
)
"""Every reason that a rejection may carry: the values of a metric label, so a fixed list."""

LARGEST_NUMBER = 1e100
"""A number beyond this is refused: its square must stay finite in every running moment."""

_OFFSET, _TIMESTAMP = attrgetter("offset"), attrgetter("timestamp")
_NUMBER, _WIDE_NUMBER = float | None, float | str | None
_BOOLEAN, _WIDE_BOOLEAN = bool | int | None, bool | int | float | str | None
_TEXT = str | int | float | bool | None


class Decoder:
    """Decodes the records of one source at a time into an ``EventBatch``. Holds no state."""

    def __init__(
        self,
        config: Config,
        plan: FieldPlan,
        make_reader: Callable[[Wanted], FormatReader] | None = None,
    ) -> None:
        """``make_reader``: of a format other than JSON, for the fields that are wanted."""
        self._plan = plan
        self._event: EventConfig = config.event
        self._labels: LabelsConfig | None = config.labels
        self._spellings = number_spellings(config, plan)
        self._missing = missing_values(config)
        self._time_names = config.event.time.names if config.event.time is not None else ()
        self._label_field = config.labels.field if config.labels else None
        self._reader: JsonReader | FormatEvents = JsonReader(self._event, self._fields())
        self._original: Callable[[Record], Any] | None = None
        if make_reader is not None:
            self._reader = FormatEvents(self._event, self._fields(), make_reader)
            self._original = self._reader.original
        self._kinds = self._column_kinds()

    def _fields(self) -> dict[str, tuple[Any, Any]]:
        """The JSON types of each field that is read: as it should be, and any that can be read."""
        fields: dict[str, tuple[Any, Any]] = {}
        for name in self._plan.numeric:
            wide = _WIDE_BOOLEAN if name in self._plan.boolean else _WIDE_NUMBER
            own = _NUMBER if name not in self._spellings else _WIDE_NUMBER
            fields[name] = (_BOOLEAN if name in self._plan.boolean else own, wide)
        for other in (*self._plan.text, self._event.id, *self._time_names, self._label_field):
            if other is not None:
                fields[other] = (_TEXT, _TEXT)
        return fields

    def _column_kinds(self) -> dict[str, ColumnKind] | None:
        """What each field is read as where records lie in columns; None where bytes are needed."""
        boolean, time = self._plan.boolean, self._event.time
        kinds: dict[str, ColumnKind] = {
            name: "boolean" if name in boolean else "number" for name in self._plan.numeric
        }
        texts = {*self._plan.text, *self._time_names, self._event.id, self._label_field} - {None}
        missing = any(self._missing.get(name, self._missing[""]) for name in kinds)
        if self._event.envelope is not None or texts & kinds.keys() or missing:
            return None
        kinds |= {name: "text" for name in texts if name is not None}
        others = (*self._plan.text, self._event.id)
        if time is not None and time.format in ("auto", "iso8601") and len(self._time_names) == 1:
            kinds |= {name: "time" for name in self._time_names if name not in others}
        return kinds

    def decode(self, source: TopicPartition, records: Sequence[Record]) -> EventBatch:
        """Columns of ``records``; a bad one has its ``rejection`` set and is all missing."""
        rejection = np.full(len(records), None, dtype=object)
        columns = self._from_columns(records)
        fields = (
            FieldValues(columns.__getitem__)
            if columns is not None
            else self._reader.read(source, records, rejection)
        )
        numeric = self._numeric(fields, rejection)
        text = tuple(self._text(fields, name, rejection) for name in self._plan.text)
        event_id = (
            self._text(fields, self._event.id, rejection)
            if self._event.id is not None
            else np.full(len(records), None, dtype=object)
        )
        offset, stamps = _places(records)
        time_ms = self._time(fields.of, stamps, offset, rejection)
        time_ms[rejection != None] = NO_TIMESTAMP  # noqa: E711 - elementwise on an object array
        source_column = np.empty(len(records), dtype=object)
        source_column.fill(source)
        return EventBatch(
            source=source_column,
            offset=offset,
            time_ms=time_ms,
            record=object_column(records),
            rejection=rejection,
            event_id=event_id,
            numeric=numeric,
            text=text,
            label=self._label(fields.of, len(records)),
            original=self._original,
        )

    def _from_columns(self, records: Sequence[Record]) -> Mapping[str, Values] | None:
        """Columns of records that lie in columns; None where their bytes have to be read."""
        if not isinstance(records, ColumnarRecords) or self._kinds is None:
            return None
        event = self._event
        return records.columns(self._kinds, event.max_bytes, event.max_text_length)

    def _numeric(self, fields: FieldValues, rejection: Objects) -> Float64:
        columns = np.empty((len(rejection), len(self._plan.numeric)))
        for index, name in enumerate(self._plan.numeric):
            column = self._number_column(fields, name, rejection)
            if self._original is not None:
                column[np.isinf(column)] = np.nan  # as in JSON, where there is no such number
            columns[:, index] = column
            if name in self._plan.required:
                for row in np.flatnonzero(np.isnan(column)):
                    _reject(rejection, row, "missing_field", f"{name} is missing", name)
            low, high = self._plan.ranges.get(name, (-LARGEST_NUMBER, LARGEST_NUMBER))
            for row in np.flatnonzero((column < low) | (column > high)):
                message = f"{name} is {column[row]:g}, outside {low:g} to {high:g}"
                _reject(rejection, row, "out_of_range", message, name)
            if name in self._plan.boolean:
                for row in np.flatnonzero((column != 0) & (column != 1) & ~np.isnan(column)):
                    _reject(rejection, row, "wrong_type", f"{name} is neither true nor false", name)
        return columns

    def _number_column(self, fields: FieldValues, name: str, rejection: Objects) -> Float64:
        missing = self._missing.get(name, self._missing[""])
        values = fields.of(name)
        if isinstance(values, np.ndarray):
            return values
        typed = fields.as_typed and name not in self._spellings
        if not missing and (typed or not holds_text(values)):
            try:
                column: Float64 = np.array(values, dtype=np.float64)
            except (ValueError, TypeError, OverflowError):  # an integer of 400 digits
                pass
            else:
                return column
        if name in self._plan.boolean:
            column, faults = boolean_column(values, missing)
        else:
            column, faults = number_column(values, self._spellings.get(name, PLAIN), missing)
        for row, why in faults:
            _reject(rejection, row, "wrong_type", f"{name}: {why}", name)
        return column

    def _text(self, fields: FieldValues, name: str, rejection: Objects) -> Objects:
        values = fields.of(name)
        kinds = set(map(type, values))
        if kinds == {int}:
            values = list(map(str, values))
        elif not kinds <= {str}:
            values = list(map(text_of, values))
        if missing := self._missing.get(name, self._missing[""]):
            values = [None if value in missing else value for value in values]
        limit = self._event.max_text_length
        if name in self._plan.required and None in values:
            for row, value in enumerate(values):
                if value is None:
                    _reject(rejection, row, "missing_field", f"{name} is missing", name)
        column = object_column(values)
        for row in fields.long_rows:
            value = column[row]
            if value is not None and len(value) > limit:
                message = f"{name} has {len(value)} characters, the limit is {limit}"
                _reject(rejection, row, "text_too_long", message, name)
                column[row] = None
        return column

    def _time(
        self,
        read: FieldReader,
        stamps: Int64,
        offset: Int64,
        rejection: Objects,
    ) -> Int64:
        if self._event.time is None:
            # A source without timestamps (a file): rows count as one a second, see docs.
            times: Int64 = np.where(stamps == NO_TIMESTAMP, offset * 1000, stamps)
            for row in np.flatnonzero((times < 0) | (times >= LATEST_TIME_MS)).tolist():
                early = times[row] < 0
                message = (
                    f"the record's timestamp is {times[row]}; Kafka's are milliseconds since 1970"
                )
                if not early:
                    message += ", and this one would lie after the year 2200: microseconds, say"
                _reject(rejection, row, "time_invalid" if early else "time_ahead", message)
            return times
        name = " ".join(self._time_names)
        columns = [read(each) for each in self._time_names]
        layout = TimeFormat(self._event.time.format, self._event.time.zone)
        if isinstance(columns[0], np.ndarray):
            times = layout.take_moments(columns[0])
        else:
            values = (
                columns[0]
                if len(columns) == 1
                else list(map(join_parts, zip(*columns, strict=True)))
            )
            known = layout.read_many(values)
            times = known if known is not None else self._read_one_by_one(values, layout, rejection)
        limit_ms = int(self._event.max_ahead * 1000)
        for row in map(int, np.flatnonzero((stamps != NO_TIMESTAMP) & (times > stamps + limit_ms))):
            ahead = (times[row] - stamps[row]) / 1000
            message = f"{name} lies {ahead:g} s after the record's timestamp"
            _reject(rejection, row, "time_ahead", message, name)
        return times

    def _read_one_by_one(
        self, values: Sequence[Any], layout: TimeFormat, rejection: Objects
    ) -> Int64:
        name = " ".join(self._time_names)
        missing = self._missing.get(name, self._missing[""])
        times = np.full(len(values), NO_TIMESTAMP, dtype=np.int64)
        for row, value in enumerate(values):
            if value is None or (isinstance(value, str) and is_missing(value, missing)):
                _reject(rejection, row, "missing_field", f"{name} is missing", name)
                continue
            try:
                times[row] = layout.read(value)
            except (ValueError, OverflowError) as error:
                said = f"{str(error)[:200]} (got {str(value)[:60]!r})"
                message = f"{name} is no time of format {layout.pattern}: {said}"
                _reject(rejection, row, "time_invalid", message, name)
        return times

    def _label(self, read: FieldReader, count: int) -> Float64:
        if self._labels is None or self._label_field is None:
            return np.full(count, np.nan)
        values = read(self._label_field)
        if len(set(map(type, values)) - {NoneType}) <= 1:  # of two types, 1 and True are one key
            labels = self._labels
            known = {value: read_label(value, labels) for value in set(values)}
            return np.array(list(map(known.__getitem__, values)), dtype=np.float64)
        return np.array([read_label(value, self._labels) for value in values], dtype=np.float64)


def _places(records: Sequence[Record]) -> tuple[Int64, Int64]:
    """Offsets and timestamps of records."""
    if isinstance(records, ColumnarRecords):
        return records.offsets, records.timestamps
    offsets = np.fromiter(map(_OFFSET, records), np.int64, len(records))
    return offsets, np.fromiter(map(_TIMESTAMP, records), np.int64, len(records))


def _reject(
    rejection: Objects, row: int | np.intp, reason: str, message: str, field: str | None = None
) -> None:
    """The first reason found stands."""
    if rejection[row] is None:
        rejection[row] = Rejection("decode", reason, message, field)
