"""Records out of fetched batches, in a tight loop.

kafka-python 3.0.12 reads a record by seven calls of a function for its numbers, makes an object of
it, and of that a named tuple of thirteen fields: about 5 µs an event, more than any stage of ours.
The consumer's own class for fetched data is replaced by one that reads batches of today's format
(magic 2) in one loop (``record_batch``), into records of the five fields that are used. It judges
less than the client where nobody reads, and what it cannot read it names with its place.

Everything else about batches (checksums, transactions, offsets) is as it was, and
tests/test_kafka_batches.py holds both to the same records.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

from kafka.consumer.fetcher import Fetcher
from kafka.errors import CorruptRecordError, KafkaError
from kafka.protocol.consumer import IsolationLevel
from kafka.record.default_records import DefaultRecordBatch

from stream_detector.connectors.kafka import codecs
from stream_detector.connectors.kafka.record_batch import KafkaRecord, read_batch
from stream_detector.connectors.kafka.unreadable import (
    Unreadable,
    UnreadableBatchError,
    stand_in,
)
from stream_detector.events import NO_TIMESTAMP, TopicPartition, UnreadableRecord

_TODAY = 2
"""The format of batches since Kafka 0.11; 0 and 1 are message sets of before."""

_WRONG_CHECKSUM = "its checksum is wrong"

_CONTROL_KEY = struct.Struct(">hh")
_ABORT = 0


def install(consumer: Any, unreadable: Unreadable) -> None:
    """Let a ``KafkaConsumer`` read its batches by ``BatchRecords``."""

    class OfConsumer(BatchRecords):
        """The records of this consumer's fetches."""

        policy = unreadable

    codecs.install()
    consumer._fetcher.PartitionRecords = OfConsumer  # noqa: SLF001 - there is no public way


