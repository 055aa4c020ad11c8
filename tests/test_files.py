"""What the file and memory sources promise."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_detector.connectors import lines as lines_module
from stream_detector.connectors.base import Source
from stream_detector.connectors.files import FileSource
from stream_detector.connectors.memory import MemorySource
from stream_detector.errors import ConnectorError
from stream_detector.events import NO_TIMESTAMP, PlainRecord, TopicPartition


def drain(source: Source, polls: int = 10_000) -> list[PlainRecord]:
    """All records of a source, checked for what every source promises."""
    records: list[Any] = []
    for _ in range(polls):
        if source.exhausted():
            break
        for fetched in source.poll(5):
            assert fetched.records
            records += fetched.records
    assert source.exhausted()
    assert source.poll(0) == []
    return records


def values(path: Path, **arguments: Any) -> list[bytes]:
    source = FileSource(str(path), **arguments)
    try:
        records = drain(source)
    finally:
        source.close()
    assert [record.offset for record in records] == list(range(len(records)))
    assert all(r.timestamp == NO_TIMESTAMP and r.key is None for r in records)
    return [record.value or b"" for record in records]


def objects(path: Path, **arguments: Any) -> list[Any]:
    return [json.loads(value) for value in values(path, **arguments)]


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


# --- CSV --------------------------------------------------------------------------------------


def test_csv_cells_become_what_their_field_is(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'id,amount,ok,name\n7,1.50,1,x\n8,,0,\n9,3,TRUE,é"\n')
    assert objects(path, numeric={"amount"}, boolean={"ok"}) == [
        {"id": "7", "amount": 1.5, "ok": True, "name": "x"},
        {"id": "8", "amount": None, "ok": False, "name": None},
        {"id": "9", "amount": 3, "ok": True, "name": 'é"'},
    ]


@pytest.mark.parametrize("cell", ["NaN", "nan", "inf", "-Infinity", "1e999", "n/a", "1_000", "[1"])
def test_csv_number_that_is_none_stays_text_so_that_decoding_rejects_it(
    tmp_path: Path, cell: str
) -> None:
    path = write(tmp_path / "a.csv", f"a,b\n1,2\n{cell},2\n3,2\n")
    assert [row["a"] for row in objects(path, numeric={"a", "b"})] == [1, cell, 3]


@pytest.mark.parametrize(("cell", "number"), [("+5", 5), ("007", 7), (".5", 0.5), ("1e3", 1000)])
def test_csv_numbers_need_not_be_written_as_json_writes_them(
    tmp_path: Path, cell: str, number: float
) -> None:
    path = write(tmp_path / "a.csv", f"a,b\n{cell},x\n")
    assert objects(path, numeric={"a"}) == [{"a": number, "b": "x"}]


def test_csv_cell_with_two_numbers_is_not_two_cells(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'a,b\n"1,2",3\n,4\n')
    assert objects(path, numeric={"a", "b"}) == [{"a": "1,2", "b": 3}, {"a": None, "b": 4}]


cell_texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)


@settings(max_examples=150, deadline=None)
@given(
    rows=st.lists(st.tuples(cell_texts, cell_texts, cell_texts), min_size=1, max_size=12),
    poll=st.integers(1, 7),
    delimiter=st.sampled_from(",;\t"),
)
def test_csv_text_survives_whatever_it_holds_and_however_it_is_cut(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str, str]],
    poll: int,
    delimiter: str,
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerows([("a%s", 'b"', "c"), *rows])
    path = write(tmp_path_factory.mktemp("csv") / "a.csv", text.getvalue())
    assert objects(path, max_poll_records=poll) == [
        {"a%s": a or None, "b'": b or None, "c": c or None} for a, b, c in rows
    ]


def test_csv_backslash_before_a_line_break_is_itself_where_quotes_are_doubled(
    tmp_path: Path,
) -> None:
    """Found by the test above; where nothing doubles a quote, it may be the escape of the break."""
    path = write(tmp_path / "a.csv", '"a","b""","c"\n"","","\\\n"\n')
    assert objects(path) == [{"a": None, "b'": None, "c": "\\\n"}]
    path = write(tmp_path / "b.csv", '"a","b","c"\n"1","x","say \\"so\\""\n"2","y","\\\nz"\n')
    assert [row["c"] for row in objects(path)] == ['say "so"', "\nz"]


