"""Monitors of levels: sums, means, different values, quantiles, and that no value spoils them."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from support.monitoring import pipeline_of
from test_docs import VALIDATOR

from stream_detector.errors import StateMismatchError
from stream_detector.monitors import MonitorEvents
from stream_detector.monitors.level import LevelMonitor, LevelMonitorConfig
from stream_detector.monitors.sketches import HASHES
from stream_detector.snapshots.format import Snapshot, decode, encode

HOUR = 3_600_000
START = 1_704_067_200_000
DAYS = 24
BEGIN = 20 * 24 + 9
KINDS: list[dict[str, Any]] = [
    {"compute": "sum"},
    {"compute": "mean"},
    {"compute": "quantile", "quantile": 0.9},
    {"compute": "distinct"},
]
NAMES = [kind["compute"] for kind in KINDS]


def monitor_of(**settings: Any) -> LevelMonitor:
    plain = {"name": "m", "key": "k", "of": "v", "season": "hour_of_day", "max_keys": 20}
    return LevelMonitor(LevelMonitorConfig(**{**plain, **settings}))


def stream(strange: str = "", seed: int = 1) -> tuple[np.ndarray, list[Any], np.ndarray]:
    """Skewed values of six keys, larger by day; of one key tripled for six hours of a late day."""
    random = np.random.default_rng(seed)
    rows = []
    for hour in range(DAYS * 24):
        for key in "abcdef":
            scale = 60.0 if 8 <= hour % 24 < 20 else 20.0
            scale *= 3.0 if key == strange and BEGIN <= hour < BEGIN + 6 else 1.0
            values = scale * random.gamma(3.0, 1 / 3.0, random.poisson(12))
            begin = START + hour * HOUR
            rows += [(begin + int(random.integers(HOUR)), key, value) for value in values]
    rows.sort(key=lambda row: row[0])
    return np.array([r[0] for r in rows]), [r[1] for r in rows], np.array([r[2] for r in rows])


PLAIN, STRANGE = stream(), stream("b")


def take(monitor: LevelMonitor, rows: Any, start: int, stop: int, cut: int = 1009) -> list[Any]:
    times, keys, values = rows
    text = monitor.config.compute == "distinct"
    found = []
    for begin in range(start, stop, cut):
        part = slice(begin, min(begin + cut, stop))
        some = values[part]
        columns = MonitorEvents(
            times[part],
            times[part],
            text={"k": keys[part], **({"v": [f"{v:.0f}" for v in some]} if text else {})},
            numbers={} if text else {"v": some},
        )
        for _, findings in monitor.take(columns):
            found += findings
    return found


def state_bytes(monitor: LevelMonitor) -> bytes:
    return encode(Snapshot({}, monitor.state()))


@pytest.mark.parametrize("kind", KINDS, ids=NAMES)
def test_a_change_of_level_is_found_of_the_key_that_it_is_about(kind: dict[str, Any]) -> None:
    settings = {**kind, "deviations": 4.0}
    found = take(monitor_of(**settings), STRANGE, 0, len(STRANGE[0]))
    begin = START + BEGIN * HOUR
    late = [f for f in found if f.end_ms > START + 8 * 24 * HOUR]
    if kind["compute"] == "distinct":  # tripled values are spread wider, but as many
        assert len({f.key for f in late}) <= 1
        return
    inside = [f for f in late if begin < f.end_ms <= begin + 7 * HOUR]
    assert {f.key for f in inside} == {"b"}
    assert all(f.actual > f.high > f.expected > 0 for f in inside)
    # A high quantile of twelve skewed values is a restless thing.
    most = 8 if kind["compute"] == "quantile" else 1
    assert len([f for f in late if f.key != "b"]) <= most


@pytest.mark.parametrize("kind", KINDS, ids=NAMES)
def test_cuts_do_not_change_a_bit_and_a_restored_monitor_goes_on_with_the_same(
    kind: dict[str, Any],
) -> None:
    count, half = 12_000, 5_003
    whole, other = monitor_of(**kind), monitor_of(**kind)
    findings = take(whole, STRANGE, 0, count)
    assert take(other, STRANGE, 0, count, 37) == findings
    assert state_bytes(other) == state_bytes(whole)
    first, second = monitor_of(**kind), monitor_of(**kind)
    before = take(first, STRANGE, 0, half)
    second.restore(decode(state_bytes(first)).state, int(STRANGE[0][half - 1]))
    assert before + take(second, STRANGE, half, count) == findings
    assert state_bytes(second) == state_bytes(whole)


@pytest.mark.parametrize("value", [1e300, -1e300, np.inf, np.nan])
@pytest.mark.parametrize("kind", KINDS[:3], ids=NAMES[:3])
@pytest.mark.parametrize("place", [0, 9000])
def test_one_absurd_value_spoils_nothing(kind: dict[str, Any], value: float, place: int) -> None:
    times, keys, values = PLAIN
    spoilt = values.copy()
    spoilt[place] = value
    monitor, sound = monitor_of(**kind), monitor_of(**kind)
    rows = (times, keys, spoilt)
    take(monitor, rows, 0, len(times))
    take(sound, PLAIN, 0, len(times))
    assert monitor.unusable == (0 if np.isfinite(value) else 1)
    row, its = (one._keys.find(keys[place]) for one in (monitor, sound))
    assert row is not None
    assert its is not None
    usual, wanted = monitor._history.usual[row], sound._history.usual[its]
    assert np.isfinite(usual).all()
    if place:  # known well by then: what is usual is as it was but for its own hour
        assert np.median(np.abs(usual / wanted - 1)) < 0.05
        assert np.max(np.abs(usual / wanted - 1)) < 1.0
        assert 0.3 < monitor._history.unit[row] / sound._history.unit[its] < 3
    others = [key for key in "abcdef" if key != keys[place]]
    for key in others:
        mine, theirs = monitor._keys.find(key), sound._keys.find(key)
        same = monitor._history.usual[mine] == sound._history.usual[theirs]
        assert same.all()
    # It goes on, and can be kept.
    fresh = monitor_of(**kind)
    fresh.restore(decode(state_bytes(monitor)).state, int(times[-1]))


def open_bucket(monitor: LevelMonitor, values: list[Any]) -> None:
    times = np.full(len(values), START)
    text = monitor.config.compute == "distinct"
    columns = {"v": values} if text else {}
    numbers = {} if text else {"v": np.array(values, dtype=float)}
    monitor.take(MonitorEvents(times, times, text=columns, numbers=numbers))


@pytest.mark.parametrize("count", [0, 1, 7, HASHES - 1, 3000, 50_000])
def test_different_values_are_counted_exactly_while_few_and_closely_when_many(count: int) -> None:
    monitor = monitor_of(compute="distinct", key=None)
    open_bucket(monitor, [f"t{number % max(count, 1)}" for number in range(2 * count)] or [None])
    estimate = float(monitor._actual()[0]) if count else 0.0
    if count < HASHES:
        assert estimate == count
    else:
        assert estimate == pytest.approx(count, rel=0.15)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
@pytest.mark.parametrize("shape", ["gamma", "kelvin", "signed"])
def test_quantiles_are_close(share: float, shape: str) -> None:
    random = np.random.default_rng(2)
    draws = {
        "gamma": lambda: 200 * random.gamma(1.0, 1.0, 4000),
        "kelvin": lambda: random.normal(293.0, 0.2, 4000),
        "signed": lambda: random.normal(0.0, 50.0, 4000),
    }
    monitor = monitor_of(compute="quantile", quantile=share, key=None)
    for bucket in range(3):
        values = draws[shape]()
        times = np.full(len(values), START + bucket * HOUR)
        monitor.take(MonitorEvents(times, times, numbers={"v": values}))
    exact = np.quantile(values, share)
    spread = np.std(values)
    assert abs(float(monitor._history.quantiles(share)[0]) - exact) < 0.05 * spread


def test_an_empty_bucket_has_no_mean_and_its_sum_is_nothing() -> None:
    means, sums = monitor_of(compute="mean", widths=[1]), monitor_of(compute="sum", widths=[1])
    for monitor in (means, sums):
        for hour in (0, 1, 2, 26, 27):
            times = np.full(3, START + hour * HOUR)
            text = {"k": ["a"] * 3}
            monitor.take(MonitorEvents(times, times, text=text, numbers={"v": np.full(3, 5.0)}))
    # Hour 3 of the first day had no event.
    assert (means._history.seen[0, 3], sums._history.seen[0, 3]) == (0.0, 1.0)
    assert (means._history.usual[0, 2], sums._history.usual[0, 2]) == (5.0, 15.0)
    assert sums._history.usual[0, 3] == 0.0


def test_a_new_level_becomes_usual() -> None:
    random = np.random.default_rng(4)
    hours = 60 * 24
    times = np.repeat(np.arange(hours) * HOUR + START, 6)
    level = np.where(np.arange(hours) < 20 * 24, 20.0, 50.0)
    values = np.repeat(level, 6) + random.normal(0, 0.5, len(times))
    monitor = monitor_of(compute="mean", season="none", half_life="7d")
    found = take(monitor, (times, ["a"] * len(times), values), 0, len(times))
    begin = START + 20 * 24 * HOUR
    assert [f for f in found if begin < f.end_ms <= begin + 3 * HOUR]
    assert abs(monitor._history.usual[0, 0] - 50) < 5  # half the way in two half-lives
    assert [f for f in found if f.end_ms > begin + 35 * 24 * HOUR] == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"compute": "quantile"}, "quantile goes with"),
        ({"compute": "mean", "quantile": 0.5}, "quantile goes with"),
        ({"compute": "distinct", "widths": [1, 2]}, "of single buckets"),
        ({"compute": "median"}, "sum"),
    ],
)
def test_settings_that_do_not_fit_are_refused(change: Any, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        monitor_of(**change)


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("sum", {"unit": np.zeros(6)}),
        ("sum", {"unit": np.full(6, np.nan)}),
        ("mean", {"recent": np.full((6, 31), 1e200)}),
        ("mean", {"put": np.full(6, 99.0)}),
        ("mean", {"weights": np.full((6, 120), -1.0)}),
        ("distinct", {"sketch": np.full((6, 256), 2.0**33)}),
        ("distinct", {"sketch": np.arange(6 * 256.0)[::-1].reshape(6, 256).copy()}),
        ("quantile", {"sketch": np.full((6, 512), np.inf)}),
        ("quantile", {"sketch": np.zeros((6, 511))}),
    ],
)
def test_a_state_that_cannot_be_is_refused(name: str, column: dict[str, Any]) -> None:
    kind = KINDS[NAMES.index(name)]
    monitor = monitor_of(**kind)
    take(monitor, PLAIN, 0, 2000)
    state = {**copy.deepcopy(monitor.state()), **column}
    with pytest.raises(StateMismatchError):
        monitor_of(**kind).restore(state, int(PLAIN[0][1999]))


@pytest.mark.parametrize("kind", KINDS, ids=NAMES)
def test_a_flood_of_keys_is_bounded(kind: dict[str, Any]) -> None:
    monitor = monitor_of(**kind)
    count = 9000
    times = np.arange(count) * 1000 + START
    keys = [f"k{number}" for number in range(count)]
    take(monitor, (times, keys, np.ones(count)), 0, count)
    assert monitor.keys <= 20 + 2048
    assert len(monitor._history) <= 20 + 2048
    assert monitor.evicted > 5000


@pytest.mark.parametrize("kind", KINDS[:3], ids=NAMES[:3])
def test_alerts_are_as_the_schema_says(kind: dict[str, Any]) -> None:
    monitor = {"kind": "level", "name": "l", "of": "v", "season": "hour_of_day", **kind}
    times, keys, values = STRANGE
    rows = [
        {"t": time, "k": key, "v": value}
        for time, key, value in zip(times.tolist(), keys, values.tolist(), strict=True)
    ]
    alerts = [a for a in pipeline_of(monitor).process(rows).alerts if "monitor" in a]
    assert alerts
    assert [error.message for each in alerts for error in VALIDATOR.iter_errors(each)] == []
    assert {each["id"].split(":")[0] for each in alerts} == {"level"}
    others = "pace_of_others" if kind["compute"] == "sum" else "deviations_of_others"
    assert all(others in each["monitor"] for each in alerts)
