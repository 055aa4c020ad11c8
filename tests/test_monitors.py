"""Rate monitors: what is found, what is not, and that no cut of a stream changes a bit of it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from pydantic import ValidationError
from support.monitoring import bits, settings_of
from test_docs import SCHEMA, VALIDATOR, monitor_fields

from stream_detector import Pipeline, load_config
from stream_detector.errors import StateMismatchError
from stream_detector.monitors import MonitorEvents
from stream_detector.monitors.deviations import Deviation
from stream_detector.monitors.rate import RateMonitor, RateMonitorConfig
from stream_detector.snapshots.format import Snapshot, decode, encode

HOUR = 3_600_000
WEEK = 168
START = 1_704_067_200_000  # 2024-01-01, a Monday
Events = list[tuple[int, str]]
Rate = Callable[[str, int], float]


def stream(keys: Sequence[str], hours: int, rate: Rate, seed: int = 0) -> Events:
    """Events of a day shift and a quiet night: as many an hour as ``rate`` says, by chance."""
    random = np.random.default_rng(seed)
    events = [
        (START + hour * HOUR + int(offset), key)
        for hour in range(hours)
        for key in keys
        for offset in random.integers(0, HOUR, random.poisson(rate(key, hour)))
    ]
    return sorted(events)


def daily(key: str, hour: int) -> float:
    return (20.0 if 6 <= hour % 24 < 22 else 1.0) * (2.0 if key == "busy" else 1.0)


def counted(keys: list[Any], times: Any, marks: Any) -> MonitorEvents:
    return MonitorEvents(times, marks, text={"k": keys})


def found_by(
    monitor: RateMonitor, events: Iterable[tuple[int, str]], cuts: Sequence[int] = (997,)
) -> list[Deviation]:
    events = list(events)
    times = np.array([time for time, _ in events], dtype=np.int64)
    marks = np.maximum.accumulate(times)
    findings: list[Deviation] = []
    start, turn = 0, 0
    while start < len(events):
        stop = start + cuts[turn % len(cuts)]
        keys = [key for _, key in events[start:stop]]
        for _, some in monitor.take(counted(keys, times[start:stop], marks[start:stop])):
            findings += cast("list[Deviation]", some)
        start, turn = stop, turn + 1
    return findings


def monitor_of(**settings: Any) -> RateMonitor:
    return RateMonitor(RateMonitorConfig(**{"name": "m", "key": "k", **settings}))


KEYS = ["a", "b", "c", "d", "busy"]
WEEKS = 6


def planted(key: str, first: int, last: int, factor: float) -> Rate:
    def rate(each: str, hour: int) -> float:
        inside = each == key and first <= hour - (WEEKS - 1) * WEEK < last
        return daily(each, hour) * (factor if inside else 1.0)

    return rate


@pytest.mark.parametrize(
    ("factor", "hours", "low"), [(0.0, 3, True), (0.5, 8, True), (2.0, 4, False)]
)
def test_an_incident_of_one_key_is_found_in_time(factor: float, hours: int, low: bool) -> None:
    first = 2 * 24 + 9
    events = stream(KEYS, WEEKS * WEEK, planted("b", first, first + hours, factor))
    findings = found_by(monitor_of(), events)
    begin = START + ((WEEKS - 1) * WEEK + first) * HOUR
    hits = [f for f in findings if begin < f.end_ms <= begin + (hours + 1) * HOUR]
    assert hits
    assert {f.key for f in hits} == {"b"}
    assert all((f.actual < f.low) if low else (f.actual > f.high) for f in hits)
    others = [f for f in findings if f.end_ms > START + 4 * WEEK * HOUR and f not in hits]
    assert len([f for f in others if f.key != "b"]) <= 1


def test_what_happens_to_all_keys_is_no_incident_of_one() -> None:
    def dip(key: str, hour: int) -> float:
        inside = 57 <= hour - (WEEKS - 1) * WEEK < 63
        return daily(key, hour) * (0.3 if inside else 1.0)

    events = stream([*KEYS, "e", "f", "g"], WEEKS * WEEK, dip)
    last = START + ((WEEKS - 1) * WEEK + 50) * HOUR
    alone = found_by(monitor_of(population=False), events)
    together = found_by(monitor_of(), events)
    assert len([f for f in alone if f.end_ms > last and f.actual < f.low]) >= 8
    assert [f for f in together if f.end_ms > last and f.actual < f.low] == []


def test_a_shift_of_level_is_one_incident_and_then_usual() -> None:
    def shifted(key: str, hour: int) -> float:
        return daily(key, hour) * (2.0 if key == "c" and hour >= 4 * WEEK else 1.0)

    events = stream(KEYS, 16 * WEEK, shifted)
    findings = [f for f in found_by(monitor_of(half_life="14d"), events) if f.key == "c"]
    begin = START + 4 * WEEK * HOUR
    soon = [f for f in findings if begin < f.end_ms <= begin + 24 * HOUR]
    late = [f for f in findings if f.end_ms > begin + 10 * WEEK * HOUR]
    assert soon
    assert len(late) <= 1


@pytest.mark.parametrize("day", [dt.date(2024, 3, 31), dt.date(2024, 10, 27)])
def test_daylight_saving_is_no_incident_where_the_zone_is_named(day: dt.date) -> None:
    zone = ZoneInfo("Europe/Berlin")
    begin = dt.datetime.combine(day - dt.timedelta(days=35), dt.time(), dt.UTC)
    events: Events = []
    for hour in range(39 * 24):
        moment = begin + dt.timedelta(hours=hour)
        working = 8 <= moment.astimezone(zone).hour < 18
        count = 40 if working else 2
        time = round(moment.timestamp() * 1000)
        events += [(time + i * HOUR // count, "shop") for i in range(count)]
    named = found_by(monitor_of(zone="Europe/Berlin", population=False), events)
    unnamed = found_by(monitor_of(population=False), events)
    changed = round(dt.datetime.combine(day, dt.time(), dt.UTC).timestamp() * 1000)
    assert [f for f in named if f.end_ms > changed] == []
    assert [f for f in unnamed if f.end_ms > changed]


EVENTS = stream(KEYS, 3 * WEEK, planted("a", -300, -290, 0.0), seed=3)


def test_no_cut_of_a_stream_changes_a_bit() -> None:
    whole = monitor_of(deviations=3.0)
    findings = found_by(whole, EVENTS, [len(EVENTS)])
    assert findings
    for cuts in ([1, 7, 3000, 2048], [2049], [64]):
        other = monitor_of(deviations=3.0)
        assert found_by(other, EVENTS, cuts) == findings
        assert bits(other) == bits(whole)


def test_a_restored_monitor_goes_on_with_the_same_bits() -> None:
    whole = monitor_of(deviations=3.0)
    findings = found_by(whole, EVENTS)
    half = len(EVENTS) // 2
    first = monitor_of(deviations=3.0)
    before = found_by(first, EVENTS[:half])
    second = monitor_of(deviations=3.0)
    state = decode(encode(Snapshot({}, first.state()))).state
    second.restore(state, EVENTS[half - 1][0])
    assert before + found_by(second, EVENTS[half:]) == findings
    assert bits(second) == bits(whole)


def test_keys_are_bounded_and_a_flood_of_them_leaves_the_old_ones() -> None:
    flood = [(START + 4 * WEEK * HOUR + i * 100, f"junk-{i}") for i in range(20_000)]
    steady = stream(["a", "b"], 5 * WEEK, daily)
    monitor = monitor_of(max_keys=100)
    findings = found_by(monitor, sorted(steady + flood))
    assert monitor.keys <= 100 + 2048
    assert monitor.evicted > 15_000
    assert {"a", "b"} <= set(monitor._keys._slots)
    assert len([f for f in findings if f.end_ms > START + 4 * WEEK * HOUR]) < 20


def test_late_events_count_in_the_open_bucket_and_early_ones_in_their_own() -> None:
    monitor = monitor_of(key=None)
    times = np.array([0, 1, -3, 2, 3], dtype=np.int64) * HOUR + START
    marks = np.array([0, 0, 0, 0, 3], dtype=np.int64) * HOUR + START
    monitor.take(MonitorEvents(times, marks))
    assert monitor._history.actual[0, -3:].tolist() == [2.0, 1.0, 1.0]
    assert monitor._history.counts[0] == 1.0
    assert len(monitor._waiting) == 0


def test_events_without_the_key_are_told_and_not_counted() -> None:
    monitor = monitor_of()
    times = np.full(3, START, dtype=np.int64)
    monitor.take(counted([None, "a", None], times, times))
    assert (monitor.without_key, monitor.keys) == (2, 1)


def test_before_the_time_is_known_nothing_is_counted() -> None:
    monitor = monitor_of(key=None)
    monitor.take(MonitorEvents(np.array([START, START]), np.array([-1, START])))
    assert monitor._history.counts[0] == 1.0


@pytest.mark.parametrize(
    "change",
    [
        {"open": 10**9},
        {"open": True},
        {"since_eviction": 2048},
        {"dispersion": np.full((5, 6), np.nan)},
        {"dispersion": np.zeros((5, 6))},
        {"usual": np.full((5, 168), -1.0)},
        {"usual": np.zeros((5, 24))},
        {"unrest": np.full(5, 1e9)},
        {"waiting_for": np.zeros(1, np.int64)},
        {"told": None},
    ],
)
def test_a_state_that_cannot_be_is_refused(change: dict[str, Any]) -> None:
    monitor = monitor_of()
    found_by(monitor, EVENTS[:5000])
    state = {**monitor.state(), **change}
    fresh = monitor_of()
    with pytest.raises(StateMismatchError):
        fresh.restore({k: v for k, v in state.items() if v is not None}, EVENTS[4999][0])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"bucket": "7m"}, "whole number of buckets"),
        ({"bucket": "2d"}, "a day long"),
        ({"zone": "Europe/Nowhere"}, "no time zone"),
        ({"budget": "1 %"}, "give a rate"),
        ({"half_life": "1m"}, "shorter than a bucket"),
        ({"widths": []}, "at least 1 item"),
    ],
)
def test_a_wrong_setting_is_explained(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        RateMonitorConfig(**{"name": "m", **change})


# --- in the pipeline ------------------------------------------------------------------------------


def pipeline_of(**monitor: Any) -> Pipeline:
    settings = settings_of({"kind": "rate", "name": "orders", "key": "k", **monitor})
    return Pipeline(load_config(settings))


RECORDS = [
    {"t": time, "k": key}
    for time, key in stream(KEYS, 5 * WEEK, planted("b", -111, -105, 0.0), seed=4)
]


def alerts_of(pipeline: Pipeline, records: Sequence[dict[str, Any]], size: int) -> list[Any]:
    return [
        {name: value for name, value in alert.items() if name != "row"}
        for start in range(0, len(records), size)
        for alert in pipeline.process(records[start : start + size]).alerts
    ]


def test_alerts_of_monitors_stand_among_the_others_whatever_the_cuts() -> None:
    whole = bodies = alerts_of(pipeline_of(), RECORDS, len(RECORDS))
    rates = [body for body in bodies if body.get("kind") == "rate"]
    assert rates
    assert len(rates) < len(bodies)
    silent = [body for body in rates if body["monitor"]["key"] == "b"]
    assert silent
    assert silent[0]["id"].startswith("rate:orders:b:2024-01-")
    assert silent[0]["monitor"]["actual"] < silent[0]["monitor"]["expected"]
    described = SCHEMA["properties"]["monitor"]["properties"]
    assert silent[0]["monitor"].keys() - described.keys() == set()
    for name in monitor_fields("rate"):
        less = {key: value for key, value in silent[0]["monitor"].items() if key != name}
        assert not VALIDATOR.is_valid({**silent[0], "monitor": less})
    for body in bodies:
        assert [error.message for error in VALIDATOR.iter_errors(body)] == []
    assert alerts_of(pipeline_of(), RECORDS, 1013) == whole


def test_a_pipeline_goes_on_from_its_bytes() -> None:
    half = len(RECORDS) // 2
    whole = alerts_of(pipeline_of(), RECORDS, 2000)
    first = pipeline_of()
    before = alerts_of(first, RECORDS[:half], 2000)
    second = Pipeline.from_bytes(first.config, first.to_bytes())
    assert before + alerts_of(second, RECORDS[half:], 2000) == whole
