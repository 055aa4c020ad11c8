"""Monitors that `init` proposes: which key, which bucket, which season, and why none."""

from __future__ import annotations

import datetime as dt
import json
import math
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from support.commands import run

from stream_detector.inference import infer
from stream_detector.inference.monitors import MonitorProposal

START = dt.datetime(2024, 5, 6, tzinfo=dt.UTC)
Event = dict[str, Any]


def spread(
    days: float, a_day: float, more: Callable[[np.random.Generator], Event], night: float = 1.0
) -> list[Event]:
    """Events at random times; ``night``: how busy the hours before eight are, of the others."""
    random = np.random.default_rng(1)
    events = []
    for hour in range(int(days * 24)):
        rate = a_day / 24 * (night if hour % 24 < 8 else 1.0)
        for second in np.sort(random.uniform(0, 3600, random.poisson(rate))).tolist():
            moment = START + dt.timedelta(hours=hour, seconds=second)
            events.append({"time": moment.isoformat(), **more(random)})
    return events


def shops(random: np.random.Generator) -> Event:
    return {"shop": f"shop-{random.integers(6)}", "amount": round(random.lognormal(3, 1), 2)}


def proposed(events: Iterable[Event], share: float | None = None) -> MonitorProposal:
    return infer(list(events), share).monitors


def keyed(found: MonitorProposal) -> Event | None:
    return next((entry for entry, _ in found.entries if "key" in entry), None)


def test_a_key_with_several_events_an_hour_is_watched_by_the_hour_of_the_week() -> None:
    found = proposed(spread(9, 1400, shops, night=0.2)[:5000], share=0.2)
    entry = keyed(found)
    assert entry is not None
    assert (entry["key"], entry["bucket"], entry["season"]) == ("shop", "1h", "hour_of_week")
    (_, about), (together, _), *_ = found.entries
    assert "6 in the sample" in about
    assert "hours of the week can be told" in about
    assert "key" not in together


@pytest.mark.parametrize(
    ("days", "season", "why"),
    [
        (6, "hour_of_day", "those of the week not"),
        (15, "hour_of_week", "of the week can be told"),
    ],
)
def test_a_season_needs_data_to_be_seen_in(days: float, season: str, why: str) -> None:
    found = proposed(spread(days, 330, shops, night=0.1))
    entry, about = found.entries[0]
    assert entry["season"] == season
    assert why in about


def test_below_three_days_a_rhythm_would_be_an_incident_each_morning() -> None:
    found = proposed(spread(2, 330, shops, night=0.1))
    assert found.entries == ()
    assert "too little to tell the rhythm of a day" in found.reasons[0]


def test_what_is_steady_needs_no_season() -> None:
    entry, about = proposed(spread(1, 1400, shops)).entries[0]
    assert entry["season"] == "none"
    assert "steady" in about


def test_where_all_hours_are_alike_there_is_no_season() -> None:
    found = proposed(spread(20, 240, shops))
    entry, about = found.entries[0]
    assert entry["season"] == "none"
    assert "as busy as another" in about


def test_a_timetable_has_a_season_without_any_chance() -> None:
    jobs = ("load", "check", "tidy")
    events = [
        {"time": (START + dt.timedelta(hours=hour, minutes=7 * n)).isoformat(), "job": job}
        for hour in range(24 * 20)
        for n, job in enumerate(jobs * (2 if hour % 24 < 6 else 1))
    ]
    assert proposed(events).entries[0][0]["season"] == "hour_of_week"


def test_events_that_come_in_batches_get_a_bucket_longer_than_their_gap() -> None:
    events = [
        {"time": (START + dt.timedelta(hours=hour)).isoformat(), "job": f"job-{n}", "rows": n}
        for hour in range(500)
        for n in range(9)
    ]
    for entry, _ in proposed(events).entries:
        assert entry["bucket"] in {"3h", "6h", "1d"}


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (lambda r: {"host": "web-1", "ms": r.integers(100)}, "everything together"),
        (lambda r: {"user_id": f"u{r.integers(4000)}", "ms": r.integers(100)}, "too seldom"),
    ],
)
def test_a_key_that_the_data_do_not_support_is_refused_with_the_reason(
    more: Callable[[np.random.Generator], Event], why: str
) -> None:
    found = proposed(spread(6, 700, more))
    assert keyed(found) is None
    assert [entry["name"] for entry, _ in found.entries] == ["all", "silence"]
    assert any(why in reason for reason in found.reasons)


