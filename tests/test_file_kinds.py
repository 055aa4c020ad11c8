"""Files as people have them: dialects, encodings, packing, headers, JSON, columns, other things."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import zstandard

from stream_detector.connectors.files import FileSource
from stream_detector.connectors.reading.notes import FileOptions
from stream_detector.errors import ConnectorError
from stream_detector.events import UnreadableRecord


def rows(count: int, row: Callable[[int], str]) -> str:
    return "".join(f"{row(index)}\n" for index in range(count))


PLAIN = "time,pump,flow\n" + rows(12, lambda i: f"2024-03-04 08:{i:02}:00,p{i % 3},{i}.5")


class Read:
    """All that a source says of a file."""

    def __init__(self, tmp_path: Path, content: str | bytes, **arguments: Any) -> None:
        path = tmp_path / "file"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        source = FileSource(str(path), max_poll_records=7, **arguments)
        records = []
        try:
            while not source.exhausted():
                records += [record for each in source.poll(5) for record in each.records]
        finally:
            source.close()
        self.problems = [each.problem for each in records if isinstance(each, UnreadableRecord)]
        values = [each.value or b"" for each in records if not isinstance(each, UnreadableRecord)]
        self.events = [json.loads(value) for value in values]
        self.notes = "; ".join(note.text for note in source.notes)
        self.format = source.format
        self.headerless = source.headerless
        assert [record.offset for record in records] == list(range(len(records)))

    @property
    def columns(self) -> list[str]:
        return list(self.events[0])


# --- dialects -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("delimiter", "said"),
    [(";", "a semicolon"), ("\t", "a tab"), ("|", "a pipe"), ("::", "::"), ("\x01", "0x01")],
)
def test_a_delimiter_is_found_and_said(tmp_path: Path, delimiter: str, said: str) -> None:
    read = Read(tmp_path, PLAIN.replace(",", delimiter))
    assert read.events == Read(tmp_path, PLAIN).events
    assert f"the delimiter is {said}" in read.notes or said in read.notes


@pytest.mark.parametrize(
    ("content", "columns", "events"),
    [
        # The header decides: a decimal comma is no delimiter, a semicolon in words neither.
        ("wert\n" + rows(9, lambda i: f"{i},{500 + i}"), ["wert"], 9),
        (rows(9, lambda i: f"{20 + i},5;1,{i};4{i}0,1"), ["column_1", "column_2", "column_3"], 9),
        ("id,words,n\n" + rows(9, lambda i: f'{i},"a; b; c",{i}'), ["id", "words", "n"], 9),
        ("ts;url\n" + rows(9, lambda i: f"{i};http://x/?a=1,2,{i}"), ["ts", "url"], 9),
        ("id,words,n\n" + rows(9, lambda i: f"{i},'a, b{i}',{i}"), ["id", "words", "n"], 9),
        ("id,words,n\n" + rows(9, lambda i: f'{i},"a \\"b\\", c",{i}'), ["id", "words", "n"], 9),
        ("id,path,n\n" + rows(9, lambda i: f"{i},C:\\new{i},{i}"), ["id", "path", "n"], 9),
        ("id, words, n\n" + rows(9, lambda i: f'{i}, "a, b", {i}'), ["id", "words", "n"], 9),
        ("a,b,c,\n" + rows(9, lambda i: f"{i},2,3"), ["a", "b", "c"], 9),
        ("a,b,c\n" + rows(9, lambda i: f"{i},2,3,"), ["a", "b", "c"], 9),
        (rows(9, lambda i: f"1 {i} -0.00{i} 641.{i}  "), [f"column_{n}" for n in (1, 2, 3, 4)], 9),
        ("  t   x\n" + rows(9, lambda i: f"{i:5d}{i / 3:9.3f}"), ["t", "x"], 9),
        ('"a" "b"\n' + rows(9, lambda i: f'"{i}" {i} "x y"'), ["column_1", "a", "b"], 9),
        ("# t x\n" + rows(9, lambda i: f"{i}.0 {i / 3:.6e}"), ["t", "x"], 9),
        (",0,1,2\n" + rows(9, lambda i: f"{i},.5,.{i},1.5"), ["column_1", "0", "1", "2"], 9),
        ("Report\nof, us\n\nt,x,y\n" + rows(9, lambda i: f"{i},{i},{i}"), ["t", "x", "y"], 9),
        ("Report,,\n,,\nt,x,y\n" + rows(9, lambda i: f"{i},{i},{i}"), ["t", "x", "y"], 9),
        ("t,x\ns,degC\n" + rows(9, lambda i: f"{i},{i}.5"), ["t", "x"], 9),
        ("<DATE>\t<OPEN>\n" + rows(9, lambda i: f"2024.03.04\t1.{i}"), ["<DATE>", "<OPEN>"], 9),
        (PLAIN.replace("\n", "\r"), ["time", "pump", "flow"], 12),
        (PLAIN.replace("\n", "\r\n"), ["time", "pump", "flow"], 12),
        ("# by x\n# at y\n" + PLAIN + "# end\n", ["time", "pump", "flow"], 12),
        (PLAIN + PLAIN, ["time", "pump", "flow"], 24),
        ("# a\ncolor,v\n" + rows(9, lambda i: f"#ff000{i},{i}"), ["color", "v"], 9),
        ("sep=;\r\n" + PLAIN.replace(",", ";"), ["time", "pump", "flow"], 12),
        ("sep=\t\n" + PLAIN.replace(",", "\t"), ["time", "pump", "flow"], 12),
    ],
)
def test_a_table_is_read_in_the_shape_it_has(
    tmp_path: Path, content: str, columns: list[str], events: int
) -> None:
    read = Read(tmp_path, content)
    assert (read.columns, len(read.events), read.problems) == (columns, events, [])


def test_a_table_without_a_header_is_known_by_what_its_first_row_holds(tmp_path: Path) -> None:
    for content in (
        rows(9, lambda i: f"2024-03-04 08:00:0{i},pump-{i % 4},running,20.{i}"),
        rows(9, lambda i: f"147819{i}.391,05f0,8,f6,c{i},R"),
        rows(9, lambda i: f"{['ann', 'bob', 'cy'][i % 3]},{['ulm', 'rome'][i % 2]}"),
    ):
        read = Read(tmp_path, content)
        assert (read.headerless, len(read.events), read.columns[0]) == (True, 9, "column_1")
        assert "there is no header" in read.notes
    assert not Read(tmp_path, "name,city\n" + rows(9, lambda i: f"ann{i}x,rome")).headerless


def test_names_that_occur_twice_or_are_missing_are_told_apart_and_said(tmp_path: Path) -> None:
    read = Read(tmp_path, "a,a,a_2,,b\n" + rows(9, lambda i: f"1,2,3,{i},5"))
    assert read.columns == ["a", "a_3", "a_2", "column_4", "b"]
    assert '"a" is called "a_3"' in read.notes
    assert "column_4" in read.notes


def test_a_row_of_another_width_names_its_line_and_is_one_bad_record(tmp_path: Path) -> None:
    read = Read(tmp_path, PLAIN + "\nonly,two\n" + 'a,"b\nb",c,d\n' + PLAIN.split("\n")[1])
    assert read.problems == [
        "line 15 has 2 cells, the table has 3 columns: only,two",
        "line 16 has 4 cells, the table has 3 columns: a,b\nb,c,d",
    ]
    assert len(read.events) == 13


def test_a_quote_that_is_not_closed_takes_no_row_in_silence(tmp_path: Path) -> None:
    quoted = "a,b\n" + rows(20, lambda i: f'"{i}, x",2')
    for end in ("", '8,"x"\n'):
        read = Read(tmp_path, quoted + '7,"oops\n6,2\n' + end)
        assert len(read.events) == 20
        assert read.problems[0].startswith("lines 22 to ")
        assert "is a quote opened there and not closed?" in read.problems[0]
    # Where no cell is in quotes, a quote is a character like any other.
    read = Read(tmp_path, "a\tb\n" + rows(20, lambda i: f'{i}\t"{i} inch' if i > 9 else f"{i}\tx"))
    assert read.events[10] == {"a": "10", "b": '"10 inch'}
    assert len(read.events) == 20


def test_what_is_said_stands_over_what_is_found(tmp_path: Path) -> None:
    options = FileOptions(delimiter=";", header=False, encoding="cp1251")
    content = rows(5, lambda i: f"насос,{i};{i}").encode("cp1251")
    assert Read(tmp_path, content, options=options).events[0] == {
        "column_1": "насос,0",
        "column_2": "0",
    }


# --- tables that say themselves what they are ---------------------------------------------------

ZEEK = (
    "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tdns\n"
    "#fields\tts\tid.orig_h\tquery\n#types\ttime\taddr\tstring\n"
)


def test_a_log_of_zeek_is_read_by_its_own_header_also_where_it_begins_anew(tmp_path: Path) -> None:
    second = ZEEK.replace("query", "query\tn").replace("string\n", "string\tcount\n")
    content = f'{ZEEK}1.5\t10.0.0.1\ta"b\n2.5\t-\t(empty)\n#close\t2024\n{second}3.5\t::1\tq\t7\n'
    read = Read(tmp_path, content, numeric={"ts"})
    assert read.events == [
        {"ts": 1.5, "id": {"orig_h": "10.0.0.1"}, "query": 'a"b'},
        {"ts": 2.5, "id": {"orig_h": None}, "query": None},
        {"ts": 3.5, "id": {"orig_h": "::1"}, "query": "q", "n": "7"},
    ]
    assert "log of Zeek" in read.notes
    assert "from line 10 on the table has other columns" in read.notes


def test_annotated_csv_of_influx_has_several_tables_and_defaults(tmp_path: Path) -> None:
    def table(column: str, row: str) -> str:
        return (
            "#group,false,false,true,false\r\n#datatype,string,long,string,double\r\n"
            f"#default,mean,,,\r\n,result,table,{column},_value\r\n{row}\r\n"
        )

    read = Read(tmp_path, table("host", ",,0,web-1,1.5") + "\r\n" + table("rack", ",last,1,r,2"))
    assert read.events == [
        {"result": "mean", "table": "0", "host": "web-1", "_value": "1.5"},
        {"result": "last", "table": "1", "rack": "r", "_value": "2"},
    ]
    assert "InfluxDB" in read.notes


def test_w3c_logs_and_arff_are_read_by_their_own_headers(tmp_path: Path) -> None:
    w3c = "#Software: IIS\n#Fields: date time sc-status\n2024-03-04 00:00:01 200\n2024-03-04 1 -\n"
    assert Read(tmp_path, w3c).events[1] == {"date": "2024-03-04", "time": "1", "sc-status": None}
    arff = "% x\n@RELATION r\n@ATTRIBUTE 'the time' DATE\n@attribute v REAL\n@DATA\n'a b',?\n"
    assert Read(tmp_path, arff).events == [{"the time": "a b", "v": None}]


# --- encodings and packing ----------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_unicode_is_found_by_its_mark_or_its_zero_bytes(tmp_path: Path, encoding: str) -> None:
    content = PLAIN.replace("pump", "größe")
    read = Read(tmp_path, content.encode(encoding))
    assert read.events == Read(tmp_path, content).events


def test_windows_1252_is_a_guess_that_is_said(tmp_path: Path) -> None:
    read = Read(tmp_path, PLAIN.replace("pump", "Gerät €").encode("cp1252"))
    assert read.columns == ["time", "Gerät €", "flow"]
    assert "line 1 has the byte 0xE4" in read.notes
    assert "--encoding" in read.notes


@pytest.mark.parametrize("encoding", ["cp1251", "shift_jis", "gb18030"])
def test_a_script_of_its_own_is_not_guessed_at(tmp_path: Path, encoding: str) -> None:
    text = {"cp1251": "насос", "shift_jis": "ポンプ", "gb18030": "水泵水泵"}[encoding]
    content = PLAIN.replace("p1", text).encode(encoding)
    with pytest.raises(ConnectorError, match=r"not UTF-8.*--encoding"):
        Read(tmp_path, content)
    read = Read(tmp_path, content, options=FileOptions(encoding=encoding))
    assert read.events[1]["pump"] == text


def test_an_encoding_that_is_none_is_refused(tmp_path: Path) -> None:
    for name in ("klingon", "zlib"):
        with pytest.raises(ConnectorError, match="no encoding known here"):
            Read(tmp_path, PLAIN, options=FileOptions(encoding=name))


def zip_of(*members: tuple[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def tar_of(content: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        info = tarfile.TarInfo("x.csv")
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content.encode()))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("pack", "said"),
    [
        (gzip.compress, "gzip"),
        (bz2.compress, "bzip2"),
        (lzma.compress, "xz"),
        (zstandard.compress, "zstd"),
    ],
)
def test_packed_files_of_several_parts_are_read_and_cut_ones_refused(
    tmp_path: Path, pack: Callable[[bytes], bytes], said: str
) -> None:
    first, last = PLAIN[:70].encode(), (PLAIN[70:] + PLAIN * 3000).encode()
    read = Read(tmp_path, pack(first) + pack(last))
    assert len(read.events) == 12 * 3001
    assert f"packed by {said}" in read.notes
    with pytest.raises(ConnectorError, match=f"{said} data end too early"):
        Read(tmp_path, pack(first + last)[:-30])


def test_a_zip_archive_of_one_file_is_read(tmp_path: Path) -> None:
    read = Read(tmp_path, zip_of(("d/x.csv", PLAIN), ("__MACOSX/d/._x.csv", "?")))
    assert len(read.events) == 12
    assert "d/x.csv" in read.notes


# --- JSON ---------------------------------------------------------------------------------------

EVENTS = [{"t": i, "n": {"x": [1, 2]}, "s": 'a]}{["\\'} for i in range(20)]


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(EVENTS),
        json.dumps(EVENTS, indent=2),
        "[\n" + ",\n".join(map(json.dumps, EVENTS)) + "\n]\n",
        "".join(map(json.dumps, EVENTS)),
        "\n".join(json.dumps(event, indent=1) for event in EVENTS),
        ",\n".join(json.dumps(event, indent=1) for event in EVENTS),
        json.dumps(EVENTS[:9]) + "\n" + json.dumps(EVENTS[9:]),
        json.dumps({"Records": EVENTS, "next": None}),
        json.dumps({"meta": {"a": [1]}, "events": EVENTS, "z": 1}, indent=2),
        json.dumps({"took": 1, "hits": {"total": 20, "hits": EVENTS}}),
        "".join(f"\x1e{json.dumps(event)}\n" for event in EVENTS),
    ],
)
def test_objects_are_read_however_json_lays_them_out(tmp_path: Path, content: str) -> None:
    read = Read(tmp_path, content)
    assert (read.events, read.format) == (EVENTS, "json")


def test_json_over_many_blocks_is_cut_where_objects_end(tmp_path: Path) -> None:
    events = [{"n": n, "s": '"}' * (n % 50)} for n in range(20_000)]
    assert Read(tmp_path, json.dumps(events)).events == events


def test_json_that_is_cut_or_holds_other_things_loses_nothing_in_silence(tmp_path: Path) -> None:
    read = Read(tmp_path, '[{"a":1}, 5, {"a":2}, {"a":')
    assert read.events == [{"a": 1}, {"a": 2}]
    assert read.problems == [
        "record 2 is no JSON object: 5",
        'record 4 is cut off at the end of the file: {"a":',
    ]
    for content in ("[[1,2],[3,4]]", "[1,2]\n[3,4]\n"):
        with pytest.raises(ConnectorError, match="each event must be an object"):
            Read(tmp_path, content)


# --- files that are something else --------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"%PDF-1.4\n", "a PDF document"),
        (b"<!DOCTYPE html><html><title>404 Not Found</title>", r'titled "404 Not Found"'),
        (b'<?xml version="1.0"?><a><b/></a>', "XML"),
        (b"\xd4\xc3\xb2\xa1\x02\x00\x04\x00", "a packet capture"),
        (b"SQLite format 3\0" + b"\0" * 80, "an SQLite database.*sqlite3"),
        (
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 500,
            "Excel workbook.*save the sheet as CSV",
        ),
        (zip_of(("[Content_Types].xml", ""), ("xl/workbook.xml", "")), "Excel workbook"),
        (zip_of(("mimetype", ""), ("content.xml", "")), "OpenDocument"),
        (zip_of(("a.csv", "x"), ("b.csv", "y")), "a zip archive of 2 files.*a.csv, b.csv"),
        (zip_of(), "an empty zip archive"),
        (tar_of(PLAIN), "a tar archive"),
        (
            b'10.0.0.1 - - [28/Mar/2025:09:00:00 +0200] "GET / HTTP/1.1" 200 5 "-" "curl/8"\n' * 3,
            "a web server's log",
        ),
        (b'time=2025-03-28T09:00:00Z level=info msg="it \\" is" dur=3ms\n' * 3, "logfmt"),
        (b"CEF:0|Vendor|Product|1|100|Name|5|src=10.0.0.1\n" * 3, "ArcSight"),
        (b"-- dump\n\nCREATE TABLE x (a int);\n", "a dump of SQL"),
        (b"\x93NUMPY\x01\0v\0", "np.savez"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"\x80\x04\x95abc", "a pickle, which is never opened"),
        (b"\x01\x02\0\0\0\x03\0\xff\0", "is binary"),
    ],
)
def test_a_file_that_is_something_else_is_named_and_what_to_do(
    tmp_path: Path, content: bytes, said: str
) -> None:
    with pytest.raises(ConnectorError, match=said):
        Read(tmp_path, content)


def test_a_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConnectorError, match="it is a directory; give one file"):
        FileSource(str(tmp_path))


@pytest.mark.parametrize(
    ("content", "said"),
    [("", "is empty"), (" \n\n", "is empty"), ("a,b\n", "before its first row")],
)
def test_a_file_without_records_says_so(tmp_path: Path, content: str, said: str) -> None:
    read = Read(tmp_path, content)
    assert read.events == []
    assert said in read.notes


# --- files of columns ---------------------------------------------------------------------------


def columns_of(path: Path, kind: str, table: Any) -> None:
    feather = pytest.importorskip("pyarrow.feather")
    parquet = pytest.importorskip("pyarrow.parquet")
    if kind == "parquet":
        parquet.write_table(table, path, row_group_size=5)
    else:
        feather.write_feather(table, path, version=1 if kind == "feather 1" else 2)


def read_columns(path: Path, **arguments: Any) -> Sequence[Any]:
    source = FileSource(str(path), max_poll_records=4, **arguments)
    events: list[Any] = []
    while not source.exhausted():
        events += [json.loads(r.value or b"") for each in source.poll(1) for r in each.records]
    assert source.progress() == source.size_hint() == path.stat().st_size
    return events


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_columns_of_every_type_are_read(tmp_path: Path, kind: str) -> None:
    pa = pytest.importorskip("pyarrow")
    content = {
        "n": pa.array([1, None, 3] * 4),
        "x": pa.array([1.5, float("nan"), float("inf")] * 4),
        "b": pa.array([True, None, False] * 4),
        "s": pa.array(['a"b\\', "é\n", None] * 4).dictionary_encode(),
        "t": pa.array([1709539200123, None, 0] * 4, pa.timestamp("ms", "UTC")),
        "o": pa.array([{"p": 1, "q": [1, 2]}, None, {"p": 2, "q": None}] * 4),
        "a.b": pa.array(["1", "2", "x"] * 4),
    }
    columns_of(tmp_path / "f", kind, pa.table(content))
    events = read_columns(tmp_path / "f", numeric={"a.b"})
    assert len(events) == 12
    assert events[:3] == [
        {
            "n": 1,
            "x": 1.5,
            "b": True,
            "s": 'a"b\\',
            "t": "2024-03-04 08:00:00.123Z",
            "o": {"p": 1, "q": [1, 2]},
            "a": {"b": 1},
        },
        {"n": None, "x": None, "b": None, "s": "é\n", "t": None, "o": None, "a": {"b": 2}},
        {
            "n": 3,
            "x": None,
            "b": False,
            "s": None,
            "t": "1970-01-01 00:00:00.000Z",
            "o": {"p": 2, "q": None},
            "a": {"b": "x"},
        },
    ]


def test_a_damaged_file_of_columns_is_refused(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    columns_of(tmp_path / "f", "parquet", pa.table({"x": list(range(1000))}))
    content = (tmp_path / "f").read_bytes()
    (tmp_path / "f").write_bytes(content[: len(content) // 2])
    with pytest.raises(ConnectorError, match="is it whole"):
        read_columns(tmp_path / "f")


def test_without_pyarrow_the_file_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    (tmp_path / "f").write_bytes(b"PAR1" + b"\0" * 20)
    with pytest.raises(ConnectorError, match=r"pip install 'stream-detector\[parquet\]'"):
        FileSource(str(tmp_path / "f"))
