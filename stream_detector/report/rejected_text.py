"""Rejections of a file and their reasons, as a table and as JSON."""

from __future__ import annotations

from typing import Any

from stream_detector.config.loading.diagnostics import printable
from stream_detector.config.models.config import Config
from stream_detector.errors import ConfigurationError
from stream_detector.rejections import RejectionTally, Remedies
from stream_detector.visible import visible

_SHOWN = 12
_LONGEST_FIELD = 28


def table(tally: RejectionTally, events: int, config: Config) -> str:
    """A line for each reason and field, with the first record and what to set; "" without any.

    ``events``: all that were read, accepted or not.
    """
    kinds = tally.kinds()
    if not kinds:
        return ""
    remedies = Remedies(config)
    rows = [("reason", "field", "records", "first", "what to set")]
    rows += [
        (
            kind.reason,
            _short(kind.field or "-"),
            f"{kind.records:,}",
            visible(kind.first),
            visible(remedies.of(kind.reason, kind.field)),
        )
        for kind in kinds[:_SHOWN]
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [f"rejected: {tally.records:,} of {events:,} records"]
    for number, row in enumerate(rows):
        cells = [
            cell.rjust(width) if column == 2 else cell.ljust(width)  # noqa: PLR2004 - the numbers
            for column, (cell, width) in enumerate(zip(row, widths, strict=False))
        ]
        lines.append("  " + "  ".join([*cells, row[4]]).rstrip())
        if number:
            lines.append(f"    {printable(kinds[number - 1].message)}")
    if len(kinds) > _SHOWN:
        lines.append(f"  and {len(kinds) - _SHOWN} more kinds")
    return "\n".join(lines)


def as_json(tally: RejectionTally, config: Config) -> list[dict[str, Any]]:
    """The same for programs."""
    remedies = Remedies(config)
    return [
        {
            "reason": kind.reason,
            "field": kind.field,
            "records": kind.records,
            "first": kind.first,
            "message": kind.message,
            "set": remedies.of(kind.reason, kind.field),
        }
        for kind in tally.kinds()
    ]


def refuse_if_all(tally: RejectionTally, events: int, what: str) -> None:
    """Raise ``ConfigurationError`` where not one of ``events`` was accepted."""
    if events == 0:
        raise ConfigurationError(f"{what}: there are no events")
    if tally.records >= events:
        kind = tally.kinds()[0]
        raise ConfigurationError(
            f"{what}: all {events:,} records were rejected, so there is no result; the first, "
            f"{kind.first}, for {kind.reason}: {printable(kind.message)}"
        )


def _short(text: str) -> str:
    text = printable(text)
    return text if len(text) <= _LONGEST_FIELD else f"{text[: _LONGEST_FIELD - 1]}…"