def test_keys_that_come_once_are_no_keys_of_a_monitor() -> None:
    events = spread(6, 700, lambda r: {"ms": int(r.integers(100))})
    for number, event in enumerate(events):
        event["order_id"] = f"ORD-{number:06d}"
    assert keyed(proposed(events)) is None


def test_keys_that_pass_are_no_keys_of_a_monitor() -> None:
    events = spread(6, 700, lambda r: {"ms": int(r.integers(100))})
    for number, event in enumerate(events):
        event["host"] = f"pod-{number // 60}"
    found = proposed(events)
    assert keyed(found) is None
    assert any("come and go" in reason or "bursts" in reason for reason in found.reasons)


def test_without_a_time_there_is_no_monitor() -> None:
    found = proposed({"shop": f"shop-{n % 5}", "amount": n * 7 % 31} for n in range(500))
    assert found.entries == ()
    assert "no field says when" in found.reasons[0]


def test_a_few_events_a_month_are_too_few_to_miss_any() -> None:
    found = proposed(spread(400, 0.3, shops))
    assert found.entries == ()
    assert "too few to miss any" in found.reasons[0]


HOSTILE = "shop\u202e: [x] # 'y'\"{"


def test_the_command_writes_and_says_them_and_the_file_works(tmp_path: Path) -> None:
    data = tmp_path / "d.jsonl"
    events = spread(8, 1400, shops, night=0.2)
    data.write_text("".join(json.dumps(event) + "\n" for event in events))
    done = run("init", "--data", str(data), "--output", str(tmp_path / "c.yaml"))
    assert done.returncode == 0, done.stderr
    assert "rate of shop in buckets of 1h" in done.stdout
    text = (tmp_path / "c.yaml").read_text()
    assert "# 6 in the sample, which return" in text
    expected = ["by_shop", "all", "silent_shop", "mean_amount_by_shop"]
    assert [each["name"] for each in yaml.safe_load(text)["monitors"]] == expected
    assert "silence of one shop while others go on" in " ".join(done.stdout.split())
    assert "mean of amount by shop in buckets of" in " ".join(done.stdout.split())
    done = run("evaluate", str(tmp_path / "c.yaml"), "--data", str(data), "--json")
    assert done.returncode == 0, done.stderr
    assert [each["name"] for each in json.loads(done.stdout)["monitors"]] == expected
    without = run(
        "init", "--data", str(data), "--no-monitors", "--output", str(tmp_path / "n.yaml")
    )
    assert without.returncode == 0
    assert "monitors" not in (tmp_path / "n.yaml").read_text()
    # Nothing else of the proposal hangs on it.
    rest = {k: v for k, v in yaml.safe_load(text).items() if k != "monitors"}
    assert rest == yaml.safe_load((tmp_path / "n.yaml").read_text())


def test_a_hostile_name_stays_a_name(tmp_path: Path) -> None:
    data = tmp_path / "d.jsonl"
    events = spread(8, 600, lambda r: {HOSTILE: f"shop-{r.integers(6)}", "amount": r.normal()})
    data.write_text("".join(json.dumps(event) + "\n" for event in events))
    done = run("init", "--data", str(data), "--output", str(tmp_path / "c.yaml"))
    assert done.returncode == 0, done.stderr
    assert "\u202e" not in done.stdout + (tmp_path / "c.yaml").read_text()
    document = yaml.safe_load((tmp_path / "c.yaml").read_text())
    assert {each.get("key") for each in document["monitors"]} <= {HOSTILE, None}


def test_a_timetable_of_some_hours_is_steady_enough() -> None:
    events = [
        {
            "time": (START + dt.timedelta(seconds=30 * n)).isoformat(),
            "sensor": f"S{n % 6}",
            "t": n * 7 % 31,
        }
        for n in range(900)
    ]
    entry = keyed(proposed(events))
    assert entry is not None
    assert (entry["key"], entry["season"]) == ("sensor", "none")


def of_kind(found: MonitorProposal, kind: str) -> tuple[Event, str] | None:
    return next((one for one in found.entries if one[0]["kind"] == kind), None)


