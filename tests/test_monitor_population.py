"""Whom a key is held against (``over``), and a fixed probability (``p``)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from stream_detector.errors import StateMismatchError
from stream_detector.monitors import MonitorEvents
from stream_detector.monitors.rate import RateMonitor, RateMonitorConfig
from stream_detector.snapshots.format import Snapshot, decode, encode

HOUR = 3_600_000
START = 1_704_067_200_000
DAYS = 20
SHOPS = {
    f"{where}{n}": where for where, shops in (("north", 4), ("south", 16)) for n in range(shops)
}


def monitor_of(**settings: Any) -> RateMonitor:
    plain = {"name": "m", "key": "k", "season": "hour_of_day", "widths": [2, 3]}
    return RateMonitor(RateMonitorConfig(**{**plain, **settings}))


def columns() -> tuple[np.ndarray, list[str | None], list[str | None]]:
    """Shops of two regions; in one of them all fall to a third on the last day, for five hours."""
    random = np.random.default_rng(3)
    rows: list[tuple[int, str, str | None]] = []
    for hour in range(DAYS * 24):
        for shop, region in SHOPS.items():
            low = region == "north" and 8 <= hour - (DAYS - 1) * 24 < 13
            for offset in random.integers(0, HOUR, random.poisson(20 if not low else 5)):
                # Not every event says where a shop is.
                said = region if random.random() < 0.5 else None
                rows.append((START + hour * HOUR + int(offset), shop, said))
    rows.sort(key=lambda row: row[0])
    return np.array([row[0] for row in rows]), [r[1] for r in rows], [r[2] for r in rows]


TIMES, NAMES, REGIONS = columns()


def found_by(monitor: RateMonitor, start: int, stop: int, cut: int = 997) -> list[Any]:
    found = []
    for begin in range(start, stop, cut):
        part = slice(begin, min(begin + cut, stop))
        text = {"k": NAMES[part], "region": REGIONS[part]}
        for _, some in monitor.take(MonitorEvents(TIMES[part], TIMES[part], text=text)):
            found += some
    return found


def lows(findings: list[Any]) -> set[str]:
    last = START + ((DAYS - 1) * 24 + 8) * HOUR
    return {f.key for f in findings if f.end_ms > last and f.actual < f.low}


def test_what_happens_to_a_region_is_no_incident_of_a_shop_where_they_are_compared() -> None:
    everybody, region = monitor_of(), monitor_of(over="region")
    assert len(lows(found_by(everybody, 0, len(TIMES)))) >= 2
    assert lows(found_by(region, 0, len(TIMES))) == set()


def test_groups_go_on_from_their_state_with_the_same_bits_however_events_are_cut() -> None:
    half = len(TIMES) // 2
    whole = monitor_of(over="region")
    findings = found_by(whole, 0, len(TIMES))
    first, second = monitor_of(over="region"), monitor_of(over="region")
    before = found_by(first, 0, half, 333)
    state = decode(encode(Snapshot({}, first.state()))).state
    second.restore(state, int(TIMES[half - 1]))
    assert before + found_by(second, half, len(TIMES), 1500) == findings
    assert encode(Snapshot({}, second.state())) == encode(Snapshot({}, whole.state()))
    state["groups"]["lengths"] = state["groups"]["lengths"][:-1]
    with pytest.raises(StateMismatchError):
        monitor_of(over="region").restore(state, int(TIMES[half - 1]))


def test_a_key_that_moves_is_held_against_its_new_neighbours() -> None:
    monitor = monitor_of(over="region")
    times = np.full(4, START)
    for keys, regions in (("ab", ["x", "y"]), ("ab", ["y", None])):
        text = {"k": list(keys), "region": regions}
        monitor.take(MonitorEvents(times[:2], times[:2], text=text))
    codes = monitor._groups.codes(2)
    assert codes[0] == codes[1]


def test_a_probability_stands_for_deviations() -> None:
    two = RateMonitorConfig(name="m", p=0.0027)
    one = RateMonitorConfig(name="m", p=0.00135, side="high")
    assert two.limit == pytest.approx(3.0, abs=1e-3)
    assert one.limit == pytest.approx(3.0, abs=1e-3)
    assert RateMonitorConfig(name="m").limit == 4.5


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"p": 0.001, "deviations": 4.0}, "one of deviations and p"),
        ({"p": 0.5}, "less than or equal"),
        ({"over": "region"}, "over: needs `key`"),
        ({"over": "region", "key": "k", "population": False}, "over: needs `key`"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(change: Any, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        RateMonitorConfig(**{"name": "m", **change})
