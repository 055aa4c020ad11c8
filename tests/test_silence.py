"""Monitors of silence: what is found and what is not, and that no cut of a stream changes a bit."""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from kafka_broker.clients import Message, produce
from pydantic import ValidationError
from support.process import DaemonProcess, alerts_in, wait_until
from test_daemon import settings, topics
from test_docs import VALIDATOR
from test_state_verify import verify

from stream_detector.calendars import CalendarBook, CalendarConfig, packed_calendars
from stream_detector.errors import StateMismatchError
from stream_detector.events import TopicPartition
from stream_detector.monitors import Finding, MonitorEvents
from stream_detector.monitors.silence import SilenceMonitor
from stream_detector.snapshots.format import Snapshot, decode, encode

HOUR = 3_600_000
DAY = 24 * HOUR
START = 1_704_067_200_000  # 2024-01-01, a Monday
Events = list[tuple[int, str]]
Rate = Callable[[str, int], float]

DAILY = {"season": "hour_of_day", "budget": "0.01 per week"}
KEYS = ["a", "b", "c", "d", "busy"]


def stream(hours: int, rate: Rate, keys: Sequence[str] = KEYS, seed: int = 0) -> Events:
    """Events by chance, as many an hour as ``rate`` says."""
    random = np.random.default_rng(seed)
    return sorted(
        (START + hour * HOUR + int(offset), key)
        for hour in range(hours)
        for key in keys
        for offset in random.integers(0, HOUR, random.poisson(rate(key, hour)))
    )


def daily(key: str, hour: int) -> float:
    return (20.0 if 6 <= hour % 24 < 22 else 1.0) * (2.0 if key == "busy" else 1.0)


def steady(_key: str, _hour: int) -> float:
    return 20.0


def busy(_key: str, _hour: int) -> float:
    return 200.0


def silent_at(first: int, last: int, *silent: str) -> Rate:
    def rate(key: str, hour: int) -> float:
        return 0.0 if key in silent and first <= hour < last else daily(key, hour)

    return rate


def monitor_of(**changes: Any) -> SilenceMonitor:
    settings = {"name": "m", "key": "k", **DAILY, **changes}
    if settings["key"] is None:
        del settings["key"]
    return SilenceMonitor(SilenceMonitor.Config(**settings))


def found_by(
    monitor: SilenceMonitor, events: Events, cuts: Sequence[int] = (997,)
) -> list[Finding]:
    times = np.array([time for time, _ in events], dtype=np.int64)
    marks = np.maximum.accumulate(times)
    findings: list[Finding] = []
    start, turn = 0, 0
    while start < len(events):
        stop = start + cuts[turn % len(cuts)]
        rows = slice(start, stop)
        keys = [key for _, key in events[rows]]
        places = [TopicPartition("t" if key < "c" else "u", ord(key[0])) for key in keys]
        partitions = np.empty(len(keys), dtype=object)
        partitions[:] = places
        columns = MonitorEvents(times[rows], marks[rows], partitions, text={"k": keys})
        for _, some in monitor.take(columns):
            findings += some
        start, turn = stop, turn + 1
    return findings


def hour_of(time_ms: int) -> float:
    return (time_ms - START) / HOUR


def test_a_key_that_falls_silent_is_found_once_and_again_after_it_has_come_back() -> None:
    def rate(key: str, hour: int) -> float:
        silent = key == "b" and (488 <= hour < 530 or 610 <= hour < 613)
        return 0.0 if silent else daily(key, hour)

    findings = found_by(monitor_of(), stream(700, rate))
    assert [one.key for one in findings] == ["b", "b"]
    first, second = (hour_of(one.end_ms) for one in findings)
    assert 488 < first < 490
    assert 610 < second < 612
    assert 487 < hour_of(findings[0].start_ms) <= 488
    (reason,) = findings[0].reasons()
    assert reason["value"] * 1000 == findings[0].end_ms - findings[0].start_ms
    assert reason["usual"][1] < reason["value"]
    assert findings[0].details()["expected"] > 10
    assert 0.7 < findings[0].details()["pace_of_others"] < 1.3


