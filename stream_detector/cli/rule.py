"""``stream-detector rule``: hide false alarms, until a time."""

from __future__ import annotations

from typing import Any

from stream_detector.cli import rule_add, rule_list
from stream_detector.cli.common import add_command


def add_parser(subparsers: Any) -> None:
    """Add the command with its sub-commands."""
    parser = add_command(
        subparsers,
        "rule",
        rule_list.run,  # never called: a sub-command is required, and each sets its own
        "Hide what turned out to be a false alarm, until a time; look at such rules, take them "
        "back.",
        "stream-detector rule list config/transactions.yaml",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for module in (rule_add, rule_list):
        module.add_parser(actions)
