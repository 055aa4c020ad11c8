"""Processes that are forked from a warm one behave as those that begin by themselves."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from support import guard, warm
from support.commands import run
from support.process import wait_until

pytestmark = pytest.mark.skipif(guard.VARIABLE not in os.environ, reason="no guard, no forks")

WAITS = """
name: waits
kafka: {bootstrap_servers: "127.0.0.1:1", topics: [t], group: g, alerts: a, dead_letters: d}
features: [{numeric: x}]
metrics: {enabled: false}
state: {directory: state}
"""


def forked(*arguments: str, output: Path, **environment: str) -> warm.Fork:
    return warm.fork(arguments, {**os.environ, "COLUMNS": "100", **environment}, output)


@pytest.mark.parametrize("words", [["--version"], ["check", "no such file"], ["no such command"]])
def test_output_and_exit_code_are_those_of_an_interpreter(tmp_path: Path, words) -> None:
    process = forked(*words, output=tmp_path / "log")
    code = process.wait(60)
    own = run(*words)
    assert (code, (tmp_path / "log").read_text()) == (own.returncode, own.stdout + own.stderr)


def test_it_has_its_own_environment_and_its_files_lie_where_ours_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "c.yaml").write_text("name: ${ITS_NAME}\nfeatures: [{numeric: x}]\n")
    monkeypatch.chdir(tmp_path)
    for name, code in (("sound", 0), ("", 2)):
        log = tmp_path / f"log-{code}"
        process = forked("check", "c.yaml", output=log, ITS_NAME=name)
        assert process.wait(60) == code, log.read_text()
    assert "ITS_NAME" not in os.environ


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_signal_reaches_it_alone(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "c.yaml").write_text(WAITS)
    first, second = (
        forked("run", str(tmp_path / "c.yaml"), output=tmp_path / name) for name in ("a", "b")
    )
    try:
        for log in (tmp_path / "a", tmp_path / "b"):
            # The fork makes its log, a moment after it was asked for.
            wait_until(
                lambda log=log: log.exists() and "127.0.0.1:1" in log.read_text(), "it to wait"
            )
        first.send_signal(number)
        assert first.wait(30) == (0 if number is signal.SIGTERM else -signal.SIGKILL)
        assert second.poll() is None
    finally:
        for each in (first, second):
            each.kill()
            each.wait(30)


def test_a_fault_is_armed_in_the_fork_alone(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert forked("--version", output=log, FAILPOINT="after_poll:x").wait(60) == 1
    assert "FAILPOINT" in log.read_text()
    assert forked("--version", output=log).wait(60) == 0


@pytest.mark.parametrize(
    ("name", "can"), [("FAILPOINT", True), ("PYTHONHASHSEED", False), ("OMP_NUM_THREADS", False)]
)
def test_what_works_while_an_interpreter_begins_gets_one(name: str, can) -> None:
    assert warm.can_fork({**os.environ, name: "7"}) == can
