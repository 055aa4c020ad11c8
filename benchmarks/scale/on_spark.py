"""Card transactions through the job on Spark: bytes, throughput, CPU by kind of process.

    .cache/spark/bin/python -m benchmarks.scale.on_spark card_transactions.csv.gz \
        --jars ... --events 300000 --warm 200000 --batch 10000 --masters local[1] local[2]

A real broker, four partitions by customer. What the job's journal names as its batches is run
through `InProcess` as well: the hash over all scores after each batch and the alerts must be the
same. Beside it the daemon's CPU an event on the same topic, and that of each stage in one process.
Rates and CPU are those after the first ``--warm`` events, in which the model learns to tell, and
its threshold to follow.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import accumulate, islice
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY / "tests"), str(REPOSITORY / "benchmarks")]

from kafka import KafkaProducer  # noqa: E402
from kafka_broker.broker import LARGE_HEAP, Broker  # noqa: E402
from kafka_broker.clients import consume_all, create_topic  # noqa: E402
from measured_daemon import MeasuredDaemon  # noqa: E402

from benchmarks.scale.buckets import cpu_of_stages  # noqa: E402
from stream_detector.batches.in_process import InProcess  # noqa: E402
from stream_detector.config import Config, FieldPlan  # noqa: E402
from stream_detector.config.loading.load import load_config  # noqa: E402
from stream_detector.decoding import Decoder  # noqa: E402
from stream_detector.events import PlainRecord, TopicPartition  # noqa: E402
from stream_detector.journal import decode  # noqa: E402

TICKS = os.sysconf("SC_CLK_TCK")
LINE = re.compile(r"^(\S+Z) INFO +batch batch (\d+): (\d+) events, (\d+)", re.MULTILINE)


def events_of(path: str, count: int) -> Iterator[tuple[bytes, bytes]]:
    """Key and value of each event."""
    with gzip.open(path, "rt") as file:
        for row in islice(csv.DictReader(file), count):
            amount, fraud = float(row["TX_AMOUNT"]), int(row["TX_FRAUD"])
            value = json.dumps({**row, "TX_AMOUNT": amount, "TX_FRAUD": fraud})
            yield row["CUSTOMER_ID"].encode(), value.encode()


def fill(bootstrap: str, topic: str, path: str, count: int, partitions: int) -> None:
    producer = KafkaProducer(bootstrap_servers=bootstrap, linger_ms=20, batch_size=256 * 1024)
    for key, value in events_of(path, count):
        producer.send(topic, value=value, key=key, partition=zlib.crc32(key) % partitions)
    producer.flush(timeout=120)
    producer.close(timeout=10)


def document(bootstrap: str, topic: str, name: str, place: Path, kind: str) -> dict[str, Any]:
    whole = yaml.safe_load((REPOSITORY / "config/transactions.yaml").read_text())
    outputs = {each: create_topic(bootstrap, f"{name}-{each}") for each in ("alerts", "letters")}
    whole["kafka"] = {
        "bootstrap_servers": bootstrap,
        "topics": [topic],
        "group": name,
        "alerts": outputs["alerts"],
        "dead_letters": outputs["letters"],
        "start": "earliest",
    }
    whole["state"] = {"directory": str(place / name)}
    whole["metrics"] = {"port": 0}
    whole["processing"] = {**whole.get("processing", {}), "counterfactuals": False}
    if kind:
        whole["detector"] = {"kind": kind}
        whole.pop("labels")
    return whole


def cpu_of(leader: int) -> dict[str, float]:
    """CPU seconds of a session: the driver, the virtual machine, Python's workers."""
    found: dict[str, float] = defaultdict(float)
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, IndexError):
            fields = stat.read_text().rsplit(")", 1)[1].split()
            if int(fields[3]) != leader:
                continue
            own = (int(fields[11]) + int(fields[12])) / TICKS
            name, pid = (stat.parent / "comm").read_text().strip(), int(stat.parent.name)
            if name == "java":
                found["Java"] += own
            elif pid == leader:
                found["driver"] += own
            else:
                found["workers"] += own + (int(fields[13]) + int(fields[14])) / TICKS
    return found


