"""Processes of our own beside this one: how they begin, and how they are ended."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

_END_SECONDS = 5.0


def start(
    target: Callable[..., None], arguments: tuple[Any, ...], *, duplex: bool
) -> tuple[Connection, BaseProcess]:
    """Start ``target(connection, *arguments)`` in a process; its end of the pipe is the first.

    Spawned, not forked: threads of libraries would not survive a fork. It would run a caller's
    script a second time, unless that asks for its own name first.

    Args:
        target: a function of a module; it is given what the pipe's other end is to this process.
        arguments: the further ones.
        duplex: whether it is spoken to as well.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex)
    process = context.Process(target=target, args=(theirs, *arguments), daemon=True)
    with _deaf():
        process.start()
    theirs.close()  # so that the end of the process is the end of the pipe
    return ours, process


def end(process: BaseProcess) -> None:
    """End a process, whatever it is doing."""
    if process.is_alive():
        process.terminate()
    process.join(_END_SECONDS)
    if process.is_alive():
        process.kill()
        process.join(_END_SECONDS)


@contextmanager
def _deaf() -> Iterator[None]:
    """What is started meanwhile does not hear Ctrl-C, which a terminal sends to all at once.

    It is ended by this process, which hears it; and a process hears its parent's mask from its
    first instruction on, where a handler of its own would come after half a second of imports.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    # Else it begins with the first process, and leaves the signal let through.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
