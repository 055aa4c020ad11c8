"""Processes of ``stream-detector`` that begin as forks of one that has imported everything.

An import of the package costs a second of a processor, two with scikit-learn, and the tests begin
hundreds of processes. A fork has the same code under the same environment and its own number, log,
signals and end. What it does not have is a hash seed of its own: all forks of a test process share
one. So what promises something about the interpreter's start (its hash seed, a signal while it
imports, its memory) begins one of its own.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from support import guard

AT_THE_START = ("PYTHON", "LD_", "OMP_", "OPENBLAS_", "MKL_", "MALLOC_", "GLIBC_")
"""Variables that work while an interpreter begins or NumPy is imported: a fork comes too late."""

WHEN_NEEDED = ("river.base", "river.drift", "sklearn.ensemble", "sklearn.neural_network")
"""What the package imports inside functions."""

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


class Fork:
    """A process that was forked elsewhere and is our child, as ``subprocess.Popen`` has it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._code: int | None = None

    def poll(self) -> int | None:
        """The exit code, a negative signal's number, or None while it runs."""
        if self._code is None:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            if ended:
                self._code = os.waitstatus_to_exitcode(status)
        return self._code

    def wait(self, timeout: float) -> int:
        """Wait for the exit code. Raises ``subprocess.TimeoutExpired``."""
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("a forked stream-detector", timeout)
            time.sleep(0.01)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, where it has not ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Send SIGKILL, where it has not ended."""
        self.send_signal(signal.SIGKILL)


class _Warm:
    """The process that is forked, begun when first needed; it ends with this one."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def fork(self, request: Mapping[str, object]) -> int:
        """The number of a new process that does what is asked."""
        with self._lock:
            process = self._process = self._process or self._begin()
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
            return int(process.stdout.readline())

    def _begin(self) -> subprocess.Popen[bytes]:
        # The forks lose their parent at once: the kernel then gives them to us.
        if ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
            raise OSError("prctl(PR_SET_CHILD_SUBREAPER) failed")
        tests = Path(__file__).parents[1]
        paths = [str(tests.parent), str(tests), os.environ.get("PYTHONPATH")]
        process = subprocess.Popen(
            [sys.executable, "-m", "support.warm"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        )
        atexit.register(self._end, process)
        return process

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> None:
        process.communicate(timeout=10)


_warm = _Warm()


def can_fork(environment: Mapping[str, str]) -> bool:
    """Whether this is a test, and a fork has all that ``environment`` asks for beyond its own."""
    changed = {name for name, value in environment.items() if os.environ.get(name) != value}
    # Where there is no guard (another system, `make chaos`), nobody would sweep up either.
    return guard.VARIABLE in os.environ and not any(n.startswith(AT_THE_START) for n in changed)


def fork(arguments: Sequence[str], environment: Mapping[str, str], output: Path) -> Fork:
    """``stream-detector ARGUMENTS`` with this directory and environment, its output to a file."""
    asked = {
        "arguments": list(arguments),
        "environment": dict(environment),
        "directory": str(Path.cwd()),
        "output": str(output),
    }
    return Fork(_warm.fork(asked))


# --- in the process that is forked ----------------------------------------------------------------


def _import_all() -> None:
    """What commands import when they run; nothing of it starts a thread or reads a clock."""
    import importlib  # noqa: PLC0415
    import pkgutil  # noqa: PLC0415

    import stream_detector  # noqa: PLC0415

    for module in pkgutil.walk_packages(stream_detector.__path__, "stream_detector."):
        # Spark is an extra, which these tests do without.
        if not module.name.endswith("__main__") and ".spark." not in module.name:
            importlib.import_module(module.name)
    for name in WHEN_NEEDED:
        importlib.import_module(name)
    gc.freeze()  # the forks share these objects, and their collectors need not walk them


def _become(asked: Mapping[str, object]) -> NoReturn:
    """Run the command as a process of its own would, from its environment to its exit."""
    import stream_detector.failpoints as points  # noqa: PLC0415
    from stream_detector.__main__ import main  # noqa: PLC0415

    signal.signal(signal.SIGINT, signal.default_int_handler)
    null = os.open(os.devnull, os.O_RDONLY)
    log = os.open(str(asked["output"]), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - ours has read ahead
    environment = asked["environment"]
    assert isinstance(environment, dict)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(str(asked["directory"]))
    arguments = asked["arguments"]
    assert isinstance(arguments, list)
    sys.argv = ["stream-detector", *arguments]
    points._ARMED.update(points.parse(os.environ.get("FAILPOINT", "")))
    sys.exit(main(arguments))


def _serve() -> None:
    _import_all()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for pytest, which ends this one
    for line in sys.stdin.buffer:
        said, says = os.pipe()
        if middle := os.fork():
            os.close(says)
            os.waitpid(middle, 0)  # only now is the other one the child of who asked
            os.write(1, os.read(said, 20) + b"\n")
            os.close(said)
        elif pid := os.fork():
            os.write(says, b"%d" % pid)
            os._exit(0)
        else:
            os.close(said)
            os.close(says)
            _become(json.loads(line))


if __name__ == "__main__":
    _serve()
