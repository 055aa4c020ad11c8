"""A sample of a topic whose schemas a registry has: read by them, and what they say of fields."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from pydantic import ValidationError

from stream_detector.config.models.config import RegistryConfig
from stream_detector.connectors.registry.client import RegistryClient, schema_of_texts
from stream_detector.connectors.registry.http import NotFoundError, UnavailableError
from stream_detector.errors import ConfigurationError, ConnectorError
from stream_detector.events import NO_TIMESTAMP, PlainRecord
from stream_detector.formats.errors import PayloadError, SchemaError
from stream_detector.formats.framing import Framing
from stream_detector.formats.outline import FieldOutline, fitting_outline
from stream_detector.formats.reader import FormatReader
from stream_detector.formats.schemas import Schema, SchemaBook
from stream_detector.inference import Entry, Proposal

_MOST_SCHEMAS = 50
_LONGEST_DOC = 100
_LOOKED_AT = 20
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_KINDS = {"avro": "avro", "protobuf": "protobuf", "json": "json_schema"}


@dataclass(frozen=True, slots=True)
class Described:
    """Values that schemas describe.

    Attributes:
        values: as JSON.
        kind: the format; None where no registry was asked.
        notes: what a person should know.
        fields: what the schemas say, by path.
        unreadable: how many values could not be read.
    """

    values: Sequence[bytes | None]
    kind: str | None = None
    notes: Sequence[str] = ()
    fields: Mapping[str, FieldOutline] = field(default_factory=dict)
    unreadable: int = 0


def read_by_registry(url: str | None, values: Sequence[bytes | None]) -> Described:
    """Read a sample by the schemas that its values name; as it is where there is no registry.

    Raises ``ConfigurationError`` where the address is none, ``ConnectorError`` where nothing there
    answers, or not for any of the schemas.
    """
    if url is None:
        return Described(values)
    try:
        client = RegistryClient(RegistryConfig.model_validate({"url": url}))
    except ValidationError as error:
        problems = "; ".join(problem["msg"] for problem in error.errors())
        raise ConfigurationError(f"--registry: {problems}") from error
    counts: Counter[str] = Counter()
    framing = Framing(4)
    for value in values:
        with suppress(PayloadError):
            counts[framing.frame(value or b"", ()).key] += 1
    if not counts:
        note = "no value begins with a schema registry's prefix: --registry is not needed"
        return Described(values, notes=[note])
    kinds, schemas, notes = _schemas(client, counts)
    if not kinds:
        raise ConnectorError(f"no schema of the sample can be used: {'; '.join(notes[:3])}")
    said = kinds.most_common(1)[0][0]
    kind = _KINDS.get(said)
    if kind is None:
        raise ConnectorError(f"the topic's schemas are of the format {said[:40]!r}")
    listed = ", ".join(sorted(counts)[:5])
    notes.insert(0, f"{kind} by {len(counts)} schemas of the registry: {listed}")
    if kind == "json_schema":
        return Described(values, kind, notes, _fields(schemas.values(), ()))
    return _read(kind, notes, schemas, values)


def _schemas(
    client: RegistryClient, counts: Counter[str]
) -> tuple[Counter[str], dict[str, Schema], list[str]]:
    """Formats by their number of values, the schemas that can be used, and what cannot be."""
    kinds: Counter[str] = Counter()
    schemas: dict[str, Schema] = {}
    notes: list[str] = []
    for key, count in counts.most_common(_MOST_SCHEMAS):
        try:
            said, texts = client.described(key)
            if said in _KINDS:
                schemas[key] = schema_of_texts(_KINDS[said], _KINDS[said], texts)
            kinds[said] += count
        except UnavailableError as error:
            raise ConnectorError(str(error)) from error
        except (NotFoundError, SchemaError) as error:
            notes.append(f"{count:,} records are of schema {key}, which cannot be used: {error}")
    return kinds, schemas, notes


def _read(
    kind: Any, notes: list[str], schemas: Mapping[str, Schema], values: Sequence[bytes | None]
) -> Described:
    book = SchemaBook()
    book.take_in({key: each for key, each in schemas.items() if each.kind == kind}, ())
    reader = FormatReader(kind, Framing(4), book, {})
    read: list[bytes | None] = []
    refused: Counter[str] = Counter()
    for value in values:
        try:
            event = reader.whole(PlainRecord(0, NO_TIMESTAMP, None, value))
        except PayloadError as error:
            refused[str(error)[:100]] += 1
            continue
        read.append(msgspec.json.encode(event))
    notes += [f"{count:,} records are passed: {why}" for why, count in refused.most_common(3)]
    names = dict.fromkeys(name for value in read[:_LOOKED_AT] for name in _names(value))
    return Described(read, kind, notes, _fields(book.schemas.values(), names), refused.total())


def _names(value: bytes | None) -> Iterable[str]:
    event = msgspec.json.decode(value or b"{}")
    return event if isinstance(event, dict) else ()


def _fields(schemas: Iterable[Schema], names: Collection[str]) -> dict[str, FieldOutline]:
    """What schemas say, by path; of Protobuf the message that has the most of these names."""
    fields: dict[str, FieldOutline] = {}
    for schema in schemas:
        for path, one in fitting_outline(schema, names)[0].items():
            fields.setdefault(path, one)
    return fields


def with_times(event: Mapping[str, Any], fields: Mapping[str, FieldOutline]) -> Mapping[str, Any]:
    """Return an event with texts for the moments that its schema names, which nobody mistakes."""
    if not fields:
        return event
    return {name: _with_time(value, name, fields) for name, value in event.items()}


def _with_time(value: Any, path: str, fields: Mapping[str, FieldOutline]) -> Any:
    if isinstance(value, dict):
        return {name: _with_time(one, f"{path}.{name}", fields) for name, one in value.items()}
    found = fields.get(path)
    if found is None or found.meaning != "moment" or not isinstance(value, int | float):
        return value
    try:
        return (_EPOCH + timedelta(milliseconds=value)).isoformat()
    except OverflowError:
        return value


def tell_of_schema(proposal: Proposal, fields: Mapping[str, FieldOutline]) -> None:
    """Put what the schemas say into a proposal: moments need no format, fields have their docs."""
    if not fields:
        return
    time = proposal.event.get("time")
    if isinstance(time, dict):
        found = fields.get(str(time.get("field")))
        if found is not None and found.meaning == "moment":
            proposal.event["time"] = {"field": time["field"], "format": "auto"}
    proposal.features[:] = [_with_doc(entry, fields) for entry in proposal.features]
    proposal.windows[:] = [_with_doc(entry, fields) for entry in proposal.windows]


def _with_doc(entry: Entry, fields: Mapping[str, FieldOutline]) -> Entry:
    members, comment = entry
    said = []
    for name in ("numeric", "boolean", "categorical", "key"):
        found = fields.get(str(members.get(name)))
        if found is not None and found.meaning == "enum":
            said.append("an enum of the schema")
        if found is not None and found.doc:
            said.append(f"the schema: {' '.join(found.doc.split())[:_LONGEST_DOC]}")
    return members, "; ".join((comment, *said))
