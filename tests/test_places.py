"""Monitors of places: distances on a sphere, journeys, jitter, late events, bounds and states."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
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

from stream_detector.monitors.earth import degrees, kilometres, points, squares
from stream_detector.monitors.places import PlacesMonitor, PlacesMonitorConfig

Columns = dict[str, list[Any]]
Row = tuple[int, str | None, float, float]

BERLIN, PARIS, NEW_YORK, SYDNEY = (52.52, 13.405), (48.8566, 2.3522), (40.71, -74.0), (-33.9, 151.2)
NAN = float("nan")


def config_of(**settings: Any) -> PlacesMonitorConfig:
    given = {"name": "m", "key": "k", "latitude": "lat", "longitude": "lon", **settings}
    return PlacesMonitorConfig(**given)


def monitor_of(**settings: Any) -> PlacesMonitor:
    return PlacesMonitor(config_of(**settings))


def columns_of(rows: list[Row]) -> Columns:
    rows = sorted(rows, key=lambda row: row[0])
    names = ("t", "k", "lat", "lon")
    return dict(zip(names, (list(column) for column in zip(*rows, strict=True)), strict=True))


def people(days: int = 40, keys: int = 10, seed: int = 0) -> list[Row]:
    """Keys around a home and an office twenty kilometres apart, as exact as addresses are."""
    random = np.random.default_rng(seed)
    homes = random.uniform([-60, -180], [60, 180], (keys, 2))
    rows: list[Row] = []
    for hour in range(days * 24):
        for key in range(keys):
            if random.random() < 0.3:
                latitude = float(homes[key, 0] + random.normal(0, 0.08))
                longitude = float(homes[key, 1] + random.normal(0, 0.08))
                time = START + hour * HOUR + int(random.integers(0, HOUR))
                rows.append((time, f"k{key}", latitude, longitude))
    return rows


LATE = START + 39 * DAY + 12 * HOUR


def at_home(rows: list[Row], key: str) -> tuple[float, float]:
    (latitude, longitude) = next((row[2], row[3]) for row in rows if row[1] == key)
    return latitude, longitude


# --- the earth ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (BERLIN, PARIS, 877.5),
        ((0, 179.9), (0, -179.9), 22.24),  # over the 180th meridian
        ((0, 180), (0, -180), 0),
        ((90, 0), (90, 120), 0),  # a pole has every longitude
        ((89.9, 0), (89.9, 180), 22.24),
        ((0, 0), (0, 180), 20015.1),
        ((90, 0), (-90, 0), 20015.1),
        ((10, 200), (10, -160), 0),  # 0 to 360 or -180 to 180
        ((52.52, 13.405), (52.520001, 13.405), 0.000111),
    ],
)
def test_distances_are_those_of_great_circles(
    first: tuple[float, float], second: tuple[float, float], expected: float
) -> None:
    one, two = (points(np.array([p[0]]), np.array([p[1]])) for p in (first, second))
    assert float(kilometres(squares(one, two))[0]) == pytest.approx(expected, rel=2e-3, abs=1e-6)


def test_distances_agree_with_the_haversine_formula_and_degrees_come_back() -> None:
    random = np.random.default_rng(3)
    latitude, longitude = random.uniform(-90, 90, (2, 500)), random.uniform(-180, 180, (2, 500))
    phi, lam = np.radians(latitude), np.radians(longitude)
    hav = np.sin((phi[1] - phi[0]) / 2) ** 2
    hav += np.cos(phi[0]) * np.cos(phi[1]) * np.sin((lam[1] - lam[0]) / 2) ** 2
    expected = 2 * 6371.0088 * np.arcsin(np.sqrt(hav))
    one, two = (points(latitude[i], longitude[i]) for i in (0, 1))
    assert kilometres(squares(one, two)) == pytest.approx(expected, rel=1e-9, abs=1e-6)
    for row in range(500):
        assert degrees(one[row]) == pytest.approx((latitude[0, row], longitude[0, row]), abs=1e-9)


# --- what is found --------------------------------------------------------------------------------


def test_a_far_place_is_found_and_jitter_is_not() -> None:
    rows = people()
    found = [f for _, f in feed(monitor_of(), columns_of([*rows, (LATE, "k3", *SYDNEY)]))]
    late = [f for f in found if f.start_ms > START + 10 * DAY]
    assert {f.key for f in late} == {"k3"}
    assert late[0].start_ms == LATE
    (reason,) = late[0].reasons()
    assert reason["feature"] in ("distance_km", "speed_kmh")
    assert "km from" in reason["text"]
    assert (late[0].latitude, late[0].longitude) == pytest.approx(SYDNEY)


def test_a_far_place_that_one_can_have_travelled_to_is_told_by_its_distance() -> None:
    rows = [row for row in people() if not (row[1] == "k3" and row[0] > LATE - 3 * DAY)]
    found = [f for _, f in feed(monitor_of(), columns_of([*rows, (LATE, "k3", *SYDNEY)]))]
    (finding,) = (f for f in found if f.key == "k3" and f.start_ms == LATE)
    assert not finding.is_jump
    assert finding.distance_km > 1000
    assert finding.speed < 1000


def test_a_journey_too_fast_is_told_from_the_second_event_on_and_once_there_and_back() -> None:
    trip: list[Row] = [
        (LATE, "new", *BERLIN),
        (LATE + 30 * MINUTE, "new", *NEW_YORK),
        (LATE + 60 * MINUTE, "new", *BERLIN),
        (LATE + 90 * MINUTE, "new", *NEW_YORK),
    ]
    monitor = monitor_of()
    found = [f for _, f in feed(monitor, columns_of(people() + trip)) if f.key == "new"]
    assert [(f.start_ms, f.is_jump) for f in found] == [(LATE + 30 * MINUTE, True)]
    assert found[0].speed == pytest.approx(12_770, rel=0.01)
    assert "30 min apart" in found[0].reasons()[0]["text"]


def test_who_changes_between_two_networks_all_day_says_nothing() -> None:
    switching: list[Row] = [
        (START + i * 20 * MINUTE, "vpn", *(BERLIN if i % 2 else NEW_YORK)) for i in range(2000)
    ]
    found = [f for _, f in feed(monitor_of(), columns_of(people() + switching)) if f.key == "vpn"]
    assert all(f.start_ms < START + 2 * DAY for f in found)
    assert len(found) <= 2


def test_events_of_the_same_second_and_late_ones_have_no_speed_without_end() -> None:
    near = (BERLIN[0] + 0.5, BERLIN[1])  # 56 km: jitter of addresses, not a journey
    rows: list[Row] = [(LATE, "a", *BERLIN), (LATE, "a", *near), (LATE, "a", *BERLIN)]
    assert feed(monitor_of(), columns_of(people() + rows)) == feed(
        monitor_of(), columns_of(people())
    )
    rows = [(LATE, "a", *BERLIN), (LATE, "a", *PARIS)]
    found = [f for _, f in feed(monitor_of(), columns_of(people() + rows)) if f.key == "a"]
    (same,) = found
    assert same.speed == pytest.approx(878 * 60, rel=0.01)  # by `precision`, a minute
    assert math.isfinite(same.speed)


def test_a_late_event_travels_back_in_time() -> None:
    columns = columns_of(people())
    at = len(columns["t"]) - 5
    for name, value in (("k", "k3"), ("lat", SYDNEY[0]), ("lon", SYDNEY[1])):
        columns[name][at] = value
    columns["t"][at] -= 3 * DAY  # three days late: one can have been there
    found = [f for row, f in feed(monitor_of(), columns) if row >= at]
    assert not any(f.is_jump for f in found)


def test_what_is_no_place_is_counted_and_not_learnt() -> None:
    bad: list[Row] = [
        (LATE + 1, "k1", NAN, 0.0),
        (LATE + 2, "k1", 91.0, 0.0),
        (LATE + 3, "k1", 45.0, 361.0),
        (LATE + 4, "k1", float("inf"), 1.0),
        (LATE + 5, "k1", 0.0, 0.0),
        (LATE + 6, "k1", 0.0, -0.0),
    ]
    monitor, clean = monitor_of(), monitor_of()
    assert feed(monitor, columns_of(people() + bad)) == feed(clean, columns_of(people()))
    assert monitor.unusable == 6
    null_island = monitor_of(zero=True)
    feed(null_island, columns_of(people() + bad))
    assert null_island.unusable == 4


def test_a_key_with_more_places_than_are_remembered_keeps_those_it_visits() -> None:
    random = np.random.default_rng(2)
    rows: list[Row] = [
        (START + i * HOUR, "k", *((BERLIN, PARIS)[i % 2])) for i in range(0, 3000, 1)
    ]
    rows += [
        (START + i * 10 * HOUR + 1, "k", *random.uniform([-60, -180], [60, 180]).tolist())
        for i in range(300)
    ]
    monitor = monitor_of(places=4)
    feed(monitor, columns_of(rows))
    later: list[Row] = [(START + 3001 * HOUR, "k", *BERLIN), (START + 3020 * HOUR, "k", *PARIS)]
    _, new = monitor._places.visit(
        np.zeros(2, dtype=np.int64),
        points(np.array([r[2] for r in later]), np.array([r[3] for r in later])),
        np.array([r[0] for r in later]),
    )
    assert not new.any()
    assert monitor._places.count(0, 4) <= 8


# --- bounds, cuts and states ----------------------------------------------------------------------

_random = np.random.default_rng(7)
ROWS = columns_of(
    people()
    + [
        (START + i * 5 * HOUR + 1, f"k{i % 10}", *_random.uniform([-90, -180], [90, 180]).tolist())
        for i in range(190)
    ]
    + [(START + i * 7 * HOUR + 2, None, 1.0, 1.0) for i in range(20)]
    + [(START + i * 7 * HOUR + 3, "k1", NAN, 1.0) for i in range(20)]
)


def test_no_cut_of_a_stream_changes_a_bit() -> None:
    found = check_cuts(config_of(max_keys=8, p=0.05, places=3, after=5, period="1h"), ROWS)
    assert {finding.is_jump for _, finding in found} == {True, False}
    assert len(found) > 10


def test_keys_are_bounded_and_a_flood_of_them_leaves_the_old_ones() -> None:
    flood: list[Row] = [(LATE - DAY + i, f"junk{i}", *PARIS) for i in range(6000)]
    monitor = monitor_of(max_keys=50)
    found = feed(monitor, columns_of(people() + flood + [(LATE, "k3", *SYDNEY)]))
    assert monitor.keys <= 50 + 2048
    assert monitor.evicted > 3000
    assert {finding.key for _, finding in found if finding.start_ms == LATE} == {"k3"}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("places.points", lambda a: a * 0.5),
        ("places.points", lambda a: a * np.nan),
        ("places.points", lambda a: a[:, :2]),
        ("places.visits", lambda a: a - 1e9),
        ("places.last_ms", lambda a: a + 2.0**49),
        ("places.fresh", np.ones((1, 5))),
        ("places.fresh_of", np.array([-1])),
        ("last", lambda a: a * 0.5),
        ("last_ms", lambda a: a * 0 - 2),
        ("distances.new", np.zeros(3, dtype=np.int64)),
        ("rates.news1.last", lambda a: a + 1e15),
        ("rates.events.counts", lambda a: -a),
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


def test_alerts_fit_the_schema() -> None:
    settings = {"kind": "places", "latitude": "lat", "longitude": "lon", "p": 0.05}
    columns = {name: values[:2500] for name, values in ROWS.items()}
    columns["lat"] = [None if math.isnan(value) else value for value in columns["lat"]]
    alerts = alerts_of(pipeline_of(settings), columns, 900)
    assert len(alerts) > 3
    assert len({alert["id"] for alert in alerts}) == len(alerts)
    for alert in alerts:
        assert [error.message for error in VALIDATOR.iter_errors(alert)] == []
        assert alert["monitor"].keys() == set(monitor_fields("places"))
