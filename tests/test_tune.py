"""Tuning: what is tried, what it is judged by, and the file that comes out."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from support.commands import call, run
from support.process import wait_until
from support.streams import SETTINGS, SOURCE, bytes_of, configuration, new_pipeline, run_in_cuts
from support.streams import records as strange_records

from stream_detector.cli import tune as tune_command
from stream_detector.config.derived.rewrite import NotRewritableError, rewrite_detector
from stream_detector.config.loading.load import parse
from stream_detector.config.models.config import DetectorConfig
from stream_detector.connectors.memory import MemorySource
from stream_detector.detectors.classifier import Classifier
from stream_detector.detectors.registry import BUILT_IN
from stream_detector.detectors.search_space import log_uniform
from stream_detector.errors import ConfigurationError
from stream_detector.evaluation.feature_replay import Recording, record, replay
from stream_detector.evaluation.paired_comparison import Estimate
from stream_detector.evaluation.search_space import changes, draw_detector
from stream_detector.evaluation.side_by_side import SideBySide
from stream_detector.evaluation.tuning import tune
from stream_detector.events import PlainRecord
from stream_detector.report.tuning_evidence import Data, summary

LABELS = {"field": "label", "delay": "1m"}
SLOW = {
    "kind": "classifier",
    "trees": False,
    "recent": False,
    "learning_rate": 1e-06,
    "min_positives": 5,
}
"""A classifier that hardly learns: anything else is better."""

SPACES = {
    kind: each.detector.search_space
    for kind, each in BUILT_IN.items()
    if each.detector.search_space
}


def detector(**fields) -> DetectorConfig:
    return configuration(detector=fields, labels=LABELS).detector


# --- what may be tried ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(SPACES))
def test_every_value_that_is_drawn_is_one_that_the_configuration_takes(kind):
    original = detector(kind=kind)
    random = np.random.default_rng(0)
    seen: dict[str, set[str]] = {name: set() for name in SPACES[kind]}
    for _ in range(200):
        drawn = draw_detector(original, SPACES[kind], random)
        changed = changes(original, drawn)
        assert set(changed) <= set(SPACES[kind])
        assert type(original).model_validate(json.loads(drawn.model_dump_json())) == drawn
        for name, value in changed.items():
            seen[name].add(repr(value))
    assert all(seen.values())


def test_every_kind_but_river_has_a_space_and_the_parameters_that_matter():
    assert set(SPACES) == set(BUILT_IN) - {"river"}
    wanted = {
        "autoencoder": {"hidden", "learning_rate", "alpha", "passes", "refuse_share", "clip"},
        "classifier": {
            "hidden",
            "learning_rate",
            "alpha",
            "replay",
            "resampling",
            "positive_share",
            "trees",
            "clip",
        },
        "ensemble": {"half_life", "autoencoder", "refuse_share"},
        "adaptive_ensemble": {"half_life"},
    }
    for kind, names in wanted.items():
        assert names <= set(SPACES[kind])


def test_a_value_that_was_chosen_is_kept_in_half_of_the_candidates():
    original = detector(kind="classifier", clip=7.5)
    random = np.random.default_rng(0)
    drawn = [draw_detector(original, SPACES["classifier"], random) for _ in range(400)]
    kept = sum(each.clip == 7.5 for each in drawn)
    assert 0.3 < kept / 400 < 0.6


def test_a_log_uniform_value_is_as_often_below_the_geometric_mean_as_above():
    random = np.random.default_rng(0)
    values = [log_uniform(1e-4, 1e-2)(random) for _ in range(1000)]
    assert min(values) >= 1e-4
    assert max(values) <= 1e-2
    assert np.mean(np.array(values) < 1e-3) == pytest.approx(0.5, abs=0.06)
    assert all(len(f"{value:e}".split("e")[0].rstrip("0")) <= 4 for value in values)


# --- replay --------------------------------------------------------------------------------------


@contextmanager
def recorded(config, some):
    with tempfile.TemporaryFile() as file:
        yield record(config, MemorySource({SOURCE: some}, 700), file)


@pytest.mark.parametrize("kind", sorted(SPACES))
def test_a_replay_gives_the_bits_of_the_pipeline(kind):
    some = strange_records(3000)
    config = configuration(detector={"kind": kind, "seed": 3}, labels=LABELS)
    outcomes = run_in_cuts(new_pipeline(config), config, some, [700, 1900])
    with recorded(configuration(detector={"kind": "loda"}, labels=LABELS), some) as recording:
        scores = replay(recording, config.detector, 3000)
        assert scores is not None
        assert scores.tobytes() == bytes_of(outcomes)[0]
        again = replay(recording, config.detector, 1234)
        assert again is not None
        assert again.tobytes() == scores[:1234].tobytes()


def test_a_recording_has_the_scores_of_the_configured_detector_and_no_alerts():
    some = strange_records(2500)
    config = configuration(labels=LABELS)
    outcomes = run_in_cuts(new_pipeline(config), config, some, [])
    assert sum(len(outcome.alerts) for outcome in outcomes) > 0
    with recorded(config, some) as recording:
        assert recording.scored.scores.tobytes() == bytes_of(outcomes)[0]
        assert recording.scored.alert_count == 0
        assert not recording.scored.raised.any()


def test_a_record_that_is_rejected_is_in_no_recording():
    some = strange_records(2000)
    some[100] = some[100]._replace(value=b"no JSON")
    with recorded(configuration(labels=LABELS), some) as recording:
        assert len(recording) == 1999
        assert 100 not in recording.scored.rows
        assert recording.scored.rejected


# --- the search ----------------------------------------------------------------------------------


def learnable(count=3000, seed=0, noise=0.3):
    """(fields, labels): whether two numbers lie on the same side, which only labels tell."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(count, 3))
    score = x[:, 0] * x[:, 1] + noise * random.normal(size=count)
    return x, (score > np.quantile(score, 0.9)).astype(int)


