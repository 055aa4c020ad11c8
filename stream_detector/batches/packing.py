"""Events as bytes between stages: columns and JSON in the form of snapshots, nothing that acts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_detector.detectors.stored import read_array, read_branch
from stream_detector.errors import StateError
from stream_detector.events import (
    EventBatch,
    Objects,
    PlainRecord,
    Record,
    Rejection,
    State,
    TopicPartition,
    object_column,
)
from stream_detector.snapshots import Snapshot, decode, encode
from stream_detector.tables.texts import pack_texts, unpack_texts

NO_RECORD = PlainRecord(0, -1, None, None)
"""Stands for a record that nobody will look at."""


def pack(state: State) -> bytes:
    """Bytes of arrays and JSON, with a checksum. Raises ``TypeError`` on anything else."""
    return bytes(encode(Snapshot({}, state)))


def unpack(data: bytes) -> State:
    """What ``pack`` was given. Raises ``StateError`` where the bytes are damaged."""
    return decode(data).state


def pack_events(
    events: EventBatch,
    recorded: NDArray[np.bool_] | None = None,
    texts: Sequence[int] | None = None,
) -> State:
    """Columns of events.

    Args:
        events: those; ``original`` is left out.
        recorded: (events,) whose records are needed later; None: all.
        texts: text columns that are needed later; None: all.
    """
    sources = sorted(set(events.source.tolist()))
    place = {source: index for index, source in enumerate(sources)}
    kept = range(len(events.text)) if texts is None else texts
    rejected = np.flatnonzero(events.rejection != None)  # noqa: E711 - elementwise
    rows = np.arange(len(events)) if recorded is None else np.flatnonzero(recorded)
    marks = {} if events.mark_ms is None else {"marks": events.mark_ms}
    return {
        "sources": [[source.topic, source.partition] for source in sources],
        "source": np.array([place[source] for source in events.source], dtype=np.int64),
        "offset": events.offset,
        "time": events.time_ms,
        **marks,
        "rejected": [[int(row), *_plain(events.rejection[row])] for row in rejected],
        "id": pack_texts(events.event_id.tolist()),
        "numeric": events.numeric,
        "texts": {str(index): pack_texts(events.text[index].tolist()) for index in kept},
        "columns": len(events.text),
        "label": events.label,
        "recorded": rows,
        "records": _pack_records([events.record[row] for row in rows.tolist()]),
    }


def unpack_events(state: State) -> EventBatch:
    """The events that ``pack_events`` was given; what was left out is None."""
    count = len(state["offset"])
    sources = [TopicPartition(topic, partition) for topic, partition in state["sources"]]
    absent: Objects = np.full(count, None, dtype=object)
    rejection = absent.copy()
    for row, *parts in state["rejected"]:
        rejection[row] = Rejection(*parts)
    record: Objects = object_column([NO_RECORD]).repeat(count)
    records = _unpack_records(read_branch(state, "records"))
    for row, one in zip(state["recorded"].tolist(), records, strict=True):
        record[row] = one
    texts = read_branch(state, "texts")
    return EventBatch(
        source=object_column([sources[index] for index in state["source"].tolist()]),
        offset=state["offset"],
        time_ms=state["time"],
        record=record,
        rejection=rejection,
        event_id=object_column(unpack_texts(state["id"])),
        numeric=state["numeric"],
        text=tuple(
            object_column(unpack_texts(texts[str(index)])) if str(index) in texts else absent
            for index in range(state["columns"])
        ),
        label=state["label"],
        mark_ms=state.get("marks"),
    )


def _plain(rejection: Rejection) -> list[Any]:
    return [rejection.stage, rejection.reason, rejection.message, rejection.field]


def _pack_records(records: Sequence[Record]) -> State:
    headers = [record.headers or () for record in records]
    flat = [header for some in headers for header in some]
    return {
        "offset": np.array([record.offset for record in records], dtype=np.int64),
        "timestamp": np.array([record.timestamp for record in records], dtype=np.int64),
        "key": _pack_bytes([record.key for record in records]),
        "value": _pack_bytes([record.value for record in records]),
        "headers": np.array(list(map(len, headers)), dtype=np.int64),
        "names": pack_texts([name for name, _ in flat]),
        "contents": _pack_bytes([content for _, content in flat]),
    }


def _unpack_records(state: State) -> list[PlainRecord]:
    names, contents = unpack_texts(state["names"]), _unpack_bytes(state["contents"])
    pairs = [(name or "", content) for name, content in zip(names, contents, strict=True)]
    ends = np.cumsum(state["headers"]).tolist()
    columns = (state["offset"].tolist(), state["timestamp"].tolist())
    parts = (_unpack_bytes(state["key"]), _unpack_bytes(state["value"]))
    counts = state["headers"].tolist()
    return [
        PlainRecord(offset, timestamp, key, value, pairs[end - count : end])
        for offset, timestamp, key, value, end, count in zip(
            *columns, *parts, ends, counts, strict=True
        )
    ]


def _pack_bytes(values: Sequence[bytes | None]) -> State:
    lengths = [-1 if value is None else len(value) for value in values]
    joined = b"".join(value for value in values if value is not None)
    return {
        "bytes": np.frombuffer(joined, dtype=np.uint8),
        "lengths": np.array(lengths, dtype=np.int64),
    }


def _unpack_bytes(packed: State) -> list[bytes | None]:
    joined = read_array(packed, "bytes", (-1,), np.uint8).tobytes()
    lengths = read_array(packed, "lengths", (-1,), np.int64, low=-1, high=len(joined))
    ends = np.cumsum(np.maximum(lengths, 0))
    if (int(ends[-1]) if len(ends) else 0) != len(joined):
        raise StateError(f"packed bytes hold {len(joined)}, lengths say otherwise")
    return [
        None if length < 0 else joined[end - length : end]
        for end, length in zip(ends.tolist(), lengths.tolist(), strict=True)
    ]
