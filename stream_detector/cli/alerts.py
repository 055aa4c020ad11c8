"""``stream-detector alerts``: follow the alert topic, readable."""

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
from stream_detector.cli.terminal import say
from stream_detector.connectors.kafka.reading.follow import follow
from stream_detector.connectors.registry.alerts import AlertValues
from stream_detector.formats.errors import PayloadError
from stream_detector.report.alert_text import as_it_is, readable


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = add_command(
        subparsers,
        "alerts",
        run,
        "Follow the alert topic and print each alert with its reasons.",
        "stream-detector alerts config/transactions.yaml --from-beginning",
    )
    add_configuration(parser)
    parser.add_argument(
        "--from-beginning", action="store_true", help="print the alerts already there first"
    )
    parser.add_argument("--json", action="store_true", help="print the alerts as they are")
    parser.add_argument("--count", type=int, metavar="N", help="stop after N alerts")


def run(arguments: argparse.Namespace) -> int:
    """Print alerts until stopped."""
    config = configuration(arguments)
    kafka = kafka_section(config, arguments.config)
    stop = Stop(10.0)
    printed = 0
    values = AlertValues(config)
    with stop.listening():
        for value in follow(kafka, from_beginning=arguments.from_beginning, stopping=stop):
            try:
                alert = values.json_of(value)
            except PayloadError:
                alert = value  # which neither of them shows as an alert
            say(as_it_is(alert) if arguments.json else readable(alert))
            printed += 1
            if arguments.count is not None and printed >= arguments.count:
                break
    return 0
