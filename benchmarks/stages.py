"""What each stage costs, so that a slower one shows in review: ``make bench-stages``.

Every stage runs alone, in this process, on the same generated events: chunks of 512 for the model,
2,500 records for what comes before it. Its time is the least of many runs, divided by that of a
fixed piece of Python and NumPy measured around it, in the same seconds: the quotient depends far
less on the machine and on who else is at work than the time does. ``--write`` stores the quotients
in ``results/stages.json``; without it they are compared with those stored, and a stage that costs
half as much again is named, with exit code 1.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from kafka.consumer.fetcher import Fetcher
from kafka.record import MemoryRecords
from kafka.record.memory_records import MemoryRecordsBuilder
from kafka.structs import TopicPartition as ClientPartition

from stream_detector.config.derived.field_plan import FieldPlan
from stream_detector.config.models.config import Config
from stream_detector.connectors.kafka.client.batches import BatchRecords
from stream_detector.connectors.tables import RowEncoder
from stream_detector.decoding import Decoder
from stream_detector.detectors.base import Detector, Rows
from stream_detector.detectors.boosted_trees import BoostedTrees
from stream_detector.detectors.registry import find_detector
from stream_detector.events import PlainRecord, TopicPartition
from stream_detector.features import FeatureExtractor
from stream_detector.scaling import RunningScaler
from stream_detector.simulation import transactions

STORED = Path(__file__).parent / "results" / "stages.json"
TOLERANCE = 1.5
EVENTS, CHUNK = 2500, 512
RUNS = 40
SOURCE = TopicPartition("events", 0)

CONFIGURATION = {
    "name": "stages",
    "event": {"id": "TRANSACTION_ID", "time": {"field": "TX_DATETIME"}},
    "features": [{"numeric": "TX_AMOUNT", "transform": "log"}, {"time": "night"}],
    "windows": [
        {
            "key": key,
            "value": "TX_AMOUNT",
            "half_lives": ["17h", "5d", "21d"],
            "compute": ["count", "mean", "deviation"],
        }
        for key in ("CUSTOMER_ID", "TERMINAL_ID")
    ],
}


def unit() -> None:
    """A fixed piece of work of the kinds that stages are made of: a dict, texts, small arrays."""
    table = {str(number): number for number in range(400)}
    sum(map(table.__getitem__, map(str, range(400))))
    matrix = np.linspace(-1.0, 1.0, 512 * 16).reshape(512, 16)
    for _ in range(10):
        np.tanh(matrix @ matrix[:16])
        matrix.take(np.arange(0, 512, 2), axis=0).sum(axis=1)


def least(work: Callable[[], object]) -> float:
    started = time.thread_time()  # the time that others were at work does not count
    work()
    return time.thread_time() - started


def quotient(work: Callable[[], object], events: int) -> tuple[float, float]:
    """Units a thousand events, and µs an event, both of the quickest runs."""
    work()
    times, units = [], []
    for _ in range(RUNS * EVENTS // events):
        units.append(least(unit))
        times.append(least(work))
    return min(times) / min(units) / events * 1000, min(times) / events * 1e6


def fetched(values: list[bytes]) -> bytes:
    """As a broker stores them: batches of 64 KiB."""
    data, number = bytearray(), 0
    while number < len(values):
        batch = MemoryRecordsBuilder(2, 0, 65_536, offset=number)
        while number < len(values) and batch.append(10**12 + number, b"4711", values[number]):
            number += 1
        batch.close()
        data += batch.buffer()
    return bytes(data)


def read(kind: type[Fetcher.PartitionRecords], data: bytes) -> None:
    records = kind(0, ClientPartition("events", 0), MemoryRecords(data))
    while records:
        records.take(EVENTS)


def measure() -> dict[str, tuple[float, float]]:
    config = Config.model_validate(CONFIGURATION)
    plan = FieldPlan.of(config)
    days = transactions.generate(EVENTS, seed=1)
    values = [line for day in days for line in day.json_lines()]
    records = [PlainRecord(number, -1, None, value) for number, value in enumerate(values)]
    data = fetched(values)
    decoder = Decoder(config, plan)
    events = decoder.decode(SOURCE, records)
    chunks = [events.take(slice(at, at + CHUNK)) for at in range(0, EVENTS - CHUNK, CHUNK)]
    extractor = FeatureExtractor(config, plan)
    # The hours of a stream that has not been through a day have no part in a score.
    raw = [extractor.calendar.scored(extractor.extract(chunk)) for chunk in chunks]
    scaler = RunningScaler(len(extractor.names))
    for matrix in raw:
        scaler.learn(matrix)
    rows = Rows(raw[-1], scaler.standardise(raw[-1]))
    cells = [[str(n), "2018-04-01 00:00:31", "596", "3156", f"{n}.16", "0"] for n in range(EVENTS)]
    encoder = RowEncoder(["id", "time", "customer", "terminal", "amount", "fraud"], ["amount"], [])
    results = {
        "kafka-python's records": quotient(lambda: read(Fetcher.PartitionRecords, data), EVENTS),
        "records": quotient(lambda: read(BatchRecords, data), EVENTS),
        "table rows": quotient(lambda: encoder.encode(cells), EVENTS),
        "decode": quotient(lambda: decoder.decode(SOURCE, records), EVENTS),
        "features": quotient(lambda: extractor.extract(chunks[-1]), CHUNK),
        "scale": quotient(lambda: scaler.standardise(scaler.impute(raw[-1])), CHUNK),
        "scaler learn": quotient(lambda: scaler.learn(raw[-1]), CHUNK),
    }
    for name in ("autoencoder", "half_space_forest", "loda", "adaptive_ensemble", "ensemble"):
        detector: Detector = find_detector(name).detector(len(extractor.names))
        for matrix in raw:
            detector.learn(Rows(matrix, scaler.standardise(matrix)))
        results[f"{name} score"] = quotient(lambda d=detector: d.score(rows), CHUNK)
        results[f"{name} learn"] = quotient(lambda d=detector: d.learn(rows), CHUNK)
    trees = BoostedTrees(len(extractor.names), EVENTS, seed=0)
    matrix = np.concatenate(raw)
    trees.learn(matrix, matrix[:, 0] > np.quantile(matrix[:, 0], 0.9))
    results["trees score"] = quotient(lambda: trees.logits(rows.features), CHUNK)
    return results


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="store the quotients")
    arguments = parser.parse_args()
    stored = json.loads(STORED.read_text()) if STORED.exists() else {}
    results = measure()
    slower = []
    print(f"{'stage':<26}{'µs an event':>12}{'units':>10}{'stored':>10}")
    for name, (units, microseconds) in results.items():
        before = stored.get(name)
        mark = ""
        if before is not None and units > TOLERANCE * before:
            slower.append(name)
            mark = f"  {units / before:.1f} times the stored figure"
        shown = f"{before:>10.3f}" if before is not None else f"{'':>10}"
        print(f"{name:<26}{microseconds:>12.2f}{units:>10.3f}{shown}{mark}")
    if arguments.write:
        figures = {name: round(units, 4) for name, (units, _) in results.items()}
        STORED.write_text(json.dumps(figures, indent=2) + "\n")
        return 0
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())
