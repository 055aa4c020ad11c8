"""Text of others, wherever people read it: in every command, log, page and error."""

from __future__ import annotations

import ast
import io
import json
import re
import sys
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.commands import call
from support.streams import SETTINGS, records

from stream_detector.cli import alerts as alerts_command
from stream_detector.cli import terminal
from stream_detector.config.loading.load import parse
from stream_detector.markup import escape, escape_lines
from stream_detector.report.alert_text import as_it_is, readable
from stream_detector.visible import LONGEST, shown, visible, visible_json, visible_lines

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "stream_detector"

KINDS = {
    "ESC": "\x1b[2J\x1b]0;owned\x07",
    "C1": "\x9b31m\x9d0;owned\x9c",
    "other C0": "\0\x08\r\x7f",
    "line breaks": "\n\x85\u2028\u2029\x0b\x0c",
    "direction": "\u202e\u2066\u2069\u200f\u061c",
    "zero width": "\u200b\u200d\u2060\ufeff\xad",
    "blank letters": "\u3164\u115f\uffa0",
    "lone surrogates": "\ud800\udfff",
    "tags": "\U000e0041\U000e007f\U000e0100",
    "no characters": "\ufffe\uffff",
}
HOSTILE = "x" + "".join(KINDS.values()) + "y"
SOME = {
    each for text in KINDS.values() for each in text if not (each.isascii() and each.isprintable())
}
ON_DISK = "".join(text for kind, text in KINDS.items() if kind != "lone surrogates")
"""What a file in UTF-8 can hold."""


def unseen(text: str) -> set[str]:
    """Characters that no person sees, by Unicode's categories, not by our own list."""
    seldom = {"\u00a0", "\u202f", "\n"}  # blanks in numbers of ours; ends of lines
    return {
        f"U+{ord(each):04X}"
        for each in text
        if unicodedata.category(each) in ("Cc", "Cf", "Cs", "Zl", "Zp") and each not in seldom
    } | {f"U+{ord(each):04X}" for each in text if each in SOME and each != "\n"}


# --- the escaper ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_what_nobody_sees_is_shown_by_its_number(kind: str) -> None:
    text = f"a{KINDS[kind]}b"
    for made in (visible(text), shown(text), escape(text)):
        assert unseen(made) == set()
        assert "\n" not in made
        assert made.startswith("a")
        assert made.endswith("b")
    assert unseen(escape_lines(text)) == set()
    assert unseen(visible_lines(text)) == set()


@given(st.text(st.characters(codec=None, categories=None)))
def test_any_text_becomes_one_line_that_any_stream_can_write(text: str) -> None:
    made = visible(text)
    made.encode("utf-8")
    assert unseen(made) == set()
    assert len(made.splitlines()) <= 1
    assert visible(made) == made
    assert len(shown(text)) <= 10 * LONGEST


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_json_means_the_same_as_before(text: str) -> None:
    for ascii_only in (True, False):
        made = visible_json(json.dumps({text: text}, ensure_ascii=ascii_only))
        assert unseen(made) == set()
        assert json.loads(made) == {text: text}


def test_readable_text_stays_as_it_is() -> None:
    for text in ("naïve Müller 東京 пример مثال 💣 é", "1,234.5\u00a0%", 'a "b" \\ <c> {d}'):
        assert visible(text) == text


# --- nobody else writes --------------------------------------------------------------------------

WRITERS = {
    "cli/terminal.py": "the one way to the terminal",
    "alert_avro/schema.py": "writes a document of our own text",
    "config/derived/reference.py": "writes a document of our own text",
    "detectors/pickle_trial.py": "a process of our own, whose parent reads it",
}


def sources() -> list[tuple[str, ast.Module]]:
    return [
        (path.relative_to(PACKAGE).as_posix(), ast.parse(path.read_text("utf-8")))
        for path in sorted(PACKAGE.rglob("*.py"))
    ]


def prints_of(tree: ast.Module) -> list[int]:
    """Lines that print, or write to a standard stream."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        if called in (
            "print",
            "pprint",
            "traceback.print_exc",
            "warnings.showwarning",
        ) or re.fullmatch(r"sys\.(__)?(stdout|stderr)(__)?(\.buffer)?\.(write|writelines)", called):
            found.append(node.lineno)
    return found


def test_only_the_terminal_module_prints() -> None:
    found = {name: lines for name, tree in sources() if (lines := prints_of(tree))}
    assert found.keys() <= WRITERS.keys(), f"use stream_detector.cli.terminal.say: {found}"
    planted = ast.parse("import sys\nprint(1)\nsys.stderr.write('')\nsys.stdout.buffer.write(b'')")
    assert prints_of(planted) == [2, 3, 4]


def test_there_is_one_list_of_what_nobody_sees() -> None:
    found = [
        name
        for name, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and ("\x7f-\x9f" in node.value or "\\x7f-\\x9f" in node.value)
    ]
    assert found == ["visible.py"]


# --- commands ------------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory whose name is hostile, too."""
    made = tmp_path / f"d{ON_DISK}".replace("\0", "").replace("\n", "")
    made.mkdir()
    return made


