"""Snapshots with a checksum that fits: bytes, arrays, JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import blake2b
from random import Random
from typing import Any

import numpy as np

from fuzz.mutations import NUMBERS, VALUES, mutated, mutated_value
from fuzz.shards import NAMES, read, seed
from fuzz.target import Target
from stream_detector.errors import StateError
from stream_detector.snapshots import Snapshot, decode, encode

_DIGEST = 32


def sealed(body: bytes) -> bytes:
    """``body`` with the checksum that it should have."""
    return body + blake2b(body, digest_size=_DIGEST).digest()


def mutate(random: Random, seeds: Sequence[bytes]) -> bytes:
    """A snapshot with its bytes, its header or some leaves of its state changed."""
    chosen = random.choice(seeds)
    kind, data = chosen[:1], chosen[1:]
    way = random.random()
    if way < 0.1:
        return kind + sealed(mutated(random, [data[:-_DIGEST]]))
    if way < 0.25:
        return kind + _with_header(random, data)
    snapshot = decode(data)
    meta, state = dict(snapshot.meta), dict(snapshot.state)
    for _ in range(1 + int(random.expovariate(0.7))):
        if random.random() < 0.08:
            meta = _object(mutated_value(random, meta), meta)
        else:
            change_leaf(random, state)
    try:
        return kind + bytes(encode(Snapshot(meta, state)))
    except (TypeError, ValueError, StateError):  # no snapshot holds such a value
        return kind + _with_header(random, data)


def _object(value: Any, otherwise: dict[str, Any]) -> dict[str, Any]:
    return value if isinstance(value, dict) else otherwise


def _with_header(random: Random, data: bytes) -> bytes:
    end = 16 + int.from_bytes(data[8:16], "little")
    header, arrays = data[16:end], data[end:-_DIGEST]
    if random.random() < 0.5:
        header = json.dumps(mutated_value(random, json.loads(header))).encode()
    else:
        header = mutated(random, [header])
    return sealed(data[:8] + len(header).to_bytes(8, "little") + header + arrays)


def change_leaf(random: Random, state: dict[str, Any]) -> None:
    """Change one leaf of the state, found by going down at random; branches now and then."""
    holder: Any = state
    while True:
        key = random.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
        value = holder[key]
        if not isinstance(value, dict | list) or not value or random.random() < 0.03:
            break
        holder[key] = holder = dict(value) if isinstance(value, dict) else list(value)
    if isinstance(value, np.ndarray):
        holder[key] = changed_array(random, value)
    elif isinstance(holder, dict) and random.random() < 0.1:
        del holder[key]
    else:
        holder[key] = mutated_value(random, value) if random.random() < 0.5 else _leaf(random)


def _leaf(random: Random) -> Any:
    value = random.choice(VALUES)
    finite = not isinstance(value, float) or np.isfinite(value)
    return value if finite else 0


def changed_array(random: Random, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The array with other numbers, another shape or another type."""
    changed = array.copy()
    flat = changed.reshape(-1)
    match random.randrange(12):
        case 0 | 1 | 2 if flat.size:
            some = [random.randrange(flat.size) for _ in range(random.choice((1, 1, 10)))]
            flat[some] = _number(random, array.dtype)
        case 3 if flat.size:
            flat[...] = _number(random, array.dtype)
        case 4 | 5 if array.dtype.kind == "f":
            with np.errstate(all="ignore"):
                changed = array * array.dtype.type(random.choice((-1, 0, 1e-6, 0.5, 2, 1e6, 1e200)))
        case 6:
            order = np.random.default_rng(random.randrange(2**32)).permutation(flat.size)
            flat[...] = flat[order]
        case 7:
            changed = array[: random.randint(0, len(array))] if array.ndim else array[None]
        case 8:
            changed = np.concatenate([array] * random.choice((2, 3))) if array.ndim else array
        case 9:
            changed = array.astype(random.choice(("float32", "int64", "uint8", "float64", "bool")))
        case 10:
            changed = array.T if array.ndim > 1 else array.reshape(-1, 1)
        case _:
            raw = bytearray(array.tobytes())
            for _ in range(random.choice((1, 3))):
                if raw and array.dtype.kind != "b":
                    raw[random.randrange(len(raw))] ^= 1 << random.randrange(8)
            changed = np.frombuffer(bytes(raw), dtype=array.dtype).reshape(array.shape)
    return changed


def _number(random: Random, dtype: np.dtype[Any]) -> Any:
    if dtype.kind == "f":
        special = (np.nan, np.inf, -np.inf)
        number = random.choice((*special, *map(float, NUMBERS)))
        with np.errstate(over="ignore"):
            return dtype.type(number)
    if dtype.kind == "b":
        return random.random() < 0.5
    bounds = np.iinfo(dtype)
    return random.choice((bounds.min, bounds.max, 0, 1, bounds.max // 2, 7))


KINDS = [name for name in NAMES if name not in ("adwin", "river_classifier")]
"""Parts of those are written in Rust: each mutant takes a process, as in the target ``river``."""

TARGET = Target(lambda: [seed(name) for name in KINDS], read, mutate)
