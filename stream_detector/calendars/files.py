"""iCalendar files (RFC 5545): what of them tells when, and nothing else, checked event by event.

Who was invited, descriptions and alarms are left out: what is kept stands in the journal. So does a
new download with other stamps give the same text. Nothing in a file can act: addresses are not
followed.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stream_detector.calendars.errors import CalendarError
from stream_detector.calendars.spans import Span, to_ms
from stream_detector.cells.zones import zone_of

MAX_BYTES = 2**20
MAX_EVENTS = 2000
_KEPT = frozenset(
    {
        *("UID", "DTSTART", "DTEND", "DURATION", "RRULE", "RDATE", "EXDATE", "RECURRENCE-ID"),
        *("SUMMARY", "SEQUENCE", "STATUS"),
    }
)
_FREQUENCIES = frozenset({"HOURLY", "DAILY", "WEEKLY", "MONTHLY", "YEARLY"})
_MOST_A_DAY = 96
_NAME = re.compile(r"[A-Za-z0-9-]+")
_TZID = re.compile(r';TZID=(?:"([^"]*)"|([^:;]*))', re.IGNORECASE)
_TRIED = dt.timedelta(days=800)


@dataclass(slots=True)
class _Block:
    """A component of the file: where it begins, and what of it is kept."""

    kind: str
    line: int
    lines: list[str] = field(default_factory=list)


def read_file(path: str, zone: str) -> str:
    """What of a file tells when, as iCalendar text.

    Raises ``CalendarError``, with the line where there is one; ``zone`` is that of floating times.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "cannot be the name of a file"
        raise CalendarError(f"{path} cannot be read: {reason}") from error
    if len(content) > MAX_BYTES:
        raise CalendarError(f"{path} has more than {MAX_BYTES:,} bytes")
    try:
        return read_text(content.decode("utf-8-sig"), zone)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise CalendarError(f"{path}, line {line}: this is not UTF-8 text") from error
    except CalendarError as error:
        raise CalendarError(f"{path}, {error}") from error


def read_text(text: str, zone: str) -> str:
    """As ``read_file``, of text."""
    blocks = list(_blocks(_unfolded(text)))
    events = [block for block in blocks if block.kind == "VEVENT"]
    if len(events) > MAX_EVENTS:
        raise CalendarError(f"line {events[MAX_EVENTS].line}: more than {MAX_EVENTS:,} events")
    shared = [block for block in blocks if block.kind in ("", "VTIMEZONE")]
    zones = {name for block in shared for name in _named(block, "TZID:")}
    for event in events:
        _check(event, shared, zones, zone)
    kept = [block for block in events if "STATUS:CANCELLED" not in block.lines or _moved(block)]
    return _joined([*shared, *kept])


def _moved(block: _Block) -> bool:
    """Tell whether it is about one occurrence of a recurring event."""
    return any(line.startswith("RECURRENCE-ID") for line in block.lines)


def _unfolded(text: str) -> Iterator[tuple[int, str]]:
    """Lines with their numbers, those that were folded together again; line ends of any kind."""
    number, held = 0, ""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for place, line in enumerate(lines, start=1):
        if line[:1] in (" ", "\t") and held:
            held += line[1:]
            continue
        if held.strip():
            yield number, held
        number, held = place, line
    if held.strip():
        yield number, held


def _blocks(lines: Iterator[tuple[int, str]]) -> Iterator[_Block]:
    """Events and time zones of a calendar; what the calendar says of itself has no kind."""
    head, block, inside = _Block("", 1), _Block("", 1), list[str]()
    for number, line in lines:
        name = match[0].upper() if (match := _NAME.match(line)) else ""
        value = line[len(name) :].lstrip(":").strip().upper()
        if not inside and (name, value) != ("BEGIN", "VCALENDAR"):
            raise CalendarError(f"line {number}: a calendar begins with BEGIN:VCALENDAR")
        if name == "BEGIN":
            inside.append(value)
            if len(inside) == 2:  # noqa: PLR2004 - within the calendar
                block = _Block(value, number)
        if name == "END" and (not inside or inside.pop() != value):
            raise CalendarError(f"line {number}: END:{value} ends nothing that is open")
        if len(inside) == 1 and name == "X-WR-TIMEZONE":
            head.lines.append(line)
        elif _is_kept(block.kind, inside, name, value):
            block.lines.append(name + line[len(name) :])
        if name == "END" and len(inside) == 1:
            yield block
            block = _Block("", 1)
    if inside:
        raise CalendarError(f"line {block.line}: {inside[-1]} has no end")
    yield head


