"""Schemas that events were read by, kept by their keys, and records that none could be had for.

What a registry answers is no function of the input. So each answer that counts is kept: in the
journal's record of the commit that first rests on it, and in every snapshot. A replay asks nobody.
"""

from __future__ import annotations

import zlib
from base64 import b64decode, b64encode
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, NamedTuple, Protocol

import msgspec

from stream_detector.errors import StateError
from stream_detector.events import TopicPartition

MAX_SCHEMA_BYTES = 1024 * 1024
"""Of a schema with all that it refers to."""

MAX_STORED_BYTES = 200_000
"""Of a schema as the journal keeps it; brokers take records of a MiB."""

MAX_NEW_BYTES = 400_000
"""Of all schemas that one journal record is the first to hold."""

MAX_SCHEMAS = 1000
"""Different schemas of a shard."""

ALERTS = "alerts"
"""Key of how alerts are written from here on; no id of a registry is so."""

AS_JSON = ("json", ())
"""What it says where alerts are JSON again."""


class Schema(NamedTuple):
    """A schema as it is kept.

    Attributes:
        kind: ``avro`` or ``protobuf``; of the key ``ALERTS`` what ``alert_avro`` makes of it.
        parts: of Avro the texts, the schema first and then what it refers to; of Protobuf the name
            of the file, and the set of compiled files in base64.
    """

    kind: str
    parts: tuple[str, ...]

    def stored(self) -> str:
        """Return it packed, as text; the same schema gives the same text."""
        packed = zlib.compress(msgspec.json.encode([self.kind, *self.parts]), 9)
        return b64encode(packed).decode("ascii")


def schema_of(stored: str) -> Schema:
    """Return a schema from its packed text. Raises ``StateError``."""
    try:
        unpacker = zlib.decompressobj()
        most = 2 * MAX_SCHEMA_BYTES
        plain = unpacker.decompress(b64decode(stored, validate=True), most)
        kind, *parts = msgspec.json.decode(plain, type=list[str])
    except (ValueError, zlib.error, msgspec.MsgspecError) as error:
        raise StateError(f"a schema that was kept cannot be read: {str(error)[:200]}") from error
    return Schema(kind, tuple(parts))


