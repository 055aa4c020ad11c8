"""Files and directories for their owner alone, and nothing that somebody has put in their place.

A snapshot holds keys and values of events, and whoever can write one can make the next start
believe it. So directories are 0700 and files 0600, whatever the umask, nothing is written through
a link, and what is read is a plain file with one name.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from stream_detector.errors import StateError
from stream_detector.log_fields import fields

log = logging.getLogger(__name__)

_DIRECTORY, _FILE = 0o700, 0o600
_OTHERS = 0o077
_ROOT = 0


def make_private(directory: Path) -> None:
    """Make a directory, and those above it that are missing; narrow it where others may enter.

    Raises ``StateError`` where it is a link, no directory or somebody else's; ``OSError``.
    """
    missing = [each for each in (directory, *directory.parents) if not os.path.lexists(each)]
    for each in reversed(missing):
        with suppress(FileExistsError):  # another worker is as fast
            each.mkdir(_DIRECTORY)
    about = directory.lstat()
    if not stat.S_ISDIR(about.st_mode):
        raise StateError(f"the state directory {directory} is a link or no directory")
    if about.st_uid not in (os.geteuid(), _ROOT) and about.st_uid != _seen_as(directory):
        raise StateError(
            f"the state directory {directory} belongs to the user {about.st_uid}, who could change "
            "the state: give it to the user that the worker runs as (chown), or set state.directory"
        )
    if about.st_uid == os.geteuid() and stat.S_IMODE(about.st_mode) & _OTHERS:
        directory.chmod(_DIRECTORY)
        _say_narrowed(f"the directory {directory} was open to others, and is its owner's now")


def _seen_as(directory: Path) -> int:
    """Owner that the file system gives to files of ours: a network's may have one for everybody."""
    path = directory / f".owner.{os.getpid()}"
    with suppress(FileNotFoundError):
        path.unlink()
    os.close(_create(path))
    owner = path.lstat().st_uid
    path.unlink()
    return owner


def create(path: Path) -> int:
    """Open a new file for writing; one of its name that is there already goes, link or not.

    Returns its descriptor. Raises ``OSError``.
    """
    try:
        return _create(path)
    except FileExistsError:  # of an earlier process of this number
        path.unlink()
        return _create(path)


def _create(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, _FILE)


def read_plain(path: Path, most_bytes: int) -> bytes:
    """The content of a plain file with one name.

    Raises ``StateError`` where it is something else or too large; ``OSError``.
    """
    if not stat.S_ISREG(path.lstat().st_mode):  # before it is opened: a device may act on that
        raise StateError(f"the snapshot {path} is not a file, or a link to one")
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise StateError(f"the snapshot {path} is not a file, or a link to one")
        if about.st_nlink > 1:
            raise StateError(
                f"the snapshot {path} has {about.st_nlink} names (hard links), and may be changed "
                "under another: copy it, and put the copy in its place"
            )
        if about.st_size > most_bytes:
            raise StateError(f"the snapshot {path} is larger than any that was written")
        return file.read(most_bytes)


def narrow(paths: Iterable[Path]) -> None:
    """Take the rights of others from plain files of ours; what cannot be, stays, with a word."""
    narrowed = 0
    for path in paths:
        with suppress(OSError):  # gone, a link, somebody else's: whoever reads it says so
            about = path.lstat()
            ours = about.st_uid == os.geteuid() and about.st_nlink == 1
            if stat.S_ISREG(about.st_mode) and ours and stat.S_IMODE(about.st_mode) & _OTHERS:
                descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
                try:
                    os.fchmod(descriptor, _FILE)
                finally:
                    os.close(descriptor)
                narrowed += 1
    if narrowed:
        _say_narrowed(f"{narrowed} snapshots were open to others, and are their owner's now")


def _say_narrowed(what: str) -> None:
    log.warning("%s", what, extra=fields("state-narrowed", stage="snapshot"))
