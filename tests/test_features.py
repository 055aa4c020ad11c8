"""Encoders and the extractor: columns, groups, explanations, and state."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_detector.config.derived.field_plan import FieldPlan
from stream_detector.config.models.config import Config
from stream_detector.errors import StateMismatchError
from stream_detector.events import EventBatch, object_column
from stream_detector.features import FeatureExtractor, FeatureGroup
from stream_detector.features.columns import apply_transform, undo_transform

NAN = math.nan


def extractor_of(*features: dict[str, Any], **rest: Any) -> FeatureExtractor:
    config = Config.model_validate({"name": "test", "features": list(features), **rest})
    return FeatureExtractor(config, FieldPlan.of(config))


def batch_of(
    numeric: list[list[float]] | None = None,
    text: list[list[str | None]] | None = None,
    times: list[int] | None = None,
) -> EventBatch:
    """``numeric`` and ``text``: one list for each field, in the plan's order."""
    count = len((numeric or text or [times or []])[0])
    nothing = np.full(count, None, dtype=object)
    return EventBatch(
        source=nothing,
        offset=np.arange(count),
        time_ms=np.array(times or [0] * count, dtype=np.int64),
        record=nothing,
        rejection=nothing,
        event_id=nothing,
        numeric=np.array(numeric, dtype=np.float64).T if numeric else np.zeros((count, 0)),
        text=tuple(object_column(column) for column in text or []),
        label=np.full(count, np.nan),
    )


def knowing(extractor: FeatureExtractor) -> FeatureExtractor:
    """The extractor, which has been through every cycle, as a state of an older version has."""
    state = dict(extractor.state())
    del state["cycles"]
    extractor.restore(state)
    return extractor


def described(extractor: FeatureExtractor, batch: EventBatch) -> list[list[Any]]:
    features = extractor.extract(batch)
    return [
        [extractor.describe(group, batch, row, features[row]) for group in extractor.groups]
        for row in range(len(batch))
    ]


# --- numbers -------------------------------------------------------------------------------------


def test_transforms_keep_the_sign_and_are_explained_in_the_fields_own_unit() -> None:
    extractor = extractor_of(
        {"numeric": "a"},
        {"numeric": "b", "transform": "log"},
        {"numeric": "c", "transform": "sqrt"},
    )
    batch = batch_of([[-3.0, 2.0], [-math.e + 1, 0.0], [-9.0, 16.0]])
    np.testing.assert_allclose(extractor.extract(batch), [[-3, -1, -3], [2, 0, 4]])
    assert extractor.names == ("a", "log(b)", "sqrt(c)")
    assert described(extractor, batch) == [[-3, -math.e + 1, -9], [2, 0, 16]]
    assert extractor.in_units(1, -1.0) == pytest.approx(-math.e + 1, rel=1e-5)
    assert extractor.in_units(2, 4.0) == 16.0


@given(st.floats(-1e100, 1e100), st.sampled_from(["none", "log", "sqrt"]))
def test_undoing_a_transform_gives_the_number_back(number: float, transform: Any) -> None:
    there = float(apply_transform(np.array([number]), transform)[0])
    assert undo_transform(there, transform) == pytest.approx(number, rel=1e-5, abs=1e-12)


def test_missing_is_nan_and_an_indicator_says_so() -> None:
    extractor = extractor_of(
        {"numeric": "a", "missing": "mean", "transform": "log"},
        {"numeric": "b", "missing": "indicator"},
        {"boolean": "c", "missing": "indicator"},
    )
    batch = batch_of([[NAN, 0.0], [5.0, NAN], [NAN, 1.0]])
    expected = [[NAN, 5, 0, NAN, 1], [0, NAN, 1, 1, 0]]
    np.testing.assert_array_equal(extractor.extract(batch), expected)
    assert extractor.names == ("log(a)", "b", "b.missing", "c", "c.missing")
    assert [group.columns for group in extractor.groups] == [(0,), (1, 2), (3, 4)]
    assert described(extractor, batch) == [[None, 5.0, None], [0.0, None, True]]


