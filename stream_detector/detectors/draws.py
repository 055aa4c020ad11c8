"""Random draws that depend on a seed and a name, and on nothing else, for years."""

from __future__ import annotations

import zlib

import numpy as np


def frozen_stream(seed: int, *names: str | int) -> np.random.RandomState:
    """A stream of random numbers of its own for each seed and sequence of names.

    ``RandomState`` and not ``Generator``: NumPy froze its streams for good (NEP 19), so what a
    constructor drew need not stand in a snapshot; a ``Generator`` may draw otherwise in the next
    release, and restored counts would then belong to cuts that no longer exist.

    Args:
        seed: 0 to 2**32 - 1.
        names: Texts or counts (from 0, any size) that tell streams of one seed apart.
    """
    words = [seed]
    for name in names:
        if isinstance(name, str):
            words.append(zlib.crc32(name.encode()))
        else:
            words += [name & 0xFFFFFFFF, name >> 32 & 0xFFFFFFFF]
    return np.random.RandomState(words)
