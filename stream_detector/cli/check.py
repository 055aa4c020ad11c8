"""``stream-detector check``: every mistake of a configuration file, and what the broker says."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from typing import Any

from stream_detector.cli.common import (
    add_command,
    add_configuration,
    kafka_section,
    loaded_configuration,
)
from stream_detector.cli.forward_check import check_targets
from stream_detector.cli.registry_check import check_schemas
from stream_detector.cli.terminal import say
from stream_detector.commits.stores import snapshot_topic
from stream_detector.config import FieldPlan
from stream_detector.config.derived.fingerprint import models_of, state_fingerprint
from stream_detector.config.derived.memory import memory_notes
from stream_detector.config.derived.time_limits import notes_on_limits
from stream_detector.connectors.kafka.inspection import inspect
from stream_detector.connectors.kafka.inspection.findings import Finding
from stream_detector.daemon.start_position import standing
from stream_detector.detectors.registry import check_parameters
from stream_detector.drift import DriftWatch
from stream_detector.errors import ConnectorError
from stream_detector.features import FeatureExtractor
from stream_detector.snapshots import read_keys
from stream_detector.telemetry.access import Access
from stream_detector.telemetry.memory import memory_limit_bytes
from stream_detector.visible import shown, visible


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = add_command(
        subparsers,
        "check",
        run,
        "Check a configuration file: every mistake at once, with line and column.",
        "stream-detector check config/transactions.yaml --connect",
    )
    add_configuration(parser)
    parser.add_argument(
        "--connect",
        action="store_true",
        help="also ask the broker, without changing anything, what would stop or stall the daemon",
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="with --connect: exit code 3 for warnings, and for what could not be checked, too",
    )


def run(arguments: argparse.Namespace) -> int:
    """Check. Returns 0; a mistake is a ``ConfigurationError``, an error at the broker code 3."""
    loaded = loaded_configuration(arguments)
    config = loaded.config
    Access(config.metrics)  # reads its files
    names = FeatureExtractor(config, FieldPlan.of(config)).names
    # Nothing is built that need not be: scikit-learn takes a second to import.
    for detector in models_of(config):
        check_parameters(detector, len(names))
    if config.state.signing_key_file is not None:
        read_keys(config.state.signing_key_file)
    for drift in config.drift:
        DriftWatch(drift, names if drift.on == "inputs" else [None])
    targets, findings_of_targets = check_targets(config, config.kafka)
    say(f"{shown(arguments.config)}: sound")
    say(f"  detector    {config.detector.kind}, {len(names)} features")
    say(f"  state       {state_fingerprint(config)}")
    for line in targets:
        say(f"  target      {line}")
    memory = memory_notes(config, len(names), memory_limit_bytes())
    for note in (*loaded.notes, *notes_on_limits(config.event), *memory):
        say(f"  note: {visible(note)}")
    if not arguments.connect:
        for finding in findings_of_targets:
            say(f"{finding.level}: {shown(finding, 2000)}")
        return 0
    kafka = kafka_section(config, arguments.config)
    topic = snapshot_topic(config, kafka) if config.state.store == "topic" else None
    inspection = inspect(config, kafka, topic)
    for one in inspection.facts.topics:
        found = f"{len(one.partitions)} partitions" if one.exists else "MISSING"
        if one.role.own and not one.exists:
            found = "made by the daemon"
        say(f"  {shown(one.name):<40} {found}")
    findings = [*inspection.findings, *standing(config, kafka, inspection.facts)]
    findings += [*check_schemas(config, kafka), *findings_of_targets]
    return _tell(findings, strict=arguments.strict)


def _tell(findings: Sequence[Finding], *, strict: bool) -> int:
    """Print every finding. Raises ``ConnectorError`` where one is an error."""
    counts = Counter(finding.level for finding in findings)
    for level in ("error", "warning", "not checked"):
        for finding in findings:
            if finding.level == level:
                say(f"{level}: {shown(finding, 2000)}")
    said = f"{counts['error']} errors, {counts['warning']} warnings"
    said += f", {counts['not checked']} not checked"
    if counts["error"]:
        raise ConnectorError(f"this would stop or stall the daemon: {said}")
    if strict and findings:
        raise ConnectorError(f"{said}, and --strict lets none pass")
    say(f"the broker: {said}")
    return 0
