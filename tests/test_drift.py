"""Drift: found soon, not found where there is none, kept over a restart, answered as configured."""

from __future__ import annotations

import itertools
import json
import logging
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from support.streams import bytes_of, configuration, new_pipeline, records, run_in_cuts

from stream_detector.config.models.config import DriftConfig, drift_mistake
from stream_detector.daemon.shard import Shard
from stream_detector.daemon.shard_reporter import ShardReporter
from stream_detector.detectors import river_pickle
from stream_detector.detectors.adaptive_ensemble import AdaptiveEnsemble
from stream_detector.detectors.base import LARGEST_LOSS, Rows
from stream_detector.detectors.classifier import Classifier
from stream_detector.detectors.ensemble import Ensemble
from stream_detector.detectors.registry import BUILT_IN
from stream_detector.detectors.river_pickle import RIVER_VERSION
from stream_detector.drift import BLOCK_EVENTS, REFERENCE_BLOCKS, DriftWatch
from stream_detector.errors import ConfigurationError, StateError, StateMismatchError
from stream_detector.events import PlainRecord
from stream_detector.pipeline import BatchResult
from stream_detector.snapshots import Snapshot, decode, encode
from stream_detector.telemetry.metrics import Metrics

METHODS = ["adwin", "page_hinkley", "kswin"]


def watch(method: str = "adwin", names: Any = ("a", "b"), **settings: Any) -> DriftWatch:
    return DriftWatch(DriftConfig(on="inputs", method=method, **{"begin": 0, **settings}), names)


def noise(rows: int, columns: int = 2, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).lognormal(0.0, 1.0, size=(rows, columns))


def fed(one: DriftWatch, values: np.ndarray[Any, Any], size: int = 512) -> list[Any]:
    """(end of the piece, feature) of every change."""
    return [
        (start + size, change.feature)
        for start in range(0, len(values), size)
        for change in one.learn(values[start : start + size])
    ]


@pytest.mark.parametrize("method", METHODS)
def test_a_stream_that_stays_as_it_is_shows_no_drift(method: str) -> None:
    assert fed(watch(method), noise(100_000)) == []


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("sign", [1, -1])
def test_a_shift_of_one_feature_is_found_soon_and_once(method: str, sign: int) -> None:
    values = noise(60_000)
    values[30_000:, 1] += sign * values[:, 1].std()
    found = fed(watch(method), values)
    assert [feature for _, feature in found] == ["b"]
    assert 30_000 < found[0][0] <= 32_500


def test_a_change_says_what_it_was_and_is() -> None:
    values = np.random.default_rng(1).normal(20.0, 1.0, size=(20_000, 1))
    values[10_240:] += 5.0
    one = watch(names=["level"])
    changes = [c for start in range(0, 20_000, 512) for c in one.learn(values[start : start + 512])]
    assert len(changes) == 1
    assert changes[0].before == pytest.approx(20.0, abs=0.1)
    assert changes[0].after == pytest.approx(25.0, abs=0.2)
    assert (changes[0].on, changes[0].feature) == ("inputs", "level")


def test_the_beginning_is_not_looked_at() -> None:
    values = noise(40_000)
    values[:5000] += 20.0
    assert len(fed(watch(), values)) == 2
    assert fed(watch(begin=5000), values) == []


def test_constants_and_enormous_values_are_borne() -> None:
    values = np.zeros((20_000, 2))
    values[:, 1] = 1e300
    assert fed(watch(), values) == []
    values[15_000:, 0] = 1.0
    assert [feature for _, feature in fed(watch(), values)] == ["a"]


