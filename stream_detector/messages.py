"""Messages for output topics, in a form that client and broker take by construction.

Whatever a record holds, ``sound`` makes of its message one that the client can serialise, and
``fitted`` one that is small enough; both say in a header what is no longer as it was.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any, Protocol

import msgspec

from stream_detector.events import TopicPartition

Headers = list[tuple[str, bytes]]

MAX_MESSAGE_BYTES = 1_040_000
"""Just under the 1 MiB that brokers and the client take by default."""

LEFT_OUT = "stream-detector.left-out"
"""Header: what of the original is not in the message, for want of room."""

ORIGINAL_SIZE = "stream-detector.original-size-bytes"
"""Header: how long the value was before it was cut."""

ORIGINAL_TIMESTAMP = "stream-detector.original-timestamp"
"""Header of a dead letter: its record's own timestamp, in milliseconds since 1970."""

NULL = "stream-detector.original-null"
"""Header: what was null in the original and is not in the message, since no broker takes that."""

WHOLE = "stream-detector.whole"
"""Header: digest of the message as the pipeline made it, where the broker took another one only."""

DEAD_LETTER = "__connect.errors."
"""How the headers of a dead letter begin that say why."""

_OVERHEAD_BYTES = 100
"""What a batch of one message adds to it (kafka-python counts 61 and 21)."""

_HEADER_OVERHEAD_BYTES = 10
_LONGEST_TEXT = 1000
_LONGEST_KEY_BYTES = 1000
_SHORT_EVENT_BYTES = 100
_MARK_BYTES = 70


class Coding(Protocol):
    """How an alert's value is written; JSON, where a message names none."""

    def encode(self, body: dict[str, Any]) -> bytes:
        """Return the value of a body."""

    def decode(self, value: bytes) -> dict[str, Any]:
        """Return the body of a value that ``encode`` gave."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message for an output topic.

    ``source`` and ``offset`` tell which record caused it; ``timestamp_ms`` is the timestamp of the
    record to write, None to leave it to the client and the broker; ``coding`` is how the value of
    an alert is written, None for JSON; ``recorded_ms``, of an event's alert, is the timestamp that
    the event's record has.
    """

    source: TopicPartition
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp_ms: int | None
    coding: Coding | None = None
    recorded_ms: int | None = None

    @property
    def kind(self) -> str:
        """``alert`` or ``dead letter``."""
        return "dead letter" if _reasons_at(self.headers) is not None else "alert"


def size_bytes(message: Outgoing) -> int:
    """An upper bound of what the client sends of a message alone in its batch."""
    headers = sum(len(n.encode()) + len(c) + _HEADER_OVERHEAD_BYTES for n, c in message.headers)
    return len(message.key or b"") + len(message.value or b"") + headers + _OVERHEAD_BYTES


def header_name(name: str) -> str:
    """A header's name that can be written as UTF-8; bytes that are none are spelt out."""
    try:
        name.encode()
    except UnicodeEncodeError:
        pass
    else:
        return name
    try:
        return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:
        return name.encode("utf-8", "backslashreplace").decode()


def sound(message: Outgoing) -> Outgoing:
    """The message with a key or a value: brokers know no record without both."""
    if message.key is None and message.value is None:
        return replace(message, value=b"", headers=[*message.headers, (NULL, b"value")])
    return message


def with_key(message: Outgoing) -> Outgoing:
    """The message for a compacted topic, which takes none without a key: its record's place."""
    key = f"{message.source}-{message.offset}".encode()
    return _marked(replace(message, key=key, headers=[*message.headers, (NULL, b"key")]), message)


def fitted(message: Outgoing, limit: int = MAX_MESSAGE_BYTES) -> Outgoing:
    """The message without what it copies of the record, as far as ``limit`` demands it.

    An alert loses the event, then its key, the features' numbers and the ends of long texts; a dead
    letter the end of its value, then the record's headers and key. What the detector has to say
    stays, so that the result may still be too large.
    """
    if size_bytes(message) <= limit:
        return message
    if (start := _reasons_at(message.headers)) is not None:
        return _fitted_letter(message, start, limit)
    return _fitted_alert(message, limit)


