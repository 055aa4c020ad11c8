"""A limit on every test, its clean-up included, and on the run as a whole: a plugin of pytest.

Three belts. pytest-timeout interrupts a test (setting ``timeout``). Its timer is off once the test
has failed (its issue 196), so a clean-up has one of its own here: each fixture that takes longer
than CLEANUP_SECONDS is interrupted, and the next one still runs. Where neither helps, because the
process is stuck in C, stopped or dead, ``guard`` ends it from outside.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import pytest
from pytest_timeout import _get_item_settings

from support import guard
from support.guard import Note
from support.scheduling import FileScheduling

CLEANUP_SECONDS = 60
GRACE_SECONDS = 30
"""What lies between the interrupts from inside and the end from outside."""

COLLECTION_SECONDS = 300
END_SECONDS = 120
DIRECTORY = "guard_directory"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("run_limit", "seconds for the whole run, then it ends red", default="1800")
    parser.addini("cleanup_limit", "seconds for a clean-up", default=str(CLEANUP_SECONDS))
    parser.addini("grace", "seconds from interrupt to kill", default=str(GRACE_SECONDS))
    parser.addoption(
        "--costs", action="store_true", help="print what each file costs, dearest first"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    if config.option.collectonly or config.option.usepdb or not hasattr(os, "pidfd_open"):
        return  # nothing runs; somebody looks at it; or no Linux
    is_worker = hasattr(config, "workerinput")
    if not is_worker:
        directory = Path(tempfile.mkdtemp(prefix="test-run-"))
        os.environ[guard.VARIABLE] = f"{os.environ.get(guard.VARIABLE, '')}/{uuid.uuid4().hex}"
        _start_guard(directory, config.getini("run_limit"), config.getini("grace"))
    else:
        directory = Path(config.workerinput[DIRECTORY])
    if is_worker or not getattr(config.option, "numprocesses", None):
        name = os.environ.get("PYTEST_XDIST_WORKER", "main") if is_worker else "main"
        os.environ[guard.VARIABLE] += f"/{name}"
        config.pluginmanager.register(_TestProcess(config, directory, name), "limits-process")
    if not is_worker:
        config.pluginmanager.register(_Controller(config, directory), "limits-controller")


def _start_guard(directory: Path, limit: str, grace: str) -> None:
    mark = os.environ[guard.VARIABLE]
    environment = {name: value for name, value in os.environ.items() if name != guard.VARIABLE}
    subprocess.Popen(
        [sys.executable, guard.__file__, str(directory), str(os.getpid()), mark, limit, grace],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,  # Ctrl-C is for pytest
    )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FileScheduling | None:
    return FileScheduling(config, log) if config.option.dist == "loadfile" else None


class _TestProcess:
    """Keeps the note of a process that runs tests, limits its clean-ups and counts its costs."""

    def __init__(self, config: pytest.Config, directory: Path, name: str) -> None:
        self._config, self._directory, self._name = config, directory, name
        self._cleanup = float(config.getini("cleanup_limit"))
        self._grace = float(config.getini("grace"))
        self._costs: dict[str, list[float]] = {}
        self._trace: TextIO = guard.trace_file(directory, name).open("w")
        # In C, in all threads, without the interpreter's lock: the guard asks for it.
        faulthandler.register(signal.SIGUSR2, file=self._trace, all_threads=True)
        self._note("start and collection", COLLECTION_SECONDS)

    def _note(self, doing: str, limit: float | None) -> None:
        now = time.monotonic()
        with contextlib.suppress(FileNotFoundError):  # the guard has swept up: the run is over
            Note(self._name, os.getpid(), doing, now, limit and now + limit).write(self._directory)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        limit = _get_item_settings(item).timeout or 0
        self._note(item.nodeid, limit + self._grace)
        before = _spent()
        try:
            return (yield)
        finally:
            costs = self._costs.setdefault(item.nodeid.split("::")[0], [0.0, 0.0])
            for index, spent in enumerate(_spent()):
                costs[index] += spent - before[index]
            self._note("between tests", None)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Iterator[None]:
        def interrupt(number: int, frame: Any) -> None:
            pytest.fail(f"{item.nodeid}: its clean-up took more than {self._cleanup:g} s")

        self._note(f"clean-up of {item.nodeid}", 2 * self._cleanup + self._grace)
        # pytest-timeout's own timer is this signal too; it is off here, or would fire too late.
        signal.signal(signal.SIGALRM, interrupt)
        signal.setitimer(signal.ITIMER_REAL, self._cleanup, self._cleanup)
        try:
            return (yield)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self) -> Iterator[None]:
        self._note("end of the session", END_SECONDS)
        if hasattr(self._config, "workeroutput"):
            self._config.workeroutput["costs"] = self._costs
        else:
            self._config.pluginmanager.get_plugin("limits-controller").add(self._costs)
        return (yield)


def _spent() -> tuple[float, float]:
    """Wall clock and processor seconds, with those of children that have ended."""
    times = os.times()
    return times.elapsed, sum(times[:4])


class _Controller:
    """Tells the workers where their notes go, and sums up what the files cost."""

    def __init__(self, config: pytest.Config, directory: Path) -> None:
        self._config, self._directory = config, directory
        self._costs: dict[str, list[float]] = {}

    def add(self, costs: dict[str, list[float]]) -> None:
        for name, spent in costs.items():
            total = self._costs.setdefault(name, [0.0, 0.0])
            total[:] = [sum(pair) for pair in zip(total, spent, strict=True)]

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        node.workerinput[DIRECTORY] = str(self._directory)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        self.add(getattr(node, "workeroutput", {}).get("costs", {}))

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if not self._config.option.costs or not self._costs:
            return
        terminalreporter.section("costs of files: wall clock and processor seconds")
        for name, (wall, processor) in sorted(self._costs.items(), key=lambda it: -it[1][1]):
            terminalreporter.write_line(f"{wall:8.1f} {processor:8.1f}  {name}")
        wall, processor = (sum(column) for column in zip(*self._costs.values(), strict=True))
        terminalreporter.write_line(f"{wall:8.1f} {processor:8.1f}  in all")
