"""Numbers that stand for the ids of events while these wait for their labels."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np

from stream_detector.events import Int64


def identities(ids: Sequence[str | None]) -> Int64:
    """(ids,) int64, a keyless 64-bit hash of each id, 0 for None.

    Among a million waiting events a label meets a stranger of the same hash once in 2**44 times.
    """
    return np.array(
        [
            0
            if each is None
            else int.from_bytes(
                blake2b(each.encode(), digest_size=8).digest(), "little", signed=True
            )
            for each in ids
        ],
        dtype=np.int64,
    )
