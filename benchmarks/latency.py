"""From an event produced to what comes of it visible for a ``read_committed`` reader: how late?

Three systems take turns on one broker, round after round: the daemon of ``throughput.py`` (1 % of
the events alert), a bare loop of kafka-python that copies each hundredth record in a transaction
with the offsets (rivals/transactional_loop.py: what exactly once costs at all), and Quix Streams
with exactly once and River (rivals/quix_transactional.py). At each rate steady_producer.py produces
card transactions with the moment of sending in them, evenly spread; a reader in this process takes
what comes out. Producer, broker, system and reader share one machine, so what travels is the ratio
to the bare loop of the same round. Only the second half of each run counts: before that, model and
budget are young. Prints medians over the rounds, and the spread of the ratios.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from kafka import KafkaConsumer
from kafka import TopicPartition as ClientPartition
from measured_daemon import MeasuredDaemon
from throughput import (
    LARGE_HEAP,
    PARTITIONS,
    REPOSITORY,
    RIVALS_PYTHON,
    Broker,
    create_topic,
    settings,
)

from stream_detector.simulation import transactions

RIVALS = REPOSITORY / "benchmarks/rivals"
SYSTEMS = ("bare", "daemon", "quix")
QUANTILES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
READY_SECONDS = 60


def write_events(path: Path, count: int) -> None:
    """Lines for steady_producer.py."""
    with path.open("wb") as file:
        for batch in transactions.generate(count, seed=1):
            for value, key in zip(batch.json_lines(), batch.key, strict=True):
                file.write(key + b"\t" + value + b"\n")


def take(consumer: Any, until: Callable[[], bool]) -> list[tuple[float, float]]:
    """When each event was sent, and when what came of it was seen."""
    seen: list[tuple[float, float]] = []
    while not until():
        for records in consumer.poll(timeout_ms=100).values():
            now = time.time()
            bodies = [json.loads(record.value) for record in records]
            seen.extend((body.get("event", body)["SENT"], now) for body in bodies)
    return seen


@contextmanager
def running(
    system: str, bootstrap: str, topic: str, alerts: str, directory: Path, detector: str
) -> Iterator[None]:
    """One of ``SYSTEMS``, from when it is ready to when it has been stopped."""
    if system == "daemon":
        configuration = settings(bootstrap, topic, alerts, directory / f"{alerts}-state", detector)
        configuration["kafka"]["alerts"] = alerts
        configuration["threshold"] = {"budget": "1 %"}
        with MeasuredDaemon(configuration, directory, alerts) as daemon:
            yield
            daemon.stop()
        return
    bare = system == "bare"
    program = RIVALS / ("transactional_loop.py" if bare else "quix_transactional.py")
    python = sys.executable if bare else str(RIVALS_PYTHON)
    log = directory / f"{alerts}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [python, str(program), bootstrap, topic, alerts], stdout=output, stderr=output
        )
    try:
        until = time.monotonic() + READY_SECONDS
        while b"ready" not in log.read_bytes():
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"{program.name}: {log.read_text()[-3000:]}")
            time.sleep(0.05)
        yield
        if process.poll() is not None:
            raise SystemExit(f"{program.name} has ended: {log.read_text()[-3000:]}")
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=15)


def measure(
    system: str, bootstrap: str, directory: Path, name: str, rate: int, options: argparse.Namespace
) -> dict[str, float]:
    """One run: milliseconds by quantile, how many were seen, the rate that was reached."""
    topic = create_topic(bootstrap, name, PARTITIONS)
    alerts = create_topic(bootstrap, f"{name}-alerts", 1)
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap, isolation_level="read_committed", fetch_max_wait_ms=5
    )
    consumer.assign([ClientPartition(alerts, 0)])
    consumer.seek_to_end()
    consumer.poll(timeout_ms=1000)
    try:
        with running(system, bootstrap, topic, alerts, directory, options.detector):
            script = Path(__file__).with_name("steady_producer.py")
            where = [bootstrap, topic, str(PARTITIONS), str(rate), str(options.seconds)]
            command = [str(RIVALS_PYTHON), str(script), *where, str(directory / "events")]
            begun = time.time()
            producer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            seen = take(consumer, lambda: producer.poll() is not None)
            last = time.time()
            seen += take(consumer, lambda: time.time() > last + 3)
            sent = int(producer.stdout.read()) if producer.stdout is not None else 0
    finally:
        consumer.close(autocommit=False, timeout_ms=1000)
    late = np.array([now - at for at, now in seen if at > begun + options.seconds / 2])
    if not len(late):
        raise SystemExit(f"{name}: nothing came out in the second half; is the machine too busy?")
    values = {label: float(np.quantile(late, share) * 1000) for label, share in QUANTILES.items()}
    return {**values, "seen": len(late), "reached": sent / options.seconds}


def summary(rounds: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, Any]]:
    """Of each system: medians over the rounds, and its ratios to the bare loop of each round."""
    found: dict[str, dict[str, Any]] = {}
    for system in rounds[0]:
        row: dict[str, Any] = {}
        for label in (*QUANTILES, "seen", "reached"):
            row[label] = round(float(np.median([each[system][label] for each in rounds])), 1)
        for label in QUANTILES if "bare" in rounds[0] else ():
            ratios = [each[system][label] / each["bare"][label] for each in rounds]
            low, middle, high = (float(np.quantile(ratios, share)) for share in (0, 0.5, 1))
            row[f"{label} ratio"] = [round(value, 2) for value in (middle, low, high)]
        found[system] = row
    return found


def told(rate: int, system: str, row: dict[str, Any]) -> str:
    """One line about a system at a rate."""
    parts = []
    for label in QUANTILES:
        ratio = row.get(f"{label} ratio")
        of_bare = f" ({ratio[0]:g} of bare, {ratio[1]:g} to {ratio[2]:g})" if ratio else ""
        parts.append(f"{label} {row[label]:g} ms{of_bare}")
    count = f"{row['seen']:g} seen, {row['reached']:,.0f} a second reached"
    return f"{rate:>7,} a second, {system:6}: {', '.join(parts)}; {count}"


def main() -> None:
    """Measure, print, and write JSON where asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rates", type=int, nargs="+", default=[1000, 10_000, 35_000])
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--detector", default="autoencoder")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    results: dict[int, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        most = int(max(options.rates) * options.seconds)
        write_events(directory / "events", min(most, 2_000_000))
        with Broker(directory / "broker", java_options=LARGE_HEAP) as broker:
            create_topic(broker.bootstrap, "dead-letters", 1)
            for rate in options.rates:
                rounds = [
                    {
                        system: measure(
                            system,
                            broker.bootstrap,
                            directory,
                            f"latency-{rate}-{number}-{system}",
                            rate,
                            options,
                        )
                        for system in options.systems
                    }
                    for number in range(options.rounds)
                ]
                results[rate] = summary(rounds)
                for system, row in results[rate].items():
                    print(told(rate, system, row), flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
