"""A date and a time of day in any order and most spellings, found by pattern, never guessed.

Which of two numbers is the day is not a question here: the caller says it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Literal, TypeAlias

from stream_detector.cells.zones import abbreviated, fixed_offset, to_utc, zone_of

Order: TypeAlias = Literal["ymd", "dmy", "mdy"]

_MONTH_NAMES = (
    "jan january januar jänner janvier januari janeiro enero ene gennaio gen",
    "feb february februar février fevrier févr fevr februari fevereiro fev febrero febbraio",
    "mar march märz mär mrz maerz mars maart mrt março marco marzo",
    "apr april avril avr abril abr aprile",
    "may mai mei maio mayo maggio mag",
    "jun june juni juin junho junio giugno giu",
    "jul july juli juillet juil julho julio luglio lug",
    "aug august août aout augustus agosto ago",
    "sep sept september septembre setembro set septiembre settembre",
    "oct october oktober okt octobre outubro out octubre ottobre ott",
    "nov november novembre novembro noviembre",
    "dec december dezember dez décembre déc decembre desember dezembro diciembre dic dicembre",
)
MONTHS = {word: index for index, line in enumerate(_MONTH_NAMES, 1) for word in line.split()}
"""Names of months in English, German, French, Dutch, Portuguese, Spanish and Italian."""

_WEEKDAY_NAMES = (
    "mon tue tues wed thu thur thurs fri sat sun monday tuesday wednesday thursday friday saturday "
    "sunday mo di mi do fr sa so montag dienstag mittwoch donnerstag freitag samstag sonnabend "
    "sonntag lun mar mer jeu ven sam dim lundi mardi mercredi jeudi vendredi samedi dimanche ma wo "
    "vr za zo lunes martes miércoles jueves viernes sábado domingo mié jue vie"
)
_FILLER_WORDS = "t at um uhr the of de del à o'clock den le"
_WITHOUT_MEANING = frozenset([*_WEEKDAY_NAMES.split(), *_FILLER_WORDS.split()])

_YEAR_FIRST = re.compile(
    r"(?<![\dA-Za-z/])(?P<y>\d{4})(?P<s>[-/.: ])(?P<m>\d{1,2})(?P=s)(?P<d>\d{1,2})(?!\d)", re.ASCII
)
_YEAR_LAST = re.compile(
    r"(?<!\d)(?P<a>\d{1,2})(?P<s>[-/. ])(?P<b>\d{1,2})(?P=s)(?P<y>\d{4}|\d{2})(?![\d:])", re.ASCII
)
_DAY_NAME_YEAR = re.compile(
    r"(?<!\d)(?P<d>\d{1,2})(?:st|nd|rd|th|º|\.)?[-/. ]{0,2}(?:de )?(?P<n>[^\W\d_]{3,})\.?"
    r"(?: de |[-/., ]{0,2})(?P<y>\d{4}(?!\d)|'?\d{2}(?![\d:]))"
)
_NAME_DAY_YEAR = re.compile(
    r"(?P<n>[^\W\d_]{3,})\.?[-/. ]{1,2}(?P<d>\d{1,2})(?:st|nd|rd|th)?,?"
    r"[-/. ]{1,2}(?P<y>\d{4})(?!\d)"
)
_YEAR_NAME_DAY = re.compile(
    r"(?<!\d)(?P<y>\d{4})[-/. ]{0,2}(?P<n>[^\W\d_]{3,})\.?[-/. ]{0,2}(?P<d>\d{1,2})(?!\d)"
)
_NAME_DAY = re.compile(r"(?P<n>[^\W\d_]{3,})\.? (?P<d>\d{1,2})(?![\d:])")
_DAY_NAME = re.compile(r"(?<![\d:])(?P<d>\d{1,2})[-/. ](?P<n>[^\W\d_]{3,})")
_ORDINAL = re.compile(r"^(?P<y>\d{4})[-./]?(?P<n>\d{3})(?!\d)")
_LAST_YEAR = re.compile(r"(?<![\d+:-])(?P<y>\d{4})$")
_CLOCK = re.compile(
    r"(?<!\d)(?P<h>\d{1,2})(?P<s>[:.h])(?P<m>\d{2}|(?<=:)\d)(?:(?P=s)(?P<sec>\d{2}|(?<=:)\d)(?:[.,:](?P<f>\d{1,12}))?)?"
    r"(?![\d:])(?:\s*(?P<p>[AaPp])\.?\s?[Mm]\b\.?)?"
)
_HOUR_ONLY = re.compile(r"(?<!\d)(?P<h>\d{1,2})\s*(?P<p>[AaPp])\.?\s?[Mm]\b\.?")
_CLOCK_DIGITS = re.compile(
    r"(?<![\d+-])(?P<h>\d{1,2})(?P<m>\d{2})(?P<sec>\d{2})?(?:\.(?P<f>\d+))?(?!\d)"
)
_CLOCK_BLANKS = re.compile(
    r"(?<!\d)(?P<h>\d{1,2})(?: (?P<m>\d{1,2})(?: (?P<sec>\d{1,2})(?:\.(?P<f>\d+))?)?)?$"
)
_CLOCK_HOUR = re.compile(r"(?P<h>\d{1,2})(?=Z|[+-]| |$)")
_OFFSET = re.compile(
    r"(?:UTC|GMT)?\s*(?P<sign>[+\-\u2212])(?P<h>\d{1,2}):?(?P<m>\d{2})?(?::?\d{2})?(?!\d)",
    re.IGNORECASE,
)
_ZONE_ID = re.compile(r"[\[(]?(?P<id>[A-Z][A-Za-z_]+/[A-Za-z_/+-]+)[\])]?")
_WORD = re.compile(r"[^\W\d_][\w'.]*|\d+")
_EAST = str.maketrans("年月日时時分秒\u3000\u00a0\u202f\u2009\t", "-- ::: " + 5 * " ")
_HALVES = {"上午": " AM", "午前": " AM", "오전": " AM", "下午": " PM", "午後": " PM", "오후": " PM"}
_NAMED_UTC = re.compile(r"\[(?:UTC|GMT|Z)\]$")
_POINTS_AND_BLANKS = re.compile(r"(?<=\d)\. (?=\d)")
_PIVOT = 69
_LONGEST = 80


def read_loose(text: str, order: Order, zone: str | None) -> datetime:
    """An aware moment. A time of day that is absent is midnight.

    Args:
        text: what a cell holds.
        order: what numbers before the year mean; a year in front or a month's name needs no order.
        zone: IANA name for times that name no zone; None for UTC.

    Raises:
        ValueError: no date, more than a date and a time, or numbers that are neither.

    >>> read_loose("28/12/2015 10:00:02 PM", "dmy", None).isoformat()
    '2015-12-28T22:00:02+00:00'
    >>> read_loose("Mon, 4 Mar 2024 08:00:00 +0100", "ymd", None).isoformat()
    '2024-03-04T08:00:00+01:00'
    """
    if len(text) > _LONGEST:
        raise ValueError("too long for a time")
    rest = _tidied(text)
    year, month, day, rest, blank = _take_date(rest, order)
    clock, extra, rest = _take_clock(rest, blank)
    moment = datetime(year, month, day) + clock  # noqa: DTZ001 - the zone is found below
    return _with_zone(moment, rest, zone) + extra


def _tidied(text: str) -> str:
    """The text with single blanks, and without what says nothing of the time."""
    if not text.isascii():
        text = text.translate(_EAST)
        for word, half in _HALVES.items():
            if word in text:
                text = text.replace(word, " ") + half
    text = " ".join(text.strip("\"' \r\n").split())
    if text[-1:] == "]":  # an Apache log's, or a zone beside its offset
        text = _NAMED_UTC.sub("", text)
        if text[:1] == "[":
            text = text[1:-1]
    if " m=" in text:  # Go's own clock
        text = text[: text.index(" m=")]
    return _POINTS_AND_BLANKS.sub(".", text) if ". " in text else text


def _take_date(text: str, order: Order) -> tuple[int, int, int, str, bool]:
    """Year, month, day, the text without them, whether blanks were between them."""
    if found := _YEAR_FIRST.search(text):
        year, month, day = int(found["y"]), int(found["m"]), int(found["d"])
        return year, month, day, _cut(text, found), found["s"] == " "
    if (named := _take_named(text)) is not None:
        return named
    if found := _YEAR_LAST.search(text):
        if order == "ymd":
            raise ValueError("day or month first? say it by `format: day_first` or `month_first`")
        first, second = int(found["a"]), int(found["b"])
        day, month = (first, second) if order == "dmy" else (second, first)
        return _full_year(found["y"]), month, day, _cut(text, found), found["s"] == " "
    if found := _ORDINAL.search(text):
        moment = datetime(int(found["y"]), 1, 1) + timedelta(days=int(found["n"]) - 1)  # noqa: DTZ001 - a date
        return moment.year, moment.month, moment.day, _cut(text, found), False
    raise ValueError("no date")


def _take_named(text: str) -> tuple[int, int, int, str, bool] | None:
    """A date whose month is a name; None where there is no such name."""
    for pattern in (_NAME_DAY_YEAR, _DAY_NAME_YEAR, _YEAR_NAME_DAY):
        for found in pattern.finditer(text):
            if (month := MONTHS.get(found["n"].lower())) is not None:
                return _full_year(found["y"]), month, int(found["d"]), _cut(text, found), False
    for pattern in (_NAME_DAY, _DAY_NAME):
        for found in pattern.finditer(text):
            if (month := MONTHS.get(found["n"].lower())) is None:
                continue
            if (last := _LAST_YEAR.search(text)) is None:
                raise ValueError("no year")
            without = text[: found.start()] + " " + text[found.end() : last.start()]
            return int(last["y"]), month, int(found["d"]), without, False
    return None


def _take_clock(rest: str, blank: bool) -> tuple[timedelta, timedelta, str]:
    """Time of day, what a second 60 or an hour 24 adds, and what is left of the text."""
    rest = rest.strip(" ,;:_")
    found = _CLOCK_BLANKS.match(rest) if blank else None
    found = found or _CLOCK.search(rest) or _HOUR_ONLY.search(rest)
    if found is None and (rest[:1].isdigit() or rest[:1] in "Tt"):
        inner = rest.lstrip("Tt ")
        found = _CLOCK_DIGITS.match(inner) or _CLOCK_HOUR.match(inner)
        if found is not None:
            rest = inner
    if found is None:
        return timedelta(), timedelta(), rest
    groups = found.groupdict()
    hour, minute = int(groups["h"]), int(groups.get("m") or 0)
    second, half = int(groups.get("sec") or 0), groups.get("p")
    if half is not None:
        if hour <= 12:  # noqa: PLR2004 - 13:05 PM is written too
            hour = hour % 12 + (12 if half in "Pp" else 0)
        elif half in "Aa":
            raise ValueError(f"hour {hour} before noon")
    extra = timedelta()
    if second == 60:  # noqa: PLR2004 - a leap second
        second, extra = 59, timedelta(seconds=1)
    if hour == 24 and minute == second == 0:  # noqa: PLR2004 - the end of a day
        hour, extra = 0, timedelta(days=1)
    if hour > 23 or minute > 59 or second > 59:  # noqa: PLR2004 - a clock
        raise ValueError(f"no time of day: {found[0]}")
    micro = int((groups.get("f") or "0").ljust(6, "0")[:6])
    clock = timedelta(hours=hour, minutes=minute, seconds=second, microseconds=micro)
    return clock, extra, _cut(rest, found)


def _with_zone(moment: datetime, rest: str, zone: str | None) -> datetime:
    tz: tzinfo | None = None
    named = _ZONE_ID.search(rest)
    if named is not None:
        rest = _cut(rest, named)
    if found := _OFFSET.search(rest):
        rest = _cut(rest, found)
        tz = fixed_offset(int(found["h"]), int(found["m"] or 0), found["sign"] != "+")
        rest = re.sub(r"\([^)]*\)", "", rest)  # (CET) after the offset
    elif named is not None:
        tz = zone_of(named["id"])
    abbreviation = None
    for word in _WORD.findall(rest):
        lower = word.lower().rstrip(".")
        if lower in _WITHOUT_MEANING:
            continue
        if word.isdigit() or abbreviation is not None or len(lower) > 5:  # noqa: PLR2004 - AKST and the like
            raise ValueError(f"{word[:20]!r} belongs to no date or time")
        abbreviation = word
    if tz is not None:
        return moment.replace(tzinfo=tz)
    if abbreviation is not None:
        return (moment - abbreviated(abbreviation, zone, moment)).replace(tzinfo=UTC)
    return to_utc(moment, zone)


def _cut(text: str, found: re.Match[str]) -> str:
    return f"{text[: found.start()]} {text[found.end() :]}".strip()


def _full_year(text: str) -> int:
    year = int(text.lstrip("'"))
    if len(text.lstrip("'")) == 4:  # noqa: PLR2004 - digits
        return year
    return year + (1900 if year >= _PIVOT else 2000)
