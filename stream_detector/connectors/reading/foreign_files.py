"""Files that are no tables and no records: whose format they are, and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Sequence

READABLE = "CSV and other tables of text, JSON Lines, JSON, Parquet, Arrow and npz are read"

_AS_CSV = "save the sheet as CSV (File, Save as, CSV UTF-8) and give that file"
_UNPACK = "unpack it and give the file with the events"
_PCAP = (
    "turn it into one event a flow or a packet first, say with Zeek, CICFlowMeter or "
    "`tshark -T fields -E header=y -E separator=,`"
)
_ALONE = "which is read as a file of its own, neither packed nor from a pipe"
_PANDAS = "write it as CSV or Parquet (pandas: {read}(...).to_csv('events.csv', index=False))"

_STARTS: tuple[tuple[bytes, str], ...] = (
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", f"an Excel workbook of the old kind (.xls): {_AS_CSV}"),
    (b"%PDF-", "a PDF document: export the table behind it as CSV"),
    (b"{\\rtf", "an RTF document: save the table in it as CSV"),
    (b"\xd4\xc3\xb2\xa1", f"a packet capture (pcap): {_PCAP}"),
    (b"\xa1\xb2\xc3\xd4", f"a packet capture (pcap): {_PCAP}"),
    (b"\x4d\x3c\xb2\xa1", f"a packet capture (pcap): {_PCAP}"),
    (b"\xa1\xb2\x3c\x4d", f"a packet capture (pcap): {_PCAP}"),
    (b"\x0a\x0d\x0d\x0a", f"a packet capture (pcapng): {_PCAP}"),
    (
        b"SQLite format 3\0",
        "an SQLite database: write the table as CSV (sqlite3 -header -csv FILE 'select * from t')",
    ),
    (b"Obj\x01", "an Avro file: write it as JSON Lines (avro-tools tojson FILE)"),
    (b"ORC", f"an ORC file: {_PANDAS.format(read='pd.read_orc')}"),
    (b"\x89HDF\r\n\x1a\n", f"an HDF5 file: {_PANDAS.format(read='pd.read_hdf')}"),
    (b"MATLAB 5.0 MAT-file", "a MATLAB file: write the table as CSV (writetable)"),
    (b"\x93NUMPY", "a single NumPy array (.npy): save it as npz (np.savez('events.npz', X=array))"),
    (b"RDX", "an R data file: write the table as CSV (write.csv(t, 'events.csv', row.names=F))"),
    (b"RDA", "an R data file: write the table as CSV (write.csv(t, 'events.csv', row.names=F))"),
    (b"$FL2", f"an SPSS file: {_PANDAS.format(read='pd.read_spss')}"),
    (b"<stata_dta>", f"a Stata file: {_PANDAS.format(read='pd.read_stata')}"),
    (b"\x80\x03", f"a pickle, which is never opened here: {_PANDAS.format(read='pd.read_pickle')}"),
    (b"\x80\x04", f"a pickle, which is never opened here: {_PANDAS.format(read='pd.read_pickle')}"),
    (b"\x80\x05", f"a pickle, which is never opened here: {_PANDAS.format(read='pd.read_pickle')}"),
    (b"7z\xbc\xaf\x27\x1c", f"a 7-Zip archive: {_UNPACK}"),
    (b"Rar!\x1a\x07", f"a RAR archive: {_UNPACK}"),
    (b"\x04\x22\x4d\x18", "packed by lz4: unpack it (lz4 -d FILE) or use gzip or zstd"),
    (b"\x1f\x9d", "packed by compress (.Z): unpack it (uncompress FILE) or use gzip or zstd"),
    (b"PAR1", f"a Parquet file, {_ALONE}"),
    (b"ARROW1", f"an Arrow file, {_ALONE}"),
    (b"FEA1", f"a Feather file, {_ALONE}"),
    (b"\x89PNG", "a picture (PNG)"),
    (b"\xff\xd8\xff", "a picture (JPEG)"),
    (b"GIF8", "a picture (GIF)"),
    (b"\x7fELF", "a program"),
    (b"MZ\x90\0", "a program"),
    (
        b"version https://git-lfs.github.com/spec/",
        "a Git LFS pointer: fetch the file (git lfs pull)",
    ),
    (b"-----BEGIN ", "a key or certificate"),
)
_HTML = re.compile(
    rb"\s*(?:<!--.*?-->\s*)?<(?:!doctype\s+html|html|head|body|table)\b", re.IGNORECASE | re.DOTALL
)
_ERROR_PAGE = re.compile(rb"<title>\s*([^<]{1,80}?)\s*</title>", re.IGNORECASE)
_XML = re.compile(rb"\s*<\?xml\b|\s*<[A-Za-z][\w:.-]*(?:\s[^<>]*)?>[ \r\n]*<")
_SQL = re.compile(
    rb"\s*(?:--[^\n]*\n\s*|/\*.*?\*/;?\s*)*"
    rb"(?:CREATE (?:TABLE|DATABASE)|INSERT INTO|DROP TABLE|PRAGMA |BEGIN TRANSACTION)",
    re.DOTALL,
)
_CODE = re.compile(rb"#!\s*/")
_TO_JSON = "turn the lines into JSON with Vector, Fluent Bit or the like"
_LOG_LINES = (
    (
        re.compile(rb'\S+ \S+ \S+ \[\d{1,2}/[A-Z][a-z]{2}/\d{4}:[\d:]+ [+-]\d{4}\] "'),
        f"a web server's log: let the server write JSON (log_format in nginx), or {_TO_JSON}",
    ),
    (
        re.compile(rb'(?:[A-Za-z][\w.-]*=(?:"(?:[^"\\\n]|\\.)*"|[^\s"]*)[ \t]+){2,}[A-Za-z]\S*='),
        f"lines of key=value (logfmt): {_TO_JSON}",
    ),
    (
        re.compile(rb"(?:<\d+>)?(?:[^|\n]{0,80} )?(?:CEF:\d+|LEEF:[\d.]+)\|"),
        f"a log in ArcSight's CEF or QRadar's LEEF: {_TO_JSON}",
    ),
)
_EXCEL_XML = b"urn:schemas-microsoft-com:office:spreadsheet"
_TAR_AT, _TAR = 257, b"ustar"


def foreign_kind(head: bytes) -> str | None:
    """Return what a file is that cannot be read, and what to do; None where it may be records."""
    by_start = (what for start, what in _STARTS if head.startswith(start))
    return next(by_start, None) or _text_kind(head)


def _text_kind(head: bytes) -> str | None:
    if _HTML.match(head):
        title = _ERROR_PAGE.search(head)
        said = f' titled "{title[1].decode("utf-8", "replace")}"' if title else ""
        return (
            f"a page of HTML{said}: a download that ended at a page instead of the file, or a "
            "table saved as a web page; save it as CSV"
        )
    if _XML.match(head):
        if _EXCEL_XML in head:
            return f"an Excel workbook as XML: {_AS_CSV}"
        return "XML: turn each element that is an event into a row of CSV or a line of JSON"
    if head[_TAR_AT : _TAR_AT + len(_TAR)] == _TAR:
        return f"a tar archive: {_UNPACK} (tar -xf FILE)"
    if _SQL.match(head):
        return "a dump of SQL statements: load it and write the table as CSV"
    patterns = ((_CODE, "a script"), *_LOG_LINES)
    return next((what for pattern, what in patterns if pattern.match(head)), None)


def zip_kind(names: Sequence[str]) -> str | None:
    """Return what a zip file is by its members' names, where it is no archive of data files."""
    found = set(names)
    if "[Content_Types].xml" in found:
        if any(name.startswith("xl/") for name in found):
            return f"an Excel workbook (.xlsx): {_AS_CSV}"
        return "an Office document: save the table in it as CSV"
    if "mimetype" in found and "content.xml" in found:
        return f"an OpenDocument file (a spreadsheet of LibreOffice, say): {_AS_CSV}"
    if "META-INF/MANIFEST.MF" in found:
        return "a Java archive (.jar)"
    return None
