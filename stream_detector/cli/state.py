"""``stream-detector state``: look at a group's snapshots, and go back to an earlier one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stream_detector.cli import (
    state_change,
    state_list,
    state_show,
    state_sign,
    state_verify,
    state_watermark,
)
from stream_detector.cli.common import add_command

ACTIONS: tuple[Callable[[Any], None], ...] = (
    state_list.add_parser,
    state_show.add_parser,
    state_verify.add_parser,
    state_change.add_revert,
    state_change.add_export,
    state_change.add_import,
    state_watermark.add_parser,
    state_sign.add_parser,
)
"""Each adds one sub-command to the result of ``add_subparsers``, as the commands themselves do."""


def add_parser(subparsers: Any) -> None:
    """Add the command with its sub-commands."""
    parser = add_command(
        subparsers,
        "state",
        state_list.run,  # never called: a sub-command is required, and each sets its own
        "Look at a group's snapshots, verify what was done, go back to an earlier state.",
        "stream-detector state list config/transactions.yaml",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for add in ACTIONS:
        add(actions)
