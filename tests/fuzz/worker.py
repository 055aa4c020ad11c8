"""One process that tries mutants on a target.

``python -m fuzz.worker TARGET SEED FIRST COUNT SECONDS ROOM``.

It says on standard output what it finds and, at its end, what it did. The input in hand lies in
the file ``ROOM/current`` with its number before it, so that whoever looks after this process knows
what it died of.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

from fuzz.target import load

ROOM_BYTES = 1 << 30
"""Address space beyond what the process has once the seeds are made."""

DEADLINE_SECONDS = 10.0
NUMBER_BYTES = 8


class HangError(BaseException):
    """An input takes more of the processor than it may; past every ``except Exception``."""


def _too_long(_number: int, _frame: Any) -> None:
    raise HangError(f"not read within {DEADLINE_SECONDS:g} s of processor time")


def limit_memory() -> None:
    """Allow ``ROOM_BYTES`` more than is taken now."""
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + ROOM_BYTES, taken + ROOM_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def say(kind: str, **values: Any) -> None:
    """A line of JSON for the parent."""
    print(json.dumps({"kind": kind, **values}), flush=True)


def main() -> None:
    """Try mutants ``FIRST`` and after, until the count is reached or the parent has had enough."""
    name, seed, first, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    seconds, room = float(sys.argv[5]), Path(sys.argv[6])
    target = load(name)
    seeds = target.seeds()
    taken_in = sum(map(target.read, seeds))
    if taken_in < len(seeds):
        raise SystemExit(f"{name}: of {len(seeds)} seeds only {taken_in} are taken in")
    limit_memory()
    signal.signal(signal.SIGPROF, _too_long)
    current = os.open(room / "current", os.O_WRONLY | os.O_CREAT, 0o600)
    until = time.monotonic() + seconds
    results: Counter[str] = Counter()
    slowest = 0.0
    number = first
    while number < first + count and time.monotonic() < until:
        data = target.mutate(Random(f"{seed}/{number}"), seeds)
        os.pwrite(current, number.to_bytes(NUMBER_BYTES, "little") + data, 0)
        os.ftruncate(current, NUMBER_BYTES + len(data))
        begin = time.perf_counter()
        signal.setitimer(signal.ITIMER_PROF, DEADLINE_SECONDS)
        try:
            results["taken in" if target.read(data) else "refused"] += 1
        except (Exception, SystemExit, HangError) as error:  # noqa: BLE001 - whatever it is
            signal.setitimer(signal.ITIMER_PROF, 0)
            results["findings"] += 1
            frame = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{type(error).__name__} at {Path(frame.filename).name}:{frame.name}"
            about = "".join(traceback.format_exception(error)[-6:])
            say("finding", number=number, where=where, about=about, data=data.hex())
        signal.setitimer(signal.ITIMER_PROF, 0)
        slowest = max(slowest, time.perf_counter() - begin)
        number += 1
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    say("end", next=number, results=results, slowest=slowest, peak_mib=peak / 1024)


if __name__ == "__main__":
    main()
