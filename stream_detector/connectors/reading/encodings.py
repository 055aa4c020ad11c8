"""Encodings of text: found from a file's first bytes, and undone block by block."""

from __future__ import annotations

import codecs
import re

from stream_detector.connectors.reading.notes import FileNote

_MARKS: tuple[tuple[bytes, str, str], ...] = (
    (b"\xff\xfe\x00\x00", "utf-32", "UTF-32"),
    (b"\x00\x00\xfe\xff", "utf-32", "UTF-32"),
    (b"\xff\xfe", "utf-16", "UTF-16"),
    (b"\xfe\xff", "utf-16", "UTF-16"),
)
UTF8 = "utf-8"
_SAMPLE_BYTES = 2**20
_UNDEFINED = re.compile(rb"[\x81\x8d\x8f\x90\x9d]")
_HIGH_RUN = re.compile(rb"[\x80-\xff]+")
_ZERO_SHARE = 0.3
_OTHER_SCRIPT_RUN = 3
_OTHER_SCRIPTS = (
    "windows-1251 or koi8-r for Cyrillic, shift_jis for Japanese, gb18030 for Chinese, euc_kr for "
    "Korean, windows-1253 for Greek"
)


class UnknownEncodingError(Exception):
    """The text is in an encoding that has to be named."""


def encoding_of(head: bytes) -> tuple[str, FileNote | None]:
    """Codec of a text that begins so, and what to say about it.

    Raises ``UnknownEncodingError`` where guessing would turn letters into others, and for bytes
    that are no text.
    """
    head = head[:_SAMPLE_BYTES]
    for mark, codec, name in _MARKS:
        if head.startswith(mark):
            return codec, FileNote("encoding", f"the text is {name}, by its byte order mark")
    if b"\0" in head:
        codec = _wide(head)
        return codec, FileNote("encoding", f"the text is {codec.upper()}, by its zero bytes")
    try:
        codecs.getincrementaldecoder(UTF8)().decode(head)
    except UnicodeDecodeError as error:
        if not _mostly_utf8(head):
            return _eight_bits(head, error.start)
        line = head.count(b"\n", 0, error.start) + 1
        text = f"the text is UTF-8 with other bytes in between, the first in line {line:,}"
        return UTF8, FileNote("encoding", text)
    return UTF8, None


def _mostly_utf8(head: bytes) -> bool:
    """Tell whether bytes that are no UTF-8 are the exception: then they make bad records, no more.

    JSON is UTF-8 by its own rules.
    """
    if head.lstrip()[:1] in (b"{", b"["):
        return True
    text = head.decode(UTF8, "surrogateescape")
    bad = sum("\udc80" <= character <= "\udcff" for character in text if character > "\x7f")
    good = sum(character > "\x7f" for character in text) - bad
    return good > bad


def _wide(head: bytes) -> str:
    pairs = max(1, len(head) // 2)
    even, odd = head[0::2].count(0) / pairs, head[1::2].count(0) / pairs
    if odd > _ZERO_SHARE and even < odd / 4:
        return "utf-16-le"
    if even > _ZERO_SHARE and odd < even / 4:
        return "utf-16-be"
    raise UnknownEncodingError("binary")


def _eight_bits(head: bytes, where: int) -> tuple[str, FileNote]:
    """Windows-1252 is what such files are as a rule; words of such bytes alone are none of it."""
    runs = _HIGH_RUN.findall(head)
    in_words = sum(len(run) for run in runs if len(run) >= _OTHER_SCRIPT_RUN)
    if 2 * in_words > sum(map(len, runs)):
        raise UnknownEncodingError(
            f"not UTF-8 (byte {where:,} is 0x{head[where]:02X}) and seems to be in a script of its "
            f"own; say which encoding it has: {_OTHER_SCRIPTS} (--encoding, or `files.encoding` in "
            "the configuration)"
        )
    codec, name = (
        ("latin-1", "ISO 8859-1") if _UNDEFINED.search(head) else ("cp1252", "Windows-1252")
    )
    line = head.count(b"\n", 0, where) + 1
    return codec, FileNote(
        "encoding",
        f"the text is not UTF-8 (line {line:,} has the byte 0x{head[where]:02X}) and read as "
        f"{name}; where letters come out wrong, set another (--encoding, or `files.encoding`)",
        guess=True,
    )


class Transcoding:
    """Text of another encoding as UTF-8, block by block. State: the bytes of a cut character."""

    def __init__(self, codec: str) -> None:
        self._decoder = codecs.getincrementaldecoder(codec)("replace")
        self._first = True
        self.replaced = 0

    def feed(self, block: bytes, last: bool = False) -> bytes:
        """The text of a block; what the codec does not know becomes U+FFFD and is counted."""
        text = self._decoder.decode(block, last)
        if text and self._first:
            self._first = False
            text = text.removeprefix("\ufeff")
        self.replaced += text.count("\ufffd")
        return text.encode("utf-8", "surrogatepass")


def known_codec(name: str) -> str:
    """The codec of a name that a person gave. Raises ``LookupError`` where there is none."""
    "".encode(name)  # says so of what is no encoding of text, base64 for one
    codec = codecs.lookup(name).name
    return "utf-8" if codec == "ascii" else codec
