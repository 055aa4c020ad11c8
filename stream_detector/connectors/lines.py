"""Lines out of a stream of bytes, with a deadline for a pipe."""

from __future__ import annotations

import re
import time

from stream_detector.connectors.reading.notes import Chunk, FileNote
from stream_detector.connectors.reading.stream import ByteStream
from stream_detector.errors import ConnectorError

MAX_LINE_BYTES = 64 * 2**20
"""A longer line is no record but a file of another kind; holding it would unbound memory."""

_FIRST_END = re.compile(rb'(?:[^"\r\n]|"[^"]*")*+(\r\n|\r(?!\n)|\n)')


class LineReader:
    """Splits the bytes of a stream into lines, at line feeds or, where it has none, at returns.

    State: the lines of the last blocks that were not taken yet, and the unfinished last line.
    Bounded by ``MAX_LINE_BYTES`` and a block's size, and by what ``gather`` was asked for.
    """

    def __init__(self, stream: ByteStream) -> None:
        self.name = stream.name
        self._stream = stream
        self._lines: list[bytes] = []
        self._taken = 0
        self._unfinished: list[bytes] = []
        self._unfinished_bytes = 0
        self._before = 0
        self._end: bytes | None = None
        self._end_of_bytes = False

    @property
    def waiting(self) -> int:
        """Complete lines that ``take`` gives without reading."""
        return len(self._lines) - self._taken

    @property
    def ended(self) -> bool:
        """Tell whether every line was taken."""
        return self._end_of_bytes and not self.waiting

    @property
    def number(self) -> int:
        """Number of the next line, from 1."""
        return self._before + self._taken + 1

    def fill(self, timeout_seconds: float | None) -> bool:
        """Read until a line waits; False where none came in time (None: no limit) or at the end.

        Raises:
            ConnectorError: reading fails (see ``ByteStream.read``), or a line is too long.
        """
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        while not self.waiting and not self._end_of_bytes:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not self._read(left):
                return False
        return self.waiting > 0

    def gather(self, count: int, most_bytes: int, pause_seconds: float) -> None:
        """Read on until ``count`` lines or ``most_bytes`` wait, or nothing comes for a while."""
        size = sum(map(len, self._lines[self._taken :]))
        while self.waiting < count and size < most_bytes and not self._end_of_bytes:
            before = len(self._lines)
            if not self._read(pause_seconds):
                return
            size += sum(map(len, self._lines[before:])) + 1

    def take(self, count: int) -> list[bytes]:
        """Up to ``count`` waiting lines, without their ends."""
        lines = self.peek_some(count)
        self._taken += len(lines)
        return lines

    def peek(self) -> bytes:
        """The next line, not taken; only when one waits."""
        return self._lines[self._taken]

    def peek_some(self, count: int) -> list[bytes]:
        """Up to ``count`` waiting lines, not taken."""
        return self._lines[self._taken : self._taken + count]

    def _read(self, timeout_seconds: float | None) -> bool:
        """Take a block in, or the end; False where none came in time."""
        block = self._stream.read(timeout_seconds)
        if block is None:
            return False
        if block:
            self._split(block)
        else:
            self._finish()
        return True

    def _split(self, block: bytes) -> None:
        if self._end is None:
            self._end = _line_end(block)
        first, *rest = block.split(self._end)
        self._unfinished.append(first)
        self._unfinished_bytes += len(first)
        if self._unfinished_bytes > MAX_LINE_BYTES:
            line = self._before + len(self._lines) + 1
            raise ConnectorError(
                f"{self.name}: line {line:,} is longer than {MAX_LINE_BYTES // 2**20} MiB; is this "
                "a file of records?"
            )
        if not rest:
            return
        lines = [b"".join(self._unfinished), *rest[:-1]]
        self._unfinished = [rest[-1]]
        self._unfinished_bytes = len(rest[-1])
        self._append(lines)

    def _append(self, lines: list[bytes]) -> None:
        if self._taken == len(self._lines):  # nothing waits, as a rule
            self._before += self._taken
            self._lines, self._taken = lines, 0
        else:
            self._lines += lines

    def _finish(self) -> None:
        self._end_of_bytes = True
        if self._unfinished_bytes:  # the last line has no line feed
            self._append([b"".join(self._unfinished)])
            self._unfinished, self._unfinished_bytes = [], 0


def _line_end(block: bytes) -> bytes:
    """Between two lines: a return alone where the first line outside of quotes ends with one."""
    found = _FIRST_END.match(block)
    alone = found is not None and found[1] == b"\r" and found.end() < len(block)
    return b"\r" if alone else b"\n"


class JsonLines:
    """Lines as they are; blank ones are no records."""

    def __init__(self, lines: LineReader) -> None:
        self._lines = lines
        self.fill = lines.fill
        self.notes: list[FileNote] = []

    @property
    def ended(self) -> bool:
        """Tell whether all were read."""
        return self._lines.ended

    def read(self, count: int) -> Chunk:
        """Up to ``count`` lines that wait."""
        return Chunk([line for line in self._lines.take(count) if line and not line.isspace()])
