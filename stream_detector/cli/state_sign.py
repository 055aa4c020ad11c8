"""``stream-detector state sign``: sign the snapshots that are there by the key of now."""

from __future__ import annotations

import argparse
from typing import Any

from stream_detector.cli.common import add_command, add_configuration, agreed, configuration
from stream_detector.cli.state_change import refuse_while_active
from stream_detector.cli.state_store import add_shard, judge, shards
from stream_detector.cli.terminal import say
from stream_detector.commits.stores import snapshot_stores
from stream_detector.errors import ConfigurationError, StateError
from stream_detector.snapshots import SignedStore, check_signature
from stream_detector.visible import shown

_ABOUT = """\
Sign the snapshots of a group by the first key of state.signing_key_file.

Without --unsigned only those that one of its keys has signed: after that the older keys can leave
the file. With --unsigned those without a signature too, or with one by a key that is in the file no
more: whatever lies there is trusted from then on, so look at `state list` first. Damaged ones stay
as they are. Refused while a member of the group is active."""


def add_parser(actions: Any) -> None:
    """Add ``sign``."""
    parser = add_command(
        actions,
        "sign",
        run,
        "Sign the snapshots by the first key of state.signing_key_file.",
        "stream-detector state sign config/transactions.yaml --unsigned",
    )
    parser.description = _ABOUT
    add_configuration(parser)
    add_shard(parser, "only this shard")
    parser.add_argument("--unsigned", action="store_true", help="those without a signature too")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def run(arguments: argparse.Namespace) -> int:
    """Sign, and print how many."""
    config = configuration(arguments)
    if config.state.signing_key_file is None:
        raise ConfigurationError("there is no state.signing_key_file to sign by")
    refuse_while_active(config)
    stores = snapshot_stores(config, config.kafka)
    asks = arguments.unsigned and not arguments.yes
    if asks and not agreed("trust every snapshot that is sound, whoever wrote it?"):
        return 0
    for number in shards(config, arguments.shard):
        store = stores(number)
        assert isinstance(store, SignedStore)
        done, left = 0, 0
        for position in reversed(store.positions()):
            try:
                data = store.unverified.read(position)
                judge(config, number, data)
                if not arguments.unsigned:
                    check_signature(data, store.keys)
            except StateError as error:
                left += 1
                say(f"shard {number}, position {position}, stays as it is: {shown(error)}")
                continue
            store.write(position, data)
            done += 1
        say(f"shard {number}: {done} snapshots signed" + (f", {left} not" if left else ""))
    return 0
