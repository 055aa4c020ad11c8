"""Lines out of a file, a pipe or standard input, gzipped or not, with a deadline for a pipe."""

from __future__ import annotations

import os
import select
import stat
import time
import zlib
from pathlib import Path
from typing import Protocol

from stream_detector.errors import ConnectorError

STANDARD_INPUT = "-"
MAX_LINE_BYTES = 64 * 2**20
"""A longer line is no record but a file of another kind; holding it would unbound memory."""

_GZIP_MAGIC = b"\x1f\x8b"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_FILE_BLOCK_BYTES = 2**18
_PIPE_BLOCK_BYTES = 2**16
_INFLATED_BLOCK_BYTES = 2**20


class _Inflater(Protocol):
    """What ``zlib.decompressobj`` makes: its class has no public name."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    @property
    def unconsumed_tail(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int = 0, /) -> bytes: ...


class LineReader:
    """Splits bytes into lines. Whether they are gzipped is read off the first two bytes.

    State: the lines of the last block that were not taken yet, the unfinished last line, and
    compressed bytes not yet inflated. Bounded by ``MAX_LINE_BYTES`` and a block's size, also for a
    gzip bomb.
    """

    def __init__(self, path: str) -> None:
        """Open ``path``, or standard input for ``-``. Raises ``ConnectorError``."""
        self.name = "standard input" if path == STANDARD_INPUT else path
        try:
            # Unbuffered: a buffer in between would hide from `select` what it holds.
            if path == STANDARD_INPUT:
                self._file = open(0, "rb", buffering=0, closefd=False)  # noqa: SIM115 - see close
            else:
                self._file = Path(path).open("rb", buffering=0)  # noqa: SIM115 - see close
            status = os.fstat(self._file.fileno())
        except OSError as error:
            raise ConnectorError(f"cannot read {self.name}: {error.strerror or error}") from error
        self._is_file = stat.S_ISREG(status.st_mode)
        self.size_bytes = status.st_size if self._is_file else None
        self.read_bytes = 0
        self._head: bytes | None = b""  # until it is known whether the bytes are gzipped
        self._inflater: _Inflater | None = None
        self._compressed = b""
        self._lines: list[bytes] = []
        self._taken = 0
        self._unfinished: list[bytes] = []
        self._unfinished_bytes = 0
        self._line_number = 0
        self._end_of_bytes = False

    @property
    def waiting(self) -> int:
        """Complete lines that ``take`` gives without reading."""
        return len(self._lines) - self._taken

    @property
    def ended(self) -> bool:
        """Whether every line was taken."""
        return self._end_of_bytes and not self.waiting

    def fill(self, timeout_seconds: float | None) -> bool:
        """Read until a line waits; False where none came in time (None: no limit) or at the end.

        Raises:
            ConnectorError: reading fails, the gzip data are damaged or cut, a line is too long.
        """
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        while not self.waiting and not self._end_of_bytes:
            if self._compressed:
                self._split(self._inflate(b""))
                continue
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            block = self._read_block(left)
            if block is None:
                return False
            if block:
                self._take_in(block)
            else:
                self._finish()
        return self.waiting > 0

    def take(self, count: int) -> list[bytes]:
        """Up to ``count`` waiting lines, without their line feeds."""
        lines = self.peek_some(count)
        self._taken += len(lines)
        return lines

    def peek(self) -> bytes:
        """The next line, not taken; only when one waits."""
        return self._lines[self._taken]

    def peek_some(self, count: int) -> list[bytes]:
        """Up to ``count`` waiting lines, not taken."""
        return self._lines[self._taken : self._taken + count]

    def _read_block(self, timeout_seconds: float | None) -> bytes | None:
        """Next bytes, ``b""`` at the end, None where none came in time."""
        try:
            if self._is_file:
                block = self._file.read(_FILE_BLOCK_BYTES)
            else:
                if not select.select([self._file], [], [], timeout_seconds)[0]:
                    return None
                block = self._file.read(_PIPE_BLOCK_BYTES)
        except OSError as error:
            raise ConnectorError(f"cannot read {self.name}: {error.strerror or error}") from error
        if block is not None:
            self.read_bytes += len(block)
        return block

    def _take_in(self, block: bytes) -> None:
        if self._head is not None:
            block = self._head + block
            if len(block) < len(_BYTE_ORDER_MARK):
                self._head = block
                return
            self._head = None
            if block.startswith(_GZIP_MAGIC):
                self._inflater = zlib.decompressobj(wbits=31)
        self._split(self._inflate(block) if self._inflater is not None else block)

    def _inflate(self, block: bytes) -> bytes:
        """At most one inflated block; what is left waits in ``_compressed``."""
        assert self._inflater is not None
        if self._inflater.eof:  # a gzip file may hold several members, and zeros between them
            block = (self._compressed + block).lstrip(b"\0")
            self._compressed = b""
            if not block:
                return b""
            self._inflater = zlib.decompressobj(wbits=31)
        else:
            block = self._compressed + block
        try:
            inflated = self._inflater.decompress(block, _INFLATED_BLOCK_BYTES)
        except zlib.error as error:
            raise ConnectorError(f"{self.name}: the gzip data are damaged ({error})") from error
        self._compressed = self._inflater.unconsumed_tail or self._inflater.unused_data
        return inflated

    def _split(self, block: bytes) -> None:
        if not self._line_number and not self._unfinished_bytes:
            block = block.removeprefix(_BYTE_ORDER_MARK)
        first, *rest = block.split(b"\n")
        self._unfinished.append(first)
        self._unfinished_bytes += len(first)
        if self._unfinished_bytes > MAX_LINE_BYTES:
            raise ConnectorError(
                f"{self.name}: line {self._line_number + 1} is longer than "
                f"{MAX_LINE_BYTES // 2**20} MiB; is this a file of records?"
            )
        if not rest:
            return
        lines = [b"".join(self._unfinished), *rest[:-1]]
        self._unfinished = [rest[-1]]
        self._unfinished_bytes = len(rest[-1])
        self._line_number += len(lines)
        # Only called when no line waits, so nothing is overwritten.
        self._lines, self._taken = lines, 0

    def _finish(self) -> None:
        if self._head:
            self._split(self._head)
        if self._inflater is not None and not self._inflater.eof:
            raise ConnectorError(f"{self.name}: the gzip data end too early; is the file whole?")
        self._end_of_bytes = True
        if self._unfinished_bytes:  # the last line has no line feed
            self._lines, self._taken = [b"".join(self._unfinished)], 0
            self._unfinished, self._unfinished_bytes = [], 0

    def close(self) -> None:
        """Close the file; standard input stays open for others."""
        self._file.close()
