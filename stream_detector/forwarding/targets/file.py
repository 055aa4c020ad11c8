"""A file of JSON lines, each synced to the disk before it counts as sent."""

from __future__ import annotations

import os
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

from stream_detector.config.models.forward import FileTargetConfig
from stream_detector.forwarding.formats.registry import written
from stream_detector.forwarding.message import Message
from stream_detector.forwarding.outcome import SENT, Outcome
from stream_detector.forwarding.targets.base import Means, Target
from stream_detector.visible import shown

_TAIL_BYTES = 8 * 2**20
"""So much of the end is looked through for what a process wrote that was killed before it said so:
more than is ever written between two commits."""


class FileTarget(Target):
    """Appends to a file.

    State: the open file, and the lines at its end as of when it was opened, by their digests: a
    message whose line is there was written before a kill, and is not written again.
    """

    batch = 500
    in_order = True

    def __init__(self, config: FileTargetConfig, means: Means) -> None:
        del means
        self._path, self._format = Path(config.path), config.format
        self._descriptor: int | None = None
        self._there: frozenset[bytes] = frozenset()

    def obstacle(self) -> str | None:
        """A directory that is not there, or a file that may not be written."""
        if not self._path.parent.is_dir():
            return f"{shown(self._path.parent)} is no directory"
        there = self._path if self._path.exists() else self._path.parent
        if self._path.is_dir() or not os.access(there, os.W_OK):
            return f"{shown(self._path)} cannot be written"
        return None

    def deliver(self, messages: Sequence[Message]) -> list[Outcome]:
        """Append what is not there, and sync."""
        lines = [written(message, self._format) for message in messages]
        try:
            descriptor = self._opened()
            new = b"".join(line + b"\n" for line in lines if _digest(line) not in self._there)
            at = os.lseek(descriptor, 0, os.SEEK_END)
            try:
                _write(descriptor, new)
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, at)  # no half of a line stays
                raise
        except OSError as error:
            self.close()
            why = error.strerror or str(error)
            outcome = Outcome("away", "unwritable", f"{shown(self._path)}: {why}")
            return [outcome] * len(messages)
        return [SENT] * len(messages)

    def _opened(self) -> int:
        """Return the file, opened anew where its name leads to another one by now (rotation)."""
        if self._descriptor is not None:
            ours = os.fstat(self._descriptor)
            try:
                named = self._path.stat()
            except FileNotFoundError:
                self.close()
            else:
                if (named.st_dev, named.st_ino) != (ours.st_dev, ours.st_ino):
                    self.close()
        if self._descriptor is None:
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(self._path, flags, 0o640)
            try:
                self._there = _mended(descriptor)
            except OSError:
                os.close(descriptor)
                raise
            self._descriptor = descriptor
        return self._descriptor

    def close(self) -> None:
        """Close the file."""
        descriptor, self._descriptor = self._descriptor, None
        self._there = frozenset()
        if descriptor is not None:
            os.close(descriptor)


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _mended(descriptor: int) -> frozenset[bytes]:
    """Cut off a last line that was not ended, and return the digests of the lines at the end."""
    size = os.lseek(descriptor, 0, os.SEEK_END)
    start = max(0, size - _TAIL_BYTES)
    tail = b""
    while len(tail) < size - start:
        piece = os.pread(descriptor, size - start - len(tail), start + len(tail))
        if not piece:
            break
        tail += piece
    whole = tail.rfind(b"\n") + 1
    if whole < len(tail) and (whole or start == 0):
        os.ftruncate(descriptor, start + whole)
    return frozenset(map(_digest, tail[:whole].split(b"\n")))


def _digest(line: bytes) -> bytes:
    return blake2b(line, digest_size=16).digest()
