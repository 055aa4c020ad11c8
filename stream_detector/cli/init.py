"""``stream-detector init``: looks at a sample of the data and writes a configuration for it."""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import yaml

from stream_detector.cli.common import add_command
from stream_detector.config.models.config import KafkaConfig
from stream_detector.connectors.files import FileSource
from stream_detector.errors import ConfigurationError, ConnectorError
from stream_detector.inference import Entry, Proposal, infer

SAMPLE_EVENTS = 5000
_KAFKA_WAIT_SECONDS = 15.0
_KAFKA_PAUSE_SECONDS = 2.0
_EXAMPLE = """stream-detector init --data events.csv --output config.yaml
  stream-detector init --kafka localhost:9092 --topic transactions
  stream-detector init --data headerless.csv --columns time,host,bytes,label"""


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = add_command(
        subparsers, "init", run, "Propose a configuration from a sample of the data.", _EXAMPLE
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", metavar="FILE", help="CSV, JSON Lines (gzipped or not) or npz")
    source.add_argument("--kafka", metavar="HOST:PORT", help="brokers to ask first")
    parser.add_argument("--topic", help="topic to sample")
    parser.add_argument(
        "--columns", help="names of a CSV file's columns where it has no header, with commas"
    )
    parser.add_argument("--name", help="name of the detector (default: of the file or topic)")
    parser.add_argument("--output", metavar="FILE", help="where to write (default: on the screen)")
    parser.add_argument("--force", action="store_true", help="replace the file if it is there")


@dataclass(frozen=True, slots=True)
class Sample:
    """Events to look at, and how they were read."""

    events: Sequence[Mapping[str, Any]]
    unreadable: int
    as_text: bool
    columns: Sequence[str] | None
    origin: str
    topic: str | None = None
    bootstrap_servers: str | None = None


def run(arguments: argparse.Namespace) -> int:
    """Write the proposal. Raises ``ConfigurationError`` or ``ConnectorError``."""
    if arguments.kafka and not arguments.topic:
        raise ConfigurationError("--kafka needs --topic")
    output = Path(arguments.output) if arguments.output else None
    if output is not None and output.exists() and not arguments.force:
        raise ConfigurationError(f"{output} is there already; --force replaces it")
    if arguments.data:
        sample = sample_file(arguments.data, arguments.columns and arguments.columns.split(","))
    else:
        sample = _sample_topic(arguments.kafka, arguments.topic)
    proposal = infer(sample.events, sample.as_text)
    if not proposal.features and not proposal.windows:
        reasons = "; ".join(f"{name} {reason}" for name, reason in proposal.left_out[:10])
        raise ConfigurationError(f"{sample.origin}: no field is fit to be a feature: {reasons}")
    text = render(proposal, sample, arguments.name or _detector_name(sample.origin))
    if output is None:
        print(text, end="")
    else:
        try:
            output.write_text(text, encoding="utf-8")
        except OSError as error:
            raise ConfigurationError(f"cannot write {output}: {error.strerror}") from error
    for warning in proposal.warnings:
        print(f"note: {warning}", file=sys.stderr)
    if output is not None:
        print(f"wrote {output} from {len(sample.events):,} events of {sample.origin}")
        data = arguments.data or "FILE"
        print(f"next: stream-detector evaluate {output} --data {data}")
    return 0


# --- sampling -----------------------------------------------------------------------------------


def sample_file(path: str, columns: Sequence[str] | None = None) -> Sample:
    """The first events of a file. Raises ``ConnectorError`` where there is none."""
    source = FileSource(path, limit=SAMPLE_EVENTS, columns=columns)
    values: list[bytes | None] = []
    try:
        while not source.exhausted():
            for fetched in source.poll(60.0):
                values += [record.value for record in fetched.records]
    finally:
        source.close()
    events, unreadable = _parse(values, path)
    return Sample(
        events=events,
        unreadable=unreadable,
        as_text=source.format == "csv",
        # A file without a header is read under the names that its configuration lists.
        columns=source.columns if source.headerless else None,
        origin=Path(path).name if path != "-" else "standard input",
    )


def _sample_topic(bootstrap_servers: str, topic: str) -> Sample:
    from stream_detector.connectors.kafka.follow import follow  # noqa: PLC0415 - slow to import

    kafka = KafkaConfig(
        bootstrap_servers=bootstrap_servers,
        topics=[topic],
        group="stream-detector-init",
        alerts="unused-alerts",
        dead_letters="unused-dead-letters",
    )
    values: list[bytes | None] = []
    last = time.monotonic()

    def stopping() -> bool:
        return time.monotonic() - last > (_KAFKA_PAUSE_SECONDS if values else _KAFKA_WAIT_SECONDS)

    for value in follow(kafka, from_beginning=True, stopping=stopping, topic=topic):
        values.append(value)
        last = time.monotonic()
        if len(values) == SAMPLE_EVENTS:
            break
    events, unreadable = _parse(values, topic)
    return Sample(events, unreadable, False, None, topic, topic, bootstrap_servers)


def _parse(values: Iterable[bytes | None], origin: str) -> tuple[list[Mapping[str, Any]], int]:
    events: list[Mapping[str, Any]] = []
    unreadable = 0
    for value in values:
        try:
            event = msgspec.json.decode(value or b"")
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            event = None
        if isinstance(event, dict):
            events.append(event)
        else:
            unreadable += 1
    if not events:
        raise ConnectorError(f"{origin}: no events to look at ({unreadable} unreadable records)")
    return events, unreadable


def _detector_name(origin: str) -> str:
    stem = re.sub(r"(\.(csv|jsonl|json|npz|tsv|txt|gz))+$", "", origin)
    return re.sub(r"[^a-zA-Z0-9._-]+", "-", stem).strip("-")[:64] or "detector"


# --- writing ------------------------------------------------------------------------------------


def render(proposal: Proposal, sample: Sample, name: str) -> str:
    """The configuration as YAML with a comment for each choice."""
    seen = f"{len(sample.events):,} events of {_comment(sample.origin)}"
    lines = [
        f"# Proposed by `stream-detector init` from {seen}.",
        "# Guesses all: read them, change them, then `stream-detector check` this file.",
    ]
    if sample.unreadable:
        lines.append(f"# {sample.unreadable} records of the sample could not be read as events.")
    lines += [f"# Note: {_comment(warning)}." for warning in proposal.warnings]
    lines += ["", f"name: {_scalar(name)}", ""]
    lines += _kafka_lines(sample, name)
    lines += _event_lines(proposal, sample)
    lines += _feature_lines(proposal)
    if proposal.windows:
        lines += ["", "# What each key did before the event, forgotten by half-lives."]
        lines += ["windows:", *_entry_lines(proposal.windows)]
    if proposal.labels is not None:
        delay = "7d" if "time" in proposal.event else "1h"
        lines += ["", "# Never a feature: known only this long after the event."]
        lines += _section("labels", proposal.labels | {"delay": delay})
    lines += ["", "# Or as many as somebody can read: 100 per day."]
    lines += _section("threshold", {"budget": "0.5 %", "burn_in": 1000})
    if proposal.suppression is not None:
        lines += ["", "# One alert a key and period; the next one says how many were held back."]
        lines += _section("suppression", proposal.suppression)
    return "\n".join(lines) + "\n"


def _section(name: str, members: Mapping[str, Any]) -> list[str]:
    return [f"{name}:", *(f"  {key}: {_flow(value)}" for key, value in members.items())]


def _event_lines(proposal: Proposal, sample: Sample) -> list[str]:
    event: dict[str, Any] = dict(proposal.event)
    if sample.columns is not None:
        event["columns"] = list(sample.columns)
    note = [] if "time" in event else ["# No field is the time: the records' timestamps count."]
    return note + (_section("event", event) if event else [])


def _feature_lines(proposal: Proposal) -> list[str]:
    if proposal.features:
        lines = ["", "features:", *_entry_lines(proposal.features)]
    else:
        lines = ["", "features: []"]
    if proposal.left_out:
        lines.append("  # Left out:")
        lines += [f"  # - {_comment(name)}: {_comment(why)}" for name, why in proposal.left_out]
    return lines


def _kafka_lines(sample: Sample, name: str) -> list[str]:
    topic = sample.topic or "events"
    servers = sample.bootstrap_servers or "localhost:9092"
    lines = [
        "kafka:",
        f"  bootstrap_servers: {_scalar(servers)}",
        f"  topics: [{_scalar(topic)}]",
        f"  group: {_scalar(name)}",
        f"  alerts: {_scalar(topic + '.alerts')}",
        f"  dead_letters: {_scalar(topic + '.dead-letters')}",
        "",
    ]
    if sample.topic is None:
        lines = [f"# {line}".rstrip() for line in lines[:-1]]
        return ["# `run` needs these; `evaluate` and `train` do not.", *lines, ""]
    return lines


def _entry_lines(entries: Sequence[Entry]) -> list[str]:
    lines = []
    for entry, comment in entries:
        members = ", ".join(f"{key}: {_flow(value)}" for key, value in entry.items())
        lines.append(f"  - {{ {members} }}  # {_comment(comment)}")
    return lines


def _flow(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + " }"
    return _scalar(value) if isinstance(value, str) else str(value)


def _scalar(text: str) -> str:
    """Text as YAML, quoted where it would be read as anything else."""
    if re.fullmatch(r"[A-Za-z0-9_][\w./% -]*", text, re.ASCII) and not text.endswith(" "):
        loaded = yaml.safe_load(text)
        if loaded == text and isinstance(loaded, str):
            return text
    # JSON's double quotes are YAML's, but YAML wants all that is not printable escaped.
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in quoted)


def _comment(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)
