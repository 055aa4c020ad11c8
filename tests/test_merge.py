"""The merge's promise: one order, however the input is cut."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_detector.events import (
    NO_TIMESTAMP,
    EventBatch,
    PlainRecord,
    TopicPartition,
    object_column,
)
from stream_detector.merge import Merger


def batch_of(source: TopicPartition, offsets: list[int], times: list[int]) -> EventBatch:
    count = len(offsets)
    nothing = np.full(count, None, dtype=object)
    return EventBatch(
        source=object_column([source] * count),
        offset=np.array(offsets, dtype=np.int64),
        time_ms=np.array(times, dtype=np.int64),
        record=object_column([PlainRecord(offset, -1, None, None) for offset in offsets]),
        rejection=nothing,
        event_id=nothing,
        numeric=np.zeros((count, 0)),
        text=(),
        label=np.full(count, np.nan),
    )


def reference(logs: dict[TopicPartition, list[int]]) -> list[tuple[TopicPartition, int]]:
    """The definition: sort all events by (running maximum, partition, offset).

    The first time of a partition counts for nothing: no other has confirmed it.
    """
    keyed = []
    for source, times in logs.items():
        maximum = NO_TIMESTAMP
        first = next((offset for offset, time_ms in enumerate(times) if time_ms >= 0), -1)
        for offset, time_ms in enumerate(times):
            maximum = max(maximum, time_ms) if offset != first else maximum
            keyed.append((maximum, source, offset))
    return [(source, offset) for _, source, offset in sorted(keyed)]


def run(logs: dict[TopicPartition, list[int]], rng: np.random.Generator, limit: int = 10**9):
    """Feed a merger in random cuts, favouring partitions at random; restart it now and then."""
    merger = Merger()
    position = dict.fromkeys(logs, 0)
    done = dict.fromkeys(logs, 0)
    for source in logs:
        merger.add(source)
    order: list[tuple[TopicPartition, int]] = []
    while True:
        behind = [s for s, times in logs.items() if position[s] < len(times)]
        ready = [s for s in behind if merger.waiting(s) < limit]
        if ready:
            source = ready[int(rng.integers(len(ready)))]
            start = position[source]
            stop = min(start + int(rng.integers(1, 8)), len(logs[source]))
            merger.push(batch_of(source, list(range(start, stop)), logs[source][start:stop]))
            position[source] = stop
        at_end = {s for s, times in logs.items() if position[s] == len(times)}
        released = merger.release(at_end)
        if released is not None:
            for source, offset in zip(released.source, released.offset.tolist(), strict=True):
                order.append((source, offset))
                done[source] = offset + 1
        if rng.random() < 0.05:  # stop and start again from what a snapshot keeps
            known = merger.released_times()
            merger = Merger()
            for source in logs:
                merger.add(source, known[source])
            position = dict(done)
        processed = sum(done.values()) == sum(map(len, logs.values()))
        if processed and position == done and merger.release(at_end) is None:
            return order


TIMES = st.lists(st.integers(-1, 60), max_size=40)


@settings(max_examples=150, deadline=None)
@given(st.lists(TIMES, min_size=1, max_size=5), st.integers(0, 2**32 - 1))
def test_a_backlog_is_released_in_merge_order_however_it_is_cut(times, seed) -> None:
    logs = {TopicPartition("t", i): column for i, column in enumerate(times)}
    assert run(logs, np.random.default_rng(seed)) == reference(logs)


@pytest.mark.parametrize("partitions", [1, 4, 12])
@pytest.mark.parametrize("case", ["even", "one_empty", "one_stops", "one_hour_ahead"])
def test_partitions_of_all_kinds_come_out_in_one_order(partitions: int, case: str) -> None:
    rng = np.random.default_rng(partitions)
    logs = {
        TopicPartition("t", p): np.sort(rng.integers(0, 10_000, 300)).tolist()
        for p in range(partitions)
    }
    first = TopicPartition("t", 0)
    if case == "one_empty":
        logs[first] = []
    elif case == "one_stops":
        logs[first] = logs[first][:20]
    elif case == "one_hour_ahead":
        logs[first] = [t + 3_600_000 for t in logs[first]]
    expected = reference(logs)
    for seed in range(3):
        assert run(logs, np.random.default_rng(seed), limit=20) == expected


def test_nothing_is_released_before_an_unread_partition_is_known() -> None:
    a, b = TopicPartition("t", 0), TopicPartition("t", 1)
    merger = Merger()
    merger.add(a)
    merger.add(b)
    merger.push(batch_of(a, [0, 1], [10, 20]))
    assert merger.release(at_end=set()) is None
    assert merger.blocking(at_end=set()) == [b]
    merger.push(batch_of(b, [0], [10]))
    released = merger.release(at_end=set())
    assert released is not None
    # b's only event is of time 10: a's 20 must wait for b's next.
    assert list(zip(released.source, released.offset.tolist(), strict=True)) == [(a, 0), (b, 0)]
    assert merger.blocking(at_end={b}) == []


def test_live_traffic_does_not_wait_for_partitions_at_their_end() -> None:
    a, b = TopicPartition("t", 0), TopicPartition("t", 1)
    merger = Merger()
    merger.add(a)
    merger.add(b)
    merger.push(batch_of(a, [0], [10]))
    released = merger.release(at_end={b})
    assert released is not None
    assert len(released) == 1


def test_rejected_records_keep_their_place_and_do_not_move_the_order() -> None:
    a, b = TopicPartition("t", 0), TopicPartition("t", 1)
    logs = {a: [1, 5, NO_TIMESTAMP, 9], b: [1, NO_TIMESTAMP, 7]}
    expected = [(a, 0), (b, 0), (b, 1), (a, 1), (a, 2), (b, 2), (a, 3)]
    assert run(logs, np.random.default_rng(0)) == expected


@settings(max_examples=150, deadline=None)
@given(
    logs=st.lists(st.lists(st.integers(-1, 30), max_size=40), min_size=1, max_size=5),
    sizes=st.lists(st.integers(0, 30), min_size=1, max_size=7),
    most_events=st.integers(1, 50),
    most_bytes=st.integers(1, 200),
)
def test_a_bounded_release_is_a_beginning_of_the_whole(
    logs: list[list[int]], sizes: list[int], most_events: int, most_bytes: int
) -> None:
    """Whatever the bounds (clocks that go back and equal times too), the order is the same."""

    def fed(*, bounded: bool) -> list[list[tuple[TopicPartition, int]]]:
        merger = Merger(record_steps=True)
        sources = [TopicPartition("t", number) for number in range(len(logs))]
        for source, times in zip(sources, logs, strict=True):
            merger.add(source)
            batch = batch_of(source, list(range(len(times))), times)
            records = [
                PlainRecord(n, 0, None, b"x" * sizes[n % len(sizes)]) for n in range(len(times))
            ]
            merger.push(replace(batch, record=object_column(records)))
        parts = []
        bounds = (most_events, most_bytes) if bounded else (None, None)
        while (released := merger.release(set(sources), *bounds)) is not None:
            held = sum(len(record.value) for record in released.record)
            assert not bounded or len(released) <= most_events
            assert not bounded or held <= most_bytes or len(released) == 1
            parts.append(list(zip(released.source, released.offset.tolist(), strict=True)))
        assert not any(map(merger.waiting, sources))
        return parts

    whole = fed(bounded=False)
    assert [place for part in fed(bounded=True) for place in part] == [
        place for part in whole for place in part
    ]


def test_claims_at_the_end_of_what_a_number_can_hold_break_nothing() -> None:
    time, source = 1_600_000_000_000, TopicPartition("a", 0)
    times = [time + n for n in range(40)] + [2**63 - 1] * 100 + [time + 50 + n for n in range(100)]
    merger = Merger()
    merger.add(source)
    for start in range(0, len(times), 30):
        some = times[start : start + 30]
        merger.push(batch_of(source, list(range(start, start + len(some))), some))
    released = merger.release([source])
    assert released is not None
    assert len(released) == len(times)
    assert merger.released_times()[source].mark_ms == times[-1]
