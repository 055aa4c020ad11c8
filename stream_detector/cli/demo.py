"""``stream-detector demo``: the whole daemon on generated traffic, without a broker."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any
from zlib import crc32

from stream_detector.alerts import SEVERITIES
from stream_detector.cli.common import Stop, add_command
from stream_detector.cli.live import LiveView
from stream_detector.cli.status import running_of
from stream_detector.cli.terminal import say
from stream_detector.config import Config
from stream_detector.config.loading.load import parse
from stream_detector.config.models.config import KafkaConfig
from stream_detector.connectors.embedded import CollectingOutput, EmbeddedSource
from stream_detector.daemon.loop import Daemon
from stream_detector.daemon.shard_assignment import ShardFactories
from stream_detector.evaluation.incident_tally import IncidentTally
from stream_detector.events import PlainRecord, Record
from stream_detector.rejections import Remedies
from stream_detector.report.alert_text import readable
from stream_detector.report.incident_text import incidents_lines
from stream_detector.simulation import transactions
from stream_detector.simulation.bad import spoil
from stream_detector.simulation.rate_incidents import RateIncidents
from stream_detector.simulation.traffic import DAY_MS, NO_ATTACK
from stream_detector.snapshots import DirectoryStore
from stream_detector.telemetry.logs import configure_logging
from stream_detector.telemetry.metrics import Metrics
from stream_detector.telemetry.server import HealthState, MetricsServer
from stream_detector.telemetry.status.pages import StatusPages
from stream_detector.telemetry.status.recent import Recent

_PARTITIONS = 4
_POLL = 2000
_RATE_INCIDENTS = 3


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = add_command(
        subparsers,
        "demo",
        run,
        "Run the whole pipeline on generated card transactions, without a broker.",
        "stream-detector demo --events 200000",
    )
    parser.add_argument(
        "--events",
        type=int,
        default=400_000,
        help="about how many: planted incidents take and add some (default 400,000)",
    )
    parser.add_argument("--seed", type=int, default=1, help="of the generated traffic")
    parser.add_argument(
        "--seconds", type=float, default=50.0, help="end after this time at the latest (50)"
    )
    parser.add_argument("--port", type=int, default=0, help="of the metrics page (default: free)")


@dataclass(slots=True)
class Feed:
    """The generated traffic as polls of a source, and which attack each record belongs to."""

    traffic: RateIncidents
    offsets: list[int] = field(default_factory=lambda: [0] * _PARTITIONS)
    attack_of: dict[tuple[int, int], int] = field(default_factory=dict)
    planted_at: dict[int, int] = field(default_factory=dict)
    events: int = 0

    def polls(self, deadline: float) -> Iterator[dict[int, list[Record]]]:
        """Records by partition, ``_POLL`` events at a time, until the time is up."""
        for generated in self.traffic:
            for start in range(0, len(generated), _POLL):
                if time.monotonic() > deadline:
                    return
                part = generated.take(slice(start, start + _POLL))
                yield self._poll(part)

    def _poll(self, part: Any) -> dict[int, list[Record]]:
        polled: dict[int, list[Record]] = {}
        spoilt = spoil(part.json_lines(), every=1000, offset=self.events)
        for row, (made, attack) in enumerate(zip(spoilt, part.attack.tolist(), strict=True)):
            partition = crc32(part.key[row]) % _PARTITIONS
            offset = self.offsets[partition]
            self.offsets[partition] += 1
            stamp = int(part.time_ms[row])
            key = None if made.keyless else part.key[row]
            headers = [(name.decode("utf-8", "surrogateescape"), v) for name, v in made.headers]
            record = PlainRecord(offset, stamp, key, made.value, headers)
            polled.setdefault(partition, []).append(record)
            if attack != NO_ATTACK:
                self.attack_of[partition, offset] = attack
                self.planted_at.setdefault(attack, self.events + row)
        self.events += len(part)
        return polled


def run(arguments: argparse.Namespace) -> int:
    """Run the demonstration and print its summary."""
    text = resources.files("stream_detector.cli").joinpath("demo.yaml").read_text("utf-8")
    config = parse(text, "demo.yaml", {}).config
    configure_logging("text", "warning")
    span_ms = round(DAY_MS * arguments.events / (2 * transactions.CUSTOMERS))
    generated = transactions.generate(count=arguments.events, seed=arguments.seed)
    feed = Feed(
        RateIncidents(generated, _RATE_INCIDENTS, span_ms, None, seed=1, numbered="TRANSACTION_ID")
    )
    metrics, health = Metrics(severities=SEVERITIES), HealthState(broker_timeout_seconds=None)
    recent = Recent(remedies=Remedies(config))
    pages = StatusPages(metrics, health, recent, running_of(config, None))
    server = MetricsServer(metrics, health, "127.0.0.1", arguments.port, pages)
    server.start()
    metrics.set_config(config.name, "demo", config.detector.kind, "embedded")
    metrics.watch_ready(lambda: health.ready()[0])
    address = f"http://127.0.0.1:{server.port}"
    say(f"status page at {address}/ and metrics at {address}/metrics while this runs\n")
    started = time.monotonic()
    stop = Stop(10.0)
    source = EmbeddedSource(_PARTITIONS, feed.polls(started + arguments.seconds))
    output = CollectingOutput(source)
    try:
        view = LiveView("demo", metrics, health, recent, keep=False)
        with tempfile.TemporaryDirectory() as state, stop.listening(), view:
            kafka = KafkaConfig(
                bootstrap_servers="embedded",
                topics=["events"],
                group="demo",
                alerts="alerts",
                incidents="incidents",
                dead_letters="dead-letters",
            )
            Daemon(
                config,
                kafka,
                source,
                metrics,
                health,
                ShardFactories(
                    store=lambda number: DirectoryStore(Path(state) / str(number), 3),
                    output=lambda _shard: output,
                ),
                stopping=stop,
                recent=recent,
            ).run()
    finally:
        server.stop()
    say(_summary(config, feed, output, time.monotonic() - started))
    return 0


def _summary(config: Config, feed: Feed, output: CollectingOutput, seconds: float) -> str:
    written = output.messages.get("alerts", [])
    found_by_monitor = [alert for alert in written if _body(alert.value).get("monitor")]
    alerts = [alert for alert in written if not _body(alert.value).get("monitor")]
    hits = [feed.attack_of.get((alert.source.partition, alert.offset)) for alert in alerts]
    found = {attack for attack in hits if attack is not None}
    burn_in = config.threshold.burn_in
    planted = {attack for attack, first in feed.planted_at.items() if first >= burn_in}
    right = sum(attack is not None for attack in hits)
    share = f" ({right / len(alerts):.0%} of them on planted fraud)" if alerts else ""
    lines = [
        "",
        f"events              {feed.events:>10,}",
        f"events a second     {feed.events / seconds:>10,.0f}",
        f"bad records         {len(output.messages.get('dead-letters', [])):>10,}  dead-lettered",
        f"alerts              {len(alerts):>10,}{share}",
        f"planted attacks     {len(planted):>10,}  after the first {burn_in:,} events",
        f"found of them       {len(found & planted):>10,}",
        f"alerts of monitors  {len(found_by_monitor):>10,}  {_RATE_INCIDENTS} incidents planted",
    ]
    if alerts:
        best = max(alerts[-2000:], key=lambda alert: _rarity(alert.value))
        lines += ["", "the rarest of the last alerts:", readable(best.value or b"")]
    if changed := output.messages.get("incidents", []):
        tally = IncidentTally(on=True)
        tally.add_all(_body(message.value) for message in changed)
        lines += ["", *incidents_lines(tally.figures(), 1)]
    if found_by_monitor:
        best = max(found_by_monitor, key=lambda alert: _body(alert.value)["score"])
        lines += ["", "the strongest alert of a monitor:", readable(best.value or b"")]
    return "\n".join(lines)


def _rarity(value: bytes | None) -> float:
    return float(_body(value).get("rarity", 0.0))


def _body(value: bytes | None) -> dict[str, Any]:
    import msgspec  # noqa: PLC0415 - only for the lines of the summary

    body: dict[str, Any] = msgspec.json.decode(value or b"{}")
    return body


if __name__ == "__main__":
    sys.exit(run(argparse.Namespace(events=400_000, seed=1, seconds=50.0, port=0)))
