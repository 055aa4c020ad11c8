"""``stream-detector evaluate``: prequential back-tests over a file, one beside the other."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stream_detector.api import backtest
from stream_detector.cli.common import add_command, add_configuration, configuration
from stream_detector.cli.label_check import (
    LOOKED_AT,
    LabelLook,
    look_at_label,
    refuse_absent,
    refuse_unlabelled,
    unread_note,
)
from stream_detector.cli.progress import progress_bar
from stream_detector.cli.report import Report
from stream_detector.cli.rule_file import read_rules
from stream_detector.cli.terminal import say, say_json
from stream_detector.config import Config
from stream_detector.connectors.ahead import ReadAhead, open_file
from stream_detector.connectors.files import FileSource
from stream_detector.errors import ConfigurationError
from stream_detector.evaluation.backtest import Scored
from stream_detector.evaluation.bootstrap import RESAMPLES
from stream_detector.evaluation.figures import figures
from stream_detector.evaluation.labelling import with_label
from stream_detector.evaluation.paired_comparison import compare
from stream_detector.messages import Outgoing
from stream_detector.rejections import RejectionTally
from stream_detector.report.alert_text import readable
from stream_detector.report.comparison_table import as_json, as_table
from stream_detector.report.incident_text import incidents_lines
from stream_detector.report.monitor_text import monitor_lines
from stream_detector.report.rejected_text import as_json as as_json_rejections
from stream_detector.report.rejected_text import refuse_if_all, table
from stream_detector.visible import visible

_KEPT = 1000
"""Alerts among which the rarest are looked for."""


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = add_command(
        subparsers,
        "evaluate",
        run,
        "Back-test a configuration on a file: every event is scored before it is learnt. Several "
        "are compared, with bootstrap intervals.",
        "stream-detector evaluate config/transactions.yaml --data history.csv.gz --label TX_FRAUD\n"
        "  stream-detector evaluate now.yaml --data history.csv.gz --report report.html\n"
        "  stream-detector evaluate now.yaml tuned.yaml --data history.csv.gz",
    )
    add_configuration(parser, several=True)
    add_data(parser)
    parser.add_argument("--label", metavar="COLUMN", help="column of the label, 1 = anomalous")
    parser.add_argument(
        "--label-delay", metavar="DURATION", help="when a label is known, e.g. 7d (default: config)"
    )
    parser.add_argument(
        "--skip", type=int, default=0, metavar="N", help="leave the first N events out of figures"
    )
    parser.add_argument(
        "--resamples",
        type=int,
        default=RESAMPLES,
        metavar="N",
        help="of the bootstrap, for several configurations and for --report (default: "
        f"{RESAMPLES:,})",
    )
    parser.add_argument(
        "--rules", metavar="FILE", help="rules to go by, as `rule list --json` prints them"
    )
    parser.add_argument(
        "--report", metavar="FILE", help="write a report with charts, one HTML file"
    )
    parser.add_argument(
        "--show-alerts",
        type=int,
        default=1,
        metavar="N",
        help="print the N rarest of the first 1,000 alerts with their reasons (default: 1)",
    )
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON object")


def add_data(parser: argparse.ArgumentParser) -> None:
    """``--data`` and what goes with it."""
    parser.add_argument(
        "--data",
        required=True,
        metavar="FILE",
        help="CSV and its kin, JSON Lines, JSON, Parquet, Arrow or npz, packed or not; -",
    )
    parser.add_argument("--encoding", metavar="NAME", help="of a text file (default: found)")
    parser.add_argument("--limit", type=int, metavar="N", help="read the first N records only")


def file_source(config: Config, arguments: argparse.Namespace) -> FileSource | ReadAhead:
    """The file of ``--data``, read as the configuration's fields need it; a large one ahead."""
    return open_file(config, arguments.data, arguments.limit, arguments.encoding)


def close_file(source: FileSource | ReadAhead) -> None:
    """Close the file, and say on standard error what was guessed about it: it may be otherwise."""
    for note in source.notes:
        if note.guess:
            say(f"note: {visible(note.text)}", file=sys.stderr)
    source.close()


def share_read(source: FileSource | ReadAhead) -> Callable[[], float | None]:
    """Return how much of a file was read, 0 to 1; None for a pipe."""

    def share() -> float | None:
        size, read = source.size_hint(), source.progress()
        return read / size if size and read is not None else None

    return share


def run(arguments: argparse.Namespace) -> int:
    """Evaluate and print."""
    paths: list[str] = arguments.config
    _check_flags(arguments)
    configs = [
        with_label(configuration(arguments, path), arguments.label, arguments.label_delay)
        for path in paths
    ]
    scored, results = [], []
    for config in configs[:1]:
        refuse_absent(label_look(config, arguments), arguments.label)
    for number, config in enumerate(configs, start=1):
        title = "evaluating" if len(paths) == 1 else f"evaluating {number} of {len(paths)}"
        run_scored, result, shown = _evaluate(config, arguments, title)
        scored.append(run_scored)
        results.append(result)
    if len(paths) == 1:
        if arguments.json:
            say_json(results[0])
        else:
            say(f"{_table(results[0])}{shown}")
        end_of(scored[0], configs[0], arguments)
        return 0
    comparison = compare(scored, skip=arguments.skip, resamples=arguments.resamples)
    if arguments.json:
        say_json(as_json(comparison, paths, results))
    else:
        say(as_table(comparison, paths, results))
    for each, config in zip(scored, configs, strict=True):
        end_of(each, config, arguments)
    return 0


