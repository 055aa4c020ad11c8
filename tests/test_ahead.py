"""A file read by another process gives the same records as one read here."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream_detector.__main__ import main
from stream_detector.connectors import ahead as ahead_module
from stream_detector.connectors.ahead import ReadAhead
from stream_detector.connectors.base import Source
from stream_detector.connectors.files import FileSource
from stream_detector.errors import ConnectorError
from stream_detector.events import Record

ROWS = 1234


def _write(path: Path) -> None:
    lines = [f'{n},"a ""quoted"" {n}",{n / 7:.3f}' for n in range(ROWS)]
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress("\n".join(["id,name,amount", *lines]).encode()))
    elif path.suffix == ".jsonl":
        path.write_text(
            "\n".join(json.dumps({"id": n, "name": "ä" * (n % 5)}) for n in range(ROWS))
        )
    else:
        values = np.random.default_rng(0).normal(size=(ROWS, 3))
        np.savez(path, X=values, y=np.zeros(ROWS))


def _ahead(path: Path, **options: Any) -> ReadAhead:
    return ReadAhead(FileSource(str(path), **options), str(path), options)


def _all(source: Source) -> list[Record]:
    records: list[Record] = []
    while not source.exhausted():
        records += [record for one in source.poll(30.0) for record in one.records]
    source.close()
    return records


@pytest.mark.parametrize("name", ["rows.csv.gz", "rows.jsonl", "rows.npz"])
@pytest.mark.parametrize("limit", [None, 0, 500, 10_000])
def test_the_same_records(tmp_path: Path, name: str, limit: int | None) -> None:
    path = tmp_path / name
    _write(path)
    options = {"max_poll_records": 100, "limit": limit, "numeric": frozenset({"amount"})}
    ahead = _ahead(path, **options)
    assert ahead.size_hint() == path.stat().st_size
    expected = _all(FileSource(str(path), **options))
    assert _all(ahead) == expected
    assert len(expected) == min(ROWS, ROWS if limit is None else limit)
    assert ahead.poll(0.0) == []


def test_what_the_file_ends_with_is_said_as_if_read_here(tmp_path: Path) -> None:
    path = tmp_path / "cut.csv.gz"
    _write(path)
    path.write_bytes(path.read_bytes()[:-200])
    said = []
    for source in (FileSource(str(path)), _ahead(path)):
        with pytest.raises(ConnectorError) as caught:
            _all(source)
        said.append(str(caught.value))
        source.close()
    assert said[0] == said[1]


def test_a_reader_that_dies_is_an_error_and_not_the_end(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv.gz"
    _write(path)
    ahead = _ahead(path, max_poll_records=10)
    ahead._process.kill()
    ahead._process.join(30)
    with pytest.raises(ConnectorError, match=r"the process that read rows\.csv\.gz has died"):
        _all(ahead)
    ahead.close()


def test_evaluate_says_the_same_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, config = tmp_path / "rows.jsonl", tmp_path / "config.yaml"
    random = np.random.default_rng(1)
    path.write_text("\n".join(json.dumps({"x": x}) for x in random.normal(size=3000).tolist()))
    config.write_text("name: t\nfeatures: [{numeric: x}]\ndetector: {kind: autoencoder}\n")
    figures = []
    for least in (10**9, 1):
        monkeypatch.setattr(ahead_module, "AHEAD_BYTES", least)
        monkeypatch.setattr("os.cpu_count", lambda: 2)
        assert main(["evaluate", str(config), "--data", str(path), "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        figures.append({key: found[key] for key in found if "second" not in key})
    assert figures[0] == figures[1]
    assert figures[0]["events"] == 3000
