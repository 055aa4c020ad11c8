r"""What monitors cost: CPU an event beside the default, and memory over a long stream.

    python -m benchmarks.rates.cost                  # CPU of 100,000 keys in two monitors
    python -m benchmarks.rates.cost --memory 10_000_000 --write

Two pipelines of the default detector with the windows of `make bench`, one with monitors and one
without, are given the same slices in turns, so what else is at work on the machine slows both. What
is counted is the time of the process, and of the clock, without Kafka. A round is an hour of the
stream, in which each key has one event. Before the first, monitors are given the memory of a week:
every key is judged at every width, in every hour of the season. ``--write`` keeps the figures in
``results/monitor_cost.json`` and ``results/monitor_memory.json``; with ``--alone``, which leaves
out decoder, windows and detector, in ``results/monitor_memory_alone.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from stream_detector.config import FieldPlan, state_fingerprint
from stream_detector.config.loading.load import parse
from stream_detector.decoding import Decoder
from stream_detector.events import PlainRecord, TopicPartition
from stream_detector.monitors import MonitorEvents, build_monitor
from stream_detector.pipeline import PipelineCore
from stream_detector.tables.lookups import Lookups

START_MS = 1_704_067_200_000
HOUR_MS = 3_600_000
SLICE = 20_000
POLL = 2500
WARM_HOURS = 3
RESULTS = Path(__file__).resolve().parents[1] / "results"

MONITORS: list[dict[str, Any]] = [
    {"kind": "rate", "name": "level", "key": "customer", "season": "none"},
    {"kind": "rate", "name": "day", "key": "customer", "season": "hour_of_day"},
]


def configuration(keys: int, *, monitored: bool, detector: str = "ensemble") -> dict[str, Any]:
    made: dict[str, Any] = {
        "name": "cost",
        "event": {"time": {"field": "time", "format": "unix_ms"}},
        "features": [{"numeric": "amount", "transform": "log"}, {"time": "night"}],
        "windows": [
            {
                "key": key,
                "value": "amount",
                "half_lives": ["17h", "5d", "21d"],
                "compute": ["count", "mean", "deviation"],
                "max_keys": keys,
            }
            for key in ("customer", "terminal")
        ],
        "detector": {"kind": detector},
        "threshold": {"budget": "0.1 %"},
    }
    if detector != "ensemble":
        made.update(windows=[], detector={"kind": detector, "trees": 2, "depth": 2})
    if monitored:
        made["monitors"] = [{**monitor, "max_keys": keys} for monitor in MONITORS]
    return made


def slices(keys: int, an_hour: int, seed: int = 0) -> Iterator[list[bytes]]:
    """Events in JSON, ``SLICE`` at a time without an end: ``an_hour`` of each key an hour."""
    random = np.random.default_rng(seed)
    step_ms = HOUR_MS / (keys * an_hour)
    number = 0
    while True:
        times = (START_MS + (number + np.arange(SLICE)) * step_ms).astype(np.int64).tolist()
        customers = random.integers(0, keys, SLICE).tolist()
        terminals = random.integers(0, 2000, SLICE).tolist()
        amounts = random.lognormal(3, 1, SLICE).round(2).tolist()
        rows = zip(times, customers, terminals, amounts, strict=True)
        yield [
            b'{"time":%d,"customer":"customer-%d","terminal":"t%d","amount":%.2f}' % row
            for row in rows
        ]
        number += SLICE


class Shard:
    """Decoder and pipeline as the daemon has them, without Kafka."""

    def __init__(self, settings: dict[str, Any]) -> None:
        config = parse(json.dumps(settings), "cost", {}).config
        self._decoder = Decoder(config, FieldPlan.of(config))
        self._core = PipelineCore(config, state_fingerprint(config))
        self._source, self._next = TopicPartition("events", 0), 0

    def spend(self, events: list[bytes]) -> tuple[float, float]:
        """Take a slice; seconds of this process, and of the clock."""
        records = [PlainRecord(self._next + i, -1, None, value) for i, value in enumerate(events)]
        self._next += len(events)
        began, clock = time.process_time(), time.perf_counter()
        for first in range(0, len(records), POLL):
            self._core.process(self._decoder.decode(self._source, records[first : first + POLL]))
        return time.process_time() - began, time.perf_counter() - clock

    def age(self) -> None:
        """Have monitors know a week of one event an hour of every key, by chance."""
        state = self._core.state()
        random = np.random.default_rng(1)
        for monitor in state["monitors"].values():
            keys, buckets = monitor["actual"].shape
            monitor["actual"] = random.poisson(1.0, (keys, buckets)).astype(float)
            monitor["expected"] = np.ones((keys, buckets))
            monitor["usual"] = np.ones(monitor["usual"].shape)
            monitor["seen"] = np.full(monitor["seen"].shape, 100.0)
            monitor["run"] = np.full(keys, 168.0)
        self._core.restore(state)


def compare(keys: int, rounds: int) -> dict[str, Any]:
    """CPU and clock without and with monitors, in slices with the end of an hour and without."""
    plain = Shard(configuration(keys, monitored=False))
    watched = Shard(configuration(keys, monitored=True))
    stream = slices(keys, 1)
    of_hour = keys // SLICE
    for number in range(WARM_HOURS * of_hour):
        if number == (WARM_HOURS - 1) * of_hour:
            watched.age()
        events = next(stream)
        plain.spend(events)
        watched.spend(events)
    spent = np.empty((2, rounds, of_hour, 2))  # without or with; hour; slice; process or clock
    for number in range(rounds * of_hour):
        events = next(stream)
        for which in (0, 1) if number % 2 else (1, 0):
            shard = (plain, watched)[which]
            spent[which, number // of_hour, number % of_hour] = shard.spend(events)
    hours = spent.sum(axis=2)
    more = (hours[1] / hours[0] - 1).round(3)
    # The first slice of an hour closes the one before.
    process = spent[..., 0] / SLICE * 1e6
    base, counting = np.median(process[0]), np.median(process[1, :, 1:] - process[0, :, 1:])
    closing = np.median(process[1, :, 0] - process[0, :, 0]) - counting
    return {
        "keys": keys,
        "rounds": rounds,
        "default_us": round(float(base), 2),
        "count_us": round(float(counting), 2),
        "close_seconds": round(float(closing) * SLICE / 1e6, 3),
        "more_cpu_at_1": {"median": median(more[:, 0].tolist()), "rounds": more[:, 0].tolist()},
        "more_wall_at_1": {"median": median(more[:, 1].tolist()), "rounds": more[:, 1].tolist()},
        **{
            f"more_cpu_at_{an_hour}": round(
                float((counting + closing * SLICE / (keys * an_hour)) / base), 3
            )
            for an_hour in (10, 100)
        },
    }


def resident_mib() -> float:
    text = Path("/proc/self/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0]) / 1024


class Alone:
    """The two monitors without decoder, windows or detector."""

    def __init__(self, keys: int) -> None:
        settings = configuration(keys, monitored=True)
        each = parse(json.dumps(settings), "cost", {}).config.monitors
        self._monitors = [build_monitor(monitor) for monitor in each]
        self._names = [f"customer-{number}" for number in range(keys * 3 // 2)]
        self._random = np.random.default_rng(0)
        self._step_ms = HOUR_MS / (len(self._names) * 10)
        self._next = 0

    def spend(self) -> None:
        """Count a slice of events."""
        for _ in range(0, SLICE, POLL):
            chosen = self._random.integers(0, len(self._names), POLL).tolist()
            numbers = self._next + np.arange(POLL)
            times_ms = (START_MS + numbers * self._step_ms).astype(np.int64)
            texts = {"customer": [self._names[number] for number in chosen]}
            events = MonitorEvents(times_ms, times_ms, text=texts, lookups=Lookups(POLL))
            for monitor in self._monitors:
                monitor.take(events)
            self._next += POLL


def memory(keys: int, events: int, *, alone: bool) -> dict[str, Any]:
    """Resident memory at tenths of a stream that has half as many keys again as are remembered."""
    seen, marks = 0, []
    if alone:
        turn = Alone(keys).spend
    else:
        shard = Shard(configuration(keys, monitored=True, detector="half_space_forest"))
        stream = slices(keys * 3 // 2, 10)

        def turn() -> None:
            shard.spend(next(stream))

    while seen < events:
        turn()
        seen += SLICE
        if seen >= events * (len(marks) + 1) // 10:
            marks.append(round(resident_mib()))
            print(f"{seen:,} events: {marks[-1]} MiB", flush=True)
    return {"keys": keys, "events": seen, "resident_mib": marks}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keys", type=int, default=100_000, help="a multiple of 20,000")
    parser.add_argument("--rounds", type=int, default=7, help="hours of the stream")
    parser.add_argument("--memory", type=int, help="watch memory over so many events instead")
    parser.add_argument("--alone", action="store_true", help="memory of the monitors alone")
    parser.add_argument("--write", action="store_true", help="keep the figures")
    arguments = parser.parse_args()
    if arguments.memory:
        name = "monitor_memory_alone" if arguments.alone else "monitor_memory"
        figures = memory(arguments.keys, arguments.memory, alone=arguments.alone)
    else:
        name, figures = "monitor_cost", compare(arguments.keys, arguments.rounds)
    print(json.dumps(figures))
    if arguments.write:
        (RESULTS / f"{name}.json").write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
