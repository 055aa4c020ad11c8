"""JSON objects that are no JSON Lines: an array of them, or objects over several lines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, TypeAlias

import msgspec

from stream_detector.connectors.reading.notes import Chunk, FileNote
from stream_detector.connectors.reading.stream import ByteStream
from stream_detector.errors import ConnectorError

JsonShape: TypeAlias = Literal["lines", "objects", "array", "wrapped"]

MAX_RECORD_BYTES = 16 * 2**20
_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*+"|[{}\[\]"]', re.DOTALL)
_SPACE = b" \t\r\n"
_LEADING = _SPACE + b"\x1e"
_SEPARATORS = _LEADING + b",;"
_OPENING, _CLOSING = (b"{", b"["), (b"}", b"]")
_ARRAY = re.compile(rb"\[\s*(?=[{\]])")
_DEEPEST_ARRAY = 2
_KEPT_BYTES = 2**10
_ARRAY_KEY = re.compile(rb'"((?:[^"\\]|\\.)*)"\s*:\s*\[\s*(?=\{)')
_QUOTED_BYTES = 80


def json_shape(head: bytes, whole: bool) -> JsonShape | None:
    """Return how the first bytes of a file lay JSON objects out; None where they are no JSON.

    ``whole`` says that the file has no more bytes. Raises ``ConnectorError`` (without the file's
    name) for JSON that holds no objects to be read.
    """
    text = head.lstrip(_LEADING)
    if text.startswith(b"["):
        return _array_shape(text[1:].lstrip(_SPACE), text)
    if not text.startswith(b"{"):
        return None
    if head.lstrip(_SPACE).startswith(b"\x1e"):
        return "objects"  # a JSON text sequence, RFC 7464
    return _object_shape(text, whole)


def _object_shape(text: bytes, whole: bool) -> JsonShape:
    line, feed, rest = text.partition(b"\n")
    complete = _is_object(line)
    if rest.strip() and (complete or any(map(_is_whole_line, rest.split(b"\n", 20)[:20]))):
        return "lines"  # a broken first line is rejected as one record
    end = len(line) if complete and (feed or whole) else _end_of_first(text)
    alone = end is None or (whole and not text[end:].strip())
    if alone and wrapped_at(text) is not None:
        return "wrapped"
    if complete or (end is None and whole) or (end is not None and not _is_object(text[:end])):
        return "lines"  # broken records are rejected one by one
    return "objects"


def _array_shape(inside: bytes, text: bytes) -> JsonShape | None:
    if inside.startswith((b"{", b"]")):
        return "array"
    line = text.partition(b"\n")[0].strip().rstrip(b",")
    try:
        msgspec.json.decode(line, type=list[msgspec.Raw])
        is_json = True
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        is_json = line == b"["
    if is_json:
        raise ConnectorError(
            "JSON without objects (arrays of values): each event must be an object that names its "
            "values"
        )
    return None


def _is_object(text: bytes) -> bool:
    try:
        msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except msgspec.ValidationError:
        return False
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        # NaN and Infinity are no JSON and yet what Python writes.
        return text.rstrip().endswith(b"}") and _end_of_first(text.rstrip()) == len(text.rstrip())
    return True


def _is_whole_line(line: bytes) -> bool:
    """Tell whether a line begins and ends an object of its own, as it does in JSON Lines alone."""
    return line.startswith(b"{") and _is_object(line)


def _tokens_of_first(text: bytes) -> Iterator[tuple[re.Match[bytes], int]]:
    """Yield the tokens of the object that a text begins with, each with the depth after it."""
    depth = 0
    for found in _TOKENS.finditer(text):
        token = found[0]
        depth += (token in _OPENING) - (token in _CLOSING)
        yield found, depth
        if token in _CLOSING and depth == 0:
            return


def _end_of_first(text: bytes) -> int | None:
    """Return where the object that a text begins with ends."""
    ends = (f.end() for f, depth in _tokens_of_first(text) if depth == 0 and f[0] in _CLOSING)
    return next(ends, None)


def holds_documents(line: bytes) -> bool:
    """Tell whether a text's first line begins an array, or an object that goes on in the next."""
    start = line.strip(_SPACE)
    if start.startswith(b"["):
        return start == b"[" or start[1:].lstrip()[:1] in (b"{", b"[", b"]")
    return start.startswith(b"{") and _end_of_first(start) is None


def wrapped_at(text: bytes) -> str | None:
    """Key of the array of objects that is a member of the first object, if one is."""
    for found, depth in _tokens_of_first(text):
        if found[0] in _OPENING or found[0] in _CLOSING or depth > _DEEPEST_ARRAY:
            continue
        if (key := _ARRAY_KEY.match(text, found.start())) is not None:
            return key[1].decode("utf-8", "replace")
    return None