@contextmanager
def running(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    own = {"SPARK_LOCAL_IP": "127.0.0.1", "OMP_NUM_THREADS": "1"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env={**os.environ, **own},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(60)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def batches_run(
    whole: dict[str, Any], place: Path, arguments: argparse.Namespace, master: str, buckets: int
) -> list[dict[str, Any]]:
    """Run the job over the topic; each batch's events, alerts, seconds and CPU."""
    name = whole["kafka"]["group"]
    path, log = place / f"{name}.json", place / f"{name}.log"
    path.write_text(json.dumps(whole))
    command = [sys.executable, "-m", "stream_detector", "spark", str(path), "--master", master]
    command += ["--checkpoint", str(place / f"{name}-checkpoint"), "--jars", arguments.jars]
    command += ["--buckets", str(buckets), "--events", str(arguments.batch), "--trigger", "0"]
    rows: list[dict[str, Any]] = []
    started = time.time()
    with running(command, log) as process:
        last = started
        before = cpu_of(process.pid)
        while sum(row["events"] for row in rows) < arguments.events:
            if process.poll() is not None or time.time() - started > arguments.most_seconds:
                raise SystemExit(log.read_text()[-3000:])
            for stamp, number, count, alerts in LINE.findall(log.read_text())[len(rows) :]:
                when = datetime.fromisoformat(stamp).timestamp()
                now = cpu_of(process.pid)
                used = {kind: round(now[kind] - before.get(kind, 0.0), 2) for kind in sorted(now)}
                rows.append({"batch": int(number), "events": int(count), "alerts": int(alerts)})
                rows[-1] |= {"seconds": when - last, "cpu": used}
                rows[-1]["checkpoint"] = checkpoint_bytes(place / f"{name}-checkpoint")
                last, before = when, now
            time.sleep(0.05)
    return rows


def checkpoint_bytes(directory: Path) -> int:
    """What lies there; files come and go meanwhile."""
    total = 0
    for root, _, names in os.walk(directory):
        for name in names:
            with suppress(OSError):
                total += (Path(root) / name).stat().st_size
    return total


def cpu_an_event(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Microseconds of each kind of process."""
    events = sum(row["events"] for row in rows)
    return {
        kind: round(1e6 * sum(row["cpu"].get(kind, 0) for row in rows) / events, 1)
        for kind in ("driver", "Java", "workers")
    }


def job(
    whole: dict[str, Any], place: Path, arguments: argparse.Namespace, master: str, buckets: int
) -> dict[str, Any]:
    """Figures of a run of the job."""
    rows = batches_run(whole, place, arguments, master, buckets)
    before = accumulate((row["events"] for row in rows), initial=0)
    warm = [
        row
        for number, (row, seen) in enumerate(zip(rows, before, strict=False))
        if number > 1 and seen >= arguments.warm and row["events"] >= arguments.batch * 0.9
    ]
    seconds = [row["seconds"] for row in warm]
    return {
        "master": master,
        "buckets": buckets,
        "batches": len(rows),
        "of them warm": len(warm),
        "first batch after seconds": round(rows[0]["seconds"], 1),
        "warm batch, seconds, median": round(statistics.median(seconds), 2),
        "warm events a second": round(sum(row["events"] for row in warm) / sum(seconds)),
        "alerts of a warm batch, most": max(row["alerts"] for row in warm),
        "alerts of any batch, most": max(row["alerts"] for row in rows),
        "CPU microseconds an event, warm": cpu_an_event(warm),
        "checkpoint MB": round(rows[-1]["checkpoint"] / 1e6, 1),
    }


def batches_of(config: Config, whole: dict[str, Any]) -> Iterator[tuple[Any, list[Any]]]:
    """What the journal names as batches: their records of the journal, and decoded pieces."""
    bootstrap, topic = whole["kafka"]["bootstrap_servers"], whole["kafka"]["topics"][0]
    decoder = Decoder(config, FieldPlan.of(config))
    held: dict[int, list[PlainRecord]] = defaultdict(list)
    for one in consume_all(bootstrap, topic):
        held[one.partition].append(
            PlainRecord(one.offset, one.timestamp, one.key, one.value, one.headers)
        )
    for message in consume_all(bootstrap, f"{whole['kafka']['group']}-journal"):
        record = decode(message.value)
        pieces = []
        for each in record.ranges():
            own = held[each.source.partition][each.start : each.end]
            pieces.append(decoder.decode(TopicPartition(topic, each.source.partition), own))
        yield record, pieces


def in_process(
    whole: dict[str, Any], path: Path, buckets: int, parts: int, warm: int
) -> dict[str, Any]:
    """The same batches through all stages in one process; whether all bits are the same.

    ``warm``: CPU is that after so many events.
    """
    config = load_config(str(path), os.environ)
    seconds: dict[str, float] = defaultdict(float)
    runner = InProcess(config, buckets, parts, cpu_of_stages(seconds))
    differing = events = measured = number = 0
    alerts: list[Any] = []
    spent = 0.0
    for record, pieces in batches_of(config, whole):
        if events <= warm:
            measured, spent = 0, 0.0
            seconds.clear()
        started = time.process_time()
        outcome = runner.process(pieces)
        spent += time.process_time() - started
        measured += len(outcome.scores)
        alerts += [alert.value for alert in outcome.alerts]
        differing += record.fingerprint != runner.head.core.fingerprint
        events, number = events + len(outcome.scores), number + 1
    written = consume_all(whole["kafka"]["bootstrap_servers"], whole["kafka"]["alerts"])
    return {
        "buckets": buckets,
        "batches": number,
        "batches whose scores differ": differing,
        "alerts": len(alerts),
        "alerts are the same bytes": alerts == [one.value for one in written],
        "CPU microseconds an event": {
            **{name: round(1e6 * value / measured, 1) for name, value in seconds.items()},
            "all": round(1e6 * spent / measured, 1),
        },
    }


def daemon(whole: dict[str, Any], place: Path, events: int, warm: int) -> float:
    """CPU microseconds an event of the daemon on the same topic, after so many events."""
    with MeasuredDaemon(whole, place, whole["kafka"]["group"]) as one:
        begun = None
        while (seen := one.events()) < events:
            one.check()
            if begun is None and seen > warm:
                begun = (seen, one.cpu_seconds())
            time.sleep(0.1)
        assert begun is not None
        return round(1e6 * (one.cpu_seconds() - begun[1]) / (seen - begun[0]), 1)


def main() -> int:
    """Print each figure as it comes, as a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("--jars", required=True)
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--warm", type=int, default=200_000, help="events before measuring")
    parser.add_argument("--batch", type=int, default=10_000)
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--masters", nargs="+", default=["local[1]", "local[2]"])
    parser.add_argument("--buckets", type=int, default=4)
    parser.add_argument("--kind", default="", help="another detector, without labels")
    parser.add_argument("--most-seconds", type=float, default=3000)
    parser.add_argument("--no-daemon", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        broker = Broker(place / "broker", java_options=LARGE_HEAP)
        broker.start()
        try:
            topic = create_topic(
                broker.bootstrap, "cards", arguments.partitions, {"retention.ms": "-1"}
            )
            fill(broker.bootstrap, topic, arguments.data, arguments.events, arguments.partitions)
            for number, master in enumerate(arguments.masters):
                name = f"job{number}"
                whole = document(broker.bootstrap, topic, name, place, arguments.kind)
                found = job(whole, place, arguments, master, arguments.buckets)
                print(json.dumps(found), flush=True)
            held = in_process(whole, place / f"{name}.json", arguments.buckets, 16, arguments.warm)
            print(json.dumps(held), flush=True)
            if not arguments.no_daemon:
                alone = document(broker.bootstrap, topic, "alone", place, arguments.kind)
                spent = daemon(alone, place, arguments.events, arguments.warm)
                print(json.dumps({"daemon, CPU microseconds an event": spent}), flush=True)
        finally:
            broker.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
