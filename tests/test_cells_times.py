"""Times as people write them: what is read, and what is said about it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_detector.cells import (
    TimeFormat,
    find_time_parts,
    guess_time_format,
    join_parts,
    read_time,
    read_time_column,
    read_times,
)
from stream_detector.cells.zones import local_to_utc_ms
from stream_detector.events import NO_TIMESTAMP

MORNING = "2024-03-04T08:05:00+00:00"

SPELLINGS = [
    ("2024-03-04 08:05:00", "auto"),
    ("2024-03-04T08:05:00Z", "auto"),
    ("2024-03-04T08:05:00.000000+00:00", "auto"),
    ("2024-03-04T09:05:00+0100", "auto"),
    ("2024-03-04 08:05:00 UTC", "auto"),
    ("2024-03-04 08:05:00 +0000", "auto"),
    ("2024-03-04 08:05:00 +0000 UTC", "auto"),
    ("2024-03-04 08:05:00,000", "auto"),
    ("2024-03-04 08:05:00.000000000", "auto"),
    (" 2024-03-04 08:05:00 ", "auto"),
    ('"2024-03-04 08:05"', "auto"),
    ("2024-3-4 8:05", "auto"),
    ("2024/03/04 08:05:00", "auto"),
    ("2024.03.04 08:05", "auto"),
    ("2024:03:04 08:05:00", "auto"),
    ("2024-03-04_08:05:00", "auto"),
    ("2024-03-04-08.05.00.000000", "auto"),
    ("2024-03-04T09:05:00+01:00[Europe/Berlin]", "auto"),
    ("2024-03-04 09:05 Europe/Berlin", "auto"),
    ("2024-03-04 09:05 CET", "auto"),
    ("2024-03-04 00:05 PST", "auto"),
    ("20240304T080500Z", "auto"),
    ("20240304080500", "auto"),
    ("20240304080500000", "auto"),
    ("2024-064T08:05:00", "auto"),
    ("2024-W10-1T08:05:00", "auto"),
    ("2024 3 4 8 5", "auto"),
    ("2024 3 4 08:05", "auto"),
    ("2024-03-04 0805", "auto"),
    ("Mon, 04 Mar 2024 08:05:00 +0000", "auto"),
    ("Mon, 4 Mar 2024 09:05:00 +0100 (CET)", "auto"),
    ("Monday, March 4, 2024 8:05 AM", "auto"),
    ("Mar 4, 2024 8:05:00 AM", "auto"),
    ("March 4th, 2024 at 8:05 am", "auto"),
    ("04 Mar 2024 08:05", "auto"),
    ("4-Mar-2024 08:05:00", "auto"),
    ("04/Mar/2024:08:05:00 +0000", "auto"),
    ("04MAR2024:08:05:00", "auto"),
    ("04-MAR-24 08.05.00.000000 AM", "auto"),
    ("Mon Mar  4 08:05:00 2024", "auto"),
    ("Mon Mar  4 08:05:00 UTC 2024", "auto"),
    ("Mon Mar 04 08:05:00 +0000 2024", "auto"),
    ("Mon Mar 04 2024 09:05:00 GMT+0100 (Central European Standard Time)", "auto"),
    ("4. März 2024 08:05 Uhr", "auto"),
    ("lundi 4 mars 2024 08:05", "auto"),
    ("4 de marzo de 2024 08:05", "auto"),
    ("2024年3月4日 8時05分", "auto"),
    ("2024/064 08:05", "auto"),
    ("2024-03-04T08:05:00Z[UTC]", "auto"),
    ("[Mon Mar 04 08:05:00.123456 2024]", "auto"),
    ("[04/Mar/2024:08:05:00 +0000]", "auto"),
    ("2024-03-04 09:05:00.123456789 +0100 CET m=+0.000123", "auto"),
    ("Mar 4, 2024 @ 08:05:00.123", "auto"),
    ("Mar  4 2024  8:05AM", "auto"),
    ("20240304-08:05:00.123", "auto"),
    ("2024-03-04 上午 08:05", "auto"),
    ("2024. 3. 4. 오전 8:05:00", "auto"),
    ("1709539500,123", "auto"),
    ("4/3/2024 8:05:00\u00a0a.\u00a0m.", "day_first"),
    ("4. 3. 2024 8:05", "day_first"),
    ("4-3-2024 8:5", "day_first"),
    ("1709539500", "auto"),
    ("1709539500.0", "unix_s"),
    ("1709539500000", "auto"),
    ("1709539500000000", "unix_us"),
    ("1709539500000000000", "unix_ns"),
    ("1.7095395e9", "auto"),
    ("/Date(1709539500000)/", "auto"),
    ("45355.336805555555", "excel"),
    ("133540131000000000", "filetime"),
    (1709539500, "auto"),
    (1709539500000, "unix_ms"),
    ("04/03/2024 08:05:00", "day_first"),
    ("4.3.2024 8.05", "day_first"),
    ("04-03-2024 08:05", "day_first"),
    ("4/3/24 8:05:00 AM", "day_first"),
    ("08:05 04/03/2024", "day_first"),
    ("04.03.2024, 08:05:00", "day_first"),
    ("03/04/2024 08:05:00 AM", "month_first"),
    ("3/4/2024 8:05 a.m.", "month_first"),
    ("03/04/2024 08:05:00.000", "month_first"),
    ("20240304 080500", "%Y%m%d %H%M%S"),
]


@pytest.mark.parametrize(("text", "pattern"), SPELLINGS)
def test_spellings_of_one_moment(text: str | float, pattern: str) -> None:
    read = datetime.fromtimestamp(read_time(text, pattern) / 1000, UTC)
    assert read.isoformat(timespec="seconds") == MORNING


@pytest.mark.parametrize(
    ("text", "pattern", "expected"),
    [
        ("28/12/2015 12:00:01 AM", "day_first", "2015-12-28T00:00:01"),
        ("28/12/2015 12:00:01 PM", "day_first", "2015-12-28T12:00:01"),
        ("28/12/2015 13:05 PM", "day_first", "2015-12-28T13:05:00"),
        ("28/12/2015", "day_first", "2015-12-28T00:00:00"),
        ("2016-12-31 23:59:60", "auto", "2017-01-01T00:00:00"),
        ("2016-12-31 24:00", "auto", "2017-01-01T00:00:00"),
        ("31/12/99", "day_first", "1999-12-31T00:00:00"),
        ("15-Mär-2019 18:54:42.585", "auto", "2019-03-15T18:54:42"),
        ("19786", "unix_days", "2024-03-04T00:00:00"),
    ],
)
def test_corners(text: str, pattern: str, expected: str) -> None:
    read = datetime.fromtimestamp(read_time(text, pattern) / 1000, UTC)
    assert read.strftime("%Y-%m-%dT%H:%M:%S") == expected


@pytest.mark.parametrize(
    ("text", "pattern", "said"),
    [
        ("04/03/2024 08:05", "auto", "day or month first"),
        ("28/12/2015", "month_first", "month must be in"),
        ("2024-13-01", "auto", "month"),
        ("2024-02-30 08:00", "auto", "day"),
        ("Mar  4 08:05:00", "auto", "no year"),
        ("08:05:00", "auto", "no date"),
        ("yesterday", "auto", "no date"),
        ("", "auto", "no date"),
        ("3", "auto", "a number this small"),
        ("2024-03-04 08:05 IST", "auto", "'IST' may mean several"),
        ("2024-03-04 08:05 foo bar", "auto", "belongs to no date"),
        ("2024-03-04 25:05", "auto", "no time of day"),
        ("2024-03-04 13:05 AM", "auto", "before noon"),
        ("2024-03-04 08:05 Nowhere/Land", "auto", "no time zone"),
        ("1969-12-31 23:59:59", "auto", "1970 to 2200"),
        ("abc", "unix_s", "expected a number"),
        (True, "auto", "expected a time"),
    ],
)
def test_what_is_no_time_says_why(text: str, pattern: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_time(text, pattern)


COLUMNS = {
    "day": (["28/12/2015 10:00", "03/01/2016 10:00"], "day_first", "makes no sense otherwise"),
    "month": (["12/28/2015 10:00"], "month_first", "the month stands first"),
    "running": (["03/07/2017 08:55", "04/07/2017 09:55"], "day_first", "closer together"),
    "backwards": (["01/31/2020", "02/01/2020"], "month_first", "no sense otherwise"),
    "order": (["05/06/2020", "04/07/2020"], "day_first", "goes back less"),
    "either": (["05/07/2017 08:55"], "day_first", "else: month_first"),
    "American": (["05/07/2017 08:55 AM"], "month_first", "else: day_first"),
    "seconds": (["1709539500.5", "1709539501.5"], "unix_s", ""),
    "milliseconds": ([1709539500000, 1709539501000], "unix_ms", ""),
    "digits": (["20240304", "20240305"], "%Y%m%d", ""),
    "hours": (["2024030408", "2024030409", "2024030410"], "%Y%m%d%H", ""),
    "words": (["Mar 4, 2024", "Mar 5, 2024"], "auto", ""),
    "some missing": (["2024-03-04", "NA", None, "2024-03-05"], "auto", ""),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_the_layout_of_a_column_is_found_and_said(name: str) -> None:
    cells, pattern, said = COLUMNS[name]
    layout, notes = guess_time_format(cells)
    assert layout is not None
    assert layout.as_config() == {"format": pattern}
    assert said in "; ".join(notes)
    column = read_time_column(cells)
    assert column is not None
    assert column.unreadable_count == 0
    assert (column.times == NO_TIMESTAMP).sum() == column.missing_count


@pytest.mark.parametrize(
    "cells",
    [
        ["hello", "world"],
        ["12", "13"],
        ["192.168.1.1", "10.0.0.1"],
        ["1.5", "2.5"],
        ["08:05", "09:05"],
        ["ACC024", "ACC025"],
        ["4711471147114711", "4711471147114712"],
        [True, False],
        [None, ""],
        [],
    ],
)
def test_other_columns_hold_no_times(cells: list[object]) -> None:
    assert read_time_column(cells) is None


def test_a_few_cells_that_cannot_be_read_are_shown() -> None:
    cells = [f"2024-03-04 08:{minute:02}" for minute in range(60)] * 5 + ["soon"]
    column = read_time_column(cells)
    assert column is not None
    assert column.unreadable == ("soon",)
    assert not column.zoned


def test_date_and_clock_in_two_columns() -> None:
    columns = {
        "Date": ["16/12/2006", "17/12/2006"],
        "Time": ["17:25:00", "05:26:00 PM"],
        "Voltage": ["236.1", "235.9"],
    }
    parts = find_time_parts(columns)
    assert parts is not None
    assert parts.fields == ("Date", "Time")
    assert parts.column.format.pattern == "day_first"
    read = parts.column.times.astype("datetime64[ms]").astype(str).tolist()
    assert read == ["2006-12-16T17:25:00.000", "2006-12-17T17:26:00.000"]


@pytest.mark.parametrize(
    ("columns", "fields", "expected"),
    [
        (
            {"Year": ["2024"], "Month": ["3"], "Day": ["4"], "Time": ["08:05"], "User": ["7"]},
            ("Year", "Month", "Day", "Time"),
            "2024-03-04T08:05",
        ),
        (
            {"day": [4], "month": [3], "year": [2024], "hour": [8], "min": [5], "sec": [7.5]},
            ("year", "month", "day", "hour", "min", "sec"),
            "2024-03-04T08:05",
        ),
        (
            {"YYYY": ["2024.0"], "Mon": ["Mar"], "DD": ["4"]},
            ("YYYY", "Mon", "DD"),
            "2024-03-04T00:00",
        ),
    ],
)
def test_year_month_and_day_apart(
    columns: dict[str, list[object]], fields: tuple[str, ...], expected: str
) -> None:
    parts = find_time_parts(columns)
    assert parts is not None
    assert parts.fields == fields
    assert str(parts.column.times.astype("datetime64[ms]")[0]).startswith(expected)


def test_columns_without_a_date_make_no_time() -> None:
    assert find_time_parts({"Time": ["08:05"], "value": ["5"]}) is None
    assert find_time_parts({"year": ["2024"], "month": ["3"], "value": ["5"]}) is None
    assert find_time_parts({"Year": ["2024"], "Month": ["13"], "Day": ["4"]}) is None
    assert join_parts(["2024-03-04", None]) is None


# --- local times --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-07-04 08:00", "2024-07-04T06:00"),
        ("2024-12-04 08:00", "2024-12-04T07:00"),
        ("2024-10-27 02:30", "2024-10-27T00:30"),  # comes twice: the first
        ("2024-10-27 02:30 CET", "2024-10-27T01:30"),
        ("2024-10-27 02:30 CEST", "2024-10-27T00:30"),
        ("2024-03-31 02:30", "2024-03-31T01:30"),  # the clocks skip it
        ("2024-07-04 08:00Z", "2024-07-04T08:00"),
    ],
)
def test_local_times_have_a_zone(text: str, expected: str) -> None:
    read = datetime.fromtimestamp(read_time(text, "auto", "Europe/Berlin") / 1000, UTC)
    assert read.strftime("%Y-%m-%dT%H:%M") == expected


LOCAL = st.datetimes(datetime(1975, 1, 1), datetime(2090, 1, 1))  # noqa: DTZ001


@given(
    st.lists(LOCAL, min_size=1, max_size=8),
    st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]),
    st.sampled_from(["auto", "day_first", "month_first"]),
)
def test_many_local_times_are_read_as_each_of_them(
    moments: list[datetime], zone: str, pattern: str
) -> None:
    shape = {"auto": "%Y-%m-%d", "day_first": "%d.%m.%Y", "month_first": "%m/%d/%Y"}[pattern]
    texts = [moment.strftime(shape + " %H:%M:%S") for moment in moments]
    together = read_times(texts, pattern, zone)
    assert together is not None
    assert together.tolist() == [read_time(text, pattern, zone) for text in texts]
    local = np.array(moments, "datetime64[ms]").astype(np.int64) // 1000 * 1000
    exact = [m.replace(microsecond=0, tzinfo=ZoneInfo(zone)).timestamp() for m in moments]
    assert local_to_utc_ms(local, zone).tolist() == [int(each * 1000) for each in exact]


# --- what a layout writes, it reads -------------------------------------------------------------

LAYOUTS = {
    "auto": [
        "%Y-%m-%d %H:%M:%S",
        "%Y/%m/%d %I:%M:%S %p",
        "%a, %d %b %Y %H:%M:%S +0000",
        "%b %d, %Y %I:%M:%S %p",
        "%a %b %d %H:%M:%S %Y",
        "%d/%b/%Y:%H:%M:%S +0000",
        "%d %B %Y %H:%M:%S UTC",
        "%Y%m%dT%H%M%S",
        "%Y%m%d%H%M%S",
        "%Y-%jT%H:%M:%S",
        "%d%b%Y:%H:%M:%S",
        "%H:%M:%S %Y-%m-%d",
    ],
    "day_first": ["%d/%m/%Y %H:%M:%S", "%d.%m.%Y %I:%M:%S %p", "%d-%m-%Y %H.%M.%S"],
    "month_first": ["%m/%d/%Y %H:%M:%S", "%m/%d/%Y %I:%M:%S %p", "%m-%d-%Y, %H:%M:%S"],
}
WRITTEN = [(pattern, layout) for pattern, some in LAYOUTS.items() for layout in some]
MOMENTS = st.datetimes(datetime(1971, 1, 1), datetime(2199, 1, 1))  # noqa: DTZ001


@given(MOMENTS, st.sampled_from(WRITTEN))
def test_what_a_layout_writes_is_read_back(moment: datetime, written: tuple[str, str]) -> None:
    pattern, layout = written
    moment = moment.replace(microsecond=0)
    expected = (moment - datetime(1970, 1, 1)) // timedelta(milliseconds=1)  # noqa: DTZ001
    assert read_time(moment.strftime(layout), pattern) == expected


@given(
    st.lists(MOMENTS, min_size=1, max_size=9),
    st.sampled_from("/.-"),
    st.sampled_from(["", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p"]),
    st.booleans(),
)
def test_days_or_months_in_front_are_read_at_once(
    moments: list[datetime], mark: str, clock: str, day_first: bool
) -> None:
    layout = (mark.join(("%d", "%m", "%Y") if day_first else ("%m", "%d", "%Y"))) + clock
    pattern = "day_first" if day_first else "month_first"
    texts = [moment.strftime(layout) for moment in moments]
    together = read_times(texts, pattern)
    assert together is not None
    assert together.tolist() == [read_time(text, pattern) for text in texts]


@pytest.mark.parametrize(
    "texts",
    [
        ["04/03/2024 13:05 PM"],
        ["04/03/2024 00:05 AM"],
        ["04/13/2024 08:05"],
        ["04-03/2024 08:05", "04x03/2024 08:05"],
        ["04/03/2024 08:05", "04/03/2024T08:05"],
        ["04/03/2024 08.05"],
        ["04/03/2024 08:05 XM"],
        ["4/3/2024 8:05"],
        ["04/03/2024\n08:05"],
    ],
)
def test_others_are_left_to_the_slow_way(texts: list[str]) -> None:
    assert read_times(texts, "day_first") is None


@given(st.lists(MOMENTS, min_size=1, max_size=20), st.sampled_from(WRITTEN))
def test_a_column_in_one_layout_is_read_back_or_said_to_be_in_doubt(
    moments: list[datetime], written: tuple[str, str]
) -> None:
    moments = sorted(moment.replace(microsecond=0) for moment in moments)
    column = read_time_column([moment.strftime(written[1]) for moment in moments])
    assert column is not None
    epoch = datetime(1970, 1, 1)  # noqa: DTZ001
    expected = [(moment - epoch) // timedelta(milliseconds=1) for moment in moments]
    assert column.times.tolist() == expected or any("may be two" in note for note in column.notes)


@given(st.text(max_size=40), st.sampled_from(["auto", "day_first", "month_first", "unix_s"]))
def test_any_text_is_a_time_or_a_value_error(text: str, pattern: str) -> None:
    try:
        read = TimeFormat(pattern, "Europe/Berlin").read(text)
    except (ValueError, OverflowError):
        return
    assert read >= 0
