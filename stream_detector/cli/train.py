"""``stream-detector train``: a snapshot warmed up on history, which ``run`` then goes on with."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from stream_detector.alerts import SEVERITIES
from stream_detector.cli.common import add_command, add_configuration, configuration
from stream_detector.cli.evaluate import (
    add_data,
    end_with_rejections,
    file_source,
    label_look,
    share_read,
    with_label,
)
from stream_detector.cli.label_check import refuse_absent, refuse_unlabelled
from stream_detector.cli.progress import progress_bar
from stream_detector.config import FieldPlan
from stream_detector.connectors.base import Source
from stream_detector.daemon.shard import Shard
from stream_detector.daemon.stores import snapshot_stores, snapshot_topic
from stream_detector.decoding import Decoder
from stream_detector.errors import ConfigurationError
from stream_detector.evaluation.backtest import take_rejections
from stream_detector.events import Float64
from stream_detector.rejections import RejectionTally
from stream_detector.snapshots import encode
from stream_detector.telemetry.metrics import Metrics


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = add_command(
        subparsers,
        "train",
        run,
        "Warm the model up on history; `run` starts from there. No alerts are written.",
        "stream-detector train config/transactions.yaml --data history.csv.gz",
    )
    add_configuration(parser)
    add_data(parser)
    parser.add_argument("--label", metavar="COLUMN", help="column of the label, 1 = anomalous")
    parser.add_argument(
        "--normal-only", action="store_true", help="learn only rows whose label says normal"
    )
    parser.add_argument(
        "--replace", action="store_true", help="delete the snapshots that are there first"
    )


def run(arguments: argparse.Namespace) -> int:
    """Train and write one snapshot for each shard."""
    configured = configuration(arguments)
    config = with_label(configured, arguments.label, None)
    look = label_look(config, arguments)
    refuse_absent(look, arguments.label)
    if arguments.normal_only and config.labels is None:
        raise ConfigurationError("--normal-only needs --label or the section `labels`")
    group = config.kafka.group if config.kafka is not None else config.name
    stores = snapshot_stores(config, config.kafka)
    place = config.state.directory
    if config.state.store == "topic":
        place = f"topic {snapshot_topic(config, config.kafka)}"
    shards = range(config.processing.shards)
    for number in shards:
        if stores(number).positions() and not arguments.replace:
            raise ConfigurationError(
                f"{place} already holds snapshots of {group}: use --replace to delete them, or "
                "another state.directory"
            )
    # The pipeline alone shapes the snapshot, so it is made with the configuration of `run`.
    shard = Shard(0, configured, Metrics(severities=SEVERITIES))
    decoder = Decoder(config, FieldPlan.of(config))
    source = file_source(config, arguments)
    with progress_bar("training", share_read(source)) as update:
        tally, labels = _learn(shard, decoder, source, update, normal_only=arguments.normal_only)
    source.close()
    accepted = len(labels) - tally.records
    if accepted == 0:
        end_with_rejections(tally, accepted, config, arguments)
    refuse_unlabelled(look, arguments.label, labels)
    if shard.pipeline.sequence == 0:
        raise ConfigurationError(f"{arguments.data}: no event has a label that says normal")
    for number in shards:
        stores(number).delete_all()
        shard.number = number
        data = encode(shard.snapshot({"written_at": time.time(), "trained": True}))
        stores(number).write(shard.pipeline.sequence, data)
    learned = shard.pipeline.rows_learned
    print(f"learnt {learned:,} of {len(labels):,} events; snapshot in {place}")
    if arguments.normal_only:
        others = accepted - shard.pipeline.sequence
        print(f"{others:,} events were left out, whose label does not say normal")
    end_with_rejections(tally, accepted, config, arguments)
    return 0


def _learn(
    shard: Shard,
    decoder: Decoder,
    source: Source,
    update: Callable[[int], None],
    *,
    normal_only: bool,
) -> tuple[RejectionTally, Float64]:
    """Run a file through a shard; what was rejected, and the labels of all events, (events,)."""
    events, tally, labels = 0, RejectionTally(), [np.empty(0)]
    while not source.exhausted():
        for fetched in source.poll(1.0):
            batch = decoder.decode(fetched.source, fetched.records)
            labels.append(batch.label)
            events += len(batch)
            if normal_only:
                rejected = batch.rejection != None  # noqa: E711 - elementwise
                batch = batch.take(np.flatnonzero(rejected | (batch.label == 0)))
            take_rejections(tally, shard.pipeline.process(batch))
            update(events)
    return tally, np.concatenate(labels)
