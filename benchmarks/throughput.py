"""Throughput and memory on a real broker, beside a bare kafka-python poll loop and the rivals.

Fills a topic with generated card transactions (about 170 bytes, four partitions), then measures in
turn, repeated: (a) a bare ``poll`` loop that throws the records away; (b) the daemon as installed,
two key windows of three half-lives, running scaler, autoencoder, budget threshold, alerts to a
topic, metrics on; (c) the same with the half-space forest, both ensembles, the classifier
(labels a day late); the same events in Avro and in Protobuf, with a schema registry; (d) the usual
loops, an event at a time, with River and with scikit-learn; (e) Quix Streams with River; (f)
confluent-kafka's ``consume``. The rivals (rivals/) see only an event's own three features, no
windows, take fewer events, and are counted from their first thousand on.
Prints medians, ratios to (a) of the same round, and ``--json``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from measured_daemon import MeasuredDaemon

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "tests"))

from kafka_broker.broker import LARGE_HEAP, Broker  # noqa: E402 - the tests' broker
from kafka_broker.clients import consume_all, create_topic  # noqa: E402
from schema_registry.registry import Registry  # noqa: E402 - the tests' registry

from stream_detector.simulation import transactions  # noqa: E402
from stream_detector.simulation.formats import FormatWriter  # noqa: E402
from stream_detector.simulation.traffic import Generated  # noqa: E402

__all__ = ["LARGE_HEAP", "REPOSITORY", "Broker", "consume_all", "create_topic", "daemon"]

PARTITIONS = 4
DETECTORS = ["autoencoder", "half_space_forest", "adaptive_ensemble", "ensemble", "classifier"]
RIVALS = {  # name: program and arguments, events
    "scikit-learn, one at a time": (["sklearn_loop.py"], 10_000),
    "River, 10 trees of 8": (["river_loop.py", "10", "8"], 20_000),
    "River, 25 trees of 10": (["river_loop.py", "25", "10"], 10_000),
    "Quix and River, 10 trees of 8": (["quix_app.py", "10", "8"], 20_000),
    "Quix and River, 25 trees of 10": (["quix_app.py", "25", "10"], 10_000),
    "confluent-kafka, consume": (["confluent_consume.py"], None),  # every event
}
RIVALS_PYTHON = REPOSITORY / ".cache/rivals/bin/python"
OURS = ("river_loop.py", "sklearn_loop.py")  # these run on what is installed for us
FORMATS = ["avro", "protobuf"]
PADDED = {"CHANNEL": "card-present", "CURRENCY": "EUR", "COUNTRY": "BE"}
PADDING = b'"CHANNEL":"card-present","CURRENCY":"EUR","COUNTRY":"BE",'
WINDOW_HALF_LIVES = ["17h", "5d", "21d"]


def settings(bootstrap: str, topic: str, group: str, state: Path, detector: str) -> dict[str, Any]:
    windows = [
        {
            "key": key,
            "value": "TX_AMOUNT",
            "half_lives": WINDOW_HALF_LIVES,
            "compute": ["count", "mean", "deviation"],
        }
        for key in ("CUSTOMER_ID", "TERMINAL_ID")
    ]
    return {
        "name": "benchmark",
        "kafka": {
            "bootstrap_servers": bootstrap,
            "topics": [topic],
            "group": group,
            "alerts": "alerts",
            "dead_letters": "dead-letters",
        },
        "event": {"id": "TRANSACTION_ID", "time": {"field": "TX_DATETIME"}},
        "features": [{"numeric": "TX_AMOUNT", "transform": "log"}, {"time": "night"}],
        "windows": windows,
        "detector": {"kind": detector},
        "threshold": {"budget": "0.1 %"},
        "state": {"directory": str(state)},
        "metrics": {"port": 0},
        **({"labels": {"field": "TX_FRAUD", "delay": "1d"}} if detector == "classifier" else {}),
    }


def fill(
    bootstrap: str, topic: str, count: int, partitions: int = PARTITIONS, padding: bytes = PADDING
) -> int:
    """Produce the events; returns the mean size of a value in bytes."""
    producer = KafkaProducer(
        bootstrap_servers=bootstrap, linger_ms=20, batch_size=256 * 1024, max_block_ms=60_000
    )
    size = sent = 0
    for batch in transactions.generate(count, seed=1):
        for value, key in zip(batch.json_lines(), batch.key, strict=True):
            whole = b"{" + padding + value[1:]
            producer.send(topic, value=whole, key=key, partition=zlib.crc32(key) % partitions)
            size += len(whole)
            sent += 1
        if producer.flush(timeout=120) is not None:
            raise SystemExit("the broker did not take the events")
    producer.close(timeout=10)
    return size // sent


def fill_format(bootstrap: str, topic: str, count: int, kind: Any, registry: Registry) -> None:
    """Produce the same events in Avro or Protobuf, with the registry's ids."""
    producer = KafkaProducer(
        bootstrap_servers=bootstrap, linger_ms=20, batch_size=256 * 1024, max_block_ms=60_000
    )
    writer, prefix = None, b""
    for batch in transactions.generate(count, seed=1):
        padded = Generated(
            slots={**dict.fromkeys(PADDED, '"%s"'), **batch.slots},
            columns={**{n: [v] * len(batch) for n, v in PADDED.items()}, **batch.columns},
            time_ms=batch.time_ms,
            label=batch.label,
            attack=batch.attack,
            key=batch.key,
        )
        if writer is None:
            writer = FormatWriter(kind, padded)
            number = registry.register(f"{topic}-value", writer.schema, kind.upper())
            prefix = b"\0" + number.to_bytes(4, "big") + (b"\0" if kind == "protobuf" else b"")
        for value, key in zip(writer.values(padded), batch.key, strict=True):
            partition = zlib.crc32(key) % PARTITIONS
            producer.send(topic, value=prefix + value, key=key, partition=partition)
        if producer.flush(timeout=120) is not None:
            raise SystemExit("the broker did not take the events")
    producer.close(timeout=10)


