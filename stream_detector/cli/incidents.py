"""``stream-detector incidents``: what is going on, since when, and what has become of it."""

from __future__ import annotations

import argparse
import time
from collections import deque
from collections.abc import Mapping
from contextlib import closing
from typing import Any

from stream_detector.alerts import SEVERITIES
from stream_detector.cli import incident_acts
from stream_detector.cli.common import (
    Stop,
    add_command,
    add_configuration,
    configuration,
    kafka_section,
)
from stream_detector.cli.terminal import say, warn
from stream_detector.connectors.kafka.reading.incident_log import IncidentLog
from stream_detector.errors import ConfigurationError
from stream_detector.report.alert_text import as_it_is
from stream_detector.report.incident_text import change_line, incident_lines, timeline
from stream_detector.visible import shown

_LOOK_SECONDS = 0.5
_MOST_KEPT = 10_000
_MOST_MESSAGES = 1000

_Message = tuple[bytes, Mapping[str, Any]]


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = add_command(
        subparsers,
        "incidents",
        run,
        "List the open incidents: what they are about, since when, what explains them.",
        "stream-detector incidents config/transactions.yaml --follow",
    )
    add_configuration(parser)
    parser.add_argument(
        "action",
        nargs="?",
        choices=("list", "show", *incident_acts.ACTIONS),
        default="list",
        help="default: list",
    )
    parser.add_argument("id", nargs="?", metavar="ID", help="of the incident")
    parser.add_argument("--all", action="store_true", help="list those that are over as well")
    parser.add_argument("--follow", action="store_true", help="go on with every change as it comes")
    parser.add_argument("--json", action="store_true", help="print the messages as they are")
    parser.add_argument("--count", type=int, metavar="N", help="stop after N changes that followed")
    incident_acts.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """List, show or follow. Returns 1 where the incident to show is not there."""
    config = configuration(arguments)
    kafka = kafka_section(config, arguments.config)
    if kafka.incidents is None:
        raise ConfigurationError("there are no incidents to read: kafka.incidents names no topic")
    if (arguments.id is None) != (arguments.action == "list"):
        raise ConfigurationError(
            f"`{arguments.action}` takes "
            + ("no id" if arguments.action == "list" else "the id of an incident")
        )
    stop = Stop(10.0)
    with stop.listening(), closing(IncidentLog(kafka, kafka.incidents)) as log:
        if arguments.action in incident_acts.ACTIONS:
            last = deque((body for _, body in log.read() if body["id"] == arguments.id), maxlen=1)
            return incident_acts.write(arguments, config, kafka, last[0] if last else None)
        code = (_show if arguments.action == "show" else _list)(log, arguments)
        if log.foreign:
            warn(f"{log.foreign} records of the topic are no incidents, and were passed over")
        if arguments.follow and code == 0:
            _follow(log, arguments, stop)
    return code


def _list(log: IncidentLog, arguments: argparse.Namespace) -> int:
    found: dict[str, _Message] = {}
    passed = 0
    for value, body in log.read():
        found.pop(body["id"], None)
        if arguments.all or body["state"] != "resolved":
            found[body["id"]] = (value, body)
        if len(found) > _MOST_KEPT:
            del found[next(iter(found))]
            passed += 1
    for value, body in sorted(found.values(), key=lambda one: _order(one[1])):
        say(as_it_is(value) if arguments.json else "\n".join(incident_lines(body)))
    if passed:
        warn(f"only the {_MOST_KEPT:,} that have changed last are listed, {passed:,} more are not")
    if not found and not arguments.json:
        say("no incident is open" if not arguments.all else "there has been no incident")
    return 0


def _order(body: Mapping[str, Any]) -> tuple[int, str]:
    """The most severe ones last, where a terminal ends; of equal ones the newest last."""
    severity = body["severity"]
    rank = SEVERITIES.index(severity) if severity in SEVERITIES else -1
    return rank, body["last_seen"]


def _show(log: IncidentLog, arguments: argparse.Namespace) -> int:
    messages: deque[_Message] = deque(maxlen=_MOST_MESSAGES)
    messages.extend(one for one in log.read() if one[1]["id"] == arguments.id)
    if not messages:
        warn(f"there is no incident {shown(arguments.id)} on the topic")
        return 1
    if arguments.json:
        for value, _ in messages:
            say(as_it_is(value))
    else:
        say("\n".join(timeline([body for _, body in messages])))
    return 0


def _follow(log: IncidentLog, arguments: argparse.Namespace, stop: Stop) -> None:
    printed = 0
    while not stop():
        for value, body in log.read():
            if arguments.id is not None and body["id"] != arguments.id:
                continue
            say(as_it_is(value) if arguments.json else change_line(body))
            printed += 1
            if arguments.count is not None and printed >= arguments.count:
                return
        time.sleep(_LOOK_SECONDS)
