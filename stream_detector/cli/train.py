"""``stream-detector train``: a snapshot warmed up on history, which ``run`` then goes on with."""

from __future__ import annotations

import argparse
import time
from typing import Any

from stream_detector.cli.common import add_command, add_configuration, configuration
from stream_detector.cli.evaluate import (
    add_data,
    close_file,
    end_with_rejections,
    file_source,
    label_look,
    share_read,
)
from stream_detector.cli.label_check import refuse_absent, refuse_unlabelled
from stream_detector.cli.progress import progress_bar
from stream_detector.cli.terminal import say
from stream_detector.commits.stores import snapshot_stores, snapshot_topic
from stream_detector.errors import ConfigurationError
from stream_detector.evaluation.labelling import with_label
from stream_detector.evaluation.training import train
from stream_detector.snapshots import encode, snapshot_of


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
    source = file_source(config, arguments)
    with progress_bar("training", share_read(source)) as update:
        # The pipeline alone shapes the snapshot, so it is made with the configuration of `run`.
        trained = train(
            configured,
            source,
            reading=config,
            normal_only=arguments.normal_only,
            progress=update,
        )
    close_file(source)
    pipeline = trained.pipeline
    if trained.accepted == 0:
        end_with_rejections(trained.tally, trained.accepted, config, arguments)
    refuse_unlabelled(look, arguments.label, trained.labels)
    if pipeline.sequence == 0:
        raise ConfigurationError(f"{arguments.data}: no event has a label that says normal")
    extra = {"written_at": time.time(), "trained": True}
    for number in shards:
        stores(number).delete_all()
        data = encode(snapshot_of(pipeline, configured, number, extra))
        stores(number).write(pipeline.sequence, data)
    learned, events = pipeline.rows_learned, len(trained.labels)
    say(f"learnt {learned:,} of {events:,} events; snapshot in {place}")
    if arguments.normal_only:
        others = trained.accepted - pipeline.sequence
        say(f"{others:,} events were left out, whose label does not say normal")
    end_with_rejections(trained.tally, trained.accepted, config, arguments)
    return 0
