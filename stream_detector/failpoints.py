"""Numbered places where a test may kill or halt the process: ``FAILPOINT=after_flush:2``.

Absent from the environment, passing one costs a look at an empty dict. Several are separated by
commas; ``name:n`` kills the process (SIGKILL) when it passes ``name`` the n-th time, and
``name:n:pause=SECONDS`` halts it there, once.
"""

from __future__ import annotations

import os
import signal
import time


class FailpointError(ValueError):
    """``FAILPOINT`` cannot be read: a fault that was asked for must not be left out silently."""


def parse(text: str) -> dict[str, tuple[int, float]]:
    """For each name how often it may still be passed, and seconds to halt (0: kill).

    Raises ``FailpointError``.
    """
    found: dict[str, tuple[int, float]] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, *rest = item.split(":")
        try:
            count = int(rest[0]) if rest else 1
            pause = float(rest[1].removeprefix("pause=")) if len(rest) > 1 else 0.0
        except ValueError as error:
            raise FailpointError(f"FAILPOINT: {item!r} is not name:n or name:n:pause=s") from error
        found[name] = (count, pause)
    return found


_ARMED = parse(os.environ.get("FAILPOINT", ""))


def failpoint(name: str) -> None:
    """Pass the place ``name``."""
    if not _ARMED or name not in _ARMED:
        return
    left, pause = _ARMED[name]
    if left > 1:
        _ARMED[name] = (left - 1, pause)
        return
    del _ARMED[name]
    if pause:
        time.sleep(pause)
    else:
        os.kill(os.getpid(), signal.SIGKILL)
