"""All calendars of a configuration, by which its monitors go: when, for whom, and what is done."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from stream_detector.calendars.effects import Effect
from stream_detector.calendars.errors import CalendarError
from stream_detector.calendars.files import parsed, read_text, spans_of
from stream_detector.calendars.spans import Span, at_minute, read_moment, read_weekly
from stream_detector.cells.zones import zone_of
from stream_detector.errors import StateMismatchError

LARGEST_PACKED = 200_000
"""Characters that all calendars may come to in a record of the journal."""

_LARGEST_TEXT = 2**24
_CHUNK_MS = 32 * 86_400_000
_CHUNKS = 6
_LARGEST_FACTOR = 1000
_DAY_MINUTES = 1440


class Calendar:
    """One calendar. State: the occurrences of the stretches of time asked for last."""

    def __init__(self, resolved: Mapping[str, Any]) -> None:
        """``resolved``: as ``CalendarConfig.resolved`` gives it."""
        self._zone = str(resolved["zone"])
        self.name = str(resolved["name"])
        keys = resolved["keys"]
        self._plain = {
            "keys": None if keys is None else frozenset(keys),
            "skips_alert": "alert" in resolved["skip"],
            "skips_learning": "learning" in resolved["skip"],
            "expect": resolved["expect"],
            "like": resolved["like"],
        }
        _check(self._plain)
        self._weekly = [read_weekly(rule) for rule in resolved.get("weekly", ())]
        self._once: list[Span] = []
        if "start" in resolved:
            moments = [read_moment(resolved[each], self._zone) for each in ("start", "end")]
            self._once = [(moments[0], moments[1], "")]
        self._days: dict[str, str] = resolved.get("days", {})
        self._file = parsed(read_text(resolved["file"], self._zone)) if "file" in resolved else None
        self._chunks: dict[int, list[Span]] = {}

    def at(self, start_ms: int, end_ms: int) -> list[Effect]:
        """What it asks for in a stretch of time; at most one thing, by the first occasion."""
        words = [word for begin, end, word in self._spans(start_ms, end_ms) if begin < end_ms]
        return [Effect(self.name, words[0], **self._plain)] if words else []

    def _spans(self, start_ms: int, end_ms: int) -> list[Span]:
        found = []
        for chunk in range(start_ms // _CHUNK_MS, (end_ms - 1) // _CHUNK_MS + 1):
            if chunk not in self._chunks:
                while len(self._chunks) >= _CHUNKS:
                    del self._chunks[next(iter(self._chunks))]
                self._chunks[chunk] = self._expanded(chunk * _CHUNK_MS, (chunk + 1) * _CHUNK_MS)
            found += [one for one in self._chunks[chunk] if one[0] < end_ms and one[1] > start_ms]
        return sorted(set(found))

    def _expanded(self, start_ms: int, end_ms: int) -> list[Span]:
        spans = [one for one in self._once if one[0] < end_ms and one[1] > start_ms]
        for rule in self._weekly:
            spans += rule.spans(self._zone, start_ms, end_ms)
        if self._days:
            spans += self._whole_days(start_ms, end_ms)
        if self._file is not None:
            epoch = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
            ends = [epoch + dt.timedelta(milliseconds=each) for each in (start_ms, end_ms)]
            # Whole days and times without a zone are taken for UTC's: a day more on either side.
            day = dt.timedelta(days=1)
            spans += spans_of(self._file, self._zone, ends[0] - day, ends[1] + day)
        return spans

    def _whole_days(self, start_ms: int, end_ms: int) -> list[Span]:
        tz = zone_of(self._zone)
        first = dt.date(1970, 1, 1) + dt.timedelta(milliseconds=start_ms) - dt.timedelta(days=1)
        found = []
        for step in range((end_ms - start_ms) // 86_400_000 + 3):
            day = first + dt.timedelta(days=step)
            if (word := self._days.get(day.isoformat())) is not None:
                begin, end = at_minute(day, 0, tz), at_minute(day, _DAY_MINUTES, tz)
                found.append((begin, end, word))
        return found


def _check(plain: Mapping[str, Any]) -> None:
    """Find out what no calendar asks for. Raises ``ValueError``."""
    expect, like, keys = plain["expect"], plain["like"], plain["keys"]
    if like is not None and like not in range(7):
        raise ValueError("no such weekday")
    if expect is not None and not 0 <= expect <= _LARGEST_FACTOR:
        raise ValueError("no such factor")
    if keys is not None and not all(isinstance(key, str) for key in keys):
        raise ValueError("keys are texts")


class CalendarBook:
    """Calendars by name, and which of them each monitor goes by.

    Attributes:
        packed: all of it as text, which the journal keeps: equal texts, equal results.
    """

    def __init__(self, packed: str) -> None:
        """Build it of ``packed_calendars``. Raises ``StateMismatchError`` where it is none."""
        self.packed = packed
        self._calendars: dict[str, Calendar] = {}
        self._named: dict[str, list[str]] = {}
        if not packed:
            return
        try:
            unpacker = zlib.decompressobj()
            text = unpacker.decompress(base64.b64decode(packed, validate=True), _LARGEST_TEXT)
            plain = json.loads(text)
            self._named = {name: list(names) for name, names in plain["monitors"].items()}
            self._calendars = {each["name"]: Calendar(each) for each in plain["calendars"]}
            missing = set().union(*self._named.values()) - self._calendars.keys()
        except CalendarError as error:
            raise StateMismatchError(f"the calendars of the state: {error}") from error
        except (zlib.error, binascii.Error, ValueError, LookupError, TypeError) as error:
            raise StateMismatchError(f"these are no calendars: {error!r:.200}") from error
        if missing:
            raise StateMismatchError(f"there is no calendar {', '.join(sorted(missing))}")

    def of(self, monitor: str) -> MonitorCalendars:
        """The calendars that a monitor goes by."""
        return MonitorCalendars([self._calendars[name] for name in self._named.get(monitor, ())])


class MonitorCalendars:
    """The calendars of one monitor, in the order in which it names them."""

    def __init__(self, calendars: Sequence[Calendar]) -> None:
        self._calendars = calendars

    def at(self, start_ms: int, end_ms: int) -> Sequence[Effect]:
        """What they ask for in a stretch of time, of which any part counts; first is strongest."""
        return [one for each in self._calendars for one in each.at(start_ms, end_ms)]

    def words(self, start_ms: int, end_ms: int, key: str) -> str | None:
        """What they say of a key in a stretch of time; None: nothing."""
        told = [
            effect.told()
            for effect in self.at(start_ms, end_ms)
            if effect.keys is None or key in effect.keys
        ]
        return "; ".join(told) or None


def packed_calendars(
    calendars: Sequence[Mapping[str, Any]], monitors: Mapping[str, Sequence[str]]
) -> str:
    """Everything that results hang on as one text; empty where no monitor goes by a calendar.

    Args:
        calendars: resolved ones.
        monitors: names of calendars, by the name of the monitor.
    """
    named = {name: list(names) for name, names in monitors.items() if names}
    used = set().union(*named.values())
    if not used:
        return ""
    plain = {"calendars": [each for each in calendars if each["name"] in used], "monitors": named}
    text = json.dumps(plain, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()
