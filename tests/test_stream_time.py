"""Time that one event cannot steer: the watermark, what hangs on it, and the merge."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.streams import configuration, new_pipeline, run_in_cuts
from test_merge import batch_of

from stream_detector.alerts import Admitted, Suppressor
from stream_detector.cli.state_watermark import with_watermark
from stream_detector.config.derived.time_limits import notes_on_limits
from stream_detector.config.models.config import SuppressionConfig
from stream_detector.daemon.shard import Shard
from stream_detector.events import NO_TIMESTAMP, PlainRecord, TopicPartition
from stream_detector.merge import Merger
from stream_detector.pipeline import BatchResult, PipelineCore
from stream_detector.snapshots import decode as decode_snapshot
from stream_detector.snapshots import encode
from stream_detector.stream_time import HELD, Shift, StreamTime
from stream_detector.telemetry.metrics import Metrics

SECOND, MINUTE, HOUR, DAY = 1000, 60_000, 3_600_000, 86_400_000
BASE = 1_700_000_000_000
LIMITS = (HOUR, 30 * DAY, 30 * DAY)


def naive(times: list[int], limits: tuple[int, int, int]) -> list[tuple[int, bool, bool]]:
    """The rules one event at a time: (watermark after, refused as ahead, refused as behind)."""
    max_step, max_gap, max_behind = limits
    mark, found = NO_TIMESTAMP, []
    for row, time_ms in enumerate(times):
        held = times[max(row - HELD, 0) : row]
        if not held:
            mark = time_ms
            found.append((mark, False, False))
            continue
        ordered = sorted(held)
        centre, quarter = ordered[(len(held) - 1) // 2], ordered[(len(held) - 1) // 4]
        step = max(max_step, 8 * (centre - quarter))
        trusted = len(held) >= 32
        ahead = trusted and time_ms > centre + step + max_gap
        behind = trusted and time_ms < centre - max_behind
        latest = max([*held[-15:], time_ms])
        if len(held) >= 15 and mark > centre + step and latest < mark - step:
            mark = max(t for t in [*held, time_ms] if t <= centre + step)
        elif time_ms <= centre + step:
            mark = max(mark, time_ms)
        found.append((mark, ahead, behind))
    return found


def in_cuts(time: StreamTime, times: list[int], cuts: list[int]) -> list[tuple[int, bool, bool]]:
    found = []
    edges = [0, *sorted({c for c in cuts if 0 < c < len(times)}), len(times)]
    for start, stop in itertools.pairwise(edges):
        reading = time.read(np.array(times[start:stop], dtype=np.int64))
        columns = (reading.marks, reading.ahead, reading.behind)
        found += list(zip(*(column.tolist() for column in columns), strict=True))
        state = time.state()
        time = StreamTime(*LIMITS)  # a restart
        time.restore(state)
    return found


@st.composite
def claims(draw: st.DrawFn) -> list[int]:
    """Streams of several paces with gaps, leaps both ways and wrong clocks among them."""
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    times: list[int] = []
    now = BASE
    for _ in range(draw(st.integers(1, 5))):
        now += int(draw(st.sampled_from([0, HOUR, 3 * DAY, 400 * DAY, -2 * HOUR, -500 * DAY])))
        now = max(now, 0)
        pace = draw(st.sampled_from([0, SECOND, MINUTE, 2 * HOUR]))
        wrong = draw(st.sampled_from([0.0, 0.05, 0.3]))
        jitter = draw(st.sampled_from([0, 5 * MINUTE, 6 * HOUR]))
        for _ in range(draw(st.integers(1, 120))):
            now += int(rng.exponential(pace)) if pace else 0
            time_ms = now + int(rng.integers(-jitter, jitter + 1))
            if rng.random() < wrong:
                time_ms += int(rng.choice([-400 * DAY, 23 * HOUR, 365 * DAY]))
            times.append(max(time_ms, 0))
    return times


@settings(max_examples=120, deadline=None)
@given(claims(), st.lists(st.integers(0, 600), max_size=6))
def test_the_watermark_is_what_the_rules_say_however_the_stream_is_cut(times, cuts) -> None:
    expected = naive(times, LIMITS)
    assert in_cuts(StreamTime(*LIMITS), times, cuts) == expected
    assert in_cuts(StreamTime(*LIMITS), times, []) == expected


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([SECOND, MINUTE, HOUR]),
    st.integers(-BASE, 400 * DAY),
    st.integers(0, 299),
)
def test_no_single_claim_moves_the_watermark_of_the_others_by_more_than_a_step(
    seed, pace, by, place
) -> None:
    rng = np.random.default_rng(seed)
    times = (BASE + np.cumsum(rng.exponential(pace, 300)).astype(np.int64)).tolist()
    wrong = [*times[:place], max(times[place] + by, 0), *times[place:]]
    without = StreamTime(*LIMITS).read(np.array(times))
    found = StreamTime(*LIMITS).read(np.array(wrong))
    others = np.delete(np.arange(301), place)
    assert not (found.ahead | found.behind)[others].any()
    # Nothing speaks against the first until sixteen others have spoken.
    lead = (found.marks[others] - without.marks)[16:]
    # Eight times the way from the lower quartile to the median, about 16 events.
    assert np.abs(lead).max() <= max(HOUR, 8 * 40 * pace)


def verdicts(times: list[int]) -> tuple[np.ndarray, np.ndarray, list[Shift]]:
    reading = StreamTime(*LIMITS).read(np.array(times, dtype=np.int64))
    return reading.ahead | reading.behind, reading.marks, reading.shifts


def steady(count: int, pace: int = SECOND, start: int = BASE) -> list[int]:
    return (start + pace * np.arange(count)).tolist()


@pytest.mark.parametrize("share", [0.05, 0.1, 0.2])
def test_a_host_a_year_ahead_is_refused_and_steers_nothing(share: float) -> None:
    rng = np.random.default_rng(1)
    times, ill = np.array(steady(5000)), rng.random(5000) < share
    ill[:50] = False
    times[ill] += 365 * DAY
    refused, marks, shifts = verdicts(times.tolist())
    assert (refused == ill).all()
    assert not shifts
    assert (marks[~ill] == times[~ill]).all()


@pytest.mark.parametrize("gap", [8 * HOUR, 60 * HOUR, 3 * DAY, 29 * DAY])
@pytest.mark.parametrize("pace", [SECOND, MINUTE, HOUR])
def test_nothing_is_refused_after_a_silence(gap: int, pace: int) -> None:
    times = steady(300, pace)
    times += steady(300, pace, times[-1] + gap)
    refused, marks, _ = verdicts(times)
    assert not refused.any()
    assert marks[335:].tolist() == times[335:]  # 33 events confirm it


def test_a_genuine_leap_of_years_costs_33_events_and_is_said() -> None:
    times = steady(300)
    times += steady(300, SECOND, times[-1] + 900 * DAY)
    refused, marks, shifts = verdicts(times)
    assert np.flatnonzero(refused).tolist() == list(range(300, 333))
    assert shifts == [Shift(333, times[299], times[333])]
    assert marks[-1] == times[-1]


def test_a_stream_that_goes_back_years_is_followed() -> None:
    times = steady(300, SECOND, BASE + 900 * DAY) + steady(300)
    refused, marks, shifts = verdicts(times)
    assert np.flatnonzero(refused).tolist() == list(range(300, 332))
    assert [s.after_ms < s.before_ms for s in shifts] == [True]
    assert marks[-1] == times[-1]


@pytest.mark.parametrize("first", [0, BASE + 400 * DAY, BASE + 23 * HOUR, BASE - 365 * DAY])
def test_a_wrong_first_event_costs_nothing(first: int) -> None:
    times = [first, *steady(300)]
    refused, marks, _ = verdicts(times)
    assert not refused.any()
    assert marks[20:].tolist() == times[20:]


def test_a_slow_topic_and_one_burst_of_the_same_time() -> None:
    rng = np.random.default_rng(2)
    slow = (BASE + np.cumsum(rng.exponential(HOUR, 400)).astype(np.int64)).tolist()
    refused, marks, _ = verdicts(slow)
    assert not refused.any()
    assert marks[8:].tolist() == slow[8:]
    refused, marks, _ = verdicts([BASE] * 500 + steady(100))
    assert not refused.any()
    assert marks[-1] == BASE + 99 * SECOND


def test_events_out_of_order_by_hours_are_all_taken() -> None:
    rng = np.random.default_rng(3)
    times = np.array(steady(3000)) - rng.integers(0, 10 * HOUR, 3000)
    refused, _, shifts = verdicts(times.tolist())
    assert not refused.any()
    assert [shift.row for shift in shifts if shift.row >= HELD] == []


def test_a_watermark_from_an_older_snapshot_is_set_right_by_the_stream() -> None:
    time = StreamTime(*LIMITS)
    time.set(BASE + 365 * DAY)
    reading = time.read(np.array(steady(200)))
    assert not (reading.ahead | reading.behind).any()
    assert [shift.after_ms < shift.before_ms for shift in reading.shifts] == [True]
    assert reading.shifts[0].row < 16
    assert time.mark_ms == BASE + 199 * SECOND


# --- what hangs on it ---


def frauds(count: int = 3000) -> list[dict[str, Any]]:
    """A payment each 20 seconds; from 1,000 on each 50th is a fraud of one of few users."""
    rng = np.random.default_rng(5)
    made = []
    for number in range(count):
        fraud = number >= 1000 and number % 50 == 7
        made.append(
            {
                "id": f"e{number}",
                "time": BASE + number * 20 * SECOND,
                "user": f"u{int(rng.integers(0, 30))}",
                "amount": float(rng.lognormal(3, 0.4) * (1000 if fraud else 1)),
                "kind": "a",
                "weight": float(rng.normal(5, 1)),
                "fraud": fraud,
            }
        )
    return made


def as_records(events: list[dict[str, Any]], stamps: bool) -> list[PlainRecord]:
    return [
        PlainRecord(n, e["time"] if stamps else NO_TIMESTAMP, b"k", json.dumps(e).encode())
        for n, e in enumerate(events)
    ]


def alerted(outcomes: list[BatchResult], *, opening: bool = False) -> set[str]:
    """Events alerted; with ``opening`` only those that no earlier alert might have held back."""
    alerts = [
        json.loads(alert.value)
        for outcome in outcomes
        for alert in outcome.alerts
        if alert.value is not None
    ]
    return {
        alert["event_id"]
        for alert in alerts
        if not (opening and "rarer_than" in alert.get("suppression", {}))
    }


CONFIG = configuration(
    suppression={"key": "user", "period": "10m", "max_keys": 50},
    threshold={"budget": "200 per day", "burn_in": 300},
)
FRAUDS = frauds()


def found_with(
    wrong: dict[int, int], *, stamps: bool = False, opening: bool = False, **event: Any
) -> tuple[set[str], int]:
    """Frauds alerted, and others refused, with wrong events put before some; by time ahead."""
    config = CONFIG
    if event:
        changed = {"id": "id", "time": {"field": "time"}, **event}
        config = configuration(
            suppression={"key": "user", "period": "10m", "max_keys": 50},
            threshold={"budget": "200 per day", "burn_in": 300},
            event=changed,
        )
    events = list(FRAUDS)
    for place, by in sorted(wrong.items(), reverse=True):
        extra = {**FRAUDS[place], "id": f"wrong{place}", "fraud": False, "amount": 20.0}
        events.insert(place, {**extra, "time": max(extra["time"] + by, 0)})
    outcomes = run_in_cuts(new_pipeline(config), config, as_records(events, stamps), [777, 2000])
    refused = [
        json.loads(letter.value)["id"]
        for outcome in outcomes
        for letter in outcome.dead_letters
        if letter.value is not None
    ]
    planted = {event["id"] for event in FRAUDS if event["fraud"]}
    return alerted(outcomes, opening=opening) & planted, sum(
        not name.startswith("wrong") for name in refused
    )


@pytest.fixture(scope="module")
def without() -> set[str]:
    found, refused = found_with({}, opening=True)
    assert refused == 0
    assert len(found) >= 30
    return found


@pytest.mark.parametrize(
    "wrong",
    [
        {1500: 200 * DAY},
        {1500: 29 * DAY},
        {1500: 23 * HOUR},
        {1500: 50 * MINUTE},
        {1500: -365 * DAY},
        {1500: -BASE - DAY},
        {1500: 400 * DAY, 1501: 400 * DAY},
        {0: 400 * DAY},
        {0: -365 * DAY, 1: 23 * HOUR},
        {777: 23 * HOUR, 2000: 365 * DAY},
        dict.fromkeys(range(1200, 1800, 12), 365 * DAY),
    ],
    ids=lambda wrong: "-".join(f"{n}+{by // HOUR}h" for n, by in list(wrong.items())[:2]),
)
@pytest.mark.parametrize("stamps", [False, True])
def test_wrong_times_cost_no_other_event_and_no_fraud(wrong, stamps, without) -> None:
    found, others_refused = found_with(wrong, stamps=stamps)
    assert others_refused == 0
    assert without - found == set()


def test_an_event_within_max_ahead_makes_no_other_too_late(without) -> None:
    found, others_refused = found_with({1500: 23 * HOUR}, stamps=True, max_behind="1h")
    assert others_refused == 0
    assert without - found == set()


def test_budgets_a_day_do_not_grow_by_a_jump_that_nobody_confirms() -> None:
    def pace(by: int) -> float:
        events = [dict(e) for e in FRAUDS]
        events[1500]["time"] += by
        pipeline = new_pipeline(CONFIG)
        run_in_cuts(pipeline, CONFIG, as_records(events, False), [])
        assert pipeline.threshold.share is not None
        return pipeline.threshold.share

    assert pace(29 * DAY) == pytest.approx(pace(0), rel=1e-3)


def test_a_silence_that_is_confirmed_is_no_pace_either() -> None:
    events = [dict(e) for e in FRAUDS]
    for event in events[1500:]:
        event["time"] += 900 * DAY
    pipeline = new_pipeline(CONFIG)
    outcomes = run_in_cuts(pipeline, CONFIG, as_records(events, False), [])
    plain = new_pipeline(CONFIG)
    run_in_cuts(plain, CONFIG, as_records(FRAUDS, False), [])
    assert sum(len(outcome.rejections) for outcome in outcomes) == 33
    assert pipeline.threshold.share == pytest.approx(plain.threshold.share, rel=0.02)


def test_a_loud_event_dated_ahead_does_not_silence_its_key() -> None:
    suppressor = Suppressor(SuppressionConfig(key="k", period="10m", max_keys=10), 3600.0)
    assert suppressor.admit("victim", BASE + 14 * HOUR, BASE, 100.0) == Admitted(0)
    assert suppressor.admit("victim", BASE + 5 * MINUTE, BASE + 5 * MINUTE, 100.0) is None
    assert suppressor.admit("victim", BASE + 11 * MINUTE, BASE + 11 * MINUTE, 100.0) == Admitted(1)


def test_a_key_whose_last_time_is_wrong_is_seen_again_when_the_watermark_is_set_right() -> None:
    config = configuration()
    pipeline = new_pipeline(config)
    events = [{**FRAUDS[0], "time": BASE + 400 * DAY}, *(dict(e) for e in FRAUDS[:40])]
    for event in events:
        event["user"] = "one"
    run_in_cuts(pipeline, config, as_records(events, False), [])
    (window,) = pipeline.features.state()["windows"].values()
    assert window["last_time"].tolist() == [FRAUDS[39]["time"]]


def test_an_operator_sets_a_watermark() -> None:
    config = configuration()
    pipeline = new_pipeline(config)
    run_in_cuts(pipeline, config, as_records(FRAUDS[:200], False), [])
    pipeline.set_watermark(BASE)
    restored = PipelineCore(config, "x")
    restored.restore(pipeline.state())
    assert restored.watermark_ms == BASE
    assert int(max(*restored.features.state()["windows"]["user"]["last_time"])) == BASE


# --- the merge ---


@pytest.mark.parametrize("place", [0, 1, 100])
@pytest.mark.parametrize("everywhere", [False, True])
def test_a_wrong_event_leaves_the_order_of_the_others_alone(place: int, everywhere: bool) -> None:
    rng = np.random.default_rng(place)
    logs = {
        TopicPartition("t", p): (BASE + np.sort(rng.integers(0, 3 * HOUR, 200))).tolist()
        for p in range(3)
    }

    def order(logs: dict[TopicPartition, list[int]]) -> list[tuple[TopicPartition, int]]:
        merger = Merger()
        for source, times in logs.items():
            merger.add(source)
            for start in range(0, len(times), 37):
                part = times[start : start + 37]
                merger.push(batch_of(source, list(range(start, start + len(part))), part))
        released = merger.release(set(logs))
        assert released is not None
        places = zip(released.source, released.time_ms.tolist(), strict=True)
        return [(source, time_ms) for source, time_ms in places if time_ms < BASE + DAY]

    expected = order(logs)
    wrong = {
        source: [*times[:place], BASE + 400 * DAY, *times[place:]]
        if everywhere or source.partition == 1
        else times
        for source, times in logs.items()
    }
    found = order(wrong)
    if place:
        assert found == expected
    else:  # a partition's first event has no place of its own yet: it goes first
        assert (
            sorted(found[:6], key=str) == sorted(expected[:6], key=str) or found[6:] == expected[6:]
        )


def test_a_snapshot_is_given_another_watermark(tmp_path) -> None:
    config = configuration(state={"directory": str(tmp_path / "state")})
    pipeline = new_pipeline(config)
    run_in_cuts(pipeline, config, as_records(FRAUDS[:200], False), [])
    source = TopicPartition("events", 0)
    shard = Shard(0, config, Metrics())
    shard.add(source, 0)
    shard.pipeline = pipeline
    snapshot = shard.snapshot({"written_at": 1.0, "journal": None})
    before_ms, changed = with_watermark(config, decode_snapshot(encode(snapshot)), BASE)
    assert before_ms == FRAUDS[199]["time"]
    again = Shard(0, config, Metrics())
    again.restore(decode_snapshot(encode(changed)))
    assert again.pipeline.watermark_ms == BASE


def test_a_state_without_claims_is_restored_and_set_right_by_the_stream() -> None:
    config = configuration()
    pipeline = new_pipeline(config)
    run_in_cuts(pipeline, config, as_records(FRAUDS[:200], False), [])
    state = {k: v for k, v in pipeline.state().items() if k not in ("time", "gaps_ms")}
    restored = new_pipeline(config)
    restored.restore({**state, "watermark_ms": BASE + 400 * DAY})
    rest = FRAUDS[200:400]
    outcomes = run_in_cuts(restored, config, as_records(rest, False), [50])
    assert sum(len(outcome.rejections) for outcome in outcomes) == 0
    assert [s.after_ms < s.before_ms for o in outcomes for s in o.shifts] == [True]
    assert restored.watermark_ms == rest[-1]["time"]


def test_limits_that_make_others_late_are_named() -> None:
    assert notes_on_limits(configuration().event) == []
    event = {"id": "id", "time": {"field": "time"}, "max_behind": "30m"}
    ahead, step = notes_on_limits(configuration(event=event).event)
    assert ahead.startswith("event.max_ahead (1d) is more than event.max_behind (30m)")
    assert step.startswith("event.max_step (1h) is more than event.max_behind (30m)")
