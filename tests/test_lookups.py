"""Keys looked up once for several tables: the slots are those that each table alone would give."""

from __future__ import annotations

import numpy as np
import pytest

from stream_detector.monitors.rings import Rings, sums
from stream_detector.tables.keys import KeyTable
from stream_detector.tables.lookups import KeyFinder, Lookups


def _feed(table: KeyTable, slots: np.ndarray, since: int) -> int:
    table.touch(slots)
    if since + len(slots) < 100:
        return since + len(slots)
    table.evict()
    return 0


@pytest.mark.parametrize("seed", range(4))
def test_tables_that_share_a_batch_have_what_each_of_them_alone_would_have(seed: int) -> None:
    """Tables of different sizes, filters and orders of forgetting; one is restored half-way."""
    random = np.random.default_rng(seed)
    shared, alone = ([KeyTable(most) for most in (5, 40, 300)] for _ in range(2))
    finders = [KeyFinder(table, "key") for table in shared]
    since_shared, since_alone = [0, 0, 0], [0, 0, 0]
    for turn in range(300):
        keys = [f"k{number}" for number in random.zipf(1.3, random.integers(1, 60)) % 700]
        lookups = Lookups(len(keys))
        if turn == 150:
            shared[0].restore(shared[0].state()[0])
        for which in random.permutation(3).tolist():
            rows = np.flatnonzero(random.random(len(keys)) < (0.5, 1.0, 0.8)[which])
            for part in np.array_split(rows, 2):  # a table may forget between two parts of a batch
                some = [keys[row] for row in part.tolist()]
                slots = finders[which].slots_of(some, lookups, part)
                assert [shared[which].key_of(slot) for slot in slots.tolist()] == some
                since_shared[which] = _feed(shared[which], slots, since_shared[which])
                slots = alone[which].slots_of(some)
                since_alone[which] = _feed(alone[which], slots, since_alone[which])
    for one, other in zip(shared, alone, strict=True):
        mine, theirs = one.state()[0], other.state()[0]
        assert mine["evicted"] == theirs["evicted"]
        assert mine["keys"]["utf8"].tobytes() == theirs["keys"]["utf8"].tobytes()
        assert mine["last_used"].tolist() == theirs["last_used"].tolist()
    assert [table.evicted > 0 for table in shared] == [True, True, True]


def test_a_batch_of_the_same_field_begins_without_the_last_ones_keys() -> None:
    first, second = KeyTable(10), KeyTable(10)
    finder = KeyFinder(second, "key")
    lookups = Lookups(2)
    KeyFinder(first, "key").slots_of(["a", "b"], lookups)
    assert finder.slots_of(["a", "b"], lookups).tolist() == [0, 1]
    lookups.begin(1)
    assert lookups.of("key") is None
    assert finder.slots_of(["b"], lookups).tolist() == [1]


@pytest.mark.parametrize("buckets", [1, 2, 7, 8, 9, 24, 120, 128, 129, 300, 1000])
def test_sums_are_those_along_a_row_however_the_buckets_lie(buckets: int) -> None:
    values = np.random.default_rng(buckets).lognormal(0, 6, (9000, buckets))
    exact = values.sum(axis=1)
    for laid in (values, np.asfortranarray(values), np.hstack([values, values])[:, buckets:]):
        assert sums(laid).tobytes() == exact.tobytes()


def test_a_ring_has_the_last_buckets_whatever_was_moved_and_grown() -> None:
    ring, pushed = Rings(("one",), 5), np.zeros((3, 5))
    ring.grow(2)
    for number in range(40):
        if number == 20:
            ring.grow(3)
        newest = np.arange(ring["one"].shape[0]) + 10.0 * number
        ring.push({"one": newest})
        pushed = np.hstack([pushed, np.zeros((3, 1))])
        pushed[: len(newest), -1] = newest
    assert ring["one"].tolist() == pushed[:, -5:].tolist()
