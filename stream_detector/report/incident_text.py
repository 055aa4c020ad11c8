"""An incident as a few lines of text, for a terminal and for notebooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stream_detector.incidents.wording import (
    attribute_text,
    care_text,
    change_text,
    condition_text,
    counts_text,
    scope_text,
)
from stream_detector.visible import shown

_REASONS = 5
_IDS = 20
_BROKEN = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)

Body = Mapping[str, Any]


def incident_lines(body: Body) -> list[str]:
    """An incident as it stands: what it is about, since when, how many, and what explains it.

    Whatever others wrote there steers no terminal.
    """
    try:
        level = shown(str(body["severity"])).upper()
        state = "" if body["state"] != "resolved" else f", over since {_time(body['resolved'])}"
        again = f", opened again {body['reopened']} times" if body.get("reopened") else ""
        lines = [
            f"{_time(body['opened'])}  {level:<8}  {scope_text(body)}  {counts_text(body)}",
            f"    {shown(str(body['id']))}, last seen {_time(body['last_seen'])}{again}{state}",
        ]
        said = (attribute_text(body), condition_text(body), care_text(body))
        return [*lines, *(f"    {line}" for line in said if line)]
    except _BROKEN:
        return [f"not an incident: {shown(str(dict(body))[:200])}"]


def incidents_lines(figures: Mapping[str, Any], shown_ones: int = 5) -> list[str]:
    """Incidents of a run: how many, and the heaviest ones."""
    head = (
        f"{figures['opened']:,} incidents opened, {figures['over']:,} over, "
        f"{figures['reopened']:,} opened again, {figures['merged']:,} became part of another one"
    )
    heaviest = figures["heaviest"][:shown_ones]
    lines = [line for body in heaviest for line in incident_lines(body)]
    return [head, *(["the heaviest:", *lines] if lines else [])]


def change_line(body: Body) -> str:
    """One message: when, what has changed, and what it had come to."""
    try:
        level = shown(str(body["severity"])).upper()
        time = _time(body.get("time", body["last_seen"]))
        return f"{time}  {level:<8}  {scope_text(body)}: {change_text(body)}; {counts_text(body)}"
    except _BROKEN:
        return f"not an incident: {shown(str(dict(body))[:200])}"


def timeline(bodies: Sequence[Body]) -> list[str]:
    """An incident from its first message that is kept to its last one, and all that it says."""
    last = bodies[-1]
    lines = incident_lines(last)
    try:
        reasons = [
            f"{shown(str(one['feature']))} {100 * one['share']:.0f} %"
            for one in last.get("reasons", ())[:_REASONS]
        ]
        if reasons:
            lines.append(f"    first reasons: {', '.join(reasons)}")
        if peak := last.get("peak"):
            lines.append(f"    rarest at {_time(peak['time'])}: 1 in {peak['rarity']:,.0f}")
        if hidden := last.get("hidden_by"):
            each = (f"{shown(str(rule))} {count:,}" for rule, count in hidden.items())
            lines.append(f"    hidden by rules: {', '.join(each)}")
        ids = [shown(str(each)) for each in last.get("alert_ids", ())[:_IDS]]
        lines += ["", "first alerts:", *(f"    {each}" for each in ids)] if ids else []
    except _BROKEN:
        lines.append("    the rest of it cannot be read")
    return [*lines, "", "what happened:", *(f"    {change_line(body)}" for body in bodies)]


def _time(iso: Any) -> str:
    """``2018-04-01 00:00:31``, in UTC as everything here."""
    return shown(str(iso)[:19].replace("T", " "))
