"""Compressed bytes, undone a bounded piece at a time: gzip, bzip2, xz and zstd."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable
from typing import Protocol

import zstandard

_ZSTD_SLICE_BYTES = 2**10
"""zstd's library bounds no output: one slice gives 43 MB at the very most, a few KiB as a rule."""
_XZ_MEMORY_BYTES = 2**28


class Decompressor(Protocol):
    """Undoes one stream (a gzip member, a zstd frame) as its bytes come."""

    @property
    def eof(self) -> bool:
        """Tell whether the stream has ended."""

    @property
    def unused_data(self) -> bytes:
        """Return what came after its end."""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Up to about ``max_length`` bytes; input that waits for the next call is kept."""

    @property
    def needs_input(self) -> bool:
        """Tell whether another call without data brings nothing."""


class _Zlib:
    """``zlib`` with the interface that bz2 and lzma have."""

    def __init__(self) -> None:
        self._inflater = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._inflater.eof

    @property
    def unused_data(self) -> bytes:
        return self._inflater.unused_data

    @property
    def needs_input(self) -> bool:
        return not self._inflater.unconsumed_tail

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._inflater.decompress(self._inflater.unconsumed_tail + data, max_length)


class _Zstd:
    """``zstandard`` with the same interface."""

    def __init__(self) -> None:
        self._decompressor = zstandard.ZstdDecompressor().decompressobj()
        self._waiting = b""

    @property
    def eof(self) -> bool:
        return self._decompressor.eof

    @property
    def unused_data(self) -> bytes:
        return self._decompressor.unused_data + self._waiting if self.eof else b""

    @property
    def needs_input(self) -> bool:
        return not self._waiting

    def decompress(self, data: bytes, max_length: int) -> bytes:
        waiting = memoryview(self._waiting + data)
        pieces, size, start = [], 0, 0
        while start < len(waiting) and size < max_length and not self._decompressor.eof:
            piece = self._decompressor.decompress(waiting[start : start + _ZSTD_SLICE_BYTES])
            start += _ZSTD_SLICE_BYTES
            pieces.append(piece)
            size += len(piece)
        self._waiting = bytes(waiting[start:])
        return b"".join(pieces)


_KINDS: tuple[tuple[bytes, str, Callable[[], Decompressor]], ...] = (
    (b"\x1f\x8b", "gzip", _Zlib),
    (b"\x28\xb5\x2f\xfd", "zstd", _Zstd),
    (b"BZh", "bzip2", bz2.BZ2Decompressor),
    (b"\xfd7zXZ\x00", "xz", lambda: lzma.LZMADecompressor(memlimit=_XZ_MEMORY_BYTES)),
)
_ERRORS = (zlib.error, zstandard.ZstdError, lzma.LZMAError, OSError, EOFError, ValueError)
LONGEST_MAGIC = max(len(magic) for magic, _, _ in _KINDS)


class DamagedError(Exception):
    """Compressed bytes are damaged or end too early."""


class Decompression:
    """Several streams after one another, with zeros between them, as tools append them.

    State: the stream that is open, and compressed bytes not yet undone.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._make = next(make for _, name, make in _KINDS if name == kind)
        self._stream: Decompressor | None = self._make()
        self._waiting = b""

    @property
    def waiting(self) -> bool:
        """Tell whether another call without data may bring more."""
        if self._stream is None or self._stream.eof:
            return bool(self._waiting)
        return bool(self._waiting) or not self._stream.needs_input

    @property
    def whole(self) -> bool:
        """Tell whether no stream is open that should go on."""
        return self._stream is None or self._stream.eof

    def feed(self, data: bytes, max_length: int) -> bytes:
        """About ``max_length`` bytes at most. Raises ``DamagedError``."""
        data, self._waiting = self._waiting + data, b""
        if self._stream is None or self._stream.eof:
            data = data.lstrip(b"\0")
            if not data:
                return b""
            self._stream = self._make()
        try:
            piece = self._stream.decompress(data, max_length)
        except _ERRORS as error:
            raise DamagedError(f"the {self.kind} data are damaged ({error})") from error
        if self._stream.eof:
            self._waiting = self._stream.unused_data
        return piece


def compression_of(head: bytes) -> str | None:
    """Return what bytes are compressed with, by how they begin; None where they are not."""
    return next((name for magic, name, _ in _KINDS if head.startswith(magic)), None)
