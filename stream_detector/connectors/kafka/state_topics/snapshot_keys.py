"""Contents of the topic of snapshots: keys, manifests, and an index of both.

Keys, all of them text:

    SHARD/POSITION/CONTENT/PART    a part of the bytes; CONTENT is a hash of all of them
    SHARD/POSITION/manifest        {"content", "parts", "size"}: makes that content visible
    SHARD/POSITION/reverted        the same, of a snapshot that was set aside

A second snapshot of a position has other parts, so that until its manifest is there the first one
is whole.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from stream_detector.errors import StateError

PART_BYTES = 900_000
"""Below a broker's default limit for a message, 1 MiB with what belongs to it."""

_LARGEST_SNAPSHOT = 8 * 2**30
_MAX_PARTS = -(-_LARGEST_SNAPSHOT // PART_BYTES)
_MAX_INDEXED = 1_000_000
_MAX_MANIFEST_BYTES = 1000
_KEY = re.compile(rb"([0-9]{1,6})/([0-9]{20})/(?:(manifest)|(reverted)|([0-9a-f]{32})/([0-9]{6}))")


@dataclass(frozen=True, slots=True)
class Manifest:
    """List of the parts that make up a snapshot."""

    content: str
    parts: int
    size: int

    def encode(self) -> bytes:
        """Return the manifest's bytes."""
        return json.dumps(
            {"content": self.content, "parts": self.parts, "size": self.size}
        ).encode()


def read_manifest(value: bytes) -> Manifest | None:
    """The manifest in ``value``; None where that is something else."""
    if len(value) > _MAX_MANIFEST_BYTES:
        return None
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return None
    match found:
        case {"content": str(content), "parts": int(parts), "size": int(size)} if (
            bool not in (type(parts), type(size))
            and 0 <= size <= _LARGEST_SNAPSHOT
            and parts == -(-size // PART_BYTES)
        ):
            return Manifest(content, parts, size)
    return None


def part_key(shard: int, position: int, content: str, part: int) -> bytes:
    """Key of a part."""
    return f"{shard}/{position:020d}/{content}/{part:06d}".encode()


def manifest_key(shard: int, position: int) -> bytes:
    """Key that makes a snapshot visible."""
    return f"{shard}/{position:020d}/manifest".encode()


def reverted_key(shard: int, position: int) -> bytes:
    """Key of a snapshot that was set aside."""
    return f"{shard}/{position:020d}/reverted".encode()


class Index:
    """Index of what the topic holds of one shard, without the bytes.

    State: a manifest for each snapshot and an offset for each part, at most a million. Whatever
    else is in the topic is passed over and counted: records without a key of ours, and values that
    are no manifest, which hide no snapshot that was there before.

    Attributes:
        foreign: how many records of others were passed over.
        first_foreign: offset of the first of them and what is odd about it.
    """

    def __init__(self, shard: int) -> None:
        self._shard = shard
        self._parts: dict[tuple[int, str], dict[int, int]] = {}
        self._manifests: dict[int, Manifest] = {}
        self._reverted: dict[int, Manifest] = {}
        self._count = 0
        self.foreign = 0
        self.first_foreign: tuple[int, str] | None = None

    def note(self, record: Any) -> None:
        """Take a record of the topic in. Raises ``StateError`` where there are too many."""
        match = _KEY.fullmatch(record.key or b"")
        if match is None:
            self._pass_over(record, "its key is none of a snapshot")
            return
        if int(match[1]) != self._shard:
            return
        position, value = int(match[2]), record.value
        if match[5] is not None:
            self._note_part(position, match[5].decode(), int(match[6]), record)
            return
        held = self._manifests if match[3] is not None else self._reverted
        if value is None:
            held.pop(position, None)
        elif (manifest := read_manifest(value)) is not None:
            held[position] = manifest
        else:
            self._pass_over(record, f"its value is no manifest of snapshot {position}")

    def _pass_over(self, record: Any, why: str) -> None:
        self.foreign += 1
        if self.first_foreign is None:
            self.first_foreign = (record.offset, why)

    def _note_part(self, position: int, content: str, part: int, record: Any) -> None:
        parts = self._parts.setdefault((position, content), {})
        self._count -= len(parts)
        if record.value is None:
            parts.pop(part, None)
        elif part < _MAX_PARTS:
            parts[part] = record.offset
        self._count += len(parts)
        if not parts:
            del self._parts[position, content]
        if self._count > _MAX_INDEXED:
            raise StateError("the topic of snapshots holds more parts than any daemon writes")

    def positions(self) -> list[int]:
        """Positions of the snapshots that are visible and have all their parts, newest first."""
        whole = (p for p, manifest in self._manifests.items() if self._is_whole(p, manifest))
        return sorted(whole, reverse=True)

    def _is_whole(self, position: int, manifest: Manifest) -> bool:
        held = self._parts.get((position, manifest.content), {})
        return all(part in held for part in range(manifest.parts))

    def find(self, position: int) -> tuple[Manifest, list[int]]:
        """Manifest and offsets of the parts, in order. Raises ``StateError``."""
        manifest = self._manifests.get(position)
        if manifest is None or not self._is_whole(position, manifest):
            raise StateError(f"the topic holds no whole snapshot at position {position}")
        held = self._parts.get((position, manifest.content), {})
        return manifest, [held[part] for part in range(manifest.parts)]

    def superfluous(self, position: int, keep: int) -> list[bytes]:
        """Keys that may go now that ``position`` was written, manifests before their parts.

        What lies beyond the last ``keep``, and parts up to here that no manifest names: another
        worker died over them.
        """
        kept = {*self.positions()[:keep], position}
        oldest = min(kept)
        hidden = [p for p in self._manifests if p < oldest or (p < position and p not in kept)]
        named = {(p, self._manifests[p].content) for p in self._manifests if p not in hidden}
        named |= {(p, manifest.content) for p, manifest in self._reverted.items()}
        keys = [manifest_key(self._shard, p) for p in hidden]
        unnamed = [one for one in self._parts if one[0] <= position and one not in named]
        return [*keys, *self._part_keys(unnamed)]

    def all_keys(self) -> list[bytes]:
        """Every key of the shard, manifests before their parts."""
        keys = [manifest_key(self._shard, position) for position in self._manifests]
        keys += [reverted_key(self._shard, position) for position in self._reverted]
        return [*keys, *self._part_keys(self._parts)]

    def _part_keys(self, those: Any) -> Iterator[bytes]:
        for position, content in those:
            for part in self._parts[position, content]:
                yield part_key(self._shard, position, content, part)
