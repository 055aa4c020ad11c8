"""JSON objects that are not one a line: one array of them, or each spread over several lines."""

from __future__ import annotations

import re

import msgspec

from stream_detector.connectors.lines import MAX_LINE_BYTES, LineReader
from stream_detector.errors import ConnectorError

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\]]')
_array = msgspec.json.Decoder(list[msgspec.Raw]).decode
_SPACE = b" \t\r\n"


def holds_documents(line: bytes) -> bool:
    """Whether the first line of a file begins an array, or an object that goes on in the next."""
    start = line.strip(_SPACE)
    if start.startswith(b"["):
        return start == b"[" or start[1:].lstrip()[:1] in (b"{", b"[", b"]")
    if not start.startswith(b"{"):
        return False
    return _depth_after(start, 0) > 0


def _depth_after(line: bytes, depth: int) -> int:
    for token in _TOKEN.findall(line):
        if token in (b"{", b"["):
            depth += 1
        elif token in (b"}", b"]"):
            depth -= 1
    return depth


class JsonDocuments:
    """Objects from a ``LineReader``, whichever lines and arrays they are spread over.

    Objects in an array are records of their own. What stands between objects and is neither comma,
    bracket nor blank is a record as it is: decoding says what is wrong with it.

    State: the object that has begun, and what a line brought more than was asked for.
    """

    def __init__(self, lines: LineReader) -> None:
        self._lines = lines
        self._ready: list[bytes] = []
        self._begun: list[bytes] = []
        self._begun_bytes = 0
        self._depth = 0

    def read(self, count: int) -> list[bytes]:
        """Up to ``count`` records of the lines that wait.

        Raises ``ConnectorError`` where an object is too long to be a record.
        """
        while len(self._ready) < count and self._lines.waiting:
            (line,) = self._lines.take(1)
            self._take(line)
        if self._lines.ended and self._begun and len(self._ready) < count:
            self._end()  # cut off: decoding rejects it
        values, self._ready = self._ready[:count], self._ready[count:]
        return values

    @property
    def waiting(self) -> bool:
        """Whether ``read`` has something without another line."""
        return bool(self._ready or self._begun)

    def _take(self, line: bytes) -> None:  # noqa: C901 - one pass over the tokens
        if not self._begun and line.lstrip(_SPACE)[:1] == b"[":
            try:
                whole = _array(line)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                pass  # goes on in the next line, or is broken
            else:
                self._ready += [bytes(each) for each in whole]
                return
        done = 0
        for found in _TOKEN.finditer(line):
            token = found[0]
            if token == b"{" or (token == b"[" and self._depth):
                if not self._depth:
                    self._between(line[done : found.start()])
                    done = found.start()
                self._depth += 1
            elif token in (b"}", b"]") and self._depth:
                self._depth -= 1
                if not self._depth:
                    self._begun.append(line[done : found.end()])
                    done = found.end()
                    self._end()
        if self._depth:
            self._begun += [line[done:], b"\n"]
            self._begun_bytes += len(line) - done + 1
            if self._begun_bytes > MAX_LINE_BYTES:
                raise ConnectorError(
                    f"{self._lines.name}: a JSON object is longer than {MAX_LINE_BYTES // 2**20} "
                    "MiB; is this a file of records?"
                )
        else:
            self._between(line[done:])

    def _between(self, rest: bytes) -> None:
        if left := rest.strip(_SPACE + b",[]"):
            self._ready.append(left)

    def _end(self) -> None:
        self._ready.append(b"".join(self._begun))
        self._begun, self._begun_bytes, self._depth = [], 0, 0
