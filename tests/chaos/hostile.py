"""Records as the field sends them: bad ones, marked, and good ones in strange clothes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Self

import numpy as np
from kafka_broker.clients import Message

from stream_detector.simulation.bad import BROKEN

PLANTED = "chaos.planted"
"""Header of a record that must not be scored, with its kind; whoever refuses a record without it
has refused a good one."""

ABORTED = "aborted"
"""Kind of what only a reader of uncommitted records can see."""

FUTURE = "-from-the-future"
"""End of the id of the event whose producer's clock is ahead."""

RARE = ("too_large", "huge_text")
"""Bad ones of hundreds of kilobytes: a few suffice."""


class RawName(str):
    """A header's name of any bytes, which kafka-python would encode as UTF-8."""

    __slots__ = ("raw",)

    def __new__(cls, raw: bytes) -> Self:
        name = super().__new__(cls, raw.decode("latin-1"))
        name.raw = raw
        return name

    def encode(self, *_: str, **__: str) -> bytes:
        """Its bytes, whatever the encoding."""
        return self.raw


def _marked(message: Message, kind: str) -> Message:
    return replace(message, headers=(*message.headers, (PLANTED, kind.encode())))


def _of(make: Callable[[bytes], bytes | None]) -> Callable[[Message], Message]:
    return lambda message: replace(message, value=make(message.value or b""))


def _registry_json(event: bytes) -> bytes:
    return b"\x00\x00\x00\x00\x2a" + event


def _keyless_tombstone(message: Message) -> Message:
    return replace(message, key=None, value=None)


def _tombstone_with_headers(message: Message) -> Message:
    return replace(message, key=b"", value=None, headers=(("", b""),))


BAD: Mapping[str, Callable[[Message], Message]] = MappingProxyType(
    {name: _of(make) for name, make in BROKEN.items() if name not in RARE}
    | {
        "keyless_tombstone": _keyless_tombstone,
        "tombstone_with_headers": _tombstone_with_headers,
    }
)

HUGE = MappingProxyType({name: _of(BROKEN[name]) for name in RARE})


def _headers(*headers: tuple[str, bytes]) -> Callable[[Message], Message]:
    return lambda message: replace(message, headers=headers)


def _key(key: bytes | None) -> Callable[[Message], Message]:
    return lambda message: replace(message, key=key)


ODD: Mapping[str, Callable[[Message], Message]] = MappingProxyType(
    {
        "header_name_not_utf8": _headers((RawName(b"\xff\xfename\x80"), b"value")),
        "header_value_not_utf8": _headers(("traceparent", b"\xff\x00\x80"), ("tracestate", b"")),
        "headers_of_one_name": _headers(("a", b"1"), ("a", b"2"), ("", b"")),
        "header_of_ours": _headers(("__connect.errors.topic", b"elsewhere"), ("ce_id", b"x")),
        "no_key": _key(None),
        "empty_key": _key(b""),
        "key_not_utf8": _key(b"\xff\x00\x80"),
        "long_key": _key(b"k" * 3000),
        "registry_json": _of(_registry_json),
    }
)
"""Good ones: none of this is read, or it is seen through; it must stop and change nothing."""

_BAD_NAMES, _ODD_NAMES, _HUGE_NAMES = list(BAD), list(ODD), list(HUGE)


def bad(message: Message, number: int) -> Message:
    """The ``number``-th bad one, made of a good one; all kinds in turn, now and then a huge one."""
    if number % 40 == 39:
        name = _HUGE_NAMES[number // 40 % len(_HUGE_NAMES)]
        return _marked(HUGE[name](message), name)
    name = _BAD_NAMES[number % len(_BAD_NAMES)]
    return _marked(BAD[name](message), name)


def odd(message: Message, number: int) -> Message:
    """The ``number``-th good one in strange clothes; all kinds in turn."""
    return ODD[_ODD_NAMES[number % len(_ODD_NAMES)]](message)


def aborted(message: Message) -> Message:
    """What is taken back: a bad one, so that it could not be read without a trace."""
    return _marked(replace(message, value=b"aborted"), ABORTED)


def from_the_future(message: Message, ahead_ms: int) -> Message:
    """A good one whose producer's clock is ahead, event time and timestamp alike."""
    event = json.loads(message.value or b"")
    time_ms = int(np.datetime64(event["time"].removesuffix("Z"), "ms").astype(int)) + ahead_ms
    event["time"] = np.datetime_as_string(np.datetime64(time_ms, "ms")) + "Z"
    event["id"] += FUTURE
    return replace(message, value=json.dumps(event).encode(), timestamp_ms=time_ms)
