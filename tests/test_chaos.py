"""The daemon under faults in short (`make chaos` is the long form), and that the judges judge."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from chaos.campaign import Campaign
from chaos.faults import BACKLOG_POINTS, POINTS, Fault, every_failpoint, plan
from chaos.hostile import ABORTED, FUTURE, PLANTED
from chaos.judge import (
    Written,
    check_journal,
    check_refused,
    compare,
    doubled_sources,
    source_of,
)
from chaos.run import Run
from chaos.soak import ALLOWED, judge_growth
from chaos.stream import Planted
from chaos.workers import Tally, Worker
from kafka_broker.clients import Message, consume_all, create_topic, produce, unique_name
from kafka_broker.cluster import Cluster

EXPECTED: list[Written] = [
    (("in", offset % 2, offset), (b"k", f"alert {offset}".encode(), (("h", b"1"),)))
    for offset in range(10)
]


# --- the daemon ----------------------------------------------------------------------------------


RETRIES = 12
EVENTS = 7000
ROUNDS = 4
LIVE_EVENTS = 2500


class LookAhead(Iterator[Fault]):
    """Faults that know whether there is a next one. State: that one."""

    def __init__(self, faults: Iterator[Fault]) -> None:
        self._faults = faults
        self._next: Fault | None = None

    def exhausted(self) -> bool:
        if self._next is None:
            self._next = next(self._faults, None)
        return self._next is None

    def __next__(self) -> Fault:
        if self.exhausted():
            raise StopIteration
        fault, self._next = self._next, None
        assert fault is not None
        return fault


def short_plan(campaign: Campaign) -> Iterator[Fault]:
    """Each failpoint, and between them an operator who sets offsets."""
    faults = every_failpoint(campaign.seed)
    # The replay's point needs something to replay: not first.
    faults.sort(key=lambda fault: fault.point == "in_replay")
    faults[4:4] = [Fault("offsets_reset")]
    yield from faults
    # A point is missed where everything is worked off before it is passed.
    for _ in range(RETRIES):
        missing = [point for point in BACKLOG_POINTS if not campaign.tally.fired[point]]
        if missing:
            yield Fault("failpoint", point=missing[0])


def live_plan() -> Iterator[Fault]:
    """Input that grows and stands still while brokers and workers go and come back."""
    yield Fault("hanging_transaction", seconds=0.5)
    yield Fault("broker_kill", seconds=0.5)
    yield Fault("partitions_added", choice=1)
    yield Fault("kill_ready", seconds=0.5)
    yield Fault("leaders_move", choice=1)


def copied(run: Run, alerts: list[Any], directory: Path) -> Run:
    """The same run as if these had been its alerts, for the judge's eyes."""
    bootstrap = run.cluster.bootstrap
    topic = create_topic(bootstrap, unique_name("alerts"), 1, {"retention.ms": "-1"}, replicas=-1)
    messages = [Message(a.value, 0, a.key, a.timestamp, tuple(a.headers)) for a in alerts]
    produce(bootstrap, topic, messages)
    kafka = {**run.settings["kafka"], "alerts": topic}
    settings = {**run.settings, "kafka": kafka}
    Worker(directory, settings, name="worker1")  # writes its configuration; is never started
    return Run(run.cluster, settings, directory, Tally(), run.log)


def sabotaged(run: Run) -> list[Any]:
    """Its alerts with one lost, one doubled, one changed."""
    alerts = consume_all(run.cluster.bootstrap, run.settings["kafka"]["alerts"])
    changed = alerts[7]._replace(value=alerts[7].value.replace(b'"score":', b'"score": '))
    assert changed.value != alerts[7].value
    return [*alerts[:5], alerts[6], alerts[6], changed, *alerts[8:]]


