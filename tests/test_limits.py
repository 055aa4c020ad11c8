"""A run that would not end by itself ends red, within its limits and with names.

Each sabotage is a small suite of its own, run by a pytest of its own with short limits.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import weather
from support import guard
from support.process import wait_until

TESTS = Path(__file__).parent
AT_THE_LATEST = 100.0
"""Seconds from outside: a sabotage that gets so far has shown that the limits do not work."""

HEAD = """
import os, signal, subprocess, sys, threading, time
import pytest
import weather
"""


@dataclass(frozen=True, slots=True)
class Run:
    code: int
    output: str

    @property
    def red(self) -> bool:
        return self.code != 0


class Suite:
    """A directory of sabotaged tests."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        # Its own, below that of this process: the sweep must not reach the session's broker.
        self.mark = f"{os.environ.get(guard.VARIABLE, '')}/{uuid.uuid4().hex}"

    def write(self, **files: str) -> Suite:
        for name, text in files.items():
            (self.directory / f"{name}.py").write_text(HEAD + textwrap.dedent(text))
        return self

    def start(self, *arguments: str, **settings: float) -> subprocess.Popen[str]:
        limits = {"timeout": 2, "cleanup_limit": 2, "grace": 1, "run_limit": 60, **settings}
        lines = "".join(f"{name} = {value}\n" for name, value in limits.items())
        (self.directory / "pytest.ini").write_text(f"[pytest]\n{lines}")
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider"),
                *("-p", "xdist.plugin", "-p", "pytest_timeout", "-p", "support.limits"),
                *("-q", "--dist", "loadfile", f"--rootdir={self.directory}"),
                *("-c", str(self.directory / "pytest.ini"), *arguments, str(self.directory)),
            ],
            cwd=self.directory,
            # Without the other plugins, which take a second of each process.
            env={
                **os.environ,
                guard.VARIABLE: self.mark,
                "PYTHONPATH": str(TESTS),
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: str, **settings: float) -> Run:
        return finish(self.start(*arguments, **settings))

    def pid(self, name: str) -> int:
        """A process id that a sabotaged test has written down."""
        path = self.directory / name
        return int(wait_until(lambda: path.exists() and path.read_text(), name))


def finish(process: subprocess.Popen[str]) -> Run:
    """Until the pipe is closed: by pytest, its guard and whatever else inherited it."""
    try:
        output, _ = process.communicate(timeout=AT_THE_LATEST)
    finally:
        process.kill()
    return Run(process.returncode, output)


@pytest.fixture
def suite(tmp_path: Path) -> Iterator[Suite]:
    made = Suite(tmp_path)
    yield made
    guard.kill_marked(made.mark)


SABOTAGES = {
    "test_lock": """
    import ctypes
    def test_hangs():
        # PyDLL, unlike CDLL, keeps the interpreter's lock; no signal ends the wait for a mutex.
        mutex = ctypes.create_string_buffer(64)
        for _ in range(2):
            ctypes.PyDLL(None).pthread_mutex_lock(mutex)
    """,
    "test_stopped": """
    def test_hangs():
        os.kill(os.getpid(), signal.SIGSTOP)
        threading.Event().wait()
    """,
    "test_deaf": """
    def test_hangs():
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
        threading.Event().wait()
    """,
    "test_clean_up": """
    import ctypes
    @pytest.fixture
    def stuck():
        yield
        mutex = ctypes.create_string_buffer(64)
        for _ in range(2):
            ctypes.PyDLL(None).pthread_mutex_lock(mutex)
    def test_hangs(stuck):
        assert False
    """,
}


def killed(name: str) -> str:
    """What the guard says of a sabotage; pytest's own limit is 2 s, that of a clean-up 2 s."""
    of, limit = ("clean-up of ", 5) if name == "test_clean_up" else ("", 3)
    return f"RED: {of}{name}.py::test_hangs took more than {limit} s"


