"""Which keys a full table forgets: those that came once, before those with a history."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_detector.errors import StateMismatchError
from stream_detector.tables.keys import MOST_USES, KeyTable
from stream_detector.tables.texts import unpack_texts

CHUNK = 64


def use(table: KeyTable, keys: list[str], cut: int = CHUNK) -> None:
    """Bring keys in chunks, each in calls of at most ``cut`` events; ``evict`` after each chunk."""
    for first in range(0, len(keys), CHUNK):
        chunk = keys[first : first + CHUNK]
        for begin in range(0, len(chunk), cut):
            part = chunk[begin : begin + cut]
            table.touch(table.slots_of(part))
        if len(chunk) == CHUNK:
            table.evict()


def held(table: KeyTable) -> set[str]:
    return {key for key in unpack_texts(table.state()[0]["keys"]) if key is not None}


def once(count: int, name: str = "flood") -> list[str]:
    return [f"{name}{number}" for number in range(count)]


def test_keys_that_come_once_do_not_drive_out_one_with_a_history() -> None:
    table = KeyTable(max_keys=256)
    use(table, ["victim"] * 32 + once(10 * 256))
    assert "victim" in held(table)
    assert len(table) <= 256 + CHUNK


def test_a_flood_drives_out_its_own_keys_first() -> None:
    table = KeyTable(max_keys=256)
    regulars = [f"regular{number}" for number in range(200)]
    use(table, regulars * 8 + once(12 * CHUNK))
    assert set(regulars) <= held(table)


def test_a_key_that_stays_away_is_forgotten_in_the_end() -> None:
    table = KeyTable(max_keys=256)
    use(table, ["gone"] * 1000 + once(25 * 256))
    assert "gone" not in held(table)


def test_a_key_is_worth_no_more_for_being_used_without_end() -> None:
    table = KeyTable(max_keys=256)
    use(table, ["often"] * 4096 + ["enough"] * MOST_USES + once(17 * 256 + CHUNK))
    assert ("often" in held(table)) <= ("enough" in held(table))


def test_keys_of_equal_use_go_in_the_order_of_their_last_use() -> None:
    table = KeyTable(max_keys=128)
    use(table, once(192))
    assert held(table) == set(once(192)[192 - (128 - 8) :])


def test_keys_that_come_twice_are_preferred_to_keys_that_came_once() -> None:
    table = KeyTable(max_keys=128)
    returning = once(60, "returning")
    use(table, [*returning, *returning, *once(200)])
    assert set(returning) <= held(table)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, CHUNK))
def test_who_goes_depends_neither_on_the_cuts_nor_on_a_restore(seed: int, cut: int) -> None:
    random = np.random.default_rng(seed)
    keys = [f"k{number}" for number in random.zipf(1.3, 6 * CHUNK) % 500]
    whole, parts = KeyTable(max_keys=48), KeyTable(max_keys=48)
    use(whole, keys)
    use(parts, keys[: 3 * CHUNK], cut)
    restored = KeyTable(max_keys=48)
    restored.restore(parts.state()[0])
    use(restored, keys[3 * CHUNK :], cut)
    one, other = whole.state()[0], restored.state()[0]
    assert unpack_texts(one["keys"]) == unpack_texts(other["keys"])
    for name in ("last_used", "uses"):
        np.testing.assert_array_equal(one[name], other[name])
    assert one["evicted"] == other["evicted"]


def test_a_state_of_an_older_version_forgets_the_least_recently_used_first() -> None:
    table, restored = KeyTable(max_keys=128), KeyTable(max_keys=128)
    use(table, ["oldest"] * 16 + once(100)[:48])
    state = table.state()[0]
    del state["uses"]
    restored.restore(state)
    use(restored, once(64, "more") + once(64, "and more"))
    assert "oldest" not in held(restored)


def test_a_state_with_another_number_of_uses_is_refused() -> None:
    table = KeyTable(max_keys=128)
    use(table, once(10))
    state = table.state()[0]
    state["uses"] = state["uses"][:-1]
    with pytest.raises(StateMismatchError, match="uses"):
        KeyTable(max_keys=128).restore(state)
