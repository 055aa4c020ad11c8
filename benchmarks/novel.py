"""Planted values that a key has never had, in real streams: how many a monitor finds first.

    python benchmarks/novel.py [--draws 1 2 3 4 5] [--data DIR] [--write]

Into departures (carrier and destination, carrier and tail number) and card transactions (customer
and terminal) 100 values are planted after a burn-in (60 days; 30), each drawn by lot from the
values of all keys, into an event drawn by lot, whose key has it nowhere else in the stream. The
monitor ranks what it finds by its score. Beside it the plain set a key: everything that is new to
its key is an alert, in no order (what a random order gives is expected), and the same ranked by how
many events the key had before, as a learning period would. Reported are hits among the first 100,
and among as many as one in 1,000 events after the burn-in. Methods were tried out on draws 101 and
102. ``--write`` puts the table into docs/monitors.md.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from quality.data import data_directory

from stream_detector.events import Int64
from stream_detector.monitors import MonitorEvents
from stream_detector.monitors.new_values import NewValueMonitor, NewValueMonitorConfig

DAY_MS = 86_400_000
PLANTED, FIRST = 100, 100
BATCH = 2048
PAGE = Path(__file__).resolve().parents[1] / "docs" / "monitors.md"
BEGIN, END = "<!-- novel -->\n", "<!-- end -->"


@dataclass(frozen=True, slots=True)
class Stream:
    """Times, keys and values, in the order of time; what comes before ``first`` is burn-in."""

    name: str
    times_ms: Int64
    keys: Sequence[str]
    values: Sequence[str]
    first: int


def read(directory: Path, name: str) -> Stream:
    """One of the three streams."""
    file, columns, days = {
        "carrier, destination": ("flight_departures", ("time", "carrier", "dest"), 60),
        "carrier, tail number": ("flight_departures", ("time", "carrier", "tailnum"), 60),
        "customer, terminal": (
            "card_transactions",
            ("TX_DATETIME", "CUSTOMER_ID", "TERMINAL_ID"),
            30,
        ),
    }[name]
    with gzip.open(directory / f"{file}.csv.gz", "rt", newline="") as lines:
        rows = [tuple(row[column] for column in columns) for row in csv.DictReader(lines)]
    rows = [row for row in rows if row[2]]
    times = np.array([row[0] for row in rows], dtype="datetime64[ms]").astype(np.int64)
    first = int(np.searchsorted(times, times[0] + days * DAY_MS))
    return Stream(name, times, [row[1] for row in rows], [row[2] for row in rows], first)


def planted(stream: Stream, draw: int) -> tuple[list[str], set[int]]:
    """The values with 100 planted ones among them, and their rows."""
    random = np.random.default_rng(draw)
    values, rows = list(stream.values), set[int]()
    have = set(zip(stream.keys, stream.values, strict=True))
    every = sorted(set(values))
    while len(rows) < PLANTED:
        row = int(random.integers(stream.first, len(values)))
        value = every[int(random.integers(len(every)))]
        if row not in rows and (stream.keys[row], value) not in have:
            have.add((stream.keys[row], value))
            values[row] = value
            rows.add(row)
    return values, rows


def ranked_by_monitor(stream: Stream, values: list[str]) -> tuple[list[int], float]:
    """Rows of what is found after the burn-in, the strangest first, and microseconds an event."""
    config = NewValueMonitorConfig(name="novel", key="k", field="v", p=0.1, after=0)
    monitor = NewValueMonitor(config)
    marks = np.maximum.accumulate(stream.times_ms)
    found: list[tuple[float, int]] = []
    began = time.process_time()
    for start in range(0, len(values), BATCH):
        part = slice(start, start + BATCH)
        text = {"k": stream.keys[part], "v": values[part]}
        for row, findings in monitor.take(
            MonitorEvents(stream.times_ms[part], marks[part], text=text)
        ):
            found.append((-findings[0].score, start + row))
    cost = (time.process_time() - began) / len(values) * 1e6
    return [row for _, row in sorted(found) if row >= stream.first], cost


def new_to_their_keys(stream: Stream, values: list[str]) -> list[int]:
    """Rows after the burn-in that a plain set a key flags, those of the busiest keys first."""
    seen: set[tuple[str, str]] = set()
    events: Counter[str] = Counter()
    flagged = []
    for row, pair in enumerate(zip(stream.keys, values, strict=True)):
        if row >= stream.first and pair not in seen:
            flagged.append((-events[pair[0]], row))
        seen.add(pair)
        events[pair[0]] += 1
    return [row for _, row in sorted(flagged)]


def measure(stream: Stream, draws: Sequence[int]) -> str:
    """The lines of the table that a stream has."""
    budget = (len(stream.values) - stream.first) // 1000
    results: dict[str, list[tuple[float, float]]] = {}
    costs, flagged = [], []
    for draw in draws:
        values, rows = planted(stream, draw)
        found, cost = ranked_by_monitor(stream, values)
        costs.append(cost)
        new = new_to_their_keys(stream, values)
        flagged.append(len(new))
        ranked = {"monitor": found, "set a key, busiest keys first": new}
        for name, order in ranked.items():
            hits = [sum(row in rows for row in order[:count]) for count in (FIRST, budget)]
            results.setdefault(name, []).append((hits[0], hits[1]))
        share = PLANTED / len(new)
        by_chance = [min(count, len(new)) * share for count in (FIRST, budget)]
        results.setdefault("set a key, in no order", []).append((by_chance[0], by_chance[1]))
    print(f"{stream.name}: {np.median(costs):.1f} microseconds an event", flush=True)
    lines = []
    for name, pairs in sorted(results.items()):
        first, share = (
            f"{_short(np.median(column))} ({_short(min(column))} to {_short(max(column))})"
            for column in zip(*pairs, strict=True)
        )
        lines.append(
            f"| {stream.name} | {name} | {np.median(flagged):,.0f} | {first} | {budget:,} | "
            f"{share} |"
        )
    return "\n".join(lines)


def _short(number: float) -> str:
    return f"{number:.0f}" if number >= 1 or number == 0 else f"{number:.2f}".lstrip("0")


def main() -> None:
    """Measure, print and, where asked, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    directory = data_directory(arguments.data)
    names = ("carrier, destination", "carrier, tail number", "customer, terminal")
    parts = [measure(read(directory, name), arguments.draws) for name in names]
    table = (
        "| key, value | method | new to their keys | of the 100 planted among the first 100 | "
        "alerts at 0.1 % | of the 100 planted among these |\n|---|---|---|---|---|---|\n"
        + "\n".join(parts)
        + "\n"
    )
    print(table)
    if arguments.write:
        before, _, after = PAGE.read_text().partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n{table}\n{END}{after.partition(END)[2]}")


if __name__ == "__main__":
    main()
