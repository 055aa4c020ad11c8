"""Card transactions through the pipeline in stages: quality and bits by the number of buckets.

    python -m benchmarks.scale.buckets card_transactions.csv.gz --minutes 60

The features of every batch are extracted three times, for 1, 4 and 12 buckets of the keys of each
field, and must be the same bytes. Beside it the daemon's pipeline sees the same events.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score

from stream_detector.batches.head import Head
from stream_detector.batches.keyed import FeaturePart, bucket_output
from stream_detector.batches.ordering import CONTROL, PART, Handed, Ordering
from stream_detector.batches.packing import unpack
from stream_detector.batches.scored import PartScorer
from stream_detector.config import Config, FieldPlan, state_fingerprint
from stream_detector.config.loading.load import load_config
from stream_detector.config.models.base import LARGEST_NUMBER
from stream_detector.config.models.config import ThresholdConfig
from stream_detector.connectors.files import FileSource, typed_columns
from stream_detector.decoding import Decoder
from stream_detector.events import EventBatch
from stream_detector.pipeline import PipelineCore

BUCKETS = (1, 4, 12)
FIRST_DAY = 98
DAY_MS = 86_400_000


def batches(config: Config, path: str, minutes: float) -> Iterator[EventBatch]:
    """Events in the order of the file, in batches that end with every so many minutes of time."""
    numeric, boolean = typed_columns(config)
    decoder, source = (
        Decoder(config, FieldPlan.of(config)),
        FileSource(path, numeric=numeric, boolean=boolean),
    )
    while not source.exhausted():
        for fetched in source.poll(1.0):
            batch = decoder.decode(fetched.source, fetched.records)
            ends = np.flatnonzero(np.diff(batch.time_ms // int(minutes * 60_000))) + 1
            edges = [0, *ends.tolist(), len(batch)]
            for start, stop in pairwise(edges):
                yield batch.take(slice(start, stop))


class Extraction:
    """Features by so many buckets, with the CPU seconds that they take."""

    def __init__(self, config: Config, buckets: int) -> None:
        self._config, self._parts = config, dict[tuple[str, int], FeaturePart]()
        self.ordering = Ordering(config, buckets, 4)
        self.seconds: dict[str, float] = defaultdict(float)

    def take(self, batch: EventBatch) -> tuple[list[Handed], dict[int, list[bytes]]]:
        started = time.process_time()
        handed = list(self.ordering.take([batch]))
        self.seconds["order"] += time.process_time() - started
        started = time.process_time()
        halves: dict[int, list[bytes]] = defaultdict(list)
        for one in handed:
            if one.kind in (CONTROL, PART):
                continue
            place = (one.kind, one.number)
            if place not in self._parts:
                self._parts[place] = FeaturePart(self._config, one.kind)
            for number, half in bucket_output(self._parts[place], one.kind, unpack(one.data)):
                halves[number].append(half)
        self.seconds["features"] += time.process_time() - started
        return handed, halves


def put_together(halves: dict[int, list[bytes]]) -> list[Any]:
    """All features of a batch in the order of its rows, for a comparison."""
    found = []
    for number in sorted(halves):
        by_key: dict[str, list[Any]] = defaultdict(list)
        for half in map(unpack, halves[number]):
            by_key[half["key"]].append((half["rows"], half["columns"]))
        for key in sorted(by_key):
            rows, columns = zip(*by_key[key], strict=True)
            order = np.argsort(np.concatenate(rows))
            found.append(np.concatenate(columns)[order].tobytes())
    return found


def quiet(config: Config, kind: str | None) -> Config:
    """No score reaches the threshold, so no time goes into alerts; maybe another detector."""
    changes: dict[str, Any] = {"threshold": ThresholdConfig(score=LARGEST_NUMBER)}
    changes |= {"suppression": None, "kafka": None, "incidents": None}
    if kind is not None:
        changes["labels"] = None
    return config.model_copy(update=changes)


def run(config: Config, kind: str | None, path: str, minutes: float, most: int) -> dict[str, Any]:
    """Run all of it; what was found."""
    whole, config = config, quiet(config, kind)
    each = {buckets: Extraction(config, buckets) for buckets in BUCKETS}
    scorer, head = PartScorer(config), Head(config)
    daemon = PipelineCore(config, state_fingerprint(config))
    scores: dict[str, list[Any]] = defaultdict(list)
    labels, times, sizes, differing = [], [], [], 0
    seconds: dict[str, float] = defaultdict(float)
    for batch in batches(whole, path, minutes):
        started = time.process_time()
        scores["daemon"].append(daemon.process(batch.take(slice(None))).scores)
        seconds["daemon"] += time.process_time() - started
        found = {n: one.take(batch.take(slice(None))) for n, one in each.items()}
        expected = put_together(found[BUCKETS[0]][1])
        differing += sum(put_together(found[n][1]) != expected for n in BUCKETS[1:])
        handed, halves = found[BUCKETS[-1]]
        started = time.process_time()
        scorer.use(head.version())
        control = next(one.data for one in handed if one.kind == CONTROL)
        parts = [scorer.score(one.data, halves[one.number]) for one in handed if one.kind == PART]
        seconds["score"] += time.process_time() - started
        started = time.process_time()
        scores["stages"].append(head.take(control, parts).scores)
        seconds["decide and learn"] += time.process_time() - started
        labels.append(batch.label)
        times.append(batch.time_ms)
        sizes.append(len(batch))
        if sum(sizes) >= most:
            break
    when, truth = np.concatenate(times), np.concatenate(labels)
    late = when >= when[0] // DAY_MS * DAY_MS + FIRST_DAY * DAY_MS
    events = len(when)
    result: dict[str, Any] = {"events": events, "batches": len(sizes), "largest": max(sizes)}
    result["batches whose features differ by buckets"] = differing
    if truth[late].sum() > 0:
        result["average precision"] = {
            name: round(float(average_precision_score(truth[late], np.concatenate(some)[late])), 4)
            for name, some in scores.items()
        }
    micro = {name: round(1e6 * value / events, 1) for name, value in seconds.items()}
    for buckets, one in each.items():
        micro |= {f"{n}, {buckets}": round(1e6 * v / events, 1) for n, v in one.seconds.items()}
    return {**result, "CPU microseconds an event": micro}


def main() -> int:
    """Print what was found as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("--config", default="config/transactions.yaml")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--kind", help="another detector, without labels")
    parser.add_argument("--events", type=int, default=10**9)
    arguments = parser.parse_args()
    other = {"detector": {"kind": arguments.kind}} if arguments.kind else {}
    config = load_config(arguments.config, os.environ, other)
    found = run(config, arguments.kind, arguments.data, arguments.minutes, arguments.events)
    print(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
