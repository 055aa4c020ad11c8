"""Comparison of recomputed output with the output topics, byte for byte and in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

import msgspec

from stream_detector.events import Record, TopicPartition
from stream_detector.formats.errors import PayloadError
from stream_detector.messages import DEAD_LETTER, WHOLE, Outgoing, digest
from stream_detector.pipeline.cause import ACTS

Place: TypeAlias = tuple[TopicPartition, int]
"""Partition and offset of the record that a message was made of; of a tick no topic, its shard and
its time in milliseconds; of an act ``ACTS`` and its shard."""

_DETAILS = 20

_DIGITS = 15
"""Of a revision, at most."""


@dataclass(slots=True)
class Findings:
    """Findings of a verification; sound where lost to fingerprint_mismatches are zero.

    Attributes:
        records: journal records that were followed.
        events: events that were processed again.
        alerts_expected: alerts that came out; likewise incidents' messages and dead letters.
        alerts_found: of this shard and range, on the topic of alerts; likewise of incidents.
        lost: messages that came out now and are not on their topic.
        doubled: messages that stand there more than once.
        differing: messages with other bytes, out of order, or that did not come out now.
        gaps: places where the journal does not join.
        fingerprint_mismatches: journal records with another fingerprint than came out now.
        fingerprint: of the state at the end.
        foreign: journal records of others, passed over.
        compacted: messages of incidents that are gone where a later one of the same is there.
        reworded: dead letters that differ only in the words of their reason, which are for people
            and change with versions.
        details: the first findings in words.
    """

    records: int = 0
    events: int = 0
    alerts_expected: int = 0
    alerts_found: int = 0
    incidents_expected: int = 0
    incidents_found: int = 0
    dead_letters_expected: int = 0
    lost: int = 0
    doubled: int = 0
    differing: int = 0
    gaps: int = 0
    fingerprint_mismatches: int = 0
    fingerprint: str = ""
    foreign: int = 0
    compacted: int = 0
    reworded: int = 0
    details: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Tell whether everything is as it was."""
        wrong = self.lost + self.doubled + self.differing + self.gaps
        return not wrong and not self.fingerprint_mismatches

    def say(self, text: str) -> None:
        """Keep a finding; the first ones suffice."""
        if len(self.details) < _DETAILS:
            self.details.append(text)


_Identity: TypeAlias = tuple[Place, str]
"""The record that a message was made of, and the alert's id."""


class Comparison:
    """Comparison with one output topic. State: digests of every recomputed message, in order."""

    def __init__(
        self,
        topic: str,
        findings: Findings,
        body_of: Callable[[bytes], Any] = msgspec.json.decode,
        *,
        compacted: bool = False,
    ) -> None:
        """Begin with a topic.

        Args:
            topic: its name.
            findings: takes what is found.
            body_of: reads an alert's value; what it is raises as JSON or ``PayloadError``.
            compacted: whether the topic keeps the last message of an incident, and of earlier ones
                those that were not compacted yet.
        """
        self._compacted = compacted
        self._topic, self._body_of = topic, body_of
        self._findings = findings
        self._expected: dict[_Identity, tuple[int, bytes, bytes]] = {}
        self._seen: set[_Identity] = set()
        self._revisions: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._expected)

    def expect(self, messages: Iterable[Outgoing]) -> None:
        """Messages that came out, in order."""
        for message in messages:
            self._expected[(message.source, message.offset), _name(message)] = (
                len(self._expected),
                digest(message.key, message.value, message.headers),
                _without_words(message),
            )

    def compare(self, found: Iterable[Sequence[Record]], meant: Callable[[Place], bool]) -> int:
        """Compare with one partition of the topic.

        Args:
            found: its records in order.
            meant: whether a message is of the shard and range that were computed again.

        Returns:
            How many of its messages are meant.
        """
        count, last = 0, -1
        for records in found:
            for record in records:
                self._note_revision(record)
                place = origin(record, self._body_of)
                if place is not None and meant(place):
                    count += 1
                    last = self._judge(place, record, last)
        return count

    def _judge(self, place: Place, record: Record, last: int) -> int:
        findings, name = self._findings, f"{self._topic}: of {place[0]} {place[1]}"
        identity = place, _name(record)
        if identity not in self._expected:
            findings.differing += 1
            findings.say(f"{name}, which gave none now")
            return last
        number, content, wordless = self._expected[identity]
        if identity in self._seen:
            findings.doubled += 1
            findings.say(f"{name} twice")
        elif not (same := _is(content, record)) and _without_words(record) != wordless:
            findings.differing += 1
            findings.say(f"{name} has other bytes")
        elif number < last:
            findings.differing += 1
            findings.say(f"{name} is out of order")
        elif not same:
            findings.reworded += 1
        self._seen.add(identity)
        return max(last, number)

    def _note_revision(self, record: Record) -> None:
        """Keep the newest revision of an incident that its topic has."""
        if self._compacted and record.key is not None and (revision := _revision(_name(record))):
            self._revisions[record.key] = max(self._revisions.get(record.key, 0), revision)

    def finish(self) -> None:
        """Count as lost what was not found on any partition, and is not compacted away."""
        for identity in self._expected:
            if identity not in self._seen:
                place, name = identity
                key, revision = _incident(name), _revision(name)
                if 0 < revision < self._revisions.get(key, 0):
                    self._findings.compacted += 1
                    continue
                self._findings.lost += 1
                self._findings.say(f"{self._topic}: of {place[0]} {place[1]} is missing")