FEATURES = [{"numeric": name} for name in ("f0", "f1", "f2")]


def config_of(detector_fields):
    settings = {
        "name": "test",
        "features": FEATURES,
        "detector": detector_fields,
        "labels": LABELS,
    }
    return parse(json.dumps(settings), "test.yaml", {}).config


@contextmanager
def recording_of(detector_fields, x, labels):
    some = [
        PlainRecord(i, -1, None, json.dumps({"f0": a, "f1": b, "f2": c, "label": int(y)}).encode())
        for i, ((a, b, c), y) in enumerate(zip(x.tolist(), labels, strict=True))
    ]
    with recorded(config_of(detector_fields), some) as recording:
        yield recording


@pytest.fixture(scope="module")
def slow() -> Recording:
    with recording_of(SLOW, *learnable()) as recording:
        yield recording


@pytest.fixture(scope="module")
def slow_tuned(slow):
    return tune(slow, trials=8)


def test_what_learns_is_found_and_better_where_nothing_was_chosen(slow_tuned):
    assert slow_tuned.better
    assert slow_tuned.detector.learning_rate > 1e-5 or slow_tuned.detector.trees
    assert slow_tuned.confirmation.differences[1, 0]["average_precision"].verdict == "better"
    held_out = slow_tuned.held_out.differences[1, 0]["average_precision"]
    assert held_out.verdict == "better"
    assert held_out.value > 0.1
    assert slow_tuned.parts == (1800, 600, 600)


def test_half_of_the_candidates_go_on_to_each_larger_part(slow_tuned):
    assert sorted(len(trial.figures) for trial in slow_tuned.trials) == [1] * 4 + [2] * 2 + [3] * 2
    for rung in range(2):
        went_on = [t.figures[rung] for t in slow_tuned.trials if len(t.figures) > rung + 1]
        left = [t.figures[rung] for t in slow_tuned.trials if len(t.figures) == rung + 1]
        assert min(went_on) >= max(left)
    assert slow_tuned.best.figures[-1] == max(
        trial.figures[-1] for trial in slow_tuned.trials if trial.finished
    )