def refitted(message: Outgoing, limit: int) -> Outgoing:
    """``fitted`` for a message that a broker has refused; it tells what it was made of."""
    if size_bytes(message) <= limit:
        return message
    less = fitted(message, limit - _MARK_BYTES)
    return message if less is message else _marked(less, message)


def _marked(changed: Outgoing, original: Outgoing) -> Outgoing:
    whole = (WHOLE, digest(original.key, original.value, original.headers).hex().encode())
    return replace(changed, headers=[*changed.headers, whole])


def _reasons_at(headers: Headers) -> int | None:
    """Find where a dead letter's own headers begin: a letter of a letter has two sets."""
    for index in range(len(headers) - 1, -1, -1):
        if headers[index][0] == f"{DEAD_LETTER}topic":
            return index
    return None


def _fitted_letter(message: Outgoing, start: int, limit: int) -> Outgoing:
    key, value, own = message.key, message.value, message.headers[start:]
    original, left_out = message.headers[:start], []
    size = [] if value is None else [(ORIGINAL_SIZE, str(len(value)).encode())]
    if any(name == ORIGINAL_SIZE for name, _ in own):
        size = []

    def room() -> int:
        told = [*original, *own, *size, (LEFT_OUT, b"headers, key, value")]
        return limit - size_bytes(replace(message, key=key, value=b"", headers=told))

    if room() < 0 and original:
        original = []
        left_out.append("headers")
    if room() < 0 and len(key or b"") > _LONGEST_KEY_BYTES:
        key = None
        left_out.append("key")
    if value is not None and len(value) > room():
        value = value[: max(room(), 0)]
        left_out.append("end of the value")
    elif left_out:
        size = []
    if key is None and value is None:
        value = b""
    told = [*original, *own, *size, (LEFT_OUT, ", ".join(left_out).encode())]
    return replace(message, key=key, value=value, headers=told)


def _fitted_alert(message: Outgoing, limit: int) -> Outgoing:
    value, coding = message.value or b"{}", message.coding
    body: dict[str, Any] = coding.decode(value) if coding else msgspec.json.decode(value)
    event = msgspec.json.encode(body.get("event"))
    left_out: list[str] = []
    key = message.key

    def shortened() -> Outgoing:
        told = (LEFT_OUT, ", ".join(left_out).encode())
        headers = [*message.headers, told] if left_out else message.headers
        value = coding.encode(body) if coding else msgspec.json.encode(body)
        return replace(message, key=key, value=value, headers=headers)

    if len(event) > _SHORT_EVENT_BYTES:
        body["event"] = {"truncated": True, "size_bytes": len(event)}
        left_out.append("event")
    if size_bytes(shortened()) > limit and len(key or b"") > _LONGEST_KEY_BYTES:
        key = None
        left_out.append("key")
    receipt = body.get("receipt")
    if size_bytes(shortened()) > limit and isinstance(receipt, dict) and receipt.get("features"):
        receipt["features"] = []
        left_out.append("features")
    if size_bytes(shortened()) > limit:
        body = _with_short_texts(body)
        left_out.append("ends of long texts")
    less = shortened()
    return less if size_bytes(less) < size_bytes(message) else message


def _with_short_texts(tree: Any) -> Any:
    if isinstance(tree, str):
        return tree if len(tree) <= _LONGEST_TEXT else tree[:_LONGEST_TEXT] + "…"
    if isinstance(tree, dict):
        return {name: _with_short_texts(value) for name, value in tree.items()}
    if isinstance(tree, list):
        return [_with_short_texts(value) for value in tree]
    return tree


def digest(key: bytes | None, value: bytes | None, headers: Any) -> bytes:
    """Digest a message's content without its record's timestamp, which older versions lack."""
    parts: list[bytes | None] = [key, value]
    for name, content in headers:
        if name != ORIGINAL_TIMESTAMP:
            parts += [name.encode("utf-8", "surrogateescape"), content]
    running = blake2b(digest_size=16)
    for part in parts:
        running.update(b"-" if part is None else b"%d:" % len(part) + part)
    return running.digest()
