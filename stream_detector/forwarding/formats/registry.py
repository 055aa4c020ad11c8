"""The formats by their names in the configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from stream_detector.forwarding.formats.ecs import ecs
from stream_detector.forwarding.formats.ocsf import ocsf
from stream_detector.forwarding.message import Message

_FORMATS: Mapping[str, Callable[[Message], Any]] = {
    "json": lambda message: message.body,
    "ecs": ecs,
    "ocsf": ocsf,
}


def written(message: Message, name: str) -> bytes:
    """Return a message in a format, as JSON on one line."""
    return msgspec.json.encode(_FORMATS[name](message))
