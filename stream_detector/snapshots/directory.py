"""Snapshots as files."""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from stream_detector.errors import StateError
from stream_detector.failpoints import failpoint
from stream_detector.log_fields import fields
from stream_detector.snapshots.format import MAX_SNAPSHOT_BYTES
from stream_detector.snapshots.private_files import create, make_private, narrow, read_plain

log = logging.getLogger(__name__)

_STALE_SECONDS = 3600.0
"""Age at which another machine's unfinished file is taken for abandoned."""

_HOST = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())[:100] or "host"


class DirectoryStore:
    """Snapshots as files of one directory, the last ``keep`` of them.

    Several processes may have it open; each writes beside, into a file of its own name.
    """

    _NAME = re.compile(r"([0-9]{20})\.snapshot")
    _PARTIAL = re.compile(r"[0-9]{20}\.(?:([A-Za-z0-9-]+)\.([0-9]{1,9})\.)?partial")
    _ASIDE = re.compile(r"[0-9]{20}\.reverted")

    def __init__(
        self, directory: Path, keep: int, *, make: bool = True, above: Sequence[Path] = ()
    ) -> None:
        """Open a directory; ``make`` it, and those ``above`` that are ours too, where missing.

        Raises ``StateError`` where it cannot be made, or is not its owner's alone.
        """
        self._directory = directory
        self._keep = keep
        if make:
            try:
                for each in (*above, directory):
                    make_private(each)
                narrow(directory / name for name in self._kept())
            except OSError as error:
                raise StateError(f"cannot make the state directory {directory}: {error}") from error

    def write(self, position: int, data: bytes | bytearray) -> None:
        """Beside, fsync, rename, fsync the directory; then delete what is beyond ``keep``."""
        target = self._path(position)
        if len(data) > MAX_SNAPSHOT_BYTES:
            raise StateError(f"a snapshot of {len(data)} bytes: {MAX_SNAPSHOT_BYTES} is the limit")
        beside = self._directory / f"{position:020d}.{_HOST}.{os.getpid()}.partial"
        try:
            with open(create(beside), "wb") as file:  # noqa: PTH123 - a descriptor
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                # By the clock of the file system, which others who write there share.
                now = os.fstat(file.fileno()).st_mtime
            failpoint("snap_tmp")
            beside.replace(target)
            failpoint("snap_renamed")
            self._sync()
            for old in self.positions()[self._keep :]:
                if old != position:
                    _remove(self._path(old))
            self._delete_stale(now)
        except OSError as error:
            with suppress(OSError):
                beside.unlink(missing_ok=True)
            raise StateError(f"cannot write the snapshot {target}: {error}") from error

    def positions(self) -> list[int]:
        """Positions kept, newest first; none where there is no such directory."""
        try:
            names = self._names()
        except OSError as error:
            raise StateError(f"cannot read the directory {self._directory}: {error}") from error
        found = map(self._NAME.fullmatch, names)
        return sorted((int(match[1]) for match in found if match), reverse=True)

    def read(self, position: int) -> bytes:
        """Bytes of a snapshot."""
        path = self._path(position)
        try:
            return read_plain(path, MAX_SNAPSHOT_BYTES)
        except OSError as error:
            raise StateError(f"cannot read the snapshot {path}: {error}") from error

    def set_aside(self, position: int) -> None:
        """Rename one to ``.reverted``."""
        path = self._path(position)
        try:
            path.replace(path.with_suffix(".reverted"))
            self._sync()
        except OSError as error:
            raise StateError(f"cannot set the snapshot {path} aside: {error}") from error

    def delete_all(self) -> None:
        """Delete every snapshot of the directory."""
        try:
            for name in self._kept():
                (self._directory / name).unlink(missing_ok=True)
        except OSError as error:
            raise StateError(f"cannot delete snapshots: {error}") from error

    def _names(self) -> list[str]:
        try:
            return [path.name for path in self._directory.iterdir()]
        except FileNotFoundError:
            return []

    def _kept(self) -> list[str]:
        """Names of all snapshots, those set aside too."""
        patterns = (self._NAME, self._ASIDE)
        return [name for name in self._names() if any(each.fullmatch(name) for each in patterns)]

    def _path(self, position: int) -> Path:
        return self._directory / f"{position:020d}.snapshot"

    def _sync(self) -> None:
        descriptor = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _delete_stale(self, now: float) -> None:
        """Delete what writers that are gone have left unfinished."""
        for name in self._names():
            match = self._PARTIAL.fullmatch(name)
            if match is None:
                continue
            path = self._directory / name
            # Nobody else can look whether another machine's process is alive.
            if match[1] == _HOST and match[2] is not None:
                stale = int(match[2]) == os.getpid() or not _alive(int(match[2]))
            else:
                stale = _age(path, now) > _STALE_SECONDS
            if stale:
                _remove(path)


def _remove(path: Path) -> None:
    """Delete what is superfluous; what cannot be deleted (a directory, say) stays, with a word."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        log.warning(
            "cannot delete %s, which is no snapshot of ours: %s",
            path,
            error,
            extra=fields("snapshot-cleanup-failed", stage="snapshot"),
        )


def _age(path: Path, now: float) -> float:
    try:
        return now - path.lstat().st_mtime
    except FileNotFoundError:
        return 0.0  # its writer has just finished


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # another user's: alive
    return True
