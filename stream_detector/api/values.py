"""Python values as the JSON that the daemon would read: one meaning for dicts, frames and topics.

Missing is ``null``: None, NaN, ``pandas.NA``, NaT. What has no such meaning (infinity, bytes, a
duration) is refused with its field and what to give instead, never turned into something near it.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import math
import uuid
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, TypeAlias

import msgspec
import numpy as np

MAX_DEPTH = 64
"""Lists and mappings inside each other; deeper ones refer to themselves, or might as well."""

_LONGEST_PATH = 100
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MISSING = frozenset({"NAType", "NaTType", "MaskedConstant"})
_encode = msgspec.json.Encoder().encode

_PLAINER: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (enum.Enum, lambda value: value.value),
    (str, str.__str__),  # a subclass may print itself otherwise
    (int, int),
    (uuid.UUID | dt.time, str),
)
"""Types that have a plainer one, in the order in which they are tried."""

TimeWriter: TypeAlias = Callable[[dt.datetime], str | int | float]
"""Writes a moment as the configuration's time field is read."""


class UnusableValueError(ValueError):
    """A value that no event can hold.

    Attributes:
        field: path of the field; empty where it is the event itself.
    """

    def __init__(self, field: str, message: str) -> None:
        """``message``: what is wrong, and what to give."""
        self.field = field[:_LONGEST_PATH]
        super().__init__(f"{self.field or 'the event'}: {message}")


def time_writer(pattern: str) -> TimeWriter:
    """How a moment is written for a time field of a format (``event.time.format``).

    Moments with a zone are taken to UTC; those without are UTC already, as in a file.
    """
    if pattern in ("auto", "iso8601"):
        return _iso
    if pattern in ("unix_s", "unix_ms"):
        unit = dt.timedelta(seconds=1) if pattern == "unix_s" else dt.timedelta(milliseconds=1)
        whole = pattern == "unix_ms"
        return lambda moment: (
            (_utc(moment) - _EPOCH) // unit if whole else (_utc(moment) - _EPOCH) / unit
        )
    return lambda moment: _utc(moment).strftime(pattern)


def _utc(moment: dt.datetime) -> dt.datetime:
    if moment.tzinfo is None:
        return moment.replace(tzinfo=dt.UTC)
    return moment.astimezone(dt.UTC)


def _iso(moment: dt.datetime) -> str:
    # The base class's method: pandas' own writes nanoseconds, and NaT does not come here.
    if moment.tzinfo is None:
        return dt.datetime.isoformat(moment)
    return dt.datetime.isoformat(_utc(moment))


