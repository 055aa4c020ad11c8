"""The bytes of a snapshot: arrays and JSON, and nothing that can name code to run.

Layout, all integers little-endian:

    bytes 0-7     magic ``SDSNAP01`` (the last two digits are the format's version)
    bytes 8-15    length of the JSON header
    header        {"meta": {...}, "tree": state with {"$array": i} for arrays,
                   "arrays": [{"dtype", "shape", "start", "size"}, ...]}
    arrays        raw bytes, C order, one after the other without a gap
    next 32       BLAKE2b-256 of all bytes before
    last 32       format 02 only: a signature of all bytes before (``snapshots.signing``)

Nothing is read before the checksum has been compared. Since anybody can compute a checksum, the
reader bounds what the header may ask for all the same: it never takes more memory than a small
multiple of the snapshot's own size.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from stream_detector.errors import StateError
from stream_detector.events import State
from stream_detector.snapshots.meta import check_types

_MAGIC = b"SDSNAP01"
_SIGNED = b"SDSNAP02"
_DIGEST_BYTES = 32
_ARRAY = "$array"
_DTYPES = frozenset(("float64", "float32", "int64", "int32", "uint64", "uint32", "uint8", "bool"))
_MAX_DIMENSIONS = 8
_MAX_DEPTH = 64
_MAX_INTEGER_BITS = 128

MAX_SNAPSHOT_BYTES = 8 * 2**30
MAX_HEADER_BYTES = 256 * 2**20
"""JSON takes up to thirty times its length once it is objects. Most headers have a few KiB; those
of shards that hold alerts back for many keys have tens of bytes a key."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A state and what must be known to use it.

    Attributes:
        meta: JSON values: input positions, versions, the configuration's fingerprint and shape.
        state: the shard's state.
        size_bytes: length of the bytes that it was read from, 0 where it was not.
    """

    meta: dict[str, Any]
    state: State
    size_bytes: int = field(default=0, compare=False)


def encode(snapshot: Snapshot) -> bytearray:
    """Bytes of a snapshot.

    Raises ``TypeError`` on a leaf that is neither array nor JSON, ``ValueError`` on a number that
    is not finite, ``StateError`` where it would be too large or too deep to be read back.
    """
    arrays: list[NDArray[Any]] = []
    tree = _flatten(dict(snapshot.state), arrays, 0)
    table: list[dict[str, Any]] = []
    start = 0
    for array in arrays:
        entry = {"dtype": array.dtype.name, "shape": array.shape, "start": start}
        table.append({**entry, "size": array.nbytes})
        start += array.nbytes
    header = json.dumps(
        {"meta": snapshot.meta, "tree": tree, "arrays": table}, allow_nan=False, sort_keys=True
    ).encode()
    if len(header) > MAX_HEADER_BYTES:
        raise StateError(f"a header of {len(header)} bytes: {MAX_HEADER_BYTES} is the limit")
    # The state of many keys is tens of megabytes, and memory's peak is here: unless the caller
    # holds it too, each array is gone once it is written.
    del snapshot
    arrays.reverse()
    data = bytearray(b"".join([_MAGIC, len(header).to_bytes(8, "little"), header]))
    while arrays:
        data += arrays.pop().reshape(-1).view(np.uint8).data
    data += blake2b(data, digest_size=_DIGEST_BYTES).digest()
    return data


def _flatten(value: Any, arrays: list[NDArray[Any]], depth: int) -> Any:
    """``value`` with references for its arrays, which are appended to ``arrays``."""
    if depth > _MAX_DEPTH:
        raise StateError(f"a state nested deeper than {_MAX_DEPTH}")
    if isinstance(value, np.ndarray):
        if value.dtype.name not in _DTYPES or value.ndim > _MAX_DIMENSIONS:
            raise TypeError(f"an array of {value.ndim} dimensions of {value.dtype} cannot be kept")
        arrays.append(np.ascontiguousarray(value).reshape(value.shape))
        return {_ARRAY: len(arrays) - 1}
    if isinstance(value, dict):
        if _ARRAY in value:
            raise TypeError(f"the key {_ARRAY} is taken")
        # Sorted as the JSON will be, so that a state has one encoding, whatever made its dicts.
        return {key: _flatten(value[key], arrays, depth + 1) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return [_flatten(inner, arrays, depth + 1) for inner in value]
    return value


def decode(data: bytes | bytearray) -> Snapshot:
    """The snapshot in ``data``, whoever has signed it, if anybody.

    Raises ``StateError`` saying what is wrong with it.
    """
    start = len(_MAGIC) + 8
    summed, _ = signed_part(data)
    body = summed[:-_DIGEST_BYTES]
    if blake2b(body, digest_size=_DIGEST_BYTES).digest() != bytes(summed[-_DIGEST_BYTES:]):
        raise StateError("the checksum does not fit: the snapshot is damaged")
    end = start + int.from_bytes(body[len(_MAGIC) : start], "little")
    if end > len(body):
        raise StateError("the header is longer than the snapshot")
    if end - start > MAX_HEADER_BYTES:
        raise StateError(f"a header of {end - start} bytes: {MAX_HEADER_BYTES} is the limit")
    try:
        header = json.loads(
            bytes(body[start:end]),
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_short_integer,
        )
    except (ValueError, RecursionError) as error:
        raise StateError(f"the snapshot's header makes no sense: {error!r:.200}") from error
    if not isinstance(header, dict) or header.keys() != {"meta", "tree", "arrays"}:
        raise StateError("the snapshot's header has not the parts that it must have")
    meta, tree = header["meta"], header["tree"]
    if not isinstance(meta, dict) or not isinstance(tree, dict):
        raise StateError("the snapshot's header has parts of another kind than they must be")
    check_types(meta)
    arrays = _read_arrays(header["arrays"], body[end:])
    _check_depth(meta, 0)
    unused = set(range(len(arrays)))
    state = _unflatten(tree, arrays, unused, 0)
    if unused:
        raise StateError("the snapshot holds arrays that nothing in it refers to")
    return Snapshot(meta, state, len(data))


def signed_part(data: bytes | bytearray) -> tuple[memoryview, bytes]:
    """What of a snapshot is signed, its checksum included, and the signature; empty without one.

    Raises ``StateError`` where ``data`` is no snapshot of a format that is known.
    """
    magic = bytes(data[: len(_MAGIC)])
    signature = _DIGEST_BYTES if magic == _SIGNED else 0
    if len(data) < len(_MAGIC) + 8 + _DIGEST_BYTES + signature or magic[:6] != _MAGIC[:6]:
        raise StateError("not a snapshot: too short or without its mark")
    if magic not in (_MAGIC, _SIGNED):
        version = magic[6:].decode("latin-1")
        raise StateError(f"a snapshot of format {version!r}, this version reads '01' and '02'")
    end = len(data) - signature
    return memoryview(data)[:end], bytes(data[end:])


def as_signed(data: bytes | bytearray) -> bytearray:
    """A snapshot as it is to be signed; a ``bytearray`` is changed in place.

    Raises ``StateError`` where ``data`` is no snapshot.
    """
    part, signature = signed_part(data)
    part.release()
    body = data if isinstance(data, bytearray) else bytearray(data)
    if signature:
        del body[-_DIGEST_BYTES:]
        return body
    body[: len(_MAGIC)] = _SIGNED
    del body[-_DIGEST_BYTES:]
    body += blake2b(body, digest_size=_DIGEST_BYTES).digest()
    return body


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number that a snapshot may hold")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number beyond what can be represented")
    return number


def _short_integer(text: str) -> int:
    number = int(text)
    if number.bit_length() > _MAX_INTEGER_BITS:
        raise ValueError("an integer of more than 128 bits")
    return number


def _read_arrays(table: Any, data: memoryview) -> list[NDArray[Any]]:
    """The arrays, each where the one before ends: together they are just ``data``."""
    if not isinstance(table, list):
        raise StateError("the table of arrays is none")
    arrays: list[NDArray[Any]] = []
    expected = 0
    for entry in table:
        array = _read_array(entry, data, expected)
        expected += array.nbytes
        arrays.append(array)
    if expected != len(data):
        raise StateError(f"the arrays take {expected} bytes, the snapshot has {len(data)} for them")
    return arrays


def _read_array(entry: Any, data: memoryview, expected_start: int) -> NDArray[Any]:
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "start", "size"}:
        raise StateError("an entry of the table of arrays has not the parts that it must have")
    name, shape = entry["dtype"], entry["shape"]
    if not isinstance(name, str) or name not in _DTYPES:
        raise StateError(f"an array of type {name!r:.80} has no place in a snapshot")
    start, size = entry["start"], entry["size"]
    extents: list[Any] = shape if isinstance(shape, list) else [None]
    # `type`, not `isinstance`: true is no extent.
    if any(type(number) is not int or number < 0 for number in (start, size, *extents)):
        raise StateError("an array's place or shape is not made of whole numbers from 0 on")
    if start != expected_start or start + size > len(data):
        raise StateError("an array does not lie where the one before it ends")
    dtype = np.dtype(name)
    if len(extents) > _MAX_DIMENSIONS or math.prod(extents) * dtype.itemsize != size:
        raise StateError(f"an array of shape {extents!r:.80} does not have {size} bytes")
    # An empty array may have other extents; whoever makes room by them is not to be led astray.
    if math.prod(extent for extent in extents if extent) * dtype.itemsize > MAX_SNAPSHOT_BYTES:
        raise StateError(f"an array of shape {extents!r:.80} is larger than any that was written")
    raw = data[start : start + size]
    if name == "bool" and size and int(np.frombuffer(raw, dtype=np.uint8).max()) > 1:
        raise StateError("an array of true and false holds something else")
    return np.frombuffer(raw, dtype=dtype).reshape(extents).copy()


def _unflatten(value: Any, arrays: list[NDArray[Any]], unused: set[int], depth: int) -> Any:
    """``value`` with its arrays; each is referred to once, as ``encode`` does it."""
    if depth > _MAX_DEPTH:
        raise StateError(f"a state nested deeper than {_MAX_DEPTH}")
    if isinstance(value, dict):
        if _ARRAY in value:
            index = value[_ARRAY]
            if len(value) != 1 or type(index) is not int or index not in unused:
                raise StateError("a reference to an array that is not there, or a second one")
            unused.discard(index)
            return arrays[index]
        return {key: _unflatten(inner, arrays, unused, depth + 1) for key, inner in value.items()}
    if isinstance(value, list):
        return [_unflatten(inner, arrays, unused, depth + 1) for inner in value]
    return value


def _check_depth(value: Any, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise StateError(f"meta nested deeper than {_MAX_DEPTH}")
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            _check_depth(inner, depth + 1)
