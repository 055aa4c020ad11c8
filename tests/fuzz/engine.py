"""Runs a target's workers, and takes their death or silence for an answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

from fuzz.worker import DEADLINE_SECONDS, NUMBER_BYTES

TESTS = Path(__file__).resolve().parents[1]
START_SECONDS = 240.0
"""For a worker to import its reader and make the seeds."""

SILENCE_SECONDS = 12 * DEADLINE_SECONDS
"""A worker hangs in native code, where its own alarm does not reach it, or waits for something.
By the clock, and the machine may have other work."""

MOST_DEATHS = 20
"""Workers of a target that may die before it is given up."""

_ENVIRONMENT = {
    "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}",
    "PYTHONFAULTHANDLER": "1",
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
}
UNENDING = 2**40


@dataclass(frozen=True, slots=True)
class Finding:
    """An input that a reader fell over.

    Attributes:
        where: exception and place, or how the process died; alike for the same defect.
        about: what else was said.
        number: of the mutant, which with the seed makes it again.
        data: the input.
    """

    where: str
    about: str
    number: int
    data: bytes = field(repr=False)


@dataclass(slots=True)
class Outcome:
    """What a target's run came to.

    Attributes:
        results: inputs by result: ``taken in``, ``refused``, ``findings``.
        findings: the first, and the smallest, of each place.
        peak_mib: most memory that a worker took.
        slowest: seconds of the slowest input.
        trouble: why the run ended early; empty where it did not.
    """

    results: Counter[str] = field(default_factory=Counter)
    findings: dict[str, Finding] = field(default_factory=dict)
    peak_mib: float = 0.0
    slowest: float = 0.0
    trouble: str = ""

    def add(self, finding: Finding) -> None:
        """Keep the smallest of each place."""
        known = self.findings.get(finding.where)
        if known is None or len(finding.data) < len(known.data):
            self.findings[finding.where] = finding


def run(name: str, seed: int, seconds: float, count: int = UNENDING) -> Outcome:
    """Try mutants on a target for so long, or so many."""
    outcome = Outcome()
    until, first, last = time.monotonic() + seconds, 0, count
    with tempfile.TemporaryDirectory(prefix="fuzz-") as room:
        for _ in range(MOST_DEATHS):
            left = until - time.monotonic()
            if left <= 0 or first >= last:
                return outcome
            following = _one_worker(name, seed, (first, last - first), left, Path(room), outcome)
            if following is None:
                return outcome
            first = following
    outcome.trouble = f"{MOST_DEATHS} workers have died"
    return outcome


def _one_worker(
    name: str, seed: int, numbers: tuple[int, int], seconds: float, room: Path, outcome: Outcome
) -> int | None:
    """Run one worker to its end or death; the number to go on with, None where all is done."""
    current = room / "current"
    current.unlink(missing_ok=True)
    command = [sys.executable, "-m", "fuzz.worker", name, str(seed), *map(str, numbers)]
    with subprocess.Popen(
        [*command, str(seconds), str(room)],
        stdout=subprocess.PIPE,
        stderr=(room / "stderr").open("wb"),
        cwd=TESTS,
        env={**os.environ, **_ENVIRONMENT},
        text=True,
    ) as worker:
        silent = threading.Event()
        watch = threading.Thread(target=_watch, args=(worker, current, silent), daemon=True)
        watch.start()
        ended = False
        for line in _lines(worker):
            if line["kind"] == "finding":
                data = bytes.fromhex(line["data"])
                outcome.add(Finding(line["where"], line["about"], line["number"], data))
            else:
                ended = True
                outcome.results.update(line["results"])
                outcome.slowest = max(outcome.slowest, line["slowest"])
                outcome.peak_mib = max(outcome.peak_mib, line["peak_mib"])
        # The watch kills what goes on to no other input, and what does not end.
        code = worker.wait(SILENCE_SECONDS + START_SECONDS)
        watch.join(START_SECONDS)
    if ended:
        return None
    errors = (room / "stderr").read_text(errors="replace")[-3000:]
    if code == 1 or not current.exists():  # what a reader raises is caught
        outcome.trouble = f"the worker itself does not work (exit code {code}): {errors}"
        return None
    held = current.read_bytes()
    number, data = int.from_bytes(held[:NUMBER_BYTES], "little"), held[NUMBER_BYTES:]
    where = "hangs in native code" if silent.is_set() else f"dies with {code}"
    outcome.results["findings"] += 1
    outcome.results["before a death"] += number - numbers[0]
    outcome.add(Finding(where, errors, number, data))
    return number + 1


def _lines(worker: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    assert worker.stdout is not None
    for line in worker.stdout:
        try:
            said = json.loads(line)
        except ValueError:
            continue  # a reader has printed something
        if isinstance(said, dict) and "kind" in said:
            yield said


def _watch(worker: subprocess.Popen[str], current: Path, silent: threading.Event) -> None:
    """Kill a worker that has gone on to no other input for too long."""
    seen, since = "", time.monotonic()
    while worker.poll() is None:
        time.sleep(0.05)
        now = f"{current.stat().st_mtime_ns}" if current.exists() else ""
        if now != seen:
            seen, since = now, time.monotonic()
        elif time.monotonic() - since > (SILENCE_SECONDS if seen else START_SECONDS):
            silent.set()
            worker.kill()
            return


def keep(finding: Finding, room: Path) -> Path:
    """Write the input where the tests read it again; its file."""
    room.mkdir(parents=True, exist_ok=True)
    path = room / f"{blake2b(finding.data, digest_size=6).hexdigest()}.bin"
    path.write_bytes(finding.data)
    return path
