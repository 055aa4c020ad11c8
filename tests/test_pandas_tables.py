"""Whatever pandas writes as a table of text is read back to the same values."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from stream_detector.connectors.files import FileSource

pd = pytest.importorskip("pandas")

WORDS = (
    "pump 1",
    "pump 2",
    "valve",
    "a, b",
    "x; y",
    "p|q",
    'say "hi"',
    "it's",
    "line\nbreak",
    "größer",
    "2 €",
    "C:\\dir",
    "tab\there",
    "#1",
)

formats = st.fixed_dictionaries(
    {
        "sep": st.sampled_from([",", ";", "\t", "|", "^"]),
        "quotechar": st.sampled_from(['"', "'"]),
        "quoting": st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
        "lineterminator": st.sampled_from(["\n", "\r\n", "\r"]),
        "encoding": st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"]),
        "compression": st.sampled_from([None, "gzip", "bz2", "xz", "zip", "zstd"]),
        "decimal": st.sampled_from([".", ","]),
        "date_format": st.sampled_from([None, "%d.%m.%Y %H:%M", "%m/%d/%Y %I:%M:%S %p"]),
        "na_rep": st.sampled_from(["", "NA", "NaN"]),
        "header": st.booleans(),
        "index": st.booleans(),
    }
)
escapes = st.sampled_from([{}, {}, {"doublequote": False, "escapechar": "\\"}])
frames = st.tuples(
    st.lists(st.sampled_from(WORDS) | st.none(), min_size=8, max_size=20),
    st.lists(st.floats(-1e6, 1e6).map(lambda x: round(x, 3)) | st.none(), min_size=20, max_size=20),
)


def frame_of(words: list[str | None], numbers: list[float | None]) -> Any:
    count = len(words)
    return pd.DataFrame(
        {
            "seen at": pd.date_range("2024-03-04 08:00", periods=count, freq="7min"),
            "unit": pd.Series(words, dtype=object),
            "value": pd.Series(numbers[:count], dtype="float64"),
            "count": range(count),
        }
    )


def read(path: Path) -> list[dict[str, Any]]:
    source = FileSource(str(path), max_poll_records=5)
    records = []
    try:
        while not source.exhausted():
            records += [record for each in source.poll(5) for record in each.records]
    finally:
        source.close()
    return [json.loads(record.value or b"") for record in records]


def number(cell: str | None) -> float | None:
    return None if cell in (None, "NA", "NaN") else float(str(cell).replace(",", "."))


@pytest.mark.filterwarnings("ignore:.*byte order mark")
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(form=formats, escape=escapes, content=frames)
def test_a_table_written_by_pandas_is_read_back(
    tmp_path_factory: pytest.TempPathFactory,
    form: dict[str, Any],
    escape: dict[str, Any],
    content: tuple[list[str | None], list[float | None]],
) -> None:
    frame = frame_of(*content)
    # A backslash that is no escape, beside those that are, is one too many for any reader.
    assume(not escape or "C:\\dir" not in content[0])
    # Python's writer leaves a line feed unquoted where it is not the one that ends lines.
    assume(form["lineterminator"] != "\r" or "line\nbreak" not in content[0])
    path = tmp_path_factory.mktemp("pandas") / "table"
    frame.to_csv(path, **form, **escape)
    rows = read(path)
    names = list(frame.columns)
    if form["index"]:
        names = [None, *names]
    names = [
        name if name and form["header"] else f"column_{place}"
        for place, name in enumerate(names, start=1)
    ]
    assert [list(row) for row in rows] == [names] * len(frame)
    first = 1 if form["index"] else 0
    pattern = form["date_format"] or "%Y-%m-%d %H:%M:%S"
    for row, (at, unit, value, count) in zip(rows, frame.itertuples(index=False), strict=True):
        cells = list(row.values())[first:]
        assert cells[0] == at.strftime(pattern)
        assert cells[1] == (unit if isinstance(unit, str) else form["na_rep"] or None)
        assert number(cells[2]) == (None if pd.isna(value) else value)
        assert number(cells[3]) == count
