"""A daemon of its own process, and what can be read of it while it runs."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml


def resident_mib(process: int | str = "self") -> float:
    """Memory of a process, by its id."""
    text = Path(f"/proc/{process}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+)", text)[0]) / 1024


class MeasuredDaemon:
    """``stream-detector run``, its log, its metrics, its memory and CPU; killed at the end.

    The constructor returns once it serves metrics. Raises ``SystemExit`` with the end of its log
    where it ends before what is waited for.
    """

    def __init__(
        self, configuration: dict[str, Any], directory: Path, name: str = "daemon"
    ) -> None:
        path, self.log = directory / f"{name}.yaml", directory / f"{name}.log"
        path.write_text(yaml.safe_dump(configuration))
        self._started = time.perf_counter()
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "stream_detector", "run", str(path)],
                stdout=output,
                stderr=output,
            )
        self._address = self.wait_for(r"metrics at (http://\S+)")[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    def wait_for(self, pattern: str, seconds: float = 300) -> re.Match[str]:
        """The first match in the log."""
        until = time.monotonic() + seconds
        while not (found := re.search(pattern, self.log.read_text())):
            self.check()
            if time.monotonic() > until:
                raise SystemExit(self.log.read_text()[-3000:])
            time.sleep(0.02)
        return found

    def check(self) -> None:
        """Raises ``SystemExit`` where it has ended."""
        if self._process.poll() is not None:
            raise SystemExit(self.log.read_text()[-3000:])

    def metrics(self) -> str:
        with urllib.request.urlopen(self._address, timeout=30) as answer:
            return answer.read().decode()

    def count(self, name: str) -> float:
        """A counter, summed over its labels."""
        pattern = rf"^stream_detector_{name}_total\{{.*\}} (\S+)$"
        return sum(map(float, re.findall(pattern, self.metrics(), re.MULTILINE)))

    def events(self) -> float:
        """Events processed."""
        return self.count("events")

    def stages(self, events: float) -> dict[str, float]:
        """Microseconds an event of each stage, as it exports them; poll includes waiting."""
        pattern = r'^stream_detector_stage_duration_seconds_sum\{stage="(\w+)"\} (\S+)$'
        found = re.findall(pattern, self.metrics(), re.MULTILINE)
        return {stage: round(float(seconds) / events * 1e6, 2) for stage, seconds in found}

    def resident_mib(self) -> float:
        return resident_mib(self._process.pid)

    def cpu_seconds(self) -> float:
        text = Path(f"/proc/{self._process.pid}/stat").read_text()
        fields = text.rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def since(self) -> float:
        """Seconds since it was started."""
        return time.perf_counter() - self._started

    def stop(self) -> int:
        """Its exit code after SIGTERM."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(60)

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(60)
