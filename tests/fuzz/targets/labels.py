"""Messages on the labels' topic."""

from __future__ import annotations

import json

from support.streams import SOURCE, configuration

from fuzz.target import Target
from stream_detector.config import FieldPlan
from stream_detector.decoding.label_decoder import LabelDecoder
from stream_detector.events import NO_TIMESTAMP, PlainRecord
from stream_detector.pipeline import PipelineCore

LABELS = {"field": "label", "delay": "1h", "positive": ["fraud"]}
CONFIG = configuration(labels=LABELS)
DECODER = LabelDecoder(CONFIG.labels, FieldPlan.of(CONFIG))
SEEDS = [
    json.dumps(each).encode()
    for each in (
        {"event_id": "e1", "label": 1},
        {"event_id": 17, "label": "fraud", "time": "2026-05-01T12:00:00Z"},
        {"event_id": "x" * 100, "label": False, "time": 1_600_000_000_000},
        {"event_id": "e2", "label": 0.0, "time": None, "other": [1, {"a": 2}]},
    )
]


def read(data: bytes) -> bool:
    batch = DECODER.decode(SOURCE, [PlainRecord(0, 1_600_000_000_000, None, data)])
    taken = batch.rejection[0] is None
    if taken:
        assert batch.label[0] in (0.0, 1.0)
        assert isinstance(batch.event_id[0], str)
        assert batch.time_ms[0] >= 0
    else:
        assert batch.time_ms[0] == NO_TIMESTAMP
    PIPELINE.process(batch)
    return taken


PIPELINE = PipelineCore(CONFIG, "", by_id=True)

TARGET = Target(lambda: SEEDS, read)
