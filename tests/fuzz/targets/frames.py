"""Values behind a registry's prefix, in Avro and in Protobuf: events, or dead letters.

The first byte of an input says which of the formats it is tried as.
"""

from __future__ import annotations

import itertools
from contextlib import suppress

from support.formats import SOURCE, avro_bytes, decoder, framed
from test_formats import CARD, RICH, avro, proto, reading, rich_event
from test_formats_fuzz import EVENT, NESTED

from fuzz.target import Target
from stream_detector.decoding import REASONS
from stream_detector.events import PlainRecord
from stream_detector.formats.errors import PayloadError

PROTOBUF = proto(RICH, {"other/card.proto": CARD})
GUID = bytes(range(16))
AVRO = avro(NESTED)
HEADER = "__value_schema_id"
DECODERS = [
    decoder(
        reading("avro", {"numeric": "x", "missing": "mean"}, {"categorical": "map.k.price"}),
        {"id:1": AVRO, f"guid:{GUID.hex()}": AVRO},
    ),
    decoder(
        reading("protobuf", {"numeric": "price", "missing": "mean"}, {"categorical": "pay"}),
        {"id:1": PROTOBUF, f"guid:{GUID.hex()}": PROTOBUF},
    ),
]
OFFSETS = itertools.count()


def seeds() -> list[bytes]:
    plain = NESTED.replace('"logicalType": "decimal", ', "")
    in_avro = framed(1, avro_bytes(plain, EVENT))
    in_protobuf = framed(1, rich_event(PROTOBUF).SerializeToString(), bytes([4, 2, 0]))
    return [
        b"\0" + in_avro,
        b"\1" + in_protobuf,
        # In a header: its length, the header, the event.
        b"\2\x11\1" + GUID + in_avro[5:],
        b"\3\x14\1" + GUID + bytes([4, 2, 0]) + in_protobuf[8:],
    ]


def read(data: bytes) -> bool:
    """Decode one value, by the schemas that are known; what is taken in must be shown as well."""
    which, value = data[:1], data[1:]
    headers: list[tuple[str, bytes | None]] = []
    if which >= b"\2" and value:
        length = value[0]
        headers, value = [(HEADER, value[1 : 1 + length])], value[1 + length :]
    record = PlainRecord(next(OFFSETS), 0, None, value, headers)
    some = DECODERS[which[0] % 2 if which else 0]
    if some.readable(SOURCE, [record])[1]:
        return False  # of a schema that would be asked for
    batch = some.decode(SOURCE, [record])
    rejection = batch.rejection[0]
    if rejection is not None:
        assert rejection.reason in REASONS
        return False
    assert batch.original is not None
    with suppress(PayloadError):  # what is not read may be damaged
        assert isinstance(batch.original(record), dict)
    return True


TARGET = Target(seeds, read)
