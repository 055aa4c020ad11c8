"""Schemas of Avro as a registry may answer them: payloads are read by them, or they are none."""

from __future__ import annotations

import json

from format_comparison import AVRO_VERSIONS
from test_formats import STREAM
from test_formats_fuzz import NESTED

from fuzz.target import Target
from stream_detector.formats.avro import AvroReader
from stream_detector.formats.errors import PayloadError, SchemaError

PAYLOADS = (b"", b"\0", b"\x02" * 40, b"\xff" * 40, b"\xfe\xff\xff\xff\x7f" * 8, bytes(60_000))


def seeds() -> list[bytes]:
    versions = [
        {"type": "record", "name": "Event", "fields": [{"name": n, "type": t} for n, t, _ in each]}
        for each in AVRO_VERSIONS
    ]
    return [STREAM.encode(), NESTED.encode(), *(json.dumps(each).encode() for each in versions)]


def read(data: bytes) -> bool:
    """Make a reader of a schema, and let it read what no writer of it has written."""
    text = data.decode("utf-8", "replace")
    try:
        readers = [
            AvroReader([text], {"amount": {}, "map": {"k": {}}}, whole=w) for w in (False, True)
        ]
    except SchemaError:
        return False
    for reader in readers:
        for payload in PAYLOADS:
            try:
                reader.read(payload)
            except PayloadError:
                continue
    return True


TARGET = Target(seeds, read)
