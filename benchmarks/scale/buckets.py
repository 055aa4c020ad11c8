"""Card transactions through the pipeline in stages: quality and bits by the number of buckets.

    python -m benchmarks.scale.buckets card_transactions.csv.gz --minutes 60
    python -m benchmarks.scale.buckets card_transactions.csv.gz --count 10000 --buckets 4 --alerts

All stages in one process, once for each number of buckets of the keys of each field; the scores of
every batch must be the same bytes. Beside it the daemon's pipeline sees the same events. With
``--count`` a batch is so many events, whatever their time. Buckets stay objects between batches,
where an engine makes bytes of them: at a batch of an hour that is most of its time.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from itertools import pairwise
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score

from stream_detector.batches.in_process import InProcess
from stream_detector.batches.keyed import FeaturePart, bucket_output
from stream_detector.batches.packing import unpack
from stream_detector.config import Config, FieldPlan, state_fingerprint
from stream_detector.config.loading.load import load_config
from stream_detector.config.models.base import LARGEST_NUMBER
from stream_detector.config.models.config import ThresholdConfig
from stream_detector.connectors.files import FileSource, typed_columns
from stream_detector.decoding import Decoder
from stream_detector.events import EventBatch
from stream_detector.pipeline import BatchResult, PipelineCore
from stream_detector.pipeline.stage import Stage

PARTS = 4
FIRST_DAY = 98
DAY_MS = 86_400_000
LONGEST_POLL = 1.0


def pieces(config: Config, path: str) -> Iterator[EventBatch]:
    """Events in the order of the file, decoded."""
    numeric, boolean = typed_columns(config)
    decoder = Decoder(config, FieldPlan.of(config))
    source = FileSource(path, numeric=numeric, boolean=boolean)
    while not source.exhausted():
        for fetched in source.poll(LONGEST_POLL):
            yield decoder.decode(fetched.source, fetched.records)


def by_time(some: Iterator[EventBatch], minutes: float) -> Iterator[list[EventBatch]]:
    """Batches that end with every so many minutes of event time, and with what was read at once."""
    for batch in some:
        ends = np.flatnonzero(np.diff(batch.time_ms // int(minutes * 60_000))) + 1
        for start, stop in pairwise([0, *ends.tolist(), len(batch)]):
            yield [batch.take(slice(start, stop))]


def by_count(some: Iterator[EventBatch], count: int) -> Iterator[list[EventBatch]]:
    """Batches of so many events, the last maybe of fewer."""
    held: list[EventBatch] = []
    for batch in some:
        rest = batch
        while (missing := count - sum(map(len, held))) <= len(rest):
            yield [*held, rest.take(slice(0, missing))]
            held, rest = [], rest.take(slice(missing, len(rest)))
        if len(rest):
            held.append(rest)
    if held:
        yield held


class Runner:
    """One way through the pipeline: its scores, alerts and CPU seconds by stage."""

    def __init__(self, process: Callable[[list[EventBatch]], Sequence[BatchResult]]) -> None:
        """``process``: takes a batch in pieces."""
        self._process = process
        self.scores: list[Any] = []
        self.alerts: list[int] = []
        self.spent = 0.0
        self._hash = blake2b(digest_size=8)

    def take(self, batch: list[EventBatch]) -> None:
        """Take a batch, which others take as well."""
        own = [piece.take(slice(None)) for piece in batch]
        started = time.process_time()
        outcomes = self._process(own)
        self.spent += time.process_time() - started
        self.scores += [outcome.scores for outcome in outcomes]
        for outcome in outcomes:
            self._hash.update(outcome.scores.tobytes())
        self.alerts.append(sum(len(outcome.alerts) for outcome in outcomes))

    def found(self, truth: Any, late: Any, clock: dict[str, float]) -> dict[str, Any]:
        """Figures; ``late``: events that count for the average precision."""
        count = len(truth)
        result: dict[str, Any] = {"hash of all scores": self._hash.hexdigest()}
        if truth[late].sum() > 0:
            scores = np.concatenate(self.scores)[late]
            result["average precision"] = round(average_precision_score(truth[late], scores), 4)
        result["alerts"] = sum(self.alerts)
        result["most alerts of a batch"] = max(self.alerts)
        micro = {name: round(1e6 * value / count, 1) for name, value in clock.items()}
        result["CPU microseconds an event"] = micro | {"all": round(1e6 * self.spent / count, 1)}
        return result


class Kept(InProcess):
    """All stages in one process; buckets of keys stay objects."""

    def __init__(self, config: Config, buckets: int, stage: Stage) -> None:
        super().__init__(config, buckets, PARTS, stage)
        self._own, self._held = config, dict[tuple[str, int], FeaturePart]()

    def _bucket(self, key: str, number: int, data: bytes) -> list[tuple[int, bytes]]:
        if (key, number) not in self._held:
            self._held[key, number] = FeaturePart(self._own, key)
        return bucket_output(self._held[key, number], key, unpack(data))


def cpu_of_stages(clock: dict[str, float]) -> Stage:
    """What stages are run in, so that ``clock`` takes their CPU seconds by name."""

    @contextmanager
    def stage(name: str) -> Iterator[None]:
        started = time.process_time()
        try:
            yield
        finally:
            clock[name] += time.process_time() - started

    return stage


def staged(config: Config, buckets: int, clock: dict[str, float]) -> Runner:
    """All stages in one process; ``clock`` takes their CPU seconds."""
    runner = Kept(config, buckets, cpu_of_stages(clock))
    return Runner(lambda batch: [runner.process(batch)])


def quiet(config: Config) -> Config:
    """No score reaches the threshold, so no time goes into alerts."""
    changes = {"threshold": ThresholdConfig(score=LARGEST_NUMBER), "suppression": None}
    return config.model_copy(update=changes)


def run(whole: Config, config: Config, arguments: argparse.Namespace) -> dict[str, Any]:
    """Run all of it; what was found. ``whole``: says what the truth is, ``config``: what is run."""
    clocks: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    daemon = PipelineCore(config, state_fingerprint(config))
    each = {"daemon": Runner(lambda batch: [daemon.process(piece) for piece in batch])}
    for buckets in arguments.buckets:
        name = f"{buckets} buckets"
        each[name] = staged(config, buckets, clocks[name])
    some = pieces(whole, arguments.data)
    count, minutes = arguments.count, arguments.minutes
    labels, times, sizes, hours = [], [], [], []
    for batch in by_count(some, count) if count else by_time(some, minutes):
        for one in each.values():
            one.take(batch)
        labels += [piece.label for piece in batch]
        times += [piece.time_ms for piece in batch]
        sizes.append(sum(map(len, batch)))
        hours.append((int(batch[-1].time_ms[-1]) - int(batch[0].time_ms[0])) / 3_600_000)
        if sum(sizes) >= arguments.events:
            break
    when, truth = np.concatenate(times), np.concatenate(labels)
    late = when >= when[0] // DAY_MS * DAY_MS + FIRST_DAY * DAY_MS
    result: dict[str, Any] = {"events": len(when), "batches": len(sizes), "largest": max(sizes)}
    result["hours of event time of a batch, at most"] = round(max(hours), 2)
    return result | {name: one.found(truth, late, clocks[name]) for name, one in each.items()}


def main() -> int:
    """Print what was found as JSON; fail where buckets make a difference."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--config", default="config/transactions.yaml")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--count", type=int, default=0, help="of a batch, in the place of minutes")
    parser.add_argument("--buckets", type=int, nargs="+", default=[1, 4, 12])
    parser.add_argument("--kind", help="another detector, without labels")
    parser.add_argument("--events", type=int, default=10**9)
    parser.add_argument("--alerts", action="store_true", help="go by the configured threshold")
    arguments = parser.parse_args()
    other = {"detector": {"kind": arguments.kind}} if arguments.kind else {}
    config = load_config(arguments.config, os.environ, other)
    # Neither incidents nor counterfactuals: they cost, and say nothing here.
    changes: dict[str, Any] = {"kafka": None}
    changes["processing"] = config.processing.model_copy(update={"counterfactuals": False})
    if arguments.kind:
        changes["labels"] = None
    own = (config if arguments.alerts else quiet(config)).model_copy(update=changes)
    found = run(config, own, arguments)
    print(json.dumps(found, indent=1))
    hashes = {found[f"{buckets} buckets"]["hash of all scores"] for buckets in arguments.buckets}
    return int(len(hashes) != 1)


if __name__ == "__main__":
    sys.exit(main())
