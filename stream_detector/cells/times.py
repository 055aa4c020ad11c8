"""Event times: what a field holds becomes milliseconds since 1970, by the format of its column."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_detector.cells.loose_times import Order, read_loose
from stream_detector.cells.zones import local_to_utc_ms, to_utc
from stream_detector.events import Int64

LATEST_TIME_MS = 7_258_118_400_000
"""2200-01-01. A later time is a unit error, not an event."""

NUMBER_FORMATS = ("unix_s", "unix_ms", "unix_us", "unix_ns", "unix_days", "excel", "filetime")
"""Formats of times that are numbers."""

NAMED_FORMATS = ("auto", "iso8601", "day_first", "month_first", *NUMBER_FORMATS)
"""Formats that have a name; all others are strptime patterns."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - times without a zone are UTC, or of `zone`
_ORDERS: dict[str, Order] = {"auto": "ymd", "day_first": "dmy", "month_first": "mdy"}
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d*)?(?:[eE]\+?\d{1,2})?", re.ASCII)
_COMPACT = re.compile(r"(?:19|2[01])\d\d[01]\d[0-3]\d[0-2]\d[0-5]\d(?:[0-6]\d(?:\d{3}|\d{6})?)?")
_COMMA_NUMBER = re.compile(r"\d{9,11},\d{1,9}")
_WRAPPED = re.compile(r"/Date\((?P<ms>-?\d+)(?:[+-]\d{4})?\)/")

_LAYOUT = "0000-00-00T00:00:00.000000"
_LOWEST = np.frombuffer(_LAYOUT.replace("T", " ").encode(), np.uint8)
_HIGHEST = np.frombuffer(_LAYOUT.replace("0", "9").encode(), np.uint8)
_WIDTHS = (19, 23, 26)
_ZONES = ("", "Z", "+00:00")
_YEAR_LAST_WIDTHS = (10, 16, *_WIDTHS)
_LEAST_NUMBER = 1e8
_SIZES = ((0.0, 1e11, 0.001), (1e11, 1e14, 1.0), (1e14, 1e17, 1e3))
"""From and below which a number is of a unit, and how many of it make a millisecond."""

_HOUR_MS = 3_600_000
_EXCEL_EPOCH_DAYS = 25_569
_PER_MILLISECOND = {"unix_us": 1000, "unix_ns": 1_000_000, "filetime": 10_000}
_FILETIME_EPOCH_MS = 11_644_473_600_000


@dataclass(frozen=True, slots=True)
class TimeFormat:
    """Layout of the times of a column.

    Attributes:
        pattern: one of ``NAMED_FORMATS``, or a strptime pattern.
        zone: IANA name of the zone of local times; None for UTC.
    """

    pattern: str = "auto"
    zone: str | None = None

    def read(self, value: Any) -> int:
        """``read_time`` under this format."""
        return read_time(value, self.pattern, self.zone)

    def read_many(self, values: Sequence[Any]) -> Int64 | None:
        """``read_times`` under this format."""
        return read_times(values, self.pattern, self.zone)

    def take_moments(self, moments: NDArray[Any]) -> Int64:
        """Milliseconds since 1970 UTC of moments; datetime64[ms] are local times under ``zone``."""
        if moments.dtype.kind != "M":
            return moments
        times: Int64 = moments.astype(np.int64)
        return times if self.zone is None else local_to_utc_ms(times, self.zone)

    def as_config(self) -> dict[str, Any]:
        """Return what a configuration says of it, under ``event.time``."""
        return {"format": self.pattern} | ({} if self.zone is None else {"zone": self.zone})


def read_times(  # noqa: PLR0911 - whatever is not of the layout
    values: Sequence[Any], pattern: str, zone: str | None = None
) -> Int64 | None:
    """``read_time`` of many texts of one layout at a twentieth of its time; None where it is not.

    That is ``2018-04-01T00:00:31``, with a blank or a T, without or with three or six digits after
    the second, without a zone or in UTC, all alike, none of them wrong. Whole numbers of one size
    are read as well. With ``day_first`` and
    ``month_first`` also ``01/04/2018 00:00:31`` (or with points or dashes) and shorter ones.

    Args:
        values: what the field holds in each event.
        pattern: as for ``read_time``.
        zone: likewise.
    """
    if set(map(type, values)) == {int}:
        return _read_whole_numbers(values, pattern)
    if pattern not in ("auto", "iso8601", "day_first", "month_first"):
        return None
    try:
        text = "".join(values)
        (length,) = set(map(len, values))
    except (TypeError, ValueError):  # no texts, or of several lengths
        return None
    if not text.isascii():
        return None
    if pattern not in ("auto", "iso8601"):
        turned = _year_in_front(text, len(values), length, pattern == "day_first")
        return None if turned is None else _as_utc(turned, zone)
    named = next((z for z in _ZONES if length - len(z) in _WIDTHS and values[0].endswith(z)), None)
    if named is None:
        return None
    width = length - len(named)
    letters = np.frombuffer(text.encode(), np.uint8).reshape(len(values), length)
    dates, behind = letters[:, :width], letters[:, width:]
    # NumPy reads more than this as a time, "now" among it, and Python other things than NumPy.
    if not (
        ((dates >= _LOWEST[:width]) & (dates <= _HIGHEST[:width])).all()
        and np.isin(dates[:, 10], (ord(" "), ord("T"))).all()
        and (behind == np.frombuffer(named.encode(), np.uint8)).all()
    ):
        return None
    try:
        moments = np.array([v[:width] for v in values] if named else values, "datetime64[us]")
    except ValueError:  # a month 13
        return None
    times: Int64 = moments.astype(np.int64) // 1000
    return _as_utc(times, None if named else zone)


