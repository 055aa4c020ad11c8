"""Records out of fetched batches, in a tight loop.

kafka-python 3.0.12 reads a record by seven calls of a function for its numbers, makes an object of
it, and of that a named tuple of thirteen fields: about 5 µs an event, more than any stage of ours.
The consumer's own class for fetched data is replaced by one that differs in this alone: it reads
batches of today's format (magic 2) in one loop, into records of the five fields that are used.
Everything about batches (checksums, transactions, control records, offsets) is as it was, and
tests/test_kafka_batches.py holds both to the same records and the same errors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import msgspec
from kafka.consumer.fetcher import Fetcher
from kafka.errors import CorruptRecordError
from kafka.protocol.consumer import IsolationLevel
from kafka.record.default_records import DefaultRecordBatch
from kafka.record.util import decode_varint

_RECORDS_AT_ONCE = 1000
"""Records made before the first of them is asked for: a compressed batch may hold millions."""

_NO_HEADERS: tuple[tuple[str, bytes | None], ...] = ()


class KafkaRecord(msgspec.Struct, gc=False):
    """A ``Record``; the cycle collector need not look at it, since nothing in it can refer back."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


def install(consumer: Any) -> None:
    """Let a ``KafkaConsumer`` read its batches by ``BatchRecords``."""
    consumer._fetcher.PartitionRecords = BatchRecords  # noqa: SLF001 - there is no public way


class BatchRecords(Fetcher.PartitionRecords):  # type: ignore[misc]
    """What was fetched of one partition, handed out in offset order.

    State: kafka-python's own: where it is, and which transactions are known as aborted.
    """

    next_fetch_offset: int

    def take(self, n: int | None = None) -> list[Any]:
        """Up to ``n`` records. An error comes out once those before it were taken."""
        records: list[Any] = super().take(n)
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
        return chain.from_iterable(self._unpack_batches(tp, records))

    def _unpack_batches(self, tp: Any, records: Any) -> Iterator[Sequence[Any]]:
        """As in the client, but for whole batches at a time."""
        last = None
        while (batch := records.next_batch()) is not None:
            last = batch
            if self.check_crcs and not batch.validate_crc():
                raise CorruptRecordError(
                    f"Record batch for partition {tp} at offset {batch.base_offset} "
                    "failed crc check"
                )
            if batch.magic != 2:  # noqa: PLR2004 - brokers before 0.11, or topics of their time
                yield from self._older_records(batch)
                continue
            self.leader_epoch = batch.leader_epoch
            if self._to_skip(batch):
                self.next_fetch_offset = batch.next_offset
                continue
            self.bytes_read += batch.size_in_bytes
            for some in read_batch(batch):
                self.records_read += len(some)
                yield some
        if last is not None and last.magic == 2:  # noqa: PLR2004 - likewise
            # Compaction may have removed the last record; its offset is passed all the same.
            self.next_fetch_offset = last.next_offset
        self.drain()

    def _to_skip(self, batch: Any) -> bool:
        """Whether a batch is of an aborted transaction, or holds nothing but a control record."""
        if self.isolation_level == IsolationLevel.READ_COMMITTED and batch.has_producer_id():
            self._consume_aborted_transactions_up_to(batch.last_offset)
            if self._contains_abort_marker(batch):
                self.aborted_producer_ids.discard(batch.producer_id)
            elif self._is_batch_aborted(batch):
                return True
        return bool(batch.is_control_batch)

    def _older_records(self, batch: Any) -> Iterator[Sequence[Any]]:
        for record in batch:
            if self.check_crcs and not record.validate_crc():
                raise CorruptRecordError(f"the record at offset {record.offset} failed its check")
            self.records_read += 1
            self.bytes_read += record.size_in_bytes
            key, value = record.key, record.value
            yield (KafkaRecord(record.offset, record.timestamp, key, value, record.headers),)


