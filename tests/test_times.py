"""Event times read many at once are those read one by one."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_detector.decoding.times import read_time, read_times

EPOCH, FIRST, LAST = datetime(1970, 1, 1), datetime(1971, 1, 1), datetime(2199, 12, 31)  # noqa: DTZ001
ZONES = ["", "Z", "+00:00"]
DIGIT = st.integers(0, 9).map(str)


def layout(separator: str, fraction: int, zone: str) -> st.SearchStrategy[str]:
    """Texts of one layout, most of them no times."""
    pattern = f"dddd-dd-dd{separator}dd:dd:dd" + ("." + "d" * fraction if fraction else "") + zone
    parts = [DIGIT if letter == "d" else st.just(letter) for letter in pattern]
    return st.tuples(*parts).map("".join)


def one_by_one(values: list[str]) -> list[int] | None:
    try:
        return [read_time(value, "iso8601") for value in values]
    except ValueError:
        return None


@given(st.data(), st.sampled_from(" T"), st.sampled_from([0, 3, 6]), st.sampled_from(ZONES))
def test_any_digits_are_read_alike(
    data: st.DataObject, separator: str, fraction: int, zone: str
) -> None:
    """A month 13, a 31st of April, a minute 60: wrong for both."""
    values = data.draw(st.lists(layout(separator, fraction, zone), min_size=1, max_size=3))
    together = read_times(values, "iso8601")
    assert (None if together is None else together.tolist()) == one_by_one(values)


@given(
    st.lists(st.datetimes(FIRST, LAST), min_size=1, max_size=9),
    st.sampled_from(" T"),
    st.sampled_from(["seconds", "milliseconds", "microseconds"]),
    st.sampled_from(ZONES),
)
def test_good_times_are_read_at_once(
    moments: list[datetime], separator: str, precision: str, zone: str
) -> None:
    values = [moment.isoformat(separator, precision) + zone for moment in moments]
    together = read_times(values, "auto")
    assert together is not None
    assert together.tolist() == [read_time(value, "auto") for value in values]
    if precision != "seconds":
        assert together[0] == (moments[0] - EPOCH) // timedelta(milliseconds=1)


@given(st.lists(st.text(max_size=30) | st.none() | st.floats(), min_size=1, max_size=3))
def test_anything_else_is_left_to_the_slow_way(values: list[object]) -> None:
    assert read_times(values, "iso8601") is None


@pytest.mark.parametrize(
    "values",
    [
        [],
        ["now"],
        ["today"],
        ["NaT"],
        ["2018"],
        ["2018-04-01"],
        ["   2018-04-01 00:00"],
        ["2018-04-01 00:00+01"],
        ["2018-04-01 00:00:31", "2018-04-01 00:00:31.5"],
        ["2018-04-01 00:00:31Z", "2018-04-01 00:00:310"],
        ["2018-04-01 00:00:31 ", "2018-04-01 00:00:31 "],
        ["2018-04-01\n00:00:31"],
        ["2018-04-01 00:00:31\u0661", "2018-04-01 00:00:31\u0661"],
        ["1969-12-31 23:59:59"],
        ["2200-01-01 00:00:00"],
        ["0000-01-01 00:00:00"],
        ["2018-04-01 24:00:00"],
        ["2018-04-01 23:59:60"],
        ["2018-02-29 00:00:00", "2020-02-29 00:00:00"],
        [20180401000031],
        [b"2018-04-01 00:00:31"],
    ],
)
def test_what_numpy_takes_for_a_time_and_we_do_not(values: list[object]) -> None:
    """Its "now" would depend on the clock; a zone would come with a warning."""
    assert read_times(values, "iso8601") is None


def test_other_formats_are_left_to_the_slow_way() -> None:
    assert read_times(["2018-04-01 00:00:31"], "%Y-%m-%d %H:%M:%S") is None
    assert read_times(["2018-04-01 00:00:31"], "unix_ms") is None
