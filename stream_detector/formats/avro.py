"""Avro: one record's bytes to JSON's values, by its writer's schema. fastavro decodes."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from io import BytesIO
from types import ModuleType
from typing import Any
from uuid import UUID

import msgspec

from stream_detector.formats import avro_schema as rewriting
from stream_detector.formats.avro_names import PRIMITIVES
from stream_detector.formats.errors import PayloadError, SchemaError
from stream_detector.formats.values import MAX_DECIMAL_BYTES, base64_text, decimal, scaling
from stream_detector.formats.wanted import Wanted

_UNREADABLE = (EOFError, ValueError, TypeError, LookupError, OverflowError, struct.error)

_Reader = Callable[..., Any]


class AvroReader:
    """Reads payloads of one schema. Holds no state."""

    def __init__(
        self,
        texts: list[str],
        wanted: Wanted,
        moments: str = "unix_ms",
        reader: list[str] | None = None,
        *,
        whole: bool = False,
    ) -> None:
        """Take the writer's schema and those that it refers to.

        Args:
            texts: the schemas.
            wanted: fields that are read.
            moments: unit of moments.
            reader: a reader's schema likewise, whose aliases and defaults count.
            whole: whether all other fields are read with their meaning too.

        Raises:
            SchemaError: it is no schema, or one that a few bytes of payload could abuse.
        """
        parsed = [_json(text) for text in texts]
        expected = [_json(text) for text in reader] if reader else None
        rewriter = rewriting.Rewriter(parsed, moments, expected, whole=whole)
        schema = rewriter.rewritten(wanted)
        fastavro = _fastavro()
        try:
            self._schema = fastavro.parse_schema(schema)
        except _schema_errors() as error:
            raise SchemaError(f"{type(error).__name__}: {str(error)[:200]}") from error
        self._read: Callable[[BytesIO, Any, None], Any] = fastavro.schemaless_reader

    def read_many(self, payloads: Sequence[bytes]) -> list[Any]:
        """Return the events of many payloads.

        Raises ``PayloadError`` where one of them cannot be read; ``read`` says which, and why.
        """
        read, schema = self._read, self._schema
        events: list[Any] = []
        try:
            for payload in payloads:
                file = BytesIO(payload)
                events.append(read(file, schema, None))
                if file.tell() != len(payload):
                    raise EOFError
        except _UNREADABLE as error:
            raise PayloadError("malformed", "one of them is no Avro of its schema") from error
        return events

    def read(self, data: bytes, start: int = 0) -> Any:
        """Return the event whose bytes begin at ``start``. Raises ``PayloadError``."""
        file = BytesIO(data)
        file.seek(start)
        try:
            event = self._read(file, self._schema, None)
        except _UNREADABLE as error:
            what = str(error)[:200] or "it ends before the event does"
            raise PayloadError("malformed", f"no Avro of its schema: {what}") from error
        left = len(data) - file.tell()
        if left:
            raise PayloadError("malformed", f"no Avro of its schema: {left} bytes are left over")
        return event


def fingerprint(texts: list[str]) -> str:
    """Return the CRC-64-AVRO of a schema without references, as 16 hexadecimal digits.

    Raises ``SchemaError``.
    """
    fastavro = _fastavro()
    try:
        canonical = fastavro.schema.to_parsing_canonical_form(_json(texts[0]))
        return str(fastavro.schema.fingerprint(canonical, "CRC-64-AVRO"))
    except _schema_errors() as error:
        raise SchemaError(f"{type(error).__name__}: {str(error)[:200]}") from error


def _json(text: str) -> Any:
    stripped = text.strip()
    if stripped in PRIMITIVES:  # as some registries write a schema of one word
        return stripped
    try:
        return msgspec.json.decode(stripped)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise SchemaError(f"it is no JSON: {str(error)[:200]}") from error


def _schema_errors() -> tuple[type[Exception], ...]:
    errors: Any = _fastavro().schema
    return (*_UNREADABLE, RecursionError, errors.SchemaParseException, errors.UnknownType)


@cache
def _fastavro() -> ModuleType:
    """Return fastavro, with our readers of logical types beside its own."""
    try:
        import fastavro  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise SchemaError("it needs fastavro: pip install 'stream-detector[formats]'") from error
    fastavro.read.LOGICAL_READERS.update(_logical_readers())
    return fastavro


def _logical_readers() -> Mapping[str, _Reader]:
    readers: dict[str, _Reader] = {
        f"null-{rewriting.DEFAULT}": _default,
        f"null-{rewriting.TOO_DEEP}": _too_deep,
        f"fixed-{rewriting.UUID}": lambda data, *_: str(UUID(bytes=data)),
        f"fixed-{rewriting.DURATION}": _duration,
    }
    for kind in ("bytes", "fixed"):
        readers[f"{kind}-{rewriting.DECIMAL}"] = _decimal
        readers[f"{kind}-{rewriting.BASE64}"] = lambda data, *_: base64_text(data)
    for kind, units in (("int", ("days", "millis")), ("long", ("millis", "micros", "nanos"))):
        for unit in units:
            for moments in ("unix_s", "unix_ms", "unix_us", "unix_ns"):
                convert = scaling(unit, moments) or _same
                readers[f"{kind}-{rewriting.MOMENT}{unit}-{moments}"] = _moment(convert)
    return readers


def _same(count: int) -> int:
    return count


def _moment(convert: Callable[[int], Any]) -> _Reader:
    return lambda count, *_: convert(count)


def _default(_data: None, schema: Mapping[str, Any], *_: Any) -> Any:
    return schema["stream-detector-value"]


def _too_deep(*_: Any) -> Any:
    raise PayloadError("too_deep", f"nested more than {rewriting.MAX_NESTING} levels deep")


def _duration(data: bytes, *_: Any) -> dict[str, int]:
    months, days, milliseconds = struct.unpack("<III", data)
    return {"months": months, "days": days, "milliseconds": milliseconds}


def _decimal(data: bytes, schema: Mapping[str, Any], *_: Any) -> Any:
    if len(data) > MAX_DECIMAL_BYTES:
        raise PayloadError("out_of_range", f"a decimal of {len(data)} bytes")
    return decimal(int.from_bytes(data, "big", signed=True), schema["stream-detector-scale"])
