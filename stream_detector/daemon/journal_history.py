"""A shard's journal after its snapshot, without what others have written there."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from stream_detector.commits.journal_chain import Chain, Kind, in_words
from stream_detector.config.models.config import KafkaConfig
from stream_detector.connectors.base import Journal
from stream_detector.daemon.shard import Shard
from stream_detector.errors import StateError
from stream_detector.events import TopicPartition
from stream_detector.journal import JournalRecord, last_beginning
from stream_detector.telemetry.logs import fields
from stream_detector.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

WAYS_OUT = (
    "Bring the snapshots back from a back-up (`state list` shows what is there), share them among "
    "the workers, or use --reset-state to go on with an untrained model"
)


@dataclass(frozen=True, slots=True)
class History:
    """Contents of the journal for a shard: the records to follow, and its end.

    Attributes:
        records: after the shard's snapshot, or from the beginning where it has none.
        number: of the last record, 0 where the shard has none that counts.
        offset: the journal's end.
        link: of the last record; empty where it is not known.
        ends: where the ranges of each partition end.
        broken: of ours, what does not follow on what is held, in words; empty where all does.
    """

    records: tuple[JournalRecord, ...]
    number: int
    offset: int
    link: str = ""
    ends: Mapping[TopicPartition, int] = field(default_factory=dict)
    broken: str = ""


def read_history(
    shard: Shard, journal: Journal, kafka: KafkaConfig, metrics: Metrics, *, untrained: bool
) -> History:
    """Read what was committed after the shard's snapshot.

    ``untrained`` accepts that records lead nowhere: the shard begins anew. Raises ``StateError``
    where records are missing in between, ``ConnectorError`` where the journal cannot be read.
    """
    first, end = journal.bounds(shard.number)
    place = shard.journal_place
    if shard.known and place is None:
        # A snapshot without a place in the journal: trained on history, gone back to, or written
        # at least once. Its next record is number 1.
        return History((), 0, end)
    if place is None and untrained:
        return History((), 0, end)
    start, before = place if place is not None else (first, None)
    restored = shard.restored_positions()
    chain = Chain(kafka.group, shard.number, before, shard.journal_link, restored)
    for offset, value in journal.read(shard.number, max(start, first)):
        chain.take(offset, value)
    _say_passed(chain, TopicPartition(kafka.journal_topic, shard.number), metrics)
    broken = _broken(shard, chain, deleted=first > start)
    found = [(one.offset, one.record) for one in chain.held]
    if any(record.batch is not None for _, record in found):
        raise StateError(
            f"the group {kafka.group} is that of a job on Spark: its journal has batches, which "
            "only the job can do again. Use stream-detector spark, or name another kafka.group"
        )
    if place is None:
        begins = last_beginning(found)
        if found and begins is None:
            raise StateError(
                f"shard {shard.number} has no snapshot, and its journal no longer reaches back to "
                f"the beginning: its state is lost. {WAYS_OUT}"
            )
        found = found[begins:] if begins is not None else []
        if found and found[0][1].configuration != shard.configuration:
            raise StateError(
                f"shard {shard.number} has no snapshot, and its journal begins under another "
                f"configuration (a challenger was promoted since, say). {WAYS_OUT}"
            )
    records = tuple(record for _, record in found)
    return History(records, (before or 0) + len(records), end, chain.link, chain.ends, broken)


def _say_passed(chain: Chain, partition: TopicPartition, metrics: Metrics) -> None:
    metrics.add_foreign_records(partition, chain.count)
    if chain.passed:
        offset = chain.passed[0].offset
        values = fields("journal-foreign", stage="open", offset=offset, records=chain.count)
        log.warning("%s", in_words(chain, partition), extra=values)


def _broken(shard: Shard, chain: Chain, *, deleted: bool) -> str:
    """Describe what of ours does not follow on what is held; raises where that is certain."""
    text = ""
    for one in chain.passed:
        if one.kind is Kind.FORK:
            raise StateError(
                f"shard {shard.number}: two workers have written to its journal, at offset "
                f"{one.offset}: {one.reason}. {WAYS_OUT}"
            )
        if one.kind is Kind.LOST_BEFORE or (deleted and one.kind is Kind.UNCONNECTED):
            text = text or (
                f"shard {shard.number}: the journal does not go on where it should, at offset "
                f"{one.offset}: {one.reason}; what is between is lost. {WAYS_OUT}"
            )
    if text and deleted and not chain.held:
        raise StateError(text)
    return text
