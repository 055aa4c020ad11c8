"""The records of one batch of today's format (magic 2), in a tight loop.

What nobody reads is not judged: a name of a header may be any bytes, a size may be any negative
number where none is meant, attributes may have bits that are not known yet. What is read must be
sound: sizes, and offsets that rise and stay within the batch, since positions are made of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from kafka.record.default_records import DefaultRecordBatch
from kafka.record.util import decode_varint

from stream_detector.connectors.kafka.client.codecs import unpack
from stream_detector.connectors.kafka.client.errors import CorruptRecordError
from stream_detector.events import NO_TIMESTAMP

_RECORDS_AT_ONCE = 1000
"""Records made before the first of them is asked for: a compressed batch may hold millions."""

_NO_HEADERS: tuple[tuple[str, bytes | None], ...] = ()
_LATEST = 2**63 - 1
"""What a column of times can hold; a sum beyond it is no time."""

_FAR = 2**62
"""A batch whose first time lies within may have later ones of two bytes more without a look."""


class KafkaRecord(msgspec.Struct, gc=False):
    """A ``Record``; the cycle collector need not look at it, since nothing in it can refer back.

    ``size_bytes``: how many bytes it took in its batch, unpacked.
    """

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]
    size_bytes: int


class RawName(str):
    """The name of a header that is not UTF-8: a text whose surrogates stand for the odd bytes.

    kafka-python writes a name by its ``encode``, which gives back the bytes that were read: in a
    dead letter the header is what its producer wrote.
    """

    __slots__ = ()

    def encode(self, encoding: str = "utf-8", errors: str = "surrogateescape") -> bytes:
        """The name's own bytes."""
        return super().encode(encoding, errors)


def packed_bytes(batch: Any) -> bytes:
    """A batch's bytes as they came, header and all."""
    return bytes(batch._buffer)  # noqa: SLF001 - there is no public way


def read_batch(batch: DefaultRecordBatch) -> Iterator[list[KafkaRecord]]:
    """The records of a batch, some at a time.

    Raises ``CorruptRecordError`` where it is not laid out as it should be; what came before was
    handed out.
    """
    left = batch.records_count
    buffer, at = packed_bytes(batch), batch.HEADER_STRUCT.size
    if left == 0 and len(buffer) == at:
        return  # compaction has removed them all: only the header is left
    if batch.compression_type:
        buffer, at = unpack(batch.compression_type, buffer[at:]), 0
    fixed = batch.max_timestamp if batch.timestamp_type == batch.LOG_APPEND_TIME else None
    before, last = batch.base_offset - 1, batch.last_offset
    while left > 0:
        records: list[KafkaRecord] = []
        corrupt: CorruptRecordError | None = None
        number = min(left, _RECORDS_AT_ONCE)
        try:
            at = _read_records(
                buffer, at, number, batch.base_offset, before, batch.first_timestamp, records
            )
        except (CorruptRecordError, ValueError, IndexError) as error:
            corrupt = CorruptRecordError(f"a record's structure is invalid: {error.args[0]}")
            corrupt.__cause__ = error
        if records and records[-1].offset > last:
            corrupt = CorruptRecordError(f"an offset lies behind the batch's last, {last}")
            records = [record for record in records if record.offset <= last]
        if fixed is not None or not -_FAR < batch.first_timestamp < _FAR:
            _set_times(records, fixed)
        if records:
            before = records[-1].offset
            yield records
        if corrupt is not None:
            raise corrupt
        left -= len(records)
    if at != len(buffer):
        raise CorruptRecordError(f"{len(buffer) - at} unconsumed bytes after all records consumed")


def _set_times(records: Sequence[KafkaRecord], fixed: int | None) -> None:
    """The broker's own time for all where it stamps them; else none where the sum overflows."""
    for record in records:
        if fixed is not None:
            record.timestamp = fixed
        elif not -_LATEST <= record.timestamp <= _LATEST:
            record.timestamp = NO_TIMESTAMP


def _read_records(  # noqa: C901, PLR0912, PLR0915 - unrolled: calls are what costs
    buffer: bytes,
    at: int,
    count: int,
    base_offset: int,
    before: int,
    base_time: int,
    into: list[KafkaRecord],
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
            if not -_LATEST <= time <= _LATEST:
                time = NO_TIMESTAMP
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
        if offset <= before:
            raise CorruptRecordError(f"offset {offset} comes after {before}")
        before = offset
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
        append(KafkaRecord(offset, time, key, value, headers, length))
    return at


def _read_headers(buffer: bytes, at: int) -> tuple[list[tuple[str, bytes | None]], int]:
    """Headers from ``at`` on; a negative number of them is none, a missing name an empty one."""
    count, at = decode_varint(buffer, at)
    headers: list[tuple[str, bytes | None]] = []
    for _ in range(count):
        size, at = decode_varint(buffer, at)
        end = at + max(size, 0)
        name = header_name(buffer[at:end])
        size, at = decode_varint(buffer, end)
        value = None
        if size >= 0:
            value = buffer[at : at + size]
            at += size
        headers.append((name, value))
    return headers, at


def header_name(name: bytes) -> str:
    """A header's name as text; producers in C and Go may write any bytes."""
    try:
        return name.decode()
    except UnicodeDecodeError:
        return RawName(name.decode("utf-8", "surrogateescape"))
