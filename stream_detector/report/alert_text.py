"""An alert as a few lines of text, for a terminal and for notebooks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def readable(value: bytes) -> str:
    """An alert's JSON as a few lines of text; control characters of its event are escaped."""
    try:
        return "\n".join(alert_lines(json.loads(value)))
    except (ValueError, KeyError, TypeError, IndexError):
        return f"not an alert: {value[:200]!r}"


def alert_lines(alert: Mapping[str, Any]) -> list[str]:
    """An alert as lines: time, severity, score and rarity first, then a line for each reason."""
    score = f"score {alert['score']:.2f} (threshold {alert['threshold']:.2f})"
    level = alert["severity"].upper()
    head = f"{alert['event_time']}  {level:<8}  {plain(alert['id'])}  {score}"
    lines = [f"{head}  1 in {alert['rarity']:,.0f}"]
    for reason in alert["reasons"]:
        usual = reason.get("usual")
        beside = f"  usual {usual[0]:g} to {usual[1]:g}" if usual else ""
        lines.append(
            f"    {reason['share']:>4.0%}  {plain(reason['feature'])} = "
            f"{plain(reason['value'])}{beside}"
        )
    return lines


def plain(value: Any) -> str:
    """Text that cannot move the cursor or colour the terminal."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in str(value))
