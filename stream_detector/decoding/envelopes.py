"""The event inside of an envelope: of Debezium, Kafka Connect's JSON converter, or CloudEvents.

What the envelope says of the event itself is read under names that begin with ``@``: ``@op``,
``@ts_ms`` and ``@source.table`` of Debezium, ``@id``, ``@time`` and ``@type`` of CloudEvents.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal, TypeAlias

import msgspec

from stream_detector.events import Rejection
from stream_detector.foreign import json_of

Envelope: TypeAlias = Literal["debezium", "connect", "cloudevents"]
Headers: TypeAlias = Sequence[tuple[str, bytes | None]]

_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_DELETED = {"d": "a delete", "t": "a truncated table", "m": "a logical message"}
_DAY_MS = 86_400_000
_DECIMALS = "org.apache.kafka.connect.data.Decimal"
_VARIABLE_DECIMALS = "io.debezium.data.VariableScaleDecimal"
_DAYS = ("io.debezium.time.Date", "org.apache.kafka.connect.data.Date")

_raw_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class EnvelopeError(Exception):
    """Why an envelope holds no event: ``rejection`` says it."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.rejection = Rejection("decode", reason, message)


def open_envelope(
    value: bytes, envelope: Envelope, headers: Headers = (), *, about: bool = True
) -> bytes:
    """The JSON of the event inside; the value itself where it has no such envelope.

    Args:
        value: of a record.
        envelope: which one to look for.
        headers: of the record.
        about: whether to put what the envelope says into the event, under names with ``@``.

    Raises:
        EnvelopeError: there is an envelope without an event: a delete, say.

    >>> open_envelope(b'{"before": null, "after": {"a": 1}, "op": "c"}', "debezium")
    b'{"a": 1,"@before":null,"@op":"c"}'
    """
    try:
        members = _raw_members(value)
    except _ERRORS:
        try:
            members = _raw_members(json_of(value))
        except _ERRORS:
            return value  # decoding says what is wrong with it
    inside, outside = _OPENERS[envelope](value, members, headers)
    if not about or not outside:
        return inside
    return _with_members(inside, outside)


def guess_envelope(events: Sequence[Mapping[str, Any]]) -> Envelope | None:
    """The envelope that all events of a sample have, or None."""
    if not events:
        return None
    inner = [e["payload"] if e.keys() == {"schema", "payload"} else e for e in events]
    changes = [e for e in inner if isinstance(e, Mapping)]
    if changes and all(
        {"op", "after"} <= e.keys() and ("source" in e or "ts_ms" in e) for e in changes
    ):
        return "debezium"
    if all(e.keys() == {"schema", "payload"} for e in events):
        return "connect"
    if all("specversion" in e and e.keys() & {"data", "data_base64"} for e in events):
        return "cloudevents"
    return None


_Members: TypeAlias = dict[str, msgspec.Raw]


def _debezium(value: bytes, members: _Members, _: Headers) -> tuple[bytes, _Members]:
    schema, change = None, members
    if _is_object(members.get("payload")) and "schema" in members:
        schema, change = bytes(members["schema"]), _raw_members(members["payload"])
        value = bytes(members["payload"])
    elif members.keys() == {"schema", "payload"}:
        raise EnvelopeError("tombstone", "a change without a payload")
    if "op" not in change or not {"before", "after"} & change.keys():
        return _typed(value, schema, ()), {}  # flattened already, as by ExtractNewRecordState
    after = _unquoted(change.pop("after", msgspec.Raw(b"null")))
    if not _is_object(after):
        op = str(msgspec.json.decode(change["op"]))
        what = _DELETED.get(op, f"a change of the kind {op[:20]!r}")
        raise EnvelopeError("tombstone", f"{what}: there is no row after it")
    return _typed(bytes(after), schema, ("after",)), change


def _connect(value: bytes, members: _Members, _: Headers) -> tuple[bytes, _Members]:
    if "payload" not in members:
        return value, {}
    payload = _unquoted(members["payload"])
    if not _is_object(payload):
        raise EnvelopeError("tombstone", "the payload is no object")
    schema = bytes(members["schema"]) if "schema" in members else None
    return _typed(bytes(payload), schema, ()), {}


