"""The daemon as a service: topics, stores and connections around the loop."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial

from stream_detector.commits.stores import snapshot_stores
from stream_detector.commits.topics import make_topics
from stream_detector.config import Config
from stream_detector.config.models.config import KafkaConfig
from stream_detector.connectors.base import Output
from stream_detector.connectors.kafka.connection.admin import wait_for_topics
from stream_detector.connectors.kafka.connection.groups import active_members
from stream_detector.connectors.kafka.inspection import told_limits
from stream_detector.connectors.kafka.reading.acts import KafkaActs
from stream_detector.connectors.kafka.reading.log import KafkaJournal
from stream_detector.connectors.kafka.reading.source import KafkaSource
from stream_detector.connectors.kafka.writing.sink import AtLeastOnceOutput
from stream_detector.connectors.kafka.writing.transactions import TransactionalOutput
from stream_detector.connectors.registry.alerts import alert_form
from stream_detector.connectors.registry.source import open_schemas, wait_for_registry
from stream_detector.daemon.loop import Daemon
from stream_detector.daemon.shard_assignment import ShardFactories
from stream_detector.errors import BrokerLimitError, StateError
from stream_detector.snapshots import SnapshotStore
from stream_detector.telemetry.logs import fields, register_secret
from stream_detector.telemetry.metrics import Metrics
from stream_detector.telemetry.server import HealthState
from stream_detector.telemetry.status.recent import Recent

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Receivers of the daemon's reports, and who asks it to stop."""

    metrics: Metrics
    health: HealthState
    recent: Recent
    stop: Callable[[], bool]


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


def serve(config: Config, kafka: KafkaConfig, around: Surroundings, *, reset: bool) -> None:
    """Wait for the topics, make what is missing of our own, and run the daemon until it stops.

    Args:
        config: the configuration.
        kafka: its section.
        around: what it reports to.
        reset: delete the group's snapshots first.

    Raises ``StreamDetectorError`` for whatever ends the process.
    """
    metrics, stop = around.metrics, around.stop

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
    wait_for_registry(config, waiting=waiting, stopping=stop)
    form = alert_form(config, kafka, waiting=waiting, stopping=stop)
    metrics.set_waiting_for_input(False)
    if stop():
        return
    make_topics(config, kafka)
    stores = snapshot_stores(config, kafka, on_foreign=metrics.add_foreign_records)
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
        schemas = stack.enter_context(closing(open_schemas(config)))
        schemas.alert_form = form
        register_secret(schemas.secret)

        def output(shard: int) -> Output:
            if exactly_once:
                return TransactionalOutput(kafka, shard, metrics.add_cut_messages)
            return AtLeastOnceOutput(kafka, source.commit, metrics.add_cut_messages)

        parts = ShardFactories(
            store=stores,
            output=output,
            journal=journal,
            schemas=schemas,
            ticks=True,
            acts=partial(KafkaActs, kafka, kafka.rules) if kafka.rules is not None else None,
            accept_untrained=reset,
        )
        daemon = Daemon(
            config,
            kafka,
            source,
            metrics,
            around.health,
            parts,
            stopping=stop,
            recent=around.recent,
        )
        try:
            daemon.run()
        except BrokerLimitError as error:
            raise BrokerLimitError(f"{error}{told_limits(kafka)}") from error
        # While it closes, kafka-python's I/O thread may read from a socket that is gone, and says
        # so at ERROR with a traceback. Everything is committed: there is nothing to act on.
        logging.getLogger("kafka.net").setLevel(logging.CRITICAL)
