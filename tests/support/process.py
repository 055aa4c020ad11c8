"""The daemon as a process of its own, as a user runs it."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Self

import yaml
from kafka_broker.clients import consume_all

from support import warm

TIMEOUT_SECONDS = 60.0


def wait_until(
    condition: Callable[[], Any], what: str, timeout: float = TIMEOUT_SECONDS, every: float = 0.05
) -> Any:
    """Wait for a true value and return it. Raises TimeoutError naming ``what``."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout:g} s for {what}")
        time.sleep(every)
    return value


class DaemonProcess:
    """``stream-detector run``, or another command, on a configuration; its log goes to a file.

    Always ended by ``kill`` at the latest: use it as a context manager. It is forked from a process
    that has imported everything (see ``warm``) where ``interpreter`` is not asked for and the
    environment does not need one of its own.
    """

    def __init__(
        self,
        directory: Path,
        settings: Mapping[str, Any],
        *,
        arguments: tuple[str, ...] = (),
        command: str = "run",
        environment: Mapping[str, str] | None = None,
        name: str = "daemon",
        interpreter: bool = False,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.config = directory / f"{name}.yaml"
        self.config.write_text(yaml.safe_dump({**settings}))
        self.log = directory / f"{name}.log"
        self._command, self._arguments = command, arguments
        self._environment = {**os.environ, **(environment or {})}
        self._forked = not interpreter and warm.can_fork(self._environment)
        self._process: subprocess.Popen[bytes] | warm.Fork | None = None
        self._log_start = 0

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> Self:
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        words = [self._command, str(self.config), *self._arguments]
        if self._forked:
            self.log.touch()  # it opens it when it gets there
            self._process = warm.fork(words, self._environment, self.log)
            return self
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "stream_detector", *words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self._environment,
            )
        return self

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def text(self) -> str:
        """The log since the last start."""
        return self.log.read_bytes()[self._log_start :].decode()

    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def url(self) -> str:
        """Address of the metrics server, as the log gives it."""

        def find() -> str | None:
            if not self.running():
                raise AssertionError(f"the daemon has ended:\n{self.text()[-3000:]}")
            found = re.search(r"metrics at (http://[\d.:]+)/metrics", self.text())
            return found[1] if found else None

        return wait_until(find, "the metrics server")

    def get(self, path: str) -> tuple[int, str]:
        """Status and text of a page."""
        try:
            with urllib.request.urlopen(self.url() + path, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            # The server closes before the process is gone: the log says why it ended.
            error.add_note(f"the daemon's log ends:\n{self.text()[-3000:]}")
            raise

    def metric(self, name: str, **labels: str) -> float:
        """Sum of a metric's samples that have these labels."""
        return self.sum_of(self.get("/metrics")[1], name, **labels)

    @staticmethod
    def sum_of(text: str, name: str, **labels: str) -> float:
        """The same of a text that was scraped."""
        total = 0.0
        for line in text.splitlines():
            if line.startswith("#"):
                continue
            found = re.fullmatch(r"([a-z_]+)(?:\{(.*)\})? (\S+)", line)
            if found and found[1] == f"stream_detector_{name}":
                pairs = dict(re.findall(r'(\w+)="([^"]*)"', found[2] or ""))
                if all(pairs.get(key) == value for key, value in labels.items()):
                    total += float(found[3])
        return total

    def wait_ready(self, timeout: float = TIMEOUT_SECONDS) -> DaemonProcess:
        self._wait_until(lambda: self.get("/readyz")[0] == 200, "the daemon to be ready", timeout)
        return self

    def wait_processed(self, events: int, timeout: float = 120.0) -> Self:
        """Wait until so many records were taken in by this process."""
        taken = partial(self.metric, "events_total")
        self._wait_moving(taken, lambda count: count >= events, f"{events} events", timeout)
        return self

    def wait_worked_off(self) -> Self:
        """Wait until the lag is known and none."""

        def lag() -> float:
            # Of one scrape: the partitions of a shard that was just lost have no lag any more.
            text = self.get("/metrics")[1]
            known = "stream_detector_consumer_lag_records{" in text
            return self.sum_of(text, "consumer_lag_records") if known else math.inf

        self._wait_moving(lag, lambda left: left == 0, "the backlog to be worked off")
        return self

    def _wait_until(
        self, condition: Callable[[], Any], what: str, timeout: float = TIMEOUT_SECONDS
    ) -> None:
        """As the function, and where nothing comes, why the daemon is not ready and its log."""
        try:
            wait_until(condition, what, timeout)
        except TimeoutError as error:
            error.add_note(f"{self.get('/readyz')[1]}the log ends:\n{self.text()[-3000:]}")
            raise

    def _wait_moving(
        self,
        number: Callable[[], float],
        done: Callable[[float], bool],
        what: str,
        timeout: float = TIMEOUT_SECONDS,
    ) -> None:
        """Wait until a number is as it should be, as long as it moves.

        The limit is on standing still: how long a backlog takes is the machine's affair, and a test
        has a limit of its own.
        """
        last = number()
        while not done(last):
            time.sleep(0.05)
            before = last

            def moved(before: float = before) -> bool:
                nonlocal last
                last = number()
                return last != before

            self._wait_until(moved, f"{what}, at {last:g}", timeout)

    def stop(self, timeout: float = 40.0) -> int:
        """SIGTERM, and the exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout)

    def wait(self, timeout: float = 60.0) -> int:
        assert self._process is not None
        return self._process.wait(timeout)

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(10)


def alerts_in(bootstrap: str, topic: str) -> list[dict[str, Any]]:
    """All alerts of a topic, in offset order of its one partition."""
    return [json.loads(record.value) for record in consume_all(bootstrap, topic)]
