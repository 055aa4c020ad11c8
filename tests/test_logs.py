"""Log lines: the two formats, secrets, forged lines, and what the Kafka client may say."""

from __future__ import annotations

import ast
import io
import json
import logging
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.net.connection import log as connection_log
from kafka.producer.kafka import log as producer_log
from kafka.protocol.parser import log as parser_log
from support.commands import run as run_command

from stream_detector.daemon.shard_reporter import ShardReporter
from stream_detector.pipeline import BatchResult
from stream_detector.telemetry import logs
from stream_detector.telemetry.logs import Secrets, configure_logging, fields, register_secret
from stream_detector.telemetry.metrics import Metrics
from stream_detector.telemetry.status.recent import Recent

REPOSITORY = Path(__file__).resolve().parents[1]

TEXT_LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (DEBUG|INFO |WARNING|ERROR) \S+ .*")
log = logging.getLogger("stream_detector.journal")


@pytest.fixture(autouse=True)
def logging_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in (None, "kafka", *logs.PAYLOAD_LOGGERS)]
    levels = [logger.level for logger in loggers]
    monkeypatch.setattr(logs, "_SECRETS", Secrets())
    yield
    logging.captureWarnings(False)
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


@contextmanager
def only_our_handler() -> Iterator[None]:
    """Without pytest's handlers, which make a failing test of a record that cannot be shown."""
    root = logging.getLogger()
    handlers = list(root.handlers)
    root.handlers.clear()
    try:
        yield
    finally:
        root.handlers[:] = handlers


def written(style: str, act: Callable[[], object], level: str = "info") -> str:
    stream = io.StringIO()
    with only_our_handler():
        configure_logging(style, level, stream)
        act()
    return stream.getvalue()


def text_of(act: Callable[[], object], level: str = "info") -> str:
    return written("text", act, level)


def json_of(act: Callable[[], object]) -> dict:
    (line,) = written("json", act).splitlines()
    return json.loads(line)


def fail(message: str) -> None:
    error = ValueError(message)
    try:
        raise error
    except ValueError:
        log.exception("it failed")


def test_a_text_line_has_time_level_stage_message_and_fields():
    line = text_of(lambda: log.info("wrote %d", 3, extra=fields(shard=0, path="a b", topic="t")))
    moment, rest = line.split(" ", 1)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", moment)
    assert rest == 'INFO  journal wrote 3 shard=0 path="a b" topic=t\n'


def test_the_action_stands_before_the_message_in_text():
    assert " commit done events=2\n" in text_of(
        lambda: log.info("done", extra=fields("commit", events=2))
    )


def test_a_json_line_has_the_names_of_ecs():
    body = json_of(lambda: log.warning("done", extra=fields("commit", events=2, share=0.5)))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", body.pop("@timestamp"))
    assert body == {
        "log.level": "warning",
        "message": "done",
        "ecs.version": logs.ECS_VERSION,
        "service.name": "stream-detector",
        "log.logger": "stream_detector.journal",
        "event.action": "commit",
        "labels": {"events": 2, "share": 0.5},
    }


def test_an_exception_in_json_has_type_message_and_stack_trace():
    body = json_of(lambda: fail("no\nspace"))
    assert body["error.type"] == "ValueError"
    assert body["error.message"] == "no\nspace"
    assert body["error.stack_trace"].startswith("Traceback (most recent call last):\n")


def test_a_label_that_json_cannot_hold_becomes_text():
    body = json_of(lambda: log.info("x", extra=fields(a=float("nan"), b=[1], c=None)))
    assert body["labels"] == {"a": "nan", "b": "[1]", "c": "None"}


def test_fields_may_be_called_like_attributes_of_a_record():
    body = json_of(lambda: log.info("x", extra=fields(name="n", message="m", args="a")))
    assert body["labels"] == {"name": "n", "message": "m", "args": "a"}


@pytest.mark.parametrize("style", ["text", "json"])
def test_a_message_cannot_forge_a_line(style):
    forged = "bad\n2026-01-01T00:00:00.000Z INFO  journal all is well\r\x1b[2J\u2028\x85\u202e"
    output = written(style, lambda: log.info("%s", forged, extra=fields(value=forged)))
    assert len(output.splitlines()) == 1
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202e]", output)


