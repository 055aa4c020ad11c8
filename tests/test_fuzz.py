"""The fuzzer finds what is planted; what it has found stays mended; some mutants, each time."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from fuzz import engine, worker
from fuzz.__main__ import CASES
from fuzz.shards import NAMES
from fuzz.target import load, names

KEPT = sorted(CASES.rglob("*.bin"))
SHORT = {"snapshot": 120, "river": 25}
"""Mutants of each target in the tests; of the others a thousand, which take a second."""

SLOW = {bytes([NAMES.index(name)]) for name in ("ensemble", "adwin", "river_classifier")}
"""Half a second of processor for each that is taken in, or a process."""


@pytest.mark.parametrize("path", KEPT, ids=[f"{p.parent.name}-{p.stem}" for p in KEPT])
def test_what_was_found_is_read_or_refused(path: Path) -> None:
    load(path.parent.name).read(path.read_bytes())


def test_every_finding_is_of_a_target() -> None:
    assert {path.parent.name for path in KEPT} <= set(names())


@pytest.mark.parametrize("name", names())
def test_mutants_are_read_or_refused(name: str) -> None:
    target = load(name)
    seeds = [one for one in target.seeds() if name not in SHORT or one[:1] not in SLOW]
    results = [
        target.read(target.mutate(Random(f"test/{number}"), seeds))
        for number in range(SHORT.get(name, 1000))
    ]
    assert len(set(results)) == 2, "some are taken in and some refused, or it says little"


def test_the_same_seed_makes_the_same_mutants() -> None:
    target = load("http")
    first, second = (
        [target.mutate(Random(f"1/{number}"), target.seeds()) for number in range(50)]
        for _ in range(2)
    )
    assert first == second
    assert len(set(first)) > 40


def test_every_planted_defect_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "SILENCE_SECONDS", 60.0)
    outcome = engine.run("fuzz.planted", seed=1, seconds=200, count=30)
    assert not outcome.trouble
    found = {where.split(" at ")[0] for where in outcome.findings}
    assert found == {"KeyError", "SystemExit", "HangError", "MemoryError", "dies with -11"}
    kept = {finding.data for finding in outcome.findings.values()}
    assert kept == {b"raises", b"exits", b"hangs", b"memory", b"crashes"}
    assert outcome.results["taken in"] > 0


def test_a_reader_that_hangs_in_native_code_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "SILENCE_SECONDS", 2.0)
    outcome = engine.run("fuzz.deaf", seed=1, seconds=60, count=1)
    (finding,) = outcome.findings.values()
    assert (finding.where, finding.data) == ("hangs in native code", b"wait")


def test_the_limit_on_memory_is_a_gigabyte() -> None:
    assert worker.ROOM_BYTES == 1 << 30
