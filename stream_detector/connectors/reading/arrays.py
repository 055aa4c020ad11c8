"""Arrays of an npz file, judged by what they say of themselves before one byte is unpacked."""

from __future__ import annotations

import math
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from stream_detector.errors import ConnectorError

MOST_ARRAY_BYTES = 8 * 2**30
_LONGEST_HEADER = 2**16
_SHARE_OF_FREE = 0.5  # reading takes a second copy for a while

try:
    import resource
except ImportError:  # another system
    resource = None  # type: ignore[assignment]


def free_bytes(root: Path = Path("/")) -> int | None:
    """Memory that this process may still take; None where the system does not say.

    The least of what the machine has left and what the limits of the process leave it.

    Args:
        root: where ``proc`` lies.
    """
    found = []
    available = re.search(r"^MemAvailable:\s+(\d+) kB$", _text(root / "proc/meminfo"), re.MULTILINE)
    if available is not None:
        found.append(int(available[1]) * 1024)
    if resource is not None:
        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        used = _text(root / "proc/self/statm").split(" ")[0]
        if limit != resource.RLIM_INFINITY and used.isdigit():
            found.append(max(0, limit - int(used) * resource.getpagesize()))
    return min(found, default=None)


def read_arrays(path: str, names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """Read those arrays of an npz file that are there.

    Raises:
        ConnectorError: an array is larger than this machine can take, or than the file says.
        OSError, ValueError, EOFError, zipfile.BadZipFile: it is no npz file.
    """
    with zipfile.ZipFile(path) as archive:
        if any(info.flag_bits & 1 for info in archive.infolist()):
            raise ValueError("it has a password")
        members = {info.filename: info for info in archive.infolist()}
        wanted = {name: members[f"{name}.npy"] for name in names if f"{name}.npy" in members}
        total = 0
        for name, info in wanted.items():
            with archive.open(info) as file:
                shape, dtype = _header(file)
            size = math.prod(shape) * dtype.itemsize
            if not 0 <= size <= info.file_size:
                raise ValueError(f"{name} says {size:,} bytes and holds {info.file_size:,}")
            total += size
        _refuse_too_large(path, total)
        found = {}
        for name, info in wanted.items():
            with archive.open(info) as file:
                found[name] = npy.read_array(file, allow_pickle=False)
        return found


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    readers: dict[tuple[int, int], Callable[..., Any]] = {
        (1, 0): npy.read_array_header_1_0,
        (2, 0): npy.read_array_header_2_0,
    }
    version = npy.read_magic(file)
    if version not in readers:
        raise ValueError(f"the format's version {version} is not read")
    try:
        shape, _, dtype = readers[version](_Bounded(file), max_header_size=_LONGEST_HEADER)
    except (MemoryError, RecursionError, SyntaxError, TokenError) as error:
        raise ValueError("the header of an array cannot be read") from error
    if any(length < 0 for length in shape):
        raise ValueError(f"an array has the shape {shape}")
    return shape, dtype


class _Bounded:
    """A file that gives no more than a header's bytes: NumPy reads as many as the header says."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, count: int) -> bytes:
        if count > _LONGEST_HEADER:
            raise ValueError("the header of an array is too long")
        return self._file.read(count)


def _refuse_too_large(path: str, size_bytes: int) -> None:
    free = free_bytes()
    most = MOST_ARRAY_BYTES if free is None else min(MOST_ARRAY_BYTES, int(free * _SHARE_OF_FREE))
    if size_bytes > most:
        raise ConnectorError(
            f"{path}: its arrays are {size_bytes / 2**30:,.1f} GiB, and {most / 2**30:,.1f} GiB "
            "are read here: split the file, or write it as Parquet, which is read in parts"
        )


def _text(path: Path) -> str:
    try:
        return path.read_text("ascii", "replace")
    except OSError:
        return ""
