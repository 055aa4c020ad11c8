"""What late labels say of the scores: against scikit-learn, without bias, through restarts."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score
from support.streams import SETTINGS, configuration, decode, new_pipeline, records, run_in_cuts
from test_labels_topic import mixed

from stream_detector.config.loading.load import parse
from stream_detector.config.models.labels import LabelsConfig
from stream_detector.labels import Feedback, Gate, ScoredEvents
from stream_detector.labels.feedback import JUDGED_ROWS
from stream_detector.pipeline import PipelineCore

HOUR_MS = 3_600_000


def settings(**changes: Any) -> LabelsConfig:
    return LabelsConfig(**{"delay": "1h", "absent": "normal", "keep_first": 0, **changes})


def offered(
    feedback: Feedback,
    scores: Any,
    labels: Any,
    raised: Any = None,
    sequence: int = 0,
    score_scale: int = 0,
) -> None:
    """One chunk, whose labels are known at once and looked at after an hour."""
    count = len(scores)
    flags = np.zeros(count, dtype=bool) if raised is None else np.asarray(raised)
    times, ids = np.zeros(count, dtype=np.int64), np.arange(count, dtype=np.int64)
    truth, given = np.asarray(labels, float), np.asarray(scores, float)
    feedback.offer(ScoredEvents(sequence, times, ids, truth, given, flags, score_scale))


@given(
    rows=st.lists(st.tuples(st.integers(-4, 4), st.booleans()), min_size=2, max_size=60).filter(
        lambda rows: len({label for _, label in rows}) == 2
    )
)
def test_the_figures_are_those_of_scikit_learn_ties_included(rows):
    scores, labels = map(np.array, zip(*rows, strict=True))
    feedback = Feedback(settings(keep_first=1000), seed=0)
    offered(feedback, scores, labels)
    feedback.judge(HOUR_MS)
    figures = feedback.figures()
    assert figures is not None
    assert figures.auc == pytest.approx(roc_auc_score(labels, scores))
    assert figures.average_precision == pytest.approx(average_precision_score(labels, scores))


def test_precision_at_k_counts_the_k_highest_scores():
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=500), rng.random(500) < 0.2
    feedback = Feedback(settings(keep_first=1000), seed=0)
    offered(feedback, scores, labels)
    feedback.judge(HOUR_MS)
    figures = feedback.figures()
    assert figures is not None
    best = labels[np.argsort(-scores)]
    assert figures.precision_at[10] == pytest.approx(best[:10].mean())
    assert figures.precision_at[100] == pytest.approx(best[:100].mean())
    assert figures.precision_at[1000] == pytest.approx(best.mean())  # there are only 500


def test_there_are_no_figures_before_both_kinds_are_known():
    feedback = Feedback(settings(keep_first=1000), seed=0)
    assert feedback.figures() is None
    offered(feedback, [1.0, 2.0], [0, 0])
    feedback.judge(HOUR_MS)
    assert feedback.figures() is None
    assert feedback.cases[False, False] == 2


def test_a_label_is_not_looked_at_before_its_delay_and_may_change_until_then():
    feedback = Feedback(settings(), seed=0)
    offered(feedback, [9.0], [0], [True])
    feedback.judge(HOUR_MS - 1)
    assert (feedback.waiting, sum(feedback.cases.values())) == (1, 0)
    assert feedback.set_labels(np.array([0]), np.array([1.0])).tolist() == [True]
    feedback.judge(HOUR_MS)
    assert feedback.waiting == 0
    assert feedback.cases[True, True] == 1


@pytest.mark.parametrize(("absent", "counted"), [("normal", 1), ("unknown", 0)])
def test_no_label_means_what_the_configuration_says(absent, counted):
    feedback = Feedback(settings(absent=absent), seed=0)
    offered(feedback, [9.0], [np.nan], [True])
    feedback.judge(HOUR_MS)
    assert feedback.cases[False, True] == counted


def test_every_alert_is_judged_and_the_rest_is_estimated_without_bias():
    rng = np.random.default_rng(1)
    feedback = Feedback(settings(keep_top=0.02, keep_random=0.05), seed=3)
    count, chunk = 100_000, 250
    labels = rng.random(count) < 0.1
    scores = rng.normal(size=count) + 1.5 * labels
    raised = scores > 3.0
    for start in range(0, count, chunk):
        part = slice(start, start + chunk)
        offered(feedback, scores[part], labels[part], raised[part], sequence=start)
        feedback.judge(HOUR_MS)
    true, false = labels & raised, ~labels & raised
    assert feedback.cases[True, True] == true.sum()
    assert feedback.cases[False, True] == false.sum()
    assert feedback.cases[True, False] == pytest.approx((labels & ~raised).sum(), rel=0.1)
    assert feedback.cases[False, False] == pytest.approx((~labels & ~raised).sum(), rel=0.05)
    figures = feedback.figures()
    assert figures is not None
    assert figures.auc == pytest.approx(roc_auc_score(labels, scores), abs=0.02)
    # With each row counting once, the rows kept would be far too strange.
    plain = feedback.state()["judged"]
    assert abs(roc_auc_score(plain[:, 1], plain[:, 0]) - roc_auc_score(labels, scores)) > 0.03


def test_scores_of_another_model_do_not_mix_with_those_of_now():
    feedback = Feedback(settings(keep_first=1000), seed=0)
    offered(feedback, [50.0, 60.0], [0, 0])
    feedback.judge(HOUR_MS)
    offered(feedback, [70.0, 80.0], [0, 0])  # still waits when the other model takes over
    offered(feedback, [-1.0, -2.0], [1, 0], score_scale=1)
    feedback.judge(HOUR_MS)
    figures = feedback.figures()
    assert figures is not None
    assert (figures.auc, figures.average_precision) == (1.0, 1.0)
    assert feedback.cases[False, False] == 5  # what was decided stays decided


def test_what_is_kept_is_bounded():
    feedback = Feedback(settings(keep_first=10**6, max_waiting=5000), seed=0)
    for start in range(0, 3 * JUDGED_ROWS, 1000):
        offered(feedback, np.ones(1000), np.zeros(1000), sequence=start)
        assert feedback.waiting <= 5000
        if start % 3000 == 0:
            feedback.judge(HOUR_MS)
    assert len(feedback.state()["judged"]) == JUDGED_ROWS


def test_the_gate_keeps_the_rows_to_which_it_gives_a_weight():
    gate, scores = Gate(0, 0.05, 0.1, 7), np.random.default_rng(0).normal(size=400)
    weights = gate.weigh(scores, 1000)
    assert np.flatnonzero(weights).tolist() == gate.choose(scores, 1000).tolist()
    assert set(weights.tolist()) == {0.0, 1.0, 10.0}
    assert set(Gate(5000, 0.05, 0.1, 7).weigh(scores, 1000).tolist()) == {1.0}


# --- in the pipeline -----------------------------------------------------------------------------

LABELS = {"field": "label", "delay": "2h", "absent": "normal", "keep_first": 500}


@pytest.mark.parametrize("cuts", [[], [1, 5, 700, 701, 2500]])
def test_any_cut_of_the_stream_and_any_restart_gives_the_same_verdict(cuts):
    config = configuration(labels=LABELS)
    straight = new_pipeline(config)
    run_in_cuts(straight, config, records(4000), [])
    pipeline = new_pipeline(config)
    for start, stop in zip([0, *cuts], [*cuts, 4000], strict=True):
        pipeline.process(decode(config, records(4000)[start:stop]))
        follower = new_pipeline(config)
        follower.restore(pipeline.state())
        pipeline = follower
    assert straight.champion.feedback is not None
    assert pipeline.champion.feedback is not None
    assert pipeline.champion.feedback.cases == straight.champion.feedback.cases
    assert pipeline.champion.feedback.figures() == straight.champion.feedback.figures()
    assert straight.champion.feedback.cases[True, True] > 5


def test_labels_change_no_score_of_a_detector_that_does_not_learn_from_them():
    with_labels, without = configuration(labels=LABELS), configuration()
    first, second = new_pipeline(with_labels), new_pipeline(without)
    run_in_cuts(first, with_labels, records(1500), [])
    run_in_cuts(second, without, records(1500), [])
    assert first.fingerprint == second.fingerprint
    assert (first.champion.feedback is not None, second.champion.feedback) == (True, None)


def test_a_state_of_before_there_was_a_verdict_is_restored():
    config = configuration(labels=LABELS)
    pipeline, follower = new_pipeline(config), new_pipeline(config)
    run_in_cuts(pipeline, config, records(1000), [])
    state = pipeline.state()
    del state["feedback"]
    follower.restore(state)
    run_in_cuts(follower, config, records(2000)[1000:], [])
    assert follower.sequence == 2000


def test_labels_of_a_topic_meet_the_alerts_of_a_detector_without_labels():
    kafka = {"bootstrap_servers": "x:1", "topics": ["events"], "group": "g", "alerts": "a"}
    kafka |= {"dead_letters": "d", "labels": "labels"}
    topic = {name: value for name, value in LABELS.items() if name != "field"}
    config = parse(json.dumps({**SETTINGS, "labels": topic, "kafka": kafka}), "f", {}).config
    pipeline = PipelineCore(config, "f")
    outcome = pipeline.process(mixed(config, records(3000), 20))
    assert pipeline.labels.taken == 3000
    assert pipeline.champion.feedback is not None
    cases = pipeline.champion.feedback.cases
    alerted = cases[True, True] + cases[False, True]
    assert 5 < cases[True, True] <= alerted <= outcome.raised.sum()


def test_the_first_reason_of_each_alert_is_handed_on():
    config = configuration()
    outcomes = run_in_cuts(new_pipeline(config), config, records(3000), [])
    bodies = [json.loads(alert.value or b"") for o in outcomes for alert in o.alerts]
    first = [body["reasons"][0]["feature"] for body in bodies if body["reasons"]]
    assert len(first) > 10
    assert [reason for o in outcomes for reason in o.reasons] == first
