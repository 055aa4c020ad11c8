"""Changes of bytes and of JSON values that parsers have fallen over."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

TOKENS = (
    *(b"\0", b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", b"\xed\xa0\x80", b"\xc0\xaf", b"\x1f\x8b"),
    *(b"\r\n", b"\n", b"\t", b" ", b'"', b"'", b"\\", b"\\u0000", b"\\ud800", b"\x1b[2J"),
    *(b"{", b"}", b"[", b"]", b":", b",", b";", b"|", b"[" * 2000, b'{"a":' * 500),
    *(b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-0", b"null", b"true", b"0x10", b"1_000"),
    *(b"9" * 40, b"9" * 5000, b"-1", b"18446744073709551616", b"2147483648", b"1e-400"),
    *(b"%s%n", b"../../x", b"a" * 70_000, "٣".encode(), "İ".encode(), "\u202e".encode()),
)
NUMBERS: tuple[Any, ...] = (
    *(0, 1, -1, 2, 255, 256, 1000, 2**31 - 1, 2**31, 2**32, 2**53, 2**63 - 1, 2**63, 2**64, 10**30),
    *(-(2**31), -(2**63), 0.0, -0.0, 0.5, -1.5, 1e-300, 5e-324, 1e100, 1e300, 1.7e308, -1e300),
)
VALUES: tuple[Any, ...] = (
    *NUMBERS,
    *(None, True, False, "", "x", "0", "\0", "\ud800", "x" * 3000, "NaN", [], {}, [[]], [None]),
    *({"$array": 0}, {"a": 1}, math.nan, math.inf, -math.inf),
)


def mutated(random: Random, seeds: Sequence[bytes]) -> bytes:
    """One of the seeds with some changes; of JSON now and then its values."""
    data = random.choice(seeds)
    if random.random() < 0.4 and (changed := mutated_json(random, data)) is not None:
        data = changed
        if random.random() < 0.7:
            return data
    for _ in range(1 + int(random.expovariate(0.6))):
        data = random.choice(_CHANGES)(random, data, seeds)
    return data


def mutated_json(random: Random, data: bytes) -> bytes | None:
    """``data`` with values of its JSON changed; None where it is no JSON."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    for _ in range(1 + int(random.expovariate(0.8))):
        value = mutated_value(random, value)
    return json.dumps(value).encode("utf-8", "surrogatepass")


def mutated_value(random: Random, value: Any) -> Any:
    """A JSON value with one place changed, anywhere in it."""
    if isinstance(value, dict) and value and random.random() < 0.9:
        key = random.choice(list(value))
        return _in_dict(random, value, key)
    if isinstance(value, list) and value and random.random() < 0.9:
        place = random.randrange(len(value))
        rest = [*value]
        match random.randrange(6):
            case 0:
                del rest[place]
            case 1:
                rest.insert(place, random.choice(VALUES))
            case 2:
                rest[place:place] = [rest[place]] * random.choice((1, 3, 200))
            case _:
                rest[place] = mutated_value(random, rest[place])
        return rest
    if isinstance(value, int | float) and not isinstance(value, bool) and random.random() < 0.5:
        return value * random.choice((-1, 0, 2, 10, 1000)) + random.choice((0, 1, -1))
    return random.choice(VALUES)


def _in_dict(random: Random, value: dict[str, Any], key: str) -> dict[str, Any]:
    changed = dict(value)
    match random.randrange(8):
        case 0:
            del changed[key]
        case 1:
            changed[random.choice(("", "x", "\0", key.upper(), key * 2))] = value[key]
        case 2:
            other = random.choice(list(value))
            changed[key], changed[other] = value[other], value[key]
        case _:
            changed[key] = mutated_value(random, value[key])
    return changed


def _flip(random: Random, data: bytes, _seeds: Sequence[bytes]) -> bytes:
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 8))):
        if changed:
            changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _put(random: Random, data: bytes, _seeds: Sequence[bytes]) -> bytes:
    place, gone = random.randint(0, len(data)), random.choice((0, 0, 1, 4))
    return data[:place] + random.choice(TOKENS) + data[place + gone :]


def _cut(random: Random, data: bytes, _seeds: Sequence[bytes]) -> bytes:
    start = random.randint(0, len(data))
    if random.random() < 0.3:
        return data[:start]
    return data[:start] + data[start + random.choice((1, 2, 7, 100)) :]


def _repeat(random: Random, data: bytes, _seeds: Sequence[bytes]) -> bytes:
    start = random.randint(0, len(data))
    part = data[start : start + random.choice((1, 4, 30, 200))]
    return data[:start] + part * random.choice((2, 3, 50)) + data[start:]


def _splice(random: Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    other = random.choice(seeds)
    return data[: random.randint(0, len(data))] + other[random.randint(0, len(other)) :]


def _number(random: Random, data: bytes, _seeds: Sequence[bytes]) -> bytes:
    width = random.choice((1, 2, 4, 8))
    place = random.randint(0, max(len(data) - width, 0))
    most = 2 ** (8 * width) - 1
    number = random.choice((0, 1, most, most // 2 + 1, 16, min(4096, most)))
    order = random.choice(("little", "big"))
    return data[:place] + number.to_bytes(width, order) + data[place + width :]


Change = Callable[[Random, bytes, Sequence[bytes]], bytes]
_CHANGES: tuple[Change, ...] = (_flip, _flip, _put, _put, _cut, _repeat, _splice, _number)
