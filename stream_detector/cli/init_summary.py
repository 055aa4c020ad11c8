"""Summary of what `init` took for time, key, label, numbers and categories."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from stream_detector.inference import Proposal
from stream_detector.visible import visible

_WIDTH = 100
_INDENT = 12
_NAMED = 12
_LEFT_OUT = 16
_REASONS = 4


def summary(proposal: Proposal) -> str:
    """A few lines: each role with its fields, then what was left out and why."""
    lines: list[str] = []
    for role, text in (
        ("time", _time(proposal)),
        ("id", proposal.event.get("id", "")),
        ("keys", _keys(proposal)),
        ("label", _label(proposal)),
        ("numbers", _names(_of_kind(proposal, "numeric"))),
        ("", "; ".join(_spellings(proposal))),
        ("true/false", _names(_of_kind(proposal, "boolean"))),
        ("categories", _names(_of_kind(proposal, "categorical"))),
        ("calendar", _names(_of_kind(proposal, "time"))),
    ):
        if text:
            lines += _wrapped(role, text)
    if constant := _constant(proposal):
        lines += _wrapped("constant", f"{_names(constant)}: kept, since the first change is news")
    lines += _left_out(proposal)
    lines += _monitors(proposal)
    for warning in proposal.warnings:
        lines += _wrapped("note", warning)
    return "\n".join(lines)


def _wrapped(role: str, text: str) -> list[str]:
    return textwrap.wrap(
        visible(text),
        _WIDTH,
        initial_indent=f"{role:<{_INDENT}}",
        subsequent_indent=" " * _INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _time(proposal: Proposal) -> str:
    choice = proposal.time
    if choice is None:
        return "none was found: the records' timestamps count (in a file: one row a second)"
    row = int(np.argmax(choice.column.times >= 0))
    cells = [proposal.profiles[name].values[row] for name in choice.fields]
    shown = " ".join(str(cell).strip() for cell in cells)[:60]
    moment = datetime.fromtimestamp(int(choice.column.times[row]) / 1000, UTC)
    section = proposal.event["time"]
    zone = section.get("zone", "UTC where none is written")
    said = f"{' and '.join(choice.fields)}: {shown!r} is {moment:%Y-%m-%d %H:%M:%S} UTC"
    notes = "".join(f"; {note}" for note in choice.column.notes)
    return f"{said} (format {section['format']}, zone {zone}){notes}"


def _keys(proposal: Proposal) -> str:
    found = [f"{window['key']} ({comment})" for window, comment in proposal.windows]
    return "; ".join(found) or "none: no field looks like somebody with a history"


def _label(proposal: Proposal) -> str:
    guess = proposal.label
    if guess is None or proposal.labels is None:
        return ""
    share = float(np.nanmean(guess.truth)) if np.isfinite(guess.truth).any() else 0.0
    return (
        f"{proposal.labels['field']} is the label: {guess.told} means anomalous "
        f"({share:.2%} of the sample); never a feature, learnt from or compared with late"
    )


def _of_kind(proposal: Proposal, kind: str) -> list[str]:
    constant = set(_constant(proposal))
    named = [str(entry[kind]) for entry, _ in proposal.features if kind in entry]
    return [name for name in named if name not in constant]


def _constant(proposal: Proposal) -> list[str]:
    names = [_name_of(entry) for entry, _ in proposal.features if "time" not in entry]
    return [name for name in names if proposal.profiles[name].distinct == 1]


def _name_of(entry: dict[str, Any]) -> str:
    return str(next(entry[kind] for kind in ("numeric", "boolean", "categorical") if kind in entry))


def _spellings(proposal: Proposal) -> Iterator[str]:
    """Return how numbers are read that are not plain, and what was taken for missing."""
    missing: dict[str, int] = {}
    for name in _of_kind(proposal, "numeric"):
        profile = proposal.profiles[name]
        for note in profile.column.notes:
            yield f"{name}: {note}"
        for word, count in profile.column.missing.items():
            if word:
                missing[word] = missing.get(word, 0) + count
    if missing:
        words = ", ".join(f"{word!r} ({count:,})" for word, count in missing.items())
        yield f"taken for missing: {words}"


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _monitors(proposal: Proposal) -> list[str]:
    """The monitors, in words, and why others are none."""
    found = [_monitor(entry, about) for entry, about in proposal.monitors.entries]
    lines = []
    for number, text in enumerate([*found, *proposal.monitors.reasons[:_REASONS]]):
        lines += _wrapped("" if number else "monitors", text)
    return lines


def _monitor(entry: dict[str, Any], about: str) -> str:
    """``mean of amount by shop in buckets of 1h, hour of week (why)``."""
    what = f" of {entry['of']}" if "of" in entry else ""
    what = entry.get("compute", entry["kind"]) + what
    if "key" in entry:
        what += f" {'by' if 'of' in entry else 'of'} {entry['key']}"
    season = {"none": "no season"}.get(entry["season"], entry["season"].replace("_", " "))
    buckets = f" in buckets of {entry['bucket']}" if "bucket" in entry else ""
    return f"{what}{buckets}, {season} ({about})"


def _left_out(proposal: Proposal) -> list[str]:
    lines = []
    for number, (name, reason) in enumerate(proposal.left_out[:_LEFT_OUT]):
        lines += _wrapped("" if number else "left out", f"{name}: {reason}")
    if len(proposal.left_out) > _LEFT_OUT:
        more = len(proposal.left_out) - _LEFT_OUT
        lines += _wrapped("", f"and {more} more, with their reasons in the file")
    return lines
