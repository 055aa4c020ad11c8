"""Events of a caller as the records that the daemon's decoder reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from itertools import islice
from os import PathLike
from typing import Any, TypeAlias

import msgspec
import numpy as np

from stream_detector.api.frames import FrameReader, is_frame
from stream_detector.api.refusals import no_event, no_events
from stream_detector.api.values import EventWriter, UnusableValueError, time_writer
from stream_detector.config import Config, FieldPlan
from stream_detector.connectors.base import Fetched
from stream_detector.connectors.json_records import holds_documents
from stream_detector.events import (
    NO_TIMESTAMP,
    PlainRecord,
    Record,
    TopicPartition,
    UnreadableRecord,
)

CHUNK_ROWS = 5000
"""Events that are turned into records at a time, so that a generator is never held whole."""

Values: TypeAlias = Sequence["bytes | UnusableValueError | None"]
"""JSON of events, None for a record without a value, or why there is none."""


class EventReader:
    """Reads events of every form that is taken. Holds no state."""

    def __init__(self, config: Config) -> None:
        plan = FieldPlan.of(config)
        time = config.event.time
        fields = {*plan.numeric, *plan.text}
        fields |= {name for name in (config.event.id, *(time.names if time else ())) if name}
        if config.labels is not None and config.labels.field is not None:
            fields.add(config.labels.field)
        self._fields = frozenset(fields)
        if time is None:
            self._writer = EventWriter((), time_writer("auto", None))
        else:
            self._writer = EventWriter(time.names, time_writer(time.format, time.zone))
        self._frames = FrameReader(config, self._writer)

    def read(self, events: Any) -> Iterator[Values]:
        """JSON of the events, some thousands at a time.

        Raises ``TypeError`` for what are no events, ``FrameError`` for a frame that does not fit.
        """
        if is_frame(events):
            yield from self._frames.read(events, CHUNK_ROWS)
        elif isinstance(events, Mapping):
            self._refuse_columns(events)
            yield [self._event(events)]
        elif isinstance(events, bytes | bytearray | memoryview):
            yield from _chunks(_documents(bytes(events)))
        elif _is_iterable(events):
            yield from _chunks(map(self._event, events))
        else:
            raise TypeError(no_events(events))

    def _event(self, event: Any) -> bytes | UnusableValueError | None:
        try:
            if isinstance(event, Mapping):
                return self._writer.write(event)
            if is_dataclass(event) and not isinstance(event, type):
                return self._writer.write_object(event)
        except UnusableValueError as error:
            return error
        if isinstance(event, bytes | bytearray | memoryview):
            return bytes(event)
        if isinstance(event, str):
            return event.encode("utf-8", "surrogatepass")  # decoding refuses what is no UTF-8
        if event is None:
            return None
        raise TypeError(no_event(event))

    def _refuse_columns(self, event: Mapping[Any, Any]) -> None:
        """A dict is one event; one of whole columns is meant as a frame."""
        for name in self._fields:
            if isinstance(event.get(name), list | tuple | np.ndarray):
                raise TypeError(
                    f"a dict is one event, and {name} is {type(event[name]).__name__} in it: for "
                    "columns give a frame, pandas.DataFrame(columns)"
                )


class RecordCounter:
    """Numbers records as a file or topic does. State: the next offset."""

    def __init__(self, source: TopicPartition, next_offset: int = 0) -> None:
        self.source = source
        self.next_offset = next_offset

    def number(self, values: Values) -> list[Record]:
        """Records of the next events."""
        start, self.next_offset = self.next_offset, self.next_offset + len(values)
        return [_record(start + row, value) for row, value in enumerate(values)]


class EventSource:
    """A finite source of events at hand, for what reads sources. State: how far it has come."""

    def __init__(self, chunks: Iterator[Values], counter: RecordCounter) -> None:
        self._chunks = chunks
        self._counter = counter
        self._ended = False

    def poll(self, timeout_seconds: float) -> list[Fetched]:  # noqa: ARG002 - never has to wait
        """As ``Source.poll``; raises what reading the events raises."""
        values = next(self._chunks, None)
        if values is None:
            self._ended = True
            return []
        return [Fetched(self._counter.source, self._counter.number(values))] if values else []

    def exhausted(self) -> bool:
        """Tell whether all events were returned."""
        return self._ended

    def close(self) -> None:
        """Nothing to give back."""


def _record(offset: int, value: bytes | UnusableValueError | None) -> Record:
    if isinstance(value, UnusableValueError):
        return UnreadableRecord(offset, NO_TIMESTAMP, b"", str(value))
    return PlainRecord(offset, NO_TIMESTAMP, None, value)


def _chunks(values: Iterator[bytes | UnusableValueError | None]) -> Iterator[Values]:
    while chunk := list(islice(values, CHUNK_ROWS)):
        yield chunk


def _documents(data: bytes) -> Iterator[bytes]:
    """The objects of JSON Lines, of one array, or a single one that is spread over lines."""
    lines: Iterator[bytes] = (line for line in data.splitlines() if line.strip())
    if not holds_documents(data.lstrip().split(b"\n", 1)[0]):
        return lines
    try:
        if data.lstrip()[:1] == b"[":
            return map(bytes, msgspec.json.decode(data, type=list[msgspec.Raw]))
        msgspec.json.decode(data, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return lines  # decoding says what is wrong with each
    return iter([data])


def _is_iterable(events: Any) -> bool:
    """Tell whether its elements may be events: no text, and no arrays of several dimensions."""
    if isinstance(events, str | PathLike) or not isinstance(events, Iterable):
        return False
    if not hasattr(events, "dtype"):
        return True
    return len(getattr(events, "shape", ())) == 1 and not getattr(events.dtype, "names", None)