def test_the_number_of_trials_and_the_seed_fix_everything(slow, slow_tuned):
    again = tune(slow, trials=8)
    assert [t.detector for t in again.trials] == [t.detector for t in slow_tuned.trials]
    assert [t.figures for t in again.trials] == [t.figures for t in slow_tuned.trials]
    assert again.held_out == slow_tuned.held_out
    assert again.confirmation == slow_tuned.confirmation
    other = tune(slow, trials=8, seed=1)
    assert [t.detector for t in other.trials] != [t.detector for t in slow_tuned.trials]


@contextmanager
def side_by_side(recording, directory, jobs=2, give_up=lambda: False):
    """The same recording, with its features in a file that has a name; and who replays it."""
    named = np.memmap(directory / "features", np.float64, "w+", shape=recording.features.shape)
    named[:] = recording.features
    named.flush()
    recording = replace(recording, features=named)
    with SideBySide(recording, directory, jobs, give_up, lambda _count: None) as replays:
        yield replays


def test_candidates_side_by_side_find_the_very_same(slow, slow_tuned, tmp_path):
    seen = []
    with side_by_side(slow, tmp_path) as replays:
        found = tune(slow, trials=8, replays=replays)
        seen = [process.pid for process in replays.processes]
    assert len(seen) == 2
    assert found == slow_tuned
    assert not any(pid == child.pid for child in multiprocessing.active_children() for pid in seen)


def test_a_process_that_dies_costs_no_candidate(slow, slow_tuned, tmp_path, caplog):
    with side_by_side(slow, tmp_path) as replays:
        replays.start(2)
        for process in replays.processes[:1]:
            process.kill()
        found = tune(slow, trials=8, replays=replays)
    assert found == slow_tuned
    assert "for want of memory" in caplog.text
    with side_by_side(slow, tmp_path) as replays:
        replays.start(2)
        for process in replays.processes:
            process.kill()
        assert tune(slow, trials=8, replays=replays) == slow_tuned


def test_what_fails_in_a_process_fails_here_as_ever(slow, tmp_path):
    bad = slow.config.detector.model_copy(update={"hidden": [-1]})
    with side_by_side(slow, tmp_path) as replays:
        with pytest.raises(Exception) as here:
            replay(slow, bad, 500)
        with pytest.raises(type(here.value)):
            list(replays([bad], 500))


def test_a_search_side_by_side_that_is_given_up_ends_its_processes(slow, tmp_path):
    calls = iter(range(1000))
    with side_by_side(slow, tmp_path, give_up=lambda: next(calls) > 3) as replays:
        found = tune(slow, give_up=lambda: next(calls) > 3, replays=replays)
        assert not replays.processes
    assert "more time" in found.reason


def test_a_longer_search_begins_like_a_shorter_one(slow, slow_tuned):
    longer = tune(slow, trials=10)
    assert [t.detector for t in longer.trials[:8]] == [t.detector for t in slow_tuned.trials]
    assert longer.trials[0].figures[0] == slow_tuned.trials[0].figures[0]


@pytest.mark.parametrize("part", ["confirmation", "held-out"])
def test_labels_of_a_later_part_choose_nothing_before_it(slow_tuned, part):
    x, labels = learnable()
    first = 1800 if part == "confirmation" else 2400
    labels[first:] = np.random.default_rng(9).permutation(labels[first:])
    with recording_of(SLOW, x, labels) as recording:
        found = tune(recording, trials=8)
    assert [t.figures for t in found.trials] == [t.figures for t in slow_tuned.trials]
    assert found.best.number == slow_tuned.best.number
    if part == "held-out":
        assert found.confirmation == slow_tuned.confirmation
        assert found.detector == slow_tuned.detector
        assert found.held_out.differences[1, 0]["average_precision"].verdict == "undecided"
    else:
        assert not found.better  # with shuffled labels nothing is better than anything
        assert found.detector == found.original.detector


def test_what_is_better_is_what_the_criterion_says(slow):
    found = tune(slow, trials=3, criterion="roc_auc")
    assert found.original.figures[-1] > 0.3  # chance is .5 for ROC AUC, .1 for average precision
    assert found.reason == f"trial {found.best.number} is better on the confirmation part"
    with pytest.raises(ConfigurationError, match="no time"):
        tune(slow, trials=3, criterion="precision_at_100_per_day")


