"""A back-test: a file through the very pipeline that ``run`` uses, every score kept."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stream_detector.config.derived.field_plan import FieldPlan
from stream_detector.config.derived.fingerprint import state_fingerprint
from stream_detector.config.models.config import Config
from stream_detector.connectors.base import Source
from stream_detector.decoding import Decoder
from stream_detector.evaluation.incident_tally import IncidentTally
from stream_detector.evaluation.monitor_tally import MonitorTally
from stream_detector.events import EventBatch, Float64, Int64
from stream_detector.messages import Outgoing
from stream_detector.pipeline import BatchResult, PipelineCore
from stream_detector.rejections import RejectionTally


@dataclass(slots=True)
class Scored:
    """Every accepted event of a run, in order.

    Attributes:
        scores: (events,) float64, given before the event was learnt.
        labels: (events,) 1, 0 or NaN unknown.
        raised: (events,) bool, above the threshold of that moment.
        times_ms: (events,) event time.
        rows: (events,) number of the record in the file, from 0; rejected records are counted.
        has_time: whether the times are the events' own.
        rejected: records that were rejected, by reason.
        tally: the same by reason and field, with the first of each.
        suppressed: alerts held back.
        hidden: raised events and findings hidden by each rule.
        ruled: whether there were rules.
        drifts: drifts found by the section `drift`.
        alerts: the first ``keep_alerts`` alerts.
        alert_count: all alerts.
        monitors: the alerts among them that are of monitors.
        incidents: what they have in common.
        marks_ms: (events,) the stream's watermark after each.
        seconds: how long the events took, without what detectors import when they are built.
    """

    scores: Float64
    labels: Float64
    raised: NDArray[np.bool_]
    times_ms: Int64
    rows: Int64
    has_time: bool
    rejected: dict[str, int] = field(default_factory=dict)
    tally: RejectionTally = field(default_factory=RejectionTally)
    suppressed: int = 0
    hidden: Counter[str] = field(default_factory=Counter)
    ruled: bool = False
    drifts: int = 0
    alerts: list[Outgoing] = field(default_factory=list)
    alert_count: int = 0
    monitors: MonitorTally = field(default_factory=lambda: MonitorTally(()))
    incidents: IncidentTally = field(default_factory=IncidentTally)
    marks_ms: Int64 = field(default_factory=lambda: np.empty(0, np.int64))
    seconds: float = 0.0


def take_rejections(tally: RejectionTally, result: BatchResult) -> None:
    """Count what a batch of a file rejected; records are counted from 1."""
    places = (f"record {letter.offset + 1:,}" for letter in result.dead_letters)
    tally.add_all(result.rejections, places)


def batches(
    config: Config, source: Source, pipeline: PipelineCore
) -> Iterator[tuple[EventBatch, BatchResult]]:
    """Decode and process a finite source to its end, batch by batch.

    Raises ``ConnectorError`` where the source fails.
    """
    decoder = Decoder(config, FieldPlan.of(config))
    while not source.exhausted():
        for fetched in source.poll(1.0):
            batch = decoder.decode(fetched.source, fetched.records)
            yield batch, pipeline.process(batch)


def backtest(
    config: Config,
    source: Source,
    *,
    pipeline: PipelineCore | None = None,
    keep_alerts: int = 1000,
    progress: Callable[[int], None] = lambda _events: None,
    see: Callable[[EventBatch, BatchResult], None] | None = None,
    acts: Sequence[str] = (),
) -> Scored:
    """Run a configuration over a finite source, test-then-train.

    Args:
        config: the configuration.
        source: a file or memory source.
        pipeline: one to go on with (warmed up on history); a new one without it.
        keep_alerts: how many alerts to keep whole; later ones are counted, and without ``see`` what
            would have been ordinary is not looked for, nor, unless there are incidents, reasons,
            which take a scoring each.
        progress: called with the number of events so far.
        see: called with each batch and what was made of it.
        acts: of people, as the control topic has them: taken in before the first event.

    Raises ``ActError`` where one of them is none.
    """
    if pipeline is None:
        pipeline = PipelineCore(config, state_fingerprint(config))
    none = np.empty(0, np.int64)
    result = Scored(np.empty(0), np.empty(0), np.empty(0, bool), none, none, False)
    result.monitors = MonitorTally(pipeline.monitors.each)
    result.incidents = IncidentTally(on=pipeline.decisions.incidents.tracker is not None)
    result.ruled = bool(acts)
    for text in acts:
        pipeline.act(text)
    columns: list[tuple[Float64, Float64, NDArray[np.bool_], Int64, Int64, Int64]] = []
    stamped = False
    events = 0
    pipeline.decisions.explains = see is not None or keep_alerts > 0
    started = time.perf_counter()
    for batch, outcome in batches(config, source, pipeline):
        kept = ~np.isnan(outcome.scores)
        columns.append(
            (
                outcome.scores[kept],
                batch.label[kept],
                outcome.raised[kept],
                batch.time_ms[kept],
                batch.time_ms[kept] if batch.mark_ms is None else batch.mark_ms[kept],
                events + np.flatnonzero(kept),
            )
        )
        for rejection in outcome.rejections:
            result.rejected[rejection.reason] = result.rejected.get(rejection.reason, 0) + 1
        take_rejections(result.tally, outcome)
        result.suppressed += outcome.suppressed
        result.hidden.update(one.rule for one in outcome.hidden)
        result.drifts += len(outcome.changes)
        result.alert_count += len(outcome.alerts)
        if outcome.monitor_alerts:
            result.monitors.add_all(outcome.alerts)
        result.incidents.add_all(outcome.incident_bodies)
        result.alerts.extend(outcome.alerts[: max(keep_alerts - len(result.alerts), 0)])
        stamped = stamped or (len(batch) > 0 and batch.record[0].timestamp >= 0)
        events += len(batch)
        if see is not None:
            see(batch, outcome)
        if see is None:
            keeps = pipeline.decisions.advises = len(result.alerts) < keep_alerts
            # Incidents say how many have which reasons.
            pipeline.decisions.explains = keeps or (keep_alerts > 0 and bool(result.incidents))
        progress(events)
    result.seconds = time.perf_counter() - started
    result.monitors.end()
    if columns:
        scores, labels, raised, times_ms, marks_ms, rows = zip(*columns, strict=True)
        result.scores, result.labels = np.concatenate(scores), np.concatenate(labels)
        result.raised, result.times_ms = np.concatenate(raised), np.concatenate(times_ms)
        result.marks_ms, result.rows = np.concatenate(marks_ms), np.concatenate(rows)
    result.has_time = stamped or config.event.time is not None
    return result
