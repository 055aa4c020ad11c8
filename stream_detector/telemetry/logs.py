"""Log lines for people (text) or for a log store (ECS JSON), without secrets and without tricks.

A line is made of pieces (message, fields, exception). Each piece has its secrets replaced first and
its control characters escaped after that, so that neither quoting nor a line break inside a message
can hide a secret or forge a line.
"""

from __future__ import annotations

import json
import logging
import math
import re
import sys
import threading
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TextIO
from urllib.parse import quote

from stream_detector.log_fields import ACTION, FIELDS, fields
from stream_detector.visible import visible

__all__ = ["Secrets", "configure_logging", "fields", "logs_json", "redact", "register_secret"]

PACKAGE = "stream_detector"
SERVICE_NAME = "stream-detector"
ECS_VERSION = "8.11.0"
REDACTED = "***"
MAX_PIECE_CHARACTERS = 16_384
"""A longer message, field or traceback is cut: the Kafka client quotes whole responses."""

PAYLOAD_LOGGERS = ("kafka.protocol", "kafka.net", "kafka.producer", "kafka.admin")
"""Loggers whose DEBUG shows requests as they are: records, and the SASL exchange."""

_BARE = re.compile(r"[^\s\"'=]+")
_SURROGATE = re.compile("[\ud800-\udfff]")


