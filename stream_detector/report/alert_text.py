"""An alert as a few lines of text, for a terminal and for notebooks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from stream_detector.counterfactuals.wording import ordinary_sentence
from stream_detector.monitors.wording import monitor_sentence
from stream_detector.visible import shown, visible, visible_json

_REASONS = 16  # an alert of ours has five
_SENTENCE = 500


def readable(value: bytes) -> str:
    """An alert's JSON as a few lines of text; whatever others wrote there steers no terminal."""
    try:
        return "\n".join(alert_lines(json.loads(value)))
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError):
        return f"not an alert: {shown(value[:200])}"


def as_it_is(value: bytes) -> str:
    """An alert's JSON on one line; what nobody sees is written as JSON writes it in ASCII."""
    try:
        json.loads(value)
        text = value.decode()
    except (ValueError, RecursionError):
        return json.dumps({"not_an_alert": visible(value[:200].decode("utf-8", "replace"))})
    if any(
        character in text for character in "\n\r\t"
    ):  # between two values, where no escape may be
        text = json.dumps(json.loads(value))
    return visible_json(text)


def alert_lines(alert: Mapping[str, Any]) -> list[str]:
    """An alert as lines: time, severity, score and rarity first, then a line for each reason.

    What a monitor has found is said in a sentence instead.
    """
    score = f"score {alert['score']:.2f} (threshold {alert['threshold']:.2f})"
    level = shown(alert["severity"]).upper()
    head = f"{shown(alert['event_time'])}  {level:<8}  {shown(alert['id'])}  {score}"
    lines = [f"{head}  1 in {alert['rarity']:,.0f}"]
    if "rule" in alert:
        lines.append(f"    {shown(rule_sentence(alert['rule']), _SENTENCE)}")
    if "monitor" in alert:
        return [*lines, f"    {shown(monitor_sentence(alert), _SENTENCE)}"]
    for reason in alert["reasons"][:_REASONS]:
        usual = reason.get("usual")
        beside = f"  usual {usual[0]:g} to {usual[1]:g}" if usual else ""
        lines.append(
            f"    {reason['share']:>4.0%}  {shown(reason['feature'])} = "
            f"{shown(reason['value'])}{beside}"
        )
    if ordinary := alert.get("ordinary"):
        lines.append(f"          {shown(ordinary_sentence(ordinary), _SENTENCE)}")
    return lines


def rule_sentence(rule: Mapping[str, Any]) -> str:
    """What an alert says of a rule, in a sentence."""
    if "expired" in rule:
        held = f"; {rule['held']:,} held back before" if rule["held"] else ""
        return f"the rule {rule['id']} covered it, and has expired at {rule['expired']}{held}"
    why = {
        "label": "a label says that it has hidden a hit",
        "rarer": "this is far rarer than what it was made from",
        "flood": "more came in a day than it may hide",
    }.get(rule["disabled"], rule["disabled"])
    said = f"the rule {rule['id']} has disabled itself: {why}"
    if "alert" not in rule:
        return said
    return f"{said} ({rule['alert']}). It hid {rule['hidden']:,}; {rule['owner']}: {rule['why']}"
