"""What was rejected is said with its field, its first record and what to set."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from support.streams import configuration, decode, new_pipeline, records

from stream_detector.__main__ import main
from stream_detector.daemon.shard_reporter import ShardReporter
from stream_detector.events import PlainRecord, Rejection
from stream_detector.rejections import MOST_KINDS, OTHER, RejectionTally, Remedies
from stream_detector.telemetry.health import HealthState
from stream_detector.telemetry.metrics import Metrics
from stream_detector.telemetry.status.figures import figures
from stream_detector.telemetry.status.page import Running, status_page
from stream_detector.telemetry.status.recent import Recent

HEADER = "ts,user,amount,is_fraud"
CONFIGURATION: dict[str, Any] = {
    "name": "t",
    "event": {"time": {"field": "ts", "format": "%Y-%m-%d %H:%M:%S"}},
    "features": [{"numeric": "amount", "range": [0, 1000]}],
    "windows": [{"key": "user", "half_lives": ["1h"], "compute": ["count"]}],
}


def row(number: int, amount: str = "12.5", user: str = "u1", label: str = "0") -> str:
    return f"2024-03-04 08:{number // 60:02d}:{number % 60:02d},{user},{amount},{label}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").write_text(json.dumps(CONFIGURATION))
    return tmp_path


def write(folder: Path, rows: list[str]) -> None:
    (folder / "d.csv").write_text("\n".join([HEADER, *rows]) + "\n")


def test_the_tally_is_bounded_and_the_most_frequent_come_first() -> None:
    tally = RejectionTally()
    for number in range(3 * MOST_KINDS):
        tally.add(Rejection("decode", "wrong_type", "odd", f"f{number}"), f"record {number}")
    tally.add(Rejection("decode", "wrong_type", "odd", "f7"), "record 999")
    kinds = tally.kinds()
    assert len(kinds) == MOST_KINDS + 1
    assert (kinds[0].reason, kinds[0].records) == (OTHER, 2 * MOST_KINDS)
    assert (kinds[1].field, kinds[1].records, kinds[1].first) == ("f7", 2, "record 7")
    assert tally.records == 3 * MOST_KINDS + 1


@pytest.mark.parametrize(
    ("reason", "field", "said"),
    [
        ("wrong_type", "amount", "missing_values"),
        ("wrong_type", "flag", "numeric: flag"),
        ("wrong_type", None, "JSON object"),
        ("missing_field", "weight", "missing: mean"),
        ("missing_field", "user", "window"),
        ("missing_field", "amount", "value: amount"),
        ("missing_field", "id", "event.id"),
        ("missing_field", "time", "event.time"),
        ("missing_field", "kind", "missing: category"),
        ("time_behind", "time", "max_behind"),
        ("something_new", None, "docs/alerts.md"),
    ],
)
def test_each_kind_has_a_remedy(reason: str, field: str | None, said: str) -> None:
    assert said in Remedies(configuration()).of(reason, field)


def test_evaluate_ends_with_the_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [row(number) for number in range(40)]
    rows[5], rows[9], rows[11] = row(5, "abc"), row(9, "xyz"), row(11, "5000")
    rows[20] = row(20, user="")
    write(folder, rows)
    assert main(["evaluate", "c.yaml", "--data", "d.csv"]) == 0
    table = capsys.readouterr().out.split("rejected: ")[-1]
    assert table.startswith("4 of 40 records")
    lines = [re.split(r" {2,}", line.strip()) for line in table.splitlines()]
    assert ["wrong_type", "amount", "2", "record 6"] in [line[:4] for line in lines]
    assert ["out_of_range", "amount", "1", "record 12"] in [line[:4] for line in lines]
    assert ["missing_field", "user", "1", "record 21"] in [line[:4] for line in lines]
    assert main(["evaluate", "c.yaml", "--data", "d.csv", "--json"]) == 0
    shown = capsys.readouterr()
    kinds = json.loads(shown.out)["rejections"]
    assert sum(kind["records"] for kind in kinds) == 4
    assert {kind["field"] for kind in kinds} == {"amount", "user"}
    assert "rejected: 4 of 40" in shown.err


@pytest.mark.parametrize("command", ["evaluate", "train", "tune"])
def test_everything_rejected_is_an_error(
    folder: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    write(folder, [row(number, "n.v.", label=str(number % 2)) for number in range(40)])
    options = ["--label", "is_fraud"]
    assert main([command, "c.yaml", "--data", "d.csv", *options]) == 2
    shown = capsys.readouterr()
    assert "rejected: 40 of 40 records" in shown.out
    assert "all 40 records were rejected" in shown.err
    assert not list(folder.glob("state/**/*.snapshot"))


@pytest.mark.parametrize("command", ["evaluate", "train", "tune"])
def test_a_misspelt_label_is_an_error(
    folder: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    write(folder, [row(number, label=str(number % 2)) for number in range(40)])
    assert main([command, "c.yaml", "--data", "d.csv", "--label", "is_frued"]) == 2
    assert "did you mean 'is_fraud'?" in capsys.readouterr().err


def test_a_misspelt_label_is_an_error_where_no_table_lists_the_fields(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    events = [{"ts": row(n)[:19], "user": "a", "amount": 1.0, "is_fraud": 0} for n in range(40)]
    (folder / "d.jsonl").write_text("\n".join(map(json.dumps, events)))
    assert main(["evaluate", "c.yaml", "--data", "d.jsonl", "--label", "is_fraudd"]) == 2
    assert "did you mean 'is_fraud'?" in capsys.readouterr().err


def test_a_label_whose_words_say_nothing_is_an_error(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(folder, [row(number, label="AB"[number % 2]) for number in range(40)])
    assert main(["evaluate", "c.yaml", "--data", "d.csv", "--label", "is_fraud"]) == 2
    said = capsys.readouterr().err
    assert "'A', 'B'" in said
    assert "positive" in said


def test_a_label_of_which_some_words_say_nothing_is_told(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(folder, [row(number, label=["0", "1", "maybe"][number % 3]) for number in range(40)])
    assert main(["evaluate", "c.yaml", "--data", "d.csv", "--label", "is_fraud"]) == 0
    assert "'maybe'" in capsys.readouterr().err


def rejecting() -> tuple[Recent, list[PlainRecord], Any]:
    some = records(20)
    some[3] = PlainRecord(3, some[3].timestamp, None, b'{"id":"e","amount":"<b>"}')
    config = configuration()
    result = new_pipeline(config).process(decode(config, some))
    return Recent(remedies=Remedies(config)), some, result


def test_the_status_page_says_why_and_quotes_events_only_to_those_who_may_see_them() -> None:
    recent, _, result = rejecting()
    page = {}
    for shows in (True, False):
        page[shows] = status_page(
            Running(), figures(Metrics()), recent, HealthState(), shows_alerts=shows, labelled=None
        )
        assert "Rejected records" not in page[shows]
    recent.take(result)
    for shows in (True, False):
        page[shows] = status_page(
            Running(), figures(Metrics()), recent, HealthState(), shows_alerts=shows, labelled=None
        )
        assert "Rejected records" in page[shows]
        assert "events-0 offset 3" in page[shows]
        assert "<b>&quot;" not in page[shows]
    assert "&lt;b&gt;" in page[True]
    assert "&lt;b&gt;" not in page[False]


def test_the_log_says_once_a_minute_why_a_share_is_rejected(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    recent, _, result = rejecting()
    reporter = ShardReporter(Metrics(), recent)
    reporter._minute.add_all(result.rejections, ["events-0 offset 3"])
    monkeypatch.setattr(recent, "totals", lambda: (20, 0, 0, 1))
    reporter.report(20, 1)
    reporter.report(20, 1)
    (said,) = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert said.startswith(
        "1 of 20 events were rejected in the last minute: 1 wrong_type at amount"
    )
    assert "first events-0 offset 3" in said
    assert "event.missing_values" in said
