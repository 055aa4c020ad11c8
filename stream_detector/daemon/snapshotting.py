"""Step 3 of the loop: what is committed may be kept. And whether others write to the journal."""

from __future__ import annotations

import logging
import time

from stream_detector.commits.journal_chain import in_words
from stream_detector.config.models.config import KafkaConfig
from stream_detector.daemon.shard_assignment import ShardFactories, ShardHandle
from stream_detector.errors import ConnectorError, StateError
from stream_detector.events import TopicPartition
from stream_detector.snapshots import encode
from stream_detector.telemetry.conditions import Conditions
from stream_detector.telemetry.logs import fields
from stream_detector.telemetry.metrics import Metrics

log = logging.getLogger(__name__)


def write_snapshot(owned: ShardHandle, parts: ShardFactories, metrics: Metrics) -> None:
    """Keep what is committed. A failure is said and counted, not fatal."""
    shard, committer = owned.shard, owned.committer
    if shard.dirty or committer.pending:
        return  # this state is not committed yet: as soon as it is
    owned.last_snapshot = time.monotonic()
    if shard.replaying:
        return
    place = None
    if parts.journal is not None:
        place = {"offset": committer.offset, "number": committer.number, "link": committer.link}
    with metrics.stage("snapshot"):
        try:
            data = encode(shard.snapshot({"written_at": time.time(), "journal": place}))
            parts.store(shard.number).write(shard.sequence, data)
        except (StateError, ConnectorError) as error:
            values = fields("snapshot-failed", stage="snapshot", shard=shard.number)
            log.error("%s", error, extra=values)  # noqa: TRY400 - the message says it all
            metrics.add_snapshot("failed")
            return
    metrics.add_snapshot("ok")
    metrics.set_newest_snapshot(shard.number, time.time(), len(data))


def look_at_journal(
    owned: ShardHandle, kafka: KafkaConfig, metrics: Metrics, conditions: Conditions
) -> None:
    """Say and count what others have written to the shard's journal since the last look."""
    partition = TopicPartition(kafka.journal_topic, owned.shard.number)
    try:
        chain = owned.committer.look()
    except ConnectorError as error:
        log.warning("%s", error, extra=fields("broker-silent", stage="snapshot"))
        metrics.add_broker_error("ends")
        return
    if chain is None or not chain.count:
        conditions.over("journal_foreign", partition)
        return
    metrics.add_foreign_records(partition, chain.count)
    extra = fields("journal-foreign", stage="snapshot", records=chain.count)
    conditions.report("journal_foreign", partition, in_words(chain, partition), extra=extra)
