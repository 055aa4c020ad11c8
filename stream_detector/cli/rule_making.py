"""A rule out of alerts and of what is said on the command line."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from stream_detector.alerts import iso_time
from stream_detector.cli.rule_topics import end_of, is_alert
from stream_detector.config import Config
from stream_detector.errors import ConfigurationError
from stream_detector.evaluation.rule_history import AlertReader, Coverage
from stream_detector.rules import Box, OneOf, Rule, Within, check_rule, time_ms_of
from stream_detector.rules.proposal import (
    Names,
    Seen,
    changed,
    monitor_box,
    ranges_of,
    reasons_of,
    values_of,
)
from stream_detector.rules.rule import RAREST
from stream_detector.visible import shown

_LEAST_PER_DAY = 20
_TIMES_THE_BUSIEST = 10
_SHARED = 0.8
"""Where so many of the alerts alike have one value of a field, the box has it too."""


def add_box(parser: argparse.ArgumentParser) -> None:
    """The flags that change the box."""
    parser.add_argument(
        "--feature",
        action="append",
        default=[],
        metavar="NAME=LOW..HIGH",
        help="a range in place of the proposed one; either end may be left out",
    )
    parser.add_argument(
        "--field",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a value in place of the proposed ones; several times for several values",
    )
    parser.add_argument(
        "--any", action="append", default=[], metavar="NAME", help="no condition on this one"
    )


def origins_of(
    given: Sequence[str], alerts: Sequence[Mapping[str, Any]], *, files: bool = True
) -> list[Mapping[str, Any]]:
    """The alerts of ``--from``: ids of alerts on the topic, or with ``files`` files.

    Raises ``ConfigurationError`` where one is neither, or they are of several kinds.
    """
    by_id = {str(body["id"]): body for body in alerts}
    found = []
    for name in given:
        body = by_id.get(name) or _from_file(name, files=files)
        if body.get("kind") == "rule":
            raise ConfigurationError(f"--from {name}: that is the alert of a rule")
        found.append(body)
    monitors = {str(body["monitor"]["name"]) if "monitor" in body else "" for body in found}
    if len(monitors) > 1:
        raise ConfigurationError("--from: a rule is of events, or of one monitor")
    return found


def _from_file(name: str, *, files: bool) -> Mapping[str, Any]:
    path = Path(name)
    if not files or not path.is_file():
        raise ConfigurationError(
            f"--from {shown(name)}: the alert topic does not hold it (any more), and no file has "
            "the name"
        )
    try:
        body = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"--from {name}: {error}") from error
    if not is_alert(body):
        raise ConfigurationError(f"--from {name}: that is no alert")
    found: Mapping[str, Any] = body
    return found


def proposed(
    arguments: argparse.Namespace,
    config: Config,
    reader: AlertReader,
    origins: Sequence[Mapping[str, Any]],
    history: Sequence[Seen],
    now_ms: int,
) -> Rule:
    """The rule as it is proposed, with what was said on the command line.

    Raises ``ConfigurationError`` where it makes no sense, or does not cover what it is made from.
    """
    alerts = [reader.seen(body) for body in origins]
    monitor = alerts[0].monitor
    box = monitor_box(alerts) if monitor else _box(reader.names, alerts, history)
    box = changed(
        box,
        ranges=[_range(text) for text in arguments.feature],
        values=_values(arguments.field),
        drop=arguments.any,
    )
    expires = arguments.expires or "30d"
    made_ms = max(now_ms, *(time_ms_of(str(body["event_time"])) for body in origins))
    rule = Rule(
        id=arguments.id or f"{datetime.now(UTC):%Y%m%d}-{uuid4().hex[:6]}",
        owner=arguments.owner or "nobody yet",
        why=arguments.why or "not said",
        made=iso_time(made_ms),
        expires=end_of(expires, lambda: made_ms, f"--expires {shown(expires)}: a duration (30d)"),
        origins=tuple(str(body["id"]) for body in origins),
        box=box,
        rarest=min(max(float(body["rarity"]) for body in origins), RAREST),
        score=None if monitor else max(float(body["score"]) for body in origins),
        reasons=() if monitor else reasons_of(alerts, reader.names, box),
        monitor=monitor,
    )
    try:
        check_rule(rule)
    except ValueError as error:
        raise ConfigurationError(f"no such rule: {error}") from error
    _check_names(rule, reader, config)
    for alert in alerts:
        if not rule.box.covers(alert.value_of):
            raise ConfigurationError(
                f"the box does not cover {shown(str(alert.body['id']))}, which it is made from: "
                f"{shown(box.text())}"
            )
    return rule


def _box(names: Names, alerts: Sequence[Seen], history: Sequence[Seen]) -> Box:
    """Ranges of what explains the alerts; keys and categories where they repeat."""
    ranges = Box(features=ranges_of(alerts, names))
    wanted = dict.fromkeys(names.keys)
    wanted |= {
        str(one["feature"]): None
        for alert in alerts
        for one in alert.reasons
        if one["feature"] in names.categories
    }
    own = {str(alert.body["id"]) for alert in alerts}
    alike = [
        one
        for one in history
        if not one.monitor
        and str(one.body["id"]) not in own
        and ranges.names
        and ranges.covers(one.value_of)
    ]
    values = values_of(alerts, list(wanted))
    if alike:
        values = tuple(each for each in values if _repeats(each, alike)) or values
    return Box(fields=values, features=ranges.features)


def _repeats(one: OneOf, alike: Sequence[Seen]) -> bool:
    return sum(one.holds(alert.value_of(one.field)) for alert in alike) >= _SHARED * len(alike)


def _range(text: str) -> Within:
    name, sign, ends = text.rpartition("=")
    low, dots, high = ends.partition("..")
    try:
        if not (sign and dots and name):
            raise ValueError("expected NAME=LOW..HIGH")  # noqa: TRY301 - one message
        return Within(name, float(low) if low else None, float(high) if high else None)
    except ValueError as error:
        raise ConfigurationError(f"--feature {shown(text)}: {error}") from error


def _values(texts: Sequence[str]) -> list[OneOf]:
    found: dict[str, list[str]] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not (sign and name):
            raise ConfigurationError(f"--field {shown(text)}: expected NAME=VALUE")
        found.setdefault(name, []).append(value)
    return [OneOf(name, tuple(values)) for name, values in found.items()]


def _check_names(rule: Rule, reader: AlertReader, config: Config) -> None:
    """A condition on what no event has would hold for nothing, for ever and in silence."""
    known = {"key", "deviations"} if rule.monitor else reader.values.names
    if unknown := [name for name in rule.box.names if name not in known]:
        raise ConfigurationError(
            f"{config.name} knows no {', '.join(map(shown, unknown))}; there are "
            f"{', '.join(map(shown, sorted(known)))}"
        )


def per_day(found: Coverage) -> int:
    """How many a rule may hide in a day, by what it covers of history."""
    return max(_LEAST_PER_DAY, _TIMES_THE_BUSIEST * found.busiest)
