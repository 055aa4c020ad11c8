"""Failpoints: what they are called decides where a process ends."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from stream_detector.failpoints import FailpointError, Fault, parse


def test_names_counts_and_pauses_are_read() -> None:
    assert parse("") == {}
    assert parse("after_flush") == {"after_flush": Fault(1)}
    assert parse("a:3, b:2:pause=1.5") == {"a": Fault(3), "b": Fault(2, 1.5)}
    assert parse("a:3:pause=1.5:times=7") == {"a": Fault(3, 1.5, 7)}


@pytest.mark.parametrize("text", ["a:x", "a:1:pause=y", "a:1:pause=1:times=z", "a:1:wait=3"])
def test_what_cannot_be_read_is_an_error(text: str) -> None:
    with pytest.raises(FailpointError):
        parse(text)


@pytest.mark.parametrize(
    ("armed", "passed", "code"), [("here:3", 3, -9), ("here:3", 2, 0), ("", 9, 0)]
)
def test_the_process_is_killed_at_the_nth_pass(armed: str, passed: int, code: int) -> None:
    passing = f"for _ in range({passed}): failpoint('here')"
    program = "from stream_detector.failpoints import failpoint; exec(" + repr(passing) + ")"
    environment = {**os.environ, "FAILPOINT": armed}
    ran = subprocess.run([sys.executable, "-c", program], env=environment, check=False, timeout=240)
    assert ran.returncode == code


def test_a_place_may_be_slow_several_times() -> None:
    program = (
        "import time; from stream_detector.failpoints import failpoint; began = time.monotonic()\n"
        "for _ in range(9): failpoint('here')\n"
        "print(time.monotonic() - began)"
    )
    environment = {**os.environ, "FAILPOINT": "here:2:pause=0.05:times=4"}
    ran = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        check=True,
        timeout=240,
        capture_output=True,
    )
    assert float(ran.stdout) >= 0.2
