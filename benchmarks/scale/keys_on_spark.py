"""Many keys in the states of the job on Spark: seconds and CPU of a batch, size of the checkpoint.

    .cache/spark/bin/python -m benchmarks.scale.keys_on_spark --jars ... --keys 1000000

A real broker. Each event of the first batches brings a key of its own; the last few batches are of
keys that are known, drawn at random. Windows are those of `many_keys`, and no score gives an alert.
A line of JSON for each batch, then medians.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.scale.many_keys import KEY
from benchmarks.scale.on_spark import batches_run

from kafka import KafkaProducer  # isort: skip
from kafka_broker.broker import LARGE_HEAP, Broker  # isort: skip
from kafka_broker.clients import create_topic  # isort: skip

PARTITIONS = 4
BEGIN_MS = 1_600_000_000_000
KNOWN_BATCHES = 4
FIRST_BATCHES = 4
UNREACHED = 1e9


def fill(bootstrap: str, topic: str, keys: int, batch: int) -> int:
    """Produce the events, a batch an hour of event time; how many."""
    rng = np.random.default_rng(0)
    known = rng.integers(0, keys, KNOWN_BATCHES * batch).tolist()
    amounts = rng.lognormal(3, 1, keys + len(known)).round(2).tolist()
    producer = KafkaProducer(bootstrap_servers=bootstrap, linger_ms=20, batch_size=256 * 1024)
    for row, (key, amount) in enumerate(zip([*range(keys), *known], amounts, strict=True)):
        time_ms = BEGIN_MS + row * 3_600_000 // batch
        value = f'{{"time": {time_ms}, "{KEY}": "c{key:012d}", "amount": {amount}}}'
        producer.send(topic, value=value.encode(), partition=row % PARTITIONS)
    producer.flush(timeout=300)
    producer.close(timeout=10)
    return len(amounts)


def document(bootstrap: str, topic: str, place: Path, keys: int) -> dict[str, Any]:
    window = {
        "key": KEY,
        "value": "amount",
        "half_lives": ["17h", "5d", "21d"],
        "compute": ["count", "mean", "deviation"],
        "max_keys": 2 * keys,
    }
    outputs = {each: create_topic(bootstrap, each) for each in ("alerts", "letters")}
    return {
        "name": "keys",
        "event": {"time": {"field": "time"}},
        "features": [{"numeric": "amount"}],
        "windows": [window],
        "detector": {"kind": "adaptive_ensemble"},
        "threshold": {"score": UNREACHED},
        "kafka": {
            "bootstrap_servers": bootstrap,
            "topics": [topic],
            "group": "keys",
            "alerts": outputs["alerts"],
            "dead_letters": outputs["letters"],
            "start": "earliest",
        },
        "state": {"directory": str(place / "state")},
        "metrics": {"port": 0},
        "processing": {"counterfactuals": False},
    }


def summary(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Medians over the batches but the first, in which Java warms up: seconds, CPU an event."""
    some = rows[FIRST_BATCHES:]
    found = {"seconds of a batch": median(row["seconds"] for row in some)}
    for kind in ("driver", "Java", "workers"):
        micro = (1e6 * row["cpu"].get(kind, 0.0) / row["events"] for row in some)
        found[f"{kind}, CPU microseconds an event"] = round(median(micro), 1)
    return found


def main() -> int:
    """Print each batch, then the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jars", required=True)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--batch", type=int, default=50_000)
    parser.add_argument("--buckets", type=int, default=64)
    parser.add_argument("--master", default="local[2]")
    parser.add_argument("--most-seconds", type=float, default=3000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        broker = Broker(place / "broker", java_options=LARGE_HEAP)
        broker.start()
        try:
            topic = create_topic(broker.bootstrap, "keys", PARTITIONS, {"retention.ms": "-1"})
            arguments.events = fill(broker.bootstrap, topic, arguments.keys, arguments.batch)
            whole = document(broker.bootstrap, topic, place, arguments.keys)
            rows = batches_run(whole, place, arguments, arguments.master, arguments.buckets)
        finally:
            broker.stop()
    for row in rows:
        row["seconds"] = round(row["seconds"], 2)
        print(json.dumps(row))
    print(json.dumps(summary(rows)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
