"""A file's features computed once, so that many detectors can be run over the same rows.

Features and scaling do not depend on the detector. They cost more than most detectors do, so the
raw features go into a temporary file, and each trial is the very pipeline of ``run``, which takes
them from that file instead of extracting them. `tests/test_tune.py` holds both to the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from stream_detector.config.derived.fingerprint import state_fingerprint
from stream_detector.config.models.base import LARGEST_NUMBER
from stream_detector.config.models.config import Config, DetectorConfig, ThresholdConfig
from stream_detector.connectors.base import Source
from stream_detector.evaluation.backtest import Scored, backtest
from stream_detector.events import (
    NO_TIMESTAMP,
    EventBatch,
    Float64,
    Int64,
    PlainRecord,
    TopicPartition,
    object_column,
)
from stream_detector.pipeline import BeforeScoring, PipelineCore

_BATCH = 5000
_SOURCE = TopicPartition("replay", 0)
_RECORD = PlainRecord(0, NO_TIMESTAMP, None, None)


@dataclass(frozen=True, slots=True)
class Recording:
    """The accepted events of a file.

    Attributes:
        config: the configuration they were read under, which never alerts.
        features: (events, features) float64, raw; in a file that the system pages in and out.
        scored: labels, times and the scores of the configured detector.
    """

    config: Config
    features: Float64
    scored: Scored

    def __len__(self) -> int:
        return len(self.features)


class _FeatureWriter:
    """An observer that writes down the features that it sees."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def observe(self, events: BeforeScoring) -> None:
        self._file.write(events.features.tobytes())


class _StoredFeatures:
    """Gives back what was written down, in the same order."""

    def __init__(self, features: Float64) -> None:
        self._features = features
        self._next = 0

    def extract(self, batch: EventBatch) -> Float64:
        start, self._next = self._next, self._next + len(batch)
        return np.array(self._features[start : self._next])


def record(
    config: Config,
    source: Source,
    file: IO[bytes],
    progress: Callable[[int], None] = lambda _events: None,
) -> Recording:
    """Run the configuration over a finite source and keep its features.

    Args:
        config: the configuration.
        source: a file source.
        file: where the features go; it must have a descriptor and stay open as long as they are
            read. Takes 8 bytes an event and feature.
        progress: called with the number of events so far.
    """
    quiet = _without_alerts(config)
    pipeline = PipelineCore(quiet, state_fingerprint(quiet), observer=_FeatureWriter(file))
    scored = backtest(quiet, source, pipeline=pipeline, keep_alerts=0, progress=progress)
    file.flush()
    shape = (len(scored.scores), len(pipeline.features.names))
    features = np.memmap(file, np.float64, "r", shape=shape) if shape[0] else np.empty(shape)
    return Recording(quiet, features, scored)


def replay(
    recording: Recording,
    detector: DetectorConfig,
    stop: int,
    *,
    give_up: Callable[[], bool] = lambda: False,
    progress: Callable[[int], None] = lambda _events: None,
) -> Float64 | None:
    """Scores of the first ``stop`` events under another detector, test-then-train.

    Args:
        recording: the events.
        detector: in the place of the recorded configuration's.
        stop: how many events.
        give_up: asked before each batch.
        progress: called with the number of events of each batch.

    Returns:
        (stop,) float64; None where it was given up.
    """
    config = recording.config.model_copy(update={"detector": detector})
    stored = _StoredFeatures(recording.features)
    pipeline = PipelineCore(config, state_fingerprint(config), extract=stored.extract)
    scores = np.empty(stop)
    scored = recording.scored
    for start in range(0, stop, _BATCH):
        if give_up():
            return None
        rows = slice(start, min(start + _BATCH, stop))
        batch = _batch(scored.times_ms[rows], scored.marks_ms[rows], scored.labels[rows])
        scores[rows] = pipeline.process(batch).scores
        progress(len(batch))
    return scores


def _without_alerts(config: Config) -> Config:
    """No score reaches the threshold: no time goes into alerts and reasons, or a challenger."""
    never = ThresholdConfig(score=LARGEST_NUMBER)
    changes: dict[str, Any] = {"threshold": never, "monitors": []}
    changes |= dict.fromkeys(("suppression", "incidents", "challenger"))
    if config.kafka is not None:
        changes["kafka"] = config.kafka.model_copy(update={"incidents": None})
    return config.model_copy(update=changes)


def _batch(times_ms: Int64, marks_ms: Int64, labels: Float64) -> EventBatch:
    """Accepted events of which only time, watermark and label are left."""
    count = len(times_ms)
    return EventBatch(
        source=object_column([_SOURCE] * count),
        offset=np.zeros(count, np.int64),
        time_ms=times_ms,
        record=object_column([_RECORD]).repeat(count),
        rejection=np.full(count, None, dtype=object),
        event_id=np.full(count, None, dtype=object),
        numeric=np.empty((count, 0)),
        text=(),
        label=labels,
        mark_ms=marks_ms,
    )
