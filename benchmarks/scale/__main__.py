"""Measure one or more of the questions, and print a table for each.

    python -m benchmarks.scale keys features partitions shards recovery startup memory

Everything but ``keys`` and ``features`` needs a broker, which is started. Each figure comes from a
process of its own.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from throughput import LARGE_HEAP, Broker, create_topic

from benchmarks.scale import alone, daemons

BROKERLESS = {"keys": alone.keys, "features": alone.features}
WITH_BROKER = {
    "partitions": daemons.partitions,
    "shards": daemons.shards,
    "recovery": daemons.recovery,
    "startup": daemons.startup,
    "memory": daemons.memory,
}


def show(rows: list[dict[str, object]]) -> None:
    print("| " + " | ".join(rows[0]) + " |\n" + "|---" * len(rows[0]) + "|")
    for row in rows:
        print("| " + " | ".join(map(str, row.values())) + " |")
    print(flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[[], *BROKERLESS, *WITH_BROKER])
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        name, *values = arguments.one
        print(json.dumps(alone.ONE[name](*map(int, values))))
        return
    for part in arguments.parts or [*BROKERLESS, *WITH_BROKER]:
        print(f"{part}\n")
        if part in BROKERLESS:
            show(BROKERLESS[part]())
            continue
        with tempfile.TemporaryDirectory() as name:
            directory = Path(name)
            with Broker(directory / "broker", java_options=LARGE_HEAP) as broker:
                for topic in ("alerts", "dead-letters"):
                    create_topic(broker.bootstrap, topic, 1)
                show(WITH_BROKER[part](broker.bootstrap, directory))


if __name__ == "__main__":
    main()
