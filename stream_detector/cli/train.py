"""``stream-detector train``: a snapshot warmed up on history, which ``run`` then goes on with."""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

from stream_detector.alerts import SEVERITIES
from stream_detector.cli.common import add_command, add_configuration, configuration
from stream_detector.cli.evaluate import add_data, file_source, share_read, with_label
from stream_detector.cli.progress import progress_bar
from stream_detector.config import FieldPlan
from stream_detector.daemon.shard import Shard
from stream_detector.daemon.stores import snapshot_stores, snapshot_topic
from stream_detector.decoding import Decoder
from stream_detector.errors import ConfigurationError
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
    events = 0
    with progress_bar("training", share_read(source)) as update:
        while not source.exhausted():
            for fetched in source.poll(1.0):
                batch = decoder.decode(fetched.source, fetched.records)
                if arguments.normal_only:
                    batch = batch.take(np.flatnonzero(batch.label == 0))
                shard.pipeline.process(batch)
                events += len(batch)
                update(events)
    source.close()
    for number in shards:
        stores(number).delete_all()
        shard.number = number
        data = encode(shard.snapshot({"written_at": time.time(), "trained": True}))
        stores(number).write(shard.pipeline.sequence, data)
    print(f"learnt {shard.pipeline.rows_learned:,} of {events:,} events; snapshot in {place}")
    return 0