def _check_flags(arguments: argparse.Namespace) -> None:
    """Raise ``ConfigurationError`` where flags do not go together."""
    paths: list[str] = arguments.config
    if len(paths) > 1 and not Path(arguments.data).is_file():
        raise ConfigurationError(f"--data {arguments.data}: several configurations need a file")
    if len(paths) > 1 and arguments.report is not None:
        raise ConfigurationError("--report is of one configuration; several were given")
    if arguments.report is not None and arguments.rules is not None:
        raise ConfigurationError("--report shows a run without rules; give one of the two")
    if arguments.resamples < 1:
        raise ConfigurationError("--resamples must be at least 1")


def label_look(config: Config, arguments: argparse.Namespace) -> LabelLook | None:
    """Return what the first records of ``--data`` hold of the label."""
    limit = min(arguments.limit or LOOKED_AT, LOOKED_AT)
    first = argparse.Namespace(**{**vars(arguments), "limit": limit})
    if config.labels is None or not Path(arguments.data).is_file():
        return None
    return look_at_label(config, arguments.data, file_source(config, first))


def end_of(scored: Scored, config: Config, arguments: argparse.Namespace) -> None:
    """The last lines of a run over ``--data``: what was rejected, labels that were not read.

    Raises ``ConfigurationError`` where nothing was accepted, or ``--label`` was found nowhere.
    """
    unlabelled = bool(np.isnan(scored.labels).any())
    look = label_look(config, arguments) if unlabelled else None
    if note := unread_note(look, config):
        say(f"note: {note}", file=sys.stderr)
    end_with_rejections(scored.tally, len(scored.scores), config, arguments)
    refuse_unlabelled(look, arguments.label, scored.labels)


def end_with_rejections(
    tally: RejectionTally, accepted: int, config: Config, arguments: argparse.Namespace
) -> None:
    """Print rejections as the last lines (of standard error, where JSON was asked for).

    Raises ``ConfigurationError`` where ``accepted`` is 0.
    """
    events = accepted + tally.records
    if text := table(tally, events, config):
        beside = getattr(arguments, "json", False)
        say(f"\n{text}", file=sys.stderr if beside else sys.stdout)
    refuse_if_all(tally, events, str(arguments.data))


def _evaluate(
    config: Config, arguments: argparse.Namespace, title: str
) -> tuple[Scored, dict[str, Any], str]:
    """Return what was scored, the figures, and the rarest alerts as text."""
    report = None
    if arguments.report is not None:
        report = Report(
            arguments.report, config, skip=arguments.skip, resamples=arguments.resamples
        )
    source = file_source(config, arguments)
    with progress_bar(title, share_read(source)) as update:
        if report is not None:
            scored = report.backtest(source, update)
        else:
            # Reasons take a scoring each: none where nobody looks.
            looked_at = arguments.show_alerts > 0 and not arguments.json
            kept = _KEPT if looked_at or config.incident_settings is not None else 0
            acts = read_rules(arguments.rules)
            scored = backtest(config, source, keep_alerts=kept, progress=update, acts=acts).scored
    close_file(source)
    if report is not None:
        report.write(scored, arguments.data, arguments.limit)
    shown = _rarest(scored.alerts, arguments.skip, arguments.show_alerts)
    scored.alerts.clear()
    result = figures(scored, skip=arguments.skip)
    result["rejections"] = as_json_rejections(scored.tally, config)
    result["seconds"] = round(scored.seconds, 3)
    result["events_per_second"] = (
        round(result["events"] / scored.seconds) if scored.seconds else None
    )
    return scored, result, shown


def _rarest(alerts: Sequence[Outgoing], skip: int, count: int) -> str:
    """The rarest alerts after the first ``skip`` events, the rarest first."""
    values = [alert.value or b"" for alert in alerts if alert.offset >= skip]
    values.sort(key=lambda value: -float(json.loads(value)["rarity"]))
    if not values or count < 1:
        return ""
    title = "the rarest alert:" if count == 1 else "the rarest alerts:"
    return "\n".join(["", "", title, *map(readable, values[:count])])


_OF_THEIR_OWN = (
    "confusion_matrix",
    "rejected_by_reason",
    "rejections",
    "monitors",
    "incidents",
)


def _table(result: dict[str, Any]) -> str:
    lines = []
    for name, value in result.items():
        if name in _OF_THEIR_OWN:
            continue
        text = (
            "-" if value is None else f"{value:,.4f}" if isinstance(value, float) else f"{value:,}"
        )
        lines.append(f"{name.replace('_', ' '):<28}{text:>16}")
    for reason, count in result["rejected_by_reason"].items():
        lines.append(f"  rejected, {reason.replace('_', ' '):<16}{count:>16,}")
    if result["confusion_matrix"] is not None:
        (tn, fp), (fn, tp) = result["confusion_matrix"]
        lines += [
            "",
            f"{'':<20}{'not raised':>12}{'raised':>12}",
            f"{'normal':<20}{tn:>12,}{fp:>12,}",
            f"{'anomalous':<20}{fn:>12,}{tp:>12,}",
        ]
    for monitor in result.get("monitors", []):
        lines += ["", *monitor_lines(monitor)]
    if "incidents" in result:
        lines += ["", *incidents_lines(result["incidents"])]
    return "\n".join(lines)
