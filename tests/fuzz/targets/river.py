"""Pickles of River's objects inside snapshots that are sound otherwise."""

from __future__ import annotations

import pickle
import pickletools
from collections.abc import Sequence
from random import Random
from typing import Any

import numpy as np

from fuzz.mutations import NUMBERS, mutated
from fuzz.shards import read, seed
from fuzz.target import Target
from stream_detector.snapshots import Snapshot, decode, encode

KINDS = ("river", "river_filter", "river_classifier", "loda") * 2 + ("adwin",)
"""``loda`` has watches for drift, which are River's too; that of ``adwin`` is written in Rust, and
each takes a process of its own."""

_NUMBERS = ("BINFLOAT", "BININT", "BININT1", "BININT2", "LONG1")
_BLOBS = ("model", "detectors")


def mutate(random: Random, seeds: Sequence[bytes]) -> bytes:
    """A snapshot with one of its pickles changed."""
    chosen = random.choice(seeds)
    snapshot = decode(chosen[1:])
    state = dict(snapshot.state)
    holders = list(_holders(state))
    holder = random.choice(holders)
    for name in _BLOBS:
        if name in holder:
            content = changed(random, holder[name].tobytes())
            holder[name] = np.frombuffer(content, dtype=np.uint8)
    return chosen[:1] + bytes(encode(Snapshot(snapshot.meta, state)))


def _holders(state: Any) -> list[Any]:
    found = []
    if isinstance(state, dict):
        if any(isinstance(state.get(name), np.ndarray) for name in _BLOBS):
            found.append(state)
        for inner in state.values():
            found += _holders(inner)
    elif isinstance(state, list):
        for inner in state:
            found += _holders(inner)
    return found


def changed(random: Random, content: bytes) -> bytes:
    """A pickle with bytes, instructions or numbers changed."""
    for _ in range(1 + int(random.expovariate(1.0))):
        way = random.random()
        if way < 0.25 or not content:
            content = mutated(random, [content])
        else:
            content = _with_instruction(random, content, numbers=way > 0.5)
    return content


def _with_instruction(random: Random, content: bytes, *, numbers: bool) -> bytes:
    """One instruction replaced, doubled or left out; or a number by another."""
    places: list[tuple[str, int]] = []
    try:
        places += [(op.name, place or 0) for op, _, place in pickletools.genops(content)]
    except Exception:  # noqa: BLE001 - what an earlier change has broken
        return mutated(random, [content])
    if len(places) < 3:
        return mutated(random, [content])
    floats = [i for i, (name, _) in enumerate(places[:-1]) if name in _NUMBERS]
    index = random.choice(floats) if numbers and floats else random.randrange(1, len(places) - 1)
    start, end = places[index][1], places[index + 1][1]
    if numbers and floats:
        value = random.choice((*NUMBERS, float("nan"), float("inf"), None, True, "x", [], {}))
        return content[:start] + pickle.dumps(value, 5)[2:-1] + content[end:]
    other = random.randrange(1, len(places) - 1)
    taken = content[places[other][1] : places[other + 1][1]]
    match random.randrange(3):
        case 0:
            return content[:start] + content[end:]
        case 1:
            return content[:start] + taken + content[end:]
        case _:
            return content[:start] + taken + content[start:]


TARGET = Target(lambda: [seed(name) for name in KINDS], read, mutate)
