"""Windows: what their numbers mean, and that no cut, save or eviction shows in a bit."""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_detector.config.derived.field_plan import FieldPlan
from stream_detector.config.models.config import Config
from stream_detector.errors import StateMismatchError
from stream_detector.events import EventBatch, object_column
from stream_detector.features import FeatureExtractor
from stream_detector.tables.keys import LARGEST_CHUNK
from stream_detector.tables.texts import hash_texts, pack_texts, unpack_texts

EVERYTHING = [
    "count",
    "sum",
    "mean",
    "deviation",
    "ratio",
    "baseline",
    "burst",
    "time_since_last",
    "distinct",
]
HOUR = 3_600_000
CHUNK = 64


def extractor_of(**window: Any) -> FeatureExtractor:
    settings = {"key": "card", "value": "amount", "distinct_of": "shop", "half_lives": ["1h", "1d"]}
    settings |= {"compute": EVERYTHING, "max_keys": 1000} | window
    config = Config.model_validate({"name": "test", "windows": [settings]})
    return FeatureExtractor(config, FieldPlan.of(config))


def batch_of(
    times: list[int],
    cards: list[str],
    amounts: list[float] | None = None,
    shops: list[str | None] | None = None,
) -> EventBatch:
    count = len(times)
    nothing = np.full(count, None, dtype=object)
    return EventBatch(
        source=nothing,
        offset=np.arange(count),
        time_ms=np.array(times, dtype=np.int64),
        record=nothing,
        rejection=nothing,
        event_id=nothing,
        numeric=np.array(amounts or [1.0] * count, dtype=np.float64).reshape(count, 1),
        text=(object_column(cards), object_column(shops or [None] * count)),
        label=np.full(count, np.nan),
    )


def random_stream(seed: int, count: int, keys: int = 40) -> EventBatch:
    """Skewed keys, equal times, and a fifth of the events out of order."""
    rng = np.random.default_rng(seed)
    times = 1_600_000_000_000 + np.cumsum(rng.integers(0, 3, count) * rng.integers(0, HOUR, count))
    times -= rng.integers(0, 8 * HOUR, count) * (rng.random(count) < 0.2)
    cards = [f"k{key}" for key in np.minimum(rng.zipf(1.4, count), keys)]
    shops = [None if shop == 0 else f"s{shop}" for shop in rng.integers(0, 9, count)]
    amounts = np.where(rng.random(count) < 0.3, 5.0, rng.normal(0, 100, count))
    return batch_of(times.tolist(), cards, amounts.tolist(), shops)


def run(extractor: FeatureExtractor, batch: EventBatch, cuts: set[int], begin: int = 0) -> bytes:
    """All features of ``batch[begin:]``, cut at ``cuts`` and at every chunk's end."""
    count = len(batch)
    edges = sorted({begin, count} | {c for c in cuts if begin < c < count})
    edges = sorted({*edges, *range(begin - begin % CHUNK + CHUNK, count, CHUNK)})
    rows = []
    for start, stop in pairwise(edges):
        rows.append(extractor.extract(batch.take(slice(start, stop))))
        if stop % CHUNK == 0:
            extractor.end_chunk()
    return np.concatenate(rows).tobytes()


def leaves(state: Any) -> Iterator[Any]:
    if isinstance(state, dict):
        for value in state.values():
            yield from leaves(value)
    else:
        yield state


def same_state(left: Any, right: Any) -> bool:
    pairs = list(zip(leaves(left), leaves(right), strict=True))
    return all(
        a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
        if isinstance(a, np.ndarray)
        else a == b
        for a, b in pairs
    )


# --- what the numbers mean -----------------------------------------------------------------------


class Seen(NamedTuple):
    """An event of a key's history; ``excess`` is how far it stood above the history of then."""

    time: float
    amount: float
    shop: str | None
    excess: float


