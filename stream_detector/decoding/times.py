"""Event times out of what a field holds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from stream_detector.events import Int64

LATEST_TIME_MS = 7_258_118_400_000
"""2200-01-01. A later time is a unit error, not an event."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - times without a zone are UTC


_LAYOUT = "0000-00-00T00:00:00.000000"
_LOWEST = np.frombuffer(_LAYOUT.replace("T", " ").encode(), np.uint8)
_HIGHEST = np.frombuffer(_LAYOUT.replace("0", "9").encode(), np.uint8)
_WIDTHS = (19, 23, 26)
_ZONES = ("", "Z", "+00:00")


def read_times(values: Sequence[Any], pattern: str) -> Int64 | None:
    """``read_time`` of many texts of one layout at a twentieth of its time; None where it is not.

    That is ``2018-04-01T00:00:31``, with a blank or a T, without or with three or six digits after
    the second, without a zone or in UTC, all alike, none of them wrong.

    Args:
        values: what the field holds in each event.
        pattern: ``EventTime.format``.
    """
    if pattern not in ("auto", "iso8601"):
        return None
    try:
        text = "".join(values)
        (length,) = set(map(len, values))
    except (TypeError, ValueError):  # no texts, or of several lengths
        return None
    zone = next((z for z in _ZONES if length - len(z) in _WIDTHS and values[0].endswith(z)), None)
    if zone is None or not text.isascii():
        return None
    width = length - len(zone)
    letters = np.frombuffer(text.encode(), np.uint8).reshape(len(values), length)
    dates, behind = letters[:, :width], letters[:, width:]
    # NumPy reads more than this as a time, "now" among it, and Python other things than NumPy.
    if not (
        ((dates >= _LOWEST[:width]) & (dates <= _HIGHEST[:width])).all()
        and np.isin(dates[:, 10], (ord(" "), ord("T"))).all()
        and (behind == np.frombuffer(zone.encode(), np.uint8)).all()
    ):
        return None
    try:
        moments = np.array([v[:width] for v in values] if zone else values, "datetime64[us]")
    except ValueError:  # a month 13
        return None
    times: Int64 = moments.astype(np.int64) // 1000
    return times if times.min() >= 0 and times.max() < LATEST_TIME_MS else None


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
