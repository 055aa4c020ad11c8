"""The workers' processes, what is noted of them, and the log of the faults."""

from __future__ import annotations

import json
import re
import signal
import time
import urllib.error
import urllib.request
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from support.process import DaemonProcess


class FaultLog:
    """Every fault and its effect, one JSON line each, with the seconds since the beginning."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: TextIO = path.open("w")
        self._start = time.monotonic()

    def write(self, **what: Any) -> None:
        """Add a line."""
        line = {"at": round(time.monotonic() - self._start, 2), **what}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


@dataclass(slots=True)
class Tally:
    """What was done to the workers, to the brokers and to the topics."""

    kills: int = 0
    broker_restarts: int = 0
    broker_kills: int = 0
    outages: int = 0
    leaders_moved: int = 0
    partitions_added: int = 0
    partitions_added_in_replay: int = 0
    offsets_reset: int = 0
    hanging_transactions: int = 0
    topics_made_anew: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    armed: Counter[str] = field(default_factory=Counter)
    fired: Counter[str] = field(default_factory=Counter)
    rebalances: int = 0
    unexpected_exits: list[str] = field(default_factory=list)
    own_exits: int = 0


class Worker(DaemonProcess):
    """One life of a daemon."""

    def ready(self) -> bool:
        """Whether /readyz says so, or that it stands by, which /readyz never calls ready."""
        if self.text().rpartition("assigned shards ")[2].startswith("none"):
            return True
        found = re.search(r"metrics at (http://[\d.:]+)/metrics", self.text())
        if not found:
            return False
        try:
            with urllib.request.urlopen(found[1] + "/readyz", timeout=2) as answer:
                return int(answer.status) == 200
        except (OSError, urllib.error.URLError):
            return False

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def code(self) -> int | None:
        """Exit code, None while it runs."""
        return None if self._process is None else self._process.poll()
