"""Values sent to fill a table of categories: they do not keep it from those that people use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from test_features import batch_of, extractor_of

from stream_detector import Pipeline
from stream_detector.errors import StateMismatchError
from stream_detector.features import FeatureExtractor
from stream_detector.tables.texts import pack_texts, unpack_texts

CHUNK = 32


def encoded(
    extractor: FeatureExtractor, texts: Sequence[str | None], cut: int = CHUNK
) -> list[int]:
    """The column of each text, in chunks of 32 that come in calls of at most ``cut`` events."""
    columns: list[int] = []
    for first in range(0, len(texts), CHUNK):
        chunk = list(texts[first : first + CHUNK])
        for begin in range(0, len(chunk), cut):
            columns += (
                extractor.extract(batch_of(text=[chunk[begin : begin + cut]]))
                .argmax(axis=1)
                .tolist()
            )
        if len(chunk) == CHUNK:
            extractor.end_chunk()
    return columns


def one_hot(size: int) -> FeatureExtractor:
    return extractor_of({"categorical": "p", "size": size})


def values(extractor: FeatureExtractor) -> list[str | None]:
    """The values in the order of their columns."""
    return unpack_texts(extractor.state()["tables"]["0"]["values"])


def junk(count: int) -> list[str | None]:
    return [f"junk{number}" for number in range(count)]


# --- what it costs a detector --------------------------------------------------------------------


def area(encoding: str, junk_values: int) -> float:
    """ROC AUC of the default where three seldom values are the anomalies among twelve usual ones.

    The first 500 events do not count, and the junk not at all.
    """
    random = np.random.default_rng(0)
    usual = 1 / np.arange(1, 13)
    anomalous = random.random(5000) < 0.01
    drawn = random.choice(12, 5000, p=usual / usual.sum())
    texts = junk(junk_values) + [
        f"odd{number % 3}" if strange else f"usual{number}"
        for number, strange in zip(drawn.tolist(), anomalous.tolist(), strict=True)
    ]
    amounts = random.normal(size=len(texts)).tolist()
    rows = [{"p": text, "x": x} for text, x in zip(texts, amounts, strict=True)]
    feature = {"categorical": "p", "encoding": encoding, "size": 16}
    scores = Pipeline({"name": "d", "features": [feature, {"numeric": "x"}]}).process(rows).scores
    return float(roc_auc_score(anomalous[500:], scores[junk_values + 500 :]))


@pytest.mark.parametrize("encoding", ["one_hot", "rarity"])
def test_twenty_junk_values_at_the_start_cost_at_most_a_hundredth_of_the_area(
    encoding: str,
) -> None:
    calm = area(encoding, 0)
    assert calm > 0.98
    assert calm - area(encoding, 20) <= 0.01


# --- who has a column ----------------------------------------------------------------------------


def test_values_in_use_take_the_columns_of_values_sent_to_fill_the_table() -> None:
    extractor = one_hot(4)
    encoded(extractor, [*junk(20), *["a", "b", "c"] * 20])
    assert {"a", "b", "c"} < set(values(extractor))


def test_the_first_columns_go_in_event_order_and_stay() -> None:
    extractor = one_hot(4)
    texts = ["a", "b", "c", "d"] * 200
    assert encoded(extractor, texts) == [0, 1, 2, 3] * 200


def test_later_it_takes_eight_times_as_many() -> None:
    extractor = one_hot(2)
    encoded(extractor, ["a", "a", "b"] * 1000 + ["a"] * (32 - 3000 % 32))
    encoded(extractor, ["new"] * 32 * 188)  # 6,016, but "b" has come 1,000 times
    assert set(values(extractor)) == {"a", "b"}
    encoded(extractor, ["new"] * 32 * 64)
    assert values(extractor) == ["a", "new"]
    encoded(extractor, ["b"] * 32 * 10)
    assert values(extractor) == ["a", "new"], "nor does the old one come back soon"


def test_two_values_that_come_alike_do_not_take_turns() -> None:
    extractor = one_hot(2)
    columns = encoded(extractor, ["often", "one", "often", "two"] * 1000)
    assert sorted(set(columns[1::4] + columns[3::4])) == [1, 2]
    changes = np.count_nonzero(np.diff(columns[1::4]))
    assert changes <= 1


def test_a_flood_of_values_seen_once_takes_no_column_and_no_memory() -> None:
    extractor = one_hot(4)
    usual = ["a", "b", "c", "d"] * 8
    encoded(extractor, usual)
    for number in range(100):
        encoded(extractor, [f"{number}-{each}" for each in range(CHUNK)])
    assert values(extractor) == ["a", "b", "c", "d"]
    assert len(extractor.state()["tables"]["0"]["waiting_counts"]) <= 64
    assert encoded(extractor, usual) == [0, 1, 2, 3] * 8


def test_missing_values_are_never_given_a_column_of_the_others() -> None:
    extractor = one_hot(2)
    columns = encoded(extractor, [*junk(2), *[None] * 300, "a", None])
    assert set(columns[2:302]) == {3}
    assert None not in values(extractor)


# --- state ---------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, CHUNK), st.integers(0, 2688))
def test_columns_depend_neither_on_the_cuts_nor_on_a_restore(
    seed: int, cut: int, stop: int
) -> None:
    random = np.random.default_rng(seed)
    drawn = random.zipf(1.5, 2700) % 40 * random.choice([1, 1, 1, 1000], 2700)
    texts = [None if number == 7 else f"v{number}" for number in drawn.tolist()]
    whole, parts, restored = one_hot(4), one_hot(4), one_hot(4)
    expected = encoded(whole, texts)
    stop -= stop % cut  # a chunk may be begun; the last whole one ends at 2688
    stop -= stop % CHUNK % cut
    found = encoded(parts, texts[:stop], cut)
    restored.restore(parts.state())
    left = -stop % CHUNK
    found += encoded_rest(restored, texts[stop : stop + left])
    found += encoded(restored, texts[stop + left :], cut)
    assert found == expected
    one, other = whole.state()["tables"]["0"], restored.state()["tables"]["0"]
    for name in ("counts", "in_chunk", "waiting_counts", "waiting_in_chunk"):
        np.testing.assert_array_equal(one[name], other[name])
    for name in ("values", "waiting"):
        assert unpack_texts(one[name]) == unpack_texts(other[name])


def encoded_rest(extractor: FeatureExtractor, texts: Sequence[str | None]) -> list[int]:
    """The columns of what is left of a chunk, which ends then."""
    if not texts:
        return []
    columns = extractor.extract(batch_of(text=[list(texts)])).argmax(axis=1).tolist()
    extractor.end_chunk()
    return list(columns)


def test_a_state_of_an_older_version_keeps_its_columns_and_their_meaning() -> None:
    extractor = one_hot(2)
    state = extractor.state()
    state["tables"] = {"0": {"size": 2, "values": pack_texts(["a", "b"])}}
    extractor.restore(state)
    assert encoded(extractor, ["b", "a", *["new"] * 30, *["new"] * 32 * 10])[:3] == [1, 0, 2]
    assert set(values(extractor)) == {"a", "b"}
    encoded(extractor, ["new"] * 32 * 8)
    assert "new" in values(extractor)


@pytest.mark.parametrize(
    "change",
    [
        {
            "waiting": pack_texts(["a"]),
            "waiting_counts": np.ones(1),
            "waiting_in_chunk": np.ones(1, int),
        },
        {"counts": np.full(2, -1.0)},
        {"counts": np.array([np.nan, 1.0])},
        {"in_chunk": np.array([-1, 0])},
        {"waiting_counts": np.ones(3)},
        {"values": pack_texts(["a", "a"])},
        {"values": pack_texts(["a", "b", "c"])},
        {"events": 1, "chunk_began": 2},
    ],
)
def test_a_state_that_makes_no_sense_is_refused(change: dict[str, Any]) -> None:
    extractor = one_hot(2)
    encoded(extractor, ["a", "b", "c"])
    state = extractor.state()
    state["tables"] = {"0": {**state["tables"]["0"], **change}}
    with pytest.raises(StateMismatchError):
        one_hot(2).restore(state)
