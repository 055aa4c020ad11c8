"""Snapshots: a shard's state as arrays and JSON in one checksummed file, and where they are kept.

File layout, all integers little-endian:

    bytes 0-7     magic ``SDSNAP01`` (the last two digits are the format's version)
    bytes 8-15    length of the JSON header
    header        {"meta": {...}, "tree": state with {"$array": i} for arrays,
                   "arrays": [{"dtype", "shape", "start", "size"}, ...]}
    arrays        raw bytes, C order
    last 32       BLAKE2b-256 of all bytes before

Nothing in it can name code to run, and nothing is read before the checksum has been compared.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stream_detector.errors import StateError
from stream_detector.events import State

_MAGIC = b"SDSNAP01"
_DIGEST_BYTES = 32
_ARRAY = "$array"
_DTYPES = frozenset(("float64", "float32", "int64", "int32", "uint64", "uint32", "uint8", "bool"))
_MAX_SNAPSHOT_BYTES = 8 * 2**30


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A state and what must be known to use it.

    Attributes:
        meta: JSON values: input positions, versions, the configuration's fingerprint and shape.
        state: the shard's state.
    """

    meta: dict[str, Any]
    state: State


def encode(snapshot: Snapshot) -> bytes:
    """Bytes of a snapshot. Raises ``TypeError`` on a leaf that is neither array nor JSON."""
    arrays: list[NDArray[Any]] = []

    def flatten(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            if value.dtype.name not in _DTYPES:
                raise TypeError(f"an array of {value.dtype} cannot be kept in a snapshot")
            arrays.append(np.ascontiguousarray(value).reshape(value.shape))
            return {_ARRAY: len(arrays) - 1}
        if isinstance(value, dict):
            if _ARRAY in value:
                raise TypeError(f"the key {_ARRAY} is taken")
            return {key: flatten(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [flatten(inner) for inner in value]
        return value

    tree = flatten(dict(snapshot.state))
    table: list[dict[str, Any]] = []
    start = 0
    for array in arrays:
        entry = {"dtype": array.dtype.name, "shape": array.shape, "start": start}
        table.append({**entry, "size": array.nbytes})
        start += array.nbytes
    header = json.dumps(
        {"meta": snapshot.meta, "tree": tree, "arrays": table}, allow_nan=False, sort_keys=True
    ).encode()
    body = b"".join(
        [_MAGIC, len(header).to_bytes(8, "little"), header, *(a.tobytes() for a in arrays)]
    )
    return body + blake2b(body, digest_size=_DIGEST_BYTES).digest()


def decode(data: bytes) -> Snapshot:
    """The snapshot in ``data``. Raises ``StateError`` saying what is wrong with it."""
    start = len(_MAGIC) + 8
    if len(data) < start + _DIGEST_BYTES or data[:6] != _MAGIC[:6]:
        raise StateError("not a snapshot: too short or without its mark")
    if data[: len(_MAGIC)] != _MAGIC:
        version = data[6:8].decode("latin-1")
        raise StateError(f"a snapshot of format {version!r}, this version reads {_MAGIC[6:]!r}")
    body = memoryview(data)[:-_DIGEST_BYTES]
    if blake2b(body, digest_size=_DIGEST_BYTES).digest() != data[-_DIGEST_BYTES:]:
        raise StateError("the checksum does not fit: the snapshot is damaged")
    try:
        end = start + int.from_bytes(body[len(_MAGIC) : start], "little")
        if end > len(body):
            raise StateError("the header is longer than the snapshot")
        header = json.loads(bytes(body[start:end]))
        arrays = [_read_array(entry, body[end:]) for entry in header["arrays"]]
        return Snapshot(header["meta"], _unflatten(header["tree"], arrays))
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise StateError(f"the snapshot's header makes no sense: {error!r}") from error


def _read_array(entry: dict[str, Any], data: memoryview) -> NDArray[Any]:
    if entry["dtype"] not in _DTYPES:
        raise StateError(f"an array of type {entry['dtype']!r} has no place in a snapshot")
    start, size = int(entry["start"]), int(entry["size"])
    if not 0 <= start <= start + size <= len(data):
        raise StateError("an array lies outside the snapshot")
    array = np.frombuffer(data[start : start + size], dtype=entry["dtype"])
    return array.reshape([int(extent) for extent in entry["shape"]]).copy()


def _unflatten(value: Any, arrays: list[NDArray[Any]]) -> Any:
    if isinstance(value, dict):
        if _ARRAY in value:
            return arrays[value[_ARRAY]]
        return {key: _unflatten(inner, arrays) for key, inner in value.items()}
    if isinstance(value, list):
        return [_unflatten(inner, arrays) for inner in value]
    return value


class SnapshotStore(Protocol):
    """Where the snapshots of a shard are kept; positions grow and order them."""

    def write(self, position: int, data: bytes) -> None:
        """Keep a snapshot durably: after this returns it survives a crash, before it the last one.

        Raises ``StateError`` where it could not be kept; the older ones are untouched then.
        """

    def positions(self) -> list[int]:
        """Positions of the snapshots kept, newest first."""

    def read(self, position: int) -> bytes:
        """The bytes of one. Raises ``StateError`` where it cannot be read."""

    def delete_all(self) -> None:
        """Forget all of them (``--reset-state``)."""


class DirectoryStore:
    """Snapshots as files of one directory, the last ``keep`` of them."""

    _NAME = re.compile(r"(\d{20})\.snapshot")

    def __init__(self, directory: Path, keep: int) -> None:
        """Raises ``StateError`` where the directory cannot be made."""
        self._directory = directory
        self._keep = keep
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StateError(f"cannot make the state directory {directory}: {error}") from error

    def write(self, position: int, data: bytes) -> None:
        """Beside, fsync, rename, fsync the directory; then delete what is beyond ``keep``."""
        target = self._path(position)
        beside = target.with_suffix(".partial")
        try:
            with beside.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(target)
            descriptor = os.open(self._directory, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            for old in self.positions()[self._keep :]:
                self._path(old).unlink(missing_ok=True)
        except OSError as error:
            beside.unlink(missing_ok=True)
            raise StateError(f"cannot write the snapshot {target}: {error}") from error

    def positions(self) -> list[int]:
        """Positions kept, newest first."""
        found = (self._NAME.fullmatch(path.name) for path in self._directory.iterdir())
        return sorted((int(match[1]) for match in found if match), reverse=True)

    def read(self, position: int) -> bytes:
        """Bytes of a snapshot."""
        path = self._path(position)
        try:
            if path.stat().st_size > _MAX_SNAPSHOT_BYTES:
                raise StateError(f"the snapshot {path} is larger than any that was written")
            return path.read_bytes()
        except OSError as error:
            raise StateError(f"cannot read the snapshot {path}: {error}") from error

    def delete_all(self) -> None:
        """Delete every snapshot of the directory."""
        for position in self.positions():
            self._path(position).unlink(missing_ok=True)

    def _path(self, position: int) -> Path:
        return self._directory / f"{position:020d}.snapshot"


def newest_sound(store: SnapshotStore) -> Iterator[tuple[int, Snapshot | StateError]]:
    """Snapshots from the newest on: a damaged one as its error, until a sound one was given."""
    for position in store.positions():
        try:
            snapshot = decode(store.read(position))
        except StateError as error:
            yield position, error
            continue
        yield position, snapshot
        return
