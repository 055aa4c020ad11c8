"""``stream-detector check``: every mistake of a configuration file, and what the broker says."""

from __future__ import annotations

import argparse
from typing import Any

from stream_detector.cli.common import (
    add_command,
    add_configuration,
    configuration,
    kafka_section,
)
from stream_detector.config.fingerprint import state_fingerprint
from stream_detector.connectors.kafka.admin import partition_counts, rights_of_daemon
from stream_detector.errors import InputMissingError
from stream_detector.pipeline import Pipeline
from stream_detector.telemetry.access import Access


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = add_command(
        subparsers,
        "check",
        run,
        "Check a configuration file: every mistake at once, with line and column.",
        "stream-detector check config/transactions.yaml --connect",
    )
    add_configuration(parser)
    parser.add_argument(
        "--connect", action="store_true", help="also ask the broker about topics and rights"
    )


def run(arguments: argparse.Namespace) -> int:
    """Check. Returns 0; a mistake is a ``ConfigurationError``, a missing topic exit code 3."""
    config = configuration(arguments)
    Access(config.metrics)  # reads its files
    pipeline = Pipeline(config, state_fingerprint(config))
    print(f"{arguments.config}: sound")
    print(f"  detector    {config.detector.kind}, {len(pipeline.features.names)} features")
    print(f"  state       {state_fingerprint(config)}")
    if not arguments.connect:
        return 0
    kafka = kafka_section(config, arguments.config)
    rights = rights_of_daemon(kafka)
    wanted = list(rights)
    counts = partition_counts(kafka, wanted, rights)
    for topic in wanted:
        found = f"{counts[topic]} partitions" if topic in counts else "MISSING"
        print(f"  {topic:<40} {found}")
    missing = [topic for topic in wanted if topic not in counts]
    if missing:
        raise InputMissingError(f"missing topics: {', '.join(missing)}")
    most = max(counts[topic] for topic in kafka.input_topics)
    if config.processing.shards > most:
        print(f"  note: {config.processing.shards} shards, but only {most} partitions")
    return 0
