"""The live view: panels on a real terminal, lines elsewhere, and nothing that steers either."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from rich.console import Console
from support.streams import SOURCE, configuration, new_pipeline, records, run_in_cuts

from stream_detector.cli.live import LiveView
from stream_detector.events import PlainRecord
from stream_detector.telemetry.health import HealthState
from stream_detector.telemetry.metrics import Metrics
from stream_detector.telemetry.status.recent import Recent

HOSTILE = "\x1b[2J\x1b]0;owned\x07[bold red]\r\n\u202e"


@pytest.fixture(scope="module")
def view() -> LiveView:
    """A view of a stream whose texts are hostile."""
    stream = []
    for record in records(2000):
        event = json.loads(record.value or b"")
        event["id"] += HOSTILE
        event["kind"] = HOSTILE if event["label"] else event["kind"]
        value = json.dumps(event).encode()
        stream.append(PlainRecord(record.offset, record.timestamp, record.key, value))
    config = configuration()
    pipeline, recent, metrics = new_pipeline(config), Recent(), Metrics(severities=("low", "high"))
    for outcome in run_in_cuts(pipeline, config, stream, [500, 1500]):
        recent.take(outcome)
        metrics.add_events({SOURCE: len(outcome.scores)})
        metrics.add_decisions(0, len(outcome.scores), {"high": len(outcome.alerts)}, 0)
    return LiveView("test", metrics, HealthState(), recent, keep=False)


def test_lines_hold_the_figures_and_only_new_alerts(view: LiveView) -> None:
    first, second = list(view.lines()), list(view.lines())
    assert re.match(r"\s+2,000 events .* alerts \(.* %\) +0 rejected", first[0])
    assert len(second) == 1
    assert sum("  score " in line for line in first) == 3
    assert any(" = " in line for line in first)
    assert all(line.isprintable() for line in first)


@pytest.mark.parametrize(("width", "height"), [(120, 50), (80, 24), (40, 10)])
def test_panels_fit_the_terminal_and_show_hostile_text_as_text(
    view: LiveView, width: int, height: int
) -> None:
    output = io.StringIO()
    console = Console(file=output, width=width, height=height, color_system=None)
    console.print(view.render(width, height))
    shown = output.getvalue()
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "last alerts" in shown
    lines = shown.splitlines()
    assert all(len(line) <= width for line in lines)
    if width > 100:
        assert "[bold red]" in shown
        assert "alert rate" in shown
    if height >= 24:
        assert len(lines) <= height


def test_on_a_terminal_demo_draws_panels_and_clears_them_away() -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    command = [sys.executable, "-m", "stream_detector", "demo", "--events", "12000"]
    process = subprocess.Popen(
        command,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm-256color"},
    )
    os.close(theirs)
    written = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the last process that had it open has ended
            break
        if not part:
            break
        written += part
    os.close(ours)
    assert process.wait(60) == 0
    text = written.decode()
    assert "demo - ready" in text
    assert "last alerts" in text
    assert "events a second" in text
    assert text.index("bad records") > text.rindex("last alerts")


def test_without_a_terminal_demo_prints_lines(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "stream_detector", "demo", "--events", "12000"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert re.search(r"^ +1[0-2],\d{3} events", done.stdout, re.MULTILINE)
    assert "status page at http://127.0.0.1:" in done.stdout