@pytest.mark.parametrize("method", METHODS)
def test_any_cut_and_any_restart_end_in_the_same_state(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A hundred restarts: what a process with limits reads first is tests/test_river_pickles.py's.
    monkeypatch.setattr(river_pickle, "read_elsewhere", lambda _content: None)
    values = noise(20_000)
    values[9000:] += 2.0
    straight = watch(method)
    assert len(fed(straight, values)) == 2
    other = watch(method)
    random = np.random.default_rng(3)
    start = 0
    while start < len(values):
        stop = min(start + int(random.integers(1, 400)), len(values))
        other.learn(values[start:stop])
        start = stop
        stored = encode(Snapshot({}, other.state()))
        other = watch(method)
        other.restore(decode(stored).state)
    # A restart amid a block's rest or a reference must not show; where a change was found depends
    # on the piece, so the comparison is of a stretch that all have seen since.
    calm, again = watch(method), watch(method)
    for one, size in ((calm, 512), (again, 37)):
        fed(one, values[:8000], size)
    assert encode(Snapshot({}, calm.state())) == encode(Snapshot({}, again.state()))


@pytest.mark.parametrize("method", METHODS)
def test_a_restored_watch_finds_what_the_other_finds(method: str) -> None:
    values = noise(28_000)
    values[25_000:, 0] -= 0.5
    straight, first = watch(method), watch(method)
    expected = fed(straight, values)
    assert [end > 25_600 for end, _ in expected] == [True]  # after the last stop
    before: list[tuple[int, str]] = []
    stops = (0, 512, REFERENCE_BLOCKS * BLOCK_EVENTS, 24_576, 25_600)
    for last, stop in itertools.pairwise(stops):
        before += [(last + end, feature) for end, feature in fed(first, values[last:stop])]
        second = watch(method)
        second.restore(decode(encode(Snapshot({}, first.state()))).state)
        after = [(stop + end, feature) for end, feature in fed(second, values[stop:])]
        assert before + after == expected
        states = [second.state(), straight.state()]
        for state in states:
            state.pop("detectors")  # a pickle of the same may have other bytes
        assert encode(Snapshot({}, states[0])) == encode(Snapshot({}, states[1]))


def test_a_state_that_does_not_fit_is_refused() -> None:
    state = watch().state()
    with pytest.raises(StateMismatchError, match=r"expected float64 of shape \(-1, 3\)"):
        watch(names=["a", "b", "c"]).restore(state)
    with pytest.raises(StateMismatchError, match="expected a KSWIN"):
        watch("kswin").restore(state)
    with pytest.raises(StateMismatchError, match=f"this is River {RIVER_VERSION}"):
        watch().restore({**state, "river_version": "0.1"})
    forged = b"cos\nsystem\n(S'true'\ntR."
    with pytest.raises(StateError, match="refused"):
        watch().restore({**state, "detectors": np.frombuffer(forged, dtype=np.uint8)})


def test_parameters_that_river_does_not_take_are_named() -> None:
    with pytest.raises(ConfigurationError, match=r"river\.drift\.ADWIN does not take"):
        watch(parameters={"speed": 3})
    with pytest.raises(ConfigurationError, match=r"river\.drift\.KSWIN does not take"):
        watch("kswin", parameters={"alpha": 7})


# --- in the pipeline ---


def changed(record: PlainRecord, **fields: Any) -> PlainRecord:
    return record._replace(
        value=json.dumps({**json.loads(record.value or b"{}"), **fields}).encode()
    )


def field(record: PlainRecord, name: str) -> Any:
    return json.loads(record.value or b"{}")[name]


def shifted(count: int, at: int) -> list[PlainRecord]:
    """A stream whose amounts are eight times as large from ``at`` on."""
    stream = records(count)
    return stream[:at] + [changed(r, amount=8 * field(r, "amount")) for r in stream[at:]]


AT = 4000
SHIFTED = shifted(8000, AT)
INPUTS = {"on": "inputs", "begin": 1000}


def changes_of(outcomes: list[BatchResult]) -> list[Any]:
    return [change for outcome in outcomes for change in outcome.changes]


def test_the_pipeline_names_the_feature_that_has_changed_and_scores_are_as_without() -> None:
    config = configuration(drift=[INPUTS])
    watched, plain = new_pipeline(config), new_pipeline(configuration())
    outcomes = run_in_cuts(watched, config, SHIFTED, list(range(0, 8000, 500)))
    found = {change.feature for change in changes_of(outcomes)}
    assert any("amount" in str(feature) for feature in found)
    assert not changes_of(outcomes[: AT // 500])
    run_in_cuts(plain, configuration(), SHIFTED, [])
    assert plain.fingerprint == watched.fingerprint


def test_faster_learns_each_chunk_several_times_for_a_while() -> None:
    config = configuration(
        detector={"kind": "half_space_forest"},
        drift=[{**INPUTS, "answer": "faster", "times": 4, "events": 1024}],
    )
    pipeline = new_pipeline(config)
    learnt: list[int] = []
    inner = pipeline.detector.learn
    pipeline.detector.learn = lambda rows, labels=None: (  # type: ignore[method-assign]
        learnt.append(pipeline.sequence),
        inner(rows, labels),
    )[1]
    before = run_in_cuts(pipeline, config, SHIFTED[:AT], [])
    assert not changes_of(before)
    assert len(set(learnt)) == len(learnt)  # once each
    assert pipeline.scaler.count.max() > 3000
    learnt.clear()
    found_at = 0
    for start in range(AT, 8000, 32):
        outcomes = run_in_cuts(pipeline, config, SHIFTED[start : start + 32], [])
        if changes_of(outcomes):
            found_at = pipeline.sequence
            break
    assert found_at
    assert pipeline.scaler.count.max() <= 1024
    run_in_cuts(pipeline, config, SHIFTED[found_at:], [])
    repeats = {end: learnt.count(end) for end in set(learnt)}
    fast = [end for end, count in repeats.items() if count == 4]
    assert min(fast) == found_at
    assert len(fast) < len(repeats)  # it ends
    assert {count for end, count in repeats.items() if min(fast) <= end <= max(fast)} == {4}
    assert {count for end, count in repeats.items() if end not in fast} == {1}


@pytest.mark.parametrize("answer", ["faster", "reset"])
@pytest.mark.parametrize("stop", [AT - 100, AT + 1500, AT + 2500])
def test_a_restart_amid_an_answer_goes_on_with_the_same_bytes(answer: str, stop: int) -> None:
    drift = [{**INPUTS, "answer": answer}, {"on": "score", "begin": 2048}]
    config = configuration(detector={"kind": "half_space_forest", "trees": 20}, drift=drift)
    straight = new_pipeline(config)
    expected = run_in_cuts(straight, config, SHIFTED, [stop])
    assert changes_of(expected)
    first = new_pipeline(config)
    before = run_in_cuts(first, config, SHIFTED[:stop], [])
    second = new_pipeline(config)
    second.restore(decode(encode(Snapshot({}, first.state()))).state)
    after = run_in_cuts(second, config, SHIFTED[stop:], [])
    assert bytes_of(before + after) == bytes_of(expected)
    assert changes_of(before + after) == changes_of(expected)
    assert encode(Snapshot({}, second.state())) == encode(Snapshot({}, straight.state()))


def test_reset_begins_the_model_anew_and_its_threshold() -> None:
    config = configuration(drift=[{**INPUTS, "answer": "reset"}])
    pipeline = new_pipeline(config)
    run_in_cuts(pipeline, config, SHIFTED[:AT], [])
    old = pipeline.detector
    run_in_cuts(pipeline, config, SHIFTED[AT:], [])
    assert pipeline.detector is not old
    assert AT < pipeline.champion.began < 8000
    since = pipeline.sequence - pipeline.champion.began
    assert pipeline.detector.state()["neighbours"]["rows_learnt"] <= since + 512
    assert 0 < pipeline.scaler.count.max() <= since + 512
    assert np.isfinite(pipeline.threshold.value)  # it has learnt the new model's scores since


def test_after_a_reset_labels_judge_the_new_model_only() -> None:
    labels = {"labels": {"field": "label", "delay": "10m"}}
    config = configuration(drift=[{**INPUTS, "answer": "reset"}], **labels)
    pipeline = new_pipeline(config)
    run_in_cuts(pipeline, config, SHIFTED, [])
    feedback = pipeline.champion.feedback
    assert feedback is not None
    assert pipeline.champion.began > AT
    assert 0 < len(feedback.state()["judged"]) <= pipeline.sequence - pipeline.champion.began


def test_reset_of_a_member_leaves_the_others_be() -> None:
    settings = {"drift": [{**INPUTS, "answer": "reset", "member": "autoencoder"}]}
    config = configuration(detector={"kind": "ensemble"}, **settings)
    pipeline = new_pipeline(config)
    run_in_cuts(pipeline, config, SHIFTED[:AT], [])
    fresh = new_pipeline(config).detector.state()
    old = pipeline.detector.state()
    pipeline.champion._reset("autoencoder", pipeline.sequence)
    new = pipeline.detector.state()
    same = lambda a, b: encode(Snapshot({}, {"x": a})) == encode(Snapshot({}, {"x": b}))  # noqa: E731
    for member in ("forest", "loda", "fourier", "rows_learnt"):
        assert same(new[member], old[member]), member
        assert not same(new[member], fresh[member]), member
    for member in ("autoencoder", "error_moments"):
        assert same(new[member], fresh[member]), member
        assert not same(new[member], old[member]), member
    assert pipeline.champion.began == 0


@pytest.mark.parametrize(
    ("detector", "members"),
    [
        ("ensemble", ["forest", "loda", "fourier", "autoencoder"]),
        ("adaptive_ensemble", ["forest", "loda", "neighbours"]),
        ("classifier", ["network", "trees"]),
    ],
)
def test_every_member_named_can_be_reset(detector: str, members: list[str]) -> None:
    extra = {"labels": {"field": "label", "delay": "1h"}} if detector == "classifier" else {}
    for member in members:
        drift = [{**INPUTS, "answer": "reset", "member": member}]
        config = configuration(detector={"kind": detector}, drift=drift, **extra)
        pipeline = new_pipeline(config)
        run_in_cuts(pipeline, config, SHIFTED[:2500], [])
        pipeline.champion._reset(member, pipeline.sequence)
        outcomes = run_in_cuts(pipeline, config, SHIFTED[2500:3000], [])
        assert np.isfinite(np.concatenate([o.scores for o in outcomes])).all()


LABELLED = {
    "detector": {"kind": "classifier", "min_positives": 5},
    "labels": {"field": "label", "delay": "10m"},
}


def test_the_error_is_watched_where_labels_are_no_longer_to_be_learnt() -> None:
    """From event 6,000 on every label is thrown; turned round, they would be learnt at once."""
    stream = records(12_000)
    coins = np.random.default_rng(0).integers(2, size=3000)
    thrown = [
        changed(record, label=int(coin))
        for record, coin in zip(stream[6000:9000], coins, strict=True)
    ]
    config = configuration(drift=[{"on": "error", "begin": 500}], **LABELLED)
    calm = run_in_cuts(new_pipeline(config), config, stream, [])
    assert not changes_of(calm)
    outcomes = run_in_cuts(new_pipeline(config), config, stream[:6000] + thrown, [])
    assert changes_of(outcomes)
    assert {(c.on, c.feature) for c in changes_of(outcomes)} == {("error", None)}
    assert changes_of(outcomes)[0].after > changes_of(outcomes)[0].before


@pytest.mark.parametrize("kind", ["classifier", "river"])
def test_losses_are_those_of_the_probabilities(kind: str) -> None:
    detector = {"kind": "river", "model": "river.linear_model.LogisticRegression"}
    config = configuration(**{**LABELLED, **({"detector": detector} if kind == "river" else {})})
    pipeline = new_pipeline(config)
    run_in_cuts(pipeline, config, records(4000), [])
    features = np.random.default_rng(5).normal(size=(40, len(pipeline.features.names)))
    rows = Rows(features, pipeline.scaler.standardise(features))
    labels = np.arange(40) % 2.0
    losses = pipeline.detector.losses(rows, labels)
    padded = Rows(np.zeros((64, features.shape[1])), np.zeros((64, features.shape[1])))
    padded.features[:40], padded.standardised[:40] = features, rows.standardised
    scores = pipeline.detector.score(padded)[:40]
    probabilities = scores if kind == "river" else 1 / (1 + np.exp(-scores))
    expected = -np.log(np.where(labels > 0, probabilities, 1 - probabilities))
    assert losses == pytest.approx(np.minimum(expected, LARGEST_LOSS), rel=1e-6, abs=1e-4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"drift": [{"on": "error"}]}, "learns from labels"),
        ({"drift": [{"on": "score", "member": "forest"}]}, "belongs to"),
        ({"drift": [{"on": "score", "answer": "reset", "member": "trees"}]}, "ensemble has forest"),
        (
            {"drift": [{"on": "score", "answer": "reset"}], "processing": {"freeze_after": 5000}},
            "learns nothing",
        ),
        (
            {
                "detector": {"kind": "ensemble", "autoencoder": False},
                "drift": [{"on": "score", "answer": "reset", "member": "autoencoder"}],
            },
            "no autoencoder",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises((ValidationError, ConfigurationError), match=message):
        configuration(**settings)


def test_a_drift_is_counted_and_logged_with_its_answer(caplog: pytest.LogCaptureFixture) -> None:
    config = configuration(drift=[{**INPUTS, "answer": "faster"}])
    metrics = Metrics()
    shard = Shard(0, config, metrics)
    observation = ShardReporter(metrics)
    outcomes = run_in_cuts(shard.pipeline, config, SHIFTED, [AT])
    with caplog.at_level(logging.WARNING):
        for outcome in outcomes:
            observation.observe_outcome(shard, outcome)
    lines = [r.getMessage() for r in caplog.records if r.getMessage().startswith("drift of")]
    assert len(lines) == 1  # one a minute
    assert "amount" in lines[0]
    assert lines[0].endswith("answer: each chunk of 10000 events is learnt 3 times")
    names = [change.feature for change in changes_of(outcomes)]
    for name in set(names):
        labels = {"on": "inputs", "feature": name}
        value = metrics.registry.get_sample_value("stream_detector_drift_events_total", labels)
        assert value == names.count(name)


def test_the_configuration_knows_the_members_that_the_detectors_have() -> None:
    with_members = {kind: each.detector for kind, each in BUILT_IN.items() if each.detector.members}
    assert with_members == {
        "ensemble": Ensemble,
        "adaptive_ensemble": AdaptiveEnsemble,
        "classifier": Classifier,
    }
    for kind, detector in with_members.items():
        drift = DriftConfig(on="score", answer="reset", member="none of them")
        mistake = drift_mistake(drift, detector.Config())
        assert mistake == f"drift: a detector {kind} has {', '.join(detector.members)}"
