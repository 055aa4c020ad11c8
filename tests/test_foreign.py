"""Bytes that are no JSON object: each is accepted by rule, or rejected with what it looks like."""

from __future__ import annotations

import gzip
import json
import struct

import lz4.frame
import pytest
import snappy
import zstandard
from kafka.codec import snappy_encode
from support.streams import configuration, decode, new_pipeline, records

from stream_detector.alerts import dead_letter
from stream_detector.daemon.shard_reporter import ShardReporter
from stream_detector.events import PlainRecord
from stream_detector.telemetry.metrics import Metrics
from stream_detector.telemetry.status.recent import Recent

EVENT = records(1)[0].value or b""
TEXT = EVENT.decode()
REGISTRY = struct.pack(">bI", 0, 7)

ACCEPTED = {
    "a byte order mark": b"\xef\xbb\xbf" + EVENT,
    "JSON Schema of Confluent": REGISTRY + EVENT,
    "JSON Schema of Apicurio": struct.pack(">bQ", 0, 7) + EVENT,
    "blanks around": b"\r\n\t " + EVENT + b"\n",
    "a name twice: the last counts": EVENT[:-1] + b',"amount":5}',
    "a number of 20 digits as a key": EVENT[:-1] + b',"user":12345678901234567890}',
    "a NUL in a text": EVENT[:-1] + b',"user":"a\\u0000"}',
}

REJECTED = {
    "avro": (REGISTRY + b"\x06e1\x02\x0a", "malformed", "schema id 7"),
    "apicurio": (struct.pack(">bQ", 0, 7) + b"\x06e1", "malformed", "Apicurio"),
    "avro object": (b"\xc3\x01" + bytes(8) + b"e1", "malformed", "Avro single object"),
    "avro file": (b"Obj\x01\x04", "malformed", "Avro file"),
    "gzip": (gzip.compress(EVENT), "malformed", "gzip"),
    "zstd": (zstandard.compress(EVENT), "malformed", "zstd"),
    "lz4": (lz4.frame.compress(EVENT), "malformed", "lz4"),
    "xerial": (snappy_encode(EVENT), "malformed", "snappy"),
    "snappy": (snappy.StreamCompressor().add_chunk(EVENT), "malformed", "snappy"),
    "utf-16": (TEXT.encode("utf-16"), "malformed", "UTF-16"),
    "utf-16 big": (TEXT.encode("utf-16-be"), "malformed", "UTF-16"),
    "utf-16 bare": (TEXT.encode("utf-16-le"), "malformed", "UTF-16"),
    "utf-32": (TEXT.encode("utf-32"), "malformed", "UTF-32"),
    "utf-32 bare": (TEXT.encode("utf-32-le"), "malformed", "UTF-32"),
    "xml": (b"<?xml version='1.0'?><event/>", "malformed", "XML"),
    "csv": (b"e1,2026-01-01,3.5", "malformed", "CSV"),
    "text": (b"hello world", "malformed", "plain text"),
    "msgpack": (b"\x82\xa2id\xa2e1\xa1a\x05", "malformed", "MessagePack"),
    "java": (b"\xac\xed\x00\x05sr", "malformed", "Java"),
    "protobuf": (b"\x0a\x02e1\x10\xff\x05", "malformed", "Protobuf"),
    "bson": (b"\x10\0\0\0\x02a\0\x04\0\0\0abc\0\0"[:15] + b"\0", "malformed", "BSON"),
    "parquet": (b"PAR1" + bytes(9), "malformed", "Parquet"),
    "twice": (json.dumps(TEXT).encode(), "wrong_type", "encoded twice"),
    "two": (EVENT + EVENT, "malformed", "several JSON documents"),
    "lines": (EVENT + b"\n" + EVENT, "malformed", "several JSON documents"),
    "array": (b"[" + EVENT + b"]", "wrong_type", "JSON array"),
    "python": (str(json.loads(EVENT)).encode(), "malformed", "Python dict"),
    "surrogate": (EVENT[:-1] + b',"user":"\\ud800"}', "malformed", ""),
    "digits": (EVENT[:-1] + b',"id":' + b"9" * 5000 + b"}", "wrong_type", "`$.id`"),
    "wrong type in a registry's JSON": (
        REGISTRY + EVENT[:-1] + b',"amount":[]}',
        "wrong_type",
        "`$.amount`",
    ),
    "not utf-8": (EVENT[:-1] + b',"user":"\xff"}', "malformed", ""),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_is_json_all_the_same_is_accepted(name: str) -> None:
    batch = decode(configuration(), [PlainRecord(0, 1_600_000_000_000, b"\xff", ACCEPTED[name])])
    assert batch.rejection[0] is None
    assert batch.event_id[0] == "e0"


@pytest.mark.parametrize("name", REJECTED)
def test_what_is_not_is_rejected_with_what_it_looks_like(name: str) -> None:
    value, reason, said = REJECTED[name]
    config = configuration()
    good = records(3)
    mixed = [good[0], PlainRecord(1, good[1].timestamp, b"\xff\0", value), good[2]]
    batch = decode(config, mixed)
    assert [one is None for one in batch.rejection] == [True, False, True]
    rejection = batch.rejection[1]
    assert rejection.reason == reason
    assert said in rejection.message
    assert dead_letter(batch.source[0], mixed[1], rejection, "d").value == value
    assert len(new_pipeline(config).process(batch).dead_letters) == 1


def test_the_line_of_each_minute_says_why_where_a_share_is_rejected(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configuration()
    avro = PlainRecord(7, 1_600_000_000_000, None, REGISTRY + b"\x06e1\x02")
    outcome = new_pipeline(config).process(decode(config, [avro]))
    recent = Recent()
    observation = ShardReporter(Metrics(), recent)
    for rejected, lines in ((1, 0), (10, 1)):
        caplog.clear()
        observation._minute.add_all(outcome.rejections, ["events-0 offset 7"])
        monkeypatch.setattr(recent, "totals", lambda: (100, 0, 0, rejected))  # noqa: B023
        observation._reported = (0, 0, 0, 0)
        observation.report(100, 1)
        said = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
        assert len(said) == lines
    assert "events-0 offset 7" in said[0]
    assert "schema id 7" in said[0]