def _year_in_front(text: str, count: int, length: int, day_first: bool) -> Int64 | None:
    """Milliseconds of texts like ``01/04/2018 00:00:31``, all of one length; AM and PM too."""
    letters = np.frombuffer(text.encode(), np.uint8).reshape(count, length)
    if text.endswith("M"):
        halves, length = letters[:, -2], length - 3
        morning = _year_in_front_plain(letters[:, :length], day_first)
        if morning is None or not (
            (letters[:, -3] == ord(" ")).all()
            and (letters[:, -1] == ord("M")).all()
            and np.isin(halves, (ord("A"), ord("P"))).all()
        ):
            return None
        hours = morning // _HOUR_MS % 24
        if length < 16 or hours.min() < 1 or hours.max() > 12:  # noqa: PLR2004 - a clock of 12 hours
            return None
        shift = (halves == ord("P")) * 12 - (hours == 12) * 12  # noqa: PLR2004 - noon is hour 12
        result: Int64 = morning + shift * _HOUR_MS
        return result
    return _year_in_front_plain(letters, day_first)


def _year_in_front_plain(letters: NDArray[np.uint8], day_first: bool) -> Int64 | None:
    length = letters.shape[1]
    if length not in _YEAR_LAST_WIDTHS:
        return None
    first = (letters[:, 0:2], letters[:, 3:5])
    day, month = first if day_first else first[::-1]
    marks, between = letters[:, (2, 5)], letters[:, 10:11]
    if not (np.isin(marks, (ord("/"), ord("."), ord("-"))).all() and (between == ord(" ")).all()):
        return None
    dash = np.full((len(letters), 1), ord("-"), np.uint8)
    turned = np.hstack((letters[:, 6:10], dash, month, dash, day, letters[:, 10:]))
    if not ((turned >= _LOWEST[:length]) & (turned <= _HIGHEST[:length])).all():
        return None
    if length > 10 and (turned[:, 10] != ord(" ")).any():  # noqa: PLR2004 - behind the date
        return None
    whole = np.ascontiguousarray(turned).view(f"S{length}").ravel().astype(str)
    try:
        moments = whole.astype("datetime64[us]")
    except ValueError:  # a month 13
        return None
    return moments.astype(np.int64) // 1000


def _read_whole_numbers(values: Sequence[int], pattern: str) -> Int64 | None:
    """``_read_number_time`` of many, where their unit is seconds, ms or µs, and one for all."""
    try:
        numbers = np.array(values, dtype=np.int64)
    except OverflowError:
        return None
    least, most = int(numbers.min()), int(numbers.max())
    if pattern == "unix_ms":
        times = numbers
    elif pattern == "unix_s" and most < LATEST_TIME_MS:
        times = numbers * 1000
    elif pattern == "auto":
        fits = [per for low, high, per in _SIZES if low <= least and most < high]
        if not fits:
            return None
        times = (numbers / fits[0]).astype(np.int64)
    else:
        return None
    if least < 0 or int(times.max()) >= LATEST_TIME_MS:
        return None
    return times


def _as_utc(times: Int64, zone: str | None) -> Int64 | None:
    if not len(times) or times.min() < 0 or times.max() >= LATEST_TIME_MS:
        return None
    if zone is not None:
        times = local_to_utc_ms(times, zone)
    return times if times.min() >= 0 and times.max() < LATEST_TIME_MS else None


