"""Our reading of fetched batches beside kafka-python's own: the same records, the same errors."""

from __future__ import annotations

import random
import struct
from typing import Any

import pytest
from kafka.consumer.fetcher import Fetcher
from kafka.errors import CorruptRecordError
from kafka.protocol.consumer import IsolationLevel
from kafka.record import MemoryRecords
from kafka.record.default_records import DefaultRecordBatchBuilder
from kafka.record.memory_records import MemoryRecordsBuilder
from kafka.record.util import calc_crc32c
from kafka.structs import TopicPartition

from stream_detector.connectors.kafka.client import record_batch
from stream_detector.connectors.kafka.client.batches import BatchRecords
from stream_detector.events import NO_TIMESTAMP

PARTITION = TopicPartition("events", 3)
NO_COMPRESSION, GZIP, SNAPPY, LZ4, ZSTD = range(5)
CODECS = [NO_COMPRESSION, GZIP, SNAPPY, LZ4, ZSTD]
ATTRIBUTES_AT, COUNT_AT, FIRST_RECORD = 21, 57, 61
LOG_APPEND_TIME, CONTROL = 0x08, 0x20


class Aborted:
    def __init__(self, producer_id: int, first_offset: int) -> None:
        self.producer_id, self.first_offset = producer_id, first_offset


def a_batch(
    records: list[tuple[int, int, Any, Any, list[Any]]],
    *,
    codec: int = NO_COMPRESSION,
    producer_id: int = -1,
    base: int | None = None,
    attributes: int = 0,
) -> bytes:
    """Records as (offset, time, key, value, headers), as a broker stores them."""
    builder = DefaultRecordBatchBuilder(
        2, codec, producer_id >= 0, producer_id, 0 if producer_id >= 0 else -1, -1, 2**31
    )
    base = records[0][0] if base is None else base
    for offset, time_ms, key, value, headers in records:
        builder.append(offset - base, time_ms, key, value, headers)
    data = bytearray(builder.build())
    struct.pack_into(">q", data, 0, base)
    struct.pack_into(">h", data, ATTRIBUTES_AT, data[ATTRIBUTES_AT + 1] | attributes)
    return with_checksum(data)


def with_checksum(data: bytearray) -> bytes:
    struct.pack_into(">I", data, ATTRIBUTES_AT - 4, calc_crc32c(memoryview(data)[ATTRIBUTES_AT:]))
    return bytes(data)


def marker(offset: int, producer_id: int, *, commit: bool) -> bytes:
    key = struct.pack(">hh", 0, int(commit))
    record = (offset, 1, key, struct.pack(">hi", 0, 0), [])
    return a_batch([record], producer_id=producer_id, attributes=CONTROL)


def random_records(seed: int, count: int, first: int = 0) -> list[Any]:
    """Keys, values, headers and times of every size that a number may take."""
    draw = random.Random(seed)
    records, offset, time_ms = [], first, 1_700_000_000_000
    for _ in range(count):
        sizes = (0, 1, 63, 64, 200, 8191, 8192, 20_000)
        value = draw.choice([None, *(draw.randbytes(draw.choice(sizes)) for _ in range(3))])
        key = draw.choice([None, b"", b"k", draw.randbytes(63), draw.randbytes(300)])
        headers = [
            (draw.choice(["", "trace", "ключ"]), draw.choice([None, b"", draw.randbytes(100)]))
            for _ in range(draw.choice([0, 0, 0, 1, 3, 70]))
        ]
        records.append((offset, time_ms, key, value, headers))
        offset += draw.choice([1, 1, 1, 2, 100, 20_000])  # gaps, as compaction leaves them
        time_ms += draw.choice([0, 1, -5, 64, 9000, -9000, 2_000_000, 2**40])
    return records


def read_all(
    kind: Any, data: bytes, *, start: int = 0, step: int = 7, **settings: Any
) -> tuple[list[tuple[Any, ...]], list[Any], str]:
    """Every record, the position after each step, and how it ended."""
    fetched = kind(start, PARTITION, MemoryRecords(data), **settings)
    records: list[tuple[Any, ...]] = []
    positions: list[Any] = [fetched.next_fetch_offset]
    try:
        while fetched:
            for r in (taken := fetched.take(step)):
                records.append((r.offset, r.timestamp, r.key, r.value, list(r.headers)))
            if taken or not fetched:
                positions.append((fetched.next_fetch_offset, fetched.leader_epoch))
    except CorruptRecordError:
        return records, [], "corrupt"
    return records, positions, "end"


def assert_same(data: bytes, **settings: Any) -> list[tuple[Any, ...]]:
    """Both read the same; returns the records."""
    for step in (1, 7, 100_000):
        ours = read_all(BatchRecords, data, step=step, **settings)
        assert ours == read_all(Fetcher.PartitionRecords, data, step=step, **settings)
    return ours[0]


@pytest.mark.parametrize("codec", CODECS)
def test_records_of_every_size_are_those_of_the_client(codec: int) -> None:
    """Numbers of one byte, of two and of more; null and empty; headers; gaps between offsets."""
    data, offset = b"", 0
    for seed in range(12):
        records = random_records(seed, 25, offset)
        offset = records[-1][0] + 1
        data += a_batch(records, codec=codec)
    assert len(assert_same(data)) == 300


