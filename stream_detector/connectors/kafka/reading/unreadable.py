"""Batches that cannot be read: what is said of them, and what stands in their place.

A batch whose checksum is wrong, whose codec is missing or that would unpack to more than the limit
has no records. ``kafka.unreadable`` says whether the daemon stops there, or goes on after it and
leaves a dead letter with its place and its first bytes.
"""

from __future__ import annotations

import logging
import zlib

from stream_detector.connectors.kafka.client.batches import UnreadableBatch
from stream_detector.connectors.kafka.client.errors import CorruptRecordError
from stream_detector.events import NO_TIMESTAMP, TopicPartition, UnreadableRecord
from stream_detector.log_fields import fields

log = logging.getLogger(__name__)

_HEAD_BYTES = 4096
"""So much of an unreadable batch goes into its dead letter."""

RUNBOOK = "docs/runbook.md#a-batch-cannot-be-read"


class UnreadableBatchError(CorruptRecordError):  # type: ignore[misc]
    """A batch that cannot be read, with its place.

    Attributes:
        source: topic and partition.
        first: offset of the first record that could not be read; likewise ``last``.
        reason: what is wrong with it.
    """

    def __init__(self, source: TopicPartition, first: int, last: int, reason: str) -> None:
        self.source, self.first, self.last, self.reason = source, first, last, reason
        super().__init__(self.said())

    def said(self) -> str:
        """The error in a sentence, and what to do."""
        topic, partition = self.source.topic, self.source.partition
        return (
            f"cannot read topic {topic}, partition {partition}, offsets {self.first} to "
            f"{self.last}: {self.reason}. To go on after them: set kafka.unreadable: dead_letter, "
            f"or delete {topic}-{partition} up to offset {self.last + 1} (kafka-delete-records) "
            f"and start with kafka.lost_input: continue; see {RUNBOOK}"
        )

    def __str__(self) -> str:
        return self.said()


class Unreadable:
    """Decides what becomes of the unreadable batches of one consumer (an ``UnreadablePolicy``).

    State: of each partition the batch whose checksum was wrong last, and its bytes' own checksum.
    """

    def __init__(self, *, dead_letter: bool) -> None:
        """``dead_letter``: go on after such a batch, an ``UnreadableRecord`` in its place."""
        self.dead_letter = dead_letter
        self._suspects: dict[TopicPartition, tuple[int, int]] = {}

    def once_more(self, source: TopicPartition, offset: int, data: bytes) -> bool:
        """Tell whether to fetch a batch with a wrong checksum again: the way may be at fault.

        False where the same bytes have come twice.
        """
        suspect = (offset, zlib.crc32(data))
        if self._suspects.get(source) == suspect:
            return False
        self._suspects[source] = suspect
        log.warning(
            "%s: the batch at offset %d has a wrong checksum: it is fetched once more",
            source,
            offset,
            extra=fields("checksum", stage="poll", partition=str(source)),
        )
        return True

    def stand_in(self, batch: UnreadableBatch) -> UnreadableRecord:
        """Return the record that stands for a batch's unreadable ones, at their last offset.

        It is made of the batch alone, so that every reading of the log gives the same. Raises
        ``UnreadableBatchError`` where reading must not go on, or cannot.
        """
        if not (self.dead_letter and batch.ends):
            raise UnreadableBatchError(batch.source, batch.first, batch.last, batch.reason)
        log.error(
            "%s, offsets %d to %d cannot be read: %s. A dead letter stands for them; see %s",
            batch.source,
            batch.first,
            batch.last,
            batch.reason,
            RUNBOOK,
            extra=fields("unreadable", stage="poll", partition=str(batch.source)),
        )
        reason = (
            f"offsets {batch.first} to {batch.last} cannot be read: {batch.reason}; the value is "
            f"the beginning of the {len(batch.data)} bytes of their batch; see {RUNBOOK}"
        )
        return UnreadableRecord(batch.last, NO_TIMESTAMP, batch.data[:_HEAD_BYTES], reason)
