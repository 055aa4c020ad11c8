"""Partitions, shards and workers, recovery, start-up, memory: whole daemons on a real broker."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from measured_daemon import MeasuredDaemon
from throughput import (
    RIVALS_PYTHON,
    create_topic,
    fill,
    settings,
)

HERE = Path(__file__).resolve().parents[1]
EVENTS = 400_000


def work_off(workers: list[MeasuredDaemon], count: int) -> float:
    """Events a second of all together, between a fifth of the backlog and its end."""
    first: tuple[float, float] | None = None
    while True:
        seen, now = sum(worker.events() for worker in workers), time.perf_counter()
        if seen >= count:
            break
        if first is None and seen >= count / 5:
            first = (seen, now)
        time.sleep(0.05)
    for worker in workers:
        worker.stop()
    assert first is not None
    return (count - first[0]) / (now - first[1])


def partitions(bootstrap: str, directory: Path) -> list[dict[str, object]]:
    """One shard, one worker, the autoencoder: medians of three."""
    rates: dict[int, list[float]] = {1: [], 4: [], 16: [], 64: []}
    for count in rates:
        fill(bootstrap, create_topic(bootstrap, f"p{count}", count), EVENTS, count, b"")
    for turn in range(3):
        for count, found in rates.items():
            place = directory / f"p{count}-{turn}"
            place.mkdir()
            configuration = settings(
                bootstrap, f"p{count}", place.name, place / "state", "autoencoder"
            )
            found.append(work_off([MeasuredDaemon(configuration, place)], EVENTS))
    return _against_first("partitions", rates)


def _against_first(title: str, rates: dict[Any, list[float]]) -> list[dict[str, object]]:
    first = next(iter(rates.values()))
    return [
        {
            title: name,
            "events a second": f"{statistics.median(found):,.0f}",
            "of the first, in each round": ", ".join(
                f"{rate / before:.2f}" for rate, before in zip(found, first, strict=True)
            ),
        }
        for name, found in rates.items()
    ]


def shards(bootstrap: str, directory: Path) -> list[dict[str, object]]:
    """Sixteen partitions; shards in one worker, then shared by several. Three rounds."""
    fill(bootstrap, create_topic(bootstrap, "shared", 16), EVENTS, 16, b"")
    rates: dict[str, list[float]] = {}
    for turn in range(3):
        for number, workers in ((1, 1), (2, 1), (4, 1), (2, 2), (4, 2), (4, 4)):
            place = directory / f"s{number}-{workers}-{turn}"
            place.mkdir()
            configuration = settings(
                bootstrap, "shared", place.name, place / "state", "autoencoder"
            )
            configuration["processing"] = {"shards": number}
            together = [MeasuredDaemon(configuration, place, str(n)) for n in range(workers)]
            name = f"{number} in {workers}"
            rates.setdefault(name, []).append(work_off(together, EVENTS))
    return _against_first("shards in workers", rates)


def steady(bootstrap: str, topic: str, rate: int, seconds: float, events: Path) -> Any:
    script = str(HERE / "steady_producer.py")
    command = [str(RIVALS_PYTHON), script, bootstrap, topic, "4", str(rate), str(seconds)]
    return subprocess.Popen([*command, str(events)], stdout=subprocess.DEVNULL)


def write_events(path: Path, count: int, distinct: int) -> None:
    """Lines for steady_producer.py, whose field SENT is the event's time; keys drawn evenly."""
    drawn = np.random.default_rng(0).integers(0, distinct, (count, 2)).tolist()
    with path.open("wb") as file:
        for number, (customer, terminal) in enumerate(drawn):
            file.write(
                b'%d\t{"TRANSACTION_ID":%d,"CUSTOMER_ID":%d,"TERMINAL_ID":%d,"TX_AMOUNT":%d.25}\n'
                % (customer, number, customer, terminal, number % 97)
            )


def live_settings(bootstrap: str, topic: str, place: Path, detector: str) -> dict[str, Any]:
    configuration = settings(bootstrap, topic, place.name, place / "state", detector)
    configuration["event"]["time"] = {"field": "SENT", "format": "unix_s"}
    return configuration


