"""Monitors of new values: what is strange and what is not, bounds, cuts, states, planted data."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path
from typing import Any

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

from stream_detector import Pipeline
from stream_detector.monitors.new_values import NewValueMonitor, NewValueMonitorConfig

Columns = dict[str, list[Any]]


def config_of(**settings: Any) -> NewValueMonitorConfig:
    return NewValueMonitorConfig(**{"name": "m", "key": "k", "field": "v", **settings})


def monitor_of(**settings: Any) -> NewValueMonitor:
    return NewValueMonitor(config_of(**settings))


def columns_of(rows: list[tuple[int, Any, Any]]) -> Columns:
    rows = sorted(rows, key=lambda row: row[0])
    return {"t": [t for t, _, _ in rows], "k": [k for _, k, _ in rows], "v": [v for *_, v in rows]}


def habits(days: int = 30, seed: int = 0) -> list[tuple[int, str, str]]:
    """Twenty steady keys with three values each, which two have in common, and a restless one."""
    random = np.random.default_rng(seed)
    rows = []
    for minute in range(0, days * 1440, 5):
        key = int(random.integers(21))
        time = START + minute * MINUTE
        if key == 20:
            rows.append((time, "restless", f"r{int(random.integers(100_000))}"))
        else:
            rows.append((time, f"k{key}", f"v{key // 2 * 2 + int(random.integers(3))}"))
    return rows


LATE = START + 29 * DAY + 1


def test_a_value_that_a_steady_key_never_had_is_found_and_a_restless_one_says_nothing() -> None:
    planted = [(LATE, "k3", "never"), (LATE + HOUR, "restless", "r-1"), (LATE + 2, "k5", None)]
    monitor = monitor_of(p=0.01)
    found = feed(monitor, columns_of(habits() + planted))
    assert [(finding.key, finding.value) for _, finding in found] == [("k3", "never")]
    (finding,) = (finding for _, finding in found)
    assert (finding.seen, finding.seen_by_all, finding.values) == (0, 0, 3)
    assert finding.events > 300
    assert finding.start_ms == finding.end_ms == LATE
    assert finding.score > finding.threshold == 2.0
    assert monitor.unusable == 1
    (reason,) = finding.reasons()
    assert reason["value"] == "never"
    assert reason["deviations"] > 2.5
    assert "never seen before" in reason["text"]
    assert "nobody else had it" in reason["text"]


def test_what_others_have_counts_less_where_values_are_shared() -> None:
    steady = [row for row in habits() if row[1] != "restless"]
    shared = [(START + (4 + i) * DAY + 1, f"k{i % 20}", f"v{(i + 9) % 20}") for i in range(20)]
    planted = [(LATE, "k3", "v15"), (LATE + HOUR, "k5", "never")]
    found = feed(monitor_of(p=0.1), columns_of(steady + shared + planted))
    scores = {finding.value: finding.score for _, finding in found}
    assert scores["never"] > scores["v15"] + 0.1


def test_before_a_key_is_known_nothing_is_said_of_it() -> None:
    new = [(LATE + i * MINUTE, "new", f"v{i % 3}") for i in range(99)]
    other = [(LATE + 99 * MINUTE, "new", "never")]
    assert feed(monitor_of(p=0.02), columns_of(habits() + new + other)) == []
    assert feed(monitor_of(p=0.02, after=99), columns_of(habits() + new + other))


def test_a_flood_of_new_values_of_one_key_is_told_at_its_beginning_only() -> None:
    flood = [(LATE + i * 1000, "k3", f"flood{i}") for i in range(500)]
    found = feed(monitor_of(p=0.01), columns_of(habits() + flood))
    assert 1 <= len(found) <= 10
    assert {finding.key for _, finding in found} == {"k3"}


def test_a_rare_value_is_found_where_it_is_asked_for_and_not_again_within_the_period() -> None:
    once = [(START + 5 * DAY, "k3", "once")]
    again = [(LATE, "k3", "once"), (LATE + MINUTE, "k3", "once"), (LATE + 2 * MINUTE, "k3", "once")]
    rows = habits() + once + again
    assert [f for _, f in feed(monitor_of(), columns_of(rows)) if f.start_ms >= LATE] == []
    monitor = monitor_of(rare=3, p=0.01)
    rare = [f for _, f in feed(monitor, columns_of(rows)) if f.start_ms >= LATE]
    assert [(f.value, f.seen) for f in rare] == [("once", 1)]
    assert "seen 1 times before" in rare[0].reasons()[0]["text"]
    assert monitor.repeats >= 1


def test_a_value_is_forgotten_after_its_memory_and_new_again() -> None:
    rows = [(START + i * HOUR, f"k{i % 4}", f"v{i % 3}") for i in range(24 * 90)]
    rows += [(START + 20 * DAY + 1, "k1", "old"), (START + 88 * DAY + 1, "k1", "old")]
    assert len(feed(monitor_of(p=0.05, after=10), columns_of(rows))) == 1
    found = feed(monitor_of(p=0.05, after=10, memory="60d"), columns_of(rows))
    assert [finding.value for _, finding in found] == ["old", "old"]


def test_without_a_key_values_are_new_to_all() -> None:
    rows = [(START + i * MINUTE, "x", f"v{i % 5}") for i in range(3000)]
    rows.append((START + 3000 * MINUTE, "x", "never"))
    found = feed(monitor_of(key=None), columns_of(rows))
    assert [(f.key, f.value) for _, f in found] == [("", "never")]
    assert "of the stream" in found[0][1].reasons()[0]["text"]


def test_a_budget_is_kept() -> None:
    random = np.random.default_rng(5)
    rows = [
        (START + i * MINUTE, f"k{int(random.integers(50))}", f"v{int(random.zipf(1.6))}")
        for i in range(60_000)
    ]
    found = feed(monitor_of(budget="4 per day"), columns_of(rows))
    days = [finding.start_ms // DAY for _, finding in found]
    last = [day for day in days if day >= START // DAY + 21]
    assert 0.5 < len(last) / (4 * 20) < 2


ROWS = columns_of(
    habits(40)
    + [(START + i * 7 * HOUR + 1, f"k{i % 20}", f"n{i % 50}") for i in range(130)]
    + [(START + i * 3 * HOUR + 2, None, "v1") for i in range(50)]
    + [(START + i * 3 * HOUR + 3, "k1", None) for i in range(50)]
)


def test_no_cut_of_a_stream_changes_a_bit() -> None:
    found = check_cuts(config_of(rare=2, p=0.01, max_keys=15, max_values=64), ROWS)
    assert len(found) > 10


def test_keys_and_values_are_bounded_and_a_flood_leaves_those_with_a_history() -> None:
    flood = [(LATE + i, f"junk{i}", f"j{i}") for i in range(20_000)]
    monitor = monitor_of(max_keys=100, max_values=4096)
    feed(monitor, columns_of(habits() + flood))
    assert monitor.keys <= 100 + 2048
    assert monitor.evicted > 15_000
    assert len(monitor._seen) <= 4096 + 4096
    later = [(LATE + 30_000 + i, "k3", f"v{2 + i % 3}") for i in range(3)]
    assert feed(monitor, columns_of(later)) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("since", 2048),
        ("clock", 2**49),
        ("clock", True),
        ("faded", -1),
        ("unusable", -1),
        ("novelty.events.counts", lambda a: a - 1e9),
        ("novelty.events.last", lambda a: a + 1e15),
        ("novelty.news0.totals", lambda a: a * np.nan),
        ("novelty.all.old", lambda a: a - 1.0),
        ("novelty.all_news0.new", lambda a: a[1:]),
        ("known.new", lambda a: a.astype(float)),
        ("seen.buckets", 3),
        ("seen.buckets", 2**40),
        ("seen.tags", lambda a: a[:1].repeat(len(a))),
        ("seen.tags", lambda a: np.arange(1, len(a) + 1) * 1024),
        ("seen.counts", lambda a: a * 0),
        ("seen.last_ms", lambda a: a + 2**49),
        ("seen.waiting", np.ones((5000, 3), dtype=np.int64)),
        ("surprises.told", np.array([[1, 2], [1, 2]])),
        ("surprises.told", np.array([[1, 5], [2, 2]])),
        ("surprises.scored", 1e9),
        ("surprises.events", float("nan")),
        ("surprises.new", np.full(5, 400.0)),
    ],
)
def test_a_state_that_cannot_be_is_refused(path: str, value: Any) -> None:
    monitor = monitor_of()
    feed(monitor, ROWS)
    check_refused(monitor, path, value, max(ROWS["t"]))


def test_time_that_goes_back_leaves_a_state_that_can_be_read() -> None:
    monitor = monitor_of(rare=2, p=0.01)
    feed(monitor, ROWS)
    monitor.restart(START)
    other = monitor_of(rare=2, p=0.01)
    other.restore(monitor.state(), START)
    assert bits(other) == bits(monitor)
    later = columns_of([(START + i * MINUTE, "k1", f"v{i}") for i in range(50)])
    assert feed(other, later) == feed(monitor, later)


@pytest.mark.parametrize(
    "values",
    [
        ["é", "e\u0301"],  # the same to the eye, other bytes: two values
        ["", " "],
        ["x" * 1000, "x" * 999 + "y"],
        ["null", "None"],
        ["a:b", "a"],
    ],
)
def test_values_of_all_kinds_are_told_apart_and_their_alerts_too(values: list[str]) -> None:
    rows = habits() + [(LATE, "k3", value) for value in values]
    columns = columns_of(rows)
    found = feed(monitor_of(p=0.01), columns)
    assert [f.value for _, f in found if f.key == "k3" and f.start_ms == LATE] == values
    assert len({f.distinction for _, f in found}) == len(found)
    alerts = alerts_of(pipeline_of({"kind": "new_value", "field": "v", "p": 0.01}), columns, 5000)
    assert len({alert["id"] for alert in alerts}) == len(alerts) == len(found)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"field": None}, "field"),
        ({"p": 0.5}, "less than or equal to 0.1"),
        ({"rare": -1}, "greater than or equal to 0"),
        ({"max_values": 1}, "greater than or equal to 64"),
        ({"budget": "often"}, "a budget is a share"),
    ],
)
def test_a_wrong_setting_is_explained(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        config_of(**change)


def test_alerts_fit_the_schema_whatever_the_cuts_and_after_a_restart() -> None:
    settings = {"kind": "new_value", "field": "v", "rare": 1, "p": 0.01}
    whole = alerts_of(pipeline_of(settings), ROWS, 10**6)
    assert len(whole) > 10
    assert len({alert["id"] for alert in whole}) == len(whole)
    for alert in whole:
        assert [error.message for error in VALIDATOR.iter_errors(alert)] == []
        assert alert["monitor"].keys() == set(monitor_fields("new_value"))
        assert alert["id"] == (
            f"new_value:m:{alert['monitor']['key']}:{alert['event_time']}"
            f":{alert['monitor']['value']}"
        )
    half = len(ROWS["t"]) // 2
    first = pipeline_of(settings)
    before = alerts_of(first, {name: rows[:half] for name, rows in ROWS.items()}, 1013)
    second = Pipeline.from_bytes(first.config, first.to_bytes())
    after = alerts_of(second, {name: rows[half:] for name, rows in ROWS.items()}, 700)
    for name in ("offset", "sequence"):  # a library's offsets begin anew
        for alert in (*whole, *before, *after):
            alert["receipt"].pop(name)
    assert before + after == whole


# --- planted in public data -----------------------------------------------------------------------


def test_planted_values_are_found_in_departures_ahead_of_a_plain_set(data_directory: Path) -> None:
    """Of 50 planes of other carriers, planted into five months; floors that can fail."""
    with gzip.open(data_directory / "flight_departures.csv.gz", "rt", newline="") as file:
        rows = [(r["time"], r["carrier"], r["tailnum"]) for r in csv.DictReader(file)]
    rows = [row for row in rows[:130_000] if row[2]]
    times = np.array([row[0] for row in rows], dtype="datetime64[ms]").astype(np.int64)
    columns = {"t": times.tolist(), "k": [r[1] for r in rows], "v": [r[2] for r in rows]}
    random = np.random.default_rng(1)
    have = set(zip(columns["k"], columns["v"], strict=True))
    planes = sorted(set(columns["v"]))
    first = int(np.searchsorted(times, times[0] + 60 * DAY))
    planted: set[int] = set()
    while len(planted) < 50:
        at, plane = int(random.integers(first, len(rows))), planes[random.integers(len(planes))]
        if at not in planted and (columns["k"][at], plane) not in have:
            have.add((columns["k"][at], plane))
            columns["v"][at] = plane
            planted.add(at)
    found = feed(monitor_of(p=0.1, after=0), columns, [2048])
    ranked = sorted((-finding.score, row) for row, finding in found if row >= first)
    hits = sum(row in planted for _, row in ranked[:50])
    seen: set[tuple[str, str]] = set()
    flagged = 0
    for row, pair in enumerate(zip(columns["k"], columns["v"], strict=True)):
        flagged += row >= first and pair not in seen
        seen.add(pair)
    plain = 50 / flagged  # in whatever order: a set ranks nothing
    assert hits / 50 > max(0.6, 2 * plain)
