"""``stream-detector run``: the daemon."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from typing import Any

from stream_detector.alerts import SEVERITIES
from stream_detector.cli.allocator import give_back_large_blocks
from stream_detector.cli.common import (
    Stop,
    add_command,
    add_configuration,
    configuration,
    kafka_section,
)
from stream_detector.cli.live import LiveView
from stream_detector.cli.metrics_server import metrics_served
from stream_detector.cli.status import status_pages
from stream_detector.config import Config
from stream_detector.daemon.service import Surroundings, serve
from stream_detector.rejections import Remedies
from stream_detector.telemetry.logs import configure_logging
from stream_detector.telemetry.metrics import Metrics
from stream_detector.telemetry.server import HealthState
from stream_detector.telemetry.status.pages import StatusPages
from stream_detector.telemetry.status.recent import Recent


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
    parser.add_argument(
        "--watch", action="store_true", help="show how it goes: panels on a terminal, else lines"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the daemon. Returns the exit code 0; every other one is an exception."""
    give_back_large_blocks()
    config = configuration(arguments)
    kafka = kafka_section(config, arguments.config)
    metrics, health = Metrics(severities=SEVERITIES), HealthState()
    metrics.watch_ready(lambda: health.ready()[0])
    metrics.set_config(config.name, kafka.group, config.detector.kind, kafka.delivery)
    recent = Recent(remedies=Remedies(config))

    def pages() -> StatusPages:
        return status_pages(config, kafka, metrics, health, recent)

    with ExitStack() as stack:
        stop = Stop(config.processing.shutdown_timeout)
        stack.enter_context(stop.listening())  # first, so left last: see `entry`
        stack.enter_context(metrics_served(config.metrics, metrics, health, pages=pages))
        if arguments.watch:
            _watch(stack, config, LiveView(config.name, metrics, health, recent, keep=True))
        surroundings = Surroundings(metrics, health, recent, stop)
        serve(config, kafka, surroundings, reset=arguments.reset_state)
    return 0


def _watch(stack: ExitStack, config: Config, view: LiveView) -> None:
    """Show the view, with the log lines above it, until the stack is left."""
    stack.enter_context(view)
    if (stream := view.log_stream) is not None:
        section = config.logging
        configure_logging(section.format, section.level, stream)
        # Before the view is left: what is said later goes where it went before.
        stack.callback(configure_logging, section.format, section.level)