def test_a_held_out_part_that_disagrees_is_pointed_out(slow_tuned):
    data = Data("x.csv", 1, "0", 3000, "label", None)
    assert "Beware" not in summary(slow_tuned, data)
    turned = {
        pair: {name: Estimate(-e.value, -e.high, -e.low) for name, e in values.items()}
        for pair, values in slow_tuned.held_out.differences.items()
    }
    disagrees = replace(slow_tuned, held_out=replace(slow_tuned.held_out, differences=turned))
    assert "Beware" in summary(disagrees, data)
    assert "new parameters" in summary(disagrees, data)  # said, but not decided by


def test_where_labels_are_chance_the_original_stays():
    x, labels = learnable()
    labels = np.random.default_rng(5).permutation(labels)
    with recording_of({"kind": "classifier"}, x, labels) as recording:
        found = tune(recording, trials=4)
    assert not found.better
    assert found.detector == recording.config.detector
    assert "not better" in found.reason or "no candidate was better" in found.reason


def test_a_search_that_is_out_of_time_keeps_the_original_and_says_so(slow):
    calls = iter(range(1000))
    found = tune(slow, give_up=lambda: next(calls) > 3)
    assert not found.better
    assert "more time" in found.reason
    assert found.best is None
    assert found.confirmation is None
    assert len(found.held_out.figures) == 1


def test_a_small_space_is_searched_to_its_end(slow, monkeypatch):
    monkeypatch.setattr(Classifier, "search_space", {"replay": lambda _random: 1})
    found = tune(slow)
    assert [trial.changed for trial in found.trials] == [{"replay": 1}]


def test_folds_without_both_classes_are_left_out():
    x, labels = learnable()
    labels[:700] = 0  # the prefix of the first halving has no positive at all
    with recording_of(SLOW, x, labels) as recording:
        found = tune(recording, trials=4)
    assert np.isnan(found.original.figures[0])
    assert np.isfinite(found.original.figures[-1])
    assert all(len(trial.figures) >= 2 for trial in found.trials)


def test_a_search_part_without_positives_is_refused():
    x, labels = learnable(1000)
    labels[:700] = 0
    with (
        recording_of(SLOW, x, labels) as recording,
        pytest.raises(ConfigurationError, match="nothing to choose by"),
    ):
        tune(recording, trials=4)


# --- the file ------------------------------------------------------------------------------------

BLOCK = """\
name: x # why
features: [{ numeric: a }]

# About the detector.
detector:
  kind: loda # LODA
  # About bins.
  bins: 32 # a power of two
  # The end.

threshold: { budget: 1 % }
"""


@pytest.mark.parametrize(
    "text",
    [
        BLOCK,
        BLOCK.replace("  bins: 32 # a power of two\n", ""),
        "name: x\nfeatures: [{ numeric: a }]\ndetector: { kind: loda, bins: 32 } # flow\n",
        "name: x\nfeatures: [{ numeric: a }]\ndetector:\n  kind: loda",
        "name: x\ndetector:\n  kind: loda\n  bins:\n    32\nfeatures: [{ numeric: a }]\n",
        '{"name": "x", "features": [{"numeric": "a"}], "detector": {"kind": "loda"}}',
        "name: x\r\nfeatures: [{ numeric: a }]\r\ndetector:\r\n  kind: loda\r\n  bins: 32\r\n",
    ],
)
def test_only_the_detector_changes_in_the_file_and_every_comment_stays(text):
    new = rewrite_detector(text, {"bins": 64, "half_life": 1e-05}, "# evidence\n# of it\n")
    before, after = (parse(each, "test.yaml", {}).config for each in (text, new))
    wanted = before.detector.model_copy(update={"bins": 64, "half_life": 1e-05})
    assert after == before.model_copy(update={"detector": wanted})
    kept = [line for line in text.splitlines() if "bins" not in line and "detector" not in line]
    assert set(kept) - {"    32"} <= set(new.splitlines())
    for comment in ("# why", "# LODA", "# About bins.", "# a power of two", "# flow", "# The end."):
        assert (comment in text) == (comment in new)
    assert new.count("# evidence\n# of it\n") == 1