def _cloudevents(value: bytes, members: _Members, headers: Headers) -> tuple[bytes, _Members]:
    if "specversion" not in members:  # binary mode: the attributes are headers
        said = {
            name[3:]: msgspec.Raw(msgspec.json.encode(content.decode("utf-8", "replace")))
            for name, content in headers
            if name.startswith("ce_") and content is not None
        }
        return value, said
    said = {name: raw for name, raw in members.items() if name not in ("data", "data_base64")}
    if "data_base64" in members:
        try:
            data = b64decode(msgspec.json.decode(members["data_base64"], type=str), validate=True)
        except (ValueError, msgspec.MsgspecError) as error:
            raise EnvelopeError("malformed", f"data_base64 is no base64 ({error})") from error
        return data, said
    data = bytes(_unquoted(members.get("data", msgspec.Raw(b"null"))))
    if not _is_object(msgspec.Raw(data)):
        raise EnvelopeError("tombstone", "the CloudEvent has no data that are an object")
    return data, said


_OPENERS: dict[str, Callable[[bytes, _Members, Headers], tuple[bytes, _Members]]] = {
    "debezium": _debezium,
    "connect": _connect,
    "cloudevents": _cloudevents,
}


def _is_object(raw: msgspec.Raw | None) -> bool:
    return raw is not None and bytes(raw).lstrip()[:1] == b"{"


def _unquoted(raw: msgspec.Raw) -> msgspec.Raw:
    """JSON that stands inside of a JSON string, as MongoDB's documents do, without the quotes."""
    if bytes(raw).lstrip()[:1] != b'"':
        return raw
    text: str = msgspec.json.decode(raw, type=str)
    return msgspec.Raw(text.encode("utf-8", "surrogatepass")) if text.lstrip()[:1] == "{" else raw


def _with_members(inside: bytes, outside: _Members) -> bytes:
    whole = inside.strip()
    if whole[:1] != b"{" or whole[-1:] != b"}":
        return inside
    added = b",".join(
        json.dumps("@" + name).encode() + b":" + bytes(raw) for name, raw in outside.items()
    )
    own = whole[:-1].rstrip()
    return own + (b"" if own == b"{" else b",") + added + b"}"


# --- what a schema says of the types -------------------------------------------------------------


def _typed(value: bytes, schema: bytes | None, within: tuple[str, ...]) -> bytes:
    """The event with plain numbers for decimals in base64 and milliseconds for days."""
    special = _special_fields(schema, within) if schema is not None else ()
    if not special:
        return value
    event = msgspec.json.decode(value)
    for path, kind, scale in special:
        node = event
        for name in path[:-1]:
            node = node.get(name) if isinstance(node, dict) else None
        if isinstance(node, dict) and node.get(path[-1]) is not None:
            node[path[-1]] = _converted(node[path[-1]], kind, scale)
    return msgspec.json.encode(event)


@lru_cache(maxsize=256)
def _special_fields(
    schema: bytes, within: tuple[str, ...]
) -> tuple[tuple[tuple[str, ...], str, int], ...]:
    found: list[tuple[tuple[str, ...], str, int]] = []

    def look(node: Any, path: tuple[str, ...]) -> None:
        if not isinstance(node, dict):
            return
        name = node.get("name")
        if name == _DECIMALS and node.get("type") == "bytes":
            found.append((path, "decimal", int((node.get("parameters") or {}).get("scale", 0))))
        elif name == _VARIABLE_DECIMALS:
            found.append((path, "variable", 0))
        elif name in _DAYS:
            found.append((path, "days", 0))
        else:
            for inner in node.get("fields") or ():
                if isinstance(inner, dict) and isinstance(inner.get("field"), str):
                    look(inner, (*path, inner["field"]))

    try:
        look(msgspec.json.decode(schema), ())
    except (*_ERRORS, ValueError, TypeError):
        return ()
    count = len(within)
    return tuple((p[count:], k, s) for p, k, s in found if p[:count] == within and p[count:])


def _converted(value: Any, kind: str, scale: int) -> Any:
    if kind == "days":
        return value * _DAY_MS if isinstance(value, int) else value
    if kind == "variable" and isinstance(value, dict):
        scale, value = int(value.get("scale") or 0), value.get("value")
    if not isinstance(value, str):
        return value
    try:
        number = int.from_bytes(b64decode(value, validate=True), "big", signed=True)
    except ValueError:
        return value
    return float(f"{number}e{-scale}")
