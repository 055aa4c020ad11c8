"""Stretches of time as people write them: two moments, or hours of the week."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass

from stream_detector.cells.zones import zone_of

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_TIME = r"([01]?\d|2[0-4]):([0-5]\d)"
_WEEKLY = re.compile(rf"\s*([A-Za-z, -]+?)\s+{_TIME}\s*-\s*{_TIME}\s*")
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_DAY_MINUTES = 1440

Span = tuple[int, int, str]
"""Begin and end in milliseconds since 1970, and what it is called."""


def to_ms(moment: dt.datetime) -> int:
    """Milliseconds since 1970 of an aware time."""
    return (moment - _EPOCH) // dt.timedelta(milliseconds=1)


def read_moment(text: str, zone: str) -> int:
    """Milliseconds since 1970 of a time in ISO 8601, local in ``zone`` where it names none.

    Raises ``ValueError``.
    """
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError("start and end are times such as 2024-05-01T02:00") from error
    return to_ms(moment if moment.tzinfo is not None else moment.replace(tzinfo=zone_of(zone)))


@dataclass(frozen=True, slots=True)
class WeeklyRule:
    """Hours of the week.

    Attributes:
        weekdays: on which they begin, Monday as 0.
        begin: minutes after midnight.
        end: likewise; beyond a day where they end on the next.
    """

    weekdays: frozenset[int]
    begin: int
    end: int

    def spans(self, zone: str, start_ms: int, end_ms: int) -> list[Span]:
        """Those that touch a stretch of time, by the clock on the wall of ``zone``."""
        tz = zone_of(zone)
        first = _local_date(start_ms, tz) - dt.timedelta(days=2)
        last = _local_date(end_ms, tz)
        found = []
        while first <= last:
            if first.weekday() in self.weekdays:
                begin, end = (at_minute(first, each, tz) for each in (self.begin, self.end))
                if begin < end_ms and end > start_ms:
                    found.append((begin, end, ""))
            first += dt.timedelta(days=1)
        return found


def _local_date(time_ms: int, tz: dt.tzinfo) -> dt.date:
    return (_EPOCH + dt.timedelta(milliseconds=time_ms)).astimezone(tz).date()


def at_minute(day: dt.date, minute: int, tz: dt.tzinfo) -> int:
    """Milliseconds since 1970 at a minute after midnight, by the clock on the wall."""
    day += dt.timedelta(days=minute // _DAY_MINUTES)
    time = dt.time(minute % _DAY_MINUTES // 60, minute % 60)
    return to_ms(dt.datetime.combine(day, time, tzinfo=tz))


def read_weekly(text: str) -> WeeklyRule:
    """Read hours of the week. Raises ``ValueError`` with what they look like."""
    match = _WEEKLY.fullmatch(text)
    if match is None:
        raise ValueError("weekly: hours look like Sun 02:00-04:00 or Mon-Fri 22:00-06:00")
    hours = [int(each) for each in match.groups()[1:]]
    begin, end = hours[0] * 60 + hours[1], hours[2] * 60 + hours[3]
    if max(begin, end) > _DAY_MINUTES or begin == end:
        raise ValueError("weekly: hours go from 00:00 to 24:00, and the end is another time")
    end += _DAY_MINUTES if end < begin else 0
    return WeeklyRule(frozenset(_weekdays(match[1])), begin, end)


def _weekdays(text: str) -> set[int]:
    days: set[int] = set()
    for part in text.replace(" ", "").lower().split(","):
        if part in ("daily", "everyday"):
            return set(range(7))
        ends = [each[:3] for each in part.split("-")]
        names = [name for each, name in zip(ends, part.split("-"), strict=True) if each in _DAYS]
        if len(names) != len(ends) or not 1 <= len(ends) <= 2:  # noqa: PLR2004 - from and to
            raise ValueError("weekly: days are Mon, Tue, Wed, Thu, Fri, Sat, Sun, or daily")
        first, last = _DAYS.index(ends[0]), _DAYS.index(ends[-1])
        days |= {(first + step) % 7 for step in range((last - first) % 7 + 1)}
    return days
