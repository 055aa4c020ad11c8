"""The job as a service: topics, connections and metrics around the query."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack

from stream_detector.config.models.config import Config, KafkaConfig
from stream_detector.connectors.kafka.connection.admin import wait_for_topics
from stream_detector.events import NO_TIMESTAMP
from stream_detector.pipeline import BatchResult
from stream_detector.spark.batches import Batches
from stream_detector.spark.connected import connected
from stream_detector.spark.job import Job, Sizes, ended, session
from stream_detector.spark.limits import check_fits
from stream_detector.telemetry.health import HealthState
from stream_detector.telemetry.logs import fields
from stream_detector.telemetry.metrics import Metrics
from stream_detector.telemetry.outcomes import count_outcome

log = logging.getLogger(__name__)

_LONG_MS = 3_600_000
"""Of what was measured: batches of an hour find as much as the daemon does (docs/scale.md)."""


class Reporter:
    """Counts what batches have brought, under the daemon's names."""

    def __init__(self, metrics: Metrics, batches: Batches) -> None:
        self._metrics, self._batches = metrics, batches
        self._mark_ms = NO_TIMESTAMP
        metrics.begin_shard(0)

    def __call__(self, number: int, outcome: BatchResult) -> None:
        """A batch was taken."""
        metrics = self._metrics
        count_outcome(metrics, 0, outcome)
        figures = self._batches.head.core.figures()
        self._note_length(number, figures.watermark_ms)
        metrics.set_threshold(0, figures.champion.threshold, figures.champion.alert_share)
        metrics.ticks.set_watermark(0, figures.watermark_ms / 1000)
        metrics.add_events(self._batches.taken)
        log.info(
            "batch %d: %d events, %d alerts, %d rejected",
            number,
            len(outcome.scores),
            len(outcome.alerts),
            len(outcome.rejections),
            extra=fields("batch", stage="commit", events=len(outcome.scores)),
        )

    def _note_length(self, number: int, mark_ms: int) -> None:
        """Say so where a batch was so long that what it alerts about is judged by what is old."""
        before, self._mark_ms = self._mark_ms, mark_ms
        if NO_TIMESTAMP not in (before, mark_ms) and mark_ms - before > _LONG_MS:
            log.warning(
                "batch %d was %.1f hours of event time: all of it was scored by the model of "
                "before, and a jump in it may raise thousands of alerts. Take fewer --events",
                number,
                (mark_ms - before) / 3_600_000,
                extra=fields("batch-long", stage="decide", batch=number),
            )


def serve(
    config: Config,
    kafka: KafkaConfig,
    sizes: Sizes,
    metrics: Metrics,
    health: HealthState,
    stop: Callable[[], bool],
    *,
    jars: str | None,
    master: str | None,
) -> None:
    """Run the job until it is to stop.

    Raises ``StreamDetectorError`` for whatever ends the process.
    """
    check_fits(config, kafka)
    if config.processing.counterfactuals:
        log.warning(
            "alerts say nothing of what would have been ordinary: a key's history lies elsewhere",
            extra=fields("no-counterfactuals", stage="open"),
        )
    wait_for_topics(kafka, waiting=_waiting, stopping=stop)
    if stop():
        return
    with ExitStack() as stack:
        batches = stack.enter_context(connected(config, kafka, metrics))
        logging.getLogger("py4j").setLevel(logging.WARNING)
        spark = session(config, sizes, jars, master)
        stack.callback(ended, spark)
        spark.sparkContext.setLogLevel("ERROR")
        health.set_assigned()

        def turned() -> bool:
            health.loop_turned()
            health.broker_answered()
            return stop()

        Job(config, kafka, sizes, batches, Reporter(metrics, batches)).run(spark, turned)


def _waiting(reason: str) -> None:
    log.warning("waiting: %s", reason, extra=fields("waiting", stage="open"))
