"""Labels that come late: which rows wait, for how long, and what is counted of them by key."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.streams import configuration

from stream_detector.config.derived.field_plan import FieldPlan
from stream_detector.config.models.config import Config
from stream_detector.decoding import Decoder
from stream_detector.events import EventBatch, PlainRecord, TopicPartition
from stream_detector.features import FeatureExtractor
from stream_detector.features.corrections import CountedEvents
from stream_detector.labels import DelayQueue, Gate, identities

HOUR_MS = 3_600_000
SOURCE = TopicPartition("events", 0)


def queue(most: int = 1000) -> DelayQueue:
    return DelayQueue(3600.0, most, {"features": (np.float64, 2)})


def add(waiting: DelayQueue, times: list[int], labels: list[float] | None = None) -> None:
    count = len(times)
    waiting.add(
        np.array(times, dtype=np.int64),
        np.arange(1, count + 1),
        np.array(labels if labels is not None else [np.nan] * count),
        {"features": np.repeat(np.array(times, dtype=float)[:, None], 2, axis=1)},
    )


def test_rows_leave_when_their_delay_is_over_and_a_late_event_waits_for_its_elders() -> None:
    waiting = queue()
    add(waiting, [10, 30, 20, 40])
    assert len(waiting.mature(9 + HOUR_MS)["due"]) == 0
    assert waiting.mature(20 + HOUR_MS)["features"][:, 0].tolist() == [10]
    assert waiting.mature(30 + HOUR_MS)["features"][:, 0].tolist() == [30, 20]
    assert waiting.waiting == 1


@given(st.lists(st.integers(0, 30), max_size=8), st.integers(1, 40))
def test_at_most_so_many_wait_and_the_oldest_leave(counts: list[int], most: int) -> None:
    waiting = queue(most)
    start = 0
    for count in counts:
        add(waiting, list(range(start, start + count)))
        start += count
    assert waiting.waiting == min(start, most)
    assert waiting.dropped == max(start - most, 0)
    restored = queue(most)
    restored.restore(waiting.state())
    left = waiting.mature(2 * HOUR_MS)["features"][:, 0].tolist()
    assert left == list(range(start))[-most:]
    assert restored.mature(2 * HOUR_MS)["features"][:, 0].tolist() == left


def test_a_message_sets_the_label_of_a_row_that_waits_and_a_later_one_corrects_it() -> None:
    waiting = queue()
    add(waiting, [1, 2, 3], [np.nan, 0.0, np.nan])
    ids = np.array([3, 2, 9, 3])
    found = waiting.set_labels(ids, np.array([1.0, 1.0, 1.0, 0.0]))
    assert found.tolist() == [True, True, False, True]
    np.testing.assert_array_equal(waiting.mature(HOUR_MS * 2)["label"], [np.nan, 1.0, 0.0])


def test_the_gate_keeps_all_at_first_then_the_strangest_and_a_few_at_random() -> None:
    gate = Gate(1000, 0.01, 0.02, seed=0)
    random = np.random.default_rng(0)
    assert len(gate.choose(random.normal(size=512), 512)) == 512
    kept, strangest = 0, 0
    for number in range(2, 202):
        scores = random.normal(size=512)
        chosen = gate.choose(scores, number * 512)
        assert (np.diff(chosen) > 0).all()
        kept += len(chosen)
        strangest += len(set(np.argsort(-scores)[:5]) & set(chosen.tolist()))
    assert strangest == 200 * 5
    assert kept / (200 * 512) == pytest.approx(0.01 + 0.99 * 0.02, rel=0.1)


def test_identities_differ_and_do_not_depend_on_the_process() -> None:
    many = identities([f"event-{n}" for n in range(10_000)])
    assert len(set(many.tolist())) == 10_000
    assert identities(["a", None]).tolist() == [3405396810240292928, 0]


RISK = {
    "windows": [],
    "features": [{"numeric": "amount"}],
    "event": {"time": {"field": "time", "format": "unix_ms"}},
    "suppression": None,
    "labels": {
        "field": "label",
        "delay": "1h",
        "absent": "normal",
        "risk": [{"key": "user", "half_lives": ["1h", "10h"], "max_keys": 16}],
    },
}


def event(time_ms: int, user: str, label: int | None, name: str = "any") -> PlainRecord:
    value = {"time": time_ms, "user": user, "amount": 1.0, "id": name}
    if label is not None:
        value["label"] = label
    return PlainRecord(0, time_ms, None, json.dumps(value).encode())


def decoded(config: Config, records: list[PlainRecord]) -> EventBatch:
    batch = Decoder(config, FieldPlan.of(config)).decode(SOURCE, records)
    assert not any(batch.rejection)
    return batch


def columns(extractor: FeatureExtractor, rows: np.ndarray) -> dict[str, np.ndarray]:
    return dict(zip(extractor.names, rows.T, strict=True))


def test_the_risk_of_a_key_counts_what_is_known_as_of_the_delay() -> None:
    config = configuration(**RISK)
    extractor = FeatureExtractor(config, FieldPlan.of(config))
    start = 1_700_000_000_000
    extractor.extract(decoded(config, [event(start, "a", 1), event(start + 1000, "b", 0)]))
    extractor.take_labels(start + HOUR_MS - 1)
    extractor.end_chunk()
    probe = decoded(config, [event(start + HOUR_MS, user, None) for user in "abc"])
    young = columns(extractor, extractor.extract(probe))
    assert (young["user.positives_1h"] == 0).all()  # not known yet
    extractor.take_labels(start + HOUR_MS + 1000)
    later = decoded(config, [event(start + 2 * HOUR_MS, user, None) for user in "abc"])
    found = columns(extractor, extractor.extract(later))
    # As old as it was when it became known: one hour.
    np.testing.assert_allclose(np.expm1(found["user.positives_1h"]), [0.5, 0, 0])
    np.testing.assert_allclose(np.expm1(found["user.positives_10h"]), [2**-0.1, 0, 0])
    np.testing.assert_allclose(found["user.positive_share_1h"], [0.5 / 1.5, 0, 0])
    longest = 10 * 10 * 3600
    np.testing.assert_allclose(
        np.expm1(found["user.time_since_positive"]), [3600, longest, longest]
    )
    np.testing.assert_allclose(np.expm1(found["user.positives_run"]), [1, 0, 0])
    np.testing.assert_allclose(np.expm1(found["user.negatives_run"]), [0, 1, 0])


@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.sampled_from("abcdef"), st.sampled_from([0, 1, None])),
        min_size=1,
        max_size=60,
    ),
    st.integers(1, 20),
)
def test_the_runs_and_marks_are_those_of_counting_one_by_one(events: list, chunk: int) -> None:
    config = configuration(**RISK)
    extractor = FeatureExtractor(config, FieldPlan.of(config))
    start = 1_700_000_000_000
    known: dict[str, list[tuple[int, int]]] = {}
    now = start
    for begin in range(0, len(events), chunk):
        records = []
        for gap, user, label in events[begin : begin + chunk]:
            now += gap * 1000
            records.append(event(now, user, label))
            known.setdefault(user, []).append((now, label or 0))
        extractor.extract(decoded(config, records))
        extractor.take_labels(now)
        extractor.end_chunk()
    later = now + 2 * HOUR_MS
    extractor.take_labels(later)
    users = sorted(known)
    probe = decoded(config, [event(later, user, None) for user in users])
    found = columns(extractor, extractor.extract(probe))
    for place, user in enumerate(users):
        labels = [label for _, label in known[user]]
        backwards = "".join(map(str, reversed(labels)))
        run = len(backwards) - len(backwards.lstrip("1"))
        assert np.expm1(found["user.positives_run"][place]) == pytest.approx(run)
        run = len(backwards) - len(backwards.lstrip("0"))
        assert np.expm1(found["user.negatives_run"][place]) == pytest.approx(run)
        hits = [time for time, label in known[user] if label]
        as_of = later - HOUR_MS
        for name, hit in (("", hits[-1:]), ("first_", hits[:1])):
            seconds = np.expm1(found[f"user.time_since_{name}positive"][place])
            assert seconds == pytest.approx((as_of - hit[0]) / 1000 if hit else 360_000)
        weight = sum(2 ** (-(as_of - time) / HOUR_MS) for time in hits)
        assert np.expm1(found["user.positives_1h"][place]) == pytest.approx(weight)


def on_a_topic(absent: str) -> Config:
    kafka = {"bootstrap_servers": "x:1", "topics": ["e"], "group": "g", "labels": "l"}
    kafka |= {"alerts": "a", "dead_letters": "d"}
    labels = {name: each for name, each in RISK["labels"].items() if name != "field"}
    section = {**RISK, "labels": {**labels, "absent": absent}, "kafka": kafka}
    section["event"] = {**RISK["event"], "id": "id"}
    return configuration(**section)


@given(
    events=st.lists(
        st.tuples(
            st.integers(0, 900),
            st.sampled_from("abc"),
            st.sampled_from([0, 1, None]),  # the label that comes in time
            st.sampled_from([0, 1, None]),  # and the one that comes after it was counted
        ),
        min_size=1,
        max_size=40,
    ),
    chunk=st.integers(1, 20),
    absent=st.sampled_from(["normal", "unknown"]),
    restart=st.booleans(),
)
def test_a_label_corrected_later_counts_as_if_it_had_been_right_from_the_beginning(
    events: list, chunk: int, absent: str, restart: bool
) -> None:
    config = on_a_topic(absent)

    def run(first: list, second: list) -> FeatureExtractor:
        extractor = FeatureExtractor(config, FieldPlan.of(config))
        now = 1_700_000_000_000
        ids = identities([f"e{number}" for number in range(len(events))])
        for begin in range(0, len(events), chunk):
            records = []
            for number, (gap, user, *_) in enumerate(events[begin : begin + chunk], begin):
                now += gap * 1000
                records.append(event(now, user, None, f"e{number}"))
            extractor.extract(decoded(config, records))
            extractor.set_labels(ids, np.array(first, dtype=float))
            extractor.take_labels(now)
            extractor.end_chunk()
        extractor.take_labels(now + HOUR_MS)
        if restart:
            state = extractor.state()
            extractor = FeatureExtractor(config, FieldPlan.of(config))
            extractor.restore(state)
        extractor.set_labels(ids, np.array(second, dtype=float))
        probe = [event(now + 2 * HOUR_MS, user, None) for user in "abc"]
        return extractor.extract(decoded(config, probe))

    early = [each[2] for each in events]
    late = [each[3] for each in events]
    right = [each if each is not None else before for before, each in zip(early, late, strict=True)]
    nothing = [None] * len(events)
    np.testing.assert_allclose(run(early, late), run(right, nothing), rtol=1e-9, atol=1e-9)


def test_what_came_before_the_events_remembered_goes_on_in_marks_and_runs() -> None:
    config = on_a_topic("normal")
    extractor = FeatureExtractor(config, FieldPlan.of(config))
    start = 1_700_000_000_000

    def happen(hour: int, name: str, label: float) -> None:
        now = start + hour * HOUR_MS
        extractor.extract(decoded(config, [event(now, "a", None, name)]))
        extractor.set_labels(identities([name]), np.array([label]))
        extractor.take_labels(now + HOUR_MS)
        extractor.end_chunk()

    happen(0, "old fraud", 1)
    for hour in range(1, 20):
        happen(hour, f"genuine {hour}", 0)
    happen(20, "fraud", 1)

    def found() -> dict[str, np.ndarray]:
        later = decoded(config, [event(start + 21 * HOUR_MS, "a", None)])
        follower = FeatureExtractor(config, FieldPlan.of(config))
        follower.restore(extractor.state())  # which is asked, and learns nothing by it
        return columns(follower, follower.extract(later))

    assert np.expm1(found()["user.positives_run"]) == pytest.approx(1)
    extractor.set_labels(identities(["fraud"]), np.zeros(1))  # it was none
    told = found()
    for name in ("user.time_since_positive", "user.time_since_first_positive"):
        assert np.expm1(told[name]) == pytest.approx(20 * 3600)
    # Ten hours are remembered, all genuine; what the fraud broke before them is not known.
    assert np.expm1(told["user.negatives_run"]) == pytest.approx(10)
    for hour in range(22, 30):
        happen(hour, f"genuine {hour}", 0)
    assert np.expm1(found()["user.negatives_run"]) == pytest.approx(18)
    extractor.set_labels(identities(["genuine 29"]), np.ones(1))
    extractor.set_labels(identities(["genuine 29"]), np.zeros(1))
    assert np.expm1(found()["user.negatives_run"]) == pytest.approx(9)  # those remembered


def test_an_unknown_event_among_many_of_a_kind_makes_their_run_one_longer() -> None:
    config = on_a_topic("unknown")
    extractor = FeatureExtractor(config, FieldPlan.of(config))
    start = 1_700_000_000_000
    for hour in range(40):
        now = start + hour * HOUR_MS
        extractor.extract(decoded(config, [event(now, "a", None, f"e{hour}")]))
        if hour != 35:
            extractor.set_labels(identities([f"e{hour}"]), np.zeros(1))
        extractor.take_labels(now + HOUR_MS)
        extractor.end_chunk()
    extractor.set_labels(identities(["e35"]), np.zeros(1))
    later = decoded(config, [event(start + 41 * HOUR_MS, "a", None)])
    found = columns(extractor, extractor.extract(later))
    assert np.expm1(found["user.negatives_run"]) == pytest.approx(40)


def test_labels_are_found_among_many_events_whatever_was_let_go() -> None:
    counted = CountedEvents(3600, most=30_000)
    random = np.random.default_rng(0)
    ids = random.permutation(100_000) + 1
    for start in range(0, 100_000, 500):
        part = slice(start, start + 500)
        rows = {name: np.zeros(500, dtype=np.int64) for name in ("slot", "owner")}
        rows |= {"due": np.arange(start, start + 500), "id": ids[part], "label": np.zeros(500)}
        counted.add(rows, np.arange(start, start + 500.0))
        oldest = max(0, start + 500 - 30_000)
        for number in random.integers(0, start + 500, 5).tolist():
            place = counted.place_of(int(ids[number]))
            assert (place is not None) == (number >= oldest)
    assert counted.held == 30_000
    counted.forget(3_600_000 + 90_000)
    assert counted.held == 9_999
    assert counted.place_of(int(ids[90_000])) is None
    assert counted.place_of(int(ids[90_001])) is not None


def test_a_correction_comes_too_late_when_its_event_is_not_remembered() -> None:
    config = on_a_topic("normal")
    extractor = FeatureExtractor(config, FieldPlan.of(config))
    start = 1_700_000_000_000
    record = event(start, "a", None, "e")
    extractor.extract(decoded(config, [record]))
    extractor.take_labels(start + HOUR_MS)
    extractor.take_labels(start + 11 * HOUR_MS + 1)  # counted, and ten hours later let go
    extractor.set_labels(identities(["e"]), np.ones(1))
    later = decoded(config, [event(start + 12 * HOUR_MS, "a", None)])
    found = columns(extractor, extractor.extract(later))
    assert found["user.positives_10h"] == 0
    assert np.expm1(found["user.negatives_run"]) == pytest.approx(1)


@pytest.mark.parametrize("cut", [1, 7, 64])
def test_evicted_keys_lose_what_waited_and_a_restart_changes_nothing(cut: int) -> None:
    config = configuration(**RISK)
    random = np.random.default_rng(0)
    start = 1_700_000_000_000
    records = [
        event(start + n * 60_000, f"user{random.integers(40)}", int(random.random() < 0.3))
        for n in range(640)
    ]
    straight = FeatureExtractor(config, FieldPlan.of(config))
    resumed = FeatureExtractor(config, FieldPlan.of(config))
    for begin in range(0, 640, 64):
        chunk = records[begin : begin + 64]
        expected = straight.extract(decoded(config, chunk))
        rows = []
        for at in range(0, 64, cut):
            rows.append(resumed.extract(decoded(config, chunk[at : at + cut])))
            following = FeatureExtractor(config, FieldPlan.of(config))
            following.restore(resumed.state())
            resumed = following
        assert np.concatenate(rows).tobytes() == expected.tobytes()
        for each in (straight, resumed):
            each.take_labels(start + (begin + 63) * 60_000)
            each.end_chunk()
    assert straight.keys_evicted["user.risk"] > 100
    assert straight.keys_held["user.risk"] <= 16