@pytest.mark.timeout(400)
def test_every_failpoint_and_a_reset_of_offsets_change_no_byte(
    cluster: Cluster, tmp_path: Path
) -> None:
    campaign = Campaign(tmp_path, seed=1)
    faults = LookAhead(short_plan(campaign))
    judge = Campaign(tmp_path / "judge", seed=1)
    try:
        topic, expected, clean = campaign.reference(cluster, "short", 1, EVENTS)
        # Once more where everything is worked off before all points were passed.
        for number in range(ROUNDS):
            run = campaign.disturbed(
                cluster, topic, f"short-{number}", 1, 1, faults, faults.exhausted
            )
            campaign.judge_backlog(run, expected, clean)
            if faults.exhausted():
                break
        wrong = copied(run, sabotaged(run), tmp_path / "wrong")
        found = judge.judge_backlog(wrong, expected, clean)
    finally:
        campaign.close()
        judge.close()
    result = campaign.result()
    assert campaign.sound(), (campaign.verdict.details, campaign.problems, result)
    assert (found.lost, found.doubled, found.differing) == (1, 1, 1), found.details
    assert [point for point in BACKLOG_POINTS if not campaign.tally.fired[point]] == []
    assert result["kills"] > len(BACKLOG_POINTS)
    assert result["offsets_reset"] == 1
    assert result["bad_records"] > 0
    assert result["alerts_expected"] > 40
    assert result["journal_records"] > 0


@pytest.mark.timeout(300)
def test_live_input_that_grows_stands_still_and_is_taken_back_is_read_once(
    cluster: Cluster, tmp_path: Path
) -> None:
    campaign, judge = Campaign(tmp_path, seed=2), Campaign(tmp_path / "judge", seed=2)
    faults = LookAhead(live_plan())
    try:
        run = campaign.live(cluster, "live-1", 1, 200, faults.exhausted, faults, LIVE_EVENTS)
        wrong = copied(run, sabotaged(run), tmp_path / "wrong")
        found = judge.judge_live(wrong, Planted())
    finally:
        campaign.close()
        judge.close()
    result = campaign.result()
    assert campaign.sound(), (campaign.verdict.details, campaign.problems, result)
    assert (found.lost, found.differing) == (1, 1), found
    assert found.doubled >= 1
    assert result["hanging_transactions"] == 1
    assert result["broker_kills"] == 1
    assert result["leaders_moved"] > 0
    assert result["partitions_added"] > 0
    assert result["alerts_expected"] > 10


# --- the judges ----------------------------------------------------------------------------------


def test_the_same_messages_are_sound() -> None:
    verdict = compare(EXPECTED, EXPECTED)
    assert verdict.sound
    assert (verdict.expected, verdict.found) == (10, 10)


def test_two_shards_may_interleave_as_they_please_but_each_keeps_its_order() -> None:
    other = [each for each in EXPECTED if each[0][1]] + [e for e in EXPECTED if not e[0][1]]
    assert compare(EXPECTED, other, shards=2).sound
    assert compare(EXPECTED, other, shards=1).differing > 0
    other[0], other[1] = other[1], other[0]
    assert compare(EXPECTED, other, shards=2).differing == 2


def test_what_is_lost_doubled_and_different_is_counted_apart() -> None:
    lost = compare(EXPECTED, EXPECTED[:4] + EXPECTED[5:])
    assert (lost.lost, lost.doubled, lost.differing) == (1, 0, 0)
    doubled = compare(EXPECTED, [*EXPECTED[:6], *EXPECTED[3:]])
    assert (doubled.lost, doubled.doubled, doubled.differing) == (0, 3, 0)
    assert doubled_sources([*EXPECTED, *EXPECTED[3:6]]) == 3
    assert doubled_sources(EXPECTED) == 0
    source, (key, value, _) = EXPECTED[7]
    changed = [*EXPECTED[:7], (source, (key, value, (("h", b"2"),))), *EXPECTED[8:]]
    assert compare(EXPECTED, changed).differing == 1
    stranger = (("in", 0, 99), EXPECTED[0][1])
    assert compare(EXPECTED, [*EXPECTED, stranger]).differing == 1