@settings(max_examples=100, deadline=None)
@given(
    cells=st.lists(
        st.one_of(
            st.floats(allow_nan=False, allow_infinity=False).map(repr),
            st.integers().map(str),
            st.sampled_from(
                ["", " ", "NaN", "1,2", "x", "+1", "1.", "[]", "1]", "[2", '"', "1e400"]
            ),
        ),
        min_size=1,
        max_size=10,
    ),
    poll=st.integers(1, 10),
)
def test_csv_number_does_not_depend_on_its_neighbours(
    tmp_path_factory: pytest.TempPathFactory, cells: list[str], poll: int
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerows([("a", "b"), *((cell, "x") for cell in cells)])
    path = write(tmp_path_factory.mktemp("csv") / "a.csv", text.getvalue())
    together = values(path, numeric={"a"}, max_poll_records=poll)
    assert together == values(path, numeric={"a"}, max_poll_records=1)
    for cell, value in zip(cells, together, strict=True):
        read = json.loads(value)["a"]
        try:
            expected = float(cell)
        except ValueError:
            expected = math.nan
        if not cell.strip():
            assert read is None
        elif math.isfinite(expected):
            assert float(read) == expected
        else:
            assert read == cell


def test_csv_row_of_another_width_is_handed_on_as_it_is(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "a,b\n1,2\n3\n4,5,6\n\n7,8\n")
    assert values(path, numeric={"a", "b"}) == [b'{"a":1,"b":2}', b"3", b"4,5,6", b'{"a":7,"b":8}']


def test_csv_cell_beyond_the_reader_s_limit_is_one_bad_record(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", f"a,b\n1,2\n{'x' * 200_000},3\n4,5\n")
    first, bad, last = values(path)
    assert (first, last) == (b'{"a":"1","b":"2"}', b'{"a":"4","b":"5"}')
    assert bad == b"x" * 200


def test_csv_bytes_that_are_no_utf8_in_text_that_is_reach_decoding_as_they_are(
    tmp_path: Path,
) -> None:
    path = write(tmp_path / "a.csv", b"a,b\nx\xff,1\n" + "é,ü\n".encode())
    assert values(path) == [b'{"a":"x\xff","b":"1"}', '{"a":"é","b":"ü"}'.encode()]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_delimiter_is_found_in_the_header(tmp_path: Path, delimiter: str) -> None:
    path = write(tmp_path / "a.csv", f'a{delimiter}"b,;c"{delimiter}d\n1{delimiter}2{delimiter}3\n')
    assert objects(path) == [{"a": "1", "b,;c": "2", "d": "3"}]


def test_csv_byte_order_mark_and_blanks_are_no_part_of_a_name(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", b"\xef\xbb\xbf\r\na, b ,\r\n1,2,3\r\n")
    assert objects(path) == [{"a": "1", "b": "2", "column_3": "3"}]


def test_csv_dotted_column_is_a_path(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "a.b,x,a.c.d,x.y\n1,2,3,4\n")
    assert objects(path) == [{"a": {"b": "1", "c": {"d": "3"}}, "x": "2", "x.y": "4"}]


def test_csv_without_a_header_is_known_by_its_numbers(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "0,tcp,1,1\n2,udp,3,4\n")
    assert objects(path, numeric={"column_1"})[0] == {
        "column_1": 0,
        "column_2": "tcp",
        "column_3": "1",
        "column_4": "1",
    }
    named = objects(path, columns=["a", "b", "c", "d"], max_poll_records=1)
    assert named[1] == {"a": "2", "b": "udp", "c": "3", "d": "4"}


def test_csv_that_ends_after_its_header_has_no_records(tmp_path: Path) -> None:
    assert values(write(tmp_path / "a.csv", "a,b\n")) == []
    assert values(write(tmp_path / "b.csv", "")) == []


# --- JSON Lines, gzip, npz --------------------------------------------------------------------


def test_json_lines_come_untouched(tmp_path: Path) -> None:
    lines = [b'{"a": 1 }', b"\xff broken", b'{"a":NaN}', b"[" * 9000, b'{"last":1}']
    path = write(tmp_path / "a.jsonl", b"\n".join([lines[0], b"", b"  ", *lines[1:]]))
    assert values(path) == lines
    assert values(path, limit=2, max_poll_records=1) == lines[:2]


def test_gzip_is_known_by_its_bytes_not_by_its_name(tmp_path: Path) -> None:
    rows = b"".join(b'{"row":%d,"fill":"%s"}\n' % (i, b"x" * 400) for i in range(9000))
    half = rows.index(b"\n", len(rows) // 2) + 1
    members = gzip.compress(rows[:half], mtime=0) + gzip.compress(rows[half:]) + b"\0" * 64
    path = write(tmp_path / "plain.jsonl", members)
    assert b"".join(value + b"\n" for value in values(path)) == rows
    assert values(write(tmp_path / "named.gz", b'{"a":1}\n')) == [b'{"a":1}']


def test_npz_rows_are_events(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", X=np.array([[1.5, np.nan], [0.1, np.inf]]), y=np.array([0, 1]))
    assert objects(tmp_path / "a.npz", max_poll_records=1) == [
        {"f0": 1.5, "f1": "nan", "label": 0},
        {"f0": 0.1, "f1": "inf", "label": 1},
    ]


def test_npz_is_never_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", X=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ConnectorError, match="npz"):
        FileSource(str(tmp_path / "a.npz"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x7fELF\x02\x00\x00\n", "a program"),
        (b"\x01\x02\x00\x00\x00\n", "binary"),
        (gzip.compress(b'{"a":1}\n' * 5000, mtime=0)[:-20], "end too early"),
        (b"\x1f\x8b\x08\x00damaged, surely", "damaged"),
        (b"PK\x03\x04 no archive", "zip archive cannot be read"),
    ],
)
def test_file_of_another_kind_is_named_in_the_error(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = write(tmp_path / "input", content)
    with pytest.raises(ConnectorError, match=message) as raised:
        values(path)
    assert "input" in str(raised.value)


def test_missing_file_and_directory_are_connector_errors(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.csv", tmp_path):
        with pytest.raises(ConnectorError, match="cannot read"):
            FileSource(str(path))


def test_line_beyond_the_limit_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines_module, "MAX_LINE_BYTES", 2**20)
    content = gzip.compress(b'{"a":1}\n{"b":"' + b"x" * 3 * 2**20, mtime=0)
    with pytest.raises(ConnectorError, match="line 2 is longer"):
        values(write(tmp_path / "bomb.gz", content))


def test_progress_ends_at_the_size(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", b'{"a":1}\n' * 100_000)
    source = FileSource(str(path))
    source.poll(0)
    assert 0 < (source.progress() or 0) < path.stat().st_size
    drain(source)
    assert source.progress() == source.size_hint() == path.stat().st_size
    source.close()


# --- pipes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b'{"a":1}\n{"a":2}\n{"a":', b'a\n1\n"2\n2"\n3'])
def test_pipe_gives_what_has_come_and_does_not_wait_for_more(
    tmp_path: Path, content: bytes
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    writers: list[int] = []
    opener = threading.Thread(target=lambda: writers.append(os.open(fifo, os.O_WRONLY)))
    opener.start()
    source = FileSource(str(fifo))
    opener.join(30)
    try:
        assert source.poll(0) == []
        assert not source.exhausted()
        os.write(writers[0], content)
        (fetched,) = source.poll(5)
        assert len(fetched.records) == 2
        assert source.poll(0.01) == []
        assert source.size_hint() is None
        assert source.progress() is None
    finally:
        os.close(writers[0])
    assert len(drain(source)) == 1
    source.close()


def test_dash_is_standard_input() -> None:
    program = (
        "from stream_detector.connectors.files import FileSource\n"
        "source = FileSource('-', numeric={'a'})\n"
        "while not source.exhausted():\n"
        "    for f in source.poll(1): print(f.source, [r.value for r in f.records])\n"
    )
    content = gzip.compress(b"a,b\n1,x\n", mtime=0)
    done = subprocess.run(
        [sys.executable, "-c", program], input=content, capture_output=True, check=True, timeout=240
    )
    assert done.stdout.decode() == 'stdin-0 [b\'{"a":1,"b":"x"}\']\n'


# --- the public data sets, memory -------------------------------------------------------------


def test_public_csv_is_read_as_the_csv_module_reads_it(data_directory: Path) -> None:
    path = data_directory / "ai4i2020.csv.gz"
    with gzip.open(path, "rt", encoding="utf-8-sig", newline="") as file:
        expected = list(csv.DictReader(file))
    assert objects(path) == expected
    torque = [row["Torque [Nm]"] for row in objects(path, numeric={"Torque [Nm]"})]
    assert torque == [float(row["Torque [Nm]"]) for row in expected]


def logs(sizes: list[int]) -> dict[TopicPartition, list[PlainRecord]]:
    return {
        TopicPartition("t", partition): [
            PlainRecord(2 * index, index, None, b"%d" % index) for index in range(size)
        ]
        for partition, size in enumerate(sizes)
    }


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 30), min_size=1, max_size=4),
    poll=st.integers(1, 9),
    seed=st.none() | st.integers(0, 1000),
)
def test_memory_source_brings_every_partition_in_order_once(
    sizes: list[int], poll: int, seed: int | None
) -> None:
    partitions = logs(sizes)
    source = MemorySource(partitions, poll, seed)
    seen: dict[TopicPartition, list[Any]] = {partition: [] for partition in partitions}
    while not source.exhausted():
        fetched = source.poll(0)
        assert sum(len(f.records) for f in fetched) <= poll
        assert len({f.source for f in fetched}) == len(fetched)
        for f in fetched:
            seen[f.source] += f.records
            assert source.position(f.source) <= source.end_offset(f.source)
    assert seen == partitions
    assert all(source.position(p) == source.end_offset(p) for p in partitions)


def test_memory_source_with_another_seed_cuts_differently_and_with_the_same_alike() -> None:
    def cuts(seed: int | None) -> list[list[tuple[TopicPartition, int]]]:
        source = MemorySource(logs([50, 50, 50]), 20, seed)
        found = []
        while not source.exhausted():
            found.append([(f.source, len(f.records)) for f in source.poll(0)])
        return found

    assert cuts(1) == cuts(1)
    assert cuts(1) != cuts(2)
    assert len({source for poll in cuts(None)[:3] for source, _ in poll}) == 3  # takes turns


def test_memory_source_brings_nothing_of_a_paused_partition() -> None:
    source = MemorySource(logs([3, 3]), 10)
    first, second = TopicPartition("t", 0), TopicPartition("t", 1)
    source.pause(first)
    assert [f.source for f in source.poll(0)] == [second]
    assert source.poll(0) == []
    assert not source.exhausted()
    source.resume(first)
    assert [f.source for f in source.poll(0)] == [first]