def hostile_events(count: int = 2600) -> list[dict[str, Any]]:
    events = []
    for record in records(count):
        event = json.loads(record.value or b"")
        event["id"] = f"{event['id']}{HOSTILE}"
        event["user"] = f"{event['user']}{HOSTILE}"
        event["kind"] = f"{event['kind']}{HOSTILE}"
        events.append(event)
    return events


def hostile_configuration(place: Path) -> Path:
    path = place / "config.yaml"
    settings = {**SETTINGS, "state": {"directory": str(place.parent / "state")}}
    path.write_text(json.dumps(settings))
    return path


def said_nothing_hidden(done: Any, *, code: int | None = None) -> str:
    said = str(done.stdout + done.stderr)
    assert unseen(said) == set(), done.args
    assert "Traceback" not in said, said
    assert done.returncode in ((0, 2, 3, 4) if code is None else (code,)), said
    return said


def test_evaluate_train_state_and_check_show_events_as_text(place: Path) -> None:
    config = hostile_configuration(place)
    data = place / "events.jsonl"
    lines = [json.dumps(event) for event in hostile_events()]
    bad = json.dumps({"id": HOSTILE, "user": HOSTILE, "amount": HOSTILE, "ts": HOSTILE})
    data.write_text("\n".join([*lines, bad, "\x1b[2J\x9b"]) + "\n")
    given, source = str(config), ("--data", str(data))
    said_nothing_hidden(call("check", given), code=0)
    said = said_nothing_hidden(call("evaluate", given, *source, "--show-alerts", "5"), code=0)
    assert "x\\x1b[2J" in said  # an alert's id or reason is there, as text
    assert "rejected" in said
    printed = said_nothing_hidden(call("evaluate", given, *source, "--json"), code=0)
    json.loads(printed.split("\n")[0])
    said_nothing_hidden(call("train", given, *source), code=0)
    for action in ("list", "show"):
        said_nothing_hidden(call("state", action, given), code=0)
        said_nothing_hidden(call("state", action, given, "--json"), code=0)


def test_init_shows_names_and_values_as_text(place: Path) -> None:
    data = place / f"{ON_DISK.replace(chr(0), '').replace('/', '')[:60]}.jsonl"
    generator = np.random.default_rng(1)
    rows = [
        {
            "time": f"2024-01-01T00:{row // 60 % 60:02d}:{row % 60:02d}Z",
            f"amount{ON_DISK}": float(generator.normal(10, 3)),
            "amount": float(generator.normal(10, 3)),
            f"kind{HOSTILE}": f"{HOSTILE}{row % 3}",
            "kind": f"{HOSTILE}{row % 3}",
            "key": f"{HOSTILE}{row % 9}",
            "constant": HOSTILE,
        }
        for row in range(400)
    ]
    data.write_text("\n".join(map(json.dumps, rows)) + "\n\x1b[2J\x9b\n", "utf-8")
    said = said_nothing_hidden(call("init", "--data", str(data)), code=0)
    assert "kind" in said
    output = place / "proposal.yaml"
    said_nothing_hidden(call("init", "--data", str(data), "--output", str(output)), code=0)
    assert unseen(output.read_text("utf-8")) == set()
    said_nothing_hidden(call("check", str(output)), code=0)


MISTAKES = {
    "a name": {"name": HOSTILE},
    "an unknown key": {HOSTILE: 1},
    "a value": {"detector": {"kind": HOSTILE}},
    "a value of a list": {"kafka": {"topics": [HOSTILE], "group": HOSTILE}},
    "a duration": {"state": {"interval": HOSTILE}},
    "an environment": {"state": {"directory": "${" + "A" + HOSTILE + "}"}},
    "a path": {"metrics": {"certificate_file": HOSTILE, "key_file": HOSTILE}},
    "a path in detectors": {"detector": {"kind": "river", "model": HOSTILE}},
    "a parameter": {"detector": {"kind": "river", "model": "river.anomaly.HalfSpaceTrees",
                                 "parameters": {HOSTILE: HOSTILE}}},
    "a zone": {"event": {"time": {"field": "ts", "zone": HOSTILE}}},
}  # fmt: skip


@pytest.mark.parametrize("kind", MISTAKES)
def test_mistakes_of_a_configuration_are_told_as_text(place: Path, kind: str) -> None:
    path = place / "config.yaml"
    path.write_text(json.dumps({**SETTINGS, **MISTAKES[kind]}))
    said_nothing_hidden(call("check", str(path)), code=2)
    path.write_bytes(HOSTILE.encode("utf-8", "surrogatepass"))
    said_nothing_hidden(call("check", str(path)), code=2)


