"""Incidents of rate in generated traffic: planted as the plan says, and found."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from support.commands import run

from stream_detector.simulation import network, transactions
from stream_detector.simulation.rate_incidents import RateIncidents
from stream_detector.simulation.traffic import DAY_MS, Generated


def payments(count: int = 60_000, incidents: int = 3, seed: int = 0) -> RateIncidents:
    traffic = transactions.generate(count, seed=seed)
    span_ms = round(DAY_MS * count / (2 * transactions.CUSTOMERS))
    return RateIncidents(traffic, incidents, span_ms, None, seed=seed, numbered="TRANSACTION_ID")


def lines(traffic: RateIncidents) -> list[bytes]:
    return [line for batch in traffic for line in batch.json_lines()]


def inside(batches: list[Generated], start_ms: int, end_ms: int) -> int:
    return sum(int(((b.time_ms >= start_ms) & (b.time_ms < end_ms)).sum()) for b in batches)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    first = lines(payments())
    assert lines(payments()) == first
    assert lines(payments(seed=1)) != first


def test_events_fall_out_and_come_twice_as_the_plan_says() -> None:
    plain = list(transactions.generate(60_000))
    traffic = payments()
    batches = list(traffic)
    assert [each.kind for each in traffic.planted] == ["rate_silence", "rate_half", "rate_double"]
    for each in traffic.planted:
        assert each.entity == "all events"
        assert each.start_ms > plain[0].time_ms[0] + 2 * DAY_MS
        before, after = (inside(some, each.start_ms, each.end_ms) for some in (plain, batches))
        assert before > 100
        sign = 1 if each.kind == "rate_double" else -1
        assert after == before + sign * each.events
        expected = {"rate_silence": 0.0, "rate_half": 0.5, "rate_double": 2.0}[each.kind]
        assert after / before == pytest.approx(expected, abs=0.1)


def test_events_keep_their_order_and_have_a_number_of_their_own() -> None:
    batches = list(payments())
    times = np.concatenate([batch.time_ms for batch in batches])
    assert (np.diff(times) >= 0).all()
    numbers = [number for batch in batches for number in batch.columns["TRANSACTION_ID"]]
    assert numbers == list(range(len(numbers)))


def test_in_connections_one_service_is_concerned_and_no_other() -> None:
    count = 150_000
    plain = list(network.generate(count))
    traffic = RateIncidents(
        network.generate(count), 2, round(1000 * count / network.CONNECTIONS_PER_SECOND), "service"
    )
    batches = list(traffic)
    silence = traffic.planted[0]
    key = silence.entity.removeprefix("service ")

    def services(some: list[Generated]) -> Counter[str]:
        return Counter(
            name
            for batch in some
            for name, time in zip(batch.columns["service"], batch.time_ms.tolist(), strict=True)
            if silence.start_ms <= time < silence.end_ms
        )

    before, after = services(plain), services(batches)
    assert before[key] == silence.events > 100
    assert after[key] == 0
    del before[key]
    assert after == before


def test_the_command_writes_the_plan_and_evaluate_finds_them(tmp_path: Path) -> None:
    data, plan = tmp_path / "d.jsonl", tmp_path / "plan.jsonl"
    options = ["--count", "80000", "--rate-incidents", "3"]
    done = run("simulate", "transactions", *options, "--output", str(data), "--plan", str(plan))
    assert done.returncode == 0, done.stderr
    assert "1 rate_silence, 1 rate_half, 1 rate_double" in done.stderr
    planted = [json.loads(line) for line in plan.read_text().splitlines()]
    planted = [each for each in planted if each["kind"].startswith("rate_")]
    assert len(planted) == 3
    config = tmp_path / "c.yaml"
    config.write_text(
        "name: m\nevent: {time: {field: TX_DATETIME}}\nfeatures: [{numeric: TX_AMOUNT}]\n"
        "detector: {kind: half_space_forest, trees: 2, depth: 2}\n"
        "monitors: [{kind: rate, name: all, bucket: 1h, season: hour_of_day}]\n"
    )
    done = run("evaluate", str(config), "--data", str(data), "--json")
    assert done.returncode == 0, done.stderr
    (monitor,) = json.loads(done.stdout)["monitors"]
    assert 3 <= monitor["alerts"] <= 8


def test_without_an_end_there_is_no_later_part() -> None:
    done = run("simulate", "network", "--endless", "--rate-incidents", "2")
    assert done.returncode == 2
    assert "give --count or --duration" in done.stderr