def reference_row(history: list[Seen], now: Seen, half_lives: list[int]) -> list[float]:
    """The definitions, from a key's whole history."""
    columns: dict[str, list[float]] = {name: [] for name in EVERYTHING}
    for half_life in half_lives:
        weights = [2.0 ** (-(now.time - seen.time) / half_life) for seen in history]
        total = math.fsum(weights)
        weighted_sum = math.fsum(w * s.amount for w, s in zip(weights, history, strict=True))
        columns["count"].append(math.log(1 + total))
        columns["sum"].append(math.copysign(math.log(1 + abs(weighted_sum)), weighted_sum))
        mean = weighted_sum / total if history else now.amount
        columns["mean"].append(mean)
        deviation = 0.0
        number = total**2 / math.fsum(w * w for w in weights) if history else 0.0
        if number > 1.5:
            squares = (w * (s.amount - mean) ** 2 for w, s in zip(weights, history, strict=True))
            variance = math.fsum(squares) / (total - total / number)
            scale = max(math.sqrt(variance), 1e-6 * abs(mean), 1e-300)
            deviation = max(-100.0, min(100.0, (now.amount - mean) / scale))
            deviation *= math.sqrt((number - 1) / (number + 1))
        columns["deviation"].append(deviation)
        columns["ratio"].append(max(-100.0, min(100.0, now.amount / mean if history else 1.0)))
        bursts = now.excess + math.fsum(
            weight * seen.excess for weight, seen in zip(weights, history, strict=True)
        )
        columns["burst"].append(math.log(1 + bursts))
        columns["distinct"].append(math.log(1 + reference_distinct(history, now.time, half_life)))
    longest = 10 * max(half_lives) / 1000
    gap = (now.time - history[-1].time) / 1000 if history else math.inf
    columns["time_since_last"] = [math.log(1 + min(gap, longest))]
    columns["baseline"] = [reference_baseline(history, now, max(half_lives))]
    return [number for name in EVERYTHING for number in columns[name]]


def reference_baseline(history: list[Seen], now: Seen, half_life: int) -> float:
    """The value over the level that its history has moved, step by step."""
    level, before = 0.0, -math.inf
    for count, seen in enumerate(history):
        bound = min(0.01, math.log(2) * (seen.time - before) / half_life)
        step = (signed_log(seen.amount) - level) / (min(count, 64) + 1)
        level += step if count < 8 else max(-bound, min(bound, step))
        before = seen.time
    return min(math.exp(signed_log(now.amount) - level), 100.0) if history else 1.0


def signed_log(value: float) -> float:
    return math.copysign(math.log(1 + abs(value)), value)


def reference_excess(history: list[Seen], amount: float, half_life: int) -> float:
    """How far the amount stands above the mean of the history, as it was then."""
    if not history:
        return 0.0
    weights = [2.0 ** (-(history[-1].time - seen.time) / half_life) for seen in history]
    total = sum(w * seen.amount for w, seen in zip(weights, history, strict=True))
    return max(max(-100.0, min(100.0, amount / (total / sum(weights)))) - 1, 0.0)


def reference_distinct(history: list[Seen], now: float, half_life: int) -> float:
    """Linear counting within each horizon, weighted by how the decay falls between horizons."""
    last_seen = {}
    for seen in history:
        if seen.shop is not None:
            last_seen[int(hash_texts([seen.shop])[0]) % 32] = seen.time
    horizons = sorted(now - time for time in last_seen.values())
    total = 0.0
    for index, horizon in enumerate(horizons):
        here = 2.0 ** (-horizon / half_life)
        after = 2.0 ** (-horizons[index + 1] / half_life) if index + 1 < len(horizons) else 0.0
        empty = 32 - (index + 1) or 0.5
        total += -32 * math.log(empty / 32) * (here - after)
    return total


