"""What a caller gives as events, as the records that the daemon's decoder reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeAlias

import numpy as np

from stream_detector.api.frames import FrameReader, is_frame
from stream_detector.api.values import EventWriter, UnusableValueError
from stream_detector.config import Config, FieldPlan
from stream_detector.connectors.base import Fetched
from stream_detector.events import (
    NO_TIMESTAMP,
    PlainRecord,
    Record,
    TopicPartition,
    UnreadableRecord,
)

CHUNK_ROWS = 5000
"""Events that are turned into records at a time, so that a generator is never held whole."""

_SHOWN_BYTES = 200

Values: TypeAlias = Sequence["bytes | UnusableValueError | None"]
"""JSON of events, None for a record without a value, or why there is none."""


class EventReader:
    """Reads events of every form that is taken. Holds no state."""

    def __init__(self, config: Config) -> None:
        plan = FieldPlan.of(config)
        time = config.event.time
        fields = {*plan.numeric, *plan.text}
        fields |= {name for name in (config.event.id, time and time.field) if name}
        if config.labels is not None and config.labels.field is not None:
            fields.add(config.labels.field)
        name, pattern = (time.field, time.format) if time is not None else (None, "auto")
        self._writer = EventWriter(name, pattern, frozenset(fields))
        self._frames = FrameReader(config, self._writer)

    def read(self, events: Any) -> Iterator[Values]:
        """JSON of the events, some thousands at a time.

        Raises ``TypeError`` for what are no events, ``FrameError`` for a frame that does not fit.
        """
        if is_frame(events):
            yield from self._frames.read(events, CHUNK_ROWS)
        elif isinstance(events, Mapping):
            yield [self._event(events)]
        elif isinstance(events, bytes | bytearray | memoryview):
            lines = (line for line in bytes(events).splitlines() if line.strip())
            yield from _chunks(lines)
        elif isinstance(events, Iterable) and not isinstance(events, str | np.ndarray):
            if hasattr(events, "dtype"):
                raise TypeError(_no_events(events))
            yield from _chunks(map(self._event, events))
        else:
            raise TypeError(_no_events(events))

    def _event(self, event: Any) -> bytes | UnusableValueError | None:
        if isinstance(event, Mapping):
            try:
                return self._writer.write(event)
            except UnusableValueError as error:
                return error
        if isinstance(event, bytes | bytearray | memoryview):
            return bytes(event)
        if isinstance(event, str):
            return event.encode("utf-8", "surrogatepass")  # decoding refuses what is no UTF-8
        if event is None:
            return None
        raise TypeError(_no_event(event))


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
        """Whether all events were returned."""
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


def _no_events(given: object) -> str:
    kind = f"{type(given).__module__.split('.')[0]}.{type(given).__name__}"
    if isinstance(given, str):
        return (
            "events are given as text, which may be a path or JSON. A file: Path(name).read_bytes()"
            " for JSON Lines, pandas.read_csv(name) for CSV, or backtest(config, name). JSON "
            "Lines: text.encode()"
        )
    if hasattr(given, "dtype"):
        return (
            f"{kind} has no names of fields: give a frame, for example pandas.DataFrame(array, "
            "columns=[...]), or dicts"
        )
    return f"{kind} holds no events: give dicts, bytes of JSON Lines or a frame"


def _no_event(given: object) -> str:
    kind = f"{type(given).__module__.split('.')[0]}.{type(given).__name__}"
    if hasattr(given, "_asdict"):
        return f"an event is a dict, not {kind} (a named tuple): give row._asdict()"
    if hasattr(given, "to_dict"):
        return f"an event is a dict, not {kind}: give row.to_dict(), or the whole frame at once"
    if isinstance(given, tuple | list):
        return (
            f"an event is a dict, not {kind}: its values need names, dict(zip(names, row)); a "
            "stream of River's (x, y) pairs: (x for x, y in stream)"
        )
    if isinstance(given, float | int):
        return f"an event is a dict, not {kind}: its value needs a name, {{'value': {given!r}}}"
    return f"an event is a dict or bytes of JSON, not {kind}"
