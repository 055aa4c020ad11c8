"""An engine that is none: the driver of the job on Spark, with all stages in its own process.

As Spark does, it fixes the offsets of a batch before it runs it, keeps the stages' states beside
its checkpoint once the batch is done, and after a death runs the last batch again::

    python -m support.plain_engine CONFIG DIRECTORY SIZE
"""

from __future__ import annotations

import os
import pickle
import sys
import uuid
from collections import defaultdict
from pathlib import Path
from typing import Any

from kafka_broker.clients import consume_all

from stream_detector.batches.in_process import InProcess
from stream_detector.config.derived.field_plan import FieldPlan
from stream_detector.config.loading.load import load_config
from stream_detector.decoding import Decoder
from stream_detector.events import PlainRecord, TopicPartition
from stream_detector.pipeline import BatchResult
from stream_detector.spark.connected import connected
from stream_detector.telemetry.metrics import Metrics

BUCKETS, PARTS = 4, 3


def written(directory: Path, name: str, default: Any) -> Any:
    path = directory / name
    return pickle.loads(path.read_bytes()) if path.exists() else default


def write(directory: Path, name: str, value: Any) -> None:
    beside = directory / f"{name}.new"
    beside.write_bytes(pickle.dumps(value))
    beside.replace(directory / name)


def main(path: str, place: str, size: int) -> None:
    directory = Path(place)
    directory.mkdir(exist_ok=True)
    config = load_config(path, os.environ)
    kafka = config.kafka
    assert kafka is not None
    (topic,) = kafka.topics
    records = consume_all(kafka.bootstrap_servers, topic)
    query = written(directory, "query", None) or str(uuid.uuid4())
    write(directory, "query", query)
    decoder = Decoder(config, FieldPlan.of(config))
    runner = InProcess(config, BUCKETS, PARTS)
    runner.states = written(directory, "states", {})
    with connected(config, kafka, Metrics()) as batches:
        batches.open(query)
        for number in range(written(directory, "done", -1) + 1, -(-len(records) // size)):
            apart = defaultdict(list)
            for one in records[number * size : (number + 1) * size]:
                plain = PlainRecord(one.offset, one.timestamp, one.key, one.value, one.headers)
                apart[one.partition].append(plain)
            pieces = [
                decoder.decode(TopicPartition(topic, each), own) for each, own in apart.items()
            ]

            def scored(version: bytes, pieces: Any = pieces) -> list[tuple[int, bytes]]:
                control, parts = runner.scored(pieces, version)
                return [(-1, control), *enumerate(parts)]

            outcome = batches.take(number, scored)
            assert outcome is None or isinstance(outcome, BatchResult)
            # Both in one file system operation would be better; the test's deaths are elsewhere.
            write(directory, "states", runner.states)
            write(directory, "done", number)
            print(number, "again" if outcome is None else len(outcome.alerts), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
