"""Numbered places where a test may kill or halt the process: ``FAILPOINT=after_flush:2``.

Absent from the environment, passing one costs a look at an empty dict. Several are separated by
commas; ``name:n`` kills the process (SIGKILL) when it passes ``name`` the n-th time,
``name:n:pause=SECONDS`` halts it there, and ``name:n:pause=SECONDS:times=K`` does so K times from
there on.
"""

from __future__ import annotations

import os
import re
import signal
import time
from dataclasses import dataclass


class FailpointError(ValueError):
    """``FAILPOINT`` cannot be read: a fault that was asked for must not be left out silently."""


_FAULT = re.compile(r"(\w+)(?::(\d+)(?::pause=(\d+(?:\.\d+)?)(?::times=(\d+))?)?)?")


@dataclass(slots=True)
class Fault:
    """Fault that is to happen at a place.

    Attributes:
        after: how often the place is still to be passed unharmed, plus one.
        pause: seconds to halt; 0 kills the process.
        times: how often to halt.
    """

    after: int
    pause: float = 0.0
    times: int = 1


def parse(text: str) -> dict[str, Fault]:
    """The faults by the name of their place.

    Raises ``FailpointError``.
    """
    found: dict[str, Fault] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        if (fits := _FAULT.fullmatch(item)) is None:
            raise FailpointError(
                f"FAILPOINT: {item!r} is not name:n, name:n:pause=s or name:n:pause=s:times=k"
            )
        name, after, pause, times = fits.groups()
        found[name] = Fault(int(after or 1), float(pause or 0), int(times or 1))
    return found


_ARMED = parse(os.environ.get("FAILPOINT", ""))


def failpoint(name: str) -> None:
    """Pass the place ``name``."""
    if not _ARMED or name not in _ARMED:
        return
    fault = _ARMED[name]
    if fault.after > 1:
        fault.after -= 1
        return
    fault.times -= 1
    if fault.times <= 0:
        del _ARMED[name]
    if fault.pause:
        time.sleep(fault.pause)
    else:
        os.kill(os.getpid(), signal.SIGKILL)
