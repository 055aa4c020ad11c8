"""``stream-detector run``: the daemon."""

from __future__ import annotations

import argparse
import gc
import logging
from contextlib import closing
from typing import Any

from stream_detector.alerts import SEVERITIES
from stream_detector.cli.common import (
    Stop,
    add_command,
    add_configuration,
    configuration,
    kafka_section,
)
from stream_detector.config import Config
from stream_detector.config.models import Kafka
from stream_detector.connectors.kafka.admin import wait_for_topics
from stream_detector.connectors.kafka.sink import KafkaSink
from stream_detector.connectors.kafka.source import KafkaSource
from stream_detector.daemon.loop import Daemon, directory_stores
from stream_detector.telemetry.logs import fields
from stream_detector.telemetry.metrics import Metrics
from stream_detector.telemetry.server import HealthState, MetricsServer

log = logging.getLogger(__name__)

DELIVERY = "at_least_once"


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = add_command(
        subparsers,
        "run",
        run,
        "Read events from Kafka, write alerts to Kafka, serve metrics, until stopped.",
        "stream-detector run config/transactions.yaml",
    )
    add_configuration(parser)
    parser.add_argument(
        "--reset-state",
        action="store_true",
        help="delete this group's snapshots first and begin with an untrained model",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the daemon. Returns the exit code 0; every other one is an exception."""
    config = configuration(arguments)
    kafka = kafka_section(config, arguments.config)
    stores = directory_stores(config, kafka.group)
    if arguments.reset_state:
        for number in range(config.processing.shards):
            stores(number).delete_all()
    metrics, health = Metrics(severities=SEVERITIES), HealthState()
    metrics.watch_ready(lambda: health.ready()[0])
    metrics.set_config(config.name, config.detector.kind, DELIVERY)
    server = None
    if config.metrics.enabled:
        server = MetricsServer(metrics, health, config.metrics.host, config.metrics.port)
        server.start()
        address = f"http://{config.metrics.host}:{server.port}/metrics"
        log.info("metrics at %s", address, extra=fields("metrics", url=address))
    stop = Stop(config.processing.shutdown_timeout)
    try:
        with stop.listening():
            _work(config, kafka, metrics, health, stop, reset=arguments.reset_state)
    finally:
        if server is not None:
            server.stop()
    return 0


def _calm_collector() -> None:
    """Let Python's cycle collector run seldom: a poll makes thousands of records, none in a cycle.

    With the default of 700 objects it walks all living records several times a poll.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)


def _work(
    config: Config, kafka: Kafka, metrics: Metrics, health: HealthState, stop: Stop, *, reset: bool
) -> None:
    def waiting(reason: str) -> None:
        metrics.set_waiting_for_input(True)
        log.warning("waiting: %s", reason, extra=fields("waiting"))

    _calm_collector()
    counts = wait_for_topics(kafka, waiting=waiting, stopping=stop)
    metrics.set_waiting_for_input(False)
    if stop():
        return
    log.info("reading %s", ", ".join(f"{t} ({counts[t]} partitions)" for t in kafka.topics))
    processing = config.processing
    with (
        closing(KafkaSink(kafka)) as sink,
        closing(
            KafkaSource(
                kafka, shards=processing.shards, max_poll_records=processing.max_poll_records
            )
        ) as source,
    ):
        Daemon(
            config,
            kafka,
            source,
            sink,
            metrics,
            health,
            store=directory_stores(config, kafka.group),
            stopping=stop,
            accept_untrained=reset,
        ).run()
        # While it closes, kafka-python's I/O thread may read from a socket that is gone, and says
        # so at ERROR with a traceback. Everything is committed: there is nothing to act on.
        logging.getLogger("kafka.net").setLevel(logging.CRITICAL)
