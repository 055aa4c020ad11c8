"""Offsets from UTC: of a zone by its name, of an abbreviation, of local times many at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from stream_detector.events import Int64

_OFFSETS = (
    "UTC+0 GMT+0 Z+0 UT+0 WET+0 WEST+1 CET+1 MEZ+1 CEST+2 MESZ+2 EET+2 EEST+3 MSK+3 EST-5 EDT-4 "
    "CDT-5 MST-7 MDT-6 PST-8 PDT-7 AKST-9 AKDT-8 HST-10 JST+9 KST+9 SGT+8 HKT+8 AWST+8 AEST+10 "
    "AEDT+11 NZST+12 NZDT+13 SAST+2"
)
_HOUR_OFFSETS = {
    each.rstrip("+-0123456789"): int(each.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
    for each in _OFFSETS.split()
}
"""Abbreviations that mean one offset nearly everywhere; CST, IST and BST do not."""

_BUCKET_MS = 900_000


class UnknownZoneError(ValueError):
    """A zone that the tz database does not have."""


@lru_cache(maxsize=64)
def zone_of(name: str) -> tzinfo:
    """The zone of an IANA name such as ``Europe/Berlin``. Raises ``UnknownZoneError``."""
    if name.upper() in ("UTC", "Z", "GMT"):
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise UnknownZoneError(f"no time zone {name[:60]!r} is known here") from error


def abbreviated(name: str, zone: str | None, moment: datetime) -> timedelta:
    """Offset of an abbreviation, first as ``zone`` has it, then as nearly all the world has it.

    Raises:
        ValueError: the abbreviation is not known, or means several zones.
    """
    if zone is not None:
        for fold in (0, 1):
            local = moment.replace(tzinfo=zone_of(zone), fold=fold)
            if local.tzname() == name and (offset := local.utcoffset()) is not None:
                return offset
    hours = _HOUR_OFFSETS.get(name.upper())
    if hours is None:
        raise ValueError(f"the zone {name[:10]!r} may mean several, or none: set `zone`")
    return timedelta(hours=hours)


def to_utc(moment: datetime, zone: str | None) -> datetime:
    """A naive local time as an aware one; of an hour that comes twice the first is meant.

    An hour that the clocks skip is read as if they had not been put forward yet.
    """
    if zone is None:
        return moment.replace(tzinfo=UTC)
    return moment.replace(tzinfo=zone_of(zone))


def local_to_utc_ms(local_ms: Int64, zone: str) -> Int64:
    """``to_utc`` of many naive times in milliseconds since 1970.

    Offsets are looked up once for each quarter of an hour that occurs; where one changes within a
    quarter, for each time.
    """
    tz = zone_of(zone)
    quarters, place = np.unique(local_ms // _BUCKET_MS, return_inverse=True)
    begin = [_offset_ms(int(each) * _BUCKET_MS, tz) for each in quarters]
    end = [_offset_ms((int(each) + 1) * _BUCKET_MS - 1, tz) for each in quarters]
    offsets = np.array(begin, dtype=np.int64)[place]
    changing = np.array([a != b for a, b in zip(begin, end, strict=True)])[place]
    for row in np.flatnonzero(changing):
        offsets[row] = _offset_ms(int(local_ms[row]), tz)
    result: Int64 = local_ms - offsets
    return result


_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - local times carry no zone yet


def _offset_ms(local_ms: int, tz: tzinfo) -> int:
    moment = (_EPOCH + timedelta(milliseconds=local_ms)).replace(tzinfo=tz)
    offset = moment.utcoffset()
    return 0 if offset is None else int(offset / timedelta(milliseconds=1))


def fixed_offset(hours: int, minutes: int, negative: bool) -> timezone:
    """A zone that is so many hours and minutes from UTC. Raises ``ValueError`` beyond a day."""
    delta = timedelta(hours=hours, minutes=minutes)
    return timezone(-delta if negative else delta)
