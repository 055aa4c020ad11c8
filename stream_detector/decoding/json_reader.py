"""Fields out of the bytes of records, which are JSON.

JSON is read by msgspec into a ``Struct`` made for the configuration: only the fields that are used
are built, and types are checked while parsing. Numbers in quotes, words for missing values and the
like do not fit those types: from the first on, a batch is read into a second ``Struct`` that takes
texts too, and these are read by the column's spelling.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_detector.config.models.config import EventConfig
from stream_detector.decoding.envelopes import EnvelopeError, open_envelope
from stream_detector.decoding.structs import struct_of
from stream_detector.events import Objects, Record, Rejection, TopicPartition, UnreadableRecord
from stream_detector.foreign import json_of, looks_like

Values: TypeAlias = Sequence[Any] | NDArray[Any]
"""What many records hold in a field: JSON values and None, or a column already."""

FieldReader: TypeAlias = Callable[[str], Values]
"""Gives the values of a field, in the order of the records."""

_AT_FIELD = re.compile(r"at `\$\.(.+?)`")
_RUNBOOK = "docs/runbook.md#streamdetectorrejectingevents"
_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


@dataclass(frozen=True, slots=True)
class FieldValues:
    """What was read out of records.

    Attributes:
        of: gives the values of a field.
        long_rows: rows that may hold a text that is too long.
        as_typed: whether no value is of another type than its field should have.
    """

    of: FieldReader
    long_rows: Sequence[int] = ()
    as_typed: bool = True


class JsonReader:
    """Reads fields out of JSON. Holds no state."""

    def __init__(self, event: EventConfig, fields: Mapping[str, tuple[Any, Any]]) -> None:
        """``fields``: the types of each, as it should be and of all that can be read.

        Raises ``ValueError`` where two fields contradict (one inside the other).
        """
        self._event = event
        self._about = any(name.startswith("@") for name in fields)
        struct, self._columns = struct_of({name: own for name, (own, _) in fields.items()})
        wide = struct_of({name: any_kind for name, (_, any_kind) in fields.items()})[0]
        self._decode: Callable[[bytes], Any] = msgspec.json.Decoder(struct).decode
        self._decode_wide: Callable[[bytes], Any] = msgspec.json.Decoder(wide).decode
        self._blank = struct()

    def read(
        self, _source: TopicPartition, records: Sequence[Record], rejection: Objects
    ) -> FieldValues:
        """Fields of records.

        Where a record cannot be read, ``rejection`` says why, and all its fields are None.
        """
        values = [record.value or b"" for record in records]
        sizes = np.fromiter(map(len, values), np.int64, len(values))
        for row in np.flatnonzero(sizes > self._event.max_bytes).tolist():
            message = f"{sizes[row]} bytes, the limit is {self._event.max_bytes}"
            rejection[row] = Rejection("decode", "too_large", message)
            values[row] = b""
        if self._event.format == "json_schema":
            values = list(map(json_of, values))  # each has a registry's prefix
        if self._event.envelope is not None:
            self._open(records, values, rejection)
        events = self._parse(records, values, rejection)
        # A record shorter than the limit cannot hold a longer text.
        long: list[int] = np.flatnonzero(sizes > self._event.max_text_length).tolist()
        as_typed = set(map(type, events)) <= {type(self._blank)}
        return FieldValues(lambda name: self._columns[name](events), long, as_typed)

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
                if rejection[row] is None or isinstance(records[row], UnreadableRecord):
                    nothing = without_value(records[row])
                    rejection[row] = nothing or _parse_rejection(found, values[row])
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


def without_value(record: Record) -> Rejection | None:
    """Why there is nothing to read of a record; None where there is something."""
    if isinstance(record, UnreadableRecord):
        return Rejection("decode", "unreadable", record.problem)
    if record.value:
        return None
    if record.value is None:
        return Rejection("decode", "tombstone", "the record has no value")
    return Rejection("decode", "empty", "the value is empty")


def _parse_rejection(error: Exception, value: bytes) -> Rejection:
    message = str(error)[:300]
    # A field of a wrong type says where it is; an object with one is what was expected.
    if (what := looks_like(value)) is not None and "$." not in message:
        message = f"{message}. It looks like {what}; see {_RUNBOOK}"
    if isinstance(error, RecursionError):
        return Rejection("decode", "too_deep", "nested too deeply")
    if isinstance(error, msgspec.ValidationError):
        return Rejection("decode", "wrong_type", message, field_at(message))
    return Rejection("decode", "malformed", message)


def field_at(message: str) -> str | None:
    """The field that msgspec names: ``Expected `float`, got `str` - at `$.a.b` ``."""
    found = _AT_FIELD.search(message)
    return found[1] if found is not None else None
