"""The documents tell the truth: schema, links, command lines, reasons, examples."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from support.streams import SETTINGS, configuration, new_pipeline, records, run_in_cuts

from stream_detector.alerts import (
    SEVERITIES,
    Headers,
    Outgoing,
    alert_message,
    dead_letter,
)
from stream_detector.cli import build_parser
from stream_detector.decoding import REASONS
from stream_detector.events import PlainRecord, Rejection, TopicPartition

REPOSITORY = Path(__file__).resolve().parents[1]
DOCUMENTS = [
    REPOSITORY / "README.md",
    REPOSITORY / "CHANGELOG.md",
    REPOSITORY / "CONTRIBUTING.md",
    REPOSITORY / "SECURITY.md",
    *sorted((REPOSITORY / "docs").glob("*.md")),
]
SCHEMA = json.loads((REPOSITORY / "docs" / "alert.schema.json").read_text())
VALIDATOR = Draft202012Validator(SCHEMA)
ALERTS_PAGE = (REPOSITORY / "docs" / "alerts.md").read_text()
UNIT = REPOSITORY / "deploy" / "stream-detector.service"

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def name_of(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


# --- alerts --------------------------------------------------------------------------------------


@cache
def alerts(kind: str = "adaptive_ensemble", suppressed: bool = True) -> tuple[Outgoing, ...]:
    changes: dict[str, Any] = {"detector": {"kind": kind}}
    if not suppressed:
        changes |= {"suppression": None, "event": {"time": SETTINGS["event"]["time"]}}
    config = configuration(**changes)
    outcomes = run_in_cuts(new_pipeline(config), config, records(2000), [700])
    return tuple(alert for outcome in outcomes for alert in outcome.alerts)


def bodies(*arguments: Any) -> list[dict[str, Any]]:
    return [json.loads(alert.value or b"") for alert in alerts(*arguments)]


def objects_of(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object with named fields, with its path as docs/alerts.md writes it."""
    if "properties" in schema:
        yield path, schema
        for name, inner in schema["properties"].items():
            yield from objects_of(inner, f"{path}{name}.")
    if "items" in schema:
        yield from objects_of(schema["items"], path.removesuffix(".") + "[].")


def objects_in(alert: dict[str, Any], path: str) -> list[dict[str, Any]]:
    """The objects of an alert that ``path`` (``receipt.``, ``reasons[].``) leads to."""
    if not path:
        return [alert]
    found = [alert]
    for name in path.removesuffix(".").split("."):
        key = name.removesuffix("[]")
        inner = [each[key] for each in found if key in each or key not in _SELDOM]
        found = [one for each in inner for one in each] if key != name else inner
    return found


def monitor_fields(kind: str) -> list[str]:
    """What `monitor` has in every alert of a kind, by the schema."""
    (own,) = [
        rule["then"]["properties"]["monitor"]["required"]
        for rule in SCHEMA["allOf"]
        if rule["if"]["properties"]["kind"]["const"] == kind
    ]
    return SCHEMA["properties"]["monitor"]["required"] + own


_SELDOM = frozenset({"ordinary"})
"""Objects that an alert of an event may lack where nothing is configured about them."""

_OF_OTHERS = ("monitor.", "rule.", "receipt.shown_by.")
OF_EVENTS = [(path, schema) for path, schema in objects_of(SCHEMA) if path not in _OF_OTHERS]
"""Monitors' alerts are held against the schema in test_monitors, those of rules in test_rules."""

REQUIRED = [(path, name) for path, schema in OF_EVENTS for name in schema["required"]]
FIELDS = [(path, name) for path, schema in objects_of(SCHEMA) for name in schema["properties"]]


def test_the_alert_schema_is_a_schema():
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize(
    "kind", ["adaptive_ensemble", "random_fourier"]
)  # explained by itself, occlusion
@pytest.mark.parametrize("suppressed", [True, False])
def test_alerts_of_the_pipeline_fit_the_schema(kind, suppressed):
    made = bodies(kind, suppressed)
    assert len(made) > 10
    for body in made:
        assert [error.message for error in VALIDATOR.iter_errors(body)] == []
    assert all(("suppression" in body) is suppressed for body in made)
    assert all((body["event_id"] is not None) is suppressed for body in made)


def test_alerts_have_no_field_that_the_schema_does_not_name():
    for path, schema in OF_EVENTS:
        for body in bodies():
            for found in objects_in(body, path):
                assert found.keys() <= schema["properties"].keys(), path


@pytest.mark.parametrize(("path", "name"), REQUIRED)
def test_an_alert_without_a_required_field_is_refused(path, name):
    body = next(each for each in bodies() if objects_in(each, path))
    assert VALIDATOR.is_valid(body)
    del objects_in(body, path)[0][name]
    assert not VALIDATOR.is_valid(body)