def bare_poll(bootstrap: str, topic: str, count: int, max_poll: int) -> tuple[float, float]:
    """A loop that does nothing but poll, from its first record on.

    Returns:
        Events a second, and CPU µs an event.
    """
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        isolation_level="read_committed",
        max_poll_records=max_poll,
        metrics_enabled=False,
    )
    consumer.assign([TopicPartition(topic, p) for p in range(PARTITIONS)])
    seen, first, started, cpu = 0, 0, 0.0, 0.0
    while seen < count:
        polled = consumer.poll(timeout_ms=1000)
        got = sum(map(len, polled.values()))
        if got and not started:
            started, first, cpu = time.perf_counter(), got, time.process_time()
        seen += got
    rate = (seen - first) / (time.perf_counter() - started)
    cpu_us = (time.process_time() - cpu) / (seen - first) * 1e6
    consumer.close(autocommit=False, timeout_ms=5000)
    return rate, cpu_us


def daemon(configuration: dict[str, Any], directory: Path, count: int) -> dict[str, Any]:
    """Run the daemon over the backlog: events a second, CPU a event, memory over time."""
    with MeasuredDaemon(configuration, directory) as running:
        samples: list[tuple[float, float]] = []  # (events, resident MiB)
        first: tuple[float, float, float] | None = None
        while True:
            now, events = time.perf_counter(), running.events()
            if events and first is None:
                first = (now, events, running.cpu_seconds())
            samples.append((events, running.resident_mib()))
            if events >= count:
                break
            running.check()
            time.sleep(0.1)
        cpu, stages = running.cpu_seconds(), running.stages(count)
        code = running.stop()
    assert first is not None
    warm = [mib for events, mib in samples if events >= count * 0.3]
    return {
        "events_per_second": (count - first[1]) / (now - first[0]),
        "cpu_us_per_event": (cpu - first[2]) / (count - first[1]) * 1e6,  # without the start
        "rss_mib_at_30_percent": warm[0],
        "rss_mib_at_end": warm[-1],
        "rss_mib_peak": max(mib for _, mib in samples),
        "exit_code": code,
        "stages_us_per_event": stages,
    }


def rival(program: list[str], bootstrap: str, count: int) -> dict[str, float]:
    """Run a program of rivals/ over the first events of the topic."""
    name, *rest = program
    python = sys.executable if name in OURS else str(RIVALS_PYTHON)
    command = [python, str(REPOSITORY / "benchmarks/rivals" / name), bootstrap, str(count)]
    ended = subprocess.run(
        [*command, *rest], check=False, capture_output=True, text=True, timeout=900
    )
    if ended.returncode:
        raise SystemExit(f"{name}: {ended.stderr[-3000:]}")
    return dict(json.loads(ended.stdout.strip().splitlines()[-1]))


