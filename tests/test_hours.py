"""Monitors of hours: when a key is active, daylight saving, bounds, cuts, states."""

from __future__ import annotations

import datetime as dt
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from pydantic import ValidationError
from support.monitoring import (
    DAY,
    HOUR,
    MINUTE,
    START,
    alerts_of,
    bits,
    check_cuts,
    check_refused,
    feed,
    pipeline_of,
)
from test_docs import VALIDATOR, monitor_fields

from stream_detector.monitors.hours import HoursMonitor, HoursMonitorConfig
from stream_detector.monitors.week import hours_of_week

Columns = dict[str, list[Any]]


def config_of(**settings: Any) -> HoursMonitorConfig:
    return HoursMonitorConfig(**{"name": "m", "key": "k", **settings})


def monitor_of(**settings: Any) -> HoursMonitor:
    return HoursMonitor(config_of(**settings))


def columns_of(rows: list[tuple[int, str | None]]) -> Columns:
    rows = sorted(rows, key=lambda row: row[0])
    return {"t": [t for t, _ in rows], "k": [k for _, k in rows]}


def office(weeks: int, keys: int = 5, seed: int = 0) -> list[tuple[int, str]]:
    """Keys that work from 8 to 18 on weekdays, and one that never sleeps."""
    random = np.random.default_rng(seed)
    rows = []
    for hour in range(weeks * 168):
        day, of_day = hour // 24 % 7, hour % 24
        for key in range(keys):
            if day < 5 and 8 <= of_day < 18 and random.random() < 0.7:
                count = int(random.integers(1, 4))
                times = random.integers(0, HOUR, count)
                rows += [(START + hour * HOUR + int(t), f"k{key}") for t in times]
        if random.random() < 0.8:
            rows.append((START + hour * HOUR + int(random.integers(0, HOUR)), "robot"))
    return rows


WEEKS = 8
SUNDAY_NIGHT = START + (WEEKS - 1) * 7 * DAY + 6 * DAY + 3 * HOUR


def test_an_event_in_a_quiet_hour_is_found_and_one_of_a_key_that_never_sleeps_is_not() -> None:
    planted = [(SUNDAY_NIGHT + 1, "k2"), (SUNDAY_NIGHT + 2, "robot"), (SUNDAY_NIGHT + 3, "k2")]
    planted += [(SUNDAY_NIGHT + HOUR, "k2")]  # within the period: the same night
    monitor = monitor_of()
    found = [f for _, f in feed(monitor, columns_of(office(WEEKS) + planted))]
    assert [(f.key, f.start_ms, f.hour) for f in found] == [("k2", SUNDAY_NIGHT + 1, 147)]
    (finding,) = found
    assert monitor.repeats == 1
    (reason,) = finding.reasons()
    assert reason["value"] == "Sunday 03:00"
    assert "active in this hour in 0 of the last weeks" in reason["text"]
    assert "usual: Mon Tue Wed Thu Fri 08:00 to 18:00 (UTC)" in reason["text"]


