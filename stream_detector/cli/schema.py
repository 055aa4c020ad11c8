"""``stream-detector schema``: the JSON Schema of configuration files, for editors."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from stream_detector.cli.common import add_command
from stream_detector.cli.terminal import say, say_json
from stream_detector.config import json_schema
from stream_detector.detectors.registry import BUILT_IN, find_detector, kinds
from stream_detector.errors import ConfigurationError


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = add_command(
        subparsers,
        "schema",
        run,
        "Print the JSON Schema of configuration files.",
        "stream-detector schema > config/stream-detector.schema.json",
    )
    parser.add_argument(
        "--detector",
        action="append",
        default=[],
        metavar="KIND",
        help="describe this detector too, by its class path; those that installed packages have "
        "registered are described anyway",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the schema."""
    others = []
    for kind in kinds():
        if kind in BUILT_IN:
            continue
        try:
            others.append(find_detector(kind).kind)
        except ConfigurationError as error:  # no reason to go without the schema of the others
            say(f"left out: {error}", file=sys.stderr)
    say_json(json_schema([*others, *arguments.detector]), indent=2)
    return 0