@pytest.mark.parametrize("max_keys", [1000, 16])
def test_windows_agree_with_their_definition_event_by_event(max_keys: int) -> None:
    batch = random_stream(seed=1, count=700)
    extractor = extractor_of(max_keys=max_keys)
    given = np.frombuffer(run(extractor, batch, set(range(0, 700, 23)))).reshape(700, -1)

    histories: dict[str, list[Seen]] = {}
    last_used: dict[str, int] = {}
    uses: Counter[str] = Counter()
    expected = []
    for index in range(700):
        card, shop = batch.text[0][index], batch.text[1][index]
        amount = float(batch.numeric[index, 0])
        history = histories.setdefault(card, [])
        time = max([float(batch.time_ms[index])] + [seen.time for seen in history[-1:]])
        now = Seen(time, amount, shop, reference_excess(history, amount, 24 * HOUR))
        expected.append(reference_row(history, now, [HOUR, 24 * HOUR]))
        history.append(now)
        last_used[card] = index
        uses[card] += 1
        if (index + 1) % CHUNK == 0 and len(histories) > max_keys:
            worth = {
                key: math.log2(min(uses[key], 32)) + (last_used[key] - index - 1) / (4 * max_keys)
                for key in histories
            }
            keep = sorted(histories, key=worth.__getitem__)[-(max_keys - max_keys // 16) :]
            histories = {key: histories[key] for key in keep}
            uses = Counter({key: uses[key] for key in keep})
    np.testing.assert_allclose(given, expected, rtol=1e-8, atol=1e-8)
    assert extractor.keys_held == {"card": len(histories)}
    assert (extractor.keys_evicted["card"] > 0) == (max_keys == 16)


def test_an_event_is_not_part_of_its_own_history() -> None:
    extractor = extractor_of(half_lives=["1h"])
    first = extractor.extract(batch_of([0], ["a"], [70.0], ["s"]))[0]
    named = dict(zip(extractor.names, first.tolist(), strict=True))
    assert named["card.count_1h"] == named["card.sum_1h"] == named["card.deviation_1h"] == 0
    assert named["card.distinct_1h"] == 0
    assert named["card.mean_1h"] == 70.0
    assert named["card.time_since_last"] == pytest.approx(math.log1p(10 * 3600))


def test_a_value_that_grows_a_little_each_time_is_seen_by_its_baseline() -> None:
    extractor = extractor_of(half_lives=["21d"], compute=["ratio", "baseline"], distinct_of=None)
    usual = np.random.default_rng(4).normal(50, 15, 30).tolist()
    grown = [50 * 1.03**step for step in range(1, 61)]  # to six times the usual
    hours = [12 * number for number in range(30)] + [360 + 2 * step for step in range(60)]
    times = [hour * HOUR for hour in [*hours, 482]]
    batch = batch_of(times, ["a"] * 91, [*usual, *grown, 500.0])
    ratio, baseline = extractor.extract(batch)[-1].tolist()
    assert ratio < 4.5
    assert baseline > 7.5


def test_no_number_of_events_moves_a_baseline_faster_than_its_half_life() -> None:
    extractor = extractor_of(half_lives=["21d"], compute=["baseline"], distinct_of=None)
    times = [12 * HOUR * number for number in range(20)]
    times += [times[-1] + 1000 * number for number in range(1, 3001)]  # within an hour
    amounts = [50.0] * 20 + [500.0] * 3000
    given = extractor.extract(batch_of(times, ["a"] * 3020, amounts))[:, 0]
    assert given[20] == pytest.approx(501 / 51)
    assert given[-1] > 0.99 * given[20]


def test_a_key_whose_values_have_changed_for_good_is_ordinary_in_the_end() -> None:
    extractor = extractor_of(half_lives=["21d"], compute=["baseline"], distinct_of=None)
    times = [12 * HOUR * number for number in range(200)]
    amounts = [50.0] * 20 + [150.0] * 180
    given = extractor.extract(batch_of(times, ["a"] * 200, amounts))[:, 0]
    assert given[20] > 2.9
    assert given[-1] < 1.1


def test_a_key_that_always_had_one_value_and_now_another_is_strange() -> None:
    extractor = extractor_of(half_lives=["1d"], compute=["deviation"], distinct_of=None)
    amounts = [9.99] * 20 + [9.99, 12.0]
    deviation = extractor.extract(batch_of(list(range(22)), ["a"] * 22, amounts))[:, 0]
    assert deviation[20] == 0
    assert 90 < deviation[21] <= 100


def test_a_key_that_was_always_zero_and_now_is_not_is_strange_and_finite() -> None:
    extractor = extractor_of(half_lives=["1d"], compute=["deviation"], distinct_of=None)
    deviation = extractor.extract(batch_of([0, 1, 2, 3], ["a"] * 4, [0.0, 0.0, 0.0, -1e-300]))
    assert -100 <= deviation[3, 0] < -50


def test_values_of_any_size_leave_numbers_and_state_finite() -> None:
    extractor = extractor_of(half_lives=["1s", "28d"])
    rng = np.random.default_rng(0)
    amounts = (rng.choice([-1e100, 1e100, 1e-300, 0.0], 500)).tolist()
    times = rng.choice([0, 1, 10**9, 4 * 10**12], 500).tolist()
    features = extractor.extract(batch_of(times, ["a", "b"] * 250, amounts))
    assert np.isfinite(features).all()
    assert np.isfinite(extractor.state()["windows"]["card"]["moments"]).all()


@pytest.mark.parametrize("number", [3, 10, 30, 60])
def test_distinct_is_within_a_quarter_of_the_truth(number: int) -> None:
    cards, errors = 200, []
    extractor = extractor_of(half_lives=["28d"], compute=["distinct"], value=None)
    for card in range(cards):
        shops = [f"shop {card * number + shop}" for shop in range(number)] * 2
        batch = batch_of(
            [0] * (2 * number + 1), [f"c{card}"] * (2 * number + 1), shops=[*shops, "x"]
        )
        batch.numeric = np.zeros((len(batch), 0))
        errors.append(np.expm1(extractor.extract(batch)[-1, 0]) / number - 1)
        extractor.end_chunk()
    assert np.sqrt(np.mean(np.square(errors))) < 0.25
    assert abs(np.mean(errors)) < 0.08


def test_values_that_were_not_seen_for_long_count_less_in_distinct() -> None:
    extractor = extractor_of(half_lives=["1h"], compute=["distinct"])
    times = [0, 1, 2, 3, 3 + HOUR]
    distinct = np.expm1(extractor.extract(batch_of(times, ["a"] * 5, None, [*"wxyzw"])))
    assert distinct[4, 0] == pytest.approx(distinct[3, 0] / 2 + 0.5, rel=0.15)


def test_several_windows_of_one_key_have_names_of_their_own() -> None:
    window = {"key": "card", "half_lives": ["1w", "7d", "90s"], "compute": ["mean"]}
    windows = [{**window, "value": value} for value in ("amount", "fee", "fee")]
    config = Config.model_validate({"name": "test", "windows": windows})
    extractor = FeatureExtractor(config, FieldPlan.of(config))
    assert extractor.names[:4] == (
        "card[amount].mean_7d",
        "card[amount].mean_90s",
        "card[fee].mean_7d",
        "card[fee].mean_90s",
    )
    assert len(set(extractor.names)) == 6
    assert list(extractor.keys_held) == ["card[amount]", "card[fee]", "card[fee]~2"]


# --- the same bits however the stream is cut -----------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(1, 400),
    keys=st.sampled_from([1, 3, 40, 300]),
    cuts=st.sets(st.integers(1, 399)),
    max_keys=st.sampled_from([16, 1000]),
)
def test_features_and_state_have_the_same_bits_under_any_cut(
    seed: int, count: int, keys: int, cuts: set[int], max_keys: int
) -> None:
    batch = random_stream(seed, count, keys)
    whole, cut, single = (extractor_of(max_keys=max_keys) for _ in range(3))
    expected = run(whole, batch, set())
    assert run(cut, batch, cuts) == expected
    assert run(single, batch, set(range(count))) == expected
    assert same_state(cut.state(), whole.state())
    assert same_state(single.state(), whole.state())


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), cuts=st.sets(st.integers(1, 1999), max_size=4))
def test_large_chunks_with_very_frequent_keys_have_the_same_bits(seed: int, cuts: set[int]) -> None:
    batch = random_stream(seed, 2000, keys=500)
    edges = [0, *sorted(cuts), 2000]
    whole, cut = extractor_of(), extractor_of()
    parts = [cut.extract(batch.take(slice(*pair))) for pair in pairwise(edges)]
    assert np.concatenate(parts).tobytes() == whole.extract(batch).tobytes()


