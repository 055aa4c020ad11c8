"""The library: one import, the daemon's bytes, results that can be read, plain errors."""

from __future__ import annotations

import copy
import json
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import threadpoolctl
from support.streams import SETTINGS, configuration, new_pipeline, records, run_in_cuts

import stream_detector
from stream_detector import (
    ConfigurationError,
    Pipeline,
    StateError,
    StateMismatchError,
    backtest,
    build_detector,
    load_config,
)
from stream_detector.api.result import RejectedEventsWarning
from stream_detector.api.threads import one_thread
from stream_detector.commits.stores import snapshot_stores
from stream_detector.connectors.ahead import AHEAD_BYTES
from stream_detector.daemon.recovery import open_shard
from stream_detector.daemon.shard import Shard
from stream_detector.detectors.base import Rows
from stream_detector.detectors.registry import kinds
from stream_detector.snapshots import decode, encode
from stream_detector.telemetry.metrics import Metrics

COUNT = 3000
VALUES = [record.value or b"" for record in records(COUNT)]
LINES = b"\n".join(VALUES)
EVENTS = [json.loads(value) for value in VALUES]


def settings(**changes: Any) -> dict[str, Any]:
    return {**SETTINGS, **changes}


def messages(result: Any) -> list[bytes]:
    return [message.value for message in result.messages]


