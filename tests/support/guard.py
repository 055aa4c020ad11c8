"""Ends a test run that does not end by itself: a process of its own, beside pytest.

    python guard.py DIRECTORY CONTROLLER_PID MARK LIMIT GRACE

LIMIT and GRACE are seconds of the run. Every test process keeps a note in DIRECTORY of what it
does and until when at the latest; ``limits`` writes them. A note that has run out costs its process
the life, whatever that process is busy with: the guard needs neither its interpreter nor its
consent. What such a process had started is found by MARK in its environment and killed with it.
Standard library only.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "STREAM_DETECTOR_TEST_PROCESS"
"""In the environment of whatever a test process starts: runs and processes, outermost first."""

EVERY_SECONDS = 0.2
TRACE_SECONDS = 0.5
"""What a process gets to write down where it stands; it does so without the interpreter's lock."""

STANDSTILL_SECONDS = 90.0
"""So long may no process have a test while the run goes on: between tests that is milliseconds."""


@dataclass(frozen=True, slots=True)
class Note:
    """What a test process does. ``until`` is of the monotonic clock; None: it waits for work."""

    name: str
    pid: int
    doing: str
    since: float
    until: float | None

    def write(self, directory: Path) -> None:
        """Replace the last one in one step: the guard never reads half of a note."""
        fields = [self.name, self.pid, self.doing, self.since, self.until]
        draft = directory / f"{self.name}.draft"
        draft.write_text(json.dumps(fields))
        draft.replace(directory / f"{self.name}.note")


def read_notes(directory: Path) -> list[Note]:
    notes = []
    for path in sorted(directory.glob("*.note")):
        with contextlib.suppress(FileNotFoundError):
            notes.append(Note(*json.loads(path.read_text())))
    return notes


def trace_file(directory: Path, name: str) -> Path:
    """Where the process writes its threads' stacks when the guard asks."""
    return directory / f"{name}.trace"


def state(pid: int) -> str:
    """The kernel's letter for what the process does: "T" is stopped; "" where it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def alive(pid: int) -> bool:
    """Whether the process is there; one that only waits to be reaped is not."""
    return state(pid) not in {"", "Z", "X"}


def marked(mark: str) -> dict[int, str]:
    """Processes that were started under a mark, with their command lines."""
    entry = f"{VARIABLE}={mark}".encode()
    found = {}
    for directory in Path("/proc").glob("[0-9]*"):
        # Gone meanwhile, or somebody else's.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            variables = (directory / "environ").read_bytes().split(b"\0")
            if any(each == entry or each.startswith(entry + b"/") for each in variables):
                line = (directory / "cmdline").read_bytes().replace(b"\0", b" ")
                found[int(directory.name)] = line.decode(errors="replace").strip()
    found.pop(os.getpid(), None)
    return {pid: line for pid, line in found.items() if alive(pid)}


def kill_marked(mark: str, timeout: float = 10.0) -> list[str]:
    """Kill all of them, and what they start meanwhile. Returns the command lines."""
    killed: dict[int, str] = {}
    deadline = time.monotonic() + timeout
    while (found := marked(mark)) and time.monotonic() < deadline:
        killed |= found
        for pid in found:
            send(pid, signal.SIGKILL)
        time.sleep(0.05)
    return list(killed.values())


def send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def say(text: str) -> None:
    """To the terminal of the run; nobody may be reading any more."""
    with contextlib.suppress(OSError):
        os.write(2, f"\n{text.rstrip()}\n".encode())


class Guard:
    """Looks at the notes a few times a second until pytest has ended.

    Once the ``limit`` of the run is spent, pytest has ``grace`` seconds to print its summary.
    """

    def __init__(
        self, directory: Path, controller: int, mark: str, limit: float, grace: float
    ) -> None:
        self._directory, self._controller, self._mark = directory, controller, mark
        self._limit, self._grace = limit, grace
        self._started = self._last_work = time.monotonic()
        self._exit = os.pidfd_open(controller)

    def run(self) -> None:
        while not self._ended(EVERY_SECONDS):
            now = time.monotonic()
            notes = read_notes(self._directory)
            for note in notes:
                if not alive(note.pid):
                    self._bury(note)
                elif note.until is not None and now > note.until:
                    self._kill(note, f"took more than {note.until - note.since:g} s")
            if any(note.until is not None for note in notes):
                self._last_work = now
            if now > self._started + self._limit:
                self._end_run(f"the run took more than {self._limit:g} s")
            elif now > self._last_work + STANDSTILL_SECONDS:
                self._end_run(f"no test has run for {STANDSTILL_SECONDS:g} s")
        self._sweep()

    def _ended(self, timeout: float) -> bool:
        return bool(select.select([self._exit], [], [], timeout)[0])

    def _kill(self, note: Note, why: str) -> None:
        """End a process that would not, and say where it stood."""
        trace = trace_file(self._directory, note.name)
        if state(note.pid) != "T":  # one that is stopped sees nothing but SIGKILL
            send(note.pid, signal.SIGUSR2)
            time.sleep(TRACE_SECONDS)
        send(note.pid, signal.SIGKILL)
        where = trace.read_text(errors="replace") if trace.exists() else ""
        say(f"RED: {note.doing} {why}; {note.name} (process {note.pid}) is killed.\n{where}")
        self._bury(note)

    def _bury(self, note: Note) -> None:
        """Forget a process that is gone, and kill what it left behind."""
        (self._directory / f"{note.name}.note").unlink(missing_ok=True)
        left = kill_marked(f"{self._mark}/{note.name}")
        if left:
            lines = "\n".join(f"  {line[:150]}" for line in left)
            say(f"{note.name} is gone and left behind (killed now):\n{lines}")

    def _end_run(self, why: str) -> None:
        """Let pytest print what it knows, and end it where it does not."""
        notes = read_notes(self._directory)
        now = time.monotonic()
        running = [f"  {each.name}: {each.doing}, for {now - each.since:.0f} s" for each in notes]
        say("\n".join([f"RED: {why}. What was running:", *(running or ["  nothing"])]))
        send(self._controller, signal.SIGINT)
        for note in notes:
            if note.pid != self._controller:
                self._kill(note, "was running then")
        if not self._ended(self._grace):
            say(f"RED: pytest did not end in {self._grace:g} s either; it is killed.")
            send(self._controller, signal.SIGKILL)
            self._ended(self._grace)

    def _sweep(self) -> None:
        """After the end, whatever it was like: no process of the run stays."""
        left = kill_marked(self._mark)
        if left:
            lines = "\n".join(f"  {line[:150]}" for line in left)
            say(f"the run is over and had left behind (killed now):\n{lines}")
        shutil.rmtree(self._directory, ignore_errors=True)


if __name__ == "__main__":
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)  # it ends with the run, not before it
    where, controller, mark, limit, grace = sys.argv[1:]
    Guard(Path(where), int(controller), mark, float(limit), float(grace)).run()
