"""Python values as the JSON that the daemon would read: one meaning for dicts, frames and topics.

Missing is ``null``: None, NaN, infinity (as decoding has it), ``pandas.NA``, NaT. What has no such
meaning (bytes, a duration) is refused with its field and what to give instead, never turned into
something near it.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import math
import uuid
from collections.abc import Callable, Collection, Mapping
from decimal import Decimal
from typing import Any, TypeAlias

import msgspec
import numpy as np

from stream_detector.cells.times import NAMED_FORMATS
from stream_detector.cells.zones import zone_of

MAX_DEPTH = 64
"""Lists and mappings inside each other; deeper ones refer to themselves, or might as well."""

_LONGEST_PATH = 100
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_EXCEL_EPOCH = dt.datetime(1899, 12, 30)  # noqa: DTZ001 - local, as Excel's days are
_FILETIME_EPOCH = dt.datetime(1601, 1, 1, tzinfo=dt.UTC)
_DAY, _MICROSECOND = dt.timedelta(days=1), dt.timedelta(microseconds=1)
_NUMBERS: dict[str, Callable[[dt.timedelta], int | float]] = {
    "unix_s": lambda since: since / dt.timedelta(seconds=1),
    "unix_ms": lambda since: since // dt.timedelta(milliseconds=1),
    "unix_us": lambda since: since // _MICROSECOND,
    "unix_ns": lambda since: since // _MICROSECOND * 1000,
    "unix_days": lambda since: since / _DAY,
    "filetime": lambda since: (since + (_EPOCH - _FILETIME_EPOCH)) // _MICROSECOND * 10,
}
"""What a number of each format is, of the time since 1970."""

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


def time_writer(pattern: str, zone: str | None) -> TimeWriter:
    """Return how a moment is written for a time field, so that it is read as the same moment.

    Args:
        pattern: ``event.time.format``.
        zone: ``event.time.zone``, that of moments without one; None: UTC.
    """
    local = zone_of(zone) if zone is not None else dt.UTC
    if pattern == "excel":  # local days
        return lambda moment: (
            (_aware(moment, local).astimezone(local).replace(tzinfo=None) - _EXCEL_EPOCH) / _DAY
        )
    if pattern in _NUMBERS:
        number = _NUMBERS[pattern]
        return lambda moment: number(_aware(moment, local) - _EPOCH)
    if pattern in NAMED_FORMATS:
        return _iso
    if "%z" in pattern:
        return lambda moment: _aware(moment, local).strftime(pattern)
    return lambda moment: _aware(moment, local).astimezone(local).strftime(pattern)


def _aware(moment: dt.datetime, local: dt.tzinfo) -> dt.datetime:
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=local)


def _iso(moment: dt.datetime) -> str:
    """Without a zone where it has none: decoding takes it for one of the configuration's."""
    if moment.tzinfo is not None:
        moment = moment.astimezone(dt.UTC)
    return moment.isoformat()


class EventWriter:
    """Writes mappings as JSON events. Holds no state."""

    def __init__(self, time_fields: Collection[str], write_time: TimeWriter) -> None:
        """``write_time``: how moments are written in the fields of the event's time."""
        self._time_fields = frozenset(time_fields)
        self._time = write_time

    def write(self, event: Mapping[Any, Any]) -> bytes:
        """JSON of an event. Raises ``UnusableValueError``."""
        try:
            return _encode(self._mapping(event, "", 0))
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
            return _number(value)
        if isinstance(value, Mapping):
            return self._mapping(value, path, depth)
        if isinstance(value, list | tuple):
            if depth > MAX_DEPTH:
                raise UnusableValueError(path, f"nested deeper than {MAX_DEPTH}")
            return [self._value(inner, path, depth + 1) for inner in value]
        return None if kind.__name__ in _MISSING else self._other(value, path, depth)

    def _other(self, value: Any, path: str, depth: int) -> Any:
        """Return what is none of JSON's own kinds."""
        if isinstance(value, dt.date):
            return self._moment(value, path)
        if isinstance(value, np.generic):
            return self._scalar(value, path, depth)
        if isinstance(value, float | Decimal):
            return _number(float(value))
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
            return value.isoformat()
        if type(value) is not dt.datetime:  # pandas' own counts nanoseconds, and not far
            whole = dt.datetime.combine(dt.date(value.year, value.month, value.day), value.time())
            value = whole.replace(tzinfo=value.tzinfo)
        try:
            return self._time(value) if path in self._time_fields else _iso(value)
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
            return _number(float(value))
        return self._value(value.item(), path, depth)


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _is_series(value: Any) -> bool:
    """Tell whether it is a column of pandas or Polars, by name, type and ``to_list``."""
    return all(hasattr(value, name) for name in ("dtype", "to_list", "name"))


def _shallow(value: Any) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}


def _advice(value: Any) -> str:
    """Return what is wrong with a value of this type, and what to give instead."""
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
