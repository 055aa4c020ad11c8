"""The challenger: it costs the champion nothing, is what it would be alone, and can take over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from kafka_broker.clients import produce
from support.commands import run as run_command
from support.process import DaemonProcess, alerts_in, wait_until
from support.streams import SETTINGS, bytes_of, configuration, new_pipeline, records, run_in_cuts
from test_daemon import messages, settings, topics

from stream_detector.config import state_fingerprint
from stream_detector.config.derived.fingerprint import state_shape
from stream_detector.config.derived.promotion import before_promotion
from stream_detector.config.derived.rewrite import NotRewritableError, exchange_models
from stream_detector.config.loading.load import parse
from stream_detector.daemon.shard import Shard
from stream_detector.daemon.shard_reporter import ShardReporter
from stream_detector.errors import ConfigurationError, StateMismatchError
from stream_detector.pipeline import BatchResult, promoted
from stream_detector.snapshots import Snapshot, decode, encode
from stream_detector.telemetry.metrics import Metrics

STREAM = records(6000)
LODA = {"kind": "loda"}
FOREST = {"kind": "half_space_forest", "trees": 20}
PLAIN = {"detector": FOREST, "suppression": None}
SHADOWED = {**PLAIN, "challenger": {"detector": LODA}}
ALONE = {"detector": LODA, "suppression": None}


def scores_of(outcomes: list[BatchResult]) -> np.ndarray[Any, Any]:
    return np.concatenate([outcome.scores for outcome in outcomes])


def test_the_champion_does_not_notice() -> None:
    shadowed, plain = configuration(**SHADOWED), configuration(**PLAIN)
    one, other = new_pipeline(shadowed), new_pipeline(plain)
    assert state_fingerprint(shadowed) == state_fingerprint(plain)
    first = run_in_cuts(one, shadowed, STREAM, [1000])
    second = run_in_cuts(other, plain, STREAM, [1000])
    assert bytes_of(first) == bytes_of(second)
    assert one.fingerprint == other.fingerprint


def test_the_challenger_scores_and_decides_as_it_would_alone() -> None:
    config, alone = configuration(**SHADOWED), configuration(**ALONE)
    one, other = new_pipeline(config), new_pipeline(alone)
    outcomes = run_in_cuts(one, config, STREAM, [700, 701])
    expected = run_in_cuts(other, alone, STREAM, [])
    scores = np.concatenate([chunk for o in outcomes for chunk in o.challenger_scores])
    assert (scores == scores_of(expected)[: len(scores)]).all()
    assert len(scores) > 5500
    assert one.challenger is not None
    assert one.challenger.model.threshold.value == other.threshold.value
    raised = np.concatenate([o.raised for o in expected])[: len(scores)]
    decisions = one.challenger.decisions
    assert decisions[True, True] + decisions[False, True] == np.count_nonzero(raised)
    assert sum(decisions.values()) == len(scores)


@pytest.mark.parametrize("stop", [33, 2500, 4000])
def test_a_restart_goes_on_with_the_same_state(stop: int) -> None:
    config = configuration(**SHADOWED)
    straight = new_pipeline(config)
    run_in_cuts(straight, config, STREAM, [])
    first = new_pipeline(config)
    run_in_cuts(first, config, STREAM[:stop], [])
    second = new_pipeline(config)
    second.restore(decode(encode(Snapshot({}, first.state()))).state)
    run_in_cuts(second, config, STREAM[stop:], [])
    assert encode(Snapshot({}, second.state())) == encode(Snapshot({}, straight.state()))


@pytest.mark.parametrize("at", [2048, 4000, 4321])
def test_promoted_it_goes_on_as_if_it_had_been_champion_all_along(at: int) -> None:
    before, alone = configuration(**SHADOWED), configuration(**ALONE)
    after = configuration(**{**ALONE, "challenger": {"detector": FOREST}})
    first = new_pipeline(before)
    run_in_cuts(first, before, STREAM[:at], [])
    second = new_pipeline(after)
    swapped = promoted(decode(encode(Snapshot({}, first.state()))).state, before)
    second.restore(swapped, rescore=True)
    straight = new_pipeline(alone)
    run_in_cuts(straight, alone, STREAM[:at], [])
    mine = run_in_cuts(second, after, STREAM[at:], [])
    theirs = run_in_cuts(straight, alone, STREAM[at:], [])
    assert (scores_of(mine) == scores_of(theirs)).all()
    without = ("receipt",)
    texts = [
        [{k: v for k, v in json.loads(a.value).items() if k not in without} for a in o.alerts]
        for o in (mine[0], theirs[0])
    ]
    assert texts[0] == texts[1]
    assert len(texts[0]) > 10
    # And the old champion is what it would have been had it stayed.
    old = new_pipeline(before)
    run_in_cuts(old, before, STREAM, [])
    assert second.challenger is not None
    assert encode(Snapshot({}, second.challenger.model.detector.state())) == encode(
        Snapshot({}, old.detector.state())
    )


def test_a_challenger_may_come_to_a_running_stream_and_go() -> None:
    plain, shadowed = configuration(**PLAIN), configuration(**SHADOWED)
    first = new_pipeline(plain)
    run_in_cuts(first, plain, STREAM[:3000], [])
    second = new_pipeline(shadowed)
    second.restore(first.state())
    run_in_cuts(second, shadowed, STREAM[3000:5000], [])
    assert second.challenger is not None
    assert second.challenger.model.began == 3000
    assert 1900 <= sum(second.challenger.decisions.values()) <= 2600
    # Another one begins untrained; none at all is no trouble either.
    other = configuration(**{**PLAIN, "challenger": {"detector": {"kind": "autoencoder"}}})
    third = new_pipeline(other)
    third.restore(second.state())
    assert third.challenger is not None
    assert third.challenger.model.began == 5000
    last = new_pipeline(plain)
    last.restore(third.state())
    run_in_cuts(last, plain, STREAM[5000:], [])
    straight = new_pipeline(plain)
    run_in_cuts(straight, plain, STREAM, [])
    assert last.fingerprint == straight.fingerprint


LABELS = {"labels": {"field": "label", "delay": "30m"}}


def test_labels_judge_both_side_by_side() -> None:
    classifier = {"detector": {"kind": "classifier", "min_positives": 5}}
    config = configuration(**{**SHADOWED, **LABELS, "challenger": classifier})
    metrics = Metrics()
    shard, observation = Shard(0, config, metrics), ShardReporter(metrics)
    for outcome in run_in_cuts(shard.pipeline, config, STREAM, list(range(0, 6000, 500))):
        observation.observe_outcome(shard, outcome)
        observation.observe_state(shard)

    def value(name: str, **labels: str) -> float:
        found = metrics.registry.get_sample_value(
            f"stream_detector_{name}", {"shard": "0", **labels}
        )
        assert found is not None, name
        return found

    for name in ("label_auc_ratio", "label_average_precision_ratio"):
        assert 0 < value(name) <= 1
        assert 0.5 < value(f"challenger_{name}") <= 1
    assert value("challenger_label_precision_at_ratio", k="10") > 0.5
    assert np.isfinite(value("challenger_threshold"))
    decided = [
        value("challenger_decisions_total", champion=one, challenger=other)
        for one in ("true", "false")
        for other in ("true", "false")
    ]
    scored = metrics.registry.get_sample_value(
        "stream_detector_challenger_score_bucket", {"le": "+Inf"}
    )
    assert sum(decided) == scored > 5000


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"challenger": {"detector": FOREST}}, "the same as detector"),
        ({"challenger": {"detector": {"kind": "classifier"}}}, "needs `labels`"),
        ({"challenger": {}}, "detector"),
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        configuration(**{**PLAIN, **changes})


def test_only_a_promotion_is_taken_for_one() -> None:
    before = configuration(**SHADOWED)
    shape = state_shape(before)
    former = before_promotion(configuration(**ALONE), shape)
    assert former is not None
    assert (former.detector, former.challenger) == (before.detector, before.challenger)
    chunked = configuration(**ALONE, processing={"chunk_size": 1024})
    assert before_promotion(chunked, shape) is None
    assert before_promotion(configuration(**ALONE), {**shape, "detector": {"kind": "none"}}) is None


def test_a_snapshot_without_the_challenger_promotes_nothing() -> None:
    plain, alone = configuration(**PLAIN), configuration(**ALONE)
    shard = Shard(0, plain, Metrics())
    run_in_cuts(shard.pipeline, plain, STREAM[:500], [])
    with pytest.raises(StateMismatchError, match="another configuration"):
        Shard(0, alone, Metrics()).restore(shard.snapshot({"written_at": 1.0}))


# --- the file ---

FILE = """\
# the head
name: test
detector:   # what alerts
  kind: half_space_forest
  trees: 20
