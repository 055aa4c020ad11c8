"""``stream-detector run``: the daemon."""

from __future__ import annotations

import argparse
import gc
import logging
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any

from stream_detector.alerts import SEVERITIES
from stream_detector.cli.allocator import give_back_large_blocks
from stream_detector.cli.common import (
    Stop,
    add_command,
    add_configuration,
    configuration,
    kafka_section,
)
from stream_detector.cli.live import LiveView
from stream_detector.cli.status import status_pages
from stream_detector.config import Config
from stream_detector.config.models.config import KafkaConfig
from stream_detector.connectors.base import Output
from stream_detector.connectors.kafka.admin import wait_for_topics
from stream_detector.connectors.kafka.groups import active_members
from stream_detector.connectors.kafka.inspection import told_limits
from stream_detector.connectors.kafka.internal_topics import JOURNAL_SETTINGS, ensure_topic
from stream_detector.connectors.kafka.log import KafkaJournal
from stream_detector.connectors.kafka.sink import AtLeastOnceOutput
from stream_detector.connectors.kafka.snapshot_topic import ensure_snapshot_topic
from stream_detector.connectors.kafka.source import KafkaSource
from stream_detector.connectors.kafka.transactions import TransactionalOutput
from stream_detector.daemon.loop import Daemon
from stream_detector.daemon.shard_assignment import ShardFactories
from stream_detector.daemon.stores import snapshot_stores, snapshot_topic
from stream_detector.errors import BrokerLimitError, StateError
from stream_detector.rejections import Remedies
from stream_detector.snapshots import SnapshotStore
from stream_detector.telemetry.access import Access
from stream_detector.telemetry.logs import configure_logging, fields
from stream_detector.telemetry.metrics import Metrics
from stream_detector.telemetry.server import HealthState, MetricsServer
from stream_detector.telemetry.status.recent import Recent

log = logging.getLogger(__name__)


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = add_command(
        subparsers,
        "run",
        run,
        "Read events from Kafka, write alerts to Kafka, serve metrics, until stopped.",
        "stream-detector run config/transactions.yaml",
    )
    add_configuration(parser)
    parser.add_argument(
        "--reset-state",
        action="store_true",
        help="delete this group's snapshots first and begin with an untrained model",
    )
    parser.add_argument(
        "--watch", action="store_true", help="show how it goes: panels on a terminal, else lines"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the daemon. Returns the exit code 0; every other one is an exception."""
    give_back_large_blocks()
    config = configuration(arguments)
    kafka = kafka_section(config, arguments.config)
    metrics, health = Metrics(severities=SEVERITIES), HealthState()
    metrics.watch_ready(lambda: health.ready()[0])
    metrics.set_config(config.name, kafka.group, config.detector.kind, kafka.delivery)
    server, recent = None, Recent(remedies=Remedies(config))
    if config.metrics.enabled:
        access = Access(config.metrics)
        section = config.metrics
        pages = status_pages(config, kafka, metrics, health, recent)
        server = MetricsServer(metrics, health, section.host, section.port, pages, access=access)
        server.start()
        address = f"{access.scheme}://{config.metrics.host}:{server.port}/metrics"
        log.info("metrics at %s", address, extra=fields("metrics", url=address))
    stop = Stop(config.processing.shutdown_timeout)
    try:
        with ExitStack() as stack:
            if arguments.watch:
                _watch(stack, config, LiveView(config.name, metrics, health, recent, keep=True))
            stack.enter_context(stop.listening())
            parts = _Outside(metrics, health, recent, stop)
            _work(config, kafka, parts, reset=arguments.reset_state)
    finally:
        if server is not None:
            server.stop()
    return 0


@dataclass(frozen=True, slots=True)
class _Outside:
    """What the daemon reports to, and who asks it to stop."""

    metrics: Metrics
    health: HealthState
    recent: Recent
    stop: Stop


def _watch(stack: ExitStack, config: Config, view: LiveView) -> None:
    """Show the view, with the log lines above it, until the stack is left."""
    stack.enter_context(view)
    if (stream := view.log_stream) is not None:
        section = config.logging
        configure_logging(section.format, section.level, stream)
        # Before the view is left: what is said later goes where it went before.
        stack.callback(configure_logging, section.format, section.level)


def _calm_collector() -> None:
    """Let Python's cycle collector run seldom: a poll makes thousands of records, none in a cycle.

    With the default of 700 objects it walks all living records several times a poll.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)


def _delete_snapshots(
    config: Config, kafka: KafkaConfig, stores: Callable[[int], SnapshotStore]
) -> None:
    """``--reset-state``. Raises ``StateError`` where another worker lives by these snapshots."""
    if members := active_members(kafka):
        raise StateError(
            f"--reset-state: the group {kafka.group} is active ({', '.join(members[:3])}): stop "
            "its workers first. One that was killed counts until its session has timed out"
        )
    for number in range(config.processing.shards):
        stores(number).delete_all()


def _work(config: Config, kafka: KafkaConfig, outside: _Outside, *, reset: bool) -> None:
    metrics, stop = outside.metrics, outside.stop

    def waiting(reason: str) -> None:
        metrics.set_waiting_for_input(True)
        log.warning("waiting: %s", reason, extra=fields("waiting", stage="open"))

    _calm_collector()
    counts = wait_for_topics(kafka, waiting=waiting, stopping=stop)
    metrics.set_waiting_for_input(False)
    if stop():
        return
    log.info("reading %s", ", ".join(f"{t} ({counts[t]} partitions)" for t in kafka.input_topics))
    processing = config.processing
    exactly_once = kafka.delivery == "exactly_once"
    if exactly_once:
        ensure_topic(kafka, kafka.journal_topic, processing.shards, JOURNAL_SETTINGS)
    stores = snapshot_stores(config, kafka)
    if config.state.store == "topic":
        ensure_snapshot_topic(kafka, snapshot_topic(config, kafka), processing.shards)
    if reset:
        _delete_snapshots(config, kafka, stores)
    with ExitStack() as stack:
        source = stack.enter_context(
            closing(
                KafkaSource(
                    kafka, shards=processing.shards, max_poll_records=processing.max_poll_records
                )
            )
        )
        journal = stack.enter_context(closing(KafkaJournal(kafka))) if exactly_once else None

        def output(shard: int) -> Output:
            if exactly_once:
                return TransactionalOutput(kafka, shard)
            return AtLeastOnceOutput(kafka, source.commit)

        parts = ShardFactories(
            store=stores,
            output=output,
            journal=journal,
            accept_untrained=reset,
        )
        daemon = Daemon(
            config,
            kafka,
            source,
            metrics,
            outside.health,
            parts,
            stopping=stop,
            recent=outside.recent,
        )
        try:
            daemon.run()
        except BrokerLimitError as error:
            raise BrokerLimitError(f"{error}{told_limits(kafka)}") from error
        # While it closes, kafka-python's I/O thread may read from a socket that is gone, and says
        # so at ERROR with a traceback. Everything is committed: there is nothing to act on.
        logging.getLogger("kafka.net").setLevel(logging.CRITICAL)