class Secrets:
    """Texts that must not be shown.

    State: the secrets registered, a handful at the start of a process.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._forms: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def register(self, secret: str) -> None:
        """Hide ``secret`` from now on, also as ``repr``, JSON or a URL would write it."""
        if not secret:
            return
        forms = {secret, repr(secret)[1:-1], repr(secret.encode("utf-8", "replace"))[2:-1]}
        forms |= {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
        forms |= {quote(secret, errors="replace"), quote(secret, safe="", errors="replace")}
        with self._lock:
            self._forms |= forms
            longest_first = sorted(self._forms, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def redact(self, text: str) -> str:
        """``text`` with every secret replaced by ``***``."""
        return self._pattern.sub(REDACTED, text) if self._pattern else text


_SECRETS = Secrets()


def register_secret(secret: str) -> None:
    """Hide ``secret`` from every log line from now on. An empty text is ignored."""
    _SECRETS.register(secret)


def redact(text: str) -> str:
    """``text`` without registered secrets, for what reaches people past the logging."""
    return _SECRETS.redact(text)


class _PiecesFormatter(logging.Formatter):
    """Base of both formats: the pieces of a record, each safe to show."""

    def __init__(self, secrets: Secrets) -> None:
        super().__init__()
        self._secrets = secrets

    def shown(self, value: Any) -> str:
        """A piece as text: without secrets, and not longer than the limit."""
        text = self._secrets.redact(str(value))
        if len(text) > MAX_PIECE_CHARACTERS:
            left_out = len(text) - MAX_PIECE_CHARACTERS
            text = f"{text[:MAX_PIECE_CHARACTERS]}… ({left_out} more)"
        return text

    def message(self, record: logging.LogRecord) -> str:
        try:
            return self.shown(record.getMessage())
        except (TypeError, ValueError, KeyError):
            return self.shown(f"{record.msg} (its arguments do not fit)")

    def split_fields(self, record: logging.LogRecord) -> tuple[str | None, dict[str, Any]]:
        values: Mapping[str, Any] = getattr(record, FIELDS, {})
        labels = {name: value for name, value in values.items() if name != ACTION}
        return values.get(ACTION), labels

    def stack(self, record: logging.LogRecord) -> str:
        parts = []
        if record.exc_info and record.exc_info[1]:
            parts.append("".join(traceback.format_exception(record.exc_info[1])))
        elif record.exc_text:
            parts.append(record.exc_text)
        if record.stack_info:
            parts.append(record.stack_info)
        return self.shown("\n".join(part.rstrip("\n") for part in parts))


def _moment(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class TextFormatter(_PiecesFormatter):
    """``2026-11-23T10:00:00.123Z INFO  stage message key=value``; tracebacks below, behind a bar.

    The stage is the action of the record, else the logger's name without this package's.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line, and for an exception further ones that begin with four blanks and a bar."""
        action, labels = self.split_fields(record)
        stage = visible(self.shown(action or record.name.removeprefix(PACKAGE + ".")))
        words = [_moment(record), f"{record.levelname:5}", stage, visible(self.message(record))]
        words += [f"{visible(name)}={self._value(value)}" for name, value in labels.items()]
        stack = [f"\n    | {visible(line)}" for line in self.stack(record).split("\n") if line]
        return " ".join(words) + "".join(stack)

    def _value(self, value: Any) -> str:
        text = visible(self.shown(value))
        return text if _BARE.fullmatch(text) else json.dumps(text, ensure_ascii=False)


class EcsFormatter(_PiecesFormatter):
    """Formats a record as one line of JSON, with the names of the Elastic Common Schema."""

    def format(self, record: logging.LogRecord) -> str:
        """The object; JSON escapes control characters itself."""
        action, labels = self.split_fields(record)
        body: dict[str, Any] = {
            "@timestamp": _moment(record),
            "log.level": record.levelname.lower(),
            "message": self.message(record),
            "ecs.version": ECS_VERSION,
            "service.name": SERVICE_NAME,
            "log.logger": self.shown(record.name),
        }
        if action:
            body["event.action"] = self.shown(action)
        if labels:
            body["labels"] = {name: self._label(value) for name, value in labels.items()}
        if record.exc_info and (error := record.exc_info[1]):
            body["error.type"] = type(error).__name__
            body["error.message"] = self.shown(error)
        if stack := self.stack(record):
            body["error.stack_trace"] = stack
        # A lone surrogate is no Unicode text: strict readers refuse the whole line for it.
        clean = _without_surrogates(body)
        return json.dumps(clean, allow_nan=False)

    def _label(self, value: Any) -> Any:
        """Numbers stay numbers, unless JSON has no word for them or they hold a secret."""
        text = self.shown(value)
        is_number = isinstance(value, bool | int) or (
            isinstance(value, float) and math.isfinite(value)
        )
        return value if is_number and text == str(value) else text


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_surrogates(each) for name, each in value.items()}
    return _SURROGATE.sub("\ufffd", value) if isinstance(value, str) else value


class _Handler(logging.StreamHandler[TextIO]):
    """Our handler; ``configure_logging`` recognises and replaces it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Refuse what shows payloads, whatever level somebody set on those loggers."""
        if record.levelno < logging.INFO and _below(record.name, PAYLOAD_LOGGERS):
            return False
        return bool(super().filter(record))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the base class's name
        """The base class prints the arguments of the record, secrets and all."""
        try:
            self.stream.write(f"a log record of level {record.levelname} could not be written\n")
        except (OSError, ValueError):
            return  # the stream itself is broken or closed: there is nobody left to tell


def _below(name: str, parents: tuple[str, ...]) -> bool:
    return any(name == parent or name.startswith(parent + ".") for parent in parents)


def configure_logging(
    format: Literal["text", "json"],  # noqa: A002 - the name in the configuration
    level: Literal["debug", "info", "warning", "error"],
    stream: TextIO | None = None,
) -> None:
    """Send all logging of the process to ``stream``; a second call replaces the first.

    The Kafka client speaks from WARNING on, at level ``debug`` from DEBUG on, but for the loggers
    that show payloads. Python's warnings become log lines.

    Args:
        format: lines to read, or ECS JSON.
        level: least level to show.
        stream: default standard error.
    """
    handler = _Handler(stream if stream is not None else sys.stderr)
    formatter = TextFormatter if format == "text" else EcsFormatter
    handler.setFormatter(formatter(_SECRETS))
    root = logging.getLogger()
    for former in [each for each in root.handlers if isinstance(each, _Handler)]:
        root.removeHandler(former)
    root.addHandler(handler)
    least = logging.getLevelNamesMapping()[level.upper()]
    root.setLevel(least)
    client_level = logging.DEBUG if level == "debug" else max(least, logging.WARNING)
    logging.getLogger("kafka").setLevel(client_level)
    for name in PAYLOAD_LOGGERS:
        logging.getLogger(name).setLevel(max(client_level, logging.INFO))
    logging.captureWarnings(capture=True)


def logs_json() -> bool:
    """Tell whether this process writes JSON lines: then its last message is one, too."""
    ours = [each for each in logging.getLogger().handlers if isinstance(each, _Handler)]
    return any(isinstance(handler.formatter, EcsFormatter) for handler in ours)
