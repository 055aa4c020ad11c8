"""Values of an input topic: decoded, scored and learnt, or a dead letter."""

from __future__ import annotations

import itertools
import json

import numpy as np
from support.streams import configuration, decode, new_pipeline, records

from fuzz.target import Target
from stream_detector.events import PlainRecord

LODA = {"kind": "loda", "projections": 5, "bins": 8}
WINDOW = {
    "key": "user",
    "value": "amount",
    "half_lives": ["1h"],
    "compute": ["count", "mean", "deviation", "burst", "distinct"],
    "distinct_of": "kind",
    "max_keys": 16,
}
CONFIG = configuration(detector=LODA, windows=[WINDOW])
PIPELINE = new_pipeline(CONFIG)
OFFSETS = itertools.count()


def seeds() -> list[bytes]:
    values = [record.value or b"" for record in records(40)]
    first = json.loads(values[0])
    written = {**first, "amount": "1,234.50", "flag": "yes"}
    return [*values, json.dumps(written).encode()]


def read(data: bytes) -> bool:
    """Process one event in a pipeline that has seen all before it."""
    record = PlainRecord(next(OFFSETS), 1_600_000_000_000, b"k", data)
    outcome = PIPELINE.process(decode(CONFIG, [record]))
    if outcome.rejections:
        assert len(outcome.dead_letters) == 1
        return False
    assert np.isfinite(outcome.scores).all(), "a score is not finite"
    return True


TARGET = Target(seeds, read)