class BatchRecords(Fetcher.PartitionRecords):  # type: ignore[misc]
    """What was fetched of one partition, handed out in offset order.

    State: kafka-python's own: where it is, and which transactions are known as aborted.

    Attributes:
        policy: what becomes of unreadable batches; None raises at once.
    """

    policy: Unreadable | None = None
    next_fetch_offset: int

    def take(self, n: int | None = None) -> list[Any]:
        """Up to ``n`` records. An error comes out once those before it were taken.

        It leaves nothing behind: the next poll fetches again where this one ended (kafka-python's
        own would never return).
        """
        try:
            records: list[Any] = super().take(n)
        except KafkaError:
            self.drain()
            raise
        if records:
            # What lies behind the last one (control records) was passed already at the end.
            self.next_fetch_offset = max(self.next_fetch_offset, records[-1].offset + 1)
        return records

    def _unpack_records(
        self,
        tp: Any,
        records: Any,
        key_deserializer: Any,  # noqa: ARG002 - the client's interface; we use none
        value_deserializer: Any,  # noqa: ARG002 - likewise
    ) -> Iterable[Any]:
        source = TopicPartition(tp.topic, tp.partition)
        return chain.from_iterable(self._unpack_batches(source, records))

    def _unpack_batches(self, source: TopicPartition, records: Any) -> Iterator[Sequence[Any]]:
        """As in the client, but for whole batches at a time."""
        last = None
        while (batch := self._next_batch(source, records)) is not None:
            last = batch
            if not 0 <= batch.magic <= _TODAY:
                reason = f"its format {batch.magic} is not known to this version"
                raise UnreadableBatchError(source, *_range(batch, -1), reason)
            if self.check_crcs and not batch.validate_crc():
                if self.policy is not None and self.policy.once_more(source, batch):
                    self.drain()
                    return
                yield from self._give_up(source, batch, -1, _WRONG_CHECKSUM, batch._buffer)  # noqa: SLF001
                continue
            packed, read = batch._buffer, -1  # noqa: SLF001 - its bytes as they came
            try:
                if batch.magic == _TODAY:
                    self.leader_epoch = batch.leader_epoch
                    if self._to_skip(batch):
                        self.next_fetch_offset = batch.next_offset
                        continue
                self.bytes_read += batch.size_in_bytes
                read_any = read_batch if batch.magic == _TODAY else _read_message_set
                for some in read_any(batch):
                    self.records_read += len(some)
                    read = some[-1].offset
                    yield some
            except (KafkaError, AssertionError, IndexError, ValueError, struct.error) as error:
                # Assertions and the like are the client's, where it reads message sets.
                yield from self._give_up(source, batch, read, _reason(error), packed)
        if last is not None and last.magic == _TODAY:
            # Compaction may have removed the last record; its offset is passed all the same.
            self.next_fetch_offset = last.next_offset
        self.drain()

    def _next_batch(self, source: TopicPartition, records: Any) -> Any:
        try:
            return records.next_batch()
        except (CorruptRecordError, AssertionError, struct.error) as error:
            at = self.next_fetch_offset
            reason = f"what the broker sent cannot be cut into batches ({_reason(error)})"
            raise UnreadableBatchError(source, at, at, reason) from error

    def _give_up(
        self, source: TopicPartition, batch: Any, read: int, reason: str, data: Any
    ) -> Iterator[Sequence[UnreadableRecord]]:
        """What stands for the rest of a batch after the offset ``read``; or the error, raised."""
        first, last = _range(batch, read)
        error = UnreadableBatchError(source, first, last, reason)
        if self.policy is None or not self.policy.dead_letter:
            raise error
        if reason == _WRONG_CHECKSUM and not _plausible(batch):
            # Its header may be what is damaged: nobody can say where the next one begins.
            raise UnreadableBatchError(source, first, first, f"{reason}, its header is damaged")
        yield (stand_in(error, bytes(data)),)

    def _to_skip(self, batch: Any) -> bool:
        """Whether a batch is of an aborted transaction, or holds nothing but a control record."""
        if self.isolation_level == IsolationLevel.READ_COMMITTED and batch.has_producer_id():
            self._consume_aborted_transactions_up_to(batch.last_offset)
            if batch.is_control_batch:
                if _is_abort_marker(batch):
                    self.aborted_producer_ids.discard(batch.producer_id)
            elif self._is_batch_aborted(batch):
                return True
        return bool(batch.is_control_batch)


def _is_abort_marker(batch: DefaultRecordBatch) -> bool:
    """Of a control batch; it may be one of a kind that is not known, or empty by compaction."""
    for records in read_batch(batch):
        key = records[0].key or b""
        return len(key) >= _CONTROL_KEY.size and _CONTROL_KEY.unpack_from(key)[1] == _ABORT
    return False


def _read_message_set(batch: Any) -> Iterator[Sequence[KafkaRecord]]:
    """Records in a format of before Kafka 0.11: no headers, in the oldest one no timestamps."""
    before = -1
    for record in batch:
        if not record.validate_crc():
            raise CorruptRecordError(f"the checksum of offset {record.offset} is wrong")
        if record.offset <= before:
            raise CorruptRecordError(f"offset {record.offset} comes after {before}")
        before = record.offset
        time = NO_TIMESTAMP if record.timestamp is None else record.timestamp
        yield (KafkaRecord(record.offset, time, record.key, record.value, record.headers),)


def _range(batch: Any, read: int) -> tuple[int, int]:
    """First and last offset of what is unreadable in a batch, after the offset ``read``.

    A compressed message set has the offset of its last record.
    """
    first = max(int(batch.base_offset), read + 1)
    return first, max(first, int(batch.last_offset) if batch.magic == _TODAY else first)


def _plausible(batch: Any) -> bool:
    """Whether a batch with a wrong checksum says how many offsets it takes, twice and alike."""
    return bool(batch.magic != _TODAY or batch.last_offset_delta + 1 == batch.records_count > 0)


def _reason(error: Exception) -> str:
    return str(error.args[0] if error.args else "") or type(error).__name__
