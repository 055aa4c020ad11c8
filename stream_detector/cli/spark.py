"""``stream-detector spark``: the daemon's pipeline on Apache Spark."""

from __future__ import annotations

import argparse
from importlib import import_module
from typing import Any

from stream_detector.alerts import SEVERITIES
from stream_detector.cli.common import (
    Stop,
    add_command,
    add_configuration,
    configuration,
    kafka_section,
)
from stream_detector.cli.metrics_server import metrics_served
from stream_detector.errors import ConfigurationError
from stream_detector.telemetry.metrics import Metrics
from stream_detector.telemetry.server import HealthState


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = add_command(
        subparsers,
        "spark",
        run,
        "Run the pipeline on Apache Spark, over many cores or machines, until stopped.",
        "stream-detector spark config/transactions.yaml --checkpoint /mnt/checkpoints/payments",
    )
    add_configuration(parser)
    parser.add_argument(
        "--checkpoint", required=True, metavar="DIR", help="Spark's checkpoint; shared storage"
    )
    parser.add_argument("--master", help="as Spark's (default: spark-submit's, or local[*,4])")
    parser.add_argument("--jars", help="jars of Spark's Kafka reader (default: Spark fetches them)")
    parser.add_argument(
        "--buckets", type=int, default=64, help="of the keys of a field; belongs to the state"
    )
    parser.add_argument("--parts", type=int, default=16, help="in which a batch is scored, at most")
    parser.add_argument(
        "--tasks", type=int, default=4, help="of each shuffle; belongs to the checkpoint"
    )
    parser.add_argument("--events", type=int, default=10_000, help="of a batch, at most")
    parser.add_argument("--trigger", type=float, default=1.0, help="seconds between two batches")


def run(arguments: argparse.Namespace) -> int:
    """Run the job. Returns the exit code 0; every other one is an exception."""
    config = configuration(arguments)
    kafka = kafka_section(config, arguments.config)
    try:
        job = import_module("stream_detector.spark.job")
        service = import_module("stream_detector.spark.service")
    except ImportError as error:
        raise ConfigurationError(
            f"Spark is not installed ({error}): pip install 'stream-detector[spark]'"
        ) from error
    sizes = job.Sizes(
        arguments.checkpoint,
        arguments.buckets,
        arguments.parts,
        arguments.tasks,
        arguments.events,
        arguments.trigger,
    )
    if min(sizes.buckets, sizes.parts, sizes.tasks, sizes.events) < 1 or sizes.trigger_seconds < 0:
        raise ConfigurationError("--buckets, --parts, --tasks and --events are at least 1")
    metrics, health = Metrics(severities=SEVERITIES), HealthState()
    metrics.watch_ready(lambda: health.ready()[0])
    metrics.set_config(config.name, kafka.group, config.detector.kind, kafka.delivery)
    stop = Stop(config.processing.shutdown_timeout)
    with stop.listening(), metrics_served(config.metrics, metrics, health):
        service.serve(
            config,
            kafka,
            sizes,
            metrics,
            health,
            stop,
            jars=arguments.jars,
            master=arguments.master,
        )
    return 0
