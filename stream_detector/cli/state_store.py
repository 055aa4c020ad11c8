"""Parts shared by the sub-commands of ``state``: shards, reading a snapshot, judging it."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field

from stream_detector.config import Config
from stream_detector.config.derived.fingerprint import state_differences
from stream_detector.errors import ConfigurationError, StateError
from stream_detector.snapshots import Snapshot, SnapshotStore, check_complete, decode


@dataclass(frozen=True, slots=True)
class Found:
    """A snapshot as it was found.

    Attributes:
        size_bytes: its length, None where it could not be read.
        data: its bytes, empty where it is not sound.
        snapshot: what it holds, None where it is not sound.
        damage: why it is not.
        differences: what the configuration has otherwise, one line each; none: it fits.
    """

    size_bytes: int | None = None
    data: bytes = field(default=b"", repr=False)
    snapshot: Snapshot | None = None
    damage: str | None = None
    differences: list[str] = field(default_factory=list)


def add_shard(parser: argparse.ArgumentParser, help_: str) -> None:
    """The flag ``--shard``."""
    parser.add_argument("--shard", type=int, metavar="N", help=help_)


def shards(config: Config, chosen: int | None) -> list[int]:
    """The shards meant: all, or the one chosen. Raises ``ConfigurationError``."""
    count = config.processing.shards
    if chosen is None:
        return list(range(count))
    if not 0 <= chosen < count:
        raise ConfigurationError(f"--shard {chosen}: there are {count} shards, numbered from 0")
    return [chosen]


def one_shard(config: Config, chosen: int | None) -> int:
    """The shard meant where there can be only one. Raises ``ConfigurationError``."""
    numbers = shards(config, chosen)
    if len(numbers) != 1:
        raise ConfigurationError(f"there are {len(numbers)} shards: say which by --shard")
    return numbers[0]


def inspect(config: Config, store: SnapshotStore, shard: int, position: int) -> Found:
    """Read a snapshot and judge it. Raises ``ConnectorError`` where the store is silent."""
    size_bytes = None
    try:
        data = store.read(position)
        size_bytes = len(data)
        return judge(config, shard, data)
    except StateError as error:
        return Found(size_bytes, damage=str(error))


def judge(config: Config, shard: int, data: bytes) -> Found:
    """Judge ``data``. Raises ``StateError`` where it is no sound snapshot of the shard."""
    snapshot = decode(data)
    meta = snapshot.meta
    check_complete(meta)
    if meta["shard"] != shard:
        raise StateError(f"it is of shard {meta['shard']}, not {shard}")
    return Found(len(data), data, snapshot, None, state_differences(meta, config))


def sound(config: Config, store: SnapshotStore, shard: int, position: int) -> Found:
    """A snapshot that can be used. Raises ``StateError`` where it is missing or damaged."""
    kept = store.positions()
    if position not in kept:
        known = ", ".join(map(str, kept)) or "none"
        raise StateError(f"shard {shard} has no snapshot at position {position}; it has: {known}")
    found = inspect(config, store, shard, position)
    if found.snapshot is None:
        raise StateError(f"the snapshot at position {position} is damaged: {found.damage}")
    return found