def test_an_exception_in_text_cannot_forge_a_line():
    output = text_of(lambda: fail("bad\n2026-01-01T00:00:00.000Z INFO  journal all is well\x1b[2J"))
    first, *rest = output.splitlines()
    assert TEXT_LINE.fullmatch(first)
    assert len(rest) > 2
    assert all(line.startswith("    | ") for line in rest)
    assert "\x1b" not in output


@given(message=st.text(), value=st.text())
@pytest.mark.parametrize("style", ["text", "json"])
def test_one_record_is_one_line_that_can_be_encoded_whatever_it_says(style, message, value):
    output = written(style, lambda: log.info("%s", message, extra=fields(value=value)))
    assert len(output.splitlines()) == 1
    output.encode("utf-8")


SECRETS = ["hunter2", 'pa"ss\\wörd', "two words", "line\nbreak", "a=b&c/d", "4711", "ünïcode"]


@pytest.mark.parametrize("style", ["text", "json"])
@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_appears_nowhere_in_a_line(style, secret):
    register_secret(secret)

    def act() -> None:
        log.info("user:%s@host", secret, extra=fields(secret, value=secret, nested={"p": secret}))
        log.info("number", extra=fields(number=4711, other=fields(secret)))
        log.info("bytes %r repr %r json %s", secret.encode(), secret, json.dumps(secret))
        logging.getLogger(f"lib.{secret}").warning("x", stack_info=True)
        fail(f"cannot log in with {secret!r} or {secret}")

    output = written(style, act)
    assert "***" in output
    for form in (secret, repr(secret)[1:-1], repr(secret.encode())[2:-1], json.dumps(secret)[1:-1]):
        assert form not in output


def test_of_two_secrets_the_longer_is_hidden_whole():
    secrets = Secrets()
    secrets.register("pass")
    secrets.register("password-long")
    assert secrets.redact("password-long pass") == "*** ***"


def test_an_empty_secret_hides_nothing():
    secrets = Secrets()
    secrets.register("")
    assert secrets.redact("abc") == "abc"


def test_redact_serves_texts_that_do_not_pass_through_the_log():
    register_secret("hunter2")
    assert logs.redact("password hunter2") == "password ***"


@pytest.mark.parametrize("style", ["text", "json"])
def test_arguments_that_do_not_fit_are_neither_lost_nor_shown_raw(style, capsys):
    register_secret("hunter2")
    output = written(style, lambda: log.info("%d events", "hunter2"))
    assert "%d events (its arguments do not fit)" in output
    assert "hunter2" not in output + capsys.readouterr().err


def test_a_record_that_cannot_be_written_does_not_spill_its_arguments(capsys):
    class Unprintable:
        def __str__(self) -> str:
            raise RuntimeError("hunter2")

    output = text_of(lambda: log.info("%s %s", "hunter2", Unprintable()))
    assert output == "a log record of level INFO could not be written\n"
    assert capsys.readouterr().err == ""


def test_a_closed_stream_does_not_stop_the_caller():
    stream = io.StringIO()
    with only_our_handler():
        configure_logging("text", "info", stream)
        stream.close()
        log.info("nobody hears this")


def test_a_huge_message_is_cut():
    output = text_of(lambda: log.info("x" * 1_000_000))
    assert len(output) < logs.MAX_PIECE_CHARACTERS + 200
    assert "… (983616 more)" in output


def test_configuring_twice_writes_a_line_once():
    first, second = io.StringIO(), io.StringIO()
    with only_our_handler():
        configure_logging("text", "info", first)
        configure_logging("json", "info", second)
        log.info("once")
    assert first.getvalue() == ""
    assert second.getvalue().count("once") == 1


def test_levels_below_the_configured_one_are_silent():
    assert text_of(lambda: log.info("quiet"), level="warning") == ""


def test_warnings_become_log_lines():
    output = text_of(lambda: warnings.warn("careful", UserWarning, stacklevel=1))
    assert TEXT_LINE.fullmatch(output.rstrip("\n"))
    assert "careful" in output


@pytest.mark.parametrize(
    ("level", "debug", "info", "warning"),
    [
        ("debug", True, True, True),
        ("info", False, False, True),
        ("warning", False, False, True),
        ("error", False, False, False),
    ],
)
def test_the_kafka_client_speaks_from_warning_on_unless_debugging(level, debug, info, warning):
    client = logging.getLogger("kafka.coordinator")

    def act() -> None:
        client.debug("said at debug")
        client.info("said at info")
        client.warning("said at warning")

    output = text_of(act, level)
    assert ("at debug" in output, "at info" in output, "at warning" in output) == (
        *(debug, info, warning),
    )