def test_a_message_says_what_record_it_is_about() -> None:
    receipt = {"receipt": {"topic": "in", "partition": 3, "offset": 17}}
    alert = SimpleNamespace(value=json.dumps(receipt), headers=[("ce_id", b"x")])
    assert source_of(alert) == ("in", 3, 17)
    about = {"topic": b"in", "partition": b"2", "offset": b"5"}
    headers = [(f"__connect.errors.{name}", content) for name, content in about.items()]
    assert source_of(SimpleNamespace(value=b"\xff", headers=headers)) == ("in", 2, 5)
    monitors = {"id": "rate:m:a:t", "monitor": {}, **receipt}
    alert = SimpleNamespace(value=json.dumps(monitors), headers=[])
    assert source_of(alert) == ("in rate:m:a:t", 3, 17)
    ticks = {**monitors, "receipt": {"tick": "2024-01-01T00:00:00Z", "shard": 1}}
    alert = SimpleNamespace(value=json.dumps(ticks), headers=[])
    assert source_of(alert) == ("tick rate:m:a:t", 1, 0)


def letter(offset: int, *headers: tuple[str, bytes], value: bytes = b"{}") -> Written:
    return ("in", 0, offset), (b"k", value, headers)


def test_a_good_record_refused_and_a_bad_one_taken_are_found() -> None:
    planted = {("in", 0, 1): "empty", ("in", 0, 2): "nan"}
    refused = [letter(1, (PLANTED, b"empty")), letter(2, (PLANTED, b"nan"))]
    future = letter(3, value=f'{{"id":"e5{FUTURE}"}}'.encode())
    assert check_refused([*refused, future], planted) == []
    assert "taken for a good one" in check_refused(refused[:1], planted)[0]
    assert "good record was refused" in check_refused([*refused, letter(4)], planted)[0]
    assert "good record was refused" in check_refused([*refused, future, future], planted)[0]
    aborted = letter(5, (PLANTED, ABORTED.encode()))
    assert "aborted record was read" in check_refused([*refused, aborted], planted)[0]


def journal(**change: Any) -> list[tuple[int, bytes]]:
    records = [
        {"shard": 0, "number": 1, "steps": [[["in", 0, 0, 10]]], "fingerprint": "a"},
        {"shard": 0, "number": 2, "steps": [[["in", 0, 10, 15]], [["in", 0, 15, 20]]]},
        {"shard": 0, "number": 3, "steps": [], "lost": [["in", 0, 20, 25]]},
        {"shard": 0, "number": 4, "steps": [[["in", 0, 25, 30]]], "fingerprint": "d"},
    ]
    records[1] |= change
    return [(0, json.dumps({"fingerprint": "-", **record}).encode()) for record in records]


def test_a_journal_without_gaps_is_sound() -> None:
    findings = check_journal(journal(), {("in", 0): (0, 30)})
    assert findings.problems == []
    assert (findings.records, findings.events, findings.fingerprints) == (4, 30, {0: "d"})


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"number": 3}, "record 3 of shard 0 is the 2th"),
        ({"shard": 1}, "of shard 1"),
        ({"steps": [[["in", 0, 11, 20]]]}, "gap"),
        ({"steps": [[["in", 0, 9, 20]]]}, "overlap"),
        ({"steps": [[["in", 0, 15, 20]], [["in", 0, 10, 15]]]}, "gap"),
        ({"steps": [[["in", 0, 10, 15]]]}, "gap"),
    ],
)
def test_what_a_journal_lacks_or_says_twice_is_found(change: dict[str, Any], problem: str) -> None:
    findings = check_journal(journal(**change), {("in", 0): (0, 30)})
    assert any(problem in each for each in findings.problems), findings.problems


