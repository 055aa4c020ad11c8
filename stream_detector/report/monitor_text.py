"""What monitors have found in a run, as lines for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stream_detector.report.text import plural
from stream_detector.visible import shown

_KEYS = 5
_SENTENCE = 500


def monitor_lines(monitor: Mapping[str, Any]) -> list[str]:
    """A monitor's figures, then its keys with the strongest alerts.

    Args:
        monitor: one of ``monitors`` among the figures of a run.
    """
    by = "" if monitor["field"] is None else f" by {shown(monitor['field'])}"
    name = f"monitor {monitor['name']} ({monitor['kind']}{by})"
    lines = [f"{name}: {plural(monitor['alerts'], 'alert')}{_about(monitor)}"]
    for each in monitor["top_keys"][:_KEYS]:
        lines.append(f"  {each['severity'].upper():<8}  {shown(each['found'], _SENTENCE)}")
        if each["alerts"] > 1:
            lines.append(f"{'':<12}the strongest of its {each['alerts']:,} alerts")
    if monitor["keys_with_alerts"] > _KEYS:
        lines.append(f"  and {monitor['keys_with_alerts'] - _KEYS:,} more keys")
    return lines


def _about(monitor: Mapping[str, Any]) -> str:
    """How many keys there were, and what could not be counted."""
    if "keys" not in monitor:
        return ""
    said = f", {plural(monitor['keys'], 'key')}"
    if monitor["keys_judged"] < monitor["keys"]:
        said += f" ({monitor['keys_judged']:,} of them known well enough to be judged)"
    if monitor["keys_evicted"]:
        said += f", {monitor['keys_evicted']:,} forgotten for want of room: raise max_keys"
    if monitor["events_without_key"]:
        left_out = f"{monitor['events_without_key']:,} events without a key or what is judged"
        said += f", {left_out} were not counted"
    return said
