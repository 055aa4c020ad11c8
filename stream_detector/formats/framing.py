"""What stands before an event in a record's value, or in its headers, and names its schema.

| framing | bytes |
|---|---|
| Confluent | 0, an id of 4 bytes; Protobuf: which message of the file, as zigzag varints |
| Confluent, in headers | `__value_schema_id`: 1 and a GUID of 16 bytes, or 0 and an id of 4 |
| Apicurio | 0, an id of 4 or 8 bytes; Protobuf: the message's name, delimited |
| Apicurio, in headers | `apicurio.value.globalId` or `.contentId`, 8 bytes each |
| Avro, single object | C3 01, the CRC-64-AVRO of the schema |
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from stream_detector.formats.errors import PayloadError

Headers: TypeAlias = Sequence[tuple[str, bytes | None]]
Ids: TypeAlias = Literal["id", "content", "global"]

LOCAL = "local"
"""Key of the schema that a file of ours gives."""

_MAGIC, _GUID_MAGIC = 0, 1
_SINGLE_OBJECT = b"\xc3\x01"
_SINGLE_BYTES = 10
_GUID_BYTES = 17
_ID_BYTES = 5
_MOST_INDEXES = 32
_MOST_VARINT_BYTES = 10
_CONFLUENT = "__value_schema_id"
_APICURIO = {"apicurio.value.globalId": "global", "apicurio.value.contentId": "content"}
_MESSAGE = "apicurio.value.msgType"
HEADERS = frozenset((_CONFLUENT, *_APICURIO, _MESSAGE))


class Frame(NamedTuple):
    """Where an event begins and what describes it.

    Attributes:
        key: of its schema, as ``id:17``, ``content:3``, ``global:9``, ``guid:…``, ``local``.
        start: index of its first byte; of Protobuf's before the message's place.
        message: of a Protobuf message from a header: its name, or ``#`` and its place in the file;
            empty where none is given.
        headed: whether the headers named the schema.
    """

    key: str
    start: int
    message: str = ""
    headed: bool = False


@dataclass(frozen=True, slots=True)
class Framing:
    """How a topic's records name their schemas.

    Attributes:
        id_bytes: of an id in a value, 4 or 8; 0 where there is no registry.
        ids: what kind of id that is.
        local: key of the schema where there is no registry.
    """

    id_bytes: int
    ids: Ids = "id"
    local: str = LOCAL

    def frame(self, value: bytes, headers: Headers) -> Frame:
        """Return what a record says. Raises ``PayloadError`` where it names no schema."""
        if headers and (found := self._in_headers(headers)) is not None:
            return found
        if not self.id_bytes:
            return Frame(self.local, 0)
        start = 1 + self.id_bytes
        if not value or value[0] != _MAGIC or len(value) < start:
            raise PayloadError(
                "malformed", f"it names no schema: it begins with {value[:start].hex(' ')}"
            )
        return Frame(f"{self.ids}:{int.from_bytes(value[1:start], 'big')}", start)

    def prefix(self, value: bytes) -> bytes:
        """Return the bytes that all records of one schema begin with, without headers."""
        return value[: 1 + self.id_bytes] if self.id_bytes else b""

    @staticmethod
    def _in_headers(headers: Headers) -> Frame | None:
        said = {name: content for name, content in headers if name in HEADERS and content}
        message = (said.get(_MESSAGE) or b"").decode("utf-8", "replace")
        for name, kind in _APICURIO.items():
            content = said.get(name)
            if content is not None and len(content) in (4, 8):
                return Frame(f"{kind}:{int.from_bytes(content, 'big')}", 0, message, headed=True)
        content = said.get(_CONFLUENT)
        if content is None:
            return None
        if content[0] == _GUID_MAGIC and len(content) >= _GUID_BYTES:
            return Frame(
                f"guid:{content[1:17].hex()}", 0, _place(content, _GUID_BYTES), headed=True
            )
        if content[0] == _MAGIC and len(content) >= _ID_BYTES:
            key = f"id:{int.from_bytes(content[1:_ID_BYTES], 'big')}"
            return Frame(key, 0, _place(content, _ID_BYTES), headed=True)
        raise PayloadError("malformed", f"the header {_CONFLUENT} is {content[:17].hex(' ')}")


def _place(content: bytes, start: int) -> str:
    """Return the place of a Protobuf message that a header has after the schema, as ``#1,0``."""
    place = indexes(content, start)[0] if len(content) > start else (0,)
    return "#" + ",".join(map(str, place))


def single_object(value: bytes) -> str | None:
    """Return the fingerprint of an Avro single object's schema; None where it is none."""
    if not value.startswith(_SINGLE_OBJECT) or len(value) < _SINGLE_BYTES:
        return None
    return f"{struct.unpack_from('<Q', value, 2)[0]:016x}"


SINGLE_OBJECT_START = _SINGLE_BYTES


def indexes(data: bytes, start: int) -> tuple[tuple[int, ...], int]:
    """Return the place of a Protobuf message in its file, and where it ends.

    A single zero stands for the first message. Raises ``PayloadError``.

    >>> indexes(bytes([0, 8]), 0)
    ((0,), 1)
    >>> indexes(bytes([4, 2, 0, 8]), 0)
    ((1, 0), 3)
    """
    count, start = _zigzag(data, start)
    if count == 0:
        return (0,), start
    if not 0 < count <= _MOST_INDEXES:
        raise PayloadError("malformed", f"it has {count} message indexes")
    found = []
    for _ in range(count):
        index, start = _zigzag(data, start)
        found.append(index)
    return tuple(found), start


def varint(data: bytes, start: int) -> tuple[int, int]:
    """Return an unsigned varint and where it ends. Raises ``PayloadError``."""
    number = 0
    for place in range(_MOST_VARINT_BYTES):
        if start + place >= len(data):
            break
        byte = data[start + place]
        number |= (byte & 0x7F) << 7 * place
        if byte < 0x80:  # noqa: PLR2004 - the last one
            return number, start + place + 1
    raise PayloadError("malformed", "it ends within its message indexes")


def _zigzag(data: bytes, start: int) -> tuple[int, int]:
    number, end = varint(data, start)
    return (number >> 1) ^ -(number & 1), end


def message_name(data: bytes, start: int) -> tuple[str, int]:
    """Return the name that Apicurio's serializer writes before a message, and where it ends.

    It is a message of one text, field 1, delimited by its length. Raises ``PayloadError``.
    """
    size, begin = varint(data, start)
    end = begin + size
    if end > len(data) or not size or data[begin] != 0x0A:  # noqa: PLR2004 - field 1, delimited
        raise PayloadError("malformed", "it does not name its message")
    length, begin = varint(data, begin + 1)
    if begin + length > end:
        raise PayloadError("malformed", "it does not name its message")
    return data[begin : begin + length].decode("utf-8", "replace"), end
