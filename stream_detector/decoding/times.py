"""Event times out of what a field holds."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

LATEST_TIME_MS = 7_258_118_400_000
"""2200-01-01. A later time is a unit error, not an event."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - times without a zone are UTC


def read_time(value: Any, pattern: str) -> int:
    """Event time in milliseconds since 1970 UTC.

    Args:
        value: what the field holds, a string or a number.
        pattern: ``EventTime.format``.

    Raises:
        ValueError: the value does not fit the format or lies outside 1970 to 2200.
    """
    if isinstance(value, str):
        if pattern in ("unix_s", "unix_ms"):
            raise ValueError("expected a number")
        moment = (
            datetime.fromisoformat(value)
            if pattern in ("auto", "iso8601")
            else datetime.strptime(value, pattern)  # noqa: DTZ007 - the zone is added below
        )
        # Two subtractions instead of replace(tzinfo=UTC), which costs as much as the parsing.
        delta = moment - (_EPOCH if moment.tzinfo is not None else _NAIVE_EPOCH)
        milliseconds = delta.days * 86_400_000 + delta.seconds * 1000 + delta.microseconds // 1000
    elif isinstance(value, int | float) and not isinstance(value, bool):
        if pattern not in ("auto", "unix_s", "unix_ms"):
            raise ValueError("expected text")
        milliseconds = _read_number_time(value, pattern)
    else:
        raise ValueError("expected a time")  # noqa: TRY004 - one kind of error for the caller
    if not 0 <= milliseconds < LATEST_TIME_MS:
        raise ValueError("outside the years 1970 to 2200")
    return milliseconds


def _read_number_time(value: float, pattern: str) -> int:
    if not abs(value) < 1e20:  # noqa: PLR2004 - beyond nanoseconds of the year 5138
        raise ValueError("outside the years 1970 to 2200")
    if pattern == "unix_ms":
        return int(value)
    if pattern == "unix_s":
        return int(value * 1000)
    # `auto`: the size tells the unit for every moment between 1973 and 5138.
    for bound, per_millisecond in ((1e11, 0.001), (1e14, 1.0), (1e17, 1e3)):
        if abs(value) < bound:
            return int(value / per_millisecond)
    return int(value / 1e6)