def _name(message: Outgoing | Record) -> str:
    """What tells alerts of one record from each other: with one event many buckets may close.

    The time is of the stretch's end: one that has grown begins where the shorter one did.
    """
    headers = dict(message.headers or ())
    both = ((headers.get(name) or b"") for name in ("ce_id", "ce_time"))
    return b" ".join(both).decode("utf-8", "replace")


def _revision(name: str) -> int:
    """Which message of its incident one is, counted from 1; 0 for what is none of an incident."""
    identity, _, _ = name.rpartition(" ")
    _, slash, revision = identity.rpartition("/")
    return int(revision) if slash and revision.isdecimal() and len(revision) <= _DIGITS else 0


def _incident(name: str) -> bytes:
    """The id of the incident that a message is of."""
    return name.rpartition("/")[0].encode()


def _is(content: bytes, record: Record) -> bool:
    """Tell whether a record is the message with this digest, or what its size left of it."""
    if content == digest(record.key, record.value, record.headers):
        return True
    whole = [value for name, value in record.headers or () if name == WHOLE]
    return bool(whole) and whole[-1] == content.hex().encode()


def _without_words(message: Outgoing | Record) -> bytes:
    """Digest without what a dead letter says for people."""
    headers = [one for one in message.headers or () if one[0] != f"{DEAD_LETTER}exception.message"]
    return digest(message.key, message.value, headers)


def origin(record: Record, body_of: Callable[[bytes], Any] = msgspec.json.decode) -> Place | None:
    """Return the record that an alert or a dead letter was made of; None for what is neither."""
    headers = dict(record.headers or ())
    try:
        if f"{DEAD_LETTER}offset" in headers:
            topic, partition, offset = (
                (headers[f"{DEAD_LETTER}{name}"] or b"").decode()
                for name in ("topic", "partition", "offset")
            )
        else:
            receipt = body_of(record.value or b"")["receipt"]
            receipt = receipt.get("shown_by") or receipt  # what has brought it about, later
            if "act" in receipt:
                return TopicPartition(ACTS, int(receipt["shard"])), int(receipt["act"])
            if "tick" in receipt:
                shard, moment = int(receipt["shard"]), datetime.fromisoformat(receipt["tick"])
                return TopicPartition("", shard), round(1000 * moment.timestamp())
            topic, partition, offset = (receipt[n] for n in ("topic", "partition", "offset"))
        return TopicPartition(str(topic), int(partition)), int(offset)
    except (msgspec.MsgspecError, PayloadError, LookupError, TypeError, ValueError, OverflowError):
        return None
