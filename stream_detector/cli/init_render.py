"""A proposal as the text of a configuration, with a comment for each choice."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from stream_detector.inference import Entry, Proposal
from stream_detector.visible import visible

_REASONS = 12
"""Of reasons why fields are no keys of a monitor, as many are written."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Events to look at, and how they were read; ``share``: which part of all they are."""

    events: Sequence[Mapping[str, Any]]
    values: Sequence[bytes | None]
    unreadable: int
    columns: Sequence[str] | None
    origin: str
    topic: str | None = None
    bootstrap_servers: str | None = None
    notes: Sequence[str] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    envelope: str | None = None
    format: str | None = None
    registry: str | None = None
    share: float | None = None


def render(proposal: Proposal, sample: Sample, name: str) -> str:
    """The configuration as YAML with a comment for each choice."""
    seen = f"{len(sample.events):,} events of {_comment(sample.origin)}"
    lines = [
        f"# Proposed by `stream-detector init` from {seen}.",
        "# Guesses all: read them, change them, then `stream-detector check` this file.",
    ]
    if sample.unreadable:
        lines.append(f"# {sample.unreadable} records of the sample could not be read as events.")
    lines += [f"# The sample: {_comment(note)}." for note in sample.notes]
    lines += [f"# Note: {_comment(warning)}." for warning in proposal.warnings]
    lines += ["", f"name: {_scalar(name)}", ""]
    lines += _kafka_lines(sample, name)
    if sample.registry is not None:
        lines += [*_section("registry", {"url": sample.registry}), ""]
    lines += _event_lines(proposal, sample)
    if sample.files:
        lines += ["", *_section("files", sample.files)]
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
    lines += _monitor_lines(proposal)
    if proposal.suppression is not None:
        lines += ["", "# One alert a key and period; the next one says how many were held back."]
        lines += _section("suppression", proposal.suppression)
    lines += ["", "# What alerts have in common, since when, and whether it is over."]
    lines += _section("incidents", {"group_wait": "30s", "quiet": "30m"})
    return "\n".join(lines) + "\n"


def _section(name: str, members: Mapping[str, Any]) -> list[str]:
    return [f"{name}:", *(f"  {key}: {_flow(value)}" for key, value in members.items())]


def _event_lines(proposal: Proposal, sample: Sample) -> list[str]:
    event: dict[str, Any] = dict(proposal.event)
    if sample.format is not None:
        event = {"format": sample.format, **event}
    if sample.envelope is not None:
        event["envelope"] = sample.envelope
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


def _monitor_lines(proposal: Proposal) -> list[str]:
    """The section `monitors`, and why something is not in it."""
    entries, reasons = proposal.monitors.entries, proposal.monitors.reasons
    lines: list[str] = []
    if entries:
        lines += ["", "# What is counted in buckets of time, and held against what is usual then."]
    elif reasons:
        lines.append("")
    lines += [f"# {_comment(reason)}." for reason in reasons[:_REASONS]]
    if entries:
        lines.append("monitors:")
        for entry, about in entries:
            lines.append(f"  # {_comment(about)}.")
            members = (f"{key}: {_flow(value)}" for key, value in entry.items())
            lines.append(f"  - {{ {', '.join(members)} }}")
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
        f"  incidents: {_scalar(topic + '.incidents')}",
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
        members = ", ".join(f"{_scalar(str(key))}: {_flow(value)}" for key, value in entry.items())
        lines.append(f"  - {{ {members} }}  # {_comment(comment)}")
    return lines


def _flow(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, dict):
        return (
            "{ "
            + ", ".join(f"{_scalar(str(key))}: {_flow(item)}" for key, item in value.items())
            + " }"
        )
    return _scalar(value) if isinstance(value, str) else str(value)


def _scalar(text: str) -> str:
    """Text as YAML, quoted where it would be read as anything else."""
    if re.fullmatch(r"[A-Za-z0-9_][\w./% -]*", text, re.ASCII) and not text.endswith(" "):
        loaded = yaml.safe_load(text)
        if loaded == text and isinstance(loaded, str):
            return text
    # JSON's double quotes are YAML's, but YAML wants all that is not printable escaped.
    quoted = json.dumps(text, ensure_ascii=False)
    return visible(quoted)


def _comment(text: str) -> str:
    return visible(text)
