"""Files that people give to `init`, `evaluate` and `train`: text, JSON, npz, packed and not."""

from __future__ import annotations

import atexit
import csv
import gzip
import io
import json
import os
import tempfile
from pathlib import Path

import numpy as np

from fuzz.target import Target
from stream_detector.connectors.files import FileSource
from stream_detector.errors import ConnectorError

MOST_RECORDS = 200_000


def seeds() -> list[bytes]:
    rows = [("time", "user", "amount"), ("2026-01-02 03:04", "Ä, b", "1.5"), ("x", '"q"', "-2")]
    buffer = io.StringIO()
    csv.writer(buffer).writerows(rows * 9)
    text = buffer.getvalue()
    objects = [dict(zip(rows[0], row, strict=True)) for row in rows[1:] * 5]
    arrays = io.BytesIO()
    np.savez(arrays, X=np.arange(12.0).reshape(4, 3), y=np.array([0, 1, 0, 0]))
    return [
        text.encode(),
        text.replace(",", ";").encode("utf-16"),
        text.replace(",", "\t").replace('"', "").encode("latin-1"),
        "\n".join(map(json.dumps, objects)).encode(),
        json.dumps(objects, indent=1).encode(),
        gzip.compress(text.encode()),
        arrays.getvalue(),
    ]


_FILE, _NAME = tempfile.mkstemp(prefix="fuzz-table-")
atexit.register(os.unlink, _NAME)


def read(data: bytes) -> bool:
    """Read a file to its end, as every command does."""
    Path(_NAME).write_bytes(data)
    source = None
    try:
        source = FileSource(_NAME, numeric=["amount"], boolean=["user"])
        count = 0
        while not source.exhausted() and count < MOST_RECORDS:
            for fetched in source.poll(1):
                count += len(fetched.records)
    except ConnectorError:
        return False
    finally:
        if source is not None:
            source.close()
    return True


TARGET = Target(seeds, read)
