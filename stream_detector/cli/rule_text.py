"""Rules, and what they cover, as people read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stream_detector.evaluation.rule_history import Coverage, Hiding
from stream_detector.rules import Rule
from stream_detector.visible import shown

_POSITIVES = 5


def rule_lines(rule: Rule) -> list[str]:
    """The rule, line by line."""
    what = f"findings of the monitor {rule.monitor}" if rule.monitor else "events"
    lines = [
        f"rule {rule.id}: {shown(rule.why)}",
        f"  owner     {shown(rule.owner)}",
        f"  covers    {what} where {shown(rule.box.text())}",
    ]
    if rule.reasons:
        reasons = ", ".join(map(shown, rule.reasons))
        lines.append(f"            and that are strange for {reasons}")
    lines += [
        f"  from      {', '.join(map(shown, rule.origins))} (1 in {rule.rarest:,.0f})",
        f"  holds     {rule.made} to {rule.expires} (event time)",
    ]
    if rule.most_per_day:
        lines.append(f"  at most   {rule.most_per_day:,} a day; more disables it")
    return lines


def coverage_lines(found: Coverage) -> list[str]:
    """What a rule covers of the alerts that were written."""
    covered = found.covered.total()
    lines = [f"of the last {found.alerts:,} alerts it covers {covered:,}"]
    if covered:
        days = len(found.covered)
        lines[0] += f", on {days:,} day{'s' if days > 1 else ''}, {found.busiest:,} on the busiest"
        lines.append(
            f"  labels: {len(found.positive):,} hits, {found.negative:,} false alarms, "
            f"{covered - len(found.positive) - found.negative:,} unknown"
        )
        if found.rarer:
            lines.append(f"  {found.rarer:,} of them are so rare that they would have disabled it")
        lines += [f"  {_example(body)}" for body in found.examples]
    if found.unclear:
        lines.append(
            f"  of {found.unclear:,} alerts it cannot be said: they do not hold their event"
        )
    return lines


def _example(body: Mapping[str, Any]) -> str:
    reasons: Sequence[Mapping[str, Any]] = body["reasons"]
    head = f"{shown(str(body['event_time']))}  {shown(str(body['id']))}  1 in {body['rarity']:,.0f}"
    if not reasons:
        return head
    return f"{head}, {shown(str(reasons[0]['feature']))} {shown(str(reasons[0]['value']))}"


def hiding_lines(found: Hiding, name: str) -> list[str]:
    """What a rule would have hidden of a file."""
    hidden = found.hidden.total()
    first = f"of {found.events:,} events in {shown(name)}, {found.raised:,} above the threshold"
    lines = [f"{first}, it hides {hidden:,}"]
    if hidden:
        lines[0] += f" ({found.busiest:,} on the busiest day)"
        unknown = hidden - len(found.positive) - found.negative
        lines.append(
            f"  labels: {len(found.positive):,} hits, {found.negative:,} normal, "
            f"{unknown:,} unknown"
        )
        if found.rarer:
            lines.append(f"  {found.rarer:,} of them are so rare that they would have disabled it")
    return lines


def refusal(positives: Sequence[str]) -> str:
    """Why a rule is refused that covers hits."""
    listed = ", ".join(map(shown, positives[:_POSITIVES]))
    more = len(positives) - _POSITIVES
    others = f" and {more:,} more" if more > 0 else ""
    return (
        f"it covers {len(positives):,} that a label calls a hit: {listed}{others}. Make the box "
        "smaller (--feature NAME=LOW..HIGH, --field NAME=VALUE)"
    )
