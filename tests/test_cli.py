"""The commands, as a user types them."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from kafka_broker.clients import Message, create_topic, produce, unique_name
from support.commands import call, run
from support.process import DaemonProcess
from support.streams import SETTINGS, records

from stream_detector.cli import build_parser
from stream_detector.report.alert_text import readable


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    settings = {**SETTINGS, "state": {"directory": str(tmp_path / "state")}}
    path.write_text(yaml.safe_dump(settings))
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"\n".join(record.value or b"" for record in records(4000)) + b"\n")
    return path


def commands() -> dict[str, argparse.ArgumentParser]:
    parser = build_parser()
    (action,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    return dict(action.choices)


def test_every_command_that_is_promised_is_there() -> None:
    wanted = {"demo", "run", "check", "evaluate", "tune", "train", "simulate", "alerts", "init"}
    assert wanted | {"schema"} <= set(commands())


@pytest.mark.parametrize("name", sorted(commands()))
def test_each_help_ends_with_an_example_that_parses(name: str) -> None:
    help_text = commands()[name].format_help()
    assert "example" in help_text.lower()
    example = help_text.lower().rindex("example")
    line = next(
        line.strip() for line in help_text[example:].splitlines() if "stream-detector " in line
    )
    words = line.split("stream-detector ", 1)[1].split(">")[0].split("|")[0].split()
    assert build_parser().parse_args(words).command == name


FIGURES = {
    "events",
    "rejected",
    "positives",
    "alerts",
    "roc_auc",
    "average_precision",
    "precision",
    "recall",
    "f1",
    "confusion_matrix",
    "precision_at_100_per_day",
}


def test_evaluate_prints_all_figures_as_json(config: Path, data: Path) -> None:
    done = run("evaluate", str(config), "--data", str(data), "--label", "label", "--json")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert set(figures) >= FIGURES
    assert figures["events"] == 4000
    assert figures["rejected"] == 0
    assert 40 < figures["positives"] < 160
    assert figures["roc_auc"] > 0.9
    (tn, fp), (fn, tp) = figures["confusion_matrix"]
    assert tn + fp + fn + tp == 4000
    assert fn + tp == figures["positives"]
    assert figures["precision"] == pytest.approx(tp / (tp + fp))
    assert figures["recall"] == pytest.approx(tp / (tp + fn))


def test_without_labels_the_figures_they_make_are_null(config: Path, data: Path) -> None:
    figures = json.loads(run("evaluate", str(config), "--data", str(data), "--json").stdout)
    assert figures["events"] == 4000
    for name in ("positives", "roc_auc", "average_precision", "confusion_matrix", "f1"):
        assert figures[name] is None
    assert run("evaluate", str(config), "--data", str(data)).returncode == 0


def test_a_label_that_is_a_feature_is_refused(config: Path, data: Path) -> None:
    done = run("evaluate", str(config), "--data", str(data), "--label", "amount")
    assert done.returncode == 2
    assert "--label amount" in done.stderr


def test_check_lists_every_mistake_with_its_line_and_exits_2(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(
        "name: x\nfeatures:\n  - numeric: a\ntreshold: {budget: 1 %}\nstate: {keep: 0}\n"
    )
    done = run("check", str(path))
    assert done.returncode == 2
    assert f"{path}:4:1" in done.stderr
    assert "threshold" in done.stderr
    assert f"{path}:5:" in done.stderr
    assert "Traceback" not in done.stderr


def test_schema_prints_the_stored_schema() -> None:
    stored = Path(__file__).resolve().parents[1] / "config" / "stream-detector.schema.json"
    assert json.loads(run("schema").stdout) == json.loads(stored.read_text())


def test_demo_finds_planted_attacks_and_ends_with_a_summary() -> None:
    done = run("demo", "--events", "60000")
    assert done.returncode == 0, done.stderr
    figures = {
        line[:20].strip(): line[20:].split()[0]
        for line in done.stdout.splitlines()
        if line[:20].strip() in ("events", "alerts", "planted attacks", "found of them")
    }
    # Of 60,000, incidents of rate take some and add some.
    assert 58_000 < int(figures["events"].replace(",", "")) < 62_000
    assert "the strongest alert of a monitor:" in done.stdout
    assert "payments: " in done.stdout
    assert int(figures["alerts"].replace(",", "")) > 10
    assert 0 < int(figures["found of them"]) <= int(figures["planted attacks"])


def test_a_trained_snapshot_is_what_run_starts_from(
    kafka, config: Path, data: Path, tmp_path: Path
) -> None:
    names = [create_topic(kafka.bootstrap, unique_name(n), 1) for n in ("in", "out", "dead")]
    settings = yaml.safe_load(config.read_text())
    settings["kafka"] = {
        "bootstrap_servers": kafka.bootstrap,
        "topics": [names[0]],
        "group": unique_name("group"),
        "alerts": names[1],
        "dead_letters": names[2],
    }
    settings["metrics"] = {"port": 0}
    config.write_text(yaml.safe_dump(settings))
    done = run("train", str(config), "--data", str(data))
    assert done.returncode == 0, done.stderr
    again = run("train", str(config), "--data", str(data))
    assert again.returncode == 2
    assert "--replace" in again.stderr
    later = records(4500)[4000:]
    produce(kafka.bootstrap, names[0], [Message(r.value) for r in later])
    with DaemonProcess(tmp_path, settings) as daemon:
        daemon.wait_ready().wait_processed(500)
        assert "continues after 4000 events" in daemon.text()
        alerts = daemon.metric("alerts_total")
        assert daemon.stop() == 0
    assert alerts > 0  # an untrained model would still be in its burn-in
    shown = run("alerts", str(config), "--from-beginning", "--count", str(int(alerts)))
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.count(f"{names[0]}-0-") == alerts


def test_what_an_event_contains_cannot_steer_the_terminal() -> None:
    alert = {
        "event_time": "t",
        "severity": "low",
        "id": "x",
        "score": 1.0,
        "threshold": 0.5,
        "rarity": 10.0,
        "reasons": [{"feature": "a", "value": "\x1b[2J\nfake", "share": 1.0}],
    }
    shown = readable(json.dumps(alert).encode())
    assert "\x1b" not in shown
    assert "fake" in shown
    assert readable(b"\x1b[2J") == "not an alert: b'\\x1b[2J'"


def test_what_was_guessed_about_a_file_is_said_by_a_back_test(tmp_path: Path) -> None:
    data = tmp_path / "data.csv"
    data.write_bytes(b"amount,shop\n" + "12.5,Café\n3.5,Bar\n".encode("cp1252") * 40)
    config = tmp_path / "config.yaml"
    config.write_text(
        "name: cafe\nfeatures:\n  - numeric: amount\ndetector: {kind: half_space_forest}\n"
    )
    done = call("evaluate", str(config), "--data", str(data))
    assert done.returncode == 0, done.stderr
    assert "note: the text is not UTF-8" in done.stderr
    assert "--encoding" in done.stderr


def test_a_signal_while_the_process_ends_does_not_change_how_it_ended() -> None:
    """A supervisor reads the exit code: 3, the broker, is not "killed by signal 15"."""
    code = (
        "import atexit, os, signal\n"
        "from stream_detector import __main__ as command\n"
        "command.main = lambda: 3\n"
        "for number in (signal.SIGTERM, signal.SIGINT):\n"
        "    atexit.register(os.kill, os.getpid(), number)\n"
        "command.entry()\n"
    )
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, check=False, timeout=60, capture_output=True)
    assert ended.returncode == 3, ended.stderr