@pytest.mark.parametrize(("start", "end"), [(0, 31), (1, 30), (0, 29)])
def test_a_journal_that_does_not_fit_the_logs_is_found(start: int, end: int) -> None:
    assert check_journal(journal(), {("in", 0): (start, end)}).problems


def test_a_partition_in_another_shards_journal_is_found() -> None:
    findings = check_journal(journal(), {("in", 0): (0, 30), ("in", 1): (0, 0)}, shards=2)
    assert findings.problems == []
    wrong = [(0, value.replace(b'"in", 0', b'"in", 1')) for _, value in journal()]
    findings = check_journal(wrong, {("in", 1): (0, 30)}, shards=2)
    assert any("stands in the journal of shard 0" in each for each in findings.problems)


# --- faults and growth ---------------------------------------------------------------------------


def test_a_seed_decides_the_faults_and_each_point_comes_several_times() -> None:
    def first(seed: int, count: int = 300) -> list[Fault]:
        faults = plan(seed, "phase", several=True)
        return [next(faults) for _ in range(count)]

    assert first(1) == first(1)
    assert first(1) != first(2)
    assert {fault.point for fault in first(1) if fault.kind == "failpoint"} == set(BACKLOG_POINTS)
    assert {fault.kind for fault in first(1)} >= {"broker_kill", "join", "leave_group", "freeze"}
    assert sorted(fault.point for fault in every_failpoint(3)) == sorted(BACKLOG_POINTS)
    live = plan(1, "live-2", several=True)
    assert {next(live).point for _ in range(300)} >= set(POINTS)
    single = plan(1, "phase", several=False)
    assert "join" not in {next(single).kind for _ in range(300)}
    assert Fault("join").to_json() == {"kind": "join"}
    assert replace(Fault("kill_early"), seconds=1.5).to_json()["seconds"] == 1.5


def noise(scale: float, count: int = 600) -> list[float]:
    generator = random.Random(5)
    return [generator.gauss(0, scale) for _ in range(count)]


@pytest.mark.parametrize("name", ["leak", "leak behind noise", "staircase"])
def test_growth_is_seen(name: str) -> None:
    every: dict[str, list[float]] = {
        "leak": [180 + 0.02 * at for at in range(600)],
        "leak behind noise": [180 + 0.02 * at + each for at, each in enumerate(noise(1.5))],
        "staircase": [180 + 2 * (at // 60) for at in range(600)],
    }
    assert judge_growth(every[name], ALLOWED["rss_mib"]).grows


@pytest.mark.parametrize(
    "name", ["flat", "noise", "warm-up", "step", "peaks", "saw", "shrinking", "settling"]
)
def test_what_is_no_growth_is_not_taken_for_it(name: str) -> None:
    every: dict[str, list[float]] = {
        "flat": [180.0] * 600,
        "noise": [180 + each for each in noise(2.0)],
        "warm-up": [min(180.0, 100 + at) for at in range(600)],
        "step": [180.0 if at < 350 else 186.0 for at in range(600)],
        "peaks": [180 + (60 if at % 50 > 45 else 0) for at in range(600)],
        "saw": [180 + at % 60 / 4 for at in range(600)],
        "shrinking": [200 - 0.05 * at for at in range(600)],
        "settling": [180 - 40 * 0.98**at for at in range(600)],
    }
    assert not judge_growth(every[name], ALLOWED["rss_mib"]).grows


def test_a_descriptor_left_behind_by_every_restart_of_the_broker_is_seen() -> None:
    leaking = [20.0 + at // 60 for at in range(600)]
    flapping = [20.0 + (3 if at % 60 < 5 else 0) for at in range(600)]
    assert judge_growth(leaking, ALLOWED["descriptors"]).grows
    assert not judge_growth(flapping, ALLOWED["descriptors"]).grows
    assert not judge_growth(leaking[:1] * 600, ALLOWED["threads"]).grows


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="too few"):
        judge_growth([1.0] * 10, ALLOWED["threads"])