class JsonObjects:
    """The objects of a JSON array, or objects that follow one another, cut out of a stream.

    State: bytes of the object that is not complete yet, how far they were looked at and how deep.
    """

    def __init__(self, stream: ByteStream, shape: JsonShape) -> None:
        """Begin at the stream's next block. Raises ``ConnectorError``."""
        self._stream = stream
        self.notes: list[FileNote] = []
        self._text = b""
        self._seen = self._start = self._depth = 0
        self._opening: re.Pattern[bytes] | None = None
        self._inside = True
        self._ended = False
        self._found: list[bytes] = []
        self._problems: dict[int, str] = {}
        self._count = self._left_out = 0
        self._begin(shape)

    def _begin(self, shape: JsonShape) -> None:
        self._text = (self._stream.read(None) or b"").lstrip(_LEADING)
        if shape == "objects":
            said = "the records are JSON objects after one another, not one a line"
            self.notes.append(FileNote("format", said))
        elif shape == "array":
            self._opening, self._inside = _ARRAY, False
            self.notes.append(FileNote("format", "the file is one JSON array of objects"))
        else:
            key = wrapped_at(self._text) or ""
            name = re.escape(key.encode())
            self._opening, self._inside = re.compile(rb'"' + name + rb'"\s*:\s*\[\s*(?=\{)'), False
            said = f"the records are the elements of {key}; what stands beside it is left out"
            self.notes.append(FileNote("format", said, guess=True))
        self._scan()

    @property
    def ended(self) -> bool:
        """Tell whether all was read and given."""
        return self._ended and not self._found

    def fill(self, timeout_seconds: float | None) -> bool:
        """Read until an object waits; False where none came in time or at the end."""
        while not self._found and not self._ended:
            block = self._stream.read(timeout_seconds)
            if block is None:
                return False
            if block:
                self._text += block
                self._scan()
            else:
                self._finish()
        return bool(self._found)

    def read(self, count: int) -> Chunk:
        """Up to ``count`` objects that wait."""
        given = min(count, len(self._found))
        chunk = Chunk(self._found[:given])
        chunk.problems = {i: p for i, p in self._problems.items() if i < given}
        self._problems = {i - given: p for i, p in self._problems.items() if i >= given}
        self._found = self._found[given:]
        return chunk

    def _scan(self) -> None:
        """Cut what is complete out of ``_text``."""
        while True:
            if not self._inside and not self._open():
                return
            self._scan_records()
            self._text = self._text[self._start :]
            self._seen, self._start = self._seen - self._start, 0
            if self._inside:
                break
        if len(self._text) > MAX_RECORD_BYTES:
            raise ConnectorError(
                f"{self._stream.name}: record {self._count + 1:,} is longer than "
                f"{MAX_RECORD_BYTES // 2**20} MiB; is this a file of records?"
            )

    def _open(self) -> bool:
        """Go on at the next array of objects; False where none begins in what was read."""
        assert self._opening is not None
        found = self._opening.search(self._text)
        if found is None:
            kept = self._text[-_KEPT_BYTES:]
            self._left_out += len(self._text[: len(self._text) - len(kept)].strip(_LEADING))
            self._text = kept
            return False
        self._text = self._text[found.end() :]
        self._seen = self._start = 0
        self._inside = True
        return True

    def _scan_records(self) -> None:
        text = self._text
        for found in _TOKENS.finditer(text, self._seen):
            token = found[0]
            if token == b'"':  # a text that goes on in the next block
                self._seen = found.start()
                return
            if token in _OPENING:
                if self._depth == 0:
                    self._between(text[self._start : found.start()])
                    self._start = found.start()
                self._depth += 1
            elif token in _CLOSING:
                if self._depth == 0:
                    self._between(text[self._start : found.start()])
                    self._start = self._seen = found.end()
                    if self._opening is not None:
                        self._inside = False
                        return
                    continue
                self._depth -= 1
                if self._depth == 0:
                    self._give(text[self._start : found.end()])
                    self._start = found.end()
        self._seen = len(text)

    def _give(self, value: bytes) -> None:
        self._count += 1
        self._found.append(value)

    def _between(self, text: bytes) -> None:
        """Return what stands between two objects: nothing, as a rule, or a record that is none."""
        text = text.strip(_SEPARATORS)
        if text:
            self._bad(text, "is no JSON object")

    def _bad(self, text: bytes, what: str) -> None:
        shown = text[:_QUOTED_BYTES].decode("utf-8", "replace")
        self._problems[len(self._found)] = f"record {self._count + 1:,} {what}: {shown}"
        self._give(text)

    def _finish(self) -> None:
        self._ended = True
        if not self._inside:
            left = self._left_out + len(self._text.strip(_LEADING))
            if self._opening is _ARRAY and left and self._count:
                said = f"after the JSON array stand {left:,} bytes that are no array of objects"
                self.notes.append(FileNote("lines", said))
            return
        if self._depth:
            self._bad(self._text, "is cut off at the end of the file")
            return
        self._between(self._text)
        if self._opening is not None:
            said = "the JSON array is not closed; is the file whole?"
            self.notes.append(FileNote("lines", said))
