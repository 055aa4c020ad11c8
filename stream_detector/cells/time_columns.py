"""Layout of the times of a column, decided from all of its cells."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stream_detector.cells.missing import is_missing
from stream_detector.cells.times import TimeFormat, read_time
from stream_detector.events import NO_TIMESTAMP, Int64

_TOLERATED_SHARE = 0.01
_PROBE = 20
_SINCE_1970 = tuple(
    (1e9 * factor, 4e9 * factor, pattern)  # 2001 to 2096
    for factor, pattern in ((1, "unix_s"), (1e3, "unix_ms"), (1e6, "auto"), (1e9, "auto"))
)
_DIGITS = ((8, "%Y%m%d"), (10, "%Y%m%d%H"), (12, "%Y%m%d%H%M"), (14, "auto"), (17, "auto"))
_UNUSUAL = ("%d%m%Y", "%m%d%Y", "%Y%m%d %H%M%S", "%Y%m%d-%H%M%S", "%Y%m%d_%H%M%S")
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d*)?(?:[eE]\+?\d{1,2})?", re.ASCII)
_CLOCK = re.compile(
    r"(?:T?\d{1,2}[:.h]\d{2}(?:[:.]\d{2}(?:[.,:]\d{1,9})?)?\s*(?:[AaPp]\.?[Mm]\.?)?|\d{1,2}\s*[AaPp]\.?[Mm]\.?)"
    r"(?:\s*(?:Z|UTC|[+-]\d{2}:?\d{2}))?"
)
_HAS_CLOCK = re.compile(r"\d[:h]\d\d|\d\s*[AaPp]\.?[Mm]\b|T\d\d")
_HAS_ZONE = re.compile(r"(?:Z|UTC|GMT|[A-Z]{3,4}|[+-]\d{2}:?\d{2})\)?\]?$")
_PART_NAMES = {
    "year": ("year yr yyyy jahr année ano año", 1970, 2200),
    "month": ("month mon mnth mm monat mois mes mo", 1, 12),
    "day": ("day dd dom dayofmonth day_of_month tag jour dia día mday", 1, 31),
    "hour": ("hour hr hh stunde heure hora hours h", 0, 24),
    "minute": ("minute min mi minutes", 0, 59),
    "second": ("second sec ss seconds s", 0, 60),
}


@dataclass(frozen=True, slots=True)
class TimeColumn:
    """The cells of a column, read as times.

    Attributes:
        format: their layout.
        times: (cells,) int64, milliseconds since 1970; ``NO_TIMESTAMP`` where there is none.
        missing_count: cells without a value.
        unreadable: the first cells that are neither a time nor missing (ten at most).
        unreadable_count: how many there are.
        zoned: whether each text says its zone; others are read as UTC, or as of ``zone``.
        notes: what to tell a person, one line each; without the column's name.
    """

    format: TimeFormat
    times: Int64
    missing_count: int
    unreadable: tuple[str, ...]
    unreadable_count: int
    zoned: bool
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TimeParts:
    """A time that several columns make up, in the order in which they are read together."""

    fields: tuple[str, ...]
    column: TimeColumn


def guess_time_format(values: Sequence[Any]) -> tuple[TimeFormat | None, tuple[str, ...]]:
    """The layout of a column's times, and what a person should know; None where it has none.

    >>> guess_time_format(["05/07/2017 08:55", "28/07/2017 09:10"])[0]
    TimeFormat(pattern='day_first', zone=None)
    """
    column = read_time_column(values)
    return (None, ()) if column is None else (column.format, column.notes)


def read_time_column(values: Sequence[Any]) -> TimeColumn | None:  # noqa: C901 - in few steps
    """Read a column as times; None where its cells, but for a few, are none.

    Args:
        values: texts, numbers and None, in the order of the events.
    """
    present = [v for v in values if not _absent(v)]
    if not present or not {type(v) for v in present} <= {str, int, float}:
        return None
    numbers = [number for v in present if (number := _number_of(v)) is not None]
    if len(numbers) >= (1 - _TOLERATED_SHARE) * len(present):
        return _of_numbers(values, numbers)
    texts = [v for v in present if isinstance(v, str)]
    if len(texts) < (1 - _TOLERATED_SHARE) * len(present):
        return None
    read: list[TimeColumn] = []
    for pattern in ("auto", "day_first", "month_first", *_UNUSUAL):
        if read and pattern in _UNUSUAL:
            break
        probe = _read(texts[:_PROBE], TimeFormat(pattern))
        if (probe != NO_TIMESTAMP).sum() < min(len(texts), _PROBE) - 1:
            continue
        column = _column(values, TimeFormat(pattern))
        if column.unreadable_count <= _TOLERATED_SHARE * len(present):
            read.append(column)
            if pattern == "auto":
                break
    if not read:
        return None
    chosen = read[0] if len(read) == 1 else _day_or_month(read[0], read[1], texts)
    if chosen.format.pattern in ("day_first", "month_first") and len(read) == 1:
        chosen = _noted(chosen, _why_only(chosen, texts))
    return chosen


def find_time_parts(columns: Mapping[str, Sequence[Any]]) -> TimeParts | None:
    """A date and a time of day in two columns, or year, month and day in three; None without.

    Args:
        columns: the cells of each column, one an event, by the column's name.
    """
    return _numbered_parts(columns) or _date_and_clock(columns)


def join_parts(values: Sequence[Any]) -> str | None:
    """The cells of several columns as one text; None where one of them is missing."""
    texts = []
    for value in values:
        if _absent(value):
            return None
        if isinstance(value, float) and value == int(value):
            value = int(value)  # noqa: PLW2901 - 2024.0 is how pandas writes a year beside a gap
        text = str(value).strip()
        texts.append(text.removesuffix(".0") if text[:-2].isdigit() else text)
    return " ".join(texts)


def _absent(value: Any) -> bool:
    if isinstance(value, float) and not math.isfinite(value):
        return True
    return value is None or (isinstance(value, str) and is_missing(value))


def _number_of(value: Any) -> float | None:
    if isinstance(value, str):
        text = value.strip()
        if not _NUMBER.fullmatch(text):
            return None
        return int(text) if text.lstrip("+-").isdigit() else float(text)
    return None if isinstance(value, bool) else value


def _of_numbers(values: Sequence[Any], numbers: Sequence[float]) -> TimeColumn | None:
    whole = all(number == int(number) for number in numbers)
    lengths = {len(str(int(number))) for number in numbers}
    for digits, pattern in _DIGITS:
        if not whole or lengths != {digits} or (digits == _OF_SECONDS and len(set(numbers)) < _FEW):
            continue
        column = _column(values, TimeFormat(pattern))
        # Of few digits, so many are a date by chance that an old one is rather none.
        recent = (column.times >= _YEAR_1990_MS)[column.times != NO_TIMESTAMP]
        if not column.unreadable_count and (digits > _OF_SECONDS or recent.all()):
            return column
    low, high = min(numbers), max(numbers)
    for least, most, pattern in _SINCE_1970:
        if least <= low and high < most:
            return _column(values, TimeFormat(pattern))
    return None


_YEAR_1990_MS = 631_152_000_000
_OF_SECONDS = 10  # digits of seconds since 1970
_FEW = 3


def _read(values: Sequence[Any], layout: TimeFormat) -> Int64:
    times = np.full(len(values), NO_TIMESTAMP, dtype=np.int64)
    for row, value in enumerate(values):
        try:
            times[row] = read_time(value, layout.pattern, layout.zone)
        except (ValueError, OverflowError):
            continue
    return times


def _column(values: Sequence[Any], layout: TimeFormat) -> TimeColumn:
    times = _read(values, layout)
    absent = np.fromiter(map(_absent, values), bool, len(values))
    times[absent] = NO_TIMESTAMP
    bad = np.flatnonzero(~absent & (times == NO_TIMESTAMP))
    texts = [v for v, gone in zip(values, absent.tolist(), strict=True) if not gone]
    zoned = all(not isinstance(text, str) or _HAS_ZONE.search(text.strip()) for text in texts)
    return TimeColumn(
        layout,
        times,
        int(absent.sum()),
        tuple(str(values[row])[:80] for row in bad[:10]),
        len(bad),
        zoned,
        (),
    )


def _noted(column: TimeColumn, note: str) -> TimeColumn:
    return TimeColumn(
        column.format,
        column.times,
        column.missing_count,
        column.unreadable,
        column.unreadable_count,
        column.zoned,
        (*column.notes, note),
    )


def _why_only(column: TimeColumn, texts: Sequence[str]) -> str:
    day_first = column.format.pattern == "day_first"
    other = TimeFormat("month_first" if day_first else "day_first")
    witness = next(
        (text for text in texts if _read([text], other)[0] == NO_TIMESTAMP), texts[0]
    ).strip()
    what = "the day stands first" if day_first else "the month stands first"
    return f"{what}: {witness!r} makes no sense otherwise"


def _day_or_month(first: TimeColumn, second: TimeColumn, texts: Sequence[str]) -> TimeColumn:
    """The reading in which time goes back least, then the one that takes less time."""
    day, month = (first, second) if first.format.pattern == "day_first" else (second, first)
    scores = []
    for column in (day, month):
        times = column.times[column.times != NO_TIMESTAMP]
        steps = np.diff(times)
        scores.append((int((steps < 0).sum()), int(times.max() - times.min())))
    example = texts[0].strip()
    if scores[0][0] != scores[1][0]:
        chosen, why = (day, "time goes") if scores[0] < scores[1] else (month, "time goes")
        why += " back less so"
    elif scores[0][1] != scores[1][1]:
        chosen = day if scores[0][1] < scores[1][1] else month
        why = "the times lie closer together so"
    else:
        half = re.search(r"[AaPp]\.?[Mm]\b", example) is not None and "/" in example
        chosen, why = (month if half else day), "nothing in the sample says otherwise"
    name = chosen.format.pattern
    other = "month_first" if name == "day_first" else "day_first"
    what = "the day" if name == "day_first" else "the month"
    note = f"{example!r} may be two dates: {what} is taken to stand first ({why}); else: {other}"
    return _noted(chosen, note)


def _numbered_parts(columns: Mapping[str, Sequence[Any]]) -> TimeParts | None:
    found: dict[str, str] = {}
    for name, values in columns.items():
        plain = name.strip().lower().replace(" ", "_")
        for part, (words, low, high) in _PART_NAMES.items():
            if part not in found and plain in words.split() and _within(values, part, low, high):
                found[part] = name
    if not {"year", "month", "day"} <= found.keys():
        return None
    fields = [found["year"], found["month"], found["day"]]
    if "hour" in found:
        for part in ("hour", "minute", "second"):
            if part not in found:
                break
            fields.append(found[part])
    else:
        clocks = [name for name, values in columns.items() if _all(values, _CLOCK)]
        fields += clocks[:1]
    return _joined(columns, fields)


def _within(values: Sequence[Any], part: str, low: int, high: int) -> bool:
    present = [value for value in values if not _absent(value)]
    if not present:
        return False
    numbers = [_number_of(value) for value in present]
    if part == "month" and all(number is None for number in numbers):
        return True  # by name: reading it together with the others will tell
    return all(number is not None and low <= number <= high for number in numbers)


def _date_and_clock(columns: Mapping[str, Sequence[Any]]) -> TimeParts | None:
    clocks = [name for name, values in columns.items() if _all(values, _CLOCK)]
    if not clocks:
        return None
    clocks.sort(key=lambda name: "time" not in name.lower())
    for name, values in columns.items():
        texts = [str(value) for value in values if not _absent(value)]
        if name in clocks or not texts or any(_HAS_CLOCK.search(text) for text in texts[:100]):
            continue
        if (column := read_time_column(values)) is None or _whole_days(column):
            continue
        return _joined(columns, [name, clocks[0]])
    return None


def _whole_days(column: TimeColumn) -> bool:
    """Tell whether a column holds more than dates."""
    times = column.times[column.times != NO_TIMESTAMP]
    return bool((times % 86_400_000 != 0).any())


def _all(values: Sequence[Any], pattern: re.Pattern[str]) -> bool:
    texts = [value for value in values if not _absent(value)]
    return bool(texts) and all(
        isinstance(text, str) and pattern.fullmatch(text.strip()) for text in texts
    )


def _joined(columns: Mapping[str, Sequence[Any]], fields: Sequence[str]) -> TimeParts | None:
    texts = [join_parts(row) for row in zip(*(columns[name] for name in fields), strict=True)]
    column = read_time_column(texts)
    return None if column is None else TimeParts(tuple(fields), column)