def run_python(code: str, **environment: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


# --- the package ---------------------------------------------------------------------------------


def test_importing_the_package_imports_no_library():
    code = (
        "import sys, stream_detector; stream_detector.__version__; stream_detector.StateError; "
        "dir(stream_detector); "
        "print(*{name.split('.')[0] for name in sys.modules} - sys.stdlib_module_names)"
    )
    found = set(run_python(code).split())
    assert found & {"numpy", "sklearn", "pydantic", "river", "yaml", "kafka", "msgspec"} == set()


def test_the_library_imports_neither_frames_nor_the_broker_nor_scikit_learn():
    code = (
        "import sys, stream_detector as s; [getattr(s, name) for name in s.__all__]; "
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    found = set(run_python(code).split())
    assert "stream_detector" in found
    assert found & {"pandas", "polars", "narwhals", "sklearn", "river", "kafka"} == set()


def test_every_name_of_the_package_can_be_had_and_is_listed():
    for name in stream_detector.__all__:
        assert getattr(stream_detector, name) is not None
    assert set(stream_detector.__all__) <= set(dir(stream_detector))
    assert {"Pipeline", "load_config", "backtest", "Detector", "build_detector"} <= {
        *stream_detector.__all__
    }


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Pipelin'"):
        stream_detector.Pipelin  # noqa: B018


def test_type_checkers_see_the_names(tmp_path):
    code = tmp_path / "seen.py"
    code.write_text(
        "from stream_detector import Pipeline, backtest, load_config\n"
        "reveal_type(Pipeline(load_config('a')).process([]).scores)\n"
        "reveal_type(backtest({}, 'a').figures)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", str(code)],
        cwd=Path(stream_detector.__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert ran.returncode == 0, ran.stdout
    assert "ndarray" in ran.stdout
    assert "dict[" in ran.stdout


# --- the same bytes ------------------------------------------------------------------------------


def by_the_daemon() -> tuple[bytes, list[bytes | None], str]:
    """Scores, alerts and fingerprint as the pipeline inside the daemon gives them."""
    config = configuration()
    pipeline = new_pipeline(config)
    plain = [record._replace(timestamp=-1, key=None) for record in records(COUNT)]
    outcomes = run_in_cuts(pipeline, config, plain, [700, 1234])
    scores = np.concatenate([each.scores for each in outcomes])
    alerts = [alert.value for each in outcomes for alert in each.alerts]
    return scores.tobytes(), alerts, pipeline.fingerprint


@pytest.mark.parametrize(
    "cut",
    [
        pytest.param(lambda: [LINES], id="JSON lines"),
        pytest.param(lambda: [VALUES], id="list of bytes"),
        pytest.param(lambda: [EVENTS], id="list of dicts"),
        pytest.param(lambda: [(event for event in EVENTS)], id="generator"),
        pytest.param(lambda: [EVENTS[:17], VALUES[17:1000], EVENTS[1000:]], id="in cuts"),
        pytest.param(lambda: [*EVENTS[:400], EVENTS[400:]], id="one by one"),
    ],
)
def test_scores_alerts_and_fingerprint_are_the_daemons(cut):
    scores, alerts, fingerprint = by_the_daemon()
    pipeline = Pipeline(settings())
    results = [pipeline.process(events) for events in cut()]
    assert np.concatenate([each.scores for each in results]).tobytes() == scores
    assert [alert for each in results for alert in messages(each)] == alerts
    assert len(alerts) > 10
    assert pipeline.fingerprint == fingerprint


def test_a_back_test_of_a_file_gives_the_same_bytes_as_the_pipeline(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_bytes(LINES)
    tested = backtest(settings(), path, label="label")
    pipeline = Pipeline(settings(), source="events.jsonl")
    result = pipeline.process(LINES)
    assert tested.scores.tobytes() == result.scores.tobytes()
    assert [message.value for message in tested.scored.alerts] == messages(result)
    of_dicts = backtest(settings(), EVENTS, label="label")
    assert of_dicts.scores.tobytes() == tested.scores.tobytes()
    assert of_dicts.figures == tested.figures


def test_evaluate_prints_the_figures_of_backtest(tmp_path):
    path, config = tmp_path / "events.jsonl", tmp_path / "config.yaml"
    path.write_bytes(LINES)
    config.write_text(json.dumps(settings()))
    code = "import sys; from stream_detector.__main__ import main; sys.exit(main())"
    ran = subprocess.run(
        [
            sys.executable,
            "-c",
            code,
            "evaluate",
            str(config),
            *f"--data {path} --label label --json".split(),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=240,
    )
    printed = json.loads(ran.stdout)
    figures = backtest(config, path, label="label").figures
    assert figures["roc_auc"] > 0.5
    assert {name: printed[name] for name in figures} == figures


def test_the_bits_do_not_hang_on_the_number_of_threads():
    code = (
        "import sys, json; sys.path.insert(0, 'tests'); from support.streams import SETTINGS, "
        "records; from stream_detector import Pipeline; "
        "p = Pipeline({**SETTINGS, 'detector': {'kind': 'autoencoder'}}); "
        "p.process([r.value for r in records(1500)]); print(p.fingerprint)"
    )
    found = {
        run_python(code, OPENBLAS_NUM_THREADS=count, OMP_NUM_THREADS=count)
        for count in ("1", "2", "4")
    }
    assert len(found) == 1


def test_threads_are_held_to_one_inside_and_given_back_by_the_last_one_out():
    def threads() -> set[int]:
        return {pool["num_threads"] for pool in threadpoolctl.threadpool_info()}

    with threadpoolctl.threadpool_limits(2):
        before = threads()
        with one_thread():
            inside = threads()
            with one_thread():
                pass
            assert threads() == inside == {1}
        assert threads() == before


def test_two_threads_take_turns(tmp_path):
    pipeline = Pipeline(settings())
    workers = [
        threading.Thread(target=lambda: [pipeline.process(event) for event in EVENTS[:300]])
        for _ in range(2)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(200)
    assert pipeline.events_scored == 600


# --- state ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", [0, 1, 1000, 2999])
def test_a_pipeline_goes_on_from_its_bytes_with_the_same_bytes(stop):
    whole, first = Pipeline(settings()), Pipeline(settings())
    expected = whole.process(EVENTS)
    first.process(EVENTS[:stop])
    second = Pipeline.from_bytes(settings(), first.to_bytes())
    result = second.process(EVENTS[stop:])
    assert result.scores.tobytes() == expected.scores[stop:].tobytes()
    alerts = [m.value for m in expected.messages if m.offset >= stop]
    assert messages(result) == alerts
    assert second.fingerprint == whole.fingerprint


@pytest.mark.parametrize(
    "duplicate", [copy.copy, copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p))]
)
def test_copies_and_pickles_go_on_by_themselves(duplicate):
    pipeline = Pipeline(settings())
    pipeline.process(EVENTS[:1000])
    other = duplicate(pipeline)
    expected = pipeline.process(EVENTS[1000:]).scores.tobytes()
    assert other.events_scored == 1000
    assert other.process(EVENTS[1000:]).scores.tobytes() == expected


def test_a_pickle_holds_no_secret():
    changes = {
        "metrics": {"password": "hunter22", "username": "prometheus"},
        "kafka": {
            "bootstrap_servers": "localhost:9092",
            "topics": ["a"],
            "group": "g",
            "alerts": "b",
            "dead_letters": "c",
            "security": {
                "protocol": "SASL_SSL",
                "mechanism": "PLAIN",
                "username": "u",
                "password": "hunter33",
            },
        },
    }
    pipeline = Pipeline(settings(**changes))
    assert b"hunter" not in pickle.dumps(pipeline)
    assert b"hunter" not in pipeline.to_bytes()


def test_a_state_of_another_configuration_is_refused_and_the_difference_named():
    data = Pipeline(settings()).to_bytes()
    with pytest.raises(StateMismatchError, match=r"detector.seed: was 0, is 1"):
        Pipeline.from_bytes(settings(detector={"kind": "adaptive_ensemble", "seed": 1}), data)


@pytest.mark.parametrize("data", [b"", b"nothing", pickle.dumps({"a": 1})])
def test_bytes_that_are_no_state_are_refused(data):
    with pytest.raises(StateError):
        Pipeline.from_bytes(settings(), data)


def test_a_path_in_the_place_of_bytes_is_refused_plainly():
    with pytest.raises(TypeError, match=r"read_bytes"):
        Pipeline.from_bytes(settings(), "state.bin")  # type: ignore[arg-type]


def test_the_snapshot_of_a_daemons_shard_is_opened_and_the_other_way_round():
    metrics = Metrics(severities=())
    pipeline = Pipeline(settings())
    pipeline.process(EVENTS[:1500])
    shard = Shard(0, configuration(), metrics)
    shard.restore(decode(pipeline.to_bytes()))
    assert shard.pipeline.fingerprint == pipeline.fingerprint
    assert shard.restored_positions() == {}
    data = bytes(encode(shard.snapshot({"written_at": 0.0})))
    opened = Pipeline.from_bytes(settings(), data)
    expected = pipeline.process(EVENTS[1500:])
    assert opened.process(EVENTS[1500:]).scores.tobytes() == expected.scores.tobytes()


def test_the_daemon_starts_from_the_bytes_where_the_page_says(tmp_path):
    kafka = {"bootstrap_servers": "x:1", "topics": ["e"], "group": "g", "alerts": "a"}
    kafka["dead_letters"] = "d"
    config = configuration(kafka=kafka, state={"directory": str(tmp_path)})
    pipeline = Pipeline(settings())
    pipeline.process(EVENTS[:1000])
    place = tmp_path / "g" / "shard-0" / "00000000000000000000.snapshot"
    place.parent.mkdir(parents=True)
    place.write_bytes(pipeline.to_bytes())
    store = snapshot_stores(config, config.kafka)(0)
    shard = open_shard(0, config, store, Metrics(severities=()))
    assert shard.pipeline.sequence == 1000
    assert shard.pipeline.fingerprint == pipeline.fingerprint


def test_after_an_interruption_while_learning_nothing_goes_on(monkeypatch):
    pipeline = Pipeline(settings())
    pipeline.process(EVENTS[:40])

    def interrupted(*_arguments: Any, **_named: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline._core.champion, "learn", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pipeline.process(EVENTS[40:200])
    monkeypatch.undo()
    for call in (lambda: pipeline.process(EVENTS[200]), pipeline.to_bytes):
        with pytest.raises(StateError, match="interrupted"):
            call()


def test_a_generator_that_fails_says_how_far_it_came_and_leaves_a_sound_state():
    def failing():
        yield from EVENTS[:100]
        raise OSError("gone")

    pipeline = Pipeline(settings())
    with pytest.raises(OSError, match="gone"):
        pipeline.process(failing())
    assert pipeline.process(EVENTS[100]).scores.shape == (1,)


# --- results -------------------------------------------------------------------------------------


def test_a_result_reads_well():
    result = Pipeline(settings()).process(LINES)
    text = repr(result)
    assert text.startswith("3,000 events, 3,000 scored, ")
    assert "held back" in text
    assert "1 in " in text
    assert "%  " in text
    first = result.alerts[0]
    record = result[first["row"]]
    assert record["alert"] == first
    assert record["reasons"] == first["reasons"] != []
    assert record["raised"] is True
    assert record["score"] == first["score"] == result.scores[first["row"]]
    assert len(result.records()) == len(result) == len(list(result)) == COUNT
    columns = result.to_dict()
    assert set(map(len, columns.values())) == {COUNT}
    assert columns["reason"][first["row"]] == first["reasons"][0]["feature"]


def test_text_of_events_is_escaped_in_a_notebook_and_on_a_terminal():
    pipeline = Pipeline(
        {
            "name": "x",
            "features": [{"numeric": "<b>a"}, {"categorical": "k"}],
            "threshold": {"score": -1e9, "burn_in": 0},
        }
    )
    result = pipeline.process([{"<b>a": 1.0, "k": "<script>\x1b[2J"}] * 40)
    assert len(result.alerts) == 40
    assert "<script>" not in result._repr_html_()
    assert "<b>a" not in result._repr_html_()
    assert "\x1b" not in repr(result) + result._repr_html_()


def test_rejected_events_are_warned_of_with_field_and_advice():
    pipeline = Pipeline(settings())
    bad = [EVENTS[0], {**EVENTS[1], "amount": "much"}, {"id": "x", "time": 1}]
    with pytest.warns(RejectedEventsWarning, match=r"2 of 3 events were rejected.*amount"):
        result = pipeline.process(bad)
    assert [each.row for each in result.rejected] == [1, 2]
    assert np.isnan(result.scores).tolist() == [False, True, True]
    assert result[1]["rejected"].startswith("event 1: ")
    assert "amount" in result[1]["rejected"]
    assert result[1]["score"] is None
    assert result.rejected[0].field == "amount"
    assert "categorical: amount" in result.rejected[0].remedy
    assert "rejected event 1" in repr(result)
    assert pipeline.events_scored == 1


def test_a_back_test_reads_well():
    tested = backtest(settings(), EVENTS, label="label", skip=500)
    text = repr(tested)
    assert text.startswith("test: adaptive_ensemble\n")
    assert "roc auc" in text
    assert "1 in " in text
    assert tested._repr_html_().startswith("<pre>")
    assert tested.figures["skipped"] == 500
    columns = tested.to_dict()
    assert {len(column) for column in columns.values()} == {COUNT}
    other = backtest(settings(detector={"kind": "half_space_forest"}), EVENTS, label="label")
    compared = tested.compare(other)
    assert len(compared.comparison.figures) == 2
    assert "roc_auc" in compared.comparison.differences[1, 0]
    assert "half_space_forest against adaptive_ensemble" in repr(compared)
    assert compared._repr_html_().startswith("<pre>")


def test_a_label_that_no_event_has_is_said():
    with pytest.warns(UserWarning, match="no event has a label in 'lable'"):
        assert backtest(settings(), EVENTS[:100], label="lable").figures["roc_auc"] is None


# --- labels --------------------------------------------------------------------------------------

LABELLED = {"labels": {"field": "label", "delay": "6h", "risk": [{"key": "user"}]}}


def test_late_labels_are_learnt():
    unlabelled = [{k: v for k, v in event.items() if k != "label"} for event in EVENTS]
    config = settings(**LABELLED)
    told, untold = (Pipeline(config, late_labels=True) for _ in range(2))
    for pipeline in (told, untold):
        pipeline.process(unlabelled[:1000])
    labels = {event["id"]: event["label"] for event in EVENTS[:1000]}
    found = told.label(labels)
    assert 0 < found <= 1000
    assert told.label({"nobody": 1}) == 0
    for pipeline in (told, untold):
        pipeline.process(unlabelled[1000:])
    assert told.fingerprint != untold.fingerprint


def test_labels_that_are_given_teach_what_labels_in_the_event_do():
    labels = {"field": "label", "delay": "2h", "keep_first": 500, "risk": [{"key": "user"}]}
    learner = {"kind": "classifier", "min_positives": 5, "replay": 5, "replay_rows": 500}
    config = settings(labels=labels, detector=learner)
    expected = Pipeline(config).process(EVENTS[:2000])
    pipeline = Pipeline(config, late_labels=True)
    scores = []
    for start in range(0, 2000, 20):
        some = EVENTS[start : start + 20]
        unlabelled = [{k: v for k, v in event.items() if k != "label"} for event in some]
        scores.append(pipeline.process(unlabelled).scores)
        assert pipeline.label({event["id"]: event["label"] for event in some}) == 20
        if start == 1000:
            pipeline = Pipeline.from_bytes(config, pipeline.to_bytes())
    assert np.concatenate(scores).tobytes() == expected.scores.tobytes()
    assert pipeline._core.detector.score_scale == 1  # the classifier has taken over


@pytest.mark.parametrize(
    ("labels", "error", "says"),
    [
        ({"e1": "perhaps"}, ValueError, "perhaps"),
        ({"e1": None}, ValueError, "e1"),
        ([("e1", 1)], TypeError, "{id: label}"),
    ],
)
def test_labels_that_are_none_are_refused(labels, error, says):
    pipeline = Pipeline(settings(**LABELLED), late_labels=True)
    pipeline.process(EVENTS[:10])
    with pytest.raises(error, match=says):
        pipeline.label(labels)


def test_labels_need_to_be_asked_for():
    with pytest.raises(ConfigurationError, match="late_labels=True"):
        Pipeline(settings()).label({"e1": 1})
    with pytest.raises(ConfigurationError, match="section `labels`"):
        Pipeline(settings(), late_labels=True)


# --- configurations and detectors ----------------------------------------------------------------


def test_a_configuration_comes_from_file_dict_or_object(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("name: ${NAME}\nfeatures: [{numeric: amount}]\n")
    loaded = load_config(path, environment={"NAME": "here"})
    assert loaded.name == "here"
    same = load_config({"name": "here", "features": [{"numeric": "amount"}]})
    assert same == loaded
    assert Pipeline(loaded).config is loaded
    assert load_config(str(path), environment={"NAME": "a"}, overrides={"name": "b"}).name == "b"
    small = np.float64(1e-07)
    given = {"name": "n", "features": [{"numeric": "a"}], "threshold": {"score": small}}
    assert load_config(given).threshold.score == 1e-07


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"name": "x", "features": [{"numerc": "a"}]}, r"<dict>: features\[0\]"),
        ({"name": "x", "features": [{"numeric": "a"}], "windows": {1, 2}}, "windows: set"),
        ({1: "x"}, "the key 1 is no text"),
        ("name: x\nfeatures: []\n", "given as text"),
        ("no/such/file.yaml", "cannot be read"),
        (None, "a path or a dict, not NoneType"),
        (["a"], "a path or a dict, not list"),
    ],
)
def test_a_wrong_configuration_says_what_is_wrong(given, says):
    with pytest.raises(ConfigurationError, match=says) as found:
        Pipeline(given)
    assert "None:None" not in str(found.value)


@pytest.mark.parametrize("kind", [kind for kind in kinds() if kind != "river"])
def test_a_detector_by_name_refuses_rows_of_a_wrong_shape(kind):
    detector = build_detector(kind, 3, seed=1)
    seventeen = np.zeros((17, 3))
    narrow = np.zeros((32, 2))
    if detector.block_rows > 1:
        with pytest.raises(ValueError, match="multiple of 32 rows, got 17"):
            detector.score(Rows(seventeen, seventeen))
    for call in (detector.score, detector.learn):
        with pytest.raises(ValueError, match=r"expected float64 \(32, 3\), got float64 \(32, 2\)"):
            call(Rows(narrow, narrow))
    with pytest.raises(ValueError, match="expected Rows, got ndarray"):
        detector.learn(seventeen)
    with pytest.raises(ValueError, match=r"labels: expected float64 \(17,\), got list"):
        detector.learn(Rows(seventeen, seventeen), [1.0] * 17)


@pytest.mark.parametrize(
    ("arguments", "named", "says"),
    [
        (("ensmble", 3), {}, "expected one of adaptive_ensemble"),
        (("autoencoder", 3), {"hiden": 3}, "hiden"),
        (("autoencoder", 0), {}, "features"),
    ],
)
def test_a_detector_that_cannot_be_says_why(arguments, named, says):
    with pytest.raises((ConfigurationError, ValueError), match=says):
        build_detector(*arguments, **named)


def test_a_backtest_of_a_large_file_works_in_a_script_without_a_guard(tmp_path: Path) -> None:
    """A process of its own for reading would run the script again, which has no ``__main__``."""
    rows = tmp_path / "rows.csv"
    rows.write_text("x,y\n" + "".join(f"{i % 97},{'z' * 100}\n" for i in range(21_000)))
    assert rows.stat().st_size > AHEAD_BYTES
    script = tmp_path / "script.py"
    script.write_text(
        "from stream_detector import backtest\n"
        "config = {'name': 's', 'features': [{'numeric': 'x'}], "
        "'detector': {'kind': 'half_space_forest', 'trees': 1, 'depth': 1}}\n"
        f"print(len(backtest(config, {str(rows)!r}).scored.scores))\n"
    )
    ran = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False, timeout=120
    )
    assert (ran.returncode, ran.stdout) == (0, "21000\n"), ran.stderr
