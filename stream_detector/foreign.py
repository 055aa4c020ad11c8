"""Recognition of bytes that are no JSON object: whose format they are, and what to do.

Judged by the first bytes alone, and only once a value could not be read as it should be.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable

_NOT_FINITE = re.compile(rb'"(?:[^"\\]|\\.)*"|-?\bInfinity\b|\bNaN\b')
_UTF8_MARK = b"\xef\xbb\xbf"
_REGISTRY_BYTES = 5
_APICURIO_BYTES = 9
_SPACE = b" \t\r\n"
_SERIALIZER = (
    "let the producer write plain JSON (in Kafka Connect value.converter=org.apache.kafka.connect."
    "json.JsonConverter with schemas.enable=false), or convert the topic"
)
_COMPRESS = (
    "leave compression to the producer's compression.type, which readers undo, instead of "
    "compressing values"
)
_ONE_EACH = "send one JSON object a record"


def json_of(value: bytes) -> bytes:
    """The JSON inside of a value: without a byte order mark, or a registry's prefix before JSON.

    Confluent's JSON Schema serializer writes a zero byte and the schema's id of four bytes (in
    Apicurio of eight), and then the event as it is. NaN and Infinity, which Python and others write
    and JSON does not have, become null.
    """
    value = value.removeprefix(_UTF8_MARK)
    if value.startswith(b"\0"):
        for size in (_REGISTRY_BYTES, _APICURIO_BYTES):
            rest = value[size:].lstrip(_SPACE)
            if rest.startswith(b"{") and rest.rstrip(_SPACE).endswith(b"}"):
                value = rest
                break
    if b"NaN" in value or b"Infinity" in value:
        cleared = _NOT_FINITE.sub(_null_or_text, value)
        return value if cleared == value else cleared
    return value


def _null_or_text(found: re.Match[bytes]) -> bytes:
    return found[0] if found[0].startswith(b'"') else b"null"


def looks_like(value: bytes) -> str | None:
    """Describe what a value seems to be and what to do, for people; None if nothing is known."""
    for start, what in _STARTS:
        if value.startswith(start):
            return what
    for look in _LOOKS:
        if (found := look(value)) is not None:
            return found
    return None


_STARTS: tuple[tuple[bytes, str], ...] = (
    (b"\xc3\x01", f"an Avro single object: {_SERIALIZER}"),
    (b"Obj\x01", f"an Avro file: {_SERIALIZER}"),
    (b"PAR1", f"a Parquet file: {_ONE_EACH}"),
    (b"\xac\xed\x00\x05", "a serialised Java object: use a JSON serializer in the producer"),
    (b"\x1f\x8b", f"a value packed by gzip: {_COMPRESS}"),
    (b"\x28\xb5\x2f\xfd", f"a value packed by zstd: {_COMPRESS}"),
    (b"\x04\x22\x4d\x18", f"a value packed by lz4: {_COMPRESS}"),
    (b"\x82SNAPPY\0", f"a value packed by snappy: {_COMPRESS}"),
    (b"\xff\x06\0\0sNaPpY", f"a value packed by snappy: {_COMPRESS}"),
    (b"BZh", f"a value packed by bzip2: {_COMPRESS}"),
    (b"PK\x03\x04", f"a zip archive: {_COMPRESS}"),
    (b"\xff\xfe\0\0", "text in UTF-32: let the producer write UTF-8"),
    (b"\0\0\xfe\xff", "text in UTF-32: let the producer write UTF-8"),
    (b"\xff\xfe", "text in UTF-16: let the producer write UTF-8"),
    (b"\xfe\xff", "text in UTF-16: let the producer write UTF-8"),
    (b"{\0\0\0", "text in UTF-32: let the producer write UTF-8"),
    (b"\0\0\0{", "text in UTF-32: let the producer write UTF-8"),
    (b"{\0", "text in UTF-16: let the producer write UTF-8"),
    (b"\0{", "text in UTF-16: let the producer write UTF-8"),
)


def _registry(value: bytes) -> str | None:
    if not value.startswith(b"\0") or len(value) <= _REGISTRY_BYTES:
        return None
    (number,) = struct.unpack_from(">I", value, 1)
    what = f"Avro or Protobuf with a schema registry's prefix (schema id {number})"
    if number == 0 and len(value) > _APICURIO_BYTES:
        (number,) = struct.unpack_from(">Q", value, 1)
        what = f"Avro or Protobuf with Apicurio's prefix (schema id {number})"
    return f"{what}: {_SERIALIZER}"


def _bson(value: bytes) -> str | None:
    size = int.from_bytes(value[:4], "little")
    if size == len(value) and value.endswith(b"\0"):
        return "BSON: let the producer write JSON"
    return None


def _text(value: bytes) -> str | None:  # noqa: PLR0911 - one for each kind
    start = value.lstrip(_SPACE)
    if start.startswith(b"<"):
        return "XML: let the producer write JSON"
    if start.startswith(b"["):
        return f"a JSON array: {_ONE_EACH}"
    if start.startswith((b'"{', b'"[')):
        return (
            "JSON inside a JSON string, encoded twice: serialise once (in Kafka Connect use "
            "StringConverter for a text that is JSON already)"
        )
    if start.startswith(b"{"):
        rest = start.rstrip(_SPACE)
        if b"}\n{" in rest or b"}{" in rest or b"}\r\n{" in rest:
            return f"several JSON documents in one record: {_ONE_EACH}"
        if start[1:2] == b"'" or b": NaN" in rest or b":NaN" in rest:
            return "a Python dict or NaN, which JSON has not: write it with a JSON serializer"
        return None
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return None
    if text.isprintable() or set(text) <= set(text.replace("\n", "")) | set("\r\n\t"):
        kind = "CSV" if "," in text or ";" in text or "\t" in text else "plain text"
        return f"{kind}: let the producer write a JSON object"
    return None


def _binary(value: bytes) -> str | None:
    first = value[0] if value else 0
    if 0x80 <= first <= 0x8F or first in (0xDE, 0xDF):  # noqa: PLR2004 - maps of msgpack
        return "MessagePack: let the producer write JSON"
    # A field number and a wire type that Protobuf has, of one of its first fifteen fields.
    if first >> 3 and first < 0x80 and first & 7 in (0, 1, 2, 5):  # noqa: PLR2004 - see above
        return "Protobuf without a registry, or another binary format: let the producer write JSON"
    return None


_LOOKS: tuple[Callable[[bytes], str | None], ...] = (_registry, _bson, _text, _binary)