def test_what_no_interrupt_reaches_is_killed_and_named_and_the_others_run(suite: Suite) -> None:
    run = suite.write(**SABOTAGES, test_others="def test_passes():\n    pass\n").run("-n", "2")
    assert run.code == 1
    for name in SABOTAGES:
        assert killed(name) in run.output, run.output
        assert f"crashed while running '{name}.py::test_hangs'" in run.output
    assert "pthread_sigmask" not in run.output
    assert re.search(r'test_lock\.py", line \d+ in test_hangs', run.output)  # where it stood
    # The one whose clean-up hangs has failed before.
    assert "5 failed, 1 passed" in run.output, run.output


@pytest.mark.parametrize("name", ["test_lock", "test_clean_up"])
def test_without_workers_the_process_itself_is_killed(suite: Suite, name: str) -> None:
    run = suite.write(**{name: SABOTAGES[name]}).run()
    assert run.code == -signal.SIGKILL
    assert killed(name) in run.output, run.output


@pytest.mark.parametrize("jobs", [["-n", "1"], []], ids=["workers", "alone"])
def test_interrupts_leave_the_process_alive(suite: Suite, jobs) -> None:
    """Bodies and clean-ups, each on its own; after a failure pytest-timeout's timer is away."""
    fixtures = """
    @pytest.fixture
    def outer(request):
        yield
        open(f"outer of {request.node.name}", "w")
        threading.Event().wait()
    @pytest.fixture
    def inner():
        yield
        threading.Event().wait()
    def test_a_body_hangs():
        threading.Event().wait()
    def test_clean_ups_hang_after_a_pass(outer, inner):
        pass
    def test_clean_ups_hang_after_a_failure(outer, inner):
        assert False
    def test_all_hangs(outer, inner):
        threading.Event().wait()
    def test_after():
        pass
    """
    run = suite.write(test_sabotage=fixtures).run(*jobs, timeout=1, cleanup_limit=1, grace=20)
    assert run.code == 1
    assert "RED" not in run.output, run.output
    assert "FAILED test_sabotage.py::test_a_body_hangs - Failed: Timeout" in run.output
    hung = ("test_clean_ups_hang_after_a_pass", "test_clean_ups_hang_after_a_failure")
    for name in (*hung, "test_all_hangs"):
        assert f"ERROR test_sabotage.py::{name} " in run.output
        assert run.output.count(f"{name}: its clean-up took more than 1 s") >= 2
        assert (suite.directory / f"outer of {name}").exists()
    assert "3 failed, 2 passed, 3 errors" in run.output, run.output


KILLED = "def test_dies():\n    os.kill(os.getpid(), signal.SIGKILL)\n"
PASSES = "def test_passes():\n    pass\n"


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_killed_worker_does_not_leave_the_run_standing(suite: Suite, jobs: str) -> None:
    """The cases of pytest-xdist's issues 784, 1323 and 1327: single tests, finished files."""
    dying = {"test_1": KILLED, "test_2": KILLED}
    run = suite.write(test_0=PASSES, **dying, test_3=PASSES).run("-n", jobs)
    assert run.code == 1
    for name in dying:
        assert f"crashed while running '{name}.py::test_dies'" in run.output, run.output
    assert "2 failed, 2 passed" in run.output


def test_what_a_killed_worker_had_started_is_gone_before_the_run_is(suite: Suite) -> None:
    """A broker has a session of its own, and may ignore SIGTERM; its worker's successor runs on."""
    child = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    text = f"""
    def test_dies():
        child = subprocess.Popen([sys.executable, "-c", {child!r}], start_new_session=True)
        open("child.draft", "w").write(str(child.pid))
        os.rename("child.draft", "child")
        os.kill(os.getpid(), signal.SIGKILL)
    """
    wait = """
    sys.path.insert(0, os.environ["PYTHONPATH"])
    from support import guard
    def test_waits():
        while not os.path.exists("child"):
            time.sleep(0.01)
        pid = int(open("child").read())
        while guard.alive(pid):
            time.sleep(0.01)
    """
    run = suite.write(test_0=text, test_1=wait).run("-n", "2", timeout=30)
    assert run.code == 1
    assert re.search(r"gw\d is gone and left behind", run.output), run.output
    assert "1 failed, 1 passed" in run.output, run.output


