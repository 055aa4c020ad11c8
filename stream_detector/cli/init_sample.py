"""Values of a sample as events: what is no event is counted and said."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from stream_detector.decoding.envelopes import (
    Envelope,
    EnvelopeError,
    guess_envelope,
    open_envelope,
)
from stream_detector.errors import ConnectorError
from stream_detector.foreign import json_of, looks_like

_GZIP = b"\x1f\x8b"
_LONGEST_LINE = 1 << 20
_NOT_FINITE = re.compile(rb"NaN|Infinity")


@dataclass(frozen=True, slots=True)
class Parsed:
    """Values as events.

    Attributes:
        events: those that are objects, without their envelope.
        unreadable: how many are none.
        envelope: what all of them came in.
        notes: what a person should know.
    """

    events: list[Mapping[str, Any]]
    unreadable: int
    envelope: Envelope | None
    notes: list[str]


def parse_values(values: Sequence[bytes | None], origin: str) -> Parsed:
    """The events among values. Raises ``ConnectorError`` where there is none."""
    events: list[Mapping[str, Any]] = []
    read: list[bytes] = []
    prefixed = not_finite = 0
    strange: dict[str, int] = {}
    for value in values:
        inside = json_of(value or b"")
        event = _event(inside)
        if event is None:
            what = looks_like(value or b"") or "no JSON object"
            strange[what] = strange.get(what, 0) + 1
            continue
        events.append(event)
        read.append(inside)
        prefixed += value is not None and value.startswith(b"\0")
        not_finite += (
            value is not None and _event(value) is None and _NOT_FINITE.search(value) is not None
        )
    notes = [f"{count:,} records are passed: {what}" for what, count in strange.items()]
    if not events:
        said = "; ".join(notes[:3]) or "it is empty"
        raise ConnectorError(f"{origin}: no events to look at: {said}")
    if prefixed:
        notes.append(
            f"{prefixed:,} values begin with a schema registry's prefix (magic byte 0 and the "
            "schema's id); the JSON behind it is read"
        )
    if not_finite:
        notes.append(f"{not_finite:,} records hold NaN or Infinity, which are read as missing")
    if (envelope := guess_envelope(events)) is not None:
        events = _opened(read, envelope)
        notes.append(f"the events lie in an envelope ({envelope}), which event.envelope opens")
    return Parsed(events, sum(strange.values()), envelope, notes)


def _opened(values: Sequence[bytes], envelope: Envelope) -> list[Mapping[str, Any]]:
    """The events inside of an envelope; deletes, which have none, left out."""
    events = []
    for value in values:
        try:
            event = _event(open_envelope(value, envelope))
        except EnvelopeError:
            continue
        if event is not None:
            events.append(event)
    return events


def _event(value: bytes) -> Mapping[str, Any] | None:
    try:
        event = msgspec.json.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return event if isinstance(event, dict) else None


def share_of(path: str, lines: int) -> float | None:
    """Which part of a file of lines so many of them are, gzipped or not.

    A reader takes a file in large pieces, so what it has read says little of a sample. None where
    there is nothing to read by lines: a pipe, other kinds of files.
    """
    if not Path(path).is_file():
        return None
    with Path(path).open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        packed = file.read(2) == _GZIP
        file.seek(0)
        stream = gzip.GzipFile(fileobj=file) if packed else file
        try:
            for _ in range(lines):
                if not stream.readline(_LONGEST_LINE):
                    return 1.0
        except (OSError, EOFError, zlib.error):
            return None
        return file.tell() / size if size else None
