"""Calendars: when they say what, of files nobody here wrote, and what monitors do about it."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from pydantic import ValidationError
from test_docs import VALIDATOR

from stream_detector import ConfigurationError, Pipeline, load_config
from stream_detector.calendars import (
    CalendarBook,
    CalendarConfig,
    CalendarError,
    Calendars,
    packed_calendars,
)
from stream_detector.calendars.files import MAX_EVENTS, read_text
from stream_detector.calendars.spans import read_weekly
from stream_detector.config import state_fingerprint
from stream_detector.errors import StateMismatchError
from stream_detector.events import TopicPartition
from stream_detector.monitors import MonitorEvents
from stream_detector.monitors.deviations import Deviation
from stream_detector.monitors.rate import RateMonitor, RateMonitorConfig
from stream_detector.pipeline.batch_result import BatchResult
from stream_detector.pipeline.cause import Cause

HOUR = 3_600_000
START = 1_704_067_200_000  # 2024-01-01, a Monday
SKIP = {"skip": ["alert", "learning"]}


def calendars(*each: dict[str, Any]) -> Calendars:
    configs = [CalendarConfig(**{"name": f"c{number}", **one}) for number, one in enumerate(each)]
    resolved = [config.resolved() for config in configs]
    names = [config.name for config in configs]
    return CalendarBook(packed_calendars(resolved, {"m": names})).of("m")


def ms(text: str) -> int:
    return round(dt.datetime.fromisoformat(text).timestamp() * 1000)


def hits(calendar: Calendars, *moments: str) -> list[bool]:
    return [bool(calendar.at(ms(each), ms(each) + 1)) for each in moments]


# --- times ----------------------------------------------------------------------------------------


def test_weekly_hours_go_by_the_clock_on_the_wall_in_both_weekends_of_daylight_saving() -> None:
    calendar = calendars({"weekly": ["Sun 02:00-04:00"], "zone": "Europe/Berlin", **SKIP})
    spring = ("2024-03-31T00:59+00:00", "2024-03-31T01:01+00:00", "2024-03-31T02:01+00:00")
    assert hits(calendar, *spring) == [False, True, False]  # an hour long: 02:00 is 03:00
    autumn = ("2024-10-26T23:59+00:00", "2024-10-27T00:01+00:00", "2024-10-27T02:59+00:00")
    assert hits(calendar, *autumn) == [False, True, True]  # three hours long
    assert hits(calendar, "2024-10-27T03:01+00:00") == [False]


@pytest.mark.parametrize(
    ("rule", "inside", "outside"),
    [
        ("Mon-Fri 22:00-06:00", "2024-01-06T05:59+00:00", "2024-01-06T22:30+00:00"),
        ("Fri-Mon 08:00-24:00", "2024-01-07T23:59+00:00", "2024-01-02T09:00+00:00"),
        ("daily 01:00-02:00", "2024-01-03T01:30+00:00", "2024-01-03T02:00+00:00"),
        ("sat, sun 00:00-24:00", "2024-01-07T00:00+00:00", "2024-01-08T00:00+00:00"),
        ("Sunday 9:00-10:00", "2024-01-07T09:30+00:00", "2024-01-08T09:30+00:00"),
    ],
)
def test_weekly_hours_are_read_as_people_write_them(rule: str, inside: str, outside: str) -> None:
    assert hits(calendars({"weekly": [rule], **SKIP}), inside, outside) == [True, False]


@pytest.mark.parametrize("rule", ["", "Sun", "Sun 2-4", "Xyz 02:00-04:00", "Sun 25:00-26:00"])
def test_what_are_no_hours_is_refused(rule: str) -> None:
    with pytest.raises(ValueError, match="weekly"):
        read_weekly(rule)


def test_one_stretch_of_time_is_local_where_it_names_no_zone() -> None:
    local = {"start": "2024-05-01T02:00", "end": "2024-05-01T04:00", "zone": "America/New_York"}
    calendar = calendars({**local, **SKIP})
    assert hits(calendar, "2024-05-01T05:59+00:00", "2024-05-01T06:00+00:00") == [False, True]
    fixed = {"start": "2024-05-01T02:00Z", "end": "2024-05-01T04:00Z", "zone": "Asia/Tokyo"}
    assert hits(calendars({**fixed, **SKIP}), "2024-05-01T03:00+00:00") == [True]


def test_public_holidays_are_days_of_the_zone_and_have_their_names() -> None:
    calendar = calendars(
        {"country": "DE", "subdivision": "BY", "zone": "Europe/Berlin", "like": "sunday"}
    )
    before, after = ms("2024-12-24T22:59+00:00"), ms("2024-12-24T23:01+00:00")
    assert calendar.words(before, before + 1, "k") is None
    assert calendar.words(after, after + 1, "k") == "c0: Erster Weihnachtstag"
    # Epiphany is one in Bavaria, and not everywhere.
    assert hits(calendar, "2024-01-06T10:00+00:00") == [True]
    plain = calendars({"country": "DE", "zone": "Europe/Berlin", "like": "sunday"})
    assert hits(plain, "2024-01-06T10:00+00:00") == [False]


# --- files ----------------------------------------------------------------------------------------


def file_of(*lines: str, head: str = "") -> str:
    return "\r\n".join(["BEGIN:VCALENDAR", *head.split(), *lines, "END:VCALENDAR", ""])


def event(*lines: str) -> list[str]:
    named = [] if lines[0].startswith("UID") else ["UID:1"]
    return ["BEGIN:VEVENT", *named, "SUMMARY:work", *lines, "END:VEVENT"]


@pytest.mark.parametrize(
    ("lines", "inside", "outside"),
    [
        (  # all of a recurrence, not its first occurrence alone; the last by UNTIL, in UTC
            event(
                "DTSTART;TZID=Europe/Berlin:20240102T210000",
                "DTEND;TZID=Europe/Berlin:20240102T220000",
                "RRULE:FREQ=WEEKLY;UNTIL=20240123T200000Z",
            ),
            ["2024-01-02T20:30+00:00", "2024-01-23T20:30+00:00"],
            ["2024-01-30T20:30+00:00", "2024-01-23T21:30+00:00"],
        ),
        (
            event("DTSTART:20240105T010000Z", "DURATION:PT2H", "RRULE:FREQ=DAILY;COUNT=3"),
            ["2024-01-07T02:59+00:00"],
            ["2024-01-08T02:00+00:00", "2024-01-07T03:00+00:00"],
        ),
        (  # the last Sunday of the month, by the clock on the wall
            event(
                "DTSTART;TZID=Europe/Berlin:20240128T020000",
                "DTEND;TZID=Europe/Berlin:20240128T050000",
                "RRULE:FREQ=MONTHLY;BYDAY=-1SU",
                "EXDATE;TZID=Europe/Berlin:20240225T020000",
            ),
            ["2024-03-31T02:59+00:00", "2024-10-27T03:59+00:00"],
            ["2024-03-31T03:01+00:00", "2024-02-25T02:00+00:00", "2024-03-24T02:00+00:00"],
        ),
        (  # one occurrence was moved, one cancelled
            [
                *event("DTSTART:20240101T100000Z", "DTEND:20240101T110000Z", "RRULE:FREQ=DAILY"),
                *event(
                    "RECURRENCE-ID:20240102T100000Z",
                    "DTSTART:20240102T150000Z",
                    "DTEND:20240102T160000Z",
                ),
                *event(
                    "RECURRENCE-ID:20240103T100000Z",
                    "DTSTART:20240103T100000Z",
                    "DTEND:20240103T110000Z",
                    "STATUS:CANCELLED",
                ),
            ],
            ["2024-01-01T10:30+00:00", "2024-01-02T15:30+00:00", "2024-01-04T10:30+00:00"],
            ["2024-01-02T10:30+00:00", "2024-01-03T10:30+00:00"],
        ),
        (  # floating, and a whole day: of the calendar's zone
            [
                *event("DTSTART:20240105T010000", "DTEND:20240105T020000"),
                *event("UID:2", "DTSTART;VALUE=DATE:20240110", "DTEND;VALUE=DATE:20240111"),
            ],
            ["2024-01-05T00:30+00:00", "2024-01-09T23:30+00:00"],
            ["2024-01-05T01:30+00:00", "2024-01-10T23:30+00:00"],
        ),
        (  # as sites for holidays write it
            event("DTSTART:20240101", "DTEND:20240101", "RRULE:"),
            ["2024-01-01T12:00+00:00"],
            ["2024-01-02T12:00+00:00"],
        ),
        (  # Outlook's names of zones
            event("DTSTART;TZID=W. Europe Standard Time:20240705T090000", "DURATION:PT1H"),
            ["2024-07-05T07:30+00:00"],
            ["2024-07-05T08:30+00:00"],
        ),
        (  # a zone that only the file knows
            [
                "BEGIN:VTIMEZONE",
                "TZID:Customized Time Zone",
                "BEGIN:STANDARD",
                "DTSTART:16010101T000000",
                "TZOFFSETFROM:+0300",
                "TZOFFSETTO:+0300",
                "END:STANDARD",
                "END:VTIMEZONE",
                *event("DTSTART;TZID=Customized Time Zone:20240705T090000", "DURATION:PT1H"),
            ],
            ["2024-07-05T06:30+00:00"],
            ["2024-07-05T07:30+00:00"],
        ),
    ],
)
@pytest.mark.parametrize("form", ["crlf", "lf", "bom", "folded"])
def test_a_file_says_when(
    tmp_path: Path, lines: list[str], inside: list[str], outside: list[str], form: str
) -> None:
    text = file_of(*lines, "X-WR-CALNAME:work")
    if form == "folded":
        text = text.replace("SUMMARY:work", "SUMM\r\n ARY:wo\r\n\trk")
    text = text.replace("\r\n", "\n") if form == "lf" else text
    path = tmp_path / "work.ics"
    path.write_bytes(text.encode("utf-8-sig" if form == "bom" else "utf-8"))
    calendar = calendars({"file": str(path), "zone": "Europe/Berlin", **SKIP})
    assert hits(calendar, *inside) == [True] * len(inside)
    assert hits(calendar, *outside) == [False] * len(outside)
    assert calendar.words(ms(inside[0]), ms(inside[0]) + 1, "k") == "c0: work"


def test_what_people_wrote_about_each_other_is_left_out() -> None:
    lines = event("DTSTART:20240101T000000Z", "DTEND:20240101T010000Z")
    more = ["DTSTAMP:20240101T000000Z", "ATTENDEE:mailto:a@example.org", "DESCRIPTION:secret"]
    alarm = ["BEGIN:VALARM", "TRIGGER:-PT5M", "SUMMARY:wake", "END:VALARM"]
    noisy = file_of(*lines[:-1], *more, *alarm, lines[-1])
    assert read_text(noisy, "UTC") == read_text(file_of(*lines), "UTC")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hello", "line 1: a calendar begins with"),
        ("BEGIN:VCALENDAR\nBEGIN:VEVENT\nEND:VCALENDAR", "line 3: END:VCALENDAR ends nothing"),
        ("BEGIN:VCALENDAR\nBEGIN:VEVENT\n", "line 2: VEVENT has no end"),
        (file_of(*event("DTSTART:2024-01-01")), r"line 2: event 'work'"),
        (file_of(*event("DTEND:20240101T000000Z")), "line 2: event 'work': an event needs DTSTART"),
        (file_of(*event("DTSTART:20240101T000000Z", "RRULE:FREQ=SECONDLY")), "RRULE recurs HOURLY"),
        (
            file_of(*event("DTSTART:20240101T000000Z", "RRULE:FREQ=HOURLY;BYMINUTE=0,10,20,30,40")),
            "more than 96 times a day",
        ),
        (
            file_of(*event("DTSTART;TZID=(no TZ description):20240101T000000")),
            r"the time zone '\(no TZ description\)' is not known",
        ),
        (
            file_of(*(event("DTSTART:20240101T000000Z") * (MAX_EVENTS + 1))),
            "more than 2,000 events",
        ),
    ],
)
def test_what_a_file_has_wrong_is_said_with_its_line(text: str, said: str) -> None:
    with pytest.raises(CalendarError, match=said):
        read_text(text, "UTC")


# --- what monitors do -----------------------------------------------------------------------------


def stream(hours: int, rate: Any, seed: int = 1) -> tuple[np.ndarray, list[str]]:
    random = np.random.default_rng(seed)
    rows = sorted(
        (START + hour * HOUR + int(offset), key)
        for hour in range(hours)
        for key in "abcdef"
        for offset in random.integers(0, HOUR, random.poisson(rate(key, hour)))
    )
    return np.array([time for time, _ in rows]), [key for _, key in rows]


def found_by(by: Calendars | None, times: np.ndarray, keys: list[str], **settings: Any) -> Any:
    plain = {"name": "m", "key": "k", "season": "hour_of_day", "widths": [1, 3, 24]}
    monitor = RateMonitor(RateMonitorConfig(**{**plain, **settings}))
    if by is not None:
        monitor.calendars = by
    found = []
    for begin in range(0, len(times), 1009):
        part = slice(begin, begin + 1009)
        columns = MonitorEvents(times[part], times[part], text={"k": keys[part]})
        for _, some in monitor.take(columns):
            found += some
    return found, monitor


BEGIN = 16 * 24 + 8
WORK = {"start": "2024-01-17T08:00", "end": "2024-01-17T13:00", "keys": ["a"]}


def quiet(keys: str) -> Any:
    """Keys that fall silent for the five hours of ``WORK``."""
    return lambda key, hour: 0.0 if key in keys and BEGIN <= hour < BEGIN + 5 else 20.0


def test_planned_work_on_a_key_is_silent_for_it_and_for_no_other() -> None:
    times, keys = stream(20 * 24, quiet("ab"))
    without = {f.key for f in found_by(None, times, keys)[0]}
    assert without >= {"a", "b"}
    found, monitor = found_by(calendars({**WORK, **SKIP}), times, keys)
    # Also after it: windows that reach back do not count those hours.
    assert {f.key for f in found if f.end_ms > START + BEGIN * HOUR} == {"b"}
    usual = monitor._history.usual[monitor._keys.find("a"), 8:13]
    assert (usual > 17).all()


def test_what_is_expected_may_be_less() -> None:
    def third(key: str, hour: int) -> float:
        return 20.0 * (0.3 if key == "a" and BEGIN <= hour < BEGIN + 5 else 1.0)

    times, keys = stream(20 * 24, third)
    late = START + BEGIN * HOUR
    assert {f.key for f in found_by(None, times, keys)[0] if f.end_ms > late} == {"a"}
    expected = calendars({**WORK, "expect": 0.3})
    assert [f for f in found_by(expected, times, keys)[0] if f.end_ms > late] == []
    # As usual, where less is expected, is an incident, and the calendar is named.
    times, keys = stream(20 * 24, quiet(""))
    found = [f for f in found_by(expected, times, keys)[0] if f.end_ms > late]
    assert found
    assert {(f.key, f.calendar) for f in found} == {("a", "c0")}


def test_a_holiday_counts_as_a_sunday() -> None:
    def shop(key: str, hour: int) -> float:
        sunday = hour // 24 % 7 == 6 or hour // 24 == 24  # and a Thursday in the fourth week
        return 2.0 if sunday else 25.0

    times, keys = stream(28 * 24, shop)
    day = {"start": "2024-01-25T00:00", "end": "2024-01-26T00:00", "like": "sunday"}
    settings = {"season": "hour_of_week", "population": False}
    late = START + 24 * 24 * HOUR
    assert len([f for f in found_by(None, times, keys, **settings)[0] if f.end_ms > late]) >= 6
    assert [
        f for f in found_by(calendars(day), times, keys, **settings)[0] if f.end_ms > late
    ] == []


@pytest.mark.parametrize("day", [dt.date(2024, 3, 31), dt.date(2024, 10, 27)])
def test_daylight_saving_is_no_incident_with_calendars_of_the_zone(day: dt.date) -> None:
    zone = ZoneInfo("Europe/Berlin")
    begin = dt.datetime.combine(day - dt.timedelta(days=28), dt.time(), dt.UTC)
    random = np.random.default_rng(5)
    rows = []
    for hour in range(32 * 24):
        local = (begin + dt.timedelta(hours=hour)).astimezone(zone)
        work = local.weekday() == 6 and 2 <= local.hour < 4
        rate = 0 if work else (30 if 6 <= local.hour < 22 else 3)
        for key in "abcdef":
            offsets = random.integers(0, HOUR, random.poisson(rate))
            rows += [(round(begin.timestamp() * 1000) + hour * HOUR + int(o), key) for o in offsets]
    rows.sort()
    by = calendars({"weekly": ["Sun 02:00-04:00"], "zone": "Europe/Berlin", "skip": ["alert"]})
    times, keys = np.array([r[0] for r in rows]), [r[1] for r in rows]
    settings = {"season": "hour_of_week", "zone": "Europe/Berlin"}
    found, _ = found_by(by, times, keys, **settings)
    weekend = ms(f"{day - dt.timedelta(days=1)}T00:00+00:00")
    assert [f for f in found if f.end_ms > weekend] == []


# --- in the configuration, the pipeline and the state ---------------------------------------------


def document(*each: dict[str, Any], **monitor: Any) -> dict[str, Any]:
    named = [{"name": f"c{number}", **one} for number, one in enumerate(each)]
    plain = {"kind": "rate", "name": "m", "key": "k", "season": "hour_of_day", "widths": [1, 3]}
    plain = {key: value for key, value in {**plain, **monitor}.items() if value is not None}
    return {
        "name": "shop",
        "event": {"time": {"field": "t", "format": "unix_ms"}},
        "features": [{"categorical": "k", "encoding": "rarity"}],
        "detector": {"kind": "half_space_forest", "trees": 2, "depth": 2},
        "threshold": {"budget": "1 %"},
        "calendars": named,
        "monitors": [{"calendars": [one["name"] for one in named], **plain}],
    }


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"skip": ["alert"]}, "give one of file, country, weekly"),
        ({"country": "DE", "weekly": ["Sun 02:00-04:00"], **SKIP}, "give one of file, country"),
        ({"country": "DE"}, "give skip, expect or like"),
        ({"weekly": ["Sun 02:00"], **SKIP}, "weekly: hours look like"),
        ({"start": "2024-05-01T02:00", **SKIP}, "start needs end"),
        ({"start": "2024-05-02", "end": "2024-05-01", **SKIP}, "start lies before end"),
        ({"start": "tomorrow", "end": "2024-05-01", **SKIP}, "times such as"),
        ({"country": "DE", "zone": "Europe/Nowhere", **SKIP}, "no time zone"),
        ({"country": "DE", "expect": 0.5, "like": "sunday"}, "one of expect and like"),
    ],
)
def test_a_calendar_that_says_nothing_is_refused(settings: Any, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        CalendarConfig(name="c", **settings)


def test_mistakes_have_their_place(tmp_path: Path) -> None:
    path = tmp_path / "work.ics"
    path.write_text(file_of(*event("DTSTART:20240101T000000Z", "RRULE:FREQ=MINUTELY")))
    with pytest.raises(ConfigurationError, match=r"calendars\[0\]\.file: .*work\.ics, line 2: ev"):
        load_config(document({"file": str(path), **SKIP}))
    with pytest.raises(ConfigurationError, match=r"calendars\[0\]\.file: .* cannot be read"):
        load_config(document({"file": str(tmp_path / "none.ics"), **SKIP}))
    with pytest.raises(ConfigurationError, match=r"calendars\[0\]\.country: no holidays are known"):
        load_config(document({"country": "ZZ", **SKIP}))
    with pytest.raises(ConfigurationError, match="there is no calendar other"):
        load_config(document({"country": "DE", **SKIP}, calendars=["other"]))
    with pytest.raises(ConfigurationError, match="m has no `key`"):
        load_config(document({**WORK, **SKIP}, key=None))


def records(keys: str) -> list[dict[str, Any]]:
    times, names = stream(18 * 24, quiet(keys))
    return [{"t": time, "k": key} for time, key in zip(times.tolist(), names, strict=True)]


def test_alerts_name_the_calendar_and_calendars_stand_in_no_fingerprint() -> None:
    expecting = load_config(document({**WORK, "keys": ["b"], "expect": 0.9}))
    rows = records("ab")
    alerts = [a for a in Pipeline(expecting).process(rows).alerts if "monitor" in a]
    said = {a["monitor"]["key"]: a["monitor"].get("calendar") for a in alerts}
    assert (said["a"], said["b"]) == (None, "c0")
    assert [error.message for each in alerts for error in VALIDATOR.iter_errors(each)] == []
    assert state_fingerprint(expecting) == state_fingerprint(load_config(document()))


def test_a_pipeline_of_bytes_goes_by_the_calendars_that_it_is_given() -> None:
    rows = records("a")
    half = len(rows) * 2 // 3
    first = Pipeline(load_config(document()))
    first.process(rows[:half])
    data = first.to_bytes()
    muted = Pipeline.from_bytes(load_config(document({**WORK, **SKIP})), data)
    plain = Pipeline.from_bytes(load_config(document()), data)
    assert [a for a in muted.process(rows[half:]).alerts if "monitor" in a] == []
    assert [a for a in plain.process(rows[half:]).alerts if "monitor" in a]


def test_what_other_kinds_find_in_these_times_is_left_out() -> None:
    config = load_config(
        document(
            {**WORK, "skip": ["alert"]},
            kind="new_value",
            field="v",
            season=None,
            widths=None,
            bucket=None,
            name="quiet",
        )
    )
    monitors = Pipeline(config)._core.monitors
    (monitor,) = monitors.each
    inside = START + (BEGIN + 2) * HOUR
    plain: Any = {"start_ms": START, "score": 9.0, "threshold": 4.0, "rarity": 1e6, "share": None}
    more: Any = {"feature": "events", "actual": 0.0, "expected": 9.0, "low": 5.0, "high": 13.0}
    more |= {"others": "pace_of_others", "pace": 1.0, "calendar": None}
    for key, end_ms, muted in (("a", inside, True), ("b", inside, False), ("a", START, False)):
        finding = Deviation(key=key, end_ms=end_ms, **plain, **more)
        assert monitors._is_muted(monitor, finding) is muted
        outcome = BatchResult(np.empty(0), np.zeros(0, dtype=bool))
        place: Any = (Cause(TopicPartition("", 0), end_ms), end_ms, {})
        monitors._add(monitor, finding, place, outcome, None)
        assert len(outcome.alerts) == (0 if muted else 1)
    assert monitor.figures().muted == 1


def test_other_kinds_refuse_calendars_that_ask_for_more() -> None:
    more: Any = {"kind": "new_value", "field": "v", "season": None, "widths": None, "bucket": None}
    with pytest.raises(ConfigurationError, match=r"new_value goes by calendars with `skip: \[ale"):
        load_config(document({**WORK, **SKIP}, **more))


@pytest.mark.parametrize("packed", ["!", "AAAA", "eJyrBQAAewB8", 5, "A" * 300_000])
def test_calendars_of_a_state_that_are_none_are_refused(packed: Any) -> None:
    pipeline = Pipeline(load_config(document({**WORK, **SKIP})))
    state = {**pipeline._core.state(), "calendars": packed}
    with pytest.raises(StateMismatchError, match="calendars"):
        pipeline._core.restore(state)