@pytest.mark.parametrize("end", ["\n", ""])
def test_a_file_without_the_section_gets_one_with_its_evidence_above(end):
    text = f"name: x\nfeatures: [{{ numeric: a }}]{end}"
    new = rewrite_detector(text, {"half_life": 5.0}, "# evidence\n")
    assert new.endswith("]\n# evidence\ndetector:\n  half_life: 5.0\n")


def test_a_list_in_either_style_is_replaced_whole():
    for hidden in ("[32, 16]", "\n    - 32\n    - 16 # narrow"):
        text = f"name: x\ndetector:\n  kind: classifier\n  hidden: {hidden}\n  clip: 3\n"
        new = yaml.safe_load(rewrite_detector(text, {"hidden": [8, 4]}))
        assert new["detector"] == {"kind": "classifier", "hidden": [8, 4], "clip": 3}


@pytest.mark.parametrize(
    "text",
    [
        "x: &h [1]\ndetector:\n  kind: classifier\n  hidden: *h\n",
        "x: &d {kind: classifier}\ndetector: *d\n",
        "detector:\n",
        "- a\n",
    ],
)
def test_what_cannot_be_changed_in_place_is_refused(text):
    with pytest.raises(NotRewritableError):
        rewrite_detector(text, {"hidden": [8]})


# --- the command ---------------------------------------------------------------------------------

SLOW_FILE = """\
name: slow # a name
features:
  - { numeric: f0 } # the first
  - { numeric: f1 }
  - { numeric: f2 }

# Learns from labels.
detector:
  kind: classifier
  learning_rate: 0.000001 # far too small
  trees: false # they would hide it
  recent: false # and so would these
  min_positives: 5

labels: { field: label, delay: 1m }
"""


@pytest.fixture
def slow_file(tmp_path: Path) -> tuple[str, str]:
    config, data = tmp_path / "slow.yaml", tmp_path / "events.npz"
    config.write_text(SLOW_FILE)
    x, labels = learnable(2500)
    np.savez(data, X=x, y=labels)
    return str(config), str(data)


def test_tune_writes_a_file_that_is_better_and_says_why(slow_file, tmp_path):
    config, data = slow_file
    output = tmp_path / "tuned.yaml"
    options = (config, "--data", data, "--trials", "4", "--output", str(output))
    done = run("tune", *options, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["better"]
    assert found["held_out"]["difference"]["average_precision"]["verdict"] == "better"
    text = output.read_text()
    tuned = parse(text, "tuned.yaml", {}).config
    assert tuned.detector.model_dump() == found["detector"]
    assert tuned == parse(SLOW_FILE, "slow.yaml", {}).config.model_copy(
        update={"detector": tuned.detector}
    )
    for comment in ("# a name", "# the first", "# Learns from labels.", "# far too small"):
        assert comment in text
    for evidence in (found["data"]["blake2b"], "--seed 0 --trials 4", "NumPy", "held-out part"):
        assert evidence in text

    refused = call("tune", *options)
    assert refused.returncode == 2
    assert "--force" in refused.stderr

    # The tuned file is tuned in turn: the old evidence goes.
    again = call("tune", str(output), *options[1:], "--force")
    assert again.returncode == 0, again.stderr
    text = output.read_text()
    assert text.count("stream-detector tune --seed") == 1
    assert text.count("(end of what tune has found)") == 1
    assert parse(text, "tuned.yaml", {}).config.features == tuned.features

    compared = call("evaluate", config, str(output), "--data", data, "--json")
    assert compared.returncode == 0, compared.stderr
    (difference,) = json.loads(compared.stdout)["differences"]
    assert difference["average_precision"]["verdict"] == "better"


def test_two_runs_of_as_many_trials_say_the_same(slow_file):
    config, data = slow_file
    first, second = (run("tune", config, "--data", data, "--trials", "3") for _ in range(2))
    assert first.returncode == 0, first.stderr
    assert first.stdout == second.stdout
    assert "learning_rate: 1e-06 ->" in first.stdout


def test_minutes_are_spent_on_candidates(slow_file, monkeypatch):
    # A clock of this process's own time: what a busy machine gives to others does not count.
    monkeypatch.setattr(tune_command, "time", SimpleNamespace(monotonic=time.process_time))
    config, data = slow_file
    done = call("tune", config, "--data", data, "--minutes", "0.1", "--jobs", "1", "--json")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["trials"]) >= 2


