r"""What monitors cost: CPU an event beside the default, and memory over a long stream.

    python -m benchmarks.rates.cost                  # CPU of 100,000 keys in two monitors
    python -m benchmarks.rates.cost --memory 10_000_000

Two pipelines of the default detector with the windows of `make bench`, one with monitors and one
without, are given the same slices in turns, so what else is at work on the machine slows both. What
is counted is the time of the process, without Kafka.
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
from stream_detector.pipeline import PipelineCore

START_MS = 1_704_067_200_000
HOUR_MS = 3_600_000
SLICE = 20_000
POLL = 2500

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

    def spend(self, events: list[bytes]) -> float:
        """Take a slice; seconds of this process."""
        records = [PlainRecord(self._next + i, -1, None, value) for i, value in enumerate(events)]
        self._next += len(events)
        began = time.process_time()
        for first in range(0, len(records), POLL):
            self._core.process(self._decoder.decode(self._source, records[first : first + POLL]))
        return time.process_time() - began


def compare(keys: int, rounds: int) -> dict[str, Any]:
    """CPU an event without and with monitors, in slices with the end of an hour and without."""
    plain = Shard(configuration(keys, monitored=False))
    watched = Shard(configuration(keys, monitored=True))
    stream = slices(keys, 1)
    for _ in range(
        6 * keys // SLICE
    ):  # six hours: every key is known, the widest but one looked at
        events = next(stream)
        plain.spend(events)
        watched.spend(events)
    without: list[float] = []
    with_monitors: list[float] = []
    for number in range(rounds * keys // SLICE):
        events = next(stream)
        turns = [(plain, without), (watched, with_monitors)]
        for shard, times in turns if number % 2 else reversed(turns):
            times.append(shard.spend(events) / SLICE * 1e6)
    # The first slice of an hour closes the one before.
    of_hour = keys // SLICE
    more = [b - a for a, b in zip(without, with_monitors, strict=True)]
    closing, counting = more[::of_hour], [x for i, x in enumerate(more) if i % of_hour]
    base, count = median(without), median(counting)
    close = (median(closing) - count) * SLICE / 1e6
    return {
        "keys": keys,
        "default_us": round(base, 2),
        "count_us": round(count, 2),
        "close_seconds": round(close, 3),
        **{
            f"share_at_{an_hour}": round((count + close * 1e6 / (keys * an_hour)) / base, 3)
            for an_hour in (1, 10, 100)
        },
    }


def resident_mib() -> float:
    text = Path("/proc/self/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0]) / 1024


def memory(keys: int, events: int) -> dict[str, Any]:
    """Resident memory at tenths of a stream that has half as many keys again as are remembered."""
    shard = Shard(configuration(keys, monitored=True, detector="half_space_forest"))
    stream = slices(keys * 3 // 2, 10)
    seen, marks = 0, []
    while seen < events:
        shard.spend(next(stream))
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
    arguments = parser.parse_args()
    if arguments.memory:
        print(json.dumps(memory(arguments.keys, arguments.memory)))
    else:
        print(json.dumps(compare(arguments.keys, arguments.rounds)))


if __name__ == "__main__":
    main()
