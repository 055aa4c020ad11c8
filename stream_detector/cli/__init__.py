"""The commands. Only here is everything caught; only here and in `api` is the environment read."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from typing import NoReturn

from stream_detector import __version__
from stream_detector.cli.terminal import say

COMMANDS = (
    "demo",
    "init",
    "check",
    "run",
    "spark",
    "evaluate",
    "tune",
    "train",
    "simulate",
    "alerts",
    "incidents",
    "forward",
    "label",
    "rule",
    "state",
    "promote",
    "schema",
)
"""Each is a module of this package with ``add_parser``."""


class _Parser(argparse.ArgumentParser):
    """As the base class; what it quotes of the arguments steers no terminal."""

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """End the process, with a message on standard error."""
        if message:
            say(message, file=sys.stderr, end="")
        raise SystemExit(status)


def build_parser(only: str | None = None) -> argparse.ArgumentParser:
    """The parser of ``stream-detector`` with all its commands, or with one.

    What a command imports takes longer than most of them run (scikit-learn alone two seconds), so
    where it is known which one is meant, the others stay on the disk.
    """
    parser = _Parser(
        prog="stream-detector",
        description="Online anomaly detection on event streams: Kafka in, explained alerts out.",
    )
    parser.add_argument("--version", action="version", version=f"stream-detector {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS if only is None else (only,):
        import_module(f"{__name__}.{name}").add_parser(subparsers)
    return parser