def _is_kept(kind: str, inside: Sequence[str], name: str, value: str) -> bool:
    """Tell whether a line of a component says when."""
    if kind == "VTIMEZONE":
        return value in ("DAYLIGHT", "STANDARD") or name not in ("BEGIN", "END", "")
    # Some sites write `RRULE:` for what does not recur.
    return kind == "VEVENT" and inside[-1:] == ["VEVENT"] and name in _KEPT and bool(value)


def _named(block: _Block, prefix: str) -> list[str]:
    return [line[len(prefix) :].strip() for line in block.lines if line.startswith(prefix)]


def _joined(blocks: Sequence[_Block]) -> str:
    parts = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:stream-detector"]
    for block in sorted(blocks, key=lambda block: block.kind != ""):
        wrapped = [f"BEGIN:{block.kind}", *block.lines, f"END:{block.kind}"]
        parts += wrapped if block.kind else block.lines
    return "\r\n".join([*parts, "END:VCALENDAR", ""])


def _check(event: _Block, shared: Sequence[_Block], zones: set[str], zone: str) -> None:
    """Find out what cannot be used of an event. Raises ``CalendarError``."""
    name = (_named(event, "SUMMARY:") or [""])[0][:60]
    try:
        for line in event.lines:
            if line.startswith("RRULE"):
                _check_rule(line)
            for quoted, bare in _TZID.findall(line.partition(":")[0] + ":"):
                _check_zone(quoted or bare, zones)
        calendar = parsed(_joined([*shared, event]))
        (component,) = calendar.walk("VEVENT")
        if component.errors:
            raise CalendarError(str(component.errors[0][1]))
        if "DTSTART" not in component:
            raise CalendarError("an event needs DTSTART")
        start = component.decoded("DTSTART")
        first = dt.datetime.combine(start, dt.time()) if type(start) is dt.date else start
        spans_of(calendar, zone, first, first + _TRIED)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, IndexError) as error:
        reason = str(error) or type(error).__name__
        raise CalendarError(f"line {event.line}: event {name!r}: {reason:.300}") from error


def _check_zone(name: str, zones: set[str]) -> None:
    import icalendar  # noqa: PLC0415 - of an extra; ``parsed`` says so where it is missing

    probe = f'BEGIN:VEVENT\r\nDTSTART;TZID="{name}":20240101T000000\r\nEND:VEVENT\r\n'
    known = name in zones or icalendar.Event.from_ical(probe).decoded("DTSTART").tzinfo is not None
    if not known:
        raise CalendarError(f"the time zone {name!r} is not known, and no VTIMEZONE describes it")


def _check_rule(line: str) -> None:
    parts = dict(
        part.upper().partition("=")[::2] for part in line.rpartition(":")[2].strip().split(";")
    )
    if parts.get("FREQ") not in _FREQUENCIES:
        raise CalendarError("RRULE recurs HOURLY, DAILY, WEEKLY, MONTHLY or YEARLY")
    times = 24 if parts["FREQ"] == "HOURLY" else 1
    for name in ("BYHOUR", "BYMINUTE", "BYSECOND"):
        times *= len(parts.get(name, "0").split(","))
    if times > _MOST_A_DAY:
        raise CalendarError(f"RRULE recurs more than {_MOST_A_DAY} times a day")


def parsed(text: str) -> Any:
    """The calendar of iCalendar text. Raises ``CalendarError`` where the library is missing."""
    try:
        import icalendar  # noqa: PLC0415 - of an extra: only whoever has such a file needs it
        import recurring_ical_events  # noqa: PLC0415, F401 - likewise
    except ImportError as error:
        raise CalendarError(
            "iCalendar files need the extra `calendars`: pip install stream-detector[calendars]"
        ) from error
    return icalendar.Calendar.from_ical(text)


def spans_of(calendar: Any, zone: str, start: dt.datetime, end: dt.datetime) -> list[Span]:
    """Occurrences that touch a stretch of time: begin, end, and what they are called."""
    import recurring_ical_events  # noqa: PLC0415 - as above

    tz = zone_of(zone)

    def moment(value: dt.date) -> int:
        if not isinstance(value, dt.datetime):  # a whole day
            value = dt.datetime.combine(value, dt.time())
        return to_ms(value if value.tzinfo is not None else value.replace(tzinfo=tz))

    found = []
    for event in recurring_ical_events.of(calendar).between(start, end):
        if str(event.get("STATUS", "")).upper() == "CANCELLED":
            continue
        begin, until = moment(event.start), moment(event.end)
        if not isinstance(event.start, dt.datetime) and event.end <= event.start:
            until = moment(event.start + dt.timedelta(days=1))  # of a day that ends on that day
        if until > begin:
            found.append((begin, until, str(event.get("SUMMARY", ""))))
    return sorted(found)
