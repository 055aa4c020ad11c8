"""A reader with every defect that the engine is to find, for tests/test_fuzz.py."""

from __future__ import annotations

import ctypes
import time
from random import Random
from typing import Any

from fuzz.target import Target

DEFECTS = (b"fine", b"raises", b"exits", b"hangs", b"memory", b"crashes", b"refused")


def mutate(random: Random, _seeds: Any) -> bytes:
    return random.choice(DEFECTS)


def read(data: bytes) -> bool:
    match data:
        case b"raises":
            raise KeyError("a defect")
        case b"exits":
            raise SystemExit(3)
        case b"hangs":
            until = time.process_time() + 60
            while time.process_time() < until:
                pass
        case b"memory":
            bytearray(2 << 30)
        case b"crashes":
            ctypes.string_at(0)
    return data != b"refused"


TARGET = Target(lambda: [b"fine"], read, mutate)
