"""Runs `make test` again and again while something else keeps the processors busy.

    python tests/weather.py [--runs 10] [--busy 2] [--limit 3600] [-- ARGUMENTS OF MAKE]

Each run is green, or red with names. None can stand still: pytest has its guard, and a run that is
not over after ``--limit`` seconds is killed from here and counted as standing. Exit code 0 only
where all were green.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
BUSY_LOOP = "import os\nwhile os.getppid() == {parent}:\n    sum(range(100_000))"
LAST_LINES = 5
NAMED = re.compile(r"^(?:FAILED|ERROR|RED:) ?.*|^  (?:gw\d+|main): .*", re.MULTILINE)
TOTALS = re.compile(r"^=* ?(\d+ (?:passed|failed|error).*?) ?=*$", re.MULTILINE)


@contextlib.contextmanager
def busy_loops(count: int) -> Iterator[None]:
    """Processes that do nothing but compute; they end with this one at the latest."""
    loop = BUSY_LOOP.format(parent=os.getpid())
    loops = [subprocess.Popen([sys.executable, "-c", loop]) for _ in range(count)]
    try:
        yield
    finally:
        for each in loops:
            each.kill()
            each.wait(10)


def one_run(log: Path, limit: float, arguments: list[str]) -> tuple[str, list[str]]:
    """The verdict of a run (green, RED, STANDING) with what it named; its output is in ``log``."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["make", "--no-print-directory", "test", *arguments],
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code: int | None = process.wait(limit)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # its guard sweeps up the rest
            process.wait(10)
    text = log.read_text(errors="replace")
    totals = TOTALS.findall(text)[-1:]
    if code == 0:
        return "green", totals
    # Where pytest has not even begun, the last lines are all there is.
    named = totals + NAMED.findall(text) or text.splitlines()[-LAST_LINES:]
    return ("RED" if code is not None else "STANDING"), named


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(description="Run `make test` often, on busy processors.")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--busy", type=int, default=2, help="loops beside it")
    parser.add_argument("--limit", type=float, default=3600.0, help="seconds of a run")
    parser.add_argument("--logs", type=Path, default=REPOSITORY / ".cache" / "weather")
    parser.add_argument("make", nargs="*", help="arguments of make, such as TESTS=tests/test_x.py")
    given = parser.parse_args(arguments)
    given.logs.mkdir(parents=True, exist_ok=True)
    verdicts = []
    with busy_loops(given.busy):
        for number in range(1, given.runs + 1):
            began = time.monotonic()
            log = given.logs / f"run-{number}.log"
            verdict, named = one_run(log, given.limit, given.make)
            verdicts.append(verdict)
            seconds = time.monotonic() - began
            print(f"run {number}: {verdict} in {seconds:.0f} s", *named, sep="\n  ", flush=True)
    counts = ", ".join(f"{verdicts.count(each)} {each}" for each in ("green", "RED", "STANDING"))
    print(f"{given.runs} runs with {given.busy} busy loops: {counts}; logs in {given.logs}")
    return 0 if set(verdicts) == {"green"} else 1


if __name__ == "__main__":
    sys.exit(main())
