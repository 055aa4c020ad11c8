"""Bytes out of a file, a pipe or standard input, with a deadline for a pipe: unpacked, as UTF-8."""

from __future__ import annotations

import os
import select
import stat
import time
import zipfile
from io import FileIO
from pathlib import Path
from typing import IO

from stream_detector.connectors.reading.compression import (
    LONGEST_MAGIC,
    DamagedError,
    Decompression,
    compression_of,
)
from stream_detector.connectors.reading.encodings import (
    UTF8,
    Transcoding,
    UnknownEncodingError,
    encoding_of,
    known_codec,
)
from stream_detector.connectors.reading.foreign_files import READABLE, foreign_kind, zip_kind
from stream_detector.connectors.reading.notes import FileNote
from stream_detector.errors import ConnectorError

STANDARD_INPUT = "-"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_FILE_BLOCK_BYTES = 2**18
_PIPE_BLOCK_BYTES = 2**16
_INFLATED_BLOCK_BYTES = 2**20
_ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
_MEMBERS_NAMED = 8
MOST_BLANK_BYTES = 4 * 2**20


class ByteStream:
    """The text of a file as UTF-8, a block at a time, whatever it is packed and encoded with.

    State: what undoes the packing and the encoding, and a block that was looked at and not taken.
    Bounded by a block, also for a bomb.
    """

    def __init__(self, path: str, encoding: str | None = None) -> None:
        """Open ``path``, or standard input for ``-``. Raises ``ConnectorError``."""
        self.name = "standard input" if path == STANDARD_INPUT else path
        self._file: FileIO
        try:
            # Unbuffered: a buffer in between would hide from `select` what it holds.
            if path == STANDARD_INPUT:
                self._file = open(0, "rb", buffering=0, closefd=False)  # noqa: SIM115 - see close
            else:
                self._file = Path(path).open("rb", buffering=0)  # noqa: SIM115 - see close
            status = os.fstat(self._file.fileno())
        except IsADirectoryError as error:
            raise ConnectorError(
                f"cannot read {self.name}: it is a directory; give one file of it"
            ) from error
        except OSError as error:
            raise ConnectorError(f"cannot read {self.name}: {error.strerror or error}") from error
        self._is_file = stat.S_ISREG(status.st_mode)
        self.size_bytes = status.st_size if self._is_file else None
        self.read_bytes = 0
        self.notes: list[FileNote] = []
        self._encoding = self._known(encoding) if encoding is not None else None
        self._magic: bytes | None = b""  # until it is known how the bytes are packed
        self._unpacking: Decompression | None = None
        self._member: IO[bytes] | None = None
        self._begun = False
        self._transcoding: Transcoding | None = None
        self._ahead: bytes | None = None
        self._at_end = False
        self._blanks = 0

    def _known(self, encoding: str) -> str:
        try:
            return known_codec(encoding)
        except LookupError as error:
            raise ConnectorError(
                f"{self.name}: {encoding} is no encoding known here; utf-8, utf-16, windows-1252, "
                "iso-8859-15 and shift_jis are some"
            ) from error

    def peek(self, timeout_seconds: float | None) -> bytes | None:
        """The next block, not taken; ``b""`` at the end, None where none came in time."""
        if self._ahead is None:
            self._ahead = self._next(timeout_seconds)
        return self._ahead

    def read(self, timeout_seconds: float | None) -> bytes | None:
        """The next block; ``b""`` at the end, None where none came in time (None: no limit).

        Raises:
            ConnectorError: reading fails, the packed data are damaged or cut, the file is of a
                kind that is not read.
        """
        block, self._ahead = self.peek(timeout_seconds), None
        return block

    @property
    def drained(self) -> bool:
        """Tell whether it is known that nothing comes after what was read: never, of a pipe."""
        packed = self._unpacking is not None and self._unpacking.waiting
        at_end = self._at_end or (self.read_bytes == self.size_bytes and self._member is None)
        return at_end and not packed and self._ahead is None

    def push_back(self, block: bytes) -> None:
        """Put what was read back in front of the next block."""
        self._ahead = block + (self._ahead or b"")

    def _next(self, timeout_seconds: float | None) -> bytes | None:
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        while not self._at_end:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            block = self._unpacked(left)
            if block is None:
                return None
            if block and not self._begun:
                block = self._begin(block)
            if self._transcoding is not None:
                block = self._transcoding.feed(block, last=self._at_end)
                if self._at_end:
                    self._note_replaced(self._transcoding.replaced)
            if block:
                self._count_blanks(block)
                return block
        return b""

    def _count_blanks(self, block: bytes) -> None:
        """Refuse what goes on with nothing but blanks: half a megabyte packed is hours of them."""
        self._blanks = self._blanks + len(block) if not block.strip() else 0
        if self._blanks > MOST_BLANK_BYTES:
            raise ConnectorError(
                f"{self.name}: {MOST_BLANK_BYTES // 2**20} MiB of it in a row are nothing but "
                "blanks and ends of lines; is this a file of records?"
            )

    # --- unpacking ------------------------------------------------------------------------------

    def _unpacked(self, timeout_seconds: float | None) -> bytes | None:
        """Next bytes as they were before packing, maybe none; None where none came in time."""
        if self._unpacking is not None and self._unpacking.waiting:
            return self._feed(b"")
        block = self._raw(timeout_seconds)
        if block is None:
            return None
        if not block:
            return self._finish()
        if self._magic is not None:
            block = self._magic + block
            if len(block) < LONGEST_MAGIC:
                self._magic = block
                return b""
            self._magic = None
            self._detect(block)
            if self._member is not None:
                return b""
        return self._feed(block) if self._unpacking is not None else block

    def _raw(self, timeout_seconds: float | None) -> bytes | None:
        try:
            if self._member is not None:
                block: bytes | None = self._member.read(_FILE_BLOCK_BYTES)
                self.read_bytes = self._file.tell()
                return block
            if self._is_file:
                block = self._file.read(_FILE_BLOCK_BYTES)
            else:
                if not select.select([self._file], [], [], timeout_seconds)[0]:
                    return None
                block = self._file.read(_PIPE_BLOCK_BYTES)
        except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
            raise ConnectorError(f"{self.name}: the zip archive is damaged ({error})") from error
        except OSError as error:
            raise ConnectorError(f"cannot read {self.name}: {error.strerror or error}") from error
        if block is not None:
            self.read_bytes += len(block)
        return block

    def _detect(self, head: bytes) -> None:
        kind = compression_of(head)
        if kind is not None:
            self._unpacking = Decompression(kind)
            self.notes.append(FileNote("compression", f"the file is packed by {kind}"))
        elif head.startswith(_ZIP_MAGIC):
            self._member = self._only_member()

    def _feed(self, block: bytes) -> bytes:
        assert self._unpacking is not None
        try:
            return self._unpacking.feed(block, _INFLATED_BLOCK_BYTES)
        except DamagedError as error:
            raise ConnectorError(f"{self.name}: {error}") from error

    def _finish(self) -> bytes:
        self._at_end = True
        if self._unpacking is not None and not self._unpacking.whole:
            kind = self._unpacking.kind
            raise ConnectorError(f"{self.name}: the {kind} data end too early; is the file whole?")
        block, self._magic = self._magic or b"", None
        return block

    def _only_member(self) -> IO[bytes]:
        """Open the one data file in a zip archive."""
        if not self._is_file:
            raise ConnectorError(f"{self.name}: a zip archive cannot be read from a pipe")
        try:
            self._file.seek(0)
            archive = zipfile.ZipFile(self._file)
            members = [info for info in archive.infolist() if _holds_data(info)]
            what = zip_kind(archive.namelist())
            if what is not None:
                raise ConnectorError(f"{self.name} is {what}")
            if len(members) != 1:
                raise ConnectorError(f"{self.name} is {_archive_of(members)}")
            member = archive.open(members[0])
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError) as error:
            # zipfile says RuntimeError for a password.
            said = f"{self.name}: the zip archive cannot be read ({error})"
            raise ConnectorError(said) from error
        text = f"the file is a zip archive; read is {members[0].filename}"
        self.notes.append(FileNote("compression", text))
        return member

    # --- text -----------------------------------------------------------------------------------

    def _begin(self, block: bytes) -> bytes:
        """Find what the text is encoded in; ``block`` without its byte order mark."""
        self._begun = True
        if (what := foreign_kind(block)) is not None:
            raise ConnectorError(f"{self.name} is {what}")
        codec = self._encoding
        if codec is None:
            try:
                codec, note = encoding_of(block)
            except UnknownEncodingError as error:
                said = f"binary; {READABLE}" if str(error) == "binary" else str(error)
                raise ConnectorError(f"{self.name} is {said}") from error
            if note is not None:
                self.notes.append(note)
        if codec != UTF8:
            self._transcoding = Transcoding(codec)
            return block
        return block.removeprefix(_BYTE_ORDER_MARK)

    def _note_replaced(self, count: int) -> None:
        if count:
            text = f"{count:,} characters are none of the encoding and were read as \ufffd"
            self.notes.append(FileNote("encoding", text, guess=True))

    def close(self) -> None:
        """Close the file; standard input stays open for others."""
        if self._member is not None:
            self._member.close()
        self._file.close()


def _holds_data(info: zipfile.ZipInfo) -> bool:
    name = info.filename
    hidden = name.startswith("__MACOSX/") or name.rsplit("/", 1)[-1].startswith(".")
    return bool(name) and not info.is_dir() and not hidden


def _archive_of(members: list[zipfile.ZipInfo]) -> str:
    if not members:
        return "an empty zip archive"
    names = ", ".join(info.filename for info in members[:_MEMBERS_NAMED])
    more = f" and {len(members) - _MEMBERS_NAMED} more" if len(members) > _MEMBERS_NAMED else ""
    return f"a zip archive of {len(members)} files: unpack it and give one of {names}{more}"
