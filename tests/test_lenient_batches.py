"""What nobody reads of a batch is not judged; what cannot be read is named, or stood in for."""

from __future__ import annotations

import gzip
import struct
from typing import Any

import pytest
from kafka.errors import CorruptRecordError
from kafka.protocol.consumer import IsolationLevel
from kafka.record import MemoryRecords
from kafka.record.memory_records import MemoryRecordsBuilder
from test_kafka_batches import (
    ATTRIBUTES_AT,
    CONTROL,
    COUNT_AT,
    FIRST_RECORD,
    GZIP,
    PARTITION,
    Aborted,
    a_batch,
    marker,
    with_checksum,
)

from stream_detector.connectors.kafka.client import codecs
from stream_detector.connectors.kafka.client.batches import BatchRecords, reading
from stream_detector.connectors.kafka.reading.unreadable import Unreadable
from stream_detector.events import UnreadableRecord

COMMITTED = {"isolation_level": IsolationLevel.READ_COMMITTED}


def read(data: bytes, *, dead_letter: bool | None = None, start: int = 0, **more: Any) -> list[Any]:
    """All records; ``dead_letter`` is the policy of a consumer, None reads without one."""
    kind: Any = BatchRecords
    if dead_letter is not None:
        kind = reading(Unreadable(dead_letter=dead_letter), None)
    found: list[Any] = []
    for _ in range(2):  # a wrong checksum is fetched once more
        fetched = kind(start, PARTITION, MemoryRecords(data), **more)
        found = []
        while fetched:
            found.extend(fetched.take(7))
        assert not fetched
    return found


def row(offset: int) -> tuple[int, int, Any, Any, list[Any]]:
    return (offset, 1, None, b"v", [])


def with_headers(headers: bytes) -> bytes:
    """A batch of one record whose headers are these bytes, their number included."""
    record = bytes([0, 0, 0, 1, 2]) + b"v" + headers
    data = bytearray(a_batch([row(5)]))[:FIRST_RECORD] + bytes([len(record) << 1]) + record
    struct.pack_into(">i", data, 8, len(data) - 12)
    return with_checksum(bytearray(data))


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (b"\x02\x06\xf6\xff\x80\x02x", [(b"\xf6\xff\x80", b"x")]),
        (b"\x02\x01\x02x", [(b"", b"x")]),  # no name at all
        (b"\x02\x02h\x01", [(b"h", None)]),
        (b"\x01", []),  # a negative number of them
    ],
)
def test_headers_may_be_anything(headers: bytes, expected: list[Any]) -> None:
    (record,) = read(with_headers(headers))
    assert (record.offset, record.value) == (5, b"v")
    assert [(name.encode(), value) for name, value in record.headers] == expected


def test_attributes_that_are_not_known_yet_are_passed_over() -> None:
    assert len(read(a_batch([row(0), row(1)], attributes=0x7FC0 & 0xC0))) == 2


def test_an_empty_batch_moves_the_position() -> None:
    """Compaction leaves the header of a batch, packed or not, also of a control batch."""
    for attributes in (0, GZIP, CONTROL | 0x10):
        empty = bytearray(a_batch([row(3)]))[:FIRST_RECORD]
        struct.pack_into(">i", empty, 8, len(empty) - 12)
        struct.pack_into(">i", empty, COUNT_AT, 0)
        struct.pack_into(">h", empty, ATTRIBUTES_AT, attributes)
        struct.pack_into(">q", empty, 43, 7)  # of a producer
        data = with_checksum(empty) + a_batch([row(4)])
        assert [record.offset for record in read(data, **COMMITTED)] == [4]


def test_control_records_of_other_kinds_end_no_transaction() -> None:
    rows = [row(n) for n in range(2)]
    odd = [
        a_batch([(n, 1, key, None, [])], producer_id=7, attributes=CONTROL)
        for n, key in ((2, struct.pack(">hh", 9, 77)), (3, b"k"), (4, None))
    ]
    data = a_batch(rows, producer_id=7) + b"".join(odd)
    data += a_batch([row(5)], producer_id=7) + marker(6, 7, commit=False) + a_batch([row(7)])
    records = read(data, aborted_transactions=[Aborted(7, 0)], **COMMITTED)
    assert [record.offset for record in records] == [7]


