"""The commands. The only room that reads the environment, and whose frame catches everything."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from stream_detector import __version__
from stream_detector.cli import (
    alerts,
    check,
    demo,
    evaluate,
    init,
    label,
    promote,
    run,
    schema,
    simulate,
    state,
    train,
    tune,
)

COMMANDS: tuple[Callable[[Any], None], ...] = (
    demo.add_parser,
    init.add_parser,
    check.add_parser,
    run.add_parser,
    evaluate.add_parser,
    tune.add_parser,
    train.add_parser,
    simulate.add_parser,
    alerts.add_parser,
    label.add_parser,
    state.add_parser,
    promote.add_parser,
    schema.add_parser,
)


def build_parser() -> argparse.ArgumentParser:
    """The parser of ``stream-detector`` with all its commands."""
    parser = argparse.ArgumentParser(
        prog="stream-detector",
        description="Online anomaly detection on event streams: Kafka in, explained alerts out.",
    )
    parser.add_argument("--version", action="version", version=f"stream-detector {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for add_parser in COMMANDS:
        add_parser(subparsers)
    return parser
