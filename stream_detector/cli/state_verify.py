"""``stream-detector state verify``: compute again what was done, and compare it with the output."""

from __future__ import annotations

import argparse
from contextlib import closing
from dataclasses import asdict
from functools import partial
from typing import Any

from stream_detector.cli.common import (
    add_command,
    add_configuration,
    configuration,
    kafka_section,
)
from stream_detector.cli.progress import progress_bar
from stream_detector.cli.state_store import add_shard, shards
from stream_detector.cli.terminal import say, say_json
from stream_detector.commits.stores import snapshot_stores
from stream_detector.connectors.kafka.reading.log import KafkaJournal, KafkaLog
from stream_detector.connectors.registry.local import local_schemas
from stream_detector.connectors.registry.source import RegistrySchemas
from stream_detector.daemon.output_comparison import Findings
from stream_detector.daemon.verification import verify
from stream_detector.errors import ConfigurationError

_DESCRIPTION = """\
Compute again what was done, from the input topics, the journal and, where these do not reach back
to the first event, the oldest snapshot that they do reach; compare it with the alerts and dead
letters on their topics, byte for byte. Changes nothing, and may run beside the daemon.

Exit code 0 where everything is as it was, 1 where a message is lost, doubled or differs, where the
journal has a gap or a fingerprint comes out differently."""


def add_parser(actions: Any) -> None:
    """Add ``verify``."""
    parser = add_command(
        actions,
        "verify",
        run,
        "Compute again what was done, and compare it with the output topics.",
        "stream-detector state verify config/transactions.yaml",
    )
    parser.description = _DESCRIPTION
    add_configuration(parser)
    add_shard(parser, "only this shard")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Verify each shard meant. Returns 1 where something is not as it was."""
    config = configuration(arguments)
    kafka = kafka_section(config, arguments.config)
    if kafka.delivery != "exactly_once":
        raise ConfigurationError("state verify needs kafka.delivery: exactly_once and its journal")
    stores = snapshot_stores(config, kafka, make=False)
    schemas = RegistrySchemas(None, local_schemas(config))
    found: list[Findings] = []
    for number in shards(config, arguments.shard):
        with (
            closing(KafkaJournal(kafka)) as journal,
            progress_bar(f"shard {number}", lambda: None) as update,
        ):
            log = partial(KafkaLog, kafka, of_input=True)
            findings = verify(config, kafka, number, stores(number), journal, log, update, schemas)
        found.append(findings)
        if not arguments.json:
            say(_text(number, findings))
    if arguments.json:
        plain = [asdict(findings) for findings in found]
        say_json(plain[0] if arguments.shard is not None else plain)
    return 0 if all(findings.sound for findings in found) else 1


def _text(number: int, findings: Findings) -> str:
    verdict = "as it was" if findings.sound else "NOT as it was"
    counts = (
        f"lost {findings.lost}, doubled {findings.doubled}, differing {findings.differing}, "
        f"gaps {findings.gaps}, other fingerprints {findings.fingerprint_mismatches}"
    )
    letters, incidents = findings.dead_letters_expected, ""
    if findings.incidents_expected:
        incidents = f", {findings.incidents_expected:,} messages of incidents"
    lines = [
        f"shard {number}: {verdict}",
        f"  {findings.records:,} journal records, {findings.events:,} events computed again",
        f"  {findings.alerts_expected:,} alerts{incidents} and {letters:,} dead letters came out",
        f"  {counts}",
        f"  fingerprint {findings.fingerprint}",
    ]
    if findings.foreign:
        lines.append(f"  {findings.foreign:,} records of others in the journal, passed over")
    if findings.compacted:
        lines.append(
            f"  {findings.compacted:,} messages of incidents are gone, later ones of the same are "
            "there: the topic is compacted"
        )
    if findings.reworded:
        lines.append(f"  {findings.reworded:,} dead letters have the words of another version")
    return "\n".join([*lines, *(f"  - {text}" for text in findings.details)])
