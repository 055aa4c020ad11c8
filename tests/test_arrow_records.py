"""Fields taken from columns of Arrow: the same values as their bytes give, whatever the types."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream_detector import load_config
from stream_detector.config.derived.field_plan import FieldPlan
from stream_detector.config.models.config import Config
from stream_detector.connectors.ahead import AHEAD_BYTES, open_file
from stream_detector.connectors.files import FileSource, typed_columns
from stream_detector.decoding import Decoder
from stream_detector.events import ColumnarRecords, EventBatch, Record

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

ROWS = 40
START = 1_700_000_000


def local(year: int, month: int = 1, day: int = 1, hour: int = 0) -> dt.datetime:
    return dt.datetime(year, month, day, hour)  # noqa: DTZ001 - as columns without a zone hold it


def config_of(layout: str = "auto", zone: str | None = None, **event: Any) -> Config:
    time = {"field": "t", "format": layout} | ({"zone": zone} if zone else {})
    return load_config(
        {
            "name": "columns",
            "event": {"id": "id", "time": time, **event},
            "features": [
                {"numeric": "x", "missing": "indicator"},
                {"boolean": "b"},
                {"categorical": "c", "encoding": "rarity"},
            ],
            "labels": {"field": "y", "delay": "1h"},
            "detector": {"kind": "half_space_forest"},
        }
    )


def both_ways(path: Path, config: Config) -> tuple[EventBatch, EventBatch, bool]:
    """Events of a file from its columns and from its bytes; and whether no bytes were needed."""
    numeric, boolean = typed_columns(config)
    source = FileSource(str(path), numeric=numeric, boolean=boolean)
    (fetched,) = source.poll(1.0)
    records = fetched.records
    assert isinstance(records, ColumnarRecords)
    decoder = Decoder(config, FieldPlan.of(config))
    plain: list[Record] = list(records)
    whole = decoder.decode(fetched.source, records)
    kinds, event = decoder._kinds, config.event
    quick = bool(kinds) and (
        records.columns(kinds or {}, event.max_bytes, event.max_text_length) is not None
    )
    return whole, decoder.decode(fetched.source, plain), quick


def same(first: EventBatch, second: EventBatch) -> None:
    np.testing.assert_array_equal(first.numeric, second.numeric)
    np.testing.assert_array_equal(np.signbit(first.numeric), np.signbit(second.numeric))
    np.testing.assert_array_equal(first.time_ms, second.time_ms)
    np.testing.assert_array_equal(first.label, second.label)
    assert list(map(repr, first.event_id)) == list(map(repr, second.event_id))
    for mine, theirs in zip(first.text, second.text, strict=True):
        assert list(map(repr, mine)) == list(map(repr, theirs))
    assert first.rejection.tolist() == second.rejection.tolist()
    assert first.offset.tolist() == second.offset.tolist()


TIMES = [local(2024, 3, 30, 20) + dt.timedelta(minutes=17 * i) for i in range(ROWS)]
FLOATS = [0.1, -0.0, 1e22, 1e-7, float("nan"), float("inf"), None, 123456789.123, 5.0, 2.5e-310] * 4
GOOD: dict[str, Any] = {
    "id": pa.array([f"e{i}" for i in range(ROWS)]),
    "t": pa.array(TIMES, pa.timestamp("us")),
    "x": pa.array(FLOATS, pa.float64()),
    "b": pa.array([True, False, None, True] * 10),
    "c": pa.array(["é", 'a"b', None, "", " x\n"] * 8).dictionary_encode(),
    "y": pa.array([0, 1] * 20),
}
INTEGERS = [0, -1, 2**53 + 1, None] * 10
COLUMNS: list[tuple[str, Any, bool]] = [
    ("x", pa.array(FLOATS, pa.float32()), True),
    ("x", pa.array([0.1, 2.5, None, -1.0] * 10, pa.float16()), True),
    ("x", pa.array(INTEGERS, pa.int64()), True),
    ("x", pa.array([2**64 - 1, 0, None, 2**63] * 10, pa.uint64()), True),
    ("x", pa.array([Decimal("1.20"), Decimal("-0.001"), None, Decimal(99)] * 10), True),
    ("x", pa.nulls(ROWS), True),
    ("x", pa.array([True, False] * 20), False),
    ("x", pa.array(["1", " 2.5", "", "n/a"] * 10), False),
    ("x", pa.array(["red", "blue"] * 20), False),
    ("x", pa.array([[1.0]] * ROWS), False),
    ("x", pa.array(TIMES, pa.timestamp("ms")), False),
    ("x", pa.array([1e300, 1.0] * 20), True),
    ("b", pa.array([1, 0, 2, None] * 10, pa.int8()), True),
    ("b", pa.array([1.0, 0.0, None, 0.5] * 10), False),
    ("b", pa.array(["true", "0", "", "maybe"] * 10), False),
    ("c", pa.array(INTEGERS, pa.int64()), True),
    ("c", pa.array([2**64 - 1, 0, None, 1] * 10, pa.uint64()), True),
    ("c", pa.array([1.0, None, 3.0, 1e9] * 10), True),
    ("c", pa.array([1.0, 2.5, -0.0, 1e300] * 10), False),
    ("c", pa.array([True, False, None, True] * 10), True),
    ("c", pa.array([b"a", b"\xff"] * 20), False),
    ("c", pa.array(TIMES, pa.timestamp("ns", "Europe/Berlin")), True),
    ("c", pa.array([dt.date(2024, 2, 29)] * ROWS), True),
    ("c", pa.array([{"k": 1}] * ROWS), False),
    ("c", pa.array(["a", "b"] * 20, pa.large_string()), True),
    ("c", pa.array(["x" * 5000, "b"] * 20), False),
    ("c", pa.array(["1.5", "NA"] * 20), True),
    ("id", pa.array(range(ROWS)), True),
    ("id", pa.array([1.0, None] * 20), True),
    ("y", pa.array([0.0, 1.0, None, 1.0] * 10), True),
    ("y", pa.array(["fraud", "normal", "?", None] * 10), True),
    ("y", pa.array([True, False] * 20), True),
    ("y", pa.array([0.5, 1.0] * 20), False),
    ("t", pa.array(TIMES, pa.timestamp("s")), True),
    ("t", pa.array(TIMES, pa.timestamp("ms", "UTC")), True),
    ("t", pa.array(TIMES, pa.timestamp("us", "America/New_York")), True),
    ("t", pa.array([START * 10**9 + i * 999_999 for i in range(ROWS)], pa.timestamp("ns")), True),
    ("t", pa.array([dt.date(2024, 3, 31)] * ROWS), True),
    ("t", pa.array([*TIMES[1:], None], pa.timestamp("us")), True),
    ("t", pa.array([*TIMES[1:], local(1900)], pa.timestamp("us")), True),
    ("t", pa.array([*TIMES[1:], local(2300)], pa.timestamp("us")), True),
    ("t", pa.array([*TIMES[1:], local(1970)], pa.timestamp("us")), True),
    ("t", pa.array([str(t) for t in TIMES]), True),
    ("t", pa.array([f"{t.isoformat()}Z" for t in TIMES]), True),
    ("t", pa.array([str(START + i) for i in range(ROWS)]), False),
    ("t", pa.array(["20240304"] * ROWS), False),
    ("t", pa.array([START + i for i in range(ROWS)]), True),
    ("t", pa.array([START + i + 0.5 for i in range(ROWS)]), False),
    ("t", pa.array([dt.time(1, 2)] * ROWS), True),
]


def write(path: Path, **columns: Any) -> Path:
    parquet.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
@pytest.mark.parametrize(("name", "column", "quick"), COLUMNS)
def test_a_column_gives_what_its_text_gives(
    tmp_path: Path, name: str, column: Any, quick: bool, zone: str | None
) -> None:
    path = write(tmp_path / "f.parquet", **(GOOD | {name: column}))
    first, second, was_quick = both_ways(path, config_of(zone=zone))
    same(first, second)
    assert was_quick is quick


@pytest.mark.parametrize(
    ("columns", "quick"),
    [
        ({"x": None}, True),
        ({"x": None, "x.y": pa.array([1.0] * ROWS)}, False),
        ({"c": None, "c[0]": pa.array(["a"] * ROWS)}, True),
        ({"other": pa.array([[1, 2]] * ROWS)}, False),
        ({"other": pa.array(["z" * 20] * ROWS)}, True),
    ],
)
def test_columns_beside_and_columns_that_are_missing(
    tmp_path: Path, columns: Mapping[str, Any], quick: bool
) -> None:
    content = {n: c for n, c in {**GOOD, **columns}.items() if c is not None}
    first, second, was_quick = both_ways(write(tmp_path / "f.parquet", **content), config_of())
    same(first, second)
    assert was_quick is quick


@pytest.mark.parametrize(
    "event",
    [
        {"missing_values": ["-1", "e3", "é"]},
        {"max_bytes": "100 B"},
        {"max_text_length": 3},
        {"layout": "iso8601"},
        {"layout": "unix_s"},
        {"layout": "%Y-%m-%d %H:%M:%S"},
    ],
)
def test_settings_mean_the_same_for_columns_and_bytes(
    tmp_path: Path, event: dict[str, Any]
) -> None:
    path = write(tmp_path / "f.parquet", **GOOD)
    same(*both_ways(path, config_of(**event))[:2])


def test_bytes_of_single_rows_and_of_all_are_alike(tmp_path: Path) -> None:
    path = write(tmp_path / "f.parquet", n=pa.array(range(1000)), s=pa.array(["ä", None] * 500))
    (fetched,) = FileSource(str(path)).poll(1.0)
    records: Sequence[Record] = fetched.records
    assert len(records) == 1000
    one = json.loads(records[999].value or b"")
    assert one == {"n": 999, "s": None}
    every = [json.loads(record.value or b"") for record in records]
    assert every == [{"n": n, "s": None if n % 2 else "ä"} for n in range(1000)]
    assert [record.value for record in records[5:8]] == [
        record.value for record in list(records)[5:8]
    ]


def test_a_large_file_of_columns_is_read_in_this_process(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    table = pa.concat_tables([pa.table(GOOD)] * 10_000)
    noise = random.random(len(table))
    path = tmp_path / "f.parquet"
    parquet.write_table(table.append_column("noise", pa.array(noise)), path)
    assert path.stat().st_size > AHEAD_BYTES
    source = open_file(config_of(), str(path))
    assert isinstance(source, FileSource)
    source.close()
