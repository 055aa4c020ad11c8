"""``stream-detector forward``: deliver alerts and incidents to where people are."""

from __future__ import annotations

import argparse
from typing import Any

from stream_detector.cli.common import (
    Stop,
    add_command,
    add_configuration,
    configuration,
    kafka_section,
)
from stream_detector.cli.metrics_server import metrics_served
from stream_detector.config.models.forward import ForwardConfig
from stream_detector.errors import ConfigurationError
from stream_detector.forwarding.outcome import FAILURES
from stream_detector.forwarding.service import Healths, Surroundings, forward_all
from stream_detector.telemetry.forward_metrics import ForwardMetrics
from stream_detector.telemetry.health import HealthState

_BROKER_SECONDS = 60.0
_LOOP_SECONDS = 300.0


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = add_command(
        subparsers,
        "forward",
        run,
        "Send alerts and incidents to webhooks, Alertmanager, Slack, topics and files.",
        "stream-detector forward config.yaml",
    )
    add_configuration(parser)
    parser.add_argument(
        "--only", action="append", metavar="NAME", help="this target alone (several times: these)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Deliver until stopped. Returns the exit code 0; every other one is an exception."""
    config = configuration(arguments)
    kafka = kafka_section(config, arguments.config)
    if config.forward is None:
        raise ConfigurationError(f"{arguments.config}: this command needs the section `forward`")
    forward = _chosen(config.forward, arguments.only)
    names = [target.name for target in forward.targets]
    health = {
        name: HealthState(
            broker_timeout_seconds=_BROKER_SECONDS, loop_timeout_seconds=_LOOP_SECONDS
        )
        for name in names
    }
    metrics, healths = ForwardMetrics(names, FAILURES), Healths(health)
    stop = Stop(config.processing.shutdown_timeout)
    with stop.listening(), metrics_served(config.metrics, metrics, healths, port=forward.port):
        try:
            forward_all(config, kafka, forward, Surroundings(metrics, health, stop))
        finally:
            healths.set_stopping()
    return 0


def _chosen(forward: ForwardConfig, names: list[str] | None) -> ForwardConfig:
    """Return the section with these targets alone. Raises ``ConfigurationError``."""
    if not names:
        return forward
    known = [target.name for target in forward.targets]
    for name in names:
        if name not in known:
            raise ConfigurationError(f"--only {name}: the targets are {', '.join(known)}")
    chosen = [target for target in forward.targets if target.name in names]
    return forward.model_copy(update={"targets": chosen})