def recovery(bootstrap: str, directory: Path) -> list[dict[str, object]]:
    """10,000 events a second; killed shortly before the next snapshot; back at once."""
    rate, rows = 10_000, []
    write_events(directory / "events", 500_000, 10_000)
    for interval in (5, 20, 60):
        topic = create_topic(bootstrap, f"recovery-{interval}", 4)
        place = directory / topic
        place.mkdir()
        configuration = live_settings(bootstrap, topic, place, "autoencoder")
        configuration["state"]["interval"] = f"{interval}s"
        configuration["kafka"]["instance_id"] = "worker"  # its shards are its own still
        worker = MeasuredDaemon(configuration, place)
        worker.wait_for("recovered|shard 0")
        producer = steady(bootstrap, topic, rate, 2 * interval + 60, directory / "events")
        newest = _newest_after(place / "state", time.time() + 3)
        time.sleep(max(0.0, newest + interval - 0.5 - time.time()))
        worker.kill()
        again = MeasuredDaemon(configuration, place, "again")
        up = again.since()
        again.wait_for(r"has caught up with its journal")
        caught = again.since()
        replayed = again.count("replayed_events")
        producer.kill()
        producer.wait()
        again.stop()
        rows.append(
            {
                "snapshot every": f"{interval} s",
                "metrics served after": f"{up:.1f} s",
                "replay done after": f"{caught:.1f} s",
                "events replayed": f"{replayed:,.0f}",
            }
        )
    return rows


def _newest_after(state: Path, moment: float) -> float:
    """When the first snapshot after ``moment`` was written."""
    while True:
        times = [path.stat().st_mtime for path in state.rglob("*") if path.is_file()]
        if times and max(times) > moment:
            return max(times)
        time.sleep(0.05)


def startup(bootstrap: str, directory: Path) -> list[dict[str, object]]:
    """From the command to metrics and to the first event, without state and with a large one."""
    rows: list[dict[str, object]] = []
    distinct = 100_000
    write_events(directory / "events", 500_000, distinct)
    topic = create_topic(bootstrap, "startup", 4)
    for name in ("without state", f"with two windows of {distinct:,} keys"):
        metrics, first = [], []
        for turn in range(3):
            place = directory / "large"
            if name == "without state":
                place = directory / f"new-{turn}"
            place.mkdir(exist_ok=True)
            producer = steady(bootstrap, topic, 10_000, 60, directory / "events")
            worker = MeasuredDaemon(
                live_settings(bootstrap, topic, place, "adaptive_ensemble"), place
            )
            metrics.append(worker.since())
            before = worker.events()
            while worker.events() <= before:
                time.sleep(0.02)
            first.append(worker.since())
            if place.name == "large" and not turn:
                producer.wait()  # a minute: every key has been seen
                metrics, first = [], []
            worker.stop()
            producer.kill()
            producer.wait()
        rows.append(
            {
                "": name,
                "metrics served after": f"{statistics.median(metrics):.1f} s",
                "first event processed after": f"{statistics.median(first):.1f} s",
            }
        )
    return rows


def memory(bootstrap: str, directory: Path) -> list[dict[str, object]]:
    """Ten million events, two windows with 100,000 keys each, four partitions."""
    events, rows = 10_000_000, []
    write_events(directory / "events", 2_000_000, 100_000)
    for detector, rate in (("autoencoder", 40_000), ("adaptive_ensemble", 20_000)):
        topic = create_topic(bootstrap, f"memory-{detector}", 4, {"retention.bytes": "200000000"})
        place = directory / topic
        place.mkdir()
        worker = MeasuredDaemon(live_settings(bootstrap, topic, place, detector), place)
        producer = steady(bootstrap, topic, rate, events / rate * 1.2, directory / "events")
        samples: list[tuple[float, float]] = []
        while not samples or samples[-1][0] < events:
            samples.append((worker.events(), worker.resident_mib()))
            time.sleep(0.5)
        producer.kill()
        producer.wait()
        worker.stop()
        at = {share: next(m for n, m in samples if n >= events * share) for share in (0.1, 0.5, 1)}
        rows.append(
            {
                "detector": detector,
                "events": f"{events:,}",
                **{f"MiB at {share:.0%}": f"{mib:.0f}" for share, mib in at.items()},
                "peak MiB": f"{max(mib for _, mib in samples):.0f}",
            }
        )
        print(rows[-1], file=sys.stderr, flush=True)  # the next one takes minutes
    return rows