@dataclass(frozen=True, slots=True)
class Refusal:
    """Records of a partition that no schema could be had for, ``start`` up to and without ``end``.

    ``why`` is shown to people, and the same for all of them.
    """

    source: TopicPartition
    start: int
    end: int
    why: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a registry says of a key: a schema, or why there is none.

    Attributes:
        schema: that was found.
        why: there is none, in words; empty where there is one.
        final: whether the registry itself said so: asking again at once is no cure.
    """

    schema: Schema | None
    why: str = ""
    final: bool = True


class SchemaSource(Protocol):
    """Answers for schemas; ``connectors.registry`` has one."""

    def local(self) -> Mapping[str, Schema]:
        """Return the schemas that files give, by their keys."""

    def answer(self, key: str, kind: str) -> Answer | None:
        """Return what is known of a key; None while it is asked for the first time.

        An answer that is not final says why there is none yet; it is asked on.
        """

    def alerts(self) -> Schema | None:
        """Return how alerts are to be written; None for JSON."""

    def close(self) -> None:
        """Stop asking."""


class SchemaBook:
    """The schemas and refusals of one shard.

    State: they, at most ``MAX_SCHEMAS`` schemas; of the refusals those that may be met again;
    what of both no journal record holds yet; how alerts are written, likewise.

    Attributes:
        schemas: by key.
        alerts: how alerts are written; None for JSON.
    """

    def __init__(self) -> None:
        self.schemas: dict[str, Schema] = {}
        self.alerts: Schema | None = None
        self._alerts_kept: Schema | None = None
        self._refusals: dict[TopicPartition, list[Refusal]] = {}
        self._new_schemas: dict[str, Schema] = {}
        self._new_bytes = 0
        self._new_refusals: list[Refusal] = []

    def add(self, key: str, schema: Schema) -> str:
        """Take a schema that was found, for the journal to hold.

        Returns:
            Why it is not taken; nothing where it is.
        """
        if key in self.schemas:
            return ""
        if len(self.schemas) >= MAX_SCHEMAS:
            return f"{MAX_SCHEMAS} schemas are in use, no more are taken"
        size = len(schema.stored())
        if self._new_bytes and self._new_bytes + size > MAX_NEW_BYTES:
            return "the journal has no room for it beside those that came with it"
        self._new_bytes += size
        self.schemas[key] = self._new_schemas[key] = schema
        return ""

    def refuse(self, source: TopicPartition, offset: int, why: str) -> None:
        """Note that a record's schema cannot be had; in the order of offsets."""
        new, known = self._new_refusals, self._refusals.setdefault(source, [])
        one = Refusal(source, offset, offset + 1, why)
        if new and known and new[-1] is known[-1] and (new[-1].end, new[-1].why) == (offset, why):
            one = Refusal(source, new[-1].start, offset + 1, why)
            new[-1] = known[-1] = one
            return
        new.append(one)
        known.append(one)

    def refusal(self, source: TopicPartition, offset: int) -> str | None:
        """Return why a record was refused; None where it was not."""
        known = self._refusals.get(source, [])
        at = bisect_right(known, offset, key=attrgetter("end"))
        return known[at].why if at < len(known) and known[at].start <= offset else None

    def refuses_any(self, source: TopicPartition, first: int, last: int) -> bool:
        """Tell whether a record of these offsets was refused."""
        known = self._refusals.get(source)
        if not known:
            return False
        at = bisect_right(known, first, key=attrgetter("end"))
        return at < len(known) and known[at].start <= last

    def forget_before(self, positions: Mapping[TopicPartition, int]) -> None:
        """Drop refusals of records that are done."""
        for source, position in positions.items():
            if known := self._refusals.get(source):
                self._refusals[source] = [one for one in known if one.end > position]

    @property
    def new_count(self) -> int:
        """Number of refusals that no journal record holds yet."""
        return len(self._new_refusals)

    def take_new(
        self, ends: Mapping[TopicPartition, int]
    ) -> tuple[dict[str, Schema], list[Refusal]]:
        """Return all new schemas, and the new refusals of records before ``ends``, once."""
        schemas, self._new_schemas, self._new_bytes = self._new_schemas, {}, 0
        if self.alerts != self._alerts_kept:
            schemas[ALERTS] = self.alerts or Schema(*AS_JSON)
            self._alerts_kept = self.alerts
        taken: list[Refusal] = []
        left: list[Refusal] = []
        for one in self._new_refusals:
            (taken if one.start < ends.get(one.source, 0) else left).append(one)
        self._new_refusals = left
        return schemas, taken

    def take_in(self, schemas: Mapping[str, Schema], refusals: Iterable[Refusal]) -> None:
        """Take what a journal's record or a snapshot holds, but for how alerts are written."""
        self.schemas |= {key: schema for key, schema in schemas.items() if key != ALERTS}
        for one in refusals:
            known = self._refusals.setdefault(one.source, [])
            if not known or one.start >= known[-1].end:  # else a snapshot had it already
                known.append(one)

    def take_alerts(self, form: Schema) -> None:
        """Take how a journal's record or a snapshot says that alerts are written from there on."""
        self.alerts = self._alerts_kept = None if form == Schema(*AS_JSON) else form

    def state(self) -> dict[str, Any]:
        """Return what the journal's records up to here hold, as JSON; nothing for nothing."""
        new = set(self._new_refusals)
        kept = {key: one for key, one in self.schemas.items() if key not in self._new_schemas}
        if self._alerts_kept is not None:
            kept[ALERTS] = self._alerts_kept
        if not self.schemas and not kept and not any(self._refusals.values()):
            return {}
        return {
            "schemas": {key: schema.stored() for key, schema in kept.items()},
            "refused": plain_refusals(
                one for some in self._refusals.values() for one in some if one not in new
            ),
        }

    def restore(self, state: Mapping[str, Any] | None) -> None:
        """Take ``state`` in. Raises ``StateError``."""
        if not state:
            return
        try:
            stored = msgspec.convert(state["schemas"], dict[str, str])
            plain = msgspec.convert(state["refused"], list[tuple[str, int, int, int, str]])
        except (msgspec.ValidationError, LookupError, TypeError) as error:
            raise StateError(f"the schemas that were kept make no sense: {error!r:.200}") from error
        most = MAX_SCHEMAS + 1  # that of alerts
        if len(stored) > most or any(not 0 <= start < end for _, _, start, end, _ in plain):
            raise StateError("the schemas that were kept make no sense: too many, or no offsets")
        schemas = {key: schema_of(packed) for key, packed in stored.items()}
        self.take_in(schemas, refusals_of(plain))
        if (form := schemas.get(ALERTS)) is not None:
            self.take_alerts(form)


def plain_refusals(refusals: Iterable[Refusal]) -> list[tuple[str, int, int, int, str]]:
    """Return refusals as JSON has them."""
    return [(r.source.topic, r.source.partition, r.start, r.end, r.why) for r in refusals]


def refusals_of(plain: Iterable[Sequence[Any]]) -> list[Refusal]:
    """Return refusals from what ``plain_refusals`` made."""
    return [Refusal(TopicPartition(t, p), start, end, why) for t, p, start, end, why in plain]
