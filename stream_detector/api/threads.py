"""Guard of the number of threads: the last bits of matrix products depend on it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from threadpoolctl import ThreadpoolController

_lock = threading.Lock()
_inside = 0
_modules = 0
_controller: Any = None
_limiter: Any = None


@contextmanager
def one_thread() -> Iterator[None]:
    """Hold BLAS and OpenMP to one thread inside, in the whole process; afterwards as before.

    May be entered from several threads: the last one out gives the threads back.
    """
    _enter()
    try:
        yield
    finally:
        _leave()


def _enter() -> None:
    global _inside, _modules, _controller, _limiter  # noqa: PLW0603 - the libraries are global too
    with _lock:
        _inside += 1
        if _inside > 1:
            return
        # A scan takes milliseconds, a module may have brought a library along.
        if len(sys.modules) != _modules:
            _controller = ThreadpoolController()  # type: ignore[no-untyped-call]
            _modules = len(sys.modules)
        _limiter = _controller.limit(limits=1)


def _leave() -> None:
    global _inside  # noqa: PLW0603 - as above
    with _lock:
        _inside -= 1
        if _inside == 0:
            _limiter.restore_original_limits()