@pytest.mark.parametrize("window", [{}, {"value": None, "compute": ["count"], "distinct_of": None}])
def test_a_restored_window_goes_on_with_the_same_bits(window: dict[str, Any]) -> None:
    batch = random_stream(seed=3, count=900, keys=300)
    if window:
        batch.text = batch.text[:1]
        batch.numeric = np.zeros((900, 0))
    for at in (0, CHUNK, 5 * CHUNK, 333):
        going_on = extractor_of(max_keys=16, **window)
        run(going_on, batch.take(slice(0, at)), set()) if at else None
        restored = extractor_of(max_keys=16, **window)
        restored.restore(going_on.state())
        assert same_state(restored.state(), going_on.state())
        assert run(restored, batch, set(), begin=at) == run(going_on, batch, set(), begin=at)
        assert same_state(restored.state(), going_on.state())
        assert restored.keys_evicted == going_on.keys_evicted


def test_a_saved_state_does_not_change_when_the_stream_goes_on() -> None:
    extractor = extractor_of()
    batch = random_stream(seed=4, count=128)
    run(extractor, batch, set())
    saved = extractor.state()
    restored, twin = extractor_of(), extractor_of()
    restored.restore(saved)
    run(twin, batch, set())
    run(extractor, batch, set())
    run(restored, batch, set())
    assert same_state(saved, twin.state())


def test_restoring_never_shares_memory_with_the_state_given() -> None:
    names = [str(index) for index in range(1024)]  # as many as the first arrays have rows
    extractor, restored = extractor_of(), extractor_of()
    extractor.extract(batch_of([0] * 1024, names))
    state = extractor.state()
    restored.restore(state)
    restored.extract(batch_of([1] * 1024, names, None, ["s"] * 1024))
    assert same_state(state, extractor.state())