def test_differences_and_ratios_are_finite_and_missing_where_a_part_is() -> None:
    extractor = extractor_of(
        {"difference": ["a", "b"], "missing": "mean"}, {"ratio": ["a", "b"], "missing": "mean"}
    )
    a = [6.0, 6.0, NAN, 6.0, NAN, 1e100, -1e308]
    b = [3.0, 0.0, 3.0, NAN, 0.0, 1e-300, 1e308]
    expected = [[3, 2], [6, 0], [NAN, NAN], [NAN, NAN], [NAN, NAN], [1e100, 1e100], [-1e100, -1]]
    np.testing.assert_array_equal(extractor.extract(batch_of([a, b])), expected)
    assert extractor.names == ("a - b", "a / b")
    assert extractor.groups[0] == FeatureGroup("a - b", (0,), "difference", None, ("a", "b"))


# --- times ---------------------------------------------------------------------------------------


def test_parts_of_the_time_follow_the_calendar_and_the_offset() -> None:
    parts = ("hour_of_day", "day_of_week", "weekend", "night")
    extractor = knowing(
        extractor_of(*({"time": part} for part in parts), {"time": "weekend", "utc_offset": 2.5})
    )
    friday = 1_709_936_100_000  # 2024-03-08 22:15 UTC
    monday = 1_710_121_800_000  # 2024-03-11 01:50 UTC
    batch = batch_of(times=[friday, monday])
    features = extractor.extract(batch)
    angle = 2 * math.pi * 22.25 / 24
    np.testing.assert_allclose(features[0, :2], [math.sin(angle), math.cos(angle)])
    np.testing.assert_allclose(features[1, 2:4], [0, 1])
    np.testing.assert_array_equal(features[:, 4:], [[0, 0, 1], [0, 1, 0]])
    assert described(extractor, batch) == [
        ["22:15", "Friday", False, False, True],
        ["01:50", "Monday", False, True, False],
    ]
    assert extractor.names[-1] == "weekend~2"


def test_every_minute_of_a_day_is_described_as_itself() -> None:
    extractor = extractor_of({"time": "hour_of_day"})
    batch = batch_of(times=[minute * 60_000 for minute in range(1440)])
    told = [row[0] for row in described(extractor, batch)]
    assert told == [f"{minute // 60:02d}:{minute % 60:02d}" for minute in range(1440)]


# --- categories ----------------------------------------------------------------------------------


def test_one_hot_gives_columns_in_event_order_then_other_and_missing_its_own() -> None:
    extractor = extractor_of({"categorical": "p", "size": 2})
    values: list[str | None] = [None, "udp", "tcp", "udp", "icmp", "", None]
    batch = batch_of(text=[values])
    assert extractor.names == ("p#0", "p#1", "p#other", "p#missing")
    assert extractor.extract(batch).argmax(axis=1).tolist() == [3, 0, 1, 0, 2, 2, 3]
    assert (extractor.extract(batch).sum(axis=1) == 1).all()
    assert [row[0] for row in described(extractor, batch)] == values
    assert extractor.groups == (FeatureGroup("p", (0, 1, 2, 3), "categorical", "p", ("p",)),)


def test_one_hot_has_no_column_for_missing_where_missing_is_bad() -> None:
    extractor = extractor_of({"categorical": "p", "size": 2, "missing": "reject"})
    assert extractor.names == ("p#0", "p#1", "p#other")


def test_hash_puts_a_value_in_the_same_column_in_every_process() -> None:
    extractor = extractor_of({"categorical": "p", "encoding": "hash", "size": 64})
    features = extractor.extract(batch_of(text=[["tcp", "udp", None, "tcp"]]))
    assert features.argmax(axis=1).tolist() == [48, 23, 47, 48]
    assert (features.sum(axis=1) == 1).all()