def read_batch(batch: DefaultRecordBatch) -> Iterator[list[KafkaRecord]]:
    """The records of a batch of magic 2, some at a time.

    Raises ``CorruptRecordError`` where it is not laid out as it should be; what came before was
    handed out.
    """
    batch._maybe_uncompress()  # noqa: SLF001 - bounded by ``codecs``
    buffer, at = bytes(batch._buffer), batch._pos  # noqa: SLF001 - its bytes, and where they begin
    left = batch.records_count
    fixed = batch.max_timestamp if batch.timestamp_type == batch.LOG_APPEND_TIME else None
    while left > 0:
        records: list[KafkaRecord] = []
        corrupt: CorruptRecordError | None = None
        number = min(left, _RECORDS_AT_ONCE)
        try:
            at = _read_records(
                buffer, at, number, batch.base_offset, batch.first_timestamp, records
            )
        except CorruptRecordError as error:
            corrupt = error
        except (ValueError, IndexError) as error:
            corrupt = CorruptRecordError(f"Found invalid record structure: {error!r}")
            corrupt.__cause__ = error
        if fixed is not None:
            for record in records:
                record.timestamp = fixed
        if records:
            yield records
        if corrupt is not None:
            raise corrupt
        left -= len(records)
    if at != len(buffer):
        raise CorruptRecordError(f"{len(buffer) - at} unconsumed bytes after all records consumed")


def _read_records(  # noqa: C901, PLR0912, PLR0915 - unrolled: a call for each number is what costs
    buffer: bytes, at: int, count: int, base_offset: int, base_time: int, into: list[KafkaRecord]
) -> int:
    """Read ``count`` records from ``at`` on; where the next begins.

    Numbers are zigzag varints: the lowest bit is the sign, the highest of each byte says whether
    another one follows. Those of one or two bytes and not negative are read here, the rest by
    ``decode_varint``. Raises ``IndexError``, ``ValueError`` or ``CorruptRecordError``.
    """
    append = into.append
    for _ in range(count):
        length = buffer[at]
        if not length & 0x81:
            length >>= 1
            at += 1
        elif not length & 1 and not (high := buffer[at + 1]) & 0x80:
            length = (length & 0x7F | high << 7) >> 1
            at += 2
        else:
            length, at = decode_varint(buffer, at)
        end = at + length
        at += 1  # attributes: a byte without a meaning so far
        number = buffer[at]
        if not number & 0x81:
            time = base_time + (number >> 1)
            at += 1
        elif not number & 1 and not (high := buffer[at + 1]) & 0x80:
            time = base_time + ((number & 0x7F | high << 7) >> 1)
            at += 2
        else:
            number, at = decode_varint(buffer, at)
            time = base_time + number
        number = buffer[at]
        if not number & 0x81:
            offset = base_offset + (number >> 1)
            at += 1
        elif not number & 1 and not (high := buffer[at + 1]) & 0x80:
            offset = base_offset + ((number & 0x7F | high << 7) >> 1)
            at += 2
        else:
            number, at = decode_varint(buffer, at)
            offset = base_offset + number
        number = buffer[at]
        if not number & 0x81:
            number >>= 1
            at += 1
        else:
            number, at = decode_varint(buffer, at)
        key = None
        if number >= 0:
            key = buffer[at : at + number]
            at += number
        number = buffer[at]
        if not number & 0x81:
            number >>= 1
            at += 1
        elif not number & 1 and not (high := buffer[at + 1]) & 0x80:
            number = (number & 0x7F | high << 7) >> 1
            at += 2
        else:
            number, at = decode_varint(buffer, at)
        value = None
        if number >= 0:
            value = buffer[at : at + number]
            at += number
        headers: Sequence[tuple[str, bytes | None]] = _NO_HEADERS
        if buffer[at]:
            headers, at = _read_headers(buffer, at)
        else:
            at += 1
        if at != end:
            raise CorruptRecordError(
                f"Invalid record size: expected to read {length} bytes in record payload, "
                f"but instead read {at - end + length}"
            )
        append(KafkaRecord(offset, time, key, value, headers))
    return at


def _read_headers(buffer: bytes, at: int) -> tuple[list[tuple[str, bytes | None]], int]:
    count, at = decode_varint(buffer, at)
    if count < 0:
        raise CorruptRecordError(f"Found invalid number of record headers {count}")
    headers: list[tuple[str, bytes | None]] = []
    for _ in range(count):
        size, at = decode_varint(buffer, at)
        if size < 0:
            raise CorruptRecordError(f"Invalid negative header key size {size}")
        name = buffer[at : at + size].decode("utf-8")
        at += size
        size, at = decode_varint(buffer, at)
        value = None
        if size >= 0:
            value = buffer[at : at + size]
            at += size
        headers.append((name, value))
    return headers, at
