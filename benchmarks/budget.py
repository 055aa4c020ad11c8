"""Whether the share of alerts keeps its budget, and how soon after a jump.

    python benchmarks/budget.py [--budget 1] [--json FILE]

The default detector through the pipeline on public streams of 40,000 rows and more, shuffled with
seed 0 (so that they are stationary), budget in percent. Printed: the largest factor by which the
share of raised events over 10,000 events after the first 10,000 is off the budget (1 is exact), and
after half of the features have jumped by three deviations in the middle of the stream, how many
events pass until every 10,000 events are within a factor of 1.25 again.

Data: ``--data DIR``, else ``STREAM_DETECTOR_DATA``, else ``../shared/data`` beside the repository.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from quality.data import data_directory, load
from quality.own import configuration, events

from stream_detector.config.derived.fingerprint import state_fingerprint
from stream_detector.pipeline import PipelineCore

STREAMS = ("shuttle", "cover", "kdd_http", "kdd_smtp", "nsl_kdd", "kdd99_thinned")
WINDOW, STEP, FACTOR = 10_000, 1000, 1.25


def raised(rows: np.ndarray, budget: float) -> np.ndarray:
    """(rows,) which were above the threshold of their moment."""
    threshold = {"budget": f"{budget} %", "burn_in": 1000}
    config = configuration(rows.shape[1], {"threshold": threshold})
    pipeline = PipelineCore(config, state_fingerprint(config))
    parts = [
        pipeline.process(events(rows[start : start + 4096], start)).raised
        for start in range(0, len(rows), 4096)
    ]
    return np.concatenate(parts)


def factors(flags: np.ndarray, budget: float, first: int, step: int) -> np.ndarray:
    """By how much each window of 10,000 from ``first`` on is off, at least 1."""
    counts = np.concatenate([[0], np.cumsum(flags)])
    starts = np.arange(first, len(flags) - WINDOW + 1, step)
    shares = np.maximum((counts[starts + WINDOW] - counts[starts]) / WINDOW, 1e-9) / (budget / 100)
    return np.maximum(shares, 1 / shares)


def jump(rows: np.ndarray) -> np.ndarray:
    """Half of the features, by three deviations, from the middle on."""
    moved = rows.copy()
    half = np.arange(0, rows.shape[1], 2)
    moved[len(rows) // 2 :, half] += 3.0 * rows[:, half].std(axis=0)
    return moved


def measure(name: str, budget: float, most: int, directory: Path) -> dict[str, Any]:
    """Worst factor without a jump, and events until within 1.25 after one."""
    rows, _ = load(name, directory)
    rows = rows[np.random.default_rng(0).permutation(len(rows))][:most]
    steady = factors(raised(rows, budget), budget, WINDOW, WINDOW)
    flags = raised(jump(rows), budget)
    middle = len(rows) // 2
    after = factors(flags, budget, middle, STEP)
    off = np.flatnonzero(after > FACTOR)
    return {
        "rows": len(rows),
        "worst_factor": float(steady.max()),
        "events_until_back": int(off[-1] + 1) * STEP if len(off) else 0,
        "raised_in_the_first_1000_after": int(flags[middle : middle + 1000].sum()),
        "ends_within": bool(len(after) and after[-1] <= FACTOR),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--budget", type=float, default=1.0)
    parser.add_argument("--rows", type=int, default=200_000, help="at most, of each stream")
    parser.add_argument("--streams", default=",".join(STREAMS))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--data")
    arguments = parser.parse_args()
    found = {}
    for name in arguments.streams.split(","):
        found[name] = measure(
            name, arguments.budget, arguments.rows, data_directory(arguments.data)
        )
        print(f"{name:14}", *(f"{v!s:>20}" for v in found[name].values()), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
