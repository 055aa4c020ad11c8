"""``stream-detector simulate``: labelled traffic to Kafka, a file or standard output."""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stream_detector.cli.terminal import say
from stream_detector.cli.traffic_targets import open_target
from stream_detector.errors import ConfigurationError
from stream_detector.simulation import network, transactions
from stream_detector.simulation.rate_incidents import RateIncidents
from stream_detector.simulation.traffic import DAY_MS, Generated, Traffic
from stream_detector.units import parse_duration

_SLICES_A_SECOND = 20

_EXAMPLES = """examples:
  stream-detector simulate transactions --count 100000 --output events.jsonl.gz
  stream-detector simulate network --rate 200 --kafka localhost:9092 --topic connections
  stream-detector simulate transactions --count 5000 --format csv | head
  stream-detector simulate transactions --kafka localhost:9092 --topic events --format avro \
    --registry http://localhost:8081
"""


def add_parser(subparsers: Any) -> None:
    """Add the command to what ``ArgumentParser.add_subparsers`` returned."""
    parser = subparsers.add_parser(
        "simulate",
        help="write labelled events with planted attacks to Kafka, a file or standard output",
        description="Generates events with planted attacks: card transactions (a batch a day, "
        "beginning 2018-04-01) or network connections with the fields of KDD Cup 1999 "
        "(beginning 2024-01-01). The same seed gives the same events.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("traffic", choices=("transactions", "network"))
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--count", type=_positive, metavar="N", help="good events (default 10000)")
    length.add_argument("--duration", type=_duration, help="with --rate: how long, as 30s or 2h")
    length.add_argument("--endless", action="store_true", help="until interrupted")
    parser.add_argument("--rate", type=float, help="events per second (default: at full speed)")
    parser.add_argument("--seed", type=int, default=0, help="of all that is random (default 0)")
    parser.add_argument("--start", type=_date, help="first day, as 2024-06-30")
    parser.add_argument("--attack-share", type=float, help="share of planted events")
    parser.add_argument(
        "--rate-incidents",
        type=_positive,
        metavar="N",
        help="in the later part of the stream, N times a service (network) or everything "
        "(transactions) falls silent, halves or comes twice; --plan says when",
    )
    parser.add_argument("--customers", type=_positive, help="transactions: 2 a day each (5000)")
    to = parser.add_argument_group("where to")
    to.add_argument("--output", metavar="FILE", help="a file (.gz: gzipped) or - (the default)")
    to.add_argument("--format", choices=("jsonl", "csv", "avro", "protobuf"), default="jsonl")
    to.add_argument(
        "--registry",
        metavar="URL",
        help="with --format avro or protobuf: the schema registry (Confluent's API) that the "
        "schema goes to, as TOPIC-value; without it events stand alone, Avro as single objects",
    )
    to.add_argument("--schema", metavar="FILE", help="write the schema of avro or protobuf here")
    to.add_argument("--kafka", metavar="HOST:PORT", help="brokers to ask first")
    to.add_argument("--topic", help="topic to write to; create it first, with its partitions")
    to.add_argument(
        "--partitions-key",
        metavar="FIELD",
        help="field that records are keyed by, or none (default CUSTOMER_ID or src_host)",
    )
    to.add_argument(
        "--record-time",
        choices=("now", "event"),
        default="now",
        help="timestamp of records in Kafka; with old event times the broker may soon delete them",
    )
    to.add_argument("--plan", metavar="FILE", help="write what was planted here, as JSON Lines")
    parser.add_argument(
        "--bad-share", type=float, default=0.0, help="share of broken records put in between"
    )
    parser.set_defaults(run=run)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _duration(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _date(text: str) -> int:
    try:
        return int(datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp() * 1000)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected a date as 2024-06-30, not {text!r}") from error


def run(arguments: argparse.Namespace) -> int:
    """Write the events. Raises ``ConfigurationError`` or ``ConnectorError``."""
    _check(arguments)
    traffic = with_incidents(open_traffic(arguments), arguments)
    written = 0
    with ExitStack() as stack:
        target = open_target(arguments, stack)
        try:
            for batch in paced(traffic, arguments.rate, time.monotonic, time.sleep):
                target.write(batch)
                written += len(batch)
        except KeyboardInterrupt:
            say("interrupted", file=sys.stderr)
    if arguments.plan:
        lines = [json.dumps(asdict(attack)) + "\n" for attack in traffic.attacks]
        Path(arguments.plan).write_text("".join(lines), encoding="utf-8")
    kinds = [attack.kind for attack in traffic.attacks]
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
    say(f"{written:,} events with {len(kinds)} planted attacks: {counts}", file=sys.stderr)
    return 0


def _check(arguments: argparse.Namespace) -> None:
    binary = arguments.format in ("avro", "protobuf")
    mistakes = [
        message
        for wrong, message in (
            (
                (arguments.kafka is None) != (arguments.topic is None),
                "give both --kafka and --topic",
            ),
            (arguments.kafka and arguments.output, "give one of --kafka and --output"),
            (arguments.kafka and arguments.format == "csv", "no CSV to Kafka"),
            (binary and not arguments.kafka, f"--format {arguments.format} needs --kafka"),
            (
                not binary and (arguments.registry or arguments.schema),
                "--registry and --schema need --format avro or protobuf",
            ),
            (not 0 <= arguments.bad_share < 1, "--bad-share lies between 0 and 1"),
            (arguments.bad_share and arguments.format != "jsonl", "--bad-share needs JSON Lines"),
            (
                arguments.rate is not None and not 0 < arguments.rate < math.inf,
                "--rate must be positive",
            ),
            (arguments.duration is not None and arguments.rate is None, "--duration needs --rate"),
            (
                arguments.rate_incidents is not None and arguments.endless,
                "--rate-incidents needs an end: give --count or --duration",
            ),
            (
                arguments.attack_share is not None and not 0 <= arguments.attack_share < 1,
                "--attack-share lies between 0 and 1",
            ),
            (
                arguments.customers is not None and arguments.traffic != "transactions",
                "--customers is for transactions",
            ),
            (
                arguments.partitions_key not in (None, "none", *_fields(arguments.traffic)),
                f"--partitions-key: no field {arguments.partitions_key!r}",
            ),
        )
        if wrong
    ]
    if mistakes:
        raise ConfigurationError("; ".join(mistakes))


def _fields(traffic: str) -> tuple[str, ...]:
    return transactions.FIELDS if traffic == "transactions" else network.FIELDS


def open_traffic(arguments: argparse.Namespace) -> Traffic:
    """The generator that the arguments ask for."""
    count: int | None = arguments.count or 10_000
    if arguments.endless:
        count = None
    elif arguments.duration is not None:
        count = max(1, int(arguments.duration * arguments.rate))
    options: dict[str, Any] = {"seed": arguments.seed}
    if arguments.start is not None:
        options["start_ms"] = arguments.start
    if arguments.attack_share is not None:
        options["attack_share"] = arguments.attack_share
    if arguments.traffic == "network":
        return network.generate(count, **options)
    if arguments.customers is not None:
        options |= {"customers": arguments.customers, "terminals": 2 * arguments.customers}
    return transactions.generate(count, **options)


def with_incidents(traffic: Traffic, arguments: argparse.Namespace) -> Traffic | RateIncidents:
    """The same traffic with the incidents of rate that the arguments ask for."""
    if arguments.rate_incidents is None:
        return traffic
    count = arguments.count or 10_000
    if arguments.duration is not None:
        count = max(1, int(arguments.duration * arguments.rate))
    options: dict[str, Any] = {"seed": arguments.seed}
    if arguments.traffic == "network":
        span_ms = round(1000 * count / network.CONNECTIONS_PER_SECOND)
        return RateIncidents(traffic, arguments.rate_incidents, span_ms, "service", **options)
    a_day = 2.0 * (arguments.customers or transactions.CUSTOMERS)
    options["numbered"] = "TRANSACTION_ID"
    span_ms = round(DAY_MS * count / a_day)
    return RateIncidents(traffic, arguments.rate_incidents, span_ms, None, **options)


def paced(
    traffic: Iterable[Generated],
    rate: float | None,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> Iterator[Generated]:
    """The same events in small batches, each when its time has come; at full speed without rate.

    After a pause (a broker that was slow) it catches up.
    """
    if rate is None:
        yield from traffic
        return
    size = max(1, round(rate / _SLICES_A_SECOND))
    begin, given = clock(), 0
    for batch in traffic:
        for start in range(0, len(batch), size):
            wait = begin + given / rate - clock()
            if wait > 0:
                sleep(wait)
            part = batch.take(slice(start, start + size))
            given += len(part)
            yield part