def test_required_are_the_fields_that_every_alert_has():
    for path, schema in OF_EVENTS:
        found = [
            each
            for arguments in (("adaptive_ensemble", True), ("adaptive_ensemble", False))
            for body in bodies(*arguments)
            if path != "suppression." or "suppression" in body
            for each in objects_in(body, path)
        ]
        always = set.intersection(*(set(each) - _SELDOM for each in found))
        of_events = schema["oneOf"][0]["required"] if path == "receipt." else []  # a tick's: others
        assert {*schema["required"], *of_events} == always, path


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("score", "3.5"),
        ("rarity", 0.5),
        ("severity", "severe"),
        ("event_time", "2018-04-01 00:00:31"),
        ("id", "events"),
        ("reasons", {}),
        ("event", "text"),
    ],
)
def test_a_field_of_another_kind_is_refused(field, value):
    assert not VALIDATOR.is_valid({**bodies()[0], field: value})


def test_the_schema_knows_every_severity():
    assert SCHEMA["properties"]["severity"]["enum"] == list(SEVERITIES)


@pytest.mark.parametrize("value", [b'{"unread": 1e999}', b'{"x": "' + b"x" * 500_000 + b'"}'])
def test_an_alert_whose_event_cannot_be_inside_fits_the_schema(value):
    body = {name: content for name, content in bodies()[0].items() if name != "event"}
    source, record = TopicPartition("events", 0), PlainRecord(1, 0, None, value)
    made = json.loads(alert_message(body, source, record, 0, "d").value or b"")
    assert VALIDATOR.is_valid(made)
    assert "size_bytes" in made["event"]


@pytest.mark.parametrize(("path", "name"), FIELDS)
def test_every_field_of_an_alert_is_documented(path, name):
    field = path + name
    table = [line for line in ALERTS_PAGE.splitlines() if line.startswith("| `")]
    documented = {found for line in table for found in re.findall(r"`([^`]+)`", line)}
    # The two fields of `suppression` stand in its own line.
    assert field in documented or (path == "suppression." and name in documented)


def test_the_example_alert_fits_the_schema():
    (example,) = [
        json.loads(text) for language, text in FENCE.findall(ALERTS_PAGE) if language == "json"
    ]
    assert [error.message for error in VALIDATOR.iter_errors(example)] == []
    of_monitors = {"kind", "monitor", "tick", "shard", "text"}
    of_events = {name for path, name in FIELDS if path not in _OF_OTHERS} - of_monitors
    of_events -= {"rule", "shown_by", "equals", "at_least"}
    assert of_events <= _all_keys(example)


def _all_keys(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value) | set().union(*map(_all_keys, value.values()))
    if isinstance(value, list):
        return set().union(*map(_all_keys, value))
    return set()


# --- headers and reasons -------------------------------------------------------------------------


def documented_headers() -> set[str]:
    return set(
        re.findall(r"`([\w.-]+)`", "\n".join(re.findall(r"^\| `.*$", ALERTS_PAGE, re.MULTILINE)))
    )


def test_every_header_of_an_alert_is_documented():
    traced: Headers = [("traceparent", b"00-1-2-01"), ("tracestate", b"a=b"), ("other", b"x")]
    record = PlainRecord(0, 0, b"k", b"{}", traced)
    made = alert_message({"id": "t-0-0"}, TopicPartition("t", 0), record, 0, "d")
    names = {name for name, _ in made.headers}
    assert {"traceparent", "tracestate"} < names
    assert "other" not in names
    assert names <= documented_headers()


def test_every_header_of_a_dead_letter_is_documented():
    record = PlainRecord(0, 0, b"k", b"x" * 2_000_000)
    made = dead_letter(TopicPartition("t", 0), record, Rejection("decode", "too_large", "m"), "d")
    names = {name for name, _ in made.headers}
    assert "stream-detector.original-size-bytes" in names
    assert names <= documented_headers()


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_of_a_dead_letter_is_documented(reason):
    assert re.search(rf"^\| `{reason}` \| `(decode|order)` \| ", ALERTS_PAGE, re.MULTILINE)


def test_no_reason_is_documented_that_does_not_exist():
    named = re.findall(r"^\| `(\w+)` \| `(?:decode|order)` \| ", ALERTS_PAGE, re.MULTILINE)
    assert set(named) == set(REASONS)


# --- links ---------------------------------------------------------------------------------------


