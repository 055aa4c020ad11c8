"""Texts as arrays (for snapshots) and as numbers (for tables of fixed size)."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream_detector.detectors.stored import read_array
from stream_detector.errors import StateMismatchError
from stream_detector.events import Int64, State

_MISSING_LENGTH = -1
# JSON may carry half of a surrogate pair; a key like that must survive save and restore too.
_ERRORS = "surrogatepass"
# No text encodes to this byte, so a missing value never shares a hash with a text by construction.
_MISSING_BYTES = b"\xff"


def present(texts: Sequence[str | None]) -> NDArray[np.bool_]:
    """(texts,) which of them are there."""
    return np.fromiter((text is not None for text in texts), np.bool_, len(texts))


def pack_texts(texts: Sequence[str | None]) -> dict[str, np.ndarray]:
    """Texts as arrays: ``utf8`` uint8, all bytes joined; ``lengths`` int64, -1 for None."""
    encoded = [None if text is None else text.encode("utf-8", _ERRORS) for text in texts]
    lengths = [_MISSING_LENGTH if data is None else len(data) for data in encoded]
    joined = b"".join(data for data in encoded if data is not None)
    return {
        "utf8": np.frombuffer(joined, dtype=np.uint8).copy(),
        "lengths": np.array(lengths, dtype=np.int64),
    }


def unpack_texts(packed: State) -> list[str | None]:
    """The texts that ``pack_texts`` was given.

    Raises:
        StateMismatchError: the lengths do not add up to the bytes.
    """
    joined = read_array(packed, "utf8", (-1,), np.uint8).tobytes()
    most = len(joined)
    lengths = read_array(packed, "lengths", (-1,), np.int64, low=_MISSING_LENGTH, high=most)
    ends = np.cumsum(np.maximum(lengths, 0))
    total = int(ends[-1]) if len(ends) else 0
    if total != len(joined):
        raise StateMismatchError(f"packed texts hold {len(joined)} bytes, lengths say {total}")
    try:
        return [
            None if length < 0 else joined[end - length : end].decode("utf-8", _ERRORS)
            for end, length in zip(ends.tolist(), lengths.tolist(), strict=True)
        ]
    except UnicodeDecodeError as error:
        raise StateMismatchError(f"packed texts are no UTF-8: {error}") from error


def hash_texts(texts: Sequence[str | None]) -> Int64:
    """(texts,) int64 in 0..2**32-1: the same in every process, unlike ``hash()``.

    CRC-32 is linear, so that numbered names (``C1``, ``C2``, ...) fall into patterns; the finaliser
    of MurmurHash3 (Appleby 2011, ``fmix32``), a bijection, breaks these.
    """
    crc = [
        zlib.crc32(_MISSING_BYTES if text is None else text.encode("utf-8", _ERRORS))
        for text in texts
    ]
    mixed = np.array(crc, dtype=np.uint32)
    mixed ^= mixed >> np.uint32(16)
    mixed *= np.uint32(0x85EBCA6B)
    mixed ^= mixed >> np.uint32(13)
    mixed *= np.uint32(0xC2B2AE35)
    mixed ^= mixed >> np.uint32(16)
    return mixed.astype(np.int64)