def test_numbered_names_spread_evenly_over_hash_columns() -> None:
    extractor = extractor_of({"categorical": "p", "encoding": "hash", "size": 16})
    share = extractor.extract(batch_of(text=[[f"C{i}" for i in range(8000)]])).mean(axis=0)
    assert share.min() > 0.05
    assert share.max() < 0.075


def rarity_of(extractor: FeatureExtractor, values: list[str | None]) -> np.ndarray:
    return extractor.extract(batch_of(text=[values]))[:, 0]


def test_rarity_is_minus_the_log_of_the_share_before_the_event() -> None:
    extractor = extractor_of({"categorical": "p", "encoding": "rarity"})
    rarity = rarity_of(extractor, ["a", "a", "a", "b", None, None])
    # Known occurrences n and novel ones o before each event: 0,0  1,1  2,1  3,1  4,2  5,3
    shares = [1 / 1, 1 / 3, 2 / 4, 2 / 5, 3 / 7, 1 / 9]
    np.testing.assert_allclose(rarity, -np.log(shares))
    assert not np.signbit(rarity).any()


def test_a_new_value_is_rare_where_there_are_few_and_ordinary_where_most_are_new() -> None:
    few = extractor_of({"categorical": "p", "encoding": "rarity"})
    many = extractor_of({"categorical": "p", "encoding": "rarity"})
    rarity_of(few, ["a", "b"] * 1000)
    rarity_of(many, [str(index) for index in range(2000)])
    assert rarity_of(few, ["new"])[0] > 6
    assert rarity_of(many, ["new"])[0] < 0.1


def test_rarity_stays_bounded_in_memory_and_keeps_the_frequent_values() -> None:
    extractor = extractor_of({"categorical": "p", "encoding": "rarity", "size": 32})
    rng = np.random.default_rng(0)
    for chunk in range(60):
        values = [
            f"once {chunk} {index}" if rng.random() < 0.5 else f"often {index % 4}"
            for index in range(256)
        ]
        rarity = rarity_of(extractor, values)
        assert np.isfinite(rarity).all()
        extractor.end_chunk()
        assert len(extractor.state()["tables"]["0"]["counts"]) <= 32
    often = rarity_of(extractor, [f"often {index}" for index in range(4)])
    np.testing.assert_allclose(often, -np.log(1 / 8), atol=0.4)


def test_an_occurrence_counts_half_after_100_000_events() -> None:
    extractor = extractor_of({"categorical": "p", "encoding": "rarity"})
    rarity_of(extractor, ["a"] * 2000)
    for _ in range(50):
        rarity_of(extractor, ["b"] * 2000)
        extractor.end_chunk()
    counts = extractor.state()["tables"]["0"]["counts"]
    # The first chunk that ended held both: "a" has faded by all 102,000 events.
    assert counts[0] == pytest.approx(2000 * 0.5**1.02)
    assert rarity_of(extractor, ["a"])[0] == pytest.approx(
        -np.log(counts[0] / counts.sum()), rel=1e-2
    )


def test_a_full_rarity_table_that_turns_nothing_away_forgets_nothing() -> None:
    extractor = extractor_of({"categorical": "p", "encoding": "rarity", "size": 2})
    for _ in range(5):
        rarity_of(extractor, ["a"] * 63 + ["b"])
        extractor.end_chunk()
    assert len(extractor.state()["tables"]["0"]["counts"]) == 2


# --- the whole extractor -------------------------------------------------------------------------

FEATURES: tuple[dict[str, Any], ...] = (
    {"numeric": "x", "transform": "log", "missing": "indicator"},
    {"numeric": "x"},
    {"ratio": ["x", "y"], "missing": "mean"},
    {"categorical": "p", "size": 3},
    {"categorical": "p", "encoding": "hash", "size": 4},
    {"categorical": "q", "encoding": "rarity", "size": 4},
    {"time": "hour_of_day"},
    {"time": "night"},
)
WINDOW = {
    "key": "p",
    "value": "y",
    "distinct_of": "q",
    "half_lives": ["1m"],
    "compute": ["count", "deviation", "distinct"],
    "max_keys": 16,
}
CHUNK = 32


