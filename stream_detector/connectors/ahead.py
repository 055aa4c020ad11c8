"""A large file read by a process of its own, while this one works on what came before.

Reading a table costs about a fifth of what an event of it costs in all, and Python lets one thread
at a time do such work.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping
from contextlib import suppress
from itertools import accumulate, pairwise
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from stream_detector import child_process
from stream_detector.config.models.config import Config
from stream_detector.connectors.base import Fetched
from stream_detector.connectors.files import FileSource, file_options, file_records, typed_columns
from stream_detector.connectors.reading.notes import Chunk, FileNote
from stream_detector.errors import ConnectorError
from stream_detector.events import UnreadableRecord

_HEAD = struct.Struct("<?qq")
"""Whether that was all; bytes of the file read so far, -1 unknown; records that follow."""

AHEAD_BYTES = 2_000_000
"""A file of so many bytes, compressed or not, is worth the half second that a process takes."""

_FEW_RECORDS = 20_000
_POLLED, _FAILED = b"polled", b"failed"


class ReadAhead:
    """A ``Source``: the records of a ``FileSource``, one poll of them ahead.

    State: the process, what it said last, the number of the next record. What comes over the pipe
    is lengths and bytes, never pickled objects.
    """

    def __init__(self, first: FileSource, path: str, options: Mapping[str, Any]) -> None:
        """Take the place of ``first``, a source of ``path`` with ``options`` not yet polled."""
        self.source = first.source
        self._size = first.size_hint()
        first.close()
        self._connection, self._process = child_process.start(
            _serve, (path, dict(options)), duplex=False
        )
        self._ended = False
        self._read: int | None = 0
        self._next_offset = 0
        self.notes: list[FileNote] = []

    def poll(self, timeout_seconds: float) -> list[Fetched]:
        """As ``Source.poll``. Raises ``ConnectorError`` as the file's own source would."""
        if self._ended or not self._connection.poll(timeout_seconds):
            return []
        try:
            kind, said = self._connection.recv_bytes(), self._connection.recv_bytes()
            if kind == _FAILED:
                raise ConnectorError(said.decode())
            self._ended, read, count = _HEAD.unpack(said)
            self._read = None if read < 0 else read
            aside = json.loads(self._connection.recv_bytes())
            self.notes = [FileNote(*note) for note in aside["notes"]]
            if not count:
                return []
            lengths = np.frombuffer(self._connection.recv_bytes(), dtype=np.int64)
            joined = self._connection.recv_bytes()
        except EOFError as error:
            raise ConnectorError(f"the process that read {self.source.topic} has died") from error
        ends = pairwise(accumulate(lengths.tolist(), initial=0))
        chunk = Chunk([joined[begin:end] for begin, end in ends])
        chunk.problems = {int(index): problem for index, problem in aside["problems"].items()}
        records = file_records(chunk, self._next_offset)
        self._next_offset += count
        return [Fetched(self.source, records)]

    def size_hint(self) -> int | None:
        """As ``FileSource.size_hint``."""
        return self._size

    def progress(self) -> int | None:
        """As ``FileSource.progress``."""
        return self._read

    def exhausted(self) -> bool:
        """Tell whether everything was returned."""
        return self._ended

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self._connection.close()
        child_process.end(self._process)


def open_file(
    config: Config,
    path: str,
    limit: int | None = None,
    encoding: str | None = None,
    *,
    ahead: bool = True,
) -> FileSource | ReadAhead:
    """The file, read as the configuration's fields need it; a large one ahead.

    Args:
        config: the configuration.
        path: of the file.
        limit: records to read.
        encoding: stands over the configuration's.
        ahead: whether a process may be started. It would run a caller's script a second time,
            unless that asks for its own name first.

    Raises:
        ConnectorError: it cannot be read.
    """
    numeric, boolean = typed_columns(config)
    options: dict[str, Any] = {
        "numeric": numeric,
        "boolean": boolean,
        "limit": limit,
        "columns": config.event.columns,
        "options": file_options(config, encoding),
    }
    source = FileSource(path, **options)
    small = (source.size_hint() or 0) < AHEAD_BYTES
    few = limit is not None and limit < _FEW_RECORDS
    if not ahead or small or few or source.in_columns or (os.cpu_count() or 1) == 1:
        return source
    return ReadAhead(source, path, options)


def _serve(connection: Connection, path: str, options: dict[str, Any]) -> None:
    """Serve polls in the reading process: a few messages for each, one of them the notes."""
    source = FileSource(path, **options)
    with suppress(BrokenPipeError):  # nobody wants the rest
        try:
            ended = False
            while not ended:
                records = [record for one in source.poll(1.0) for record in one.records]
                values = [record.value or b"" for record in records]
                problems = {
                    index: record.problem
                    for index, record in enumerate(records)
                    if isinstance(record, UnreadableRecord)
                }
                notes = [(note.topic, note.text, note.guess) for note in source.notes]
                read = source.progress()
                ended = source.exhausted()
                connection.send_bytes(_POLLED)
                connection.send_bytes(_HEAD.pack(ended, -1 if read is None else read, len(values)))
                aside = {"problems": problems, "notes": notes}
                connection.send_bytes(json.dumps(aside).encode("utf-8", "surrogateescape"))
                if values:
                    lengths = np.fromiter(map(len, values), np.int64, len(values))
                    connection.send_bytes(lengths.tobytes())
                    connection.send_bytes(b"".join(values))
        except ConnectorError as error:
            connection.send_bytes(_FAILED)
            connection.send_bytes(str(error).encode())
