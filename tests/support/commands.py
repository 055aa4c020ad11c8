"""The commands, as a user types them."""

from __future__ import annotations

import os
import subprocess
import sys


def run(*arguments: str, timeout: float = 120.0) -> subprocess.CompletedProcess[str]:
    """Run ``stream-detector`` with ``arguments`` in a process of its own, standard input empty."""
    return subprocess.run(
        [sys.executable, "-m", "stream_detector", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "COLUMNS": "100"},
        check=False,
    )
