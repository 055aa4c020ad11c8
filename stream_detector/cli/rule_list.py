"""``stream-detector rule list``, ``show`` and ``remove``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from stream_detector.cli.common import (
    add_command,
    add_configuration,
    configuration,
    kafka_section,
)
from stream_detector.cli.rule_text import rule_lines
from stream_detector.cli.rule_topics import (
    WrittenAct,
    acts_of,
    alerts_of,
    rules_topic,
    stream_time_ms,
)
from stream_detector.cli.terminal import say, say_json
from stream_detector.connectors.kafka.writing.acts import write_act
from stream_detector.errors import ConfigurationError
from stream_detector.report.alert_text import readable
from stream_detector.rules import Rule, RuleAdd, RuleDisable, RuleRemove
from stream_detector.rules.standing import Standing
from stream_detector.visible import shown


def add_parser(actions: Any) -> None:
    """Add the three."""
    listed = add_command(
        actions,
        "list",
        run,
        "List the rules: how they stand, up to when, and what they cover.",
        "stream-detector rule list config.yaml",
    )
    add_configuration(listed)
    listed.add_argument("--json", action="store_true", help="print them as one JSON array")
    one = add_command(
        actions,
        "show",
        show,
        "Show a rule, and the alerts that say that it has disabled itself.",
        "stream-detector rule show config.yaml 20260301-3f2a1c",
    )
    add_configuration(one)
    one.add_argument("rule", metavar="RULE", help="its id")
    removed = add_command(
        actions,
        "remove",
        remove,
        "Take a rule back: what it covers alerts again.",
        'stream-detector rule remove config.yaml 20260301-3f2a1c --owner Ada --why "moved house"',
    )
    add_configuration(removed)
    removed.add_argument("rule", metavar="RULE", help="its id")
    removed.add_argument("--owner", required=True, metavar="NAME", help="who takes it back")
    removed.add_argument("--why", required=True, metavar="TEXT", help="what for")


def run(arguments: argparse.Namespace) -> int:
    """Print the rules."""
    config = configuration(arguments)
    kafka = kafka_section(config, arguments.config)
    acts = acts_of(kafka, rules_topic(kafka, arguments.config))
    alerts = alerts_of(config, kafka)
    now_ms = stream_time_ms(config, kafka, alerts)
    states = [(rule, state_of(rule, acts, alerts, now_ms)) for rule in rules_of(acts).values()]
    if arguments.json:
        say_json([{**msgspec.to_builtins(rule), "state": state} for rule, state in states])
        return 0
    if not states:
        say("no rules")
    for rule, state in states:
        say(
            f"{rule.id}  {state:<10}  until {rule.expires}  {shown(rule.owner)}: {shown(rule.why)}"
            f"\n    {shown(rule.box.text())}"
        )
    return 0


def show(arguments: argparse.Namespace) -> int:
    """Print one rule."""
    config = configuration(arguments)
    kafka = kafka_section(config, arguments.config)
    topic = rules_topic(kafka, arguments.config)
    acts = acts_of(kafka, topic)
    rule = rules_of(acts).get(arguments.rule)
    if rule is None:
        raise ConfigurationError(f"{topic} has no rule {shown(arguments.rule)}")
    alerts = alerts_of(config, kafka)
    now_ms = stream_time_ms(config, kafka, alerts)
    say("\n".join(rule_lines(rule)))
    say(f"  state     {state_of(rule, acts, alerts, now_ms)}")
    for body in _disabling(rule, alerts):
        say(readable(msgspec.json.encode(body)))
    return 0


def remove(arguments: argparse.Namespace) -> int:
    """Write that it is taken back."""
    config = configuration(arguments)
    kafka = kafka_section(config, arguments.config)
    topic = rules_topic(kafka, arguments.config)
    if arguments.rule not in rules_of(acts_of(kafka, topic)):
        raise ConfigurationError(f"{topic} has no rule {shown(arguments.rule)}")
    offset = write_act(kafka, RuleRemove(1, arguments.rule, arguments.owner, arguments.why))
    say(f"rule {shown(arguments.rule)} is taken back ({topic}, at {offset})")
    return 0


def rules_of(acts: Sequence[WrittenAct]) -> dict[str, Rule]:
    """The rules that were added and not taken back, the oldest first."""
    found: dict[str, Rule] = {}
    for one in acts:
        match one.act:
            case RuleAdd(rule=rule):
                found.setdefault(rule.id, rule)
            case RuleRemove(rule=name):
                found.pop(name, None)
    return found


def state_of(
    rule: Rule, acts: Sequence[WrittenAct], alerts: Sequence[Mapping[str, Any]], now_ms: int
) -> str:
    """Return how a rule stands, as far as the topics say."""
    disabled = any(isinstance(a.act, RuleDisable) and a.act.rule == rule.id for a in acts)
    if disabled or _disabling(rule, alerts):
        return "disabled"
    return Standing(rule).phase(now_ms)


def _disabling(rule: Rule, alerts: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Alerts that say that it has disabled itself, in one shard or several."""
    return [body for body in alerts if body.get("kind") == "rule" and body["rule"]["id"] == rule.id]
