"""``stream-detector state set-watermark``: put a shard's time where its events are."""

from __future__ import annotations

import argparse
from contextlib import closing
from typing import Any

import numpy as np

from stream_detector.alerts import iso_time
from stream_detector.cli.common import add_command, add_configuration, agreed, configuration
from stream_detector.cli.state_change import refuse_while_active
from stream_detector.cli.state_store import add_shard, one_shard, sound
from stream_detector.cli.terminal import say
from stream_detector.commits.journal_chain import Chain
from stream_detector.commits.stores import snapshot_stores
from stream_detector.config import Config
from stream_detector.connectors.kafka.reading.log import KafkaJournal
from stream_detector.decoding.times import read_time
from stream_detector.errors import ConfigurationError, StateError
from stream_detector.lanes import lanes_of, lanes_state
from stream_detector.pipeline import PipelineCore
from stream_detector.snapshots import Snapshot, encode

_ABOUT = """\
Set the watermark of the newest snapshot: the stream's own time, by which events are late or early,
and suppression, label delays and budgets a day are counted.

The detector follows the majority of its events by itself; this is for where it cannot. Stop the
workers first, in an orderly way: the snapshot must stand at the journal's end, so that nothing is
replayed over the change. Earlier snapshots are set aside. Refused while a member is active."""


def add_parser(actions: Any) -> None:
    """Add ``set-watermark``."""
    parser = add_command(
        actions,
        "set-watermark",
        run,
        "Set the stream's own time in the newest snapshot, where it went wrong.",
        "stream-detector state set-watermark config.yaml --to 2026-05-01T12:00:00Z",
    )
    parser.description = _ABOUT
    add_configuration(parser)
    add_shard(parser, "which shard, where there are several")
    parser.add_argument("--to", required=True, metavar="TIME", help="ISO 8601, UTC without a zone")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def run(arguments: argparse.Namespace) -> int:
    """Rewrite the newest snapshot with another watermark."""
    config = configuration(arguments)
    number = one_shard(config, arguments.shard)
    try:
        time_ms = read_time(arguments.to, "iso8601")
    except ValueError as error:
        raise ConfigurationError(f"--to {arguments.to} is no time: {error}") from error
    store = snapshot_stores(config, config.kafka, make=False)(number)
    positions = store.positions()
    if not positions:
        raise StateError(f"shard {number} has no snapshots")
    found = sound(config, store, number, positions[0])
    assert found.snapshot is not None
    if found.differences:
        raise StateError(
            "the newest snapshot was made under another configuration: "
            + "; ".join(found.differences)
        )
    refuse_while_active(config)
    _refuse_before_the_end(config, number, found.snapshot)
    before_ms, changed = with_watermark(config, found.snapshot, time_ms)
    change = f"shard {number}: watermark from {iso_time(max(before_ms, 0))} to {iso_time(time_ms)}"
    if not arguments.yes and not agreed(f"{change}; set aside {len(positions) - 1} snapshots?"):
        return 0
    for position in reversed(positions[1:]):
        store.set_aside(position)
    store.write(positions[0], encode(changed))
    say(change)
    return 0


def with_watermark(config: Config, snapshot: Snapshot, time_ms: int) -> tuple[int, Snapshot]:
    """The watermark of before, and the snapshot with another one, in its partitions too."""
    pipeline = PipelineCore(config, snapshot.meta["configuration"])
    pipeline.restore(snapshot.state)
    before_ms = pipeline.watermark_ms
    pipeline.set_watermark(time_ms)
    meta = {
        **snapshot.meta,
        "positions": [
            [topic, partition, offset, min(mark_ms, time_ms)]
            for topic, partition, offset, mark_ms in snapshot.meta["positions"]
        ],
    }
    if place := meta.get("journal"):
        meta["set_at"] = place["number"]
    marks = [mark_ms for *_, mark_ms in meta["positions"]]
    lanes = lanes_of(marks, None)
    known = [np.array([m] if m >= 0 else [], dtype=np.int64) for m in marks]
    times = [type(lane)(lane.mark_ms, each) for lane, each in zip(lanes, known, strict=True)]
    # What the journal's records up to here hold, the next ones rest on.
    kept = {name: snapshot.state[name] for name in ("schemas",) if name in snapshot.state}
    state = {**pipeline.state(), "lanes": lanes_state(times), **kept}
    return before_ms, Snapshot(meta, state)


def _refuse_before_the_end(config: Config, number: int, snapshot: Snapshot) -> None:
    """Raise ``StateError`` where the journal goes on after the snapshot."""
    place = snapshot.meta.get("journal")
    if config.kafka is None or config.kafka.delivery != "exactly_once" or place is None:
        return
    with closing(KafkaJournal(config.kafka)) as journal:
        first, _ = journal.bounds(number)
        chain = Chain(config.kafka.group, number, place["number"], place.get("link", ""))
        for offset, value in journal.read(number, max(place["offset"], first)):
            chain.take(offset, value)
    if later := len(chain.held):
        raise StateError(
            f"the journal of shard {number} goes on for {later} records after its newest snapshot, "
            "and they were made with the watermark as it is: start a worker, stop it in an orderly "
            "way, and try again. See docs/runbook.md#the-streams-time-is-wrong"
        )
