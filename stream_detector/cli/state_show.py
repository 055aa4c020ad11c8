"""``stream-detector state show``: what a snapshot holds."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np

from stream_detector.alerts import iso_time
from stream_detector.cli.common import add_command, add_configuration, configuration
from stream_detector.cli.state_store import Found, add_shard, one_shard, sound
from stream_detector.cli.terminal import say, say_json
from stream_detector.commits.stores import snapshot_stores
from stream_detector.decoding.times import LATEST_TIME_MS
from stream_detector.errors import StateError
from stream_detector.visible import shown

_SHOWN_DEPTH = 2


def add_parser(actions: Any) -> None:
    """Add the sub-command."""
    parser = add_command(
        actions,
        "show",
        run,
        "Show what a snapshot holds: its place in the input, sizes, threshold, keys.",
        "stream-detector state show config/transactions.yaml --position 120000",
    )
    add_configuration(parser)
    add_shard(parser, "which shard, where there are several")
    parser.add_argument("--position", type=int, metavar="P", help="which one (default: the newest)")
    parser.add_argument("--json", action="store_true", help="print an object")


def run(arguments: argparse.Namespace) -> int:
    """Print a snapshot's contents. A damaged or missing one is a ``StateError``."""
    config = configuration(arguments)
    number = one_shard(config, arguments.shard)
    store = snapshot_stores(config, config.kafka, make=False)(number)
    position = arguments.position
    if position is None:
        kept = store.positions()
        if not kept:
            raise StateError(f"shard {number} has no snapshots")
        position = kept[0]
    about = contents(position, sound(config, store, number, position))
    if arguments.json:
        say_json(about, indent=2)
        return 0
    for line in _lines(about):
        say(line)
    return 0


def contents(position: int, found: Found) -> dict[str, Any]:
    """Return what a sound snapshot holds, as JSON values."""
    assert found.snapshot is not None
    meta, state = found.snapshot.meta, found.snapshot.state
    return {
        "shard": meta["shard"],
        "position": position,
        "events": meta["sequence"],
        "written_at": datetime.fromtimestamp(meta["written_at"], UTC).isoformat(),
        "size_bytes": found.size_bytes,
        "name": meta.get("name"),
        "trained": meta.get("trained", False),
        "configuration": meta["configuration"],
        "differences": found.differences,
        "fingerprint": meta["fingerprint"],
        "journal": meta.get("journal"),
        "offsets": {
            f"{topic}-{partition}": offset for topic, partition, offset, _ in meta["positions"]
        },
        "watermark": _watermark(state),
        "threshold": _threshold(state),
        "texts": dict(_texts(state, "")),
        "sizes": dict(_sizes(state, "", 0)),
    }


def _watermark(state: Mapping[str, Any]) -> str | None:
    """The stream's time; None where no event has told it, or the number is no time."""
    value = state.get("watermark_ms")
    if not isinstance(value, int) or not 0 <= value < LATEST_TIME_MS:
        return None
    return iso_time(value)


def _threshold(state: Mapping[str, Any]) -> float | None:
    part = state.get("threshold")
    value = part.get("value") if isinstance(part, dict) else None
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
    if not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _texts(value: Any, path: str) -> Iterator[tuple[str, int]]:
    """Return where keys and categories are kept, and how many, as ``tables.texts`` packs them."""
    if not isinstance(value, dict):
        return
    lengths = value.get("lengths")
    if value.keys() == {"utf8", "lengths"} and isinstance(lengths, np.ndarray):
        yield path, int(lengths.size)
        return
    for name, inner in value.items():
        yield from _texts(inner, f"{path}.{name}" if path else name)


def _sizes(value: Any, path: str, depth: int) -> Iterator[tuple[str, int]]:
    """Bytes of each part, and of the parts of those."""
    for name, inner in value.items():
        below = f"{path}.{name}" if path else name
        yield below, _size(inner)
        if isinstance(inner, dict) and depth + 1 < _SHOWN_DEPTH:
            yield from _sizes(inner, below, depth + 1)


def _size(value: Any) -> int:
    if isinstance(value, np.ndarray):
        return int(value.nbytes)
    if isinstance(value, dict):
        return sum(_size(inner) for inner in value.values())
    if isinstance(value, list):
        return sum(_size(inner) for inner in value)
    return len(json.dumps(value))


def _lines(about: dict[str, Any]) -> Iterator[str]:
    for name in ("shard", "position", "events", "written_at", "size_bytes", "name", "trained"):
        yield f"{name:<14} {shown(about[name])}"
    yield f"{'fingerprint':<14} {shown(about['fingerprint'])}"
    fits = "fits" if not about["differences"] else "is of another configuration:"
    yield f"{'configuration':<14} {shown(about['configuration'])}, {fits}"
    yield from (f"{'':<14} {shown(difference)}" for difference in about["differences"])
    journal = about["journal"]
    place = (
        f"record {shown(journal['number'])}, offset {shown(journal['offset'])}"
        if journal
        else "none"
    )
    yield f"{'journal':<14} {place}"
    yield f"{'watermark':<14} {about['watermark'] or 'not known yet'}"
    threshold = about["threshold"]
    yield f"{'threshold':<14} {'not known yet' if threshold is None else f'{threshold:.6g}'}"
    for title, unit in (("offsets", ""), ("texts", ""), ("sizes", " B")):
        yield f"{title}"
        yield from (
            f"  {shown(name):<40} {count:>14,}{unit}" for name, count in about[title].items()
        )