def measure(arguments: argparse.Namespace, directory: Path) -> dict[str, Any]:
    in_formats = [(d, kind) for d in arguments.format_detectors for kind in arguments.formats]
    names = [*arguments.detectors, *(f"{d}, {kind}" for d, kind in in_formats), *arguments.rivals]
    rounds: list[dict[str, Any]] = []
    with ExitStack() as stack:
        broker = stack.enter_context(Broker(directory / "broker", java_options=LARGE_HEAP))
        topic = create_topic(broker.bootstrap, "transactions", PARTITIONS, {"retention.ms": "-1"})
        for name in ("alerts", "dead-letters", "rival-alerts"):
            create_topic(broker.bootstrap, name, 1)
        size = fill(broker.bootstrap, topic, arguments.events)
        registry = None
        if arguments.formats:
            registry = stack.enter_context(Registry(directory / "registry"))
        for kind in arguments.formats:
            made = create_topic(broker.bootstrap, kind, PARTITIONS, {"retention.ms": "-1"})
            fill_format(broker.bootstrap, made, arguments.events, kind, registry)
        for number in range(arguments.rounds):
            rate, cpu_us = bare_poll(broker.bootstrap, topic, arguments.events, 5000)
            row: dict[str, Any] = {"bare": rate, "bare_cpu_us_per_event": cpu_us}
            for detector in arguments.detectors:
                place = directory / f"{number}-{detector}"
                place.mkdir()
                row[detector] = daemon(
                    settings(broker.bootstrap, topic, place.name, place / "state", detector),
                    place,
                    arguments.events,
                )
            for detector, kind in in_formats:
                name = f"{detector}, {kind}"
                place = directory / f"{number}-{detector}-{kind}"
                place.mkdir()
                ours = settings(broker.bootstrap, kind, place.name, place / "state", detector)
                ours["event"]["format"] = kind
                ours["registry"] = {"url": registry.url}
                row[name] = daemon(ours, place, arguments.events)
                same, found = row[detector], row[name]
                found["of_json"] = found["events_per_second"] / same["events_per_second"]
                found["cpu_of_json"] = same["cpu_us_per_event"] / found["cpu_us_per_event"]
            for name in arguments.rivals:
                program, events = RIVALS[name]
                row[name] = rival(program, broker.bootstrap, events or arguments.events)
            for name in names:
                row[name]["ratio"] = row[name]["events_per_second"] / rate
                row[name]["cpu_ratio"] = cpu_us / row[name]["cpu_us_per_event"]
            rounds.append(row)
            print(json.dumps(row), file=sys.stderr)
    medians = {name: median_of([row[name] for row in rounds]) for name in names}
    return {
        "events": arguments.events,
        "rounds": len(rounds),
        "bytes_per_event": size,
        "bare poll": {
            "events_per_second": statistics.median(row["bare"] for row in rounds),
            "cpu_us_per_event": statistics.median(r["bare_cpu_us_per_event"] for r in rounds),
        },
        **medians,
    }


def median_of(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The median of every figure, and the least and the most of the ratio."""
    found = {
        name: statistics.median(row[name] for row in rows)
        for name in rows[0]
        if name != "stages_us_per_event"
    }
    ratios = [row["ratio"] for row in rows]
    return {**found, "ratio_from": min(ratios), "ratio_to": max(ratios)}


def table(result: dict[str, Any], detectors: list[str], rivals: list[str]) -> str:
    """Rows of Markdown. The best of the rivals is what (d) and (e) reach at most."""
    loops = [name for name in rivals if "consume" not in name]
    best = max((result[name]["events_per_second"] for name in loops), default=0.0)
    lines = [
        "| | events a second | of (a) | times the best of (d), (e) | CPU µs an event | peak MiB |",
        "|---|---|---|---|---|---|",
    ]
    for name in ("bare poll", *detectors, *rivals):
        row = result[name]
        rate, spread = row["events_per_second"], ""
        if "ratio" in row:
            spread = f"{row['ratio']:.3f} ({row['ratio_from']:.3f} to {row['ratio_to']:.3f})"
        memory = f"{row['rss_mib_peak']:.0f}" if "rss_mib_peak" in row else ""
        times = f"{rate / best:.1f}" if best else ""
        lines.append(
            f"| {name} | {rate:,.0f} | {spread} | {times} | "
            f"{row['cpu_us_per_event']:.1f} | {memory} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--detectors", nargs="*", default=DETECTORS)
    parser.add_argument("--rivals", nargs="*", default=list(RIVALS), choices=list(RIVALS))
    parser.add_argument("--formats", nargs="*", default=FORMATS, choices=FORMATS)
    parser.add_argument(
        "--format-detectors", nargs="*", default=["autoencoder", "adaptive_ensemble"]
    )
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        result = measure(arguments, Path(directory))
    if arguments.json:
        print(json.dumps(result))
        return
    print(
        f"{result['events']:,} events of {result['bytes_per_event']} bytes, {PARTITIONS} "
        f"partitions, medians of {result['rounds']} rounds; (a) is the bare poll\n"
    )
    formats = [f"{d}, {kind}" for d in arguments.format_detectors for kind in arguments.formats]
    print(table(result, [*arguments.detectors, *formats], arguments.rivals))
    for name in formats:
        row = result[name]
        print(
            f"{name}: {row['of_json']:.3f} of the throughput with JSON "
            f"({row['cpu_of_json']:.3f} by the processor's time)"
        )


if __name__ == "__main__":
    main()