IN_WORDS = ON_DISK.replace("\0", "")  # the system's calls take no NUL


@pytest.mark.parametrize(
    "words",
    [
        ["check", IN_WORDS],
        ["evaluate", IN_WORDS, "--data", IN_WORDS],
        ["init", "--data", IN_WORDS],
        ["check", "FILE", "--set", f"{IN_WORDS}=1"],
        [IN_WORDS],
        ["check", "FILE", f"--{IN_WORDS}"],
        ["simulate", IN_WORDS],
        ["schema", "--detector", IN_WORDS],
        ["label", "FILE", IN_WORDS, IN_WORDS],
    ],
)
def test_arguments_are_quoted_as_text(place: Path, words: list[str]) -> None:
    config = hostile_configuration(place)
    said_nothing_hidden(call(*(str(config) if word == "FILE" else word for word in words)))


ALERT = {
    "id": "events-0-1",
    "event_time": "2024-01-01T00:00:00Z",
    "severity": "low",
    "score": 4.0,
    "threshold": 2.0,
    "rarity": 1000.0,
    "reasons": [{"share": 0.5, "feature": "amount", "value": 3.0, "usual": [1.0, 2.0]}],
}


def foreign_alerts() -> list[bytes]:
    """Alerts that somebody else may write to the topic: each field hostile, each type wrong."""
    found = [json.dumps(ALERT, indent=1).encode()]
    for field in ("id", "event_time", "severity"):
        found.append(json.dumps({**ALERT, field: HOSTILE}, ensure_ascii=True).encode())
        found.append(json.dumps({**ALERT, field: ON_DISK}, ensure_ascii=False).encode())
    for field in ALERT:
        wrong: list[Any] = [None, [], {}, 1, "x", 10**400, True, [[]], [None], {"a": HOSTILE}]
        found += [json.dumps({**ALERT, field: value}).encode() for value in wrong]
    reason = ALERT["reasons"][0]  # type: ignore[index]
    for field in reason:
        for value in (None, [], HOSTILE, 10**400, [1], ["x", "y"], {}, [10**400, 1]):
            changed = {**reason, field: value}
            found.append(json.dumps({**ALERT, "reasons": [changed]}).encode())
    found += [b"", b"\xff\xfe", b"\x1b[2J", b"[" * 100_000, b'{"a":' * 50_000, b"1" * 6000, b"null"]
    found += [b'"\x9b"', HOSTILE.encode("utf-8", "surrogatepass"), b'{"id": NaN}', b"\x00" * 1000]
    found.append(json.dumps({**ALERT, "id": "a" * 1_000_000}).encode())
    found.append(json.dumps({**ALERT, "reasons": [reason] * 10_000}).encode())
    return found


def test_the_alerts_command_survives_whatever_is_on_the_topic(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = place / "config.yaml"
    kafka = {"bootstrap_servers": "a:1", "topics": ["t"], "group": "g"}
    kafka |= {"alerts": "t-alerts", "dead_letters": "t-dead"}
    config.write_text(json.dumps({**SETTINGS, "kafka": kafka}))
    sent = foreign_alerts()
    monkeypatch.setattr(alerts_command, "follow", lambda *_, **__: iter(sent))
    said = said_nothing_hidden(call("alerts", str(config)), code=0)
    assert said.count("events-0-1") > 20
    assert max(map(len, said.split("\n"))) < 10 * LONGEST
    printed = said_nothing_hidden(call("alerts", str(config), "--json"), code=0).splitlines()
    assert len(printed) == len(sent)
    assert json.loads(printed[0]) == ALERT
    for line in printed:
        json.loads(line)


def test_an_alert_of_ours_reads_as_before() -> None:
    assert readable(json.dumps(ALERT).encode()).split("\n") == [
        "2024-01-01T00:00:00Z  LOW       events-0-1  score 4.00 (threshold 2.00)  1 in 1,000",
        "     50%  amount = 3.0  usual 1 to 2",
    ]
    assert json.loads(as_it_is(json.dumps(ALERT).encode())) == ALERT


def test_a_terminal_that_lacks_a_character_shows_its_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for encoding in ("ascii", "latin-1", "cp1252"):
        stream = io.TextIOWrapper(io.BytesIO(), encoding)
        monkeypatch.setattr(sys, "stdout", stream)
        terminal.take_any_text()
        terminal.say("пример \x1b 💣")
        written = stream.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]
        assert "\\u043f" in written
        assert "\x1b" not in written


def test_errors_of_a_configuration_are_one_line_each() -> None:
    text = json.dumps({**SETTINGS, "detector": {"kind": "forged\nf:1:1: sound"}})
    with pytest.raises(Exception, match="kind") as raised:
        parse(text, "f", {})
    assert [line for line in str(raised.value).split("\n") if line.startswith("f:1:1: sound")] == []
