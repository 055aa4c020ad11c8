"""A pipeline that has learnt from history, before it sees the first live event."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stream_detector.config import Config, FieldPlan, state_fingerprint
from stream_detector.connectors.base import Source
from stream_detector.decoding import Decoder
from stream_detector.evaluation.backtest import take_rejections
from stream_detector.events import Float64
from stream_detector.pipeline import PipelineCore
from stream_detector.rejections import RejectionTally


@dataclass(frozen=True, slots=True)
class Trained:
    """Result of a training: what has learnt, and from what.

    Attributes:
        pipeline: with all that was learnt.
        labels: (events,) of all events, rejected ones too: 1, 0, NaN unknown.
        tally: what was rejected.
    """

    pipeline: PipelineCore
    labels: Float64
    tally: RejectionTally

    @property
    def accepted(self) -> int:
        """Events that were not rejected."""
        return len(self.labels) - self.tally.records


def train(
    config: Config,
    source: Source,
    *,
    reading: Config | None = None,
    normal_only: bool = False,
    progress: Callable[[int], None] = lambda _events: None,
) -> Trained:
    """Run a finite source through a new pipeline.

    Args:
        config: what the pipeline is made with, and its state goes on with.
        source: read to its end.
        reading: how events and labels are read; None: as ``config`` says.
        normal_only: learn only events whose label says normal.
        progress: called with the number of events so far.

    Raises ``ConnectorError`` where the source fails.
    """
    read_as = config if reading is None else reading
    decoder = Decoder(read_as, FieldPlan.of(read_as))
    pipeline = PipelineCore(config, state_fingerprint(config))
    events, tally, labels = 0, RejectionTally(), [np.empty(0)]
    while not source.exhausted():
        for fetched in source.poll(1.0):
            batch = decoder.decode(fetched.source, fetched.records)
            labels.append(batch.label)
            events += len(batch)
            if normal_only:
                rejected = batch.rejection != None  # noqa: E711 - elementwise
                batch = batch.take(np.flatnonzero(rejected | (batch.label == 0)))
            take_rejections(tally, pipeline.process(batch))
            progress(events)
    return Trained(pipeline, np.concatenate(labels), tally)
