"""From bytes to columns. A record that cannot be used becomes a ``Rejection``, never an exception.

JSON is read by msgspec into a ``Struct`` made for the configuration: only the fields that are used
are built, types are checked while parsing, and NaN, Infinity and 1e999 are refused by the parser.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from operator import attrgetter
from types import NoneType
from typing import Any

import msgspec
import numpy as np

from stream_detector.config.derived.field_plan import FieldPlan
from stream_detector.config.models.config import Config, EventConfig, LabelsConfig
from stream_detector.decoding.structs import struct_of
from stream_detector.decoding.times import LATEST_TIME_MS, read_time, read_times
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

_POSITIVE = frozenset(("1", "1.0", "true", "yes", "fraud", "anomalous"))
_NEGATIVE = frozenset(("0", "0.0", "false", "no", "normal", "genuine"))

_AT_FIELD = re.compile(r"at `\$\.(.+?)`")
_RUNBOOK = "docs/runbook.md#streamdetectorrejectingevents"

_OFFSET, _TIMESTAMP = attrgetter("offset"), attrgetter("timestamp")
_NUMBER = float | None
_TEXT = str | int | float | bool | None


def _text_of(value: str | float | bool | None) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


class Decoder:
    """Decodes the records of one source at a time into an ``EventBatch``. Holds no state."""

    def __init__(self, config: Config, plan: FieldPlan) -> None:
        """Raises ``ValueError`` where two fields contradict (one inside the other)."""
        self._plan = plan
        self._event: EventConfig = config.event
        self._labels: LabelsConfig | None = config.labels
        fields: dict[str, Any] = {}
        for name in plan.numeric:
            fields[name] = (bool | int | None) if name in plan.boolean else _NUMBER
        wide = [*plan.text, config.event.id]
        wide.append(config.event.time.field if config.event.time else None)
        self._label_field = config.labels.field if config.labels else None
        wide.append(self._label_field)
        for wide_name in wide:
            if wide_name is not None:
                fields[wide_name] = _TEXT
        struct, self._getters = struct_of(fields)
        self._decode: Callable[[bytes], Any] = msgspec.json.Decoder(struct).decode
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
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                row = len(events)
                inside, found = json_of(values[row]), error
                if inside is not values[row]:
                    try:
                        events.append(self._decode(inside))
                        continue
                    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as of_inside:
                        found, values[row] = of_inside, inside
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

    def _numeric(self, events: list[Any], rejection: Objects) -> Float64:
        columns = np.empty((len(events), len(self._plan.numeric)))
        for index, name in enumerate(self._plan.numeric):
            values = list(map(self._getters[name], events))
            try:
                column = np.array(values, dtype=np.float64)
            except (ValueError, TypeError, OverflowError):  # text where a key is a number too
                column = np.array([_number_or_nan(v) for v in values])
                for row in np.flatnonzero(np.isnan(column)):
                    if values[row] is not None:
                        _reject(rejection, row, "wrong_type", f"{name} is not a number", name)
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

    def _text(
        self, events: list[Any], name: str, rejection: Objects, long: Sequence[int]
    ) -> Objects:
        values = list(map(self._getters[name], events))
        kinds = set(map(type, values))
        if kinds == {int}:
            values = list(map(str, values))
        elif not kinds <= {str}:
            values = list(map(_text_of, values))
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
        name, pattern = self._event.time.field, self._event.time.format
        values = list(map(self._getters[name], events))
        read = read_times(values, pattern)
        times = read if read is not None else self._read_one_by_one(values, rejection)
        limit_ms = int(self._event.max_ahead * 1000)
        for row in map(int, np.flatnonzero((stamps != NO_TIMESTAMP) & (times > stamps + limit_ms))):
            ahead = (times[row] - stamps[row]) / 1000
            message = f"{name} lies {ahead:g} s after the record's timestamp"
            _reject(rejection, row, "time_ahead", message, name)
        return times

    def _read_one_by_one(self, values: Sequence[Any], rejection: Objects) -> Int64:
        assert self._event.time is not None
        name, pattern = self._event.time.field, self._event.time.format
        times = np.full(len(values), NO_TIMESTAMP, dtype=np.int64)
        for row, value in enumerate(values):
            if value is None:
                _reject(rejection, row, "missing_field", f"{name} is missing", name)
                continue
            try:
                times[row] = read_time(value, pattern)
            except (ValueError, OverflowError) as error:
                message = f"{name} is no time of format {pattern}: {str(error)[:200]}"
                _reject(rejection, row, "time_invalid", message, name)
        return times

    def _label(self, events: list[Any]) -> Float64:
        if self._labels is None or self._label_field is None:
            return np.full(len(events), np.nan)
        values = list(map(self._getters[self._label_field], events))
        if set(map(type, values)) <= {str, NoneType}:  # elsewhere 1 and True are one key
            labels = self._labels
            known = {value: read_label(value, labels) for value in set(values)}
            return np.array(list(map(known.__getitem__, values)), dtype=np.float64)
        return np.array([read_label(value, self._labels) for value in values], dtype=np.float64)


def read_label(value: Any, labels: LabelsConfig) -> float:
    """1.0 anomalous, 0.0 normal, NaN unknown."""
    if value is None or value == "":
        return np.nan
    if labels.positive is not None:
        return 1.0 if _text_of(value) in labels.positive else 0.0
    if labels.negative is not None:
        return 0.0 if _text_of(value) in labels.negative else 1.0
    text = str(_text_of(value)).lower()
    if text in _POSITIVE:
        return 1.0
    return 0.0 if text in _NEGATIVE else np.nan


def _number_or_nan(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else np.nan


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
