"""A bound on what building a detector may take, since sizes multiply and libraries set no limit.

``HalfSpaceTrees(n_trees=100_000_000)`` builds for hours, and so do ten trees of height 30. Which of
a library's parameters is a size, and of what, is known to nobody but the library.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from stream_detector.errors import ConfigurationError

BUILD_SECONDS = 10.0
"""Processor time for one detector; the imports of scikit-learn take two of them at most."""

BUILD_BYTES = 2 * 2**30
_LOOK_SECONDS = 0.1
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


class TooLargeError(ConfigurationError):
    """A detector took more than its bound to build."""


@contextmanager
def bounded(
    what: str, seconds: float = BUILD_SECONDS, size_bytes: float = BUILD_BYTES
) -> Iterator[None]:
    """Raise ``TooLargeError`` in what takes too long or too much memory inside.

    Looks ten times in a second of processor time, by a signal; so it holds in the main thread,
    where commands build what they run, and is nothing elsewhere.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    looks, began = 0, _resident_bytes()

    def look(_number: int, _frame: FrameType | None) -> None:
        nonlocal looks
        looks += 1
        taken = _resident_bytes() - began
        if looks * _LOOK_SECONDS >= seconds:
            raise TooLargeError(_message(what, f"{seconds:g} seconds of a processor"))
        if taken > size_bytes:
            raise TooLargeError(_message(what, f"{size_bytes / 2**30:.3g} GiB of memory"))

    before = signal.signal(signal.SIGPROF, look)
    signal.setitimer(signal.ITIMER_PROF, _LOOK_SECONDS, _LOOK_SECONDS)
    try:
        yield
    except MemoryError as error:
        raise TooLargeError(_message(what, "the memory that there is")) from error
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _message(what: str, limit: str) -> str:
    return (
        f"{what}: building it takes more than {limit}; lower its sizes (trees, models, depth: they "
        "multiply)"
    )


def _resident_bytes() -> int:
    """Memory of the process now; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * _PAGE_BYTES
    except (OSError, ValueError, IndexError):
        return 0
