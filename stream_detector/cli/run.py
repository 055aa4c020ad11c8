"""``stream-detector run``: the daemon."""

from __future__ import annotations

import argparse
import logging
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
from stream_detector.cli.status import status_pages
from stream_detector.config import Config
from stream_detector.daemon.service import Surroundings, serve
from stream_detector.rejections import Remedies
from stream_detector.telemetry.access import Access
from stream_detector.telemetry.logs import configure_logging, fields
from stream_detector.telemetry.metrics import Metrics
from stream_detector.telemetry.server import HealthState, MetricsServer
from stream_detector.telemetry.status.recent import Recent

log = logging.getLogger(__name__)


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
    server, recent = None, Recent(remedies=Remedies(config))
    if config.metrics.enabled:
        access = Access(config.metrics)
        section = config.metrics
        pages = status_pages(config, kafka, metrics, health, recent)
        server = MetricsServer(metrics, health, section.host, section.port, pages, access=access)
        server.start()
        address = f"{access.scheme}://{config.metrics.host}:{server.port}/metrics"
        log.info("metrics at %s", address, extra=fields("metrics", url=address))
    stop = Stop(config.processing.shutdown_timeout)
    try:
        with ExitStack() as stack:
            if arguments.watch:
                _watch(stack, config, LiveView(config.name, metrics, health, recent, keep=True))
            stack.enter_context(stop.listening())
            surroundings = Surroundings(metrics, health, recent, stop)
            serve(config, kafka, surroundings, reset=arguments.reset_state)
    finally:
        if server is not None:
            server.stop()
    return 0


def _watch(stack: ExitStack, config: Config, view: LiveView) -> None:
    """Show the view, with the log lines above it, until the stack is left."""
    stack.enter_context(view)
    if (stream := view.log_stream) is not None:
        section = config.logging
        configure_logging(section.format, section.level, stream)
        # Before the view is left: what is said later goes where it went before.
        stack.callback(configure_logging, section.format, section.level)