class EventWriter:
    """Writes mappings as JSON events. Holds no state.

    A key with dots that the configuration reads as a path (``card.country``) is written as one,
    unless the event has the object as well.
    """

    def __init__(self, time_field: str | None, pattern: str, fields: frozenset[str]) -> None:
        """``fields``: all that the configuration reads, ``time_field`` among them."""
        self._time_field = time_field
        self._time = time_writer(pattern)
        self._dotted = frozenset(name for name in fields if "." in name)

    def write(self, event: Mapping[Any, Any]) -> bytes:
        """JSON of an event. Raises ``UnusableValueError``."""
        made = self._mapping(event, "", 0)
        if self._dotted and not self._dotted.isdisjoint(made):
            made = self._nested(made)
        try:
            return _encode(made)
        except UnicodeEncodeError as error:
            raise UnusableValueError("", f"a text holds half a character: {error}") from error

    def write_object(self, event: Any) -> bytes:
        """JSON of a dataclass's fields. Raises ``UnusableValueError``."""
        return self.write(_shallow(event))

    def cell(self, value: Any, field: str) -> str:
        """JSON of one value of a field. Raises ``UnusableValueError``."""
        try:
            return _encode(self._value(value, field, 0)).decode()
        except UnicodeEncodeError as error:
            raise UnusableValueError(field, f"holds half a character: {error}") from error

    def _nested(self, event: dict[str, Any]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for name, value in event.items():
            *parents, leaf = name.split(".") if name in self._dotted else [name]
            node = made
            for depth, parent in enumerate(parents):
                if ".".join(parents[: depth + 1]) in event:
                    node, leaf = made, name  # the object is there as well: both stay
                    break
                node = node.setdefault(parent, {})
            node[leaf] = value
        return made

    def _mapping(self, mapping: Mapping[Any, Any], path: str, depth: int) -> dict[str, Any]:
        if depth > MAX_DEPTH:
            raise UnusableValueError(path, f"nested deeper than {MAX_DEPTH}")
        made: dict[str, Any] = {}
        for key, value in mapping.items():
            if not isinstance(key, str):
                raise UnusableValueError(
                    path,
                    f"the key {key!r:.80} is {type(key).__name__}; names of fields are text",
                )
            name = str(key)
            made[name] = self._value(value, f"{path}.{name}" if path else name, depth + 1)
        return made

    def _value(self, value: Any, path: str, depth: int) -> Any:
        kind = type(value)
        if kind is str or kind is int or kind is bool or value is None:
            return value
        if kind is float:
            return _number(value, path)
        if isinstance(value, Mapping):
            return self._mapping(value, path, depth)
        if isinstance(value, list | tuple):
            if depth > MAX_DEPTH:
                raise UnusableValueError(path, f"nested deeper than {MAX_DEPTH}")
            return [self._value(inner, path, depth + 1) for inner in value]
        return None if kind.__name__ in _MISSING else self._other(value, path, depth)

    def _other(self, value: Any, path: str, depth: int) -> Any:
        """What is none of JSON's own kinds."""
        if isinstance(value, dt.date):
            return self._moment(value, path)
        if isinstance(value, np.generic):
            return self._scalar(value, path, depth)
        if isinstance(value, float | Decimal):
            return _number(float(value), path)
        for kind, plain in _PLAINER:
            if isinstance(value, kind):
                return self._value(plain(value), path, depth)
        if isinstance(value, np.ndarray) or _is_series(value):
            return self._value(value.tolist(), path, depth)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return self._mapping(_shallow(value), path, depth)
        raise UnusableValueError(path, _advice(value))

    def _moment(self, value: dt.date, path: str) -> str | int | float:
        if not isinstance(value, dt.datetime):
            value = dt.datetime(value.year, value.month, value.day)  # noqa: DTZ001 - as a file's
        try:
            return self._time(value) if path == self._time_field else _iso(value)
        except (ValueError, OverflowError) as error:
            raise UnusableValueError(path, f"{value!r:.80} cannot be written: {error}") from error

    def _scalar(self, value: np.generic, path: str, depth: int) -> Any:
        if isinstance(value, np.datetime64):
            if np.isnat(value):
                return None
            moment = value.astype("datetime64[us]").item()
            if isinstance(moment, dt.date):
                return self._moment(moment, path)
            raise UnusableValueError(path, f"{value!r:.80} lies outside of the calendar")
        if isinstance(value, np.timedelta64 | np.complexfloating | np.void | np.bytes_):
            raise UnusableValueError(path, _advice(value.item()))
        if isinstance(value, np.longdouble):
            return _number(float(value), path)
        return self._value(value.item(), path, depth)


def _number(value: float, path: str) -> float | None:
    if math.isfinite(value):
        return value
    if math.isnan(value):
        return None
    raise UnusableValueError(
        path,
        f"{value} is no number that can be learnt from; give the largest that can occur, "
        "or None where it is not known",
    )


def _is_series(value: Any) -> bool:
    """Whether it is a column of pandas or Polars, which have a name, a type and ``to_list``."""
    return all(hasattr(value, name) for name in ("dtype", "to_list", "name"))


def _shallow(value: Any) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}


def _advice(value: Any) -> str:
    """What is wrong with a value of this type, and what to give instead."""
    kind = type(value).__name__
    if isinstance(value, bytes | bytearray | memoryview):
        return f"{kind} is no text; decode it: value.decode()"
    if isinstance(value, dt.timedelta):
        return f"{kind} has no unit in an event; give a number: value.total_seconds()"
    if isinstance(value, set | frozenset):
        return f"{kind} has no order; give a list: sorted(value)"
    if isinstance(value, complex):
        return f"{kind} is no number that can be ordered; give its parts, or abs(value)"
    return (
        f"{kind} is no value of an event; give text (str(value)), a number, True, False, None or "
        "a datetime"
    )
