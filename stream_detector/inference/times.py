"""Search for the field, or the fields together, that are the time of an event. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stream_detector.cells import TimeColumn, find_time_parts
from stream_detector.events import Float64, Int64
from stream_detector.inference.profiles import SMALL_SHARE, Profile, known_times


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


TIME_WORDS = _words(
    "time times timestamp datetime date ts at when zeit zeitstempel zeitpunkt datum uhrzeit "
    "horodatage heure fecha hora data moment occurred event charttime stime"
)
_STEP_WORDS = _words("step tick cycle epoch")
_OTHER_TIMES = _words(
    "end stop finish expiry expires birth dob born due created updated modified ingested received "
    "start begin first last open close ende beginn"
)
"""Of two times the other one is meant: an event has happened when it has."""

_OF_ENVELOPES = ("@ts_", "@source.")
"""When a change was captured, which is not when it happened."""

_CALENDAR_WORDS = _words(
    "year month day hour minute second weekday dow dayofweek week quarter doy hod "
    "jahr monat tag stunde wochentag"
)
_IN_ORDER_SHARE = 0.9
_MANY_PARTS = 5
_LATE_DAYS = 30
_DAY_MS = 86_400_000
_EPOCH_SECONDS = (631_152_000, 4_102_444_800)  # 1990 to 2100


@dataclass(frozen=True, slots=True)
class TimeChoice:
    """The time of the events.

    Attributes:
        fields: one, or several that are read together.
        column: their times and layout.
        others: further fields that hold times.
        max_behind_days: how late events come, where that is more than is expected anyway.
        warnings: what a person should know.
    """

    fields: tuple[str, ...]
    column: TimeColumn
    others: tuple[str, ...]
    max_behind_days: int | None
    warnings: tuple[str, ...]

    @property
    def times(self) -> Int64:
        """Milliseconds since 1970 of the events that have a time."""
        return known_times(self.column)


def is_time(profile: Profile) -> bool:
    """Tell whether a field holds times: by layout if it is text, else also by its order."""
    column = profile.time
    if column is None:
        return False
    if profile.kind == "text":
        return True
    if profile.leaf_words & TIME_WORDS:
        return True
    texts = [value for value in profile.values if isinstance(value, str)]
    if texts and not all(text.strip().lstrip("+-").replace(".", "", 1).isdigit() for text in texts):
        return False
    times = known_times(column)
    if len(times) < 3 or len(np.unique(times)) < 3 or not profile.complete:  # noqa: PLR2004 - no order
        return False
    forwards = float((np.diff(times) >= 0).mean())
    seconds = times / 1000
    plausible = bool(((seconds > _EPOCH_SECONDS[0]) & (seconds < _EPOCH_SECONDS[1])).all())
    narrow = float(times.max() - times.min()) < 0.2 * float(times.max())
    return plausible and narrow and forwards >= _IN_ORDER_SHARE


def choose_time(profiles: Sequence[Profile]) -> tuple[TimeChoice | None, dict[str, str]]:
    """The time, and the reason for each field that holds times and is not taken."""
    candidates = [profile for profile in profiles if is_time(profile)]
    rejected: dict[str, str] = {}
    usable = []
    for profile in candidates:
        assert profile.time is not None
        times = known_times(profile.time)
        if profile.missing_share > SMALL_SHARE:
            rejected[profile.name] = "is a time, but often missing"
        elif _late_share(times) > 0.2:  # noqa: PLR2004 - a share that no lateness explains
            rejected[profile.name] = "is a time, but the events are not in its order"
        else:
            usable.append(profile)
    parts = find_time_parts(_columns(profiles, usable))
    best = min(usable, key=_rank, default=None)
    if parts is not None and _late_share(known_times(parts.column)) <= 0.2:  # noqa: PLR2004 - likewise
        whole = (
            best is not None
            and best.time is not None
            and not only_dates(known_times(best.time))
            and best.name not in parts.fields
        )
        if not whole:
            return _choice(parts.fields, parts.column, candidates), rejected
    if best is None:
        return None, rejected
    assert best.time is not None
    return _choice((best.name,), best.time, candidates), rejected


def shuffled_warning(rejected: Mapping[str, str]) -> str | None:
    """Return what to do about times that the events are not in the order of."""
    names = [name for name, reason in rejected.items() if "order" in reason]
    if not names:
        return None
    return (
        f"the events are not in the order of {names[0]}: sort the data by it, then run init again; "
        "without a time the record's timestamp (in a file: one row a second) counts"
    )


def _columns(profiles: Sequence[Profile], usable: Sequence[Profile]) -> dict[str, Sequence[Any]]:
    """Cells of the fields that a time may be made of together: few words or numbers of a part."""
    names = {profile.name for profile in usable}
    return {
        profile.name: profile.values
        for profile in profiles
        if profile.name in names
        or (profile.words & (TIME_WORDS | _CALENDAR_WORDS) and profile.kind in ("number", "text"))
        or _looks_like_clock(profile)
    }


def _looks_like_clock(profile: Profile) -> bool:
    first = next((value for value in profile.values if isinstance(value, str)), "")
    return profile.kind == "text" and len(first) <= 24 and ":" in first  # noqa: PLR2004 - a clock's


def only_dates(times: Int64) -> bool:
    """Tell whether all times are midnights: dates without a time of day."""
    return bool((times % _DAY_MS == 0).all())


def _rank(profile: Profile) -> tuple[bool, bool, bool, bool, int]:
    """Smaller for what is rather the time: its name, no birthday, more than dates, in order."""
    assert profile.time is not None
    times = known_times(profile.time)
    back = float((np.diff(times) < 0).mean()) if len(times) > 1 else 0.0
    still = len(times) > 1 and bool((times == times[0]).all())
    return (
        still,
        bool(profile.leaf_words & _OTHER_TIMES) or profile.name.startswith(_OF_ENVELOPES),
        not profile.leaf_words & TIME_WORDS,
        only_dates(times),
        round(back * 100),
    )


def _late_share(times: Int64) -> float:
    if not len(times):
        return 1.0
    return float((np.maximum.accumulate(times) - times > _LATE_DAYS * _DAY_MS).mean())


def _choice(
    fields: tuple[str, ...], column: TimeColumn, candidates: Sequence[Profile]
) -> TimeChoice:
    times = known_times(column)
    late_ms = np.maximum.accumulate(times) - times
    days = 2 * int(late_ms.max() / _DAY_MS + 1) if _late_share(times) else None
    warnings = []
    backwards = float((np.diff(times) < 0).mean()) if len(times) > 1 else 0.0
    if backwards > 0.3:  # noqa: PLR2004 - half of the steps go back in a shuffled file
        warnings.append(
            f"{backwards:.0%} of the events are older than the one before: a shuffled file? "
            "Windows need the order of time"
        )
    others = tuple(each.name for each in candidates if each.name not in fields)
    return TimeChoice(fields, column, others, days, tuple(warnings))


def calendar_part(profile: Profile, choice: TimeChoice) -> str | None:
    """Return the part of the time that a field repeats: year, month, hour, ...; None: none."""
    if len(choice.column.times) != len(profile.values) or profile.kind not in ("number", "text"):
        return None
    known = choice.column.times >= 0
    moments = choice.column.times[known].astype("datetime64[ms]")
    if profile.kind == "text":
        return _named_part(profile, known, moments)
    if not profile.whole or not (
        profile.distinct >= _MANY_PARTS or profile.leaf_words & _CALENDAR_WORDS
    ):
        return None  # a 3 may be a number of its own, and this March
    values = profile.numbers[known]
    for part, numbers in _parts(moments).items():
        if float(np.mean(values == numbers)) > 0.99:  # noqa: PLR2004 - nearly all
            return part
    return None


def _parts(moments: Any) -> dict[str, Float64]:
    days = moments.astype("datetime64[D]")
    years, months = moments.astype("datetime64[Y]"), moments.astype("datetime64[M]")
    year = years.astype(np.float64) + 1970
    month = (months - years.astype("datetime64[M]")).astype(np.float64) + 1
    weekday = (days.astype(np.int64) + 3) % 7
    in_day_s = (moments - days).astype("timedelta64[s]").astype(np.float64)
    parts = {
        "year": year,
        "month": month,
        "quarter": np.ceil(month / 3),
        "day": (days - months.astype("datetime64[D]")).astype(np.float64) + 1,
        "day of the year": (days - years.astype("datetime64[D]")).astype(np.float64) + 1,
        "weekday": weekday.astype(np.float64),
        "hour": in_day_s // 3600,
        "minute": in_day_s // 60 % 60,
        "second": in_day_s % 60,
    }
    sunday_first = ((weekday + 1) % 7).astype(np.float64)
    return parts | {"weekday from 1": parts["weekday"] + 1, "weekday from Sunday": sunday_first}


def _named_part(profile: Profile, known: Any, moments: Any) -> str | None:
    """A weekday or a month by its English name."""
    texts = [str(value).strip().casefold()[:3] for value in np.array(profile.values, object)[known]]
    names = {"weekday": "mon tue wed thu fri sat sun", "month": _MONTHS}
    parts = _parts(moments)
    for part, listed in names.items():
        words = listed.split()
        if not set(texts) <= set(words):
            continue
        numbers = parts[part].astype(int) - (part == "month")
        if np.mean([words[n] == text for n, text in zip(numbers, texts, strict=True)]) > 0.99:  # noqa: PLR2004 - nearly all
            return part
    return None


_MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec"


def is_unread_time(profile: Profile) -> bool:
    """Tell whether a field is named like a time, and its numbers count something that is none."""
    named = profile.words <= TIME_WORDS | _STEP_WORDS
    return (
        profile.kind == "number"
        and profile.whole
        and bool(profile.words & (TIME_WORDS | _STEP_WORDS))
        and (named or profile.grows)
    )


def is_lone_part(profile: Profile) -> bool:
    """Tell whether a field is named like a part of the calendar and has the numbers of one."""
    if profile.kind != "number" or not profile.whole or not len(profile.finite):
        return False
    words = profile.leaf_words & _CALENDAR_WORDS
    if not words or not profile.leaf_words <= _CALENDAR_WORDS | _words("of the in"):
        return False
    low, high = float(profile.finite.min()), float(profile.finite.max())
    return (low >= 0 and high <= 366) or (low >= 1900 and high <= 2200)  # noqa: PLR2004 - days, years
