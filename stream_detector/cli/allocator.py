"""Large arrays go back to the operating system as soon as they are freed."""

from __future__ import annotations

import ctypes

_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8  # glibc's malloc.h
_LARGE_BYTES = 4 << 20


def give_back_large_blocks() -> None:
    """Set glibc's malloc up for a process that runs for months; elsewhere, do nothing.

    By itself it raises the size from which a block is mapped on its own to that of the largest one
    freed, so that what a snapshot takes for a moment (mallopt(3), "dynamic mmap threshold") lies in
    the heap from then on, in holes; and it makes an arena for the client's network thread.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return  # another C library
    mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
    mallopt(_M_ARENA_MAX, 1)
