"""The pipeline's promises: no cut matters, no bad record matters, a restart does not matter."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.streams import bytes_of, configuration, decode, new_pipeline, records, run_in_cuts

from stream_detector.config.models.config import ThresholdConfig
from stream_detector.events import NO_TIMESTAMP, PlainRecord
from stream_detector.messages import ORIGINAL_TIMESTAMP
from stream_detector.snapshots import Snapshot, encode
from stream_detector.snapshots import decode as decode_snapshot
from stream_detector.threshold import AlertPace, AlertThreshold
from stream_detector.units import Budget

STREAM = records(3000)
DETECTORS = ["adaptive_ensemble", "ensemble", "autoencoder", "half_space_forest", "loda"]


@pytest.fixture(scope="module")
def whole():
    config = configuration()
    pipeline = new_pipeline(config)
    outcomes = run_in_cuts(pipeline, config, STREAM, [])
    return bytes_of(outcomes), pipeline.fingerprint


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(1, 2999), max_size=60))
def test_the_result_does_not_depend_on_how_polls_cut_the_stream(whole, cuts) -> None:
    config = configuration()
    pipeline = new_pipeline(config)
    outcomes = run_in_cuts(pipeline, config, STREAM, cuts)
    assert bytes_of(outcomes) == whole[0]
    assert pipeline.fingerprint == whole[1]


def test_one_event_a_poll_gives_the_same_bytes(whole) -> None:
    config = configuration()
    outcomes = run_in_cuts(new_pipeline(config), config, STREAM, list(range(3000)))
    assert bytes_of(outcomes) == whole[0]


@pytest.mark.parametrize("kind", DETECTORS)
@pytest.mark.parametrize("stop", [1, 31, 32, 1000, 2047, 2049, 2500])
def test_a_restart_at_any_point_goes_on_with_the_same_bytes(kind: str, stop: int) -> None:
    config = configuration(detector={"kind": kind})
    straight = new_pipeline(config)
    expected = bytes_of(run_in_cuts(straight, config, STREAM[:2700], [stop]))
    first = new_pipeline(config)
    before = run_in_cuts(first, config, STREAM[:stop], [])
    stored = encode(Snapshot({}, first.state()))
    second = new_pipeline(config)
    second.restore(decode_snapshot(stored).state)
    after = run_in_cuts(second, config, STREAM[stop:2700], [])
    assert bytes_of(before + after) == expected
    assert second.fingerprint == straight.fingerprint
    assert encode(Snapshot({}, second.state())) == encode(Snapshot({}, straight.state()))


def test_learning_ends_where_the_configuration_says() -> None:
    plain, ending = configuration(), configuration(processing={"freeze_after": 1024})
    always, once = new_pipeline(plain), new_pipeline(ending)
    for pipeline, config in ((always, plain), (once, ending)):
        run_in_cuts(pipeline, config, STREAM[:1024], [])
    # To here both have learnt the same, and from here one of them nothing.
    state = encode(Snapshot({}, {"detector": once.detector.state(), "scaler": once.scaler.state()}))
    assert once.fingerprint == always.fingerprint
    scored = run_in_cuts(once, ending, STREAM[1024:], [])
    run_in_cuts(always, plain, STREAM[1024:], [])
    after = {"detector": once.detector.state(), "scaler": once.scaler.state()}
    assert encode(Snapshot({}, after)) == state
    assert (once.rows_learned, once.sequence) == (1024, len(STREAM))
    assert always.rows_learned > 2048
    assert once.fingerprint != always.fingerprint
    assert sum(len(outcome.alerts) for outcome in scored) > 0  # the threshold goes on


LATE_LABELS = {
    "detector": {"kind": "classifier", "min_positives": 5},
    "labels": {"field": "label", "delay": "1h", "max_waiting": 400},
}


def test_labels_reach_the_classifier_only_after_their_delay_and_the_store_is_bounded() -> None:
    config = configuration(**LATE_LABELS)
    pipeline = new_pipeline(config)
    assert pipeline.labels.pending is not None
    most = 0
    for start in range(0, 3000, 50):
        pipeline.process(decode(config, STREAM[start : start + 50]))
        most = max(most, pipeline.labels.pending.waiting)
    assert pipeline.detector.score_scale == 1
    assert 100 < most <= 400
    # With a delay longer than the stream, nothing is ever learnt from a label.
    never = configuration(**{**LATE_LABELS, "labels": {"field": "label", "delay": "30d"}})
    other = new_pipeline(never)
    other.process(decode(never, STREAM))
    assert other.detector.score_scale == 0


@pytest.mark.parametrize("stop", [33, 1500, 2500])
def test_a_restart_with_labels_waiting_goes_on_with_the_same_bytes(stop: int) -> None:
    config = configuration(**LATE_LABELS)
    straight = new_pipeline(config)
    expected = bytes_of(run_in_cuts(straight, config, STREAM, [stop]))
    first = new_pipeline(config)
    before = run_in_cuts(first, config, STREAM[:stop], [])
    second = new_pipeline(config)
    second.restore(decode_snapshot(encode(Snapshot({}, first.state()))).state)
    after = run_in_cuts(second, config, STREAM[stop:], [7, 100])
    assert bytes_of(before + after) == expected


def test_the_label_is_not_a_feature() -> None:
    plain, labelled = configuration(), configuration(labels={"field": "label", "delay": "1h"})
    hidden = [
        r._replace(value=r.value.replace(b'"label": 1', b'"label": 0')) for r in STREAM[:1000]
    ]
    assert hidden != STREAM[:1000]
    scores = [
        bytes_of(run_in_cuts(new_pipeline(c), c, s, []))[0]
        for c, s in ((plain, STREAM[:1000]), (labelled, STREAM[:1000]), (labelled, hidden))
    ]
    assert scores[0] == scores[1] == scores[2]


BAD = [
    b'{"id": "x", "time":',
    b"",
    None,
    b'{"id":"x","time":1600000000000,"user":"u1","amount":"twelve","kind":"a"}',
    b'{"id":"x","time":1600000000000,"user":"u1","kind":"a"}',
    b'{"id":"x","time":1600000000000,"user":"u1","amount":NaN,"kind":"a"}',
    b'{"id":"x","time":1600000000000,"user":"u1","amount":Infinity,"kind":"a"}',
    b'{"id":"x","time":1600000000000,"user":"u1","amount":1e308,"kind":"a"}',
    b'{"id":"x","time":1600000000000,"user":"u1","amount":1e999,"kind":"a"}',
    b'{"id":"x","time":1600000000000,"user":"' + b"u" * 1_000_000 + b'","amount":1,"kind":"a"}',
    b'{"id":"x","time":1600000000000,"user":"u1","amount":1,"kind":' + b"[" * 50_000,
    b'{"id":"x","time":"2999-01-01T00:00:00Z","user":"u1","amount":1,"kind":"a"}',
    b'{"id":"x","time":4102444800000,"user":"u1","amount":1,"kind":"a"}',
    b'{"id":"x","time":-5,"user":"u1","amount":1,"kind":"a"}',
    b'{"id":"x","time":0,"user":"u1","amount":1,"kind":"a"}',
    b"[1,2,3]",
    b"\xff\xfe\x00",
    b'"text"',
]


def test_bad_records_are_dead_lettered_and_change_nothing_else() -> None:
    config = configuration()
    clean = bytes_of(run_in_cuts(new_pipeline(config), config, STREAM[:2000], []))
    rng = np.random.default_rng(1)
    mixed: list[PlainRecord] = []
    bad = 0
    for record in STREAM[:2000]:
        if rng.random() < 0.1 and record.offset > 0:
            value = BAD[bad % len(BAD)]
            mixed.append(PlainRecord(record.offset, record.timestamp, b"bad", value))
            bad += 1
        mixed.append(record)
    assert bad > 2 * len(BAD)
    pipeline = new_pipeline(config)
    outcomes = run_in_cuts(pipeline, config, mixed, list(range(0, 2500, 37)))
    scores = np.concatenate([o.scores for o in outcomes])
    assert scores[~np.isnan(scores)].tobytes() == clean[0]
    assert [a.value for o in outcomes for a in o.alerts] == clean[1]
    letters = [letter for o in outcomes for letter in o.dead_letters]
    assert len(letters) == bad
    assert pipeline.sequence == 2000


def test_a_dead_letter_holds_the_record_whole_and_says_why() -> None:
    config = configuration()
    record = PlainRecord(7, 123, b"key", b"{broken", [("trace", b"1"), ("none", None)])
    outcome = new_pipeline(config).process(decode(config, [record]))
    (letter,) = outcome.dead_letters
    headers = dict(letter.headers)
    assert (letter.key, letter.value, letter.timestamp_ms) == (b"key", b"{broken", None)
    assert headers[ORIGINAL_TIMESTAMP] == b"123"
    assert headers["trace"] == b"1"
    assert headers["__connect.errors.topic"] == b"events"
    assert headers["__connect.errors.offset"] == b"7"
    assert headers["__connect.errors.stage"] == b"decode"
    assert headers["__connect.errors.exception.class.name"] == b"malformed"


def test_an_event_far_behind_the_newest_is_rejected_by_event_time() -> None:
    config = configuration()
    pipeline = new_pipeline(config)
    late = json.loads(STREAM[100].value)
    late["time"] -= 40 * 86_400_000
    record = PlainRecord(100, NO_TIMESTAMP, None, json.dumps(late).encode())
    pipeline.process(decode(config, STREAM[:100]))
    outcome = pipeline.process(decode(config, [record]))
    assert [(r.stage, r.reason) for r in outcome.rejections] == [("order", "time_behind")]


def test_a_wild_date_in_a_file_does_not_make_all_others_late() -> None:
    config = configuration()
    wild = json.loads(STREAM[100].value)
    wild["time"] += 3 * 366 * 86_400_000
    some = [r._replace(timestamp=NO_TIMESTAMP) for r in STREAM[:200]]
    some[100] = PlainRecord(100, NO_TIMESTAMP, None, json.dumps(wild).encode())
    outcome = new_pipeline(config).process(decode(config, some))
    assert [(r.stage, r.reason) for r in outcome.rejections] == [("order", "time_ahead")]


def test_an_alert_says_what_why_and_whence(whole) -> None:
    alerts = [json.loads(value) for value in whole[0][1]]
    assert alerts
    for alert in alerts:
        offset = alert["receipt"]["offset"]
        assert alert["id"] == f"events-0-{offset}"
        assert alert["event"] == json.loads(STREAM[offset].value)
        assert alert["event_id"] == f"e{offset}"
        assert alert["score"] > alert["threshold"]
        assert alert["severity"] in ("low", "medium", "high", "critical")
        assert alert["rarity"] > 1
        assert 1 <= len(alert["reasons"]) <= 5
        shares = [reason["share"] for reason in alert["reasons"]]
        assert shares == sorted(shares, reverse=True)
        assert len(alert["receipt"]["features"]) == len(
            new_pipeline(configuration()).features.names
        )


def test_one_alert_a_key_and_period_with_the_count_of_what_it_held_back() -> None:
    settings_ = {"threshold": {"score": -100.0, "burn_in": 0}}
    free = configuration(**settings_, suppression=None)
    held = configuration(**settings_)
    every = run_in_cuts(new_pipeline(free), free, STREAM[:500], [])
    grouped = run_in_cuts(new_pipeline(held), held, STREAM[:500], [])
    suppressed = sum(o.suppressed for o in grouped)
    alerts = [json.loads(a.value or b"") for o in grouped for a in o.alerts]
    assert sum(len(o.alerts) for o in every) == len(alerts) + suppressed == 500
    told = sum(alert["suppression"]["suppressed"] for alert in alerts)
    assert 0 < told <= suppressed
    last: dict[str, str] = {}
    for alert in alerts:
        key = alert["suppression"]["key"]
        assert last.get(key, "") < alert["event_time"]
        last[key] = alert["event_time"]


def test_the_budget_is_kept_while_scores_drift_and_again_after_a_jump() -> None:
    """The tail of the last 50,000 scores alone raises a third of the budget, or three times it."""
    random = np.random.default_rng(0)
    drifting = random.exponential(size=40_000) - np.log(np.arange(1, 40_001)) * 0.8
    jumped = np.concatenate(
        [random.exponential(size=20_000), 3 + 2 * random.exponential(size=30_000)]
    )
    for scores, windows in (
        (drifting, (10_000, 20_000, 30_000)),
        (jumped, (10_000, 30_000, 40_000)),
    ):
        threshold = AlertThreshold(
            ThresholdConfig(budget=Budget.parse("1 %"), score=None, burn_in=1000)
        )
        raised = np.zeros(len(scores), dtype=bool)
        for start in range(0, len(scores), 500):
            chunk = slice(start, start + 500)
            raised[chunk] = threshold.exceeded(scores[chunk], start)
            threshold.learn(scores[chunk], raised[chunk], AlertPace((start + 499) * 1000))
        for first in windows:
            assert 80 <= raised[first : first + 10_000].sum() <= 125
