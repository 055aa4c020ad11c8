"""A reader that waits where no alarm of its own process reaches it."""

from __future__ import annotations

import signal

from fuzz.target import Target


def read(data: bytes) -> bool:
    if data == b"wait":
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPROF, signal.SIGALRM})
        signal.sigwait({signal.SIGUSR1})
    return True


TARGET = Target(lambda: [b"go on"], read, lambda _random, _seeds: b"wait")