@pytest.mark.parametrize("client_log", [parser_log, connection_log, producer_log])
def test_the_kafka_client_never_shows_payloads(client_log):
    def act() -> None:
        client_log.debug("Send: %r", b"\x00user\x00password")
        client_log.setLevel(logging.DEBUG)  # as somebody might who looks for a fault
        client_log.debug("Send: %r", b"\x00user\x00password")
        client_log.warning("connection lost")

    try:
        output = text_of(act, "debug")
    finally:
        client_log.setLevel(logging.NOTSET)
    assert "connection lost" in output
    assert "Send" not in output


# --- what every room logs ------------------------------------------------------------------------


def log_calls() -> Iterator[tuple[str, str, str | None, str | None]]:
    """(place, level, action, stage) of each call in the source that warns or worse."""
    for path in sorted((REPOSITORY / "stream_detector").rglob("*.py")):
        tree = ast.parse(path.read_text())
        # `extra=values` where the fields were put together in the line before.
        named = {
            node.targets[0].id: node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        }
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            owner, level = ast.unparse(node.func.value), node.func.attr
            lasting = level == "report" and owner.endswith("conditions")
            if not lasting and (owner not in ("log", "_log", "logger") or level not in LEVELS):
                continue
            extra = next((word.value for word in node.keywords if word.arg == "extra"), None)
            if isinstance(extra, ast.Name):
                extra = named[extra.id]
            action = stage = None
            if isinstance(extra, ast.Call) and ast.unparse(extra.func) == "fields":
                action = ast.literal_eval(extra.args[0]) if extra.args else None
                stage = next(
                    (ast.unparse(w.value) for w in extra.keywords if w.arg == "stage"), None
                )
            yield f"{path.relative_to(REPOSITORY)}:{node.lineno}", level, action, stage


LEVELS = ("warning", "error", "critical", "exception", "log")


def test_whatever_warns_has_an_action_and_a_stage():
    calls = list(log_calls())
    assert len(calls) > 15
    assert [place for place, _, action, stage in calls if action is None or stage is None] == []


def test_every_action_of_a_warning_is_in_the_table_for_operators():
    text = (REPOSITORY / "docs" / "operations.md").read_text()
    rows = re.findall(r"^\| (`[a-z-]+`(?:, `[a-z-]+`)*) \| (.*?) \|", text, re.MULTILINE)
    table = {
        action: set(re.findall(r"`(\w+)`", stages))
        for actions, stages in rows
        for action in re.findall(r"`([a-z-]+)`", actions)
    }
    for place, _, action, stage in log_calls():
        assert action in table, place
        if stage is not None and stage.startswith("'"):
            assert ast.literal_eval(stage) in table[action], place


def test_the_last_words_are_a_json_line_where_the_log_is_json(tmp_path):
    config = tmp_path / "config.yaml"
    kafka = {"bootstrap_servers": "127.0.0.1:1", "topics": ["t"], "group": "g", "alerts": "a"}
    settings = {
        "name": "test",
        "features": [{"numeric": "x"}],
        "kafka": {**kafka, "dead_letters": "d", "wait_for_input": "1s", "request_timeout": "1s"},
        "metrics": {"port": 0},
        "state": {"directory": str(tmp_path)},
        "logging": {"format": "json"},
    }
    config.write_text(json.dumps(settings))
    done = run_command("run", str(config))
    assert done.returncode == 3
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert lines[-1]["event.action"] == "ended"
    assert lines[-1]["labels"] == {"stage": "connection", "exit_code": 3}
    assert all("stage" in line["labels"] for line in lines if line["log.level"] != "info")


def test_all_is_well_is_one_line_a_minute(caplog):
    with caplog.at_level("INFO"):
        observation = ShardReporter(Metrics(), recent := Recent())
        for _ in range(1000):
            recent.take(BatchResult(np.array([1.0, 2.0]), np.zeros(2, dtype=bool)))
        observation.report(5000, 2)
        recent.take(BatchResult(np.array([1.0]), np.zeros(1, dtype=bool)))
        observation.report(5001, 2)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert said[0].startswith("5000 events so far, 2 shards; since the last such line 2000 events")
    assert "line 1 events, 0 alerts" in said[1]