def test_without_silence_nothing_is_found_and_a_quiet_night_is_none() -> None:
    assert found_by(monitor_of(), stream(60 * 24, daily)) == []


def test_chance_alone_brings_what_the_budget_says() -> None:
    """Events by chance for ten weeks, at six a week: 60 alerts, give or take."""
    findings = found_by(monitor_of(budget="6 per week"), stream(10 * 168, daily))
    assert 25 < len(findings) < 120


def planned(*, skip: Sequence[str] = ("alert",), first: int, last: int, **more: Any) -> str:
    """One calendar for the monitor ``m``: hours of key b since the start."""
    hours = [
        dt.datetime.fromtimestamp(START / 1000, dt.UTC) + dt.timedelta(hours=h)
        for h in (first, last)
    ]
    plain = {
        "name": "move",
        "start": hours[0].isoformat(),
        "end": hours[1].isoformat(),
        "zone": "UTC",
        "keys": ["b"],
        "skip": list(skip),
        **more,
    }
    return packed_calendars([CalendarConfig(**plain).resolved()], {"m": ["move"]})


def test_within_a_calendar_the_deadline_stands_still_and_silence_beyond_is_found() -> None:
    """Maintenance of b from 488 to 490; it never comes back, and the others are held to account."""
    events = stream(515, silent_at(488, 515, "b", "c"))
    monitor = monitor_of()
    monitor.calendars = CalendarBook(planned(first=488, last=490)).of("m")
    found = {one.key: hour_of(one.end_ms) for one in found_by(monitor, events)}
    assert set(found) == {"b", "c"}
    assert 488 < found["c"] < 490 < found["b"] < 492
    monitor = monitor_of()
    monitor.calendars = CalendarBook(planned(first=488, last=490)).of("m")
    back = stream(515, silent_at(488, 490, "b"))
    assert found_by(monitor, back) == []


def test_an_expected_factor_makes_the_deadline_come_later() -> None:
    events = stream(515, silent_at(488, 515, "b"))
    monitor = monitor_of()
    (plain,) = found_by(monitor, events)
    monitor = monitor_of()
    calendar = planned(skip=(), first=488, last=512, expect=0.25)
    monitor.calendars = CalendarBook(calendar).of("m")
    (slow,) = found_by(monitor, events)
    assert 2 < (hour_of(slow.end_ms) - 488) / (hour_of(plain.end_ms) - 488) < 6


def test_what_all_do_is_no_silence_of_a_key_and_is_one_of_everything() -> None:
    events = stream(24 * 21, silent_at(488, 494, *KEYS))
    assert found_by(monitor_of(), events) == []
    (found,) = found_by(monitor_of(key=None), events)
    assert found.key == ""
    assert 488 < hour_of(found.end_ms) < 489


@pytest.mark.parametrize(("of", "names"), [("partition", {"t-97"}), ("topic", {"t"})])
def test_partitions_and_topics_are_named(of: str, names: set[str]) -> None:
    silent = ("a",) if of == "partition" else ("a", "b", "busy")
    findings = found_by(monitor_of(key=None, of=of), stream(24 * 21, silent_at(488, 494, *silent)))
    assert {one.key for one in findings} == names


def test_ticks_find_what_no_event_shows() -> None:
    monitor = monitor_of(key=None)
    events = stream(24 * 20 + 12, daily)
    assert found_by(monitor, events) == []
    now_ms, findings = events[-1][0], []
    while not findings:
        due_ms = monitor.due_ms
        assert due_ms is not None
        assert monitor.tick(due_ms - 1) == []
        now_ms = max(due_ms, now_ms + 30_000)
        findings = monitor.tick(now_ms)
        assert now_ms < events[-1][0] + HOUR
    assert monitor.tick(now_ms + 100 * HOUR) == []  # once
    # It comes back, with events of before the tick first.
    late = [(time + 30 * 60_000, key) for time, key in events[-300:]]
    assert found_by(monitor, late) == []
    assert monitor.tick(now_ms + 140 * HOUR) != []