def read_time(value: Any, pattern: str, zone: str | None = None) -> int:
    """Event time in milliseconds since 1970 UTC.

    Args:
        value: what the field holds, a string or a number.
        pattern: one of ``NAMED_FORMATS``, or a strptime pattern. ``auto`` reads ISO 8601 and all
            else that can mean one moment only: the year in front, a month by its name, a number
            whose size tells its unit.
        zone: IANA name for texts that name no zone; None for UTC.

    Raises:
        ValueError: the value does not fit the format or lies outside 1970 to 2200.
    """
    if isinstance(value, str):
        milliseconds = _read_text(value, pattern, zone)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        if pattern not in ("auto", *NUMBER_FORMATS):
            if not pattern.startswith("%"):
                raise ValueError("expected text")
            milliseconds = _read_text(_digits_of(value), pattern, zone)  # 20240304 under %Y%m%d
        else:
            milliseconds = _read_number_time(value, pattern, zone)
    else:
        raise ValueError("expected a time")  # noqa: TRY004 - one kind of error for the caller
    if not 0 <= milliseconds < LATEST_TIME_MS:
        raise ValueError("outside the years 1970 to 2200")
    return milliseconds


def _read_text(value: str, pattern: str, zone: str | None) -> int:
    if pattern in ("auto", "iso8601"):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            if pattern == "iso8601":
                moment = datetime.fromisoformat(value.strip())
            else:
                return _read_other(value, zone)
    elif pattern in NUMBER_FORMATS:
        number = _number_of(value.strip())
        if number is None:
            raise ValueError("expected a number")
        return _read_number_time(number, pattern, zone)
    elif pattern in _ORDERS:
        moment = read_loose(value, _ORDERS[pattern], zone)
    else:
        moment = _strptime(value, pattern)
    if moment.tzinfo is None and zone is not None:
        moment = to_utc(moment, zone)
    # Two subtractions instead of replace(tzinfo=UTC), which costs as much as the parsing.
    return _milliseconds(moment)


def _milliseconds(moment: datetime) -> int:
    delta = moment - (_EPOCH if moment.tzinfo is not None else _NAIVE_EPOCH)
    return delta.days * 86_400_000 + delta.seconds * 1000 + delta.microseconds // 1000


def _read_other(value: str, zone: str | None) -> int:
    """A text under ``auto`` that is no ISO 8601: a number, or what ``read_loose`` reads."""
    text = value.strip().strip("\"'").strip()
    if _COMMA_NUMBER.fullmatch(text):
        text = text.replace(",", ".")
    if (number := _number_of(text)) is not None:
        if abs(number) < _LEAST_NUMBER:
            raise ValueError("a number this small tells no time after 1973")
        return _read_number_time(number, "auto", zone)
    if (wrapped := _WRAPPED.fullmatch(text)) is not None:
        return int(wrapped["ms"])
    return _milliseconds(read_loose(text, "ymd", zone))


def _strptime(value: str, pattern: str) -> datetime:
    try:
        return datetime.strptime(value, pattern)  # noqa: DTZ007 - the zone is added by the caller
    except ValueError:
        # Blanks around it, and more digits behind the second than strptime takes.
        text = re.sub(r"([.,]\d{6})\d+", r"\1", value.strip())
        if text == value:
            raise
        return datetime.strptime(text, pattern)  # noqa: DTZ007 - likewise


def _number_of(text: str) -> float | None:
    if not _NUMBER.fullmatch(text):
        return None
    return int(text) if text.lstrip("+-").isdigit() else float(text)


def _digits_of(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _read_number_time(value: float, pattern: str, zone: str | None) -> int:
    if not abs(value) < 1e20:  # noqa: PLR2004 - beyond nanoseconds of the year 5138
        raise ValueError("outside the years 1970 to 2200")
    if pattern == "auto":
        return _read_by_size(value, zone)
    if pattern == "excel":  # local days since 1899-12-30, a leap day of 1900 included
        local_ms = round((value - _EXCEL_EPOCH_DAYS) * 86_400_000)
        return _milliseconds(to_utc(_NAIVE_EPOCH + timedelta(milliseconds=local_ms), zone))
    if pattern in _PER_MILLISECOND:
        per = _PER_MILLISECOND[pattern]
        since_1970 = value // per if isinstance(value, int) else int(value / per)
        return int(since_1970) - (_FILETIME_EPOCH_MS if pattern == "filetime" else 0)
    return int(value * {"unix_s": 1000, "unix_ms": 1, "unix_days": 86_400_000}[pattern])


def _read_by_size(value: float, zone: str | None) -> int:
    """The size tells the unit for every moment between 1973 and 5138."""
    milliseconds = int(value / 1e6)
    for _, bound, per_millisecond in _SIZES:
        if abs(value) < bound:
            milliseconds = int(value / per_millisecond)
            break
    if milliseconds >= LATEST_TIME_MS and value == int(value):
        # Not of these centuries as a number, but as digits: 20240304080000.
        digits = str(int(value))
        if _COMPACT.fullmatch(digits):
            pattern = {12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}.get(len(digits), "%Y%m%d%H%M%S%f")
            moment = datetime.strptime(digits, pattern)  # noqa: DTZ007 - the zone is added next
            return _milliseconds(to_utc(moment, zone))
    return milliseconds