def test_silence_of_a_key_says_after_how_long_one_would_be_missed() -> None:
    # Six shops, an event in 6 minutes each: of 10,000 a week in all one lasts for 55 minutes.
    found = of_kind(proposed(spread(9, 1440, shops)), "silence")
    assert found is not None
    entry, about = found
    assert (entry["key"], entry["season"]) == ("shop", "none")
    assert "an event every 6 minutes" in about
    after = int(re.search(r"about (\d+) minutes", about)[1])
    assert abs(after - 6 * math.log(1440 * 7)) < 3


def test_what_would_be_missed_after_days_gets_no_monitor_of_silence() -> None:
    found = proposed(spread(60, 18, shops))
    assert keyed(found) is not None
    assert of_kind(found, "silence") is None
    assert any("no monitor of silence by shop" in reason for reason in found.reasons)


def test_silence_of_everything_is_for_streams_without_a_key_that_no_morning_breaks() -> None:
    def alone(random: np.random.Generator) -> Event:
        return {"ms": int(random.integers(100))}

    entry, about = of_kind(proposed(spread(6, 700, alone, night=0.4)), "silence")
    assert "key" not in entry
    assert "silence of everything" in about
    found = proposed(spread(6, 700, alone, night=0.02))
    assert of_kind(found, "silence") is None
    assert any("begins abruptly" in reason for reason in found.reasons)


def test_batches_get_no_monitor_of_silence() -> None:
    events = [
        {"time": (START + dt.timedelta(hours=3 * hour)).isoformat(), "job": f"job-{n}", "rows": n}
        for hour in range(400)
        for n in range(9)
    ]
    assert of_kind(proposed(events), "silence") is None


def number(name: str, draw: Callable[[np.random.Generator], Any]) -> Callable[..., Event]:
    return lambda random: {"shop": f"shop-{random.integers(6)}", name: draw(random)}


@pytest.mark.parametrize(
    ("name", "draw", "compute"),
    [
        ("amount", lambda r: round(r.lognormal(3, 1), 2), "mean"),
        ("payment.price", lambda r: f"${r.lognormal(3, 1):.2f}", "mean"),
        ("orig_bytes", lambda r: int(r.lognormal(6, 2)), "sum"),
        ("latency_ms", lambda r: round(r.lognormal(3, 1), 1), "mean"),
        ("Betrag", lambda r: f"{r.lognormal(3, 1):.2f}".replace(".", ","), "mean"),
    ],
)
def test_an_amount_a_load_and_a_duration_are_worth_a_level(
    name: str, draw: Callable[[np.random.Generator], Any], compute: str
) -> None:
    found = of_kind(proposed(spread(9, 1400, number(name, draw))), "level")
    assert found is not None
    entry, about = found
    assert (entry["of"], entry["compute"], entry["key"]) == (name, compute, "shop")
    assert entry["bucket"] == "6h"  # thirty values of a shop
    assert name in about


@pytest.mark.parametrize(
    ("name", "draw"),
    [
        ("amount", lambda _random: 5.0),
        ("amount", lambda r: 0.0 if r.random() < 0.95 else round(r.lognormal(3, 1), 2)),
        ("amount_code", lambda r: int(r.integers(1000, 1400))),
        ("amount", lambda r: int(r.integers(4))),
        ("price_id", lambda r: int(r.integers(10**9))),
        ("bytes_per_s", lambda r: round(r.lognormal(3, 1), 2)),
        ("temperature", lambda r: round(r.normal(20, 3), 2)),
        ("bytes", lambda r: int(r.integers(-500, 500))),
        ("amount", lambda r: None if r.random() < 0.4 else round(r.lognormal(3, 1), 2)),
    ],
)
def test_ids_codes_constants_and_what_measures_no_amount_are_not(
    name: str, draw: Callable[[np.random.Generator], Any]
) -> None:
    assert of_kind(proposed(spread(9, 1400, number(name, draw))), "level") is None


def test_there_is_one_level_and_money_comes_first() -> None:
    def two(random: np.random.Generator) -> Event:
        return shops(random) | {"bytes": int(random.lognormal(6, 2))}

    found = proposed(spread(9, 1400, two))
    levels = [entry["of"] for entry, _ in found.entries if entry["kind"] == "level"]
    assert levels == ["amount"]


def test_many_keys_get_the_higher_limit() -> None:
    def of(count: int) -> Event | None:
        return keyed(proposed(spread(9, 2500, lambda r: {"shop": f"shop-{r.integers(count)}"})))

    few, many = of(6), of(40)
    assert few is not None
    assert few["deviations"] < 4.5
    assert many is not None
    assert "deviations" not in many
