"""The table of sightings: counts and ages as a dict would have them, bounded, whatever the cuts."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_detector.events import Int64
from stream_detector.tables.sightings import Sightings, TextHashes, hash_text, joined

MEMORY = 100


def things(numbers: list[int]) -> Int64:
    values = np.array(numbers, dtype=np.int64)
    return joined(np.zeros_like(values), values)


@settings(max_examples=150, deadline=None)
@given(
    seen=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 60)), min_size=1, max_size=80),
    cuts=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    settle=st.integers(1, 20),
)
def test_what_is_seen_is_counted_as_in_a_dict(seen, cuts, settle):
    times = np.cumsum([step for _, step in seen])
    table, known, found, expected = Sightings(1000, MEMORY), {}, [], []
    for (thing, _), now in zip(seen, times.tolist(), strict=True):
        count, last = known.get(thing, (0, 0))
        count = 0 if now - last > MEMORY else count
        expected.append(count)
        known[thing] = (count + 1, now)
    start, turn = 0, 0
    while start < len(seen):
        # Never over the end of a chunk, where what is new finds its place.
        stop = min(start + cuts[turn % len(cuts)], len(seen), (start // settle + 1) * settle)
        numbers = things([thing for thing, _ in seen[start:stop]])
        found += table.see(numbers, times[start:stop]).tolist()
        if stop % settle == 0:
            table.settle(int(times[stop - 1]))
        start, turn = stop, turn + 1
    assert found == expected


def test_a_flood_of_what_comes_once_drives_out_its_own_kind() -> None:
    table = Sightings(4096, 10**9)
    old = things(list(range(500)))
    for _ in range(3):
        table.see(old, np.zeros(500, dtype=np.int64))
    table.settle(0)
    for begin in range(1000, 60_000, 2000):
        flood = things(list(range(begin, begin + 2000)))
        table.see(flood, np.full(2000, begin))
        table.settle(begin)
        assert len(table) <= 4096
    assert table.evicted > 40_000
    assert (table.see(old, np.full(500, 60_000)) >= 3).all()


def test_what_is_idle_for_long_makes_room_in_the_end() -> None:
    table = Sightings(64, 1000)
    for _ in range(40):
        table.see(things(list(range(64))), np.zeros(64, dtype=np.int64))
    table.settle(0)
    table.see(things(list(range(100, 164))), np.full(64, 900))
    table.settle(900)
    assert table.evicted > 40


def test_bits_of_texts_are_those_of_any_other_process() -> None:
    assert hash_text("UA") == -5001092095243403813
    texts = ["a", "", "\ud800", "b" * 1000, "a"]
    assert TextHashes().of(texts).tolist() == [hash_text(text) for text in texts]
    assert len(set(TextHashes().of(texts).tolist())) == 4
