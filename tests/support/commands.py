"""The commands, as a user types them."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from unittest import mock

from stream_detector.__main__ import main


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


def call(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The same in this process, for what its output and exit code say: two seconds of imports less.

    Each command has a test with ``run`` besides, which sees the process as its user does.
    """
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with (
        _logging_restored(),
        mock.patch.dict(os.environ, {"COLUMNS": "100"}),
        mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO())),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            code = main(list(arguments))
        except SystemExit as end:  # argparse: help, or words it does not know
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
    said = [each.buffer.getvalue().decode() for each in (out, err)]  # type: ignore[attr-defined]
    return subprocess.CompletedProcess(list(arguments), code, *said)


@contextlib.contextmanager
def _logging_restored() -> Iterator[None]:
    """Handlers, levels and captured warnings: commands set them up for a process of their own."""
    root = logging.getLogger()
    loggers = [root, *(logging.getLogger(name) for name in logging.root.manager.loggerDict)]
    handlers, levels = root.handlers[:], [logger.level for logger in loggers]
    try:
        yield
    finally:
        logging.captureWarnings(capture=False)
        root.handlers[:] = handlers
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
