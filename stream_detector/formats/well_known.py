"""Protobuf's messages of its own, and Confluent's decimal, as JSON's values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from stream_detector.formats.errors import PayloadError
from stream_detector.formats.values import (
    MAX_DECIMAL_BYTES,
    MAX_DECIMAL_SCALE,
    base64_text,
    decimal,
    scaling,
)

MAX_NESTING = 32
"""Levels of messages that are read; Google's parser itself stops at 100."""

Take: TypeAlias = Callable[[Any, int], Any]
"""Makes a message JSON's values; called with the level that it is at."""

_WRAPPERS = ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String")


def well_known(descriptor: Any, moments: str) -> Take | None:
    """Return what reads a message whose meaning is more than its fields; None for any other.

    Args:
        descriptor: of the message.
        moments: unit of moments.
    """
    name = descriptor.full_name
    if name == "confluent.type.Decimal":
        return _decimal
    if not name.startswith("google.protobuf."):
        return None
    kind = name.removeprefix("google.protobuf.")
    if kind in ("Timestamp", "Duration"):
        unit = moments if kind == "Timestamp" else "unix_ms"
        return _milliseconds if unit == "unix_ms" else _moment(unit)
    if kind == "BytesValue":
        return lambda value, _level: base64_text(value.value)
    if kind.endswith("Value") and kind[:-5] in _WRAPPERS:
        return lambda value, _level: value.value
    return {"Struct": _struct, "Value": _value, "ListValue": _list}.get(kind)


def _milliseconds(value: Any, _level: int) -> Any:
    nanos, whole = value.nanos, int(value.seconds) * 1000
    if nanos:
        millis, rest = divmod(nanos, 10**6)
        return whole + millis + rest / 10**6 if rest else whole + millis
    return whole


def _moment(moments: str) -> Callable[[Any, int], Any]:
    scale = scaling("nanos", moments)
    nanos: Take = lambda value, _level: value.seconds * 10**9 + value.nanos  # noqa: E731
    return nanos if scale is None else lambda value, level: scale(nanos(value, level))


def _decimal(value: Any, _level: int) -> Any:
    if len(value.value) > MAX_DECIMAL_BYTES or abs(value.scale) > MAX_DECIMAL_SCALE:
        raise PayloadError("out_of_range", f"a decimal of {len(value.value)} bytes")
    return decimal(int.from_bytes(value.value, "big", signed=True), value.scale)


def _struct(value: Any, level: int) -> Any:
    return {name: _value(one, level + 1) for name, one in value.fields.items()}


def _list(value: Any, level: int) -> Any:
    return [_value(one, level + 1) for one in value.values]


def _value(value: Any, level: int) -> Any:
    if level > MAX_NESTING:
        raise PayloadError("too_deep", f"nested more than {MAX_NESTING} levels deep")
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return _struct(value.struct_value, level)
    if kind == "list_value":
        return _list(value.list_value, level)
    return None if kind in (None, "null_value") else getattr(value, kind)