features:
  - numeric: amount
challenger:
  # on trial
  detector: { kind: autoencoder, hidden: [4, 2] }  # small
# the end
"""


def read(text: str) -> dict[str, Any]:
    parse(text, "test.yaml", {})
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def test_the_file_is_rewritten_with_the_two_exchanged_and_back() -> None:
    once = exchange_models(FILE)
    assert read(once)["detector"] == {"kind": "autoencoder", "hidden": [4, 2]}
    assert read(once)["challenger"]["detector"] == {"kind": "half_space_forest", "trees": 20}
    for comment in ("# the head", "# on trial", "# small", "# the end"):
        assert comment in once
    assert read(exchange_models(once)) == read(FILE)
    dropped = exchange_models(FILE, drop=True)
    assert read(dropped)["detector"]["kind"] == "autoencoder"
    assert "challenger" not in read(dropped)
    assert dropped.endswith("# the end\n")


def test_the_default_detector_needs_no_section() -> None:
    text = (
        "name: t\nfeatures: [{ numeric: a }]\nchallenger:\n  detector:\n    kind: loda\n    bins: 8"
    )
    once = exchange_models(text)
    assert read(once)["detector"] == {"kind": "loda", "bins": 8}
    assert read(once)["challenger"]["detector"] == {"kind": "adaptive_ensemble"}
    assert read(exchange_models(text, drop=True)) == {
        "name": "t",
        "features": [{"numeric": "a"}],
        "detector": {"kind": "loda", "bins": 8},
    }


@pytest.mark.parametrize(
    "text",
    [
        "name: t\nfeatures: [{ numeric: a }]\n",
        "{ name: t, features: [{ numeric: a }], challenger: { detector: { kind: loda } } }",
        "name: t\nfeatures: [{ numeric: a }]\nx: &x { kind: loda }\nchallenger:\n  detector: *x\n",
        (
            "name: t\nfeatures: [{ numeric: a }]\nchallenger:\n  detector:\n    kind: loda\n"
            "    bins: ${BINS}\n"
        ),
    ],
)
def test_what_cannot_be_rewritten_is_left_alone(text: str) -> None:
    with pytest.raises(NotRewritableError):
        exchange_models(text)


# --- the daemon ---


@pytest.mark.parametrize("stop", ["term", "kill"])
def test_a_promotion_by_command_goes_on_trained_and_can_be_verified(
    kafka, tmp_path: Path, stop: str
) -> None:
    section = topics(kafka.bootstrap)
    produce(kafka.bootstrap, section["topics"][0], messages(STREAM[:4000], 1))
    config = settings(
        section,
        tmp_path,
        **SHADOWED,
        state={"directory": str(tmp_path / "state"), "interval": "2s"},
    )
    path = tmp_path / "config.yaml"
    with DaemonProcess(tmp_path, config) as daemon:
        daemon.wait_ready().wait_processed(4000).wait_worked_off()
        wait_until(
            lambda: daemon.metric("challenger_decisions_total") > 3000, "a look at the state"
        )
        wait_until(lambda: daemon.metric("snapshots_total", result="ok") >= 1, "a snapshot")
        if stop == "kill":
            daemon.kill()  # the journal goes on after the snapshot
        else:
            assert daemon.stop() == 0, daemon.text()
    path.write_text(yaml.safe_dump(config, sort_keys=False), "utf-8")
    asked = run_command("promote", str(path))
    assert asked.returncode == 2
    assert "--yes" in asked.stderr
    done = run_command("promote", str(path), "--yes")
    assert done.returncode == 0, done.stderr
    assert "raised by both" in done.stdout
    after = yaml.safe_load(path.read_text("utf-8"))
    assert (after["detector"], after["challenger"]) == (LODA, {"detector": FOREST})
    produce(kafka.bootstrap, section["topics"][0], messages(STREAM[4000:], 1))
    with DaemonProcess(tmp_path, after) as daemon:
        daemon.wait_ready().wait_worked_off()
        assert "takes over after 4000 events" in daemon.text()
        assert daemon.metric("replay_mismatches_total") == 0
        assert daemon.stop() == 0, daemon.text()
    alerts = alerts_in(kafka.bootstrap, section["alerts"])
    models = [alert["model"] for alert in alerts]
    switch = models.index("loda")
    assert set(models[:switch]) == {"half_space_forest"}
    assert set(models[switch:]) == {"loda"}
    alone = configuration(**ALONE)
    pipeline = new_pipeline(alone)
    run_in_cuts(pipeline, alone, STREAM[:4000], [])
    expected = run_in_cuts(pipeline, alone, STREAM[4000:], [])
    scores = [json.loads(a.value)["score"] for outcome in expected for a in outcome.alerts]
    assert [alert["score"] for alert in alerts[switch:]] == scores
    verified = run_command("state", "verify", str(path))
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_promote_refuses_what_was_never_on_trial(tmp_path: Path) -> None:
    state = {"directory": str(tmp_path / "state")}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({**SETTINGS, **PLAIN, "state": state}), "utf-8")
    none = run_command("promote", str(path), "--yes")
    assert none.returncode == 2
    assert "no section challenger" in none.stderr
    path.write_text(yaml.safe_dump({**SETTINGS, **SHADOWED, "state": state}), "utf-8")
    untried = run_command("promote", str(path), "--yes")
    assert untried.returncode != 0
    assert "let the daemon run first" in untried.stderr
    assert yaml.safe_load(path.read_text("utf-8"))["detector"] == FOREST
