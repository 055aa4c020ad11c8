"""Fields out of the bytes of records that are not JSON: Avro or Protobuf.

Their libraries make JSON's values of a record, and msgspec takes these into the very types that it
reads JSON into. So a field's type, path and absence mean the same in every format, and a value that
does not fit is refused in the same words, with its field named.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, get_args

import msgspec
import numpy as np

from stream_detector.config.models.config import EventConfig
from stream_detector.decoding.json_reader import FieldValues, JsonReader, field_at, without_value
from stream_detector.decoding.structs import routes_of, struct_of
from stream_detector.events import Objects, PlainRecord, Record, Rejection, TopicPartition
from stream_detector.formats.errors import PayloadError
from stream_detector.formats.reader import FormatReader
from stream_detector.formats.wanted import Wanted, wanted_tree

_ERRORS = (msgspec.MsgspecError, RecursionError)


def wanted_of(names: Sequence[str]) -> Wanted:
    """Return the tree of the fields of these names."""
    return wanted_tree(route for name in names for route in routes_of(name))


class FormatEvents:
    """Reads fields out of a format's records. State: what the format's reader made of schemas."""

    def __init__(
        self,
        event: EventConfig,
        fields: Mapping[str, tuple[Any, Any]],
        make_reader: Callable[[Wanted], FormatReader],
    ) -> None:
        """``fields`` as of ``JsonReader``; ``make_reader`` makes the format's for those wanted.

        Raises ``ValueError`` where two fields contradict (one inside the other).
        """
        self._event = event
        struct, self._columns = struct_of({name: own for name, (own, _) in fields.items()})
        wide = struct_of({name: any_kind for name, (_, any_kind) in fields.items()})[0]
        self._convert: Callable[[Any], Any] = partial(msgspec.convert, type=struct)
        self._convert_wide: Callable[[Any], Any] = partial(msgspec.convert, type=wide)
        self._blank = struct()
        # Fields that lie in one place at the top need no struct: their columns and types will do.
        self._flat = {name: _types_of(own) for name, (own, _) in fields.items()}
        if any(routes_of(name) != [(name,)] for name in fields):
            self._flat = {}
        # What is inside of an envelope stands nowhere in the names: all of it is read.
        enveloped = event.envelope is not None
        self._json = JsonReader(event, fields) if enveloped else None
        self._reader = make_reader({} if enveloped else wanted_of(list(fields)))

    def original(self, record: Record) -> Any:
        """Return the whole event of a record. Raises ``PayloadError``."""
        return self._reader.whole(record)

    def read(
        self, source: TopicPartition, records: Sequence[Record], rejection: Objects
    ) -> FieldValues:
        """As ``JsonReader.read``."""
        sizes = np.fromiter((len(each.value or b"") for each in records), np.int64, len(records))
        # Bytes are a third longer as base64.
        long: list[int] = np.flatnonzero(sizes * 2 > self._event.max_text_length).tolist()
        if self._flat:
            most = self._event.max_bytes
            found = self._reader.read_columns(source, records, most)
            if found is not None and (columns := self._typed(found, len(records))) is not None:
                return FieldValues(columns.__getitem__, long)
        objects = self._objects(source, records, rejection)
        if self._json is not None:
            inside = [_as_json(record, one) for record, one in zip(records, objects, strict=True)]
            said = rejection.copy()
            fields = self._json.read(source, inside, rejection)
            rejection[:] = [own or found for own, found in zip(said, rejection, strict=True)]
            return replace(fields, long_rows=long)
        if (columns := self._columns_at_once(objects)) is not None:
            return FieldValues(columns.__getitem__, long)
        events = self._events(objects, rejection)
        as_typed = set(map(type, events)) <= {type(self._blank)}
        return FieldValues(lambda name: self._columns[name](events), long, as_typed)

    def _objects(
        self, source: TopicPartition, records: Sequence[Record], rejection: Objects
    ) -> list[Any]:
        """JSON's values of each record; None, with its rejection, where it cannot be read."""
        most = self._event.max_bytes
        whole = self._json is not None
        if not whole and (together := self._reader.read_many(source, records, most)) is not None:
            return together
        objects: list[Any] = []
        read = self._reader.read
        for row, record in enumerate(records):
            event = None
            if (nothing := without_value(record)) is not None:
                rejection[row] = nothing
            elif len(record.value or b"") > most:
                size = len(record.value or b"")
                message = f"{size} bytes, the limit is {most}"
                rejection[row] = Rejection("decode", "too_large", message)
            else:
                try:
                    event = read(source, record, whole=whole)
                except PayloadError as error:
                    rejection[row] = Rejection("decode", error.reason, str(error)[:300])
            objects.append(event)
        return objects

    def _columns_at_once(self, objects: list[Any]) -> dict[str, list[Any]] | None:
        """Each field's values, where all events are objects with only values of the right types."""
        if not self._flat or set(map(type, objects)) != {dict}:
            return None
        found = {name: [event.get(name) for event in objects] for name in self._flat}
        return self._typed(found, len(objects))

    def _typed(self, found: dict[str, list[Any]], rows: int) -> dict[str, list[Any]] | None:
        """Return a column for each field, where all values are of the right types."""
        columns = {}
        for name, types in self._flat.items():
            column = found.get(name)
            columns[name] = column = [None] * rows if column is None else column
            if not set(map(type, column)) <= types:
                return None
        return columns

    def _events(self, objects: list[Any], rejection: Objects) -> list[Any]:
        """An event of each object; a blank one, with its rejection, where it does not fit."""
        events: list[Any] = []
        rest = map(self._convert, objects)
        while len(events) < len(objects):
            try:
                events.extend(rest)  # as far as the next one that does not fit
            except _ERRORS:
                row = len(events)
                event, message = self._again(objects[row])
                events.append(event)
                if not message:
                    rest = map(self._convert_wide, objects[row + 1 :])
                elif rejection[row] is None:
                    rejection[row] = Rejection("decode", "wrong_type", message, field_at(message))
        return events

    def _again(self, found: Any) -> tuple[Any, str]:
        """The event that texts may stand for numbers in; else a blank one, and why."""
        try:
            return self._convert(found), ""
        except _ERRORS as error:
            message = str(error)[:300]
        try:
            return self._convert_wide(found), ""
        except _ERRORS:
            return self._blank, message


def _types_of(kinds: Any) -> frozenset[type]:
    """Return the types of values that a field's type takes: msgspec takes 5 for a float."""
    types = set(get_args(kinds))
    return frozenset(types | {int} if float in types else types)


def _as_json(record: Record, event: Any) -> PlainRecord:
    value = None if event is None else msgspec.json.encode(event)
    return PlainRecord(record.offset, record.timestamp, record.key, value, record.headers or ())