def test_a_key_is_judged_after_two_seasons_and_fifty_gaps() -> None:
    early = stream(44, silent_at(36, 44, "b"))
    assert found_by(monitor_of(), early) == []
    seldom = stream(24 * 40, lambda key, hour: 0.02 if key == "a" else daily(key, hour))
    assert found_by(monitor_of(), seldom) == []


def test_a_key_that_ended_is_told_once_and_costs_nothing_more() -> None:
    monitor = monitor_of()
    findings = found_by(monitor, stream(24 * 60, silent_at(488, 10_000, "c")))
    assert [one.key for one in findings] == ["c"]
    assert monitor.judged == 4


@pytest.mark.parametrize("month", [3, 10])
def test_the_change_of_clocks_is_no_silence(month: int) -> None:
    zone = ZoneInfo("Europe/Berlin")
    begin = dt.datetime(2024, month, 31 if month == 3 else 27, tzinfo=dt.UTC)
    first = int((begin - dt.timedelta(days=35)).timestamp()) * 1000

    def rate(key: str, hour: int) -> float:
        moment = dt.datetime.fromtimestamp((first + hour * HOUR) / 1000, zone)
        day = 7 <= moment.hour < 20 and moment.weekday() < 6
        return 60.0 if day else 0.05

    shift = first - START
    events = [(time + shift, key) for time, key in stream(42 * 24, rate)]
    for key in ("k", None):
        monitor = monitor_of(key=key, season="hour_of_week", zone="Europe/Berlin")
        assert found_by(monitor, events) == [], key


def test_hourly_deliveries_are_usual_for_their_key() -> None:
    """Sixty events at once, an hour apart, beside keys that come all the time."""
    others = [one for one in stream(24 * 30, steady) if one[1] != "d"]
    batches = [(START + hour * HOUR, "d") for hour in range(24 * 30) for _ in range(60)]
    for end in (24 * 30, 24 * 20 + 9):
        some = [one for one in batches if one[0] < START + end * HOUR]
        findings = found_by(monitor_of(season="none"), sorted(others + some))
        assert [one.key for one in findings] == ([] if end == 24 * 30 else ["d"])


def test_a_partition_that_lags_an_hour_is_not_silent() -> None:
    events = stream(24 * 25, steady)
    late = sorted((time + (HOUR if key == "d" else 0), time, key) for time, key in events)
    times = np.array([time for _, time, _ in late])
    marks = np.maximum.accumulate(np.array([t if k != "d" else 0 for _, t, k in late]))
    monitor, keys = monitor_of(), [key for *_, key in late]
    marks[marks == 0] = -1
    assert monitor.take(MonitorEvents(times, marks, text={"k": keys})) == []
    assert monitor.judged == 5


def test_no_cut_and_no_restore_changes_a_bit() -> None:
    events = stream(24 * 30, silent_at(488, 500, "b", "c"))
    events += [(time + 31 * DAY, key) for time, key in stream(60, daily, seed=3)]
    whole = monitor_of(max_keys=4)
    expected = found_by(whole, events, [10**6])
    assert len(expected) > 1
    for cuts in ([1], [7, 311, 2], [4096]):
        some = events if cuts != [1] else events[-3000:]
        other = monitor_of(max_keys=4)
        found_by(other, events[: len(events) - len(some)], [2048])
        restored = monitor_of(max_keys=4)
        state = decode(encode(Snapshot({}, {"m": other.state()}))).state["m"]
        restored.restore(state, events[-1][0])
        found = found_by(restored, some, cuts)
        assert found == expected[len(expected) - len(found) :]
        assert repr(restored.state()) == repr(whole.state())
    middle = monitor_of(max_keys=4)
    at = len(events) // 2 + 17
    found = found_by(middle, events[:at])
    state = middle.state()
    again = monitor_of(max_keys=4)
    again.restore(state, events[at][0])
    found += found_by(again, events[at:])
    assert found == expected
    assert repr(again.state()) == repr(whole.state())


