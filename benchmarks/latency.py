"""From an event produced to its alert visible for a ``read_committed`` reader, on a real broker.

At each rate steady_producer.py produces card transactions with the moment of sending in them,
evenly spread; the daemon of ``throughput.py`` (1 % of the events alert) works on them; a reader in
this process takes the alerts, which hold their event, and the time between is the latency:
producer, broker, poll, scoring, transaction and the reader's own poll, all on one machine. Only
alerts of the second half of each run count: before that, model and budget are young. Prints p50,
p99 and p99.9.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from kafka import KafkaConsumer
from kafka import TopicPartition as ClientPartition
from measured_daemon import MeasuredDaemon
from throughput import (
    LARGE_HEAP,
    PARTITIONS,
    RIVALS_PYTHON,
    Broker,
    create_topic,
    settings,
)

from stream_detector.simulation import transactions


def write_events(path: Path, count: int) -> None:
    """Lines for steady_producer.py."""
    with path.open("wb") as file:
        for batch in transactions.generate(count, seed=1):
            for value, key in zip(batch.json_lines(), batch.key, strict=True):
                file.write(key + b"\t" + value + b"\n")


def take_alerts(consumer: Any, until: Any) -> list[tuple[float, float]]:
    """When each alert's event was sent, and when the alert was seen."""
    seen: list[tuple[float, float]] = []
    while not until():
        for records in consumer.poll(timeout_ms=100).values():
            now = time.time()
            seen.extend((json.loads(record.value)["event"]["SENT"], now) for record in records)
    return seen


def measure(bootstrap: str, directory: Path, rate: int, seconds: float, detector: str) -> Any:
    name = f"latency-{rate}"
    topic = create_topic(bootstrap, name, PARTITIONS)
    configuration = settings(bootstrap, topic, name, directory / f"{name}-state", detector)
    alerts = create_topic(bootstrap, f"{name}-alerts", 1)
    configuration["kafka"]["alerts"] = alerts
    configuration["threshold"] = {"budget": "1 %"}
    daemon = MeasuredDaemon(configuration, directory, name)
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap, isolation_level="read_committed", fetch_max_wait_ms=5
    )
    consumer.assign([ClientPartition(alerts, 0)])
    consumer.seek_to_end()
    consumer.poll(timeout_ms=1000)
    try:
        script = Path(__file__).with_name("steady_producer.py")
        where = [bootstrap, topic, str(PARTITIONS), str(rate), str(seconds)]
        command = [str(RIVALS_PYTHON), str(script), *where, str(directory / "events")]
        producer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        begun = time.time()
        ended = lambda: producer.poll() is not None  # noqa: E731 - only here
        seen = take_alerts(consumer, ended)
        last = time.time()
        seen += take_alerts(consumer, lambda: time.time() > last + 3)
        sent = int(producer.stdout.read()) if producer.stdout is not None else 0
        daemon.stop()
    finally:
        consumer.close(autocommit=False, timeout_ms=1000)
        daemon.kill()
    late = np.array([now - at for at, now in seen if at > begun + seconds / 2])
    p50, p99, p999 = np.quantile(late, [0.5, 0.99, 0.999]) * 1000 if len(late) else [np.nan] * 3
    return {
        "rate": rate,
        "reached": round(sent / seconds),
        "alerts": len(late),
        "p50_ms": round(float(p50), 1),
        "p99_ms": round(float(p99), 1),
        "p99.9_ms": round(float(p999), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rates", type=int, nargs="+", default=[1000, 10_000, 35_000])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--detector", default="autoencoder")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        most = int(max(arguments.rates) * arguments.seconds)
        write_events(directory / "events", min(most, 2_000_000))
        with Broker(directory / "broker", java_options=LARGE_HEAP) as broker:
            create_topic(broker.bootstrap, "dead-letters", 1)
            for rate in arguments.rates:
                row = measure(
                    broker.bootstrap, directory, rate, arguments.seconds, arguments.detector
                )
                rows.append(row)
                if not arguments.json:
                    print(
                        f"{row['rate']:>7,} events a second ({row['reached']:,} reached): "
                        f"p50 {row['p50_ms']} ms, p99 {row['p99_ms']} ms, "
                        f"p99.9 {row['p99.9_ms']} ms, {row['alerts']:,} alerts"
                    )
    if arguments.json:
        print(json.dumps(rows))


if __name__ == "__main__":
    main()
