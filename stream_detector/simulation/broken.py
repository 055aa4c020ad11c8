"""Records as no producer should send them: what a detector must survive and put aside.

Each is made of a sound event, so that it gets as far into the decoding as its mistake allows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from numpy.random import Generator

_YEAR = re.compile(rb'"\d{4}(-\d{2}-\d{2})')


def _cut_off(event: bytes) -> bytes:
    return event[: len(event) // 2]


def _no_json(event: bytes) -> bytes:
    return b"\xff\xfe" + event.replace(b'"', b"\x80")


def _replace_numbers(event: bytes, replacement: str) -> bytes:
    """The event with every number replaced, which may make it something that is no JSON."""
    members = [
        f"{json.dumps(name)}:{json.dumps(value) if isinstance(value, str) else replacement}"
        for name, value in json.loads(event).items()
    ]
    return ("{" + ",".join(members) + "}").encode()


def _wrong_type(event: bytes) -> bytes:
    return _replace_numbers(event, '["not a number"]')


def _missing_fields(event: bytes) -> bytes:
    texts = {name: value for name, value in json.loads(event).items() if isinstance(value, str)}
    return json.dumps(texts).encode()


def _nan(event: bytes) -> bytes:
    return _replace_numbers(event, "NaN")


def _infinity(event: bytes) -> bytes:
    return _replace_numbers(event, "1e999")


def _huge_text(event: bytes) -> bytes:
    return json.dumps({name: "x" * 100_000 for name in json.loads(event)}).encode()


def _deep(event: bytes) -> bytes:
    return event[:-1] + b',"nested":' + b"[" * 20_000 + b"]" * 20_000 + b"}"


def _no_such_date(event: bytes) -> bytes:
    return _YEAR.sub(rb'"9999\1', event)


def _future_date(event: bytes) -> bytes:
    return _YEAR.sub(rb'"2150\1', event)


def _empty(event: bytes) -> bytes:
    del event
    return b""


def _tombstone(event: bytes) -> None:
    del event


BROKEN: Mapping[str, Callable[[bytes], bytes | None]] = MappingProxyType(
    {
        "cut_off": _cut_off,
        "no_json": _no_json,
        "wrong_type": _wrong_type,
        "missing_fields": _missing_fields,
        "nan": _nan,
        "infinity": _infinity,
        "huge_text": _huge_text,
        "deep": _deep,
        "no_such_date": _no_such_date,
        "future_date": _future_date,
        "empty": _empty,
        "tombstone": _tombstone,
    }
)
"""By name, what makes a bad value out of a good one; None is a record without a value."""

ONLY_IN_LOGS = frozenset({"future_date", "empty", "tombstone"})
"""What means nothing in a file: there is no record timestamp for a date to lie ahead of, and a
blank line is no record."""


def positions(random: Generator, count: int, bad_share: float) -> list[int]:
    """Before which of ``count`` good events a bad one is put in, never decreasing.

    ``bad_share`` (below 1) is the share of all records, good and bad, that are bad.
    """
    return sorted(
        random.integers(0, count, random.poisson(count * bad_share / (1 - bad_share))).tolist()
    )
