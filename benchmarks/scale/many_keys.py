"""Ten million keys in buckets: bytes a key, and what a batch costs that touches every bucket.

    python -m benchmarks.scale.many_keys --keys 10000000 --buckets 64

Each bucket is what `stream-detector spark` keeps in a state of Spark's: it is read, a batch's
events are counted in, and it is written again. Here without Spark, one bucket after the other, in
files; divide by the cores.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from stream_detector.batches.keyed import FeaturePart
from stream_detector.batches.packing import pack, unpack
from stream_detector.config import Config, FieldPlan
from stream_detector.config.loading.load import parse
from stream_detector.decoding import Decoder
from stream_detector.events import EventBatch, PlainRecord, TopicPartition, object_column

SOURCE = TopicPartition("events", 0)
KEY = "customer"
STEP = 50_000


def configuration(most: int) -> Config:
    whole = {
        "name": "keys",
        "event": {"time": {"field": "time"}},
        "features": [{"numeric": "amount"}],
        "windows": [
            {
                "key": KEY,
                "value": "amount",
                "half_lives": ["17h", "5d", "21d"],
                "compute": ["count", "mean", "deviation"],
                "max_keys": most,
            }
        ],
    }
    return parse(json.dumps(whole), "keys.json", {}).config


class Traffic:
    """Batches of events with the keys that are asked for, an hour apart."""

    def __init__(self, config: Config) -> None:
        rng = np.random.default_rng(0)
        some = [
            PlainRecord(
                row,
                0,
                None,
                json.dumps(
                    {"time": 1_600_000_000_000 + row, KEY: "x", "amount": float(amount)}
                ).encode(),
            )
            for row, amount in enumerate(rng.lognormal(3, 1, STEP))
        ]
        plan = FieldPlan.of(config)
        self._place = plan.text.index(KEY)
        self._model = Decoder(config, plan).decode(SOURCE, some)
        self._hours = 0

    def of(self, keys: list[str]) -> EventBatch:
        batch = self._model.take(slice(0, len(keys)))
        text = list(batch.text)
        text[self._place] = object_column(keys)
        batch.text = tuple(text)
        self._hours += 1
        batch.time_ms = batch.time_ms + self._hours * 3_600_000
        batch.mark_ms = np.maximum.accumulate(batch.time_ms)
        return batch


def run(keys: int, buckets: int, events: int) -> dict[str, Any]:
    each = keys // buckets
    config = configuration(2 * each)
    traffic = Traffic(config)
    rng = np.random.default_rng(1)
    seconds = dict.fromkeys(("read", "count in", "write"), 0.0)
    size = 0
    with tempfile.TemporaryDirectory() as directory:
        for number in range(buckets):
            part = FeaturePart(config, KEY)
            for start in range(0, each, STEP):
                names = [
                    f"c{number * each + k:012d}" for k in range(start, min(start + STEP, each))
                ]
                part.extract(traffic.of(names), [], -1)
            Path(directory, str(number)).write_bytes(pack(part.state()))
        for number in range(buckets):
            path = Path(directory, str(number))
            size += path.stat().st_size
            chosen = rng.integers(0, each, events // buckets) + number * each
            batch = traffic.of([f"c{key:012d}" for key in chosen.tolist()])
            t0 = time.process_time()
            part = FeaturePart(config, KEY)
            part.restore(unpack(path.read_bytes()))
            t1 = time.process_time()
            part.extract(batch, [], int(batch.time_ms[0]) - 1)
            t2 = time.process_time()
            path.write_bytes(pack(part.state()))
            t3 = time.process_time()
            for name, value in zip(seconds, (t1 - t0, t2 - t1, t3 - t2), strict=True):
                seconds[name] += value
    return {
        "keys": each * buckets,
        "buckets": buckets,
        "events of the batch": events,
        "bytes a key": round(size / (each * buckets), 1),
        "state MB": round(size / 1e6),
        "CPU seconds of a batch": {name: round(value, 2) for name, value in seconds.items()},
    }


def main() -> int:
    """Print what was found as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=10_000_000)
    parser.add_argument("--buckets", type=int, default=64)
    parser.add_argument("--events", type=int, default=50_000)
    arguments = parser.parse_args()
    print(json.dumps(run(arguments.keys, arguments.buckets, arguments.events)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
