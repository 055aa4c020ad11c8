"""Metadata beside the state in a snapshot, checked before anything relies on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from stream_detector.errors import StateError

_MAX_TEXT = 1000
_LARGEST_INT64 = 2**63 - 1
_YEAR_10000 = 253_402_300_800.0


def _text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _MAX_TEXT


def _count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _LARGEST_INT64


def _time(value: Any) -> bool:
    return isinstance(value, int | float) and type(value) is not bool and 0 <= value < _YEAR_10000


def _position(value: Any) -> bool:
    """[topic, partition, next offset, newest event time or -1]."""
    match value:
        case [topic, partition, offset, newest_ms]:
            whole = type(newest_ms) is int and -1 <= newest_ms <= _LARGEST_INT64
            return _text(topic) and _count(partition) and _count(offset) and whole
    return False


def _positions(value: Any) -> bool:
    if not isinstance(value, list) or not all(map(_position, value)):
        return False
    return len({(topic, partition) for topic, partition, *_ in value}) == len(value)


def _journal(value: Any) -> bool:
    if value is None:
        return True
    return (
        isinstance(value, dict)
        and value.keys() >= {"offset", "number"}
        and _count(value["offset"])
        and _count(value["number"])
        and _text(value.get("link", ""))
    )


def _topics(value: Any) -> bool:
    """Topic to its id, or nothing."""
    return value is None or (
        isinstance(value, dict) and all(map(_text, value)) and all(map(_text, value.values()))
    )


_KINDS: Mapping[str, Callable[[Any], bool]] = {
    "name": _text,
    "shard": _count,
    "sequence": _count,
    "positions": _positions,
    "configuration": _text,
    "shape": lambda value: isinstance(value, dict),
    "fingerprint": _text,
    "written_at": _time,
    "trained": lambda value: isinstance(value, bool),
    "journal": _journal,
    "set_at": _count,
    "topics": _topics,
}

_NEEDED = (
    "shard",
    "sequence",
    "positions",
    "configuration",
    "shape",
    "fingerprint",
    "written_at",
)
"""Written by every version, and needed to go on from a snapshot."""


def check_types(meta: Mapping[str, Any]) -> None:
    """Raise ``StateError`` where something in ``meta`` is not of the kind that it must be.

    What this version does not know passes: a later one may have written it.
    """
    for name, fits in _KINDS.items():
        if name in meta and not fits(meta[name]):
            raise StateError(f"the snapshot's {name} makes no sense: {meta[name]!r:.200}")


def check_complete(meta: Mapping[str, Any]) -> None:
    """Raise ``StateError`` where something is missing without which a shard cannot go on."""
    missing = [name for name in _NEEDED if name not in meta]
    if missing:
        raise StateError(f"the snapshot does not say its {', '.join(missing)}")