def test_times_that_no_column_holds_are_none() -> None:
    data = bytearray(a_batch([(0, 0, None, b"v", []), (1, 2**40, None, b"v", [])]))
    struct.pack_into(">q", data, 27, 2**63 - 5)
    assert [record.timestamp for record in read(with_checksum(data))] == [2**63 - 5, -1]


def broken(codec: int = GZIP) -> bytes:
    """A batch of offsets 10 to 19 whose checksum is right and whose content is not."""
    data = bytearray(a_batch([row(n) for n in range(10, 20)], codec=codec))
    data[FIRST_RECORD + 2 : FIRST_RECORD + 6] = b"\xff" * 4
    return with_checksum(data)


def wrong_sum() -> bytes:
    data = bytearray(a_batch([row(n) for n in range(10, 20)]))
    data[-2] ^= 1
    return bytes(data)


@pytest.mark.parametrize("bad", [broken(), wrong_sum()])
@pytest.mark.parametrize("start", [0, 15])
def test_a_dead_letter_stands_at_the_last_offset_whatever_was_asked_for(
    bad: bytes, start: int
) -> None:
    data = a_batch([row(n) for n in range(10)]) + bad + a_batch([row(20)])
    records = read(data, dead_letter=True, start=start)
    assert [record.offset for record in records] == [*range(start, 10), 19, 20]
    stand_in = records[-2]
    assert isinstance(stand_in, UnreadableRecord)
    assert "offsets 10 to 19" in stand_in.problem
    assert stand_in.value == bad[:4096]
    with pytest.raises(CorruptRecordError, match="topic events, partition 3, offsets 10 to 19"):
        read(data, dead_letter=False)


def test_what_was_read_of_a_broken_batch_stays() -> None:
    data = bytearray(a_batch([row(n) for n in range(10, 20)]))
    data[-8] = 99  # the length of the last record
    (*good, last) = read(with_checksum(data), dead_letter=True)
    assert [record.offset for record in good] == list(range(10, 19))
    assert "offsets 19 to 19" in last.problem


def test_a_header_that_contradicts_itself_stops_whatever_the_policy() -> None:
    data = bytearray(wrong_sum())
    struct.pack_into(">i", data, COUNT_AT - 34, 2**20)  # the last offset
    with pytest.raises(CorruptRecordError, match="header is damaged"):
        read(bytes(data), dead_letter=True)


@pytest.mark.parametrize("magic", [3, 9])
def test_a_format_of_tomorrow_is_named(magic: int) -> None:
    data = bytearray(a_batch([row(0)]))
    data[16] = magic
    with pytest.raises(CorruptRecordError, match=f"format {magic} is not known"):
        read(bytes(data), dead_letter=True)


def test_an_unknown_codec_is_named() -> None:
    data = with_checksum(bytearray(a_batch([row(0)], attributes=6)))
    with pytest.raises(CorruptRecordError, match=r"(?i)unrecognized compression type"):
        read(data, dead_letter=False)


def test_message_sets_of_old_brokers_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    builder = MemoryRecordsBuilder(1, GZIP, 2**20)
    builder.append(1, None, bytes(50_000))
    builder.close()
    assert len(read(bytes(builder.buffer()))) == 1
    monkeypatch.setattr(codecs, "MAX_BATCH_BYTES", 49_999)
    with pytest.raises(CorruptRecordError, match="is not unpacked"):
        read(bytes(builder.buffer()))


def test_gzip_in_several_members_is_one_text_and_what_follows_is_no_matter() -> None:
    def unpack(packed: bytes) -> bytes:
        return codecs.unpack(codecs.GZIP, packed)

    packed = gzip.compress(b"one ") + gzip.compress(b"") + gzip.compress(b"two")
    assert unpack(packed) == unpack(packed + b"\0\0rest") == b"one two"
    with pytest.raises(CorruptRecordError, match="1000 members"):
        unpack(gzip.compress(b"") * 1001)