def test_a_state_has_its_keys_in_the_order_of_their_last_use() -> None:
    extractor = extractor_of()
    extractor.extract(batch_of([0] * 4, ["b", "a", "c", "b"]))
    table = extractor.state()["windows"]["card"]["table"]
    assert unpack_texts(table["keys"]) == ["a", "c", "b"]
    assert table["last_used"].tolist() == [1, 2, 3]


def test_state_holds_arrays_without_objects_and_json_values_only() -> None:
    extractor = extractor_of()
    run(extractor, random_stream(seed=5, count=100), set())
    for leaf in leaves(extractor.state()):
        assert isinstance(leaf, np.ndarray | int | float | str | bool | list)
        if isinstance(leaf, np.ndarray):
            assert leaf.dtype.kind in "fiu"


@pytest.mark.parametrize(
    "other",
    [{"half_lives": ["1h", "2d"]}, {"compute": ["count"], "distinct_of": None}, {"key": "shop"}],
)
def test_a_state_of_another_window_is_refused(other: dict[str, Any]) -> None:
    extractor = extractor_of()
    run(extractor, random_stream(seed=6, count=100), set())
    with pytest.raises(StateMismatchError):
        extractor_of(**other).restore(extractor.state())


def test_a_state_whose_arrays_do_not_fit_together_is_refused() -> None:
    extractor = extractor_of()
    run(extractor, random_stream(seed=6, count=100), set())
    state = extractor.state()
    window = state["windows"]["card"]
    wrong = window["baselines"].copy()
    wrong[0, 1] = 0.0  # a key that is remembered has been seen
    parts = {name: window[name][:1] for name in ("last_time", "moments", "sketches", "baselines")}
    for name, value in [*parts.items(), ("baselines", wrong)]:
        broken = {**window, name: value}
        with pytest.raises(StateMismatchError):
            extractor_of().restore({**state, "windows": {"card": broken}})


# --- bounded memory ------------------------------------------------------------------------------


def test_memory_is_bounded_when_every_event_brings_a_new_key() -> None:
    extractor = extractor_of(max_keys=3000)
    for chunk in range(12):
        names = [f"{chunk}-{index}" for index in range(LARGEST_CHUNK)]
        extractor.extract(batch_of([chunk] * LARGEST_CHUNK, names))
        extractor.end_chunk()
        assert extractor.keys_held["card"] <= 3000
    window = extractor._windows["card"]
    assert len(window._last_time) <= 3000 + LARGEST_CHUNK
    assert window._histories.moments.shape[1] <= 3000 + LARGEST_CHUNK
    held, evicted = extractor.keys_held["card"], extractor.keys_evicted["card"]
    assert held + evicted == 12 * LARGEST_CHUNK


def test_the_least_recently_seen_keys_go_first_and_come_back_as_new() -> None:
    extractor = extractor_of(max_keys=16, compute=["count"], distinct_of=None)
    names = [f"k{index}" for index in range(20)]
    extractor.extract(batch_of([0] * 21, [*names, "k0"]))
    extractor.end_chunk()
    assert extractor.keys_held["card"] == 15
    counts = np.expm1(extractor.extract(batch_of([0] * 3, ["k0", "k5", "k6"]))[:, 0])
    np.testing.assert_allclose(counts, [2, 0, 1])


def test_a_window_that_is_never_told_of_a_chunks_end_refuses_to_grow() -> None:
    extractor = extractor_of(max_keys=16)
    names = [str(index) for index in range(LARGEST_CHUNK + 17)]
    extractor.extract(batch_of([0] * (len(names) - 1), names[:-1]))
    with pytest.raises(ValueError, match="evict"):
        extractor.extract(batch_of([0], names[-1:]))


def test_texts_survive_packing_even_where_they_are_half_a_surrogate_pair() -> None:
    texts = ["", "ä", None, "\ud800", "a\x00b", "𝄞"]
    assert unpack_texts(pack_texts(texts)) == texts
    assert unpack_texts(pack_texts([])) == []


def finalised(number: int) -> int:
    """``fmix32`` of MurmurHash3, in plain integers."""
    number = (number ^ number >> 16) * 0x85EBCA6B % 2**32
    number = (number ^ number >> 13) * 0xC2B2AE35 % 2**32
    return number ^ number >> 16


def test_hashes_of_texts_are_the_finalised_checksum() -> None:
    assert finalised(1) == 0x514E28B7
    expected = [finalised(zlib.crc32(data)) for data in (b"", b"C1", "ä".encode(), b"\xff")]
    assert hash_texts(["", "C1", "ä", None]).tolist() == expected
