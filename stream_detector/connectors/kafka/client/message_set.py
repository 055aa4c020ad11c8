"""Message sets as brokers before Kafka 0.11 stored them (magic 0 and 1), by the client's own code.

Only their unpacking is replaced: it has the bound of ``codecs``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from kafka.record.legacy_records import LegacyRecordBatch

from stream_detector.connectors.kafka.client.codecs import LZ4, unpack
from stream_detector.connectors.kafka.client.errors import CorruptRecordError
from stream_detector.connectors.kafka.client.record_batch import KafkaRecord, packed_bytes
from stream_detector.events import NO_TIMESTAMP


class _BoundedMessageSet(LegacyRecordBatch):  # type: ignore[misc]
    """A message set that unpacks no more than ``codecs.MAX_BATCH_BYTES``."""

    __slots__ = ()

    def _decompress(self, key_offset: int) -> bytes:
        _, packed = self._read_key_value(key_offset)
        if packed is None:
            raise CorruptRecordError("Value of compressed message is None")
        if self.compression_type == LZ4 and self.magic == 0:
            # Its frames carry a wrong checksum of their header, which the library refuses.
            raise CorruptRecordError("lz4 as Kafka 0.9 and before wrote it is not known here")
        return unpack(self.compression_type, packed)


def read_message_set(batch: Any) -> Iterator[Sequence[KafkaRecord]]:
    """Records in a format of before Kafka 0.11: no headers, in the oldest one no timestamps.

    Raises ``CorruptRecordError``, and what the client's own code raises (assertions, ``IndexError``
    and the like).
    """
    before = -1
    for record in _BoundedMessageSet(packed_bytes(batch), batch.magic):
        if not record.validate_crc():
            raise CorruptRecordError(f"the checksum of offset {record.offset} is wrong")
        if record.offset <= before:
            raise CorruptRecordError(f"offset {record.offset} comes after {before}")
        before = record.offset
        time = NO_TIMESTAMP if record.timestamp is None else record.timestamp
        size = len(record.key or b"") + len(record.value or b"")
        yield (KafkaRecord(record.offset, time, record.key, record.value, record.headers, size),)
