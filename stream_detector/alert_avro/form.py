"""Alerts in the form that a topic has them: a registry's prefix, and Avro by the schema of alerts.

What goes in and comes out is the JSON that alerts are everywhere else, so that nothing before the
output knows of it. A value that the schema has no place for goes into ``more``: whatever kinds of
alerts there will be, each is written, and read back as it was.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from typing import Any, TypeAlias

import msgspec

from stream_detector.alert_avro.schema import MORE
from stream_detector.alerts import iso_time
from stream_detector.errors import StateError
from stream_detector.formats.avro import AvroReader
from stream_detector.formats.errors import PayloadError, SchemaError
from stream_detector.formats.schemas import Schema
from stream_detector.messages import Outgoing, fitted

CONTENT_TYPE = b"application/avro"
KIND = "alerts"
"""Kind of a ``Schema`` that says how alerts are written: its parts are the id and the schema."""

_PREFIX = struct.Struct(">bI")
_TIMES = frozenset({"event_time", "start", "end", "tick"})
_NULL_IS_SAID = frozenset({"event_id", "event", "value", "deviations", "field"})
"""Fields that JSON has where they are null; others are left out."""

_Write: TypeAlias = Callable[[Any], Any]


class _UnfitError(Exception):
    """A value that is not of the schema's type."""


class AlertForm:
    """Writes and reads alerts by one registered schema. Holds no state.

    Attributes:
        number: the schema's id in the registry.
    """

    def __init__(self, number: int, text: str) -> None:
        """Take the id and the schema. Raises ``SchemaError``."""
        self.number, self._text = number, text
        self._prefix = _PREFIX.pack(0, number)
        self._reader = AvroReader([text], {}, whole=True)
        import fastavro  # noqa: PLC0415 - an extra; its reader has missed it already

        node = msgspec.json.decode(text)
        if not isinstance(node, dict) or node.get("type") != "record":
            raise SchemaError("it is of no record")
        self._write = _writer(node)
        self._schema = fastavro.parse_schema(node)
        self._encode: Callable[[BytesIO, Any, Any], None] = fastavro.schemaless_writer

    @classmethod
    def of(cls, schema: Schema) -> AlertForm | None:
        """Return the form that ``stored`` gave; None for JSON. Raises ``StateError``."""
        if schema.kind != KIND:
            return None
        try:
            number, text = schema.parts
            return cls(int(number), text)
        except (ValueError, SchemaError, struct.error) as error:
            raise StateError(f"the schema of alerts that was kept is none: {error}") from error

    def stored(self) -> Schema:
        """Return what the journal keeps of it."""
        return Schema(KIND, (str(self.number), self._text))

    def written(self, message: Outgoing) -> Outgoing:
        """Return an alert's message in this form; its value is JSON."""
        value = message.value or b"{}"
        raw = msgspec.json.decode(value, type=dict[str, msgspec.Raw])
        body: dict[str, Any] = {
            name: text if name == "event" else msgspec.json.decode(text)
            for name, text in raw.items()
        }
        headers = [
            (name, CONTENT_TYPE if name == "content-type" else content)
            for name, content in message.headers
        ]
        return fitted(replace(message, value=self.encode(body), headers=headers, coding=self))

    def encode(self, body: dict[str, Any]) -> bytes:
        """Return the value of a message, of what JSON would have."""
        event = body.get("event")
        text = None if event is None else _json(event)
        made = self._write({**body, "event": None if text == "null" else text})
        out = BytesIO(self._prefix)
        out.seek(len(self._prefix))
        self._encode(out, self._schema, made)
        return out.getvalue()

    def decode(self, value: bytes) -> dict[str, Any]:
        """Return what JSON would have, of the value of a message. Raises ``PayloadError``."""
        if value[: len(self._prefix)] != self._prefix:
            raise PayloadError("schema_unknown", f"it is not of the schema {self.number}")
        return body_of(self._reader.read(value, len(self._prefix)))


def number_of(value: bytes) -> int | None:
    """Return the id of the schema that a value is of; None where it names none."""
    return _PREFIX.unpack_from(value)[1] if len(value) > _PREFIX.size and value[0] == 0 else None


