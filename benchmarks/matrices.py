"""Matrices of numbers as the events that a pipeline takes, for the benchmarks of quality."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from stream_detector.config import Config, FieldPlan, state_fingerprint
from stream_detector.config.loading.load import parse
from stream_detector.events import EventBatch, PlainRecord, TopicPartition, object_column
from stream_detector.pipeline import PipelineCore

START_MS = 1_500_000_000_000
SOURCE = TopicPartition("events", 0)


def numeric_config(columns: int, **sections: Any) -> Config:
    """A configuration whose features are the numbers ``f0`` to ``f{columns - 1}``."""
    features = [{"numeric": f"f{column}"} for column in range(columns)]
    return parse(json.dumps({"name": "matrix", "features": features, **sections}), "-", {}).config


def new_pipeline(config: Config) -> PipelineCore:
    assert FieldPlan.of(config).numeric
    return PipelineCore(config, state_fingerprint(config))


def batch_of(rows: np.ndarray, first: int = 0, labels: np.ndarray | None = None) -> EventBatch:
    """``rows`` (events, columns) as events, one a second; ``first`` is the offset of the first."""
    count = len(rows)
    offsets = np.arange(first, first + count)
    times = START_MS + offsets * 1000
    nothing = object_column([None] * count)
    return EventBatch(
        source=object_column([SOURCE] * count),
        offset=offsets,
        time_ms=times,
        record=object_column(
            [PlainRecord(int(o), int(t), None, b"{}") for o, t in zip(offsets, times, strict=True)]
        ),
        rejection=nothing,
        event_id=nothing.copy(),
        numeric=np.ascontiguousarray(rows, dtype=np.float64),
        text=(),
        label=np.full(count, np.nan) if labels is None else labels,
    )
