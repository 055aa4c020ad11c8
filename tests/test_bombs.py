"""Files that are small and become huge, or say so: refused with what to do, in little memory."""

from __future__ import annotations

import gzip
import io
import json
import resource
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import zstandard
from pyarrow import parquet

from stream_detector.connectors.reading import arrays
from stream_detector.connectors.reading.arrays import free_bytes, read_arrays
from stream_detector.connectors.tables import MOST_COLUMNS
from stream_detector.errors import ConnectorError

MEMORY_BYTES = 2**31
MIB = 2**20


def packed(path: Path, pieces: Iterable[bytes]) -> None:
    with gzip.open(path, "wb", compresslevel=1) as file:
        for piece in pieces:
            file.write(piece)


def array_file(path: Path, header: bytes, zeros: int = 0) -> None:
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("X.npy", "w", force_zip64=True) as file,
    ):
        file.write(header)
        for _ in range(zeros // MIB):
            file.write(b"\0" * MIB)


def header(shape: tuple[int, ...], dtype: str = "<f8") -> bytes:
    file = io.BytesIO()
    fields = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, fields)
    return file.getvalue()


def said(text: str, version: bytes = b"\x01\x00") -> bytes:
    return b"\x93NUMPY" + version + struct.pack("<H", len(text)) + text.encode()


def zipped(path: Path) -> None:
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("a.csv", "w", force_zip64=True) as file,
    ):
        file.write(b"a,b\n1,")
        for _ in range(80):
            file.write(b"9" * MIB)


def dictionary(path: Path) -> None:
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 2000, pa.int32()), ["x" * MIB])
    parquet.write_table(pa.table({"a": texts, "b": range(2000)}), path)


def lying(path: Path) -> None:
    file = io.BytesIO()
    parquet.write_table(pa.table({"a": [1.0, 2.0]}), file)
    path.write_bytes(file.getvalue()[:-8] + struct.pack("<I", 2**31 - 1) + b"PAR1")


WIDE = ",".join(f"c{number}" for number in range(200_000))
BOMBS: dict[str, tuple[Callable[[Path], object], str]] = {
    "1.6 GB of zeros.npz": (
        lambda path: array_file(path, header((10_000_000, 20)), 1600 * 10**6 + MIB),
        "split the file",
    ),
    "22 TiB by its header.npz": (
        lambda path: array_file(path, header((10**12, 3)), MIB),
        "says 24,000,000,000,000 bytes and holds",
    ),
    "10 million columns.npz": (
        lambda path: array_file(path, header((1, 10**7)), 77 * MIB),
        "columns",
    ),
    "a header of 2 GB.npz": (
        lambda path: array_file(path, b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31)),
        "too long",
    ),
    "a deep header.npz": (lambda path: array_file(path, said("(" * 9000)), "header"),
    "a negative shape.npz": (lambda path: array_file(path, header((-1, 3))), "no npz file"),
    "a pickle.npz": (lambda path: array_file(path, header((3, 3), "|O"), MIB), "no npz file"),
    "blank lines.csv.gz": (lambda path: packed(path, [b"\n" * MIB] * 64), "blanks"),
    "blank lines after rows.csv.gz": (
        lambda path: packed(path, [b"a,b\n1,2\n", *[b"\n" * MIB] * 64]),
        "blanks",
    ),
    "blanks.jsonl.gz": (lambda path: packed(path, [b" " * MIB] * 64), "blanks"),
    "one line.jsonl.gz": (
        lambda path: packed(path, [b'{"a":"', *[b"x" * MIB] * 20, b'"}\n']),
        "longer than",
    ),
    "one cell.csv.gz": (lambda path: packed(path, [b"a,b\n1,", *[b"9" * MIB] * 70]), "longer than"),
    "an endless header.csv.gz": (lambda path: packed(path, [b"a," * MIB] * 40), "longer than"),
    "an endless array.json.gz": (
        lambda path: packed(path, [b'[{"a":"', *[b"x" * MIB] * 20]),
        "longer than",
    ),
    "one cell.zip": (zipped, "longer than"),
    "zeros.zst": (
        lambda path: path.write_bytes(zstandard.compress(b"\0" * (64 * MIB))),
        "binary",
    ),
    "deep.json": (lambda path: path.write_bytes(b"[" * 100_000 + b"]" * 100_000), "no events"),
    "deep objects.json": (lambda path: path.write_bytes(b'[{"a":' * 50_000), "no events"),
    "200,000 columns.csv": (
        lambda path: path.write_text(f"{WIDE}\n" + ("1," * 199_999 + "1\n") * 2),
        f"{MOST_COLUMNS:,}",
    ),
    "200,000 fields.jsonl": (
        lambda path: path.write_text(json.dumps(dict.fromkeys(WIDE.split(","), 1)) + "\n"),
        "fields",
    ),
    "a text for all rows.parquet": (dictionary, "MiB of text"),
    "a long footer.parquet": (lying, "is it whole"),
}
"""What makes each, and what the refusal says."""

CHILD = """
import json, os, resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
import pyarrow.parquet
from support.commands import call
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[2]),) * 2)
for path in sorted(Path(sys.argv[1]).iterdir()):
    done = call("init", "--data", str(path))
    print(json.dumps([path.name, done.returncode, done.stderr[-3000:]]), flush=True)
print(json.dumps(["memory", 0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]))
"""


@pytest.mark.timeout(240)
def test_no_file_takes_the_memory_or_ends_in_a_traceback(tmp_path: Path) -> None:
    place = tmp_path / "bombs"
    place.mkdir()
    for name, (make, _) in BOMBS.items():
        make(place / name)
    assert sum(path.stat().st_size for path in place.iterdir()) < 24 * MIB
    here = str(Path(__file__).parent)
    words = [sys.executable, "-c", CHILD, str(place), str(MEMORY_BYTES), here]
    done = subprocess.run(words, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    found = {name: (code, text) for name, code, text in map(json.loads, done.stdout.splitlines())}
    _, peak_kib = found.pop("memory")
    assert found.keys() == BOMBS.keys()
    for name, (code, text) in found.items():
        assert code in (2, 3), (name, text)
        assert "Traceback" not in text, (name, text)
        assert BOMBS[name][1] in text, (name, text)
        assert len(text) < 1500, name
    assert peak_kib * 1024 < MEMORY_BYTES


def test_arrays_are_held_against_the_memory_that_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, X=np.zeros((1000, 8)), y=np.zeros(1000))
    assert read_arrays(str(path), ("X", "y", "z"))["X"].shape == (1000, 8)
    monkeypatch.setattr(arrays, "free_bytes", lambda: 2 * 72_000 + 2)
    assert set(read_arrays(str(path), ("X", "y"))) == {"X", "y"}
    monkeypatch.setattr(arrays, "free_bytes", lambda: 2 * 72_000 - 2)
    with pytest.raises(ConnectorError, match="split the file"):
        read_arrays(str(path), ("X", "y"))
    monkeypatch.setattr(arrays, "free_bytes", lambda: None)
    assert set(read_arrays(str(path), ("y",))) == {"y"}


def test_free_memory_is_the_least_of_machine_and_limit(tmp_path: Path) -> None:
    (tmp_path / "proc" / "self").mkdir(parents=True)
    (tmp_path / "proc" / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    4 kB\n")
    (tmp_path / "proc" / "self" / "statm").write_text("100 1 1\n")
    if resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY:
        assert free_bytes(tmp_path) == 4096
    assert free_bytes(tmp_path / "nowhere") is None or resource.getrlimit(resource.RLIMIT_AS)[0] > 0