def whole_extractor() -> FeatureExtractor:
    return extractor_of(*FEATURES, windows=[WINDOW])


def random_batch(seed: int, count: int) -> EventBatch:
    rng = np.random.default_rng(seed)
    x = np.where(rng.random(count) < 0.2, NAN, rng.normal(0, 50, count))
    p = [f"p{index}" for index in rng.integers(0, 30, count)]
    q = [None if index == 0 else f"q{index}" for index in np.minimum(rng.zipf(1.3, count), 99) - 1]
    times = np.cumsum(rng.integers(0, 40_000, count))
    return batch_of([x.tolist(), rng.normal(size=count).tolist()], [p, q], times.tolist())


def run(extractor: FeatureExtractor, batch: EventBatch, cuts: set[int], begin: int = 0) -> bytes:
    count = len(batch)
    chunk_ends = set(range(begin - begin % CHUNK + CHUNK, count, CHUNK))
    edges = sorted({begin, count} | {cut for cut in cuts if begin < cut < count} | chunk_ends)
    rows = []
    for start, stop in pairwise(edges):
        rows.append(extractor.extract(batch.take(slice(start, stop))))
        if stop % CHUNK == 0:
            extractor.end_chunk()
    return np.concatenate(rows).tobytes()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), cuts=st.sets(st.integers(1, 199)))
def test_all_features_have_the_same_bits_under_any_cut(seed: int, cuts: set[int]) -> None:
    batch = random_batch(seed, 200)
    assert run(whole_extractor(), batch, cuts) == run(whole_extractor(), batch, set())


@pytest.mark.parametrize("at", [0, 17, 64, 100])
def test_a_restored_extractor_goes_on_with_the_same_bits(at: int) -> None:
    batch = random_batch(7, 300)
    going_on, restored = whole_extractor(), whole_extractor()
    if at:
        run(going_on, batch.take(slice(0, at)), set())
    restored.restore(going_on.state())
    assert run(restored, batch, {50}, begin=at) == run(going_on, batch, {60}, begin=at)


def test_an_empty_batch_changes_nothing() -> None:
    extractor, batch = whole_extractor(), random_batch(8, 50)
    none = extractor.extract(batch.take(slice(0, 0)))
    assert none.shape == (0, len(extractor.names))
    assert run(extractor, batch, set()) == run(whole_extractor(), batch, set())


def test_every_column_belongs_to_one_group_and_all_names_differ() -> None:
    extractor = whole_extractor()
    columns = [column for group in extractor.groups for column in group.columns]
    assert columns == list(range(len(extractor.names)))
    assert len({group.name for group in extractor.groups}) == len(extractor.groups)
    assert len(set(extractor.names)) == len(extractor.names)
    fields = {group.name: (group.kind, group.field) for group in extractor.groups}
    assert fields["p.count_1m"] == ("window", "p")
    assert fields["p.deviation_1m"] == ("window", "y")
    assert fields["p.distinct_1m"] == ("window", "q")


def test_a_windows_number_is_described_in_events_and_seconds() -> None:
    window = {"key": "p", "half_lives": ["1h"], "compute": ["count", "time_since_last"]}
    extractor = extractor_of(windows=[window])
    batch = batch_of(text=[["a"] * 3], times=[0, 0, 3_600_000])
    assert described(extractor, batch)[2] == [1.0, 3600.0]


@pytest.mark.parametrize(
    "features",
    [
        FEATURES[:-1],
        FEATURES[::-1],
        (*FEATURES[:5], {"categorical": "q", "encoding": "rarity", "size": 5}, *FEATURES[6:]),
    ],
)
def test_a_state_of_other_features_is_refused(features: tuple[dict[str, Any], ...]) -> None:
    extractor = whole_extractor()
    run(extractor, random_batch(9, 50), set())
    with pytest.raises(StateMismatchError):
        extractor_of(*features, windows=[WINDOW]).restore(extractor.state())
