"""From bytes to columns. A record that cannot be used becomes a ``Rejection``, never an exception.

JSON is read by msgspec into a ``Struct`` made for the configuration: only the fields that are used
are built, and types are checked while parsing. Numbers in quotes, words for missing values and the
like do not fit those types: from the first on, a batch is read into a second ``Struct`` that takes
texts too, and these are read by the column's spelling.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from operator import attrgetter
from types import NoneType
from typing import Any

import msgspec
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
from stream_detector.decoding.envelopes import EnvelopeError, open_envelope
from stream_detector.decoding.label_values import read_label, text_of
from stream_detector.decoding.spellings import missing_values, number_spellings
from stream_detector.decoding.structs import struct_of
from stream_detector.events import (
    NO_TIMESTAMP,
    EventBatch,
    Float64,
    Int64,
    Objects,
    Record,
    Rejection,
    TopicPartition,
    UnreadableRecord,
    object_column,
)
from stream_detector.foreign import json_of, looks_like

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
    "time_invalid",
    "time_ahead",
    "time_behind",
)
"""Every reason that a rejection may carry: the values of a metric label, so a fixed list."""

LARGEST_NUMBER = 1e100
"""A number beyond this is refused: its square must stay finite in every running moment."""

_AT_FIELD = re.compile(r"at `\$\.(.+?)`")
_RUNBOOK = "docs/runbook.md#streamdetectorrejectingevents"

_OFFSET, _TIMESTAMP = attrgetter("offset"), attrgetter("timestamp")
_NUMBER, _WIDE_NUMBER = float | None, float | str | None
_BOOLEAN, _WIDE_BOOLEAN = bool | int | None, bool | int | float | str | None
_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_TEXT = str | int | float | bool | None


class Decoder:
    """Decodes the records of one source at a time into an ``EventBatch``. Holds no state."""

    def __init__(self, config: Config, plan: FieldPlan) -> None:
        self._plan = plan
        self._event: EventConfig = config.event
        self._labels: LabelsConfig | None = config.labels
        self._spellings = number_spellings(config, plan)
        self._missing = missing_values(config)
        self._time_names = config.event.time.names if config.event.time is not None else ()
        self._label_field = config.labels.field if config.labels else None
        fields: dict[str, Any] = {}
        for name in plan.numeric:
            own = _NUMBER if name not in self._spellings else _WIDE_NUMBER
            fields[name] = _BOOLEAN if name in plan.boolean else own
        wide = {
            name: _WIDE_BOOLEAN if name in plan.boolean else _WIDE_NUMBER for name in plan.numeric
        }
        for other in (*plan.text, config.event.id, *self._time_names, self._label_field):
            if other is not None:
                fields[other] = wide[other] = _TEXT
        self._about = any(name.startswith("@") for name in fields)
        struct, self._columns = struct_of(fields)
        self._decode: Callable[[bytes], Any] = msgspec.json.Decoder(struct).decode
        self._decode_wide: Callable[[bytes], Any] = msgspec.json.Decoder(struct_of(wide)[0]).decode
        self._blank = struct()

    def decode(self, source: TopicPartition, records: Sequence[Record]) -> EventBatch:
        """Columns of ``records``; a bad one has its ``rejection`` set and is all missing."""
        rejection = np.full(len(records), None, dtype=object)
        values = [record.value or b"" for record in records]
        sizes = np.fromiter(map(len, values), np.int64, len(values))
        for row in np.flatnonzero(sizes > self._event.max_bytes).tolist():
            message = f"{sizes[row]} bytes, the limit is {self._event.max_bytes}"
            rejection[row] = Rejection("decode", "too_large", message)
            values[row] = b""
        if self._event.envelope is not None:
            self._open(records, values, rejection)
        events = self._parse(records, values, rejection)
        # A record shorter than the limit cannot hold a longer text.
        long = np.flatnonzero(sizes > self._event.max_text_length).tolist()
        numeric = self._numeric(events, rejection)
        text = tuple(self._text(events, name, rejection, long) for name in self._plan.text)
        event_id = (
            self._text(events, self._event.id, rejection, long)
            if self._event.id is not None
            else np.full(len(records), None, dtype=object)
        )
        offset = np.fromiter(map(_OFFSET, records), np.int64, len(records))
        time_ms = self._time(events, records, offset, rejection)
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
            label=self._label(events),
        )

    def _open(self, records: Sequence[Record], values: list[bytes], rejection: Objects) -> None:
        """Put the event inside of its envelope in the place of each value."""
        assert self._event.envelope is not None
        for row, value in enumerate(values):
            if not value:
                continue
            try:
                values[row] = open_envelope(
                    value, self._event.envelope, records[row].headers or (), about=self._about
                )
            except EnvelopeError as error:
                rejection[row] = error.rejection
                values[row] = b""

    def _parse(
        self, records: Sequence[Record], values: list[bytes], rejection: Objects
    ) -> list[Any]:
        """An event of each value; a blank one, with its rejection, for each that cannot be read.

        ``values`` has the JSON inside of what only has a prefix, afterwards.
        """
        events: list[Any] = []
        rest = map(self._decode, values)
        while len(events) < len(values):
            try:
                events.extend(rest)  # as far as the next bad one, which is passed then
            except _ERRORS as error:
                row = len(events)
                event, found = self._read_again(values, row, error)
                if event is not None:
                    events.append(event)
                    # Where one number is in quotes, more will be: one type less to fail on.
                    rest = map(self._decode_wide, values[row + 1 :])
                    continue
                events.append(self._blank)
                if isinstance(record := records[row], UnreadableRecord):
                    rejection[row] = Rejection("decode", "unreadable", record.problem)
                if rejection[row] is not None:
                    continue
                if values[row]:
                    rejection[row] = _parse_rejection(found, values[row])
                elif records[row].value is None:
                    rejection[row] = Rejection("decode", "tombstone", "the record has no value")
                else:
                    rejection[row] = Rejection("decode", "empty", "the value is empty")
        return events

    def _read_again(self, values: list[bytes], row: int, error: Exception) -> tuple[Any, Exception]:
        """The event of a value that the quick way has refused, or None and why not."""
        try:
            return self._decode(values[row]), error
        except _ERRORS as narrow:
            error = narrow  # the same reason, whichever type has refused the value first
        inside = json_of(values[row])
        if inside is not values[row]:
            try:
                return self._decode(inside), error
            except _ERRORS as of_inside:
                error, values[row] = of_inside, inside
        if isinstance(error, msgspec.ValidationError):
            try:
                return self._decode_wide(inside), error
            except _ERRORS:
                pass
        return None, error

    def _numeric(self, events: list[Any], rejection: Objects) -> Float64:
        columns = np.empty((len(events), len(self._plan.numeric)))
        for index, name in enumerate(self._plan.numeric):
            column = self._number_column(events, name, rejection)
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

    def _number_column(self, events: list[Any], name: str, rejection: Objects) -> Float64:
        values = self._columns[name](events)
        missing = self._missing.get(name, self._missing[""])
        if not missing and not holds_text(values):
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

    def _text(
        self, events: list[Any], name: str, rejection: Objects, long: Sequence[int]
    ) -> Objects:
        values = self._columns[name](events)
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
        for row in long:
            value = values[row]
            if value is not None and len(value) > limit:
                message = f"{name} has {len(value)} characters, the limit is {limit}"
                _reject(rejection, row, "text_too_long", message, name)
                values[row] = None
        return object_column(values)

    def _time(
        self, events: list[Any], records: Sequence[Record], offset: Int64, rejection: Objects
    ) -> Int64:
        stamps = np.fromiter(map(_TIMESTAMP, records), np.int64, len(records))
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
        columns = [self._columns[each](events) for each in self._time_names]
        values = (
            columns[0] if len(columns) == 1 else list(map(join_parts, zip(*columns, strict=True)))
        )
        layout = TimeFormat(self._event.time.format, self._event.time.zone)
        read = layout.read_many(values)
        times = read if read is not None else self._read_one_by_one(values, layout, rejection)
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

    def _label(self, events: list[Any]) -> Float64:
        if self._labels is None or self._label_field is None:
            return np.full(len(events), np.nan)
        values = self._columns[self._label_field](events)
        if set(map(type, values)) <= {str, NoneType}:  # elsewhere 1 and True are one key
            labels = self._labels
            known = {value: read_label(value, labels) for value in set(values)}
            return np.array(list(map(known.__getitem__, values)), dtype=np.float64)
        return np.array([read_label(value, self._labels) for value in values], dtype=np.float64)


def _parse_rejection(error: Exception, value: bytes) -> Rejection:
    message = str(error)[:300]
    # A field of a wrong type says where it is; an object with one is what was expected.
    if (what := looks_like(value)) is not None and "$." not in message:
        message = f"{message}. It looks like {what}; see {_RUNBOOK}"
    if isinstance(error, RecursionError):
        return Rejection("decode", "too_deep", "nested too deeply")
    if isinstance(error, msgspec.ValidationError):
        return Rejection("decode", "wrong_type", message, _field_at(message))
    return Rejection("decode", "malformed", message)


def _field_at(message: str) -> str | None:
    """The field that msgspec names: ``Expected `float`, got `str` - at `$.a.b` ``."""
    found = _AT_FIELD.search(message)
    return found[1] if found is not None else None


def _reject(
    rejection: Objects, row: int | np.intp, reason: str, message: str, field: str | None = None
) -> None:
    """The first reason found stands."""
    if rejection[row] is None:
        rejection[row] = Rejection("decode", reason, message, field)