def test_a_batch_longer_than_one_helping(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records are made a thousand at a time, however many a batch holds."""
    monkeypatch.setattr(record_batch, "_RECORDS_AT_ONCE", 64)
    data = a_batch([(n, n, None, b"v", []) for n in range(1000)], codec=ZSTD)
    assert len(assert_same(data)) == 1000


def test_reading_begins_at_the_offset_asked_for() -> None:
    """A fetch brings whole batches; what lies before the position is not handed out again."""
    data = a_batch([(n, n, None, b"v", []) for n in range(50, 90)])
    assert [record[0] for record in assert_same(data, start=77)] == list(range(77, 90))


def test_the_brokers_time_stands_for_all() -> None:
    """With ``message.timestamp.type=LogAppendTime`` the batch carries the time."""
    data = a_batch([(n, n * 10, None, b"v", []) for n in range(5)], attributes=LOG_APPEND_TIME)
    assert {record[1] for record in assert_same(data)} == {40}


@pytest.mark.parametrize("level", [IsolationLevel.READ_COMMITTED, IsolationLevel.READ_UNCOMMITTED])
def test_transactions_and_their_markers(level: Any) -> None:
    """Aborted records are left out where only committed ones may be seen; positions pass them."""

    def of(producer: int, first: int) -> bytes:
        rows = [(n, 0, None, b"%d" % n, []) for n in range(first, first + 4)]
        return a_batch(rows, producer_id=producer)

    data = b"".join(
        [
            of(7, 0),  # aborted
            of(8, 4),
            marker(8, 7, commit=False),
            of(7, 9),  # the next transaction of the same producer
            marker(13, 8, commit=True),
            marker(14, 7, commit=True),
        ]
    )
    records = assert_same(data, isolation_level=level, aborted_transactions=[Aborted(7, 0)])
    first = 4 if level == IsolationLevel.READ_COMMITTED else 0
    assert [record[0] for record in records] == [*range(first, 8), *range(9, 13)]


@pytest.mark.parametrize("magic", [0, 1])
def test_batches_of_older_brokers(magic: int) -> None:
    """They are read by the client's own code."""
    builder = MemoryRecordsBuilder(magic, GZIP, 2**20)
    for number in range(20):
        builder.append(1000 + number, b"k", b"v%d" % number)
    builder.close()
    data = bytes(builder.buffer())
    records, _, end = read_all(BatchRecords, data)
    theirs = read_all(Fetcher.PartitionRecords, data)
    # The oldest format has no timestamps; a column of times has no None.
    assert [(o, NO_TIMESTAMP if t is None else t, *more) for o, t, *more in theirs[0]] == records
    assert (len(records), end) == (20, "end")


def test_a_wrong_checksum_is_refused() -> None:
    """As by the client: records of the batches before it come first."""
    good, bad = (bytearray(a_batch([(n, n, None, b"value", [])])) for n in (0, 1))
    bad[-3] ^= 1
    assert assert_same(bytes(good + bad))[0][0] == 0
    assert read_all(BatchRecords, bytes(good + bad))[2] == "corrupt"


def test_damage_that_the_checksum_does_not_show() -> None:
    """Any byte changed by a faulty producer: no record is made of it that the client would not."""
    rows = [(n, n * 8, b"key", b"0123456789", [("h", b"x")]) for n in range(8)]
    whole = a_batch(rows)
    size, left_over = divmod(len(whole) - FIRST_RECORD, len(rows))
    assert left_over == 0  # records of one size, so that the place of each byte is known
    ends = set()
    for at in range(COUNT_AT, len(whole)):
        if (at - FIRST_RECORD) % size == 1:
            continue  # the unused attributes: a byte to us, a number of any length to the client
        for byte in (0, 1, 2, 0x7F, 0x80, 0xFF, whole[at] ^ 4):
            data = bytearray(whole)
            data[at] = byte
            damaged = with_checksum(data)
            records, _, end = read_all(BatchRecords, damaged, step=1)
            theirs = read_all(Fetcher.PartitionRecords, damaged, step=1)
            if (records, end) == (theirs[0], theirs[2]):
                ends.add(end)
            elif end == "corrupt":
                # Meant: what does not rise within the batch is no offset.
                assert records == theirs[0][: len(records)]
                assert [record[0] for record in theirs[0]] != list(range(len(rows)))
                ends.add("offsets")
            else:
                # Meant: a header's name may be anything.
                assert [record[:4] for record in records] == [row[:4] for row in rows]
                ends.add("headers")
    assert ends == {"end", "corrupt", "offsets", "headers"}


@pytest.mark.parametrize("left_out", [-1, 1])
def test_a_wrong_count_is_refused(left_out: int) -> None:
    """More records than the batch says, or fewer."""
    data = bytearray(a_batch([(n, n, None, b"v", []) for n in range(10)]))
    struct.pack_into(">i", data, COUNT_AT, 10 - left_out)
    assert read_all(BatchRecords, with_checksum(data))[2] == "corrupt"
    assert_same(with_checksum(data))