def test_a_new_shift_is_told_for_a_few_days_and_usual_then() -> None:
    begin = WEEKS * 7
    nights = [
        (START + (begin + day) * DAY + 2 * HOUR + minute * MINUTE, "k1")
        for day in range(42)
        for minute in range(0, 240, 20)
    ]
    rows = [row for row in office(WEEKS + 6) if row[1] != "k1" or row[0] < START + begin * DAY]
    found = [f for _, f in feed(monitor_of(), columns_of(rows + nights)) if f.key == "k1"]
    days = sorted({(f.start_ms - START) // DAY - begin for f in found})
    assert days[0] == 0
    assert days[-1] < 10


def test_an_hour_in_which_nobody_ever_was_has_a_chance_too() -> None:
    rows = [row for row in office(WEEKS) if row[1] != "robot"]
    (finding,) = (f for _, f in feed(monitor_of(), columns_of([*rows, (SUNDAY_NIGHT, "k1")])))
    assert 1e-5 < finding.chance < 5e-4
    assert finding.reasons()[0]["text"]


def test_before_a_key_is_known_nothing_is_said_of_it() -> None:
    week = [row for row in office(3) if row[0] < START + 20 * DAY]
    planted = [(START + 20 * DAY + 3 * HOUR, "k1")]
    assert feed(monitor_of(), columns_of(week + planted)) == []
    assert feed(monitor_of(learn_for="14d"), columns_of(week + planted))
    assert feed(monitor_of(learn_for="14d", after=500), columns_of(week + planted)) == []


@pytest.mark.parametrize("day", [dt.date(2024, 3, 31), dt.date(2024, 10, 27)])
def test_daylight_saving_is_nothing_strange_where_the_zone_is_named(day: dt.date) -> None:
    zone = ZoneInfo("Europe/Berlin")
    begin = dt.datetime.combine(day - dt.timedelta(days=56), dt.time(), dt.UTC)
    rows: list[tuple[int, str | None]] = []
    for quarter in range(63 * 96):
        moment = begin + dt.timedelta(minutes=15 * quarter)
        if 8 <= moment.astimezone(zone).hour < 18:
            rows.append((round(moment.timestamp() * 1000), "shop"))
    changed = round(dt.datetime.combine(day, dt.time(), dt.UTC).timestamp() * 1000)
    named = feed(monitor_of(zone="Europe/Berlin", p=0.05), columns_of(rows))
    unnamed = feed(monitor_of(p=0.05), columns_of(rows))
    assert [f for _, f in named if f.start_ms > changed] == []
    assert [f for _, f in unnamed if f.start_ms > changed]


def test_hours_are_those_of_the_zone_s_clocks() -> None:
    for zone in (
        "Asia/Kolkata",
        "America/New_York",
        "Australia/Lord_Howe",
        "UTC",
        "Asia/Kathmandu",
    ):
        random = np.random.default_rng(1)
        times = np.sort(random.integers(0, 2_000_000_000_000, 3000))
        expected = []
        for time in times.tolist():
            local = dt.datetime.fromtimestamp(time / 1000, ZoneInfo(zone))
            expected.append(local.weekday() * 24 + local.hour)
        assert hours_of_week(times, zone).tolist() == expected


def test_a_late_event_is_judged_by_its_own_hour() -> None:
    planted = [(START + 7 * 7 * DAY + 4 * DAY + 12 * HOUR, "late")]
    columns = columns_of(office(WEEKS) + planted)
    at = columns["k"].index("late")
    columns["k"][at] = "k1"
    columns["t"][at] -= 9 * HOUR  # 3 in the morning of that Friday, delivered at noon
    (finding,) = (f for _, f in feed(monitor_of(), columns))
    assert (finding.key, finding.hour) == ("k1", 4 * 24 + 3)


ROWS = columns_of(
    office(WEEKS)
    + [(START + i * 31 * HOUR + 7 * MINUTE, f"k{i % 5}") for i in range(43)]
    + [(START + i * 5 * HOUR, None) for i in range(60)]
)


def test_no_cut_of_a_stream_changes_a_bit() -> None:
    assert len(check_cuts(config_of(max_keys=4, p=0.05, half_life="1d"), ROWS)) > 5
    assert len(check_cuts(config_of(key=None, p=0.05, budget="1 per day"), ROWS)) >= 0


def test_keys_are_bounded_and_a_flood_of_them_leaves_the_old_ones() -> None:
    flood = [(SUNDAY_NIGHT - DAY + i, f"junk{i}") for i in range(6000)]
    monitor = monitor_of(max_keys=500)
    found = feed(monitor, columns_of(office(WEEKS) + flood + [(SUNDAY_NIGHT, "k2")]))
    assert monitor.keys <= 500 + 2048
    assert monitor.evicted > 3000
    assert [finding.key for _, finding in found] == ["k2"]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("weights", lambda a: a - 1.0),
        ("weights", lambda a: a * np.inf),
        ("weights", lambda a: a[:, :24]),
        ("today", lambda a: a.astype(np.uint8)),
        ("first_ms", lambda a: a + 2**49),
        ("active", lambda a: a - 10**6),
        ("all", lambda a: a * np.nan),
        ("day", 10**6),
        ("base_day", -1),
        ("base_day", 0),
    ],
)
def test_a_state_that_cannot_be_is_refused(path: str, value: Any) -> None:
    monitor = monitor_of()
    feed(monitor, ROWS)
    check_refused(monitor, path, value, max(ROWS["t"]))


def test_time_that_goes_back_leaves_a_state_that_can_be_read() -> None:
    monitor = monitor_of()
    feed(monitor, ROWS)
    monitor.restart(START)
    other = monitor_of()
    other.restore(monitor.state(), START)
    assert bits(other) == bits(monitor)


def test_weights_that_have_grown_for_long_stay_finite() -> None:
    rows = [(START + day * 4 * DAY + 9 * HOUR, "k") for day in range(1500)]
    monitor = monitor_of(half_life="1d", learn_for="1d", after=1)
    feed(monitor, columns_of(rows))
    assert np.isfinite(monitor._weights).all()
    assert 0 < monitor._weights.max() < 2.0**60


def test_a_zone_that_there_is_not_is_explained() -> None:
    with pytest.raises(ValidationError, match="no time zone"):
        config_of(zone="Europe/Nowhere")


def test_alerts_fit_the_schema() -> None:
    columns = columns_of([*office(WEEKS), (SUNDAY_NIGHT, "k2")])
    (alert,) = alerts_of(pipeline_of({"kind": "hours"}), columns, 3000)
    assert [error.message for error in VALIDATOR.iter_errors(alert)] == []
    assert alert["monitor"].keys() == set(monitor_fields("hours"))
    assert alert["id"] == f"hours:m:k2:{alert['event_time']}"
