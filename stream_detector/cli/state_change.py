"""``stream-detector state revert``, ``export`` and ``import``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from stream_detector.cli.common import (
    add_command,
    add_configuration,
    agreed,
    configuration,
    write_whole,
)
from stream_detector.cli.state_store import add_shard, judge, one_shard, sound
from stream_detector.cli.terminal import say
from stream_detector.commits.stores import snapshot_stores
from stream_detector.config import Config
from stream_detector.connectors.kafka.connection.groups import active_members
from stream_detector.errors import ConfigurationError, StateError
from stream_detector.snapshots import (
    MAX_SNAPSHOT_BYTES,
    SignedStore,
    SnapshotStore,
    check_signature,
)

_REVERT = """\
Go back to an earlier snapshot: later ones are set aside, so that the next start begins with it.

With kafka.delivery: exactly_once the next start then replays the journal from there: the same
events again, silently, to the state and the output as they were. Journal and input must reach back
that far; where retention has deleted them, the start stops with exit code 4 (kafka.lost_input says
what happens to input). With at_least_once the events since then are processed again, silently up to
what was committed.

Snapshots that are set aside stay (*.reverted in the directory, a key of their own on the topic)
until `run --reset-state` deletes all. Refused while a member of the group is active."""


def add_revert(actions: Any) -> None:
    """Add ``revert``."""
    parser = add_command(
        actions,
        "revert",
        revert,
        "Go back to an earlier snapshot; what came after is replayed at the next start.",
        "stream-detector state revert config/transactions.yaml --position 120000",
    )
    parser.description = _REVERT
    _add_common(parser, "position to go back to, as `state list` shows it")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def add_export(actions: Any) -> None:
    """Add ``export``."""
    parser = add_command(
        actions,
        "export",
        export,
        "Copy a sound snapshot to a file, whole or not at all.",
        "stream-detector state export config/transactions.yaml --position 120000 --to p.snapshot",
    )
    _add_common(parser, "position of the snapshot, as `state list` shows it")
    parser.add_argument("--to", required=True, metavar="FILE", help="must not exist yet")


def add_import(actions: Any) -> None:
    """Add ``import``."""
    parser = add_command(
        actions,
        "import",
        import_,
        "Take in a snapshot that `export` wrote; later ones are set aside, as by `revert`.",
        "stream-detector state import config/transactions.yaml --from p.snapshot",
    )
    add_configuration(parser)
    add_shard(parser, "which shard, where there are several")
    parser.add_argument("--from", required=True, dest="source", metavar="FILE", help="the snapshot")
    parser.add_argument(
        "--unsigned", action="store_true", help="trust it without a signature, and sign it"
    )
    parser.add_argument("--yes", action="store_true", help="do not ask")


def _add_common(parser: argparse.ArgumentParser, help_: str) -> None:
    add_configuration(parser)
    add_shard(parser, "which shard, where there are several")
    parser.add_argument("--position", type=int, required=True, metavar="P", help=help_)


def revert(arguments: argparse.Namespace) -> int:
    """Set aside what is later than the position."""
    config = configuration(arguments)
    number = one_shard(config, arguments.shard)
    store = snapshot_stores(config, config.kafka, make=False)(number)
    found = sound(config, store, number, arguments.position)
    if found.differences:
        raise StateError(
            f"the snapshot at position {arguments.position} was made under another configuration: "
            + "; ".join(found.differences)
        )
    if _make_newest(config, store, arguments.position, yes=arguments.yes):
        say(f"shard {number} begins at position {arguments.position} at the next start")
    return 0


def export(arguments: argparse.Namespace) -> int:
    """Copy the bytes."""
    config = configuration(arguments)
    number = one_shard(config, arguments.shard)
    store = snapshot_stores(config, config.kafka, make=False)(number)
    target = Path(arguments.to)
    if target.exists():
        raise ConfigurationError(f"--to {target} exists already")
    data = sound(config, store, number, arguments.position).data
    write_whole(target, data, mode=0o600)
    say(f"{target}: {len(data):,} bytes")
    return 0


def import_(arguments: argparse.Namespace) -> int:
    """Write a snapshot from a file into the store."""
    config = configuration(arguments)
    number = one_shard(config, arguments.shard)
    path = Path(arguments.source)
    try:
        if not path.is_file() or path.stat().st_size > MAX_SNAPSHOT_BYTES:
            raise ConfigurationError(f"--from {path} is not a file of a snapshot's size")
        data = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error}") from error
    found = judge(config, number, data)
    assert found.snapshot is not None
    if found.differences:
        raise StateError(
            f"{path} was made under another configuration: " + "; ".join(found.differences)
        )
    position: int = found.snapshot.meta["sequence"]
    store = snapshot_stores(config, config.kafka)(number)
    if isinstance(store, SignedStore) and not arguments.unsigned:
        check_signature(data, store.keys)
    if _make_newest(config, store, position, yes=arguments.yes):
        store.write(position, data)
        say(f"shard {number} begins at position {position} at the next start")
    return 0


def _make_newest(config: Config, store: SnapshotStore, position: int, *, yes: bool) -> bool:
    """Set aside every snapshot after ``position``; False where the user does not want it.

    The newest goes last: until then a start begins where it would have begun.
    """
    refuse_while_active(config)
    later = [other for other in store.positions() if other > position]
    if later and not yes and not agreed(f"set aside {len(later)} later snapshots?"):
        return False
    for other in reversed(later):
        store.set_aside(other)
    return True


def refuse_while_active(config: Config) -> None:
    """Raise ``StateError`` while a member of the group is active."""
    if config.kafka is None:
        return  # no group: nobody runs
    members = active_members(config.kafka)
    if members:
        raise StateError(
            f"the group {config.kafka.group} is active ({', '.join(members[:3])}): stop its "
            "workers first. One that was killed counts until its session timeout has passed"
        )