def test_a_state_that_cannot_be_is_refused() -> None:
    monitor = monitor_of()
    events = stream(24 * 3, daily)
    found_by(monitor, events)
    for name, value in (
        ("now_ms", events[-1][0] + DAY),
        ("open", 3),
        ("rate", -1.0),
        ("events", -1),
    ):
        with pytest.raises(StateMismatchError):
            monitor_of().restore({**monitor.state(), name: value}, events[-1][0])
    with pytest.raises(StateMismatchError):
        monitor_of(season="none").restore(monitor.state(), events[-1][0])


def test_a_watermark_set_back_begins_gaps_anew() -> None:
    monitor = monitor_of()
    events = stream(24 * 25, daily)
    found_by(monitor, events)
    monitor.restart(events[-1][0] - 3 * DAY)
    assert found_by(monitor, [(time - 3 * DAY + 1, key) for time, key in events[-4000:]]) == []


def test_a_gap_of_years_is_passed_over_and_said() -> None:
    monitor = monitor_of(bucket="1m", season="none")
    events = stream(30, busy)
    later = [(time + 3000 * DAY, key) for time, key in events]
    findings = found_by(monitor, events + later)
    assert findings == []  # all were silent
    assert monitor.skipped > 1_000_000


@pytest.mark.parametrize(
    "wrong",
    [{"budget": "1 %"}, {"bucket": "7m"}, {"of": "partition"}, {"half_life": "1m"}, {"zone": "X"}],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        monitor_of(**wrong)


def test_a_hundred_thousand_keys_are_looked_at_seldom() -> None:
    """Keys are looked at where they are due, and not at every step."""
    monitor = monitor_of(max_keys=100_000, season="none")
    keys = [f"k{number}" for number in range(20_000)]
    random = np.random.default_rng(0)
    events = [
        (START + i * 20, keys[int(n)]) for i, n in enumerate(random.integers(0, 20_000, 10**6))
    ]
    looked = 0
    look = monitor._look

    def counted(now_ms: float) -> list[Finding]:
        nonlocal looked
        looked += 1
        return look(now_ms)

    monitor._look = counted  # type: ignore[method-assign]
    found_by(monitor, events, [5000])
    assert looked < 20 * 60


# --- a real broker --------------------------------------------------------------------------------


def test_a_topic_gone_silent_alerts_within_a_tick_and_five_seconds(kafka, tmp_path: Path) -> None:
    section = topics(kafka.bootstrap, 1)
    monitor = {"name": "all", "kind": "silence", "season": "none", "bucket": "10s"}
    config = settings(section, tmp_path, processing={"tick": "1s"}, monitors=[monitor])
    random = np.random.default_rng(0)

    def send(first_ms: int, last_ms: int) -> None:
        times = np.sort(random.integers(first_ms, last_ms, (last_ms - first_ms) // 100)).tolist()
        made = [
            Message(
                json.dumps({"id": str(t), "time": t, "user": "u", "amount": 1.0}).encode(),
                0,
                b"u",
                t,
            )
            for t in times
        ]
        produce(kafka.bootstrap, section["topics"][0], made)

    with DaemonProcess(tmp_path, config) as daemon:
        daemon.wait_ready()
        last = round(time.time() * 1000)
        send(last - 600_000, last)
        daemon.wait_worked_off()
        for _ in range(4):  # live
            time.sleep(0.5)
            now = round(time.time() * 1000)
            send(last, now)
            last = now
        ended = time.time()

        def silences() -> list[dict[str, Any]]:
            found = alerts_in(kafka.bootstrap, section["alerts"])
            return [one for one in found if one.get("kind") == "silence"]

        (alert,) = wait_until(silences, "the alert")
        assert daemon.stop() == 0, daemon.text()
    VALIDATOR.validate(alert)
    assert "tick" in alert["receipt"]
    assert alert["monitor"]["key"] == ""
    told = dt.datetime.fromisoformat(alert["monitor"]["end"])
    begun = dt.datetime.fromisoformat(alert["monitor"]["start"])
    assert told.timestamp() - ended < 20 > (told - begun).total_seconds()
    code, result = verify(daemon.config)
    assert code == 0, result
