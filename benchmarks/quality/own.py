"""Our detectors, run as a user gets them: through the pipeline that the daemon runs."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from stream_detector.config import Config, state_fingerprint
from stream_detector.config.loading.load import parse
from stream_detector.events import NO_TIMESTAMP, EventBatch, PlainRecord, TopicPartition
from stream_detector.pipeline import PipelineCore

BATCH = 4096
SOURCE = TopicPartition("quality", 0)
SECOND_MS = 1000


def configuration(features: int, sections: dict[str, Any] | None = None) -> Config:
    """What a user would write: every column a numeric feature, the rest by default.

    Args:
        features: number of columns.
        sections: what else the file has, for example ``{"detector": {"kind": "loda"}}``.
    """
    columns = [{"numeric": f"f{column}"} for column in range(features)]
    settings = {"name": "quality", "features": columns, **(sections or {})}
    return parse(json.dumps(settings), "quality.yaml", {}).config


def prequential(features: np.ndarray, sections: dict[str, Any] | None = None) -> np.ndarray:
    """Score of every row (rows,), given before the pipeline learnt it. Never sees a label.

    Args:
        features: (rows, columns) float64, one event a second.
        sections: as for ``configuration``.
    """
    config = configuration(features.shape[1], sections)
    pipeline = PipelineCore(config, state_fingerprint(config))
    parts = [
        pipeline.process(events(features[start : start + BATCH], start)).scores
        for start in range(0, len(features), BATCH)
    ]
    return np.concatenate(parts)


def events(features: np.ndarray, first: int) -> EventBatch:
    """Rows as the decoder would hand them on, with times a second apart and no label."""
    count = len(features)
    nothing = np.full(count, None, dtype=object)
    record, source = np.empty(count, dtype=object), np.empty(count, dtype=object)
    source.fill(SOURCE)
    # Only an alert looks at the record, to quote it.
    for row in range(count):
        record[row] = PlainRecord(first + row, NO_TIMESTAMP, None, b"{}")
    offset = np.arange(first, first + count, dtype=np.int64)
    return EventBatch(
        source=source,
        offset=offset,
        time_ms=offset * SECOND_MS,
        record=record,
        rejection=nothing,
        event_id=nothing,
        numeric=features,
        text=(),
        label=np.full(count, np.nan),
    )
