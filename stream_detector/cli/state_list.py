"""``stream-detector state list``: every snapshot, with a verdict."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from stream_detector.cli.common import add_command, add_configuration, configuration
from stream_detector.cli.state_store import Found, add_shard, inspect, shards
from stream_detector.cli.terminal import say, say_json
from stream_detector.commits.stores import snapshot_stores
from stream_detector.config import Config
from stream_detector.visible import shown


def add_parser(actions: Any) -> None:
    """Add the sub-command."""
    parser = add_command(
        actions,
        "list",
        run,
        "List the snapshots, newest first: whether each is sound and fits the configuration.",
        "stream-detector state list config/transactions.yaml",
    )
    add_configuration(parser)
    add_shard(parser, "only this shard")
    parser.add_argument("--json", action="store_true", help="print a list of objects")


def run(arguments: argparse.Namespace) -> int:
    """Print a line for each snapshot. Returns 0, also where some are damaged."""
    config = configuration(arguments)
    rows = list(_rows(config, shards(config, arguments.shard)))
    if arguments.json:
        say_json(rows, indent=2)
        return 0
    if not rows:
        say("no snapshots")
        return 0
    say(f"{'shard':>5}  {'position':>14}  {'written at (UTC)':<19}  {'size':>12}  state")
    for row in rows:
        say(
            f"{row['shard']:>5}  {row['position']:>14}  {row['written_at'] or '':<19.19}  "
            f"{row['size_bytes'] if row['size_bytes'] is not None else '':>12}  {_verdict(row)}"
        )
        for difference in row["differences"]:
            say(f"{'':>9}{shown(difference)}")
    return 0


def _rows(config: Config, numbers: list[int]) -> Iterator[dict[str, Any]]:
    stores = snapshot_stores(config, config.kafka, make=False)
    for number in numbers:
        for position in stores(number).positions():
            found = inspect(config, stores(number), number, position)
            yield {"shard": number, "position": position, **_about(found)}


def _about(found: Found) -> dict[str, Any]:
    meta = found.snapshot.meta if found.snapshot is not None else {}
    written = meta.get("written_at")
    return {
        "events": meta.get("sequence"),
        "written_at": None if written is None else datetime.fromtimestamp(written, UTC).isoformat(),
        "size_bytes": found.size_bytes,
        "sound": found.snapshot is not None,
        "damage": found.damage,
        "fits": found.snapshot is not None and not found.differences,
        "differences": found.differences,
    }


def _verdict(row: dict[str, Any]) -> str:
    if not row["sound"]:
        return f"DAMAGED: {shown(row['damage'])}"
    return "sound" if row["fits"] else "sound, of another configuration:"
