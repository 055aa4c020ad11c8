"""``incidents acknowledge`` and ``incidents snooze``: who sees to an incident, and until when."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from stream_detector.alerts import iso_time
from stream_detector.cli.rule_topics import alerts_of, rules_topic, stream_time_ms
from stream_detector.cli.terminal import say
from stream_detector.config import Config
from stream_detector.config.models.config import KafkaConfig
from stream_detector.connectors.kafka.writing.acts import write_act
from stream_detector.errors import ConfigurationError
from stream_detector.rules import Acknowledge, IncidentAct, Snooze, time_ms_of
from stream_detector.units import parse_duration
from stream_detector.visible import shown

ACTIONS = ("acknowledge", "snooze")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the two take besides the id."""
    parser.add_argument("--owner", metavar="NAME", help="acknowledge, snooze: who answers for it")
    parser.add_argument("--why", metavar="TEXT", help="acknowledge, snooze: what is known of it")
    end = parser.add_mutually_exclusive_group()
    end.add_argument(
        "--for", dest="duration", metavar="DURATION", help="how long, of the stream's time: 4h"
    )
    end.add_argument("--until", metavar="TIME", help="up to when, event time with its zone")


def write(
    arguments: argparse.Namespace,
    config: Config,
    kafka: KafkaConfig,
    found: Mapping[str, Any] | None,
) -> int:
    """Write the act. ``found``: the incident as it was told last; None where there is none.

    Raises ``ConfigurationError`` where none of the name is open, or something is missing.
    """
    topic = rules_topic(kafka, arguments.config)
    identity, snoozes = arguments.id, arguments.action == "snooze"
    if found is None or found["state"] == "resolved":
        raise ConfigurationError(f"no incident {shown(identity)} is open")
    if arguments.owner is None or arguments.why is None:
        raise ConfigurationError(f"`{arguments.action}` needs --owner and --why")
    until = _end(arguments, config, kafka)
    act = act_of(identity, arguments.owner, arguments.why, until, snoozes=snoozes)
    offset = write_act(kafka, act)
    what = "snoozed" if snoozes else "acknowledged"
    end = f" until {until}" if until else ""
    say(f"{shown(identity)} is {what}{end} ({topic}, at {offset})")
    return 0


def act_of(incident: str, owner: str, why: str, until: str | None, *, snoozes: bool) -> IncidentAct:
    """The act of an owner. Raises ``ConfigurationError`` for a snooze without an end."""
    if not snoozes:
        return Acknowledge(1, incident, owner, why, until)
    if until is None:
        raise ConfigurationError("`snooze` needs an end: --for 4h, or --until")
    return Snooze(1, incident, owner, why, until)


def _end(arguments: argparse.Namespace, config: Config, kafka: KafkaConfig) -> str | None:
    """Event time; None where none was given. Raises ``ConfigurationError``."""
    try:
        if arguments.until is not None:
            return iso_time(time_ms_of(arguments.until))
        if arguments.duration is None:
            return None
        seconds = parse_duration(arguments.duration)
    except ValueError as error:
        raise ConfigurationError(f"--for, --until: {error}") from error
    now_ms = stream_time_ms(config, kafka, alerts_of(config, kafka))
    return iso_time(now_ms + round(1000 * seconds))