def test_a_child_that_outlives_a_finished_run_is_killed_and_named(suite: Suite) -> None:
    text = """
    def test_leaves_a_child():
        child = subprocess.Popen(["sleep", "601"], start_new_session=True)
        open("child", "w").write(str(child.pid))
    """
    run = suite.write(test_sabotage=text).run()
    assert "left behind (killed now):\n  sleep 601" in run.output
    assert not guard.alive(suite.pid("child"))


@pytest.mark.parametrize("jobs", [["-n", "2"], []], ids=["workers", "alone"])
def test_the_limit_of_the_run_ends_it_red_with_the_names_of_what_was_running(
    suite: Suite, jobs
) -> None:
    text = "def test_{0}():\n    while True:\n        time.sleep(1)\n"
    suite.write(test_1=text.format("one"), test_2=text.format("two"))
    run = suite.run(*jobs, run_limit=6, timeout=300)
    assert run.red
    assert "RED: the run took more than 6 s. What was running:" in run.output
    assert "test_1.py::test_one, for" in run.output, run.output
    assert ("test_2.py::test_two, for" in run.output) == bool(jobs)


def test_a_pytest_that_is_stopped_itself_ends_with_its_workers(suite: Suite) -> None:
    text = """
    def test_stops_its_parent():
        os.kill(os.getppid(), signal.SIGSTOP)
        threading.Event().wait()
    """
    run = suite.write(test_sabotage=text).run("-n", "1", run_limit=6, timeout=300)
    assert run.red
    assert "test_sabotage.py::test_stops_its_parent, for" in run.output
    assert "pytest did not end" in run.output


def test_nothing_of_a_killed_pytest_stays(suite: Suite) -> None:
    text = """
    def test_waits():
        child = subprocess.Popen(["sleep", "602"], start_new_session=True)
        open(f"child.draft", "w").write(str(child.pid))
        os.rename("child.draft", "child")
        threading.Event().wait()
    """
    process = suite.write(test_sabotage=text).start("-n", "1", timeout=300)
    child = suite.pid("child")
    os.kill(process.pid, signal.SIGKILL)
    finish(process)
    assert not guard.alive(child)


def test_a_guard_that_finds_a_run_at_a_standstill_ends_it(tmp_path, monkeypatch, capfd) -> None:
    """No test for longer than passes between two: the kind of a scheduler that lost count."""
    monkeypatch.setattr(guard, "STANDSTILL_SECONDS", 0.5)
    with subprocess.Popen(["sleep", "603"]) as pytest_itself:
        guard.Note("main", pytest_itself.pid, "between tests", time.monotonic(), None).write(
            tmp_path
        )
        guard.Guard(tmp_path, pytest_itself.pid, "/no such run", 300, 10).run()
        assert pytest_itself.wait(10) == -signal.SIGINT
    assert "RED: no test has run for 0.5 s. What was running:" in capfd.readouterr().err


def test_weather_tells_green_from_red_and_from_standing(tmp_path: Path, monkeypatch) -> None:
    """Against a `make` of four targets; what the last one has started is gone as well."""
    (tmp_path / "Makefile").write_text(
        "test: $(HOW)\n"
        "good:\n\t@echo '==== 3 passed in 1s ===='\n"
        "bad:\n\t@echo 'FAILED test_a.py::test_b - why'; echo '1 failed, 2 passed in 1s'; false\n"
        "broken:\n\t@echo 'No module named pytest'; false\n"
        "endless:\n\t@echo '  gw0: test_c.py::test_d, for 9 s'; sleep 604\n"
    )
    monkeypatch.setattr(weather, "REPOSITORY", tmp_path)
    log = tmp_path / "log"
    assert weather.one_run(log, 60, ["HOW=good"]) == ("green", ["3 passed in 1s"])
    named = ["1 failed, 2 passed in 1s", "FAILED test_a.py::test_b - why"]
    assert weather.one_run(log, 60, ["HOW=bad"]) == ("RED", named)
    verdict, said = weather.one_run(log, 60, ["HOW=broken"])
    assert verdict == "RED"
    assert "No module named pytest" in said
    standing = ("STANDING", ["  gw0: test_c.py::test_d, for 9 s"])
    assert weather.one_run(log, 2, ["HOW=endless"]) == standing