def anchors(path: Path) -> set[str]:
    """Anchors of a document's headings, as GitHub makes them."""
    text = FENCE.sub("", path.read_text())
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in HEADING.findall(text))
    return {heading.strip().replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_relative_link_leads_somewhere(document):
    broken = []
    for target in LINK.findall(FENCE.sub("", document.read_text())):
        if "://" in target or target.startswith("mailto:"):
            continue
        file, _, anchor = target.partition("#")
        path = (document.parent / file).resolve() if file else document
        if not path.exists() or (anchor and anchor not in anchors(path)):
            broken.append(target)
    assert broken == []


def test_every_document_is_linked_from_the_readme():
    linked = set(LINK.findall((REPOSITORY / "README.md").read_text()))
    documents = {name_of(path) for path in DOCUMENTS} - {"README.md"}
    assert documents <= linked


# --- commands ------------------------------------------------------------------------------------


def command_lines(text: str) -> Iterator[list[str]]:
    """Arguments of every ``stream-detector …`` in shell blocks and inline code of a document."""
    for language, block in FENCE.findall(text):
        if language not in ("sh", "bash", "shell", "console"):
            continue
        for line in block.replace("\\\n", " ").splitlines():
            yield from _arguments(line.removeprefix("$ "))
    for span in re.findall(r"(?<!`)`([^`\n]+)`(?!`)", FENCE.sub("", text)):
        # A bare `stream-detector evaluate` speaks of the command, it is no line to type.
        for arguments in _arguments(span):
            if len(arguments) > 1:
                yield arguments


def _arguments(line: str) -> Iterator[list[str]]:
    if "stream-detector " not in line:
        return
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|>&;")
    lexer.whitespace_split = True
    words = list(lexer)
    if Path(words[0]).name == "stream-detector":
        end = next((i for i, word in enumerate(words) if set(word) <= set("|>&;")), len(words))
        yield words[1:end]


def parses(arguments: list[str]) -> bool:
    try:
        build_parser().parse_args(arguments)
    except SystemExit as end:
        return end.code == 0  # --help and --version
    return True


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_command_line_is_one_that_the_programme_takes(document):
    refused = [line for line in command_lines(document.read_text()) if not parses(line)]
    assert refused == []


def test_the_readme_shows_the_way_from_a_file_to_alerts():
    lines = command_lines((REPOSITORY / "README.md").read_text())
    shown = [line[0] for line in lines if line[0] != "simulate"]
    assert [*dict.fromkeys(shown)][:6] == ["init", "evaluate", "train", "check", "run", "alerts"]


def test_the_commands_of_the_page_on_evaluation_run_as_they_stand(tmp_path):
    page = (REPOSITORY / "docs" / "evaluation.md").read_text()
    (block,) = [text for language, text in FENCE.findall(page) if language == "sh"]
    # Less of it: a small file and few candidates.
    smaller = {"--count 200000": "--count 12000", "--minutes 10": "--trials 2"}
    for long, short in smaller.items():
        assert long in block
        block = block.replace(long, short)
    programme = f"{shlex.quote(sys.executable)} -m stream_detector"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f'stream-detector() {{ {programme} "$@"; }}\n{block}'],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert "learns.yaml against now.yaml" in done.stdout
    assert "held-out part" in done.stdout
    tuned = (tmp_path / "tuned.yaml").read_text()
    assert "# result: " in tuned
    assert "kind: classifier" in tuned


def test_a_wrong_command_line_would_be_found():
    text = (
        "```sh\n$ stream-detector run a.yaml --fast > log  # quick\n```\n`stream-detector runs x`\n"
    )
    found = list(command_lines(text))
    assert found == [["run", "a.yaml", "--fast"], ["runs", "x"]]
    assert not any(map(parses, found))


def test_the_service_runs_a_command_that_the_programme_takes():
    lines = re.findall(r"^ExecStart\w*=(.+)$", UNIT.read_text(), re.MULTILINE)
    assert lines
    for line in lines:
        (arguments,) = _arguments(line)
        assert parses(arguments), line


def test_the_service_waits_longer_for_a_stop_than_the_daemon_takes():
    (seconds,) = re.findall(r"^TimeoutStopSec=(\d+)$", UNIT.read_text(), re.MULTILINE)
    assert int(seconds) > configuration().processing.shutdown_timeout


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_make_target_that_is_named_exists(document):
    text = document.read_text()
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    code = [block for _, block in FENCE.findall(text)]
    code += re.findall(r"^ {4}.*$", text, re.MULTILINE) + re.findall(r"`[^`\n]+`", text)
    named = set(re.findall(r"^[ `]*make ([a-z-]+)", "\n".join(code), re.MULTILINE))
    assert named <= targets


def test_every_command_is_named_somewhere():
    parser = build_parser()
    (subparsers,) = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    text = "\n".join(document.read_text() for document in DOCUMENTS)
    unnamed = [n for n in subparsers.choices if not re.search(rf"stream-detector {n}\b", text)]
    assert unnamed == []


def test_every_test_that_the_table_of_faults_names_is_there() -> None:
    text = (REPOSITORY / "docs" / "reliability.md").read_text()
    named = set(re.findall(r"`(test_\w+\.py)::(test_\w+)`", text))
    assert len(named) > 30
    absent = [
        f"{file}::{test}"
        for file, test in named
        if f"def {test}(" not in (REPOSITORY / "tests" / file).read_text()
    ]
    assert absent == []
    rows = {
        number
        for line in text.splitlines()
        if (cells := re.match(r"\| ([\d\u2013, ]+) \|", line))
        for part in cells[1].split(",")
        for number in range(int(part.split("\u2013")[0]), int(part.split("\u2013")[-1]) + 1)
    }
    assert rows == set(range(1, 45))
