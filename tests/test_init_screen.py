"""What `init` says on the screen, and what it refuses."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from stream_detector.__main__ import main
from stream_detector.cli.init_sample import parse_values
from stream_detector.errors import ConnectorError

RANDOM = np.random.default_rng(4)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def payments(count: int = 300) -> list[str]:
    return [
        f"p{row},2024-03-04 08:{row // 60:02d}:{row % 60:02d},A{row % 17},{10 + row % 90}.5,"
        f"{'web' if row % 3 else 'pos'},{'Fraud' if row % 25 == 3 else 'Not Fraud'},{row % 25 == 3}"
        for row in range(count)
    ]


HEADER = "payment_id,at,account,amount,channel,is_fraud,fraud_reason"


def test_every_role_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "d.csv").write_text("\n".join([HEADER, *payments()]))
    assert main(["init", "--data", "d.csv", "--output", "c.yaml"]) == 0
    said = capsys.readouterr().out
    lines = {line.split("  ")[0]: line for line in said.splitlines() if line[:1].strip()}
    assert "'2024-03-04 08:00:00' is 2024-03-04 08:00:00 UTC" in lines["time"]
    assert "payment_id" in lines["id"]
    assert "account" in lines["keys"]
    assert "is_fraud is the label: 'Fraud' means anomalous (4.00% of the" in lines["label"]
    assert "amount" in lines["numbers"]
    assert "channel" in lines["categories"]
    assert "fraud_reason: is named like the label" in lines["left out"]
    assert "next: stream-detector evaluate c.yaml --data d.csv" in said
    assert "rejected" not in said
    assert main(["evaluate", "c.yaml", "--data", "d.csv"]) == 0


def test_without_output_the_file_goes_to_one_stream_and_the_words_to_the_other(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "d.csv").write_text("\n".join([HEADER, *payments()]))
    assert main(["init", "--data", "d.csv"]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("# Proposed by")
    assert "account" in shown.err
    assert "is_fraud" in shown.err


def test_what_the_proposal_itself_rejects_is_told(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = payments(900)
    rows[7] = rows[7].replace("17.5", "seventeen")
    rows[9] = "only,three,cells"
    (folder / "d.csv").write_text("\n".join([HEADER, *rows]))
    assert main(["init", "--data", "d.csv", "--output", "c.yaml"]) == 0
    said = capsys.readouterr().out
    assert "rejected: " in said
    assert "record 10" in said
    assert main(["evaluate", "c.yaml", "--data", "d.csv"]) == 0
    assert "record 10" in capsys.readouterr().out


def test_a_topic_with_a_registrys_prefix_is_named() -> None:
    event = {"user": "u1", "load": 1.5}
    prefix = b"\0" + struct.pack(">I", 7)
    values: list[bytes | None] = [prefix + json.dumps(event).encode() for _ in range(3)]
    parsed = parse_values(values, "topic")
    assert parsed.events == [event] * 3
    assert parsed.unreadable == 0
    assert "schema registry's prefix" in parsed.notes[0]
    avro: list[bytes | None] = [prefix + b"\x06abc\x02"] * 3
    with pytest.raises(ConnectorError, match="schema id 7"):
        parse_values(avro, "topic")
    parsed = parse_values([*values, *avro, None], "topic")
    assert (len(parsed.events), parsed.unreadable) == (3, 4)
    assert any("schema id 7" in note for note in parsed.notes)


def test_nan_as_python_writes_it_is_missing_and_told() -> None:
    text = json.dumps({"load": float("nan"), "heat": 2.0}).encode()
    parsed = parse_values([text] * 3, "file")
    assert (len(parsed.events), parsed.unreadable) == (3, 0)
    assert "NaN" in parsed.notes[0]


def test_an_envelope_is_opened_and_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changes = [
        {
            "before": None,
            "after": {"customer": row % 9, "amount": 1.5 * (row % 50)},
            "source": {"table": "orders"},
            "op": "c",
            "ts_ms": 1_709_539_200_000 + row * 1000,
        }
        for row in range(200)
    ]
    (folder / "d.jsonl").write_text("\n".join(map(json.dumps, changes)))
    assert main(["init", "--data", "d.jsonl", "--output", "c.yaml"]) == 0
    said = capsys.readouterr().out
    assert "event.envelope" in said
    assert "rejected" not in said
    text = (folder / "c.yaml").read_text()
    assert "envelope: debezium" in text
    assert "{ numeric: amount }" in text


def test_nothing_that_varies_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "d.csv").write_text("a,b\n" + "1,x\n" * 50)
    assert main(["init", "--data", "d.csv", "--output", "c.yaml"]) == 2
    assert "a is always '1'" in capsys.readouterr().err
    assert not (folder / "c.yaml").exists()


def test_names_and_values_cannot_command_a_terminal(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        json.dumps({"lo\x1b[31mad": float(RANDOM.normal()), "k\u202ey": f"\x1b]0;x{row % 5}"})
        for row in range(200)
    ]
    (folder / "d.jsonl").write_text("\n".join(rows))
    assert main(["init", "--data", "d.jsonl", "--output", "c.yaml"]) == 0
    said = capsys.readouterr().out
    assert not {"\x1b", "\u202e"} & set(said)


def test_constant_fields_are_told_apart(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [json.dumps({"load": float(RANDOM.normal()), "errors": 0, "site": "north"})] * 1
    rows += [
        json.dumps({"load": float(RANDOM.normal()), "errors": 0, "site": "north"})
        for _ in range(200)
    ]
    (folder / "d.jsonl").write_text("\n".join(rows))
    assert main(["init", "--data", "d.jsonl", "--output", "c.yaml"]) == 0
    said = capsys.readouterr().out
    assert "constant    site, errors: kept" in said or "errors, site: kept" in said
    assert "none was found" in said


def test_quotes_in_the_names_of_a_table_are_told_and_read(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header = '"Time","{instance=""node-1:9100"", job=""node""}"'
    rows = [
        f"2024-03-04 08:{row // 60:02d}:{row % 60:02d},{RANDOM.normal():.4f}" for row in range(300)
    ]
    (folder / "d.csv").write_text("\n".join([header, *rows]))
    assert main(["init", "--data", "d.csv", "--output", "c.yaml"]) == 0
    said = capsys.readouterr().out
    assert "{instance='node-1:9100', job='node'}" in said
    assert "rejected" not in said
    assert main(["evaluate", "c.yaml", "--data", "d.csv", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rejected"] == 0
