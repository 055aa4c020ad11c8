"""Records as no producer should send them: what a detector must survive and put aside.

Each is made of a sound event, so that it gets as far into the decoding as its mistake allows. The
dead letter that comes of it is to be written with the record's own key and headers, whatever they
are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

_YEAR = re.compile(rb'"\d{4}(-\d{2}-\d{2})')
_TIME = re.compile(rb'"\d{4}-\d{2}-\d{2}[^"]*"')


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
    return json.dumps(dict.fromkeys(json.loads(event), "x" * 20_000)).encode()


def _too_large(event: bytes) -> bytes:
    return event[:-1] + b',"padding":"' + b"x" * 300_000 + b'"}'


def _deep(event: bytes) -> bytes:
    return event[:-1] + b',"nested":' + b"[" * 20_000 + b"]" * 20_000 + b"}"


def _no_such_date(event: bytes) -> bytes:
    return _YEAR.sub(rb'"9999\1', event)


def _future_date(event: bytes) -> bytes:
    return _YEAR.sub(rb'"2150\1', event)


def _garbage(event: bytes) -> bytes:
    return bytes(byte ^ 0xA5 for byte in event)


def _registry_avro(event: bytes) -> bytes:
    return b"\x00\x00\x00\x00\x2a" + bytes([len(event) % 64 * 2, *event[:60:3], 2, 4, 200, 1])


def _utf16(event: bytes) -> bytes:
    return event.decode().encode("utf-16")


def _microseconds(event: bytes) -> bytes:
    """The event with the year 56,000 for its time: microseconds where milliseconds belong."""
    return _TIME.sub(b'"1750000000000000"', event)


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
        "too_large": _too_large,
        "deep": _deep,
        "no_such_date": _no_such_date,
        "future_date": _future_date,
        "garbage": _garbage,
        "registry_avro": _registry_avro,
        "utf16": _utf16,
        "microseconds": _microseconds,
        "empty": _empty,
        "tombstone": _tombstone,
    }
)
"""By name, what makes a bad value out of a good one; None is a record without a value."""


class Spoilt(NamedTuple):
    """A record for a log.

    Attributes:
        value: None for a tombstone.
        headers: besides its own; their names are any bytes.
        keyless: whether it has no key, whatever the good one had.
    """

    value: bytes | None
    headers: tuple[tuple[bytes, bytes], ...] = ()
    keyless: bool = False


def _keyless_tombstone(event: bytes) -> Spoilt:
    del event
    return Spoilt(None, keyless=True)


def _header_name_not_utf8(event: bytes) -> Spoilt:
    return Spoilt(_cut_off(event), (("Größe".encode("latin-1"), b"1"), (b"\xff\x00", b"2")))


def _huge_headers(event: bytes) -> Spoilt:
    return Spoilt(_cut_off(event), ((b"trace", b"x" * 200_000), (b"n" * 20_000, b"")))


def _many_headers(event: bytes) -> Spoilt:
    return Spoilt(_cut_off(event), tuple((b"h", b"%d" % number) for number in range(2000)))


def _header_of_ours(event: bytes) -> Spoilt:
    return Spoilt(_cut_off(event), ((b"__connect.errors.topic", b"elsewhere"), (b"", b"\xff")))


HOSTILE: Mapping[str, Callable[[bytes], Spoilt]] = MappingProxyType(
    {
        "keyless_tombstone": _keyless_tombstone,
        "header_name_not_utf8": _header_name_not_utf8,
        "huge_headers": _huge_headers,
        "many_headers": _many_headers,
        "header_of_ours": _header_of_ours,
    }
)
"""By name, what makes a bad record out of a good value: its key and headers are odd as well."""

ONLY_IN_LOGS = frozenset({"future_date", "empty", "tombstone", "registry_avro", "utf16", *HOSTILE})
"""What means nothing in a file: there is no record timestamp for a date to lie ahead of, a blank
line is no record, and some bytes end a line."""


def _made_by(make: Callable[[bytes], bytes | None]) -> Callable[[bytes], Spoilt]:
    return lambda event: Spoilt(make(event))


_MAKERS = {**{name: _made_by(make) for name, make in BROKEN.items()}, **HOSTILE}


class Spoiler:
    """Puts bad records in between good ones, which stay as they are. State: its generator."""

    def __init__(self, seed: int, bad_share: float, without: Collection[str] = ()) -> None:
        """``bad_share`` (below 1): share of all records, good and bad, that are bad."""
        self._random = np.random.default_rng([seed, 3])
        self._bad_for_each_good = bad_share / (1 - bad_share)
        self._makers = [make for name, make in _MAKERS.items() if name not in without]

    def spoil(self, values: Sequence[bytes]) -> list[tuple[int, Spoilt]]:
        """Good and bad records, each with the row of the good one that it is or was made of."""
        count = self._random.poisson(len(values) * self._bad_for_each_good)
        rows = np.sort(self._random.integers(0, max(1, len(values)), count)).tolist()
        makers = self._random.integers(0, len(self._makers), count).tolist()
        mixed: list[tuple[int, Spoilt]] = []
        done = 0
        for row, maker in zip(rows, makers, strict=True):
            mixed.extend((good, Spoilt(values[good])) for good in range(done, row))
            mixed.append((row, self._makers[maker](values[row])))
            done = row
        mixed.extend((good, Spoilt(values[good])) for good in range(done, len(values)))
        return mixed


def spoil(values: Sequence[bytes], every: int, offset: int = 0) -> list[Spoilt]:
    """As many records, every ``every``-th of the stream replaced by a bad one, all kinds in turn.

    ``offset`` is the number of events before the first value.
    """
    makers = list(_MAKERS.values())
    spoilt = list(map(Spoilt, values))
    for row in range(every - 1 - offset % every, len(values), every):
        make = makers[(offset + row) // every % len(makers)]
        spoilt[row] = make(values[row])
    return spoilt
