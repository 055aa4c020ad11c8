"""``stream-detector schema``: the JSON Schema of configuration files, for editors."""

from __future__ import annotations

import argparse
import json
from typing import Any

from stream_detector.cli.common import add_command
from stream_detector.config import json_schema


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    add_command(
        subparsers,
        "schema",
        run,
        "Print the JSON Schema of configuration files.",
        "stream-detector schema > config/stream-detector.schema.json",
    )


def run(_arguments: argparse.Namespace) -> int:
    """Print the schema."""
    print(json.dumps(json_schema(), indent=2))
    return 0
