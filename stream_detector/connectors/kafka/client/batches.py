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
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Protocol

from kafka.consumer.fetcher import Fetcher
from kafka.protocol.consumer import IsolationLevel
from kafka.record.default_records import DefaultRecordBatch

from stream_detector.connectors.kafka.client.errors import CorruptRecordError, KafkaError
from stream_detector.connectors.kafka.client.message_set import read_message_set
from stream_detector.connectors.kafka.client.record_batch import packed_bytes, read_batch
from stream_detector.events import TopicPartition, UnreadableRecord

_TODAY = 2
"""The format of batches since Kafka 0.11; 0 and 1 are message sets of before."""

_WRONG_CHECKSUM = "its checksum is wrong"

_CONTROL_KEY = struct.Struct(">hh")
_ABORT = 0


@dataclass(frozen=True, slots=True)
class UnreadableBatch:
    """Part of a partition that cannot be read.

    Attributes:
        source: topic and partition.
        first: offset of the first record that cannot be read.
        last: offset of the last one, as far as that is known.
        reason: what is wrong.
        data: the batch as it came.
        ends: whether ``last`` can be trusted, so that reading may go on after it.
    """

    source: TopicPartition
    first: int
    last: int
    reason: str
    data: bytes = b""
    ends: bool = False


class UnreadablePolicy(Protocol):
    """Decides what becomes of a consumer's unreadable batches."""

    def once_more(self, source: TopicPartition, offset: int, data: bytes) -> bool:
        """Tell whether to fetch a batch again whose checksum is wrong."""

    def stand_in(self, batch: UnreadableBatch) -> UnreadableRecord:
        """Return what stands in the place of an unreadable batch, or raises a ``KafkaError``."""


class Refusing:
    """The policy of who has none: the first batch that cannot be read is an error."""

    def once_more(self, source: TopicPartition, offset: int, data: bytes) -> bool:  # noqa: ARG002
        """Never."""
        return False

    def stand_in(self, batch: UnreadableBatch) -> UnreadableRecord:
        """Raise ``CorruptRecordError`` with the batch's place."""
        raise CorruptRecordError(
            f"{batch.source}, offsets {batch.first} to {batch.last}: {batch.reason}"
        )


class BatchRecords(Fetcher.PartitionRecords):  # type: ignore[misc]
    """Records fetched from one partition, handed out in offset order.

    State: kafka-python's own: where it is, and which transactions are known as aborted.

    Attributes:
        policy: what becomes of unreadable batches.
        passed: told the offsets of each batch that is of no transaction, which is then left out;
            None where such batches are read as well.
    """

    policy: UnreadablePolicy = Refusing()
    passed: Callable[[range], None] | None = None
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
                yield self._give_up(source, batch, -1, reason, ends=False)
                return
            if self.check_crcs and not batch.validate_crc():
                if self.policy.once_more(source, int(batch.base_offset), packed_bytes(batch)):
                    self.drain()
                    return
                yield self._wrong_checksum(source, batch)
                continue
            read = -1
            try:
                if batch.magic == _TODAY:
                    self.leader_epoch = batch.leader_epoch
                    if self._to_skip(batch):
                        self.next_fetch_offset = batch.next_offset
                        continue
                self.bytes_read += batch.size_in_bytes
                read_any = read_batch if batch.magic == _TODAY else read_message_set
                for some in read_any(batch):
                    self.records_read += len(some)
                    read = some[-1].offset
                    yield some
            except (KafkaError, AssertionError, IndexError, ValueError, struct.error) as error:
                # Assertions and the like are the client's, where it reads message sets.
                yield self._give_up(source, batch, read, _reason(error))
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
            self.policy.stand_in(UnreadableBatch(source, at, at, reason))
            raise

    def _wrong_checksum(self, source: TopicPartition, batch: Any) -> Sequence[UnreadableRecord]:
        if _plausible(batch):
            return self._give_up(source, batch, -1, _WRONG_CHECKSUM)
        # Its header may be what is damaged: nobody can say where the next one begins.
        first = int(batch.base_offset)
        reason = f"{_WRONG_CHECKSUM}, its header is damaged"
        return (self.policy.stand_in(UnreadableBatch(source, first, first, reason)),)

    def _give_up(
        self, source: TopicPartition, batch: Any, read: int, reason: str, *, ends: bool = True
    ) -> Sequence[UnreadableRecord]:
        """Return what stands for the rest of a batch after the offset ``read``, or raise."""
        first, last = _range(batch, read)
        unreadable = UnreadableBatch(source, first, last, reason, packed_bytes(batch), ends)
        return (self.policy.stand_in(unreadable),)

    def _to_skip(self, batch: Any) -> bool:
        """Tell whether a batch is of an aborted transaction or of none where that is asked for.

        Or holds nothing but a control record.
        """
        if self.isolation_level == IsolationLevel.READ_COMMITTED and batch.has_producer_id():
            self._consume_aborted_transactions_up_to(batch.last_offset)
            if batch.is_control_batch:
                if _is_abort_marker(batch):
                    self.aborted_producer_ids.discard(batch.producer_id)
            elif self._is_batch_aborted(batch):
                return True
        if batch.is_control_batch:
            return True
        if self.passed is None or batch.is_transactional:
            return False
        self.passed(range(batch.base_offset, batch.next_offset))
        return True


def reading(policy: UnreadablePolicy, passed: Callable[[range], None] | None) -> type[BatchRecords]:
    """The class of one consumer's fetched data, with its policy; see ``BatchRecords``."""

    class OfConsumer(BatchRecords):
        """The records of this consumer's fetches."""

    OfConsumer.policy = policy
    OfConsumer.passed = None if passed is None else staticmethod(passed)
    return OfConsumer


def _is_abort_marker(batch: DefaultRecordBatch) -> bool:
    """Tell whether a control batch marks an abort; it may be of an unknown kind, or empty."""
    for records in read_batch(batch):
        key = records[0].key or b""
        return len(key) >= _CONTROL_KEY.size and _CONTROL_KEY.unpack_from(key)[1] == _ABORT
    return False


def _range(batch: Any, read: int) -> tuple[int, int]:
    """First and last offset of what is unreadable in a batch, after the offset ``read``.

    A compressed message set has the offset of its last record.
    """
    first = max(int(batch.base_offset), read + 1)
    return first, max(first, int(batch.last_offset) if batch.magic == _TODAY else first)


def _plausible(batch: Any) -> bool:
    """Tell whether a batch with a wrong checksum tells its offsets twice and alike."""
    return bool(batch.magic != _TODAY or batch.last_offset_delta + 1 == batch.records_count > 0)


def _reason(error: Exception) -> str:
    return str(error.args[0] if error.args else "") or type(error).__name__
