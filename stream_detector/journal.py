"""The journal: what a shard did that its input does not determine, one record a commit.

A record says which offset ranges were taken, in which order and merged with which, so that they
can be processed again with the same result; it says nothing of the result but its fingerprint.
Values are JSON:

    {"version": 1, "shard": 0, "number": 17,
     "steps": [[["events", 0, 100, 180], ["events", 1, 90, 170]], ...],
     "lost": [], "sequence": 12345, "fingerprint": "9f...", "configuration": "52...",
     "group": "payments", "previous": "7c...", "seal": "e0..."}

A step's ranges (topic, partition, from, up to and without) are merged with one another by event
time; the steps follow one after the other. Over all records the ranges of a partition join without
a gap, but for those in ``lost``, which retention had deleted.

A record may hold ``schemas`` (key, and the schema packed as text) and ``refused`` (topic,
partition, from, up to and without, why): what a registry said, which the input does not determine
either.

A record may hold ``calendars`` (those that monitors go by from its first step on, packed): they may
be others after a restart, and a replay goes by those of then.

A record may hold ``incidents``: the settings that incidents go by from its first step on, likewise.

A record may hold ``ticks`` ([steps before it, milliseconds since 1970]): where nothing arrived,
event time went on to there, and the monitors were told so after so many of the record's steps.

A record may hold ``acts`` ([steps before it, ticks before it, offset on the control topic, text]):
what people have written there, whole, so that a replay never needs the topic. An empty text is one
that was of no use.

A record may hold ``batch`` (the query, the number of its batch, the digest of the model's state
after it): an engine did the work, and may do a batch again whose record is here.

``group``, ``previous`` (the digest of the record before) and ``seal`` (a digest of all the rest)
tell our records from those of others on the topic (``commits.journal_chain``). Earlier versions
wrote none of the three, and their records are read as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec

from stream_detector.cells.times import LATEST_TIME_MS
from stream_detector.errors import StateError
from stream_detector.events import TopicPartition
from stream_detector.formats.schemas import Refusal, plain_refusals, refusals_of

_VERSION = 1


class Range(NamedTuple):
    """Offsets of a partition from ``start`` up to and without ``end``."""

    source: TopicPartition
    start: int
    end: int


class JournalAct(NamedTuple):
    """An act, at its place among the steps and ticks of a record.

    Attributes:
        steps: of the record that came before it.
        ticks: likewise.
        offset: on the control topic; -1 where it came from elsewhere.
        text: what stands there; empty where it was no act.
    """

    steps: int
    ticks: int
    offset: int
    text: str


@dataclass(frozen=True, slots=True)
class JournalRecord:
    """Record of one commit of one shard.

    Attributes:
        shard: the shard's number.
        number: 1 for the first record of a state that began untrained, then one more each.
        steps: ranges that were merged with one another, step after step.
        lost: ranges that could not be read any more and were passed over before the first step.
        sequence: events that the pipeline has accepted since it began, after this commit.
        fingerprint: the pipeline's running hash after this commit.
        configuration: fingerprint of the configuration that shaped the state.
        group: the consumer group; empty in records of earlier versions, which are not sealed.
        previous: link of the record before; ``@`` and an offset where the state began there in
            the journal; empty where it was not known.
        schemas: that this commit is the first to rest on, each key with what is stored of it.
        refused: records that no schema could be had for.
        calendars: those that monitors go by from its first step on, packed; None: as before.
        ticks: how many steps came before each, and up to which event time it led.
        incidents: settings that they go by from its first step on, packed; None: as before.
        acts: taken in from the control topic.
        batch: query and number of an engine's batch, and the digest of the state after it.
    """

    shard: int
    number: int
    steps: tuple[tuple[Range, ...], ...]
    lost: tuple[Range, ...]
    sequence: int
    fingerprint: str
    configuration: str
    group: str = ""
    previous: str = ""
    schemas: tuple[tuple[str, str], ...] = ()
    refused: tuple[Refusal, ...] = ()
    ticks: tuple[tuple[int, int], ...] = ()
    calendars: str | None = None
    incidents: str | None = None
    acts: tuple[JournalAct, ...] = ()
    batch: tuple[str, int, str] | None = None

    def ranges(self) -> Iterator[Range]:
        """The ranges of all steps, in order."""
        for step in self.steps:
            yield from step


class _Written(msgspec.Struct, frozen=True, omit_defaults=True):
    """A record as it is written."""

    version: int
    shard: int
    number: int
    steps: list[list[tuple[str, int, int, int]]]
    lost: list[tuple[str, int, int, int]]
    sequence: int
    fingerprint: str
    configuration: str
    group: str = ""
    previous: str = ""
    schemas: list[tuple[str, str]] = []
    refused: list[tuple[str, int, int, int, str]] = []
    ticks: list[tuple[int, int]] = []
    calendars: str | None = None
    incidents: str | None = None
    acts: list[tuple[int, int, int, str]] = []
    batch: tuple[str, int, str] | None = None
    seal: str = ""


_DECODER = msgspec.json.Decoder(_Written)


def encode(record: JournalRecord) -> bytes:
    """Bytes of a record; the same record gives the same bytes."""
    written = _Written(
        _VERSION,
        record.shard,
        record.number,
        [_plain(step) for step in record.steps],
        _plain(record.lost),
        record.sequence,
        record.fingerprint,
        record.configuration,
        record.group,
        record.previous,
        list(record.schemas),
        plain_refusals(record.refused),
        list(record.ticks),
        record.calendars,
        record.incidents,
        [(a.steps, a.ticks, a.offset, a.text) for a in record.acts],
        record.batch,
    )
    if record.group:
        written = msgspec.structs.replace(written, seal=_seal(written))
    return msgspec.json.encode(written)


def link_of(data: bytes) -> str:
    """Return what the next record names as its ``previous``."""
    return blake2b(data, digest_size=16).hexdigest()


def _seal(written: _Written) -> str:
    return link_of(msgspec.json.encode(msgspec.structs.replace(written, seal="")))


def decode(data: bytes) -> JournalRecord:
    """The record in ``data``. Raises ``StateError`` where it is none of ours."""
    try:
        written = _DECODER.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise StateError(f"the journal holds something that is no record of it: {error}") from error
    if written.version != _VERSION:
        raise StateError(f"a journal record of version {written.version}; this reads {_VERSION}")
    record = JournalRecord(
        written.shard,
        written.number,
        tuple(_ranges(step) for step in written.steps),
        _ranges(written.lost),
        written.sequence,
        written.fingerprint,
        written.configuration,
        written.group,
        written.previous,
        tuple(written.schemas),
        tuple(refusals_of(written.refused)),
        tuple(written.ticks),
        written.calendars,
        written.incidents,
        tuple(JournalAct(*act) for act in written.acts),
        written.batch,
    )
    if written.seal != (_seal(written) if written.group else ""):
        raise StateError(f"journal record {record.number} was changed after it was written")
    if any(not 0 <= r.start <= r.end for r in (*record.ranges(), *record.lost)):
        raise StateError(f"journal record {record.number} holds a range that ends before it begins")
    _check_ticks(record)
    _check_acts(record)
    return record


def _check_ticks(record: JournalRecord) -> None:
    steps, latest_ms = 0, -1
    for after, time_ms in record.ticks:
        if not (steps <= after <= len(record.steps) and latest_ms < time_ms <= LATEST_TIME_MS):
            raise StateError(f"journal record {record.number} holds a tick that has no place in it")
        steps, latest_ms = after, time_ms


def _check_acts(record: JournalRecord) -> None:
    steps = ticks = 0
    for act in record.acts:
        within = steps <= act.steps <= len(record.steps) and ticks <= act.ticks <= len(record.ticks)
        if not (within and act.offset >= -1):
            raise StateError(f"journal record {record.number} holds an act that has no place in it")
        steps, ticks = act.steps, act.ticks


def _plain(ranges: Iterable[Range]) -> list[tuple[str, int, int, int]]:
    return [(r.source.topic, r.source.partition, r.start, r.end) for r in ranges]


def _ranges(plain: Iterable[tuple[str, int, int, int]]) -> tuple[Range, ...]:
    return tuple(Range(TopicPartition(t, p), start, end) for t, p, start, end in plain)


def last_beginning(records: list[Any]) -> int | None:
    """Index of the last record with number 1, where the present state began; None: none is held.

    ``records`` are ``(offset, JournalRecord)`` in order.
    """
    for index in range(len(records) - 1, -1, -1):
        if records[index][1].number == 1:
            return index
    return None
