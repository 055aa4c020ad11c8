"""``stream-detector schema``: the JSON Schema of configuration files, for editors."""

from __future__ import annotations

import argparse
import json
from typing import Any

from stream_detector.cli.common import add_command
from stream_detector.config import json_schema
from stream_detector.detectors.registry import BUILT_IN, kinds


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
    others = [kind for kind in kinds() if kind not in BUILT_IN]
    print(json.dumps(json_schema([*others, *arguments.detector]), indent=2))
    return 0
