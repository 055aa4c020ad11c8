"""Unpacks compressed batches up to a bound, with one error for whatever a codec finds wrong.

kafka-python decompresses whatever a batch holds: a megabyte of gzip may become a gigabyte. Its own
functions are not touched: ``record_batch`` and ``message_set`` call ``unpack`` in their place.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import lz4.frame
import snappy
import zstandard

from stream_detector.connectors.kafka.client.errors import CorruptRecordError

MAX_BATCH_BYTES = 128 * 1024 * 1024
"""Far above what an honest producer makes of the 1 MiB that brokers take by default."""

GZIP, SNAPPY, LZ4, ZSTD = 1, 2, 3, 4
"""Compression types as the attributes of batches number them; 0 is none."""

# Libraries without types.
_LZ4_DECOMPRESSOR: Any = lz4.frame.LZ4FrameDecompressor
_SNAPPY_DECOMPRESS: Any = vars(snappy)["decompress"]
_SNAPPY_ERROR: type[Exception] = vars(snappy)["UncompressError"]

_PIECE_BYTES = 1024 * 1024
_XERIAL_MAGIC = b"\x82SNAPPY\0"
_XERIAL_HEADER_BYTES = 16
_MAX_GZIP_MEMBERS = 1000
_GZIP_START = b"\x1f\x8b"


def unpack(compression_type: int, data: bytes) -> bytes:
    """Return what was packed by a codec of Kafka's, up to ``MAX_BATCH_BYTES``.

    Raises ``CorruptRecordError`` alone; libraries have exceptions of their own.
    """
    name, decode = _CODECS.get(compression_type, ("", None))
    if decode is None:
        raise CorruptRecordError(f"Unrecognized compression type: {compression_type}")
    try:
        return decode(data)
    except (
        zlib.error,
        zstandard.ZstdError,
        _SNAPPY_ERROR,
        struct.error,
        EOFError,
        RuntimeError,  # of lz4
        ValueError,
    ) as error:
        raise CorruptRecordError(f"{name} cannot unpack it: {error}") from error


def _too_large() -> CorruptRecordError:
    return CorruptRecordError(
        f"a compressed batch holds more than {MAX_BATCH_BYTES} bytes and is not unpacked"
    )


def _gzip(data: bytes) -> bytes:
    """Decompress one or several members, as Java's streams do; what follows them is passed over."""
    pieces = io.BytesIO()
    rest = data
    for _ in range(_MAX_GZIP_MEMBERS):
        inflater = zlib.decompressobj(wbits=31)
        pieces.write(inflater.decompress(rest, MAX_BATCH_BYTES + 1 - pieces.tell()))
        if pieces.tell() > MAX_BATCH_BYTES:
            raise _too_large()
        if not inflater.eof:
            raise CorruptRecordError("a gzip batch ends too early")
        rest = inflater.unused_data
        if not rest.startswith(_GZIP_START):
            return pieces.getvalue()
    raise CorruptRecordError(f"a gzip batch has more than {_MAX_GZIP_MEMBERS} members")


def _zstandard(data: bytes) -> bytes:
    pieces = io.BytesIO()
    decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_BATCH_BYTES)
    with decompressor.stream_reader(io.BytesIO(data), read_across_frames=True) as reader:
        while piece := reader.read(_PIECE_BYTES):
            if pieces.tell() + len(piece) > MAX_BATCH_BYTES:
                raise _too_large()
            pieces.write(piece)
    return pieces.getvalue()


def _lz4(data: bytes) -> bytes:
    decompressor: Any = _LZ4_DECOMPRESSOR()
    inflated: bytes = decompressor.decompress(data, MAX_BATCH_BYTES + 1)
    if len(inflated) > MAX_BATCH_BYTES:
        raise _too_large()
    if not decompressor.eof:
        raise CorruptRecordError("an lz4 batch ends too early")
    return inflated


def _snappy(data: bytes) -> bytes:
    """Plain, or in xerial's blocks; each block tells its size before it is unpacked.

    Nobody asks for the version in xerial's header: some writers have its bytes the other way round
    (dpkp/kafka-python#2414).
    """
    if not data.startswith(_XERIAL_MAGIC) or len(data) <= _XERIAL_HEADER_BYTES:
        return _snappy_block(data, MAX_BATCH_BYTES)
    pieces = io.BytesIO()
    position = _XERIAL_HEADER_BYTES
    while position < len(data):
        (size,) = struct.unpack_from("!i", data, position)
        position += 4
        if size < 0:
            raise CorruptRecordError("a snappy batch has a block of negative size")
        pieces.write(
            _snappy_block(data[position : position + size], MAX_BATCH_BYTES - pieces.tell())
        )
        position += size
    return pieces.getvalue()


def _snappy_block(block: bytes, limit: int) -> bytes:
    size = shift = 0
    for byte in block[:5]:  # a little-endian varint of at most 32 bits: the uncompressed length
        size |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:  # noqa: PLR2004 - the bit that says that more follow
            break
    if size > limit:
        raise _too_large()
    unpacked: bytes = _SNAPPY_DECOMPRESS(block)
    return unpacked


_CODECS: dict[int, tuple[str, Callable[[bytes], bytes]]] = {
    GZIP: ("gzip", _gzip),
    SNAPPY: ("snappy", _snappy),
    LZ4: ("lz4", _lz4),
    ZSTD: ("zstd", _zstandard),
}