def body_of(found: Any) -> dict[str, Any]:
    """Return an alert as JSON has it, of what Avro has. Raises ``PayloadError``."""
    if not isinstance(found, dict):
        raise PayloadError("wrong_type", "it is no alert")
    try:
        body: dict[str, Any] = _unfolded(found)
        event = body.get("event")
        if isinstance(event, str):
            msgspec.json.decode(event)  # others may write to the topic as well
            body["event"] = msgspec.Raw(event.encode())
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise PayloadError("malformed", f"it is no alert: {str(error)[:200]}") from error
    return body


def _unfolded(value: Any) -> Any:
    """Return a value of Avro as JSON has it: without what is not there, ``more`` in its place."""
    if isinstance(value, list):
        return [_unfolded(each) for each in value]
    if not isinstance(value, dict):
        return value
    found: dict[str, Any] = {}
    for name, each in value.items():
        if name == MORE or (each is None and name not in _NULL_IS_SAID):
            continue
        is_time = name in _TIMES and each is not None
        found[name] = iso_time(int(each)) if is_time else _unfolded(each)
    more = value.get(MORE) or {}
    return found | {name: msgspec.json.decode(text) for name, text in more.items()}


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _writer(node: Any) -> _Write:
    """Return what gives a value the form that a schema has it in, or raises ``_UnfitError``."""
    if isinstance(node, list):
        return _union([_writer(each) for each in node if each != "null"])
    if isinstance(node, str):
        return _PLAIN[node]
    if node.get("logicalType") == "timestamp-millis":
        return _moment
    if node["type"] == "record":
        return _record(node)
    if node["type"] == "array":
        return _array(_writer(node["items"]))
    return _writer(node["type"])


def _union(branches: list[_Write]) -> _Write:
    def write(value: Any) -> Any:
        if value is None:
            return None
        for branch in branches:
            try:
                return branch(value)
            except _UnfitError:
                continue
        raise _UnfitError

    return write


def _array(item: _Write) -> _Write:
    def write(value: Any) -> Any:
        if not isinstance(value, list):
            raise _UnfitError
        return [item(each) for each in value]

    return write


def _record(node: dict[str, Any]) -> _Write:
    fields = {each["name"]: each for each in node["fields"] if each["name"] != MORE}
    writers = {name: _writer(each["type"]) for name, each in fields.items()}
    absent = {name: _absent(each["type"]) for name, each in fields.items()}

    def write(value: Any) -> Any:
        if not isinstance(value, dict):
            raise _UnfitError
        made, more = dict(absent), dict[str, str]()
        for name, each in value.items():
            said = each is not None or name in _NULL_IS_SAID or absent.get(name) is not None
            try:
                if name in writers and said:
                    made[name] = writers[name](each)
                    continue
            except _UnfitError:
                pass
            more[name] = _json(each)
        return {**made, MORE: more}

    return write


def _absent(node: Any) -> Any:
    """Return what stands for a value that an alert does not have, or not of this type."""
    if isinstance(node, list):
        return None
    if isinstance(node, dict):
        if node["type"] == "record":
            return _record(node)({})
        return [] if node["type"] == "array" else _absent(node["type"])
    return {"string": "", "double": float("nan")}.get(node, 0)


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _UnfitError
    return value


def _whole(end: int) -> _Write:
    def write(value: Any) -> int:
        if type(value) is not int or not -end <= value < end:
            raise _UnfitError
        return value

    return write


def _number(value: Any) -> float:
    if value is None:  # JSON's way to write a NaN
        return float("nan")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _UnfitError
    try:
        number = float(value)
    except OverflowError:
        raise _UnfitError from None
    if number != value:  # it would be read back as another one
        raise _UnfitError
    return number


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _UnfitError
    return value


def _moment(value: Any) -> int:
    """Return milliseconds, of what ``iso_time`` writes."""
    if not isinstance(value, str):
        raise _UnfitError
    try:
        moment = datetime.fromisoformat(value)
        whole = int(moment.replace(microsecond=0).timestamp()) * 1000 + moment.microsecond // 1000
    except (ValueError, OverflowError):
        raise _UnfitError from None
    if moment.tzinfo is not UTC or iso_time(whole) != value:
        raise _UnfitError  # it would be read back otherwise
    return whole


_PLAIN: dict[str, _Write] = {
    "boolean": _boolean,
    "int": _whole(2**31),
    "long": _whole(2**63),
    "double": _number,
    "string": _text,
}