def _others_of(group: int) -> list[Path]:
    """Processes of a group that live, but for its leader."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            # State, parent, group: what has ended may wait long until somebody asks for its code.
            state, _, of_group = (path / "stat").read_text().rpartition(")")[2].split()[:3]
            if int(of_group) == group != int(path.name) and state != "Z":
                found.append(path)
    return found


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
def test_ctrl_c_ends_all_processes_and_shows_no_traceback(slow_file):
    config, data = slow_file
    command = [sys.executable, "-m", "stream_detector", "tune", config, "--data", data]
    begun = {"start_new_session": True, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen([*command, "--trials", "500", "--jobs", "2"], text=True, **begun) as all_:
        try:
            # As soon as they are there: in the midst of their imports.
            wait_until(lambda: len(_others_of(all_.pid)) >= 2, "its processes")
            os.killpg(all_.pid, signal.SIGINT)
            said, _ = all_.communicate(timeout=60)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(all_.pid, signal.SIGKILL)
    assert all_.returncode == 130
    assert "Traceback" not in said
    wait_until(lambda: not _others_of(all_.pid), "the end of its processes")


def test_an_original_that_stays_is_written_with_the_reason(slow_file, tmp_path):
    config, data = slow_file
    output = tmp_path / "kept.yaml"
    arguments = ("--data", data, "--minutes", "0.0001", "--output", str(output))
    done = call("tune", config, *arguments)
    assert done.returncode == 0, done.stderr
    assert "the original is kept" in done.stdout
    text = output.read_text()
    assert [line for line in text.splitlines() if line in SLOW_FILE.splitlines()] == (
        SLOW_FILE.splitlines()
    )
    assert "# result: the original is kept" in text


def test_values_of_set_stand_in_the_file_that_is_written(slow_file, tmp_path):
    config, data = slow_file
    output = tmp_path / "tuned.yaml"
    given = ("--set", "detector.min_positives=7", "--output", str(output), "--trials", "2")
    done = call("tune", config, "--data", data, *given)
    assert done.returncode == 0, done.stderr
    assert parse(output.read_text(), "x", {}).config.detector.min_positives == 7


def test_a_file_without_a_detector_gets_the_tuned_one_with_its_kind(tmp_path):
    config, data, output = (tmp_path / name for name in ("c.yaml", "events.jsonl", "tuned.yaml"))
    settings = {name: value for name, value in SETTINGS.items() if name != "detector"}
    config.write_text(yaml.safe_dump({**settings, "labels": LABELS}))
    data.write_bytes(b"\n".join(each.value or b"" for each in strange_records(3000)))
    done = call("tune", str(config), "--data", str(data), "--trials", "1", "--output", str(output))
    assert done.returncode == 0, done.stderr
    assert parse(output.read_text(), "x", {}).config.detector.kind == "adaptive_ensemble"


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        ({}, (), "tune needs labels"),
        ({"detector": {"kind": "river", "model": "river.anomaly.HalfSpaceTrees"}}, (), "no search"),
        ({"labels": LABELS}, ("--trials", "0"), "--trials"),
        ({"labels": LABELS}, ("--minutes", "0"), "--minutes"),
        ({"labels": LABELS}, ("--data", "-"), "needs a file"),
    ],
)
def test_what_cannot_come_to_a_good_end_is_refused(tmp_path, change, arguments, message):
    config, data = tmp_path / "config.yaml", tmp_path / "events.jsonl"
    config.write_text(yaml.safe_dump({**SETTINGS, **change}))
    data.write_bytes(b"\n".join(each.value or b"" for each in strange_records(200)))
    done = call("tune", str(config), "--data", str(data), *arguments)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
