"""``stream-detector tune``: other parameters for the detector, tried on a file in time order."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stream_detector.cli.common import (
    add_command,
    add_configuration,
    configuration,
    file_fingerprint,
    overrides,
)
from stream_detector.cli.evaluate import (
    add_data,
    close_file,
    end_of,
    file_source,
    label_look,
    share_read,
)
from stream_detector.cli.label_check import refuse_absent
from stream_detector.cli.progress import progress_bar
from stream_detector.cli.terminal import say, say_json
from stream_detector.config import Config
from stream_detector.config.derived.rewrite import NotRewritableError, rewrite_detector
from stream_detector.config.loading.load import parse
from stream_detector.config.models.config import DetectorConfig
from stream_detector.detectors.registry import search_space
from stream_detector.errors import ConfigurationError
from stream_detector.evaluation.feature_replay import Recording, record
from stream_detector.evaluation.labelling import with_label
from stream_detector.evaluation.search_space import changes
from stream_detector.evaluation.side_by_side import SideBySide, cores
from stream_detector.evaluation.tuning import (
    BRACKET,
    RUNGS,
    SEARCH_SHARE,
    Tuning,
    tune,
)
from stream_detector.report.comparison_table import NAMES
from stream_detector.report.tuning_evidence import (
    Data,
    as_json,
    comments,
    summary,
    without_evidence,
)

_DEFAULT_MINUTES = 10.0
_LEAVES_MONITORS = (
    "monitors stay as they are: labels are of events, and say nothing of how many there should be"
)
_EVENTS_A_CANDIDATE = SEARCH_SHARE * len(RUNGS) * min(RUNGS) / max(RUNGS)
"""Share of the file that a candidate goes through on average: halving pays for growing."""


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = add_command(
        subparsers,
        "tune",
        run,
        "Try other parameters of the detector on a labelled file, in time order.",
        "stream-detector tune config.yaml --data history.csv.gz --minutes 10 --output tuned.yaml",
    )
    add_configuration(parser)
    add_data(parser)
    parser.add_argument("--label", metavar="COLUMN", help="column of the label, 1 = anomalous")
    parser.add_argument(
        "--label-delay", metavar="DURATION", help="when a label is known, e.g. 7d (default: config)"
    )
    much = parser.add_mutually_exclusive_group()
    much.add_argument(
        "--minutes",
        type=float,
        metavar="N",
        help=f"wall-clock time for all of it, about (default: {_DEFAULT_MINUTES:g})",
    )
    much.add_argument(
        "--trials", type=int, metavar="N", help="try N candidates, however long it takes"
    )
    parser.add_argument(
        "--criterion",
        choices=tuple(NAMES),
        default="average_precision",
        help="what is better (default: average_precision)",
    )
    parser.add_argument("--seed", type=int, default=0, help="fixes what is tried (default: 0)")
    parser.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help="candidates to try at once, each in a process (default: the cores there are, at most "
        f"{BRACKET}); with --trials it changes nothing but the time",
    )
    parser.add_argument("--output", metavar="FILE", help="write the configuration there")
    parser.add_argument("--force", action="store_true", help="replace the file if it is there")
    parser.add_argument("--json", action="store_true", help="print the evidence as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Tune, print the evidence, and write the configuration where ``--output`` says."""
    started = time.monotonic()
    config = with_label(configuration(arguments), arguments.label, arguments.label_delay)
    _refuse(config, arguments)
    refuse_absent(label_look(config, arguments), arguments.label)
    output = Path(arguments.output) if arguments.output else None
    text = without_evidence(Path(arguments.config).read_text("utf-8-sig"))
    if output is not None:
        # Before the search, not after it: every parameter that it may change can be written.
        _rewritten(text, config.detector, set(search_space(config.detector.kind)), "", arguments)
    with tempfile.TemporaryDirectory() as there, (Path(there) / "features").open("w+b") as file:
        source = file_source(config, arguments)
        with progress_bar("reading", share_read(source)) as update:
            recording = record(config, source, file, update)
        close_file(source)
        if not len(recording):
            end_of(recording.scored, config, arguments)
        reading_seconds = time.monotonic() - started
        result = _search(recording, Path(there), arguments, started, reading_seconds)
    data = Data(
        name=Path(arguments.data).name,
        size_bytes=Path(arguments.data).stat().st_size,
        fingerprint=file_fingerprint(Path(arguments.data)),
        events=len(recording),
        label=(config.labels.field or "") if config.labels is not None else "",
        limit=arguments.limit,
    )
    how = (
        f"--trials {arguments.trials}" if arguments.trials else f"--minutes {_minutes(arguments):g}"
    )
    notes = comments(result, data, f"--seed {arguments.seed} {how}")
    if output is not None:
        names = set(changes(config.detector, result.detector))
        _write(output, _rewritten(text, result.detector, names, notes, arguments))
    if config.monitors:
        say(f"note: {_LEAVES_MONITORS}", file=sys.stderr)
    if arguments.json:
        say_json(as_json(result, data, arguments.seed))
    else:
        say(summary(result, data))
        if output is not None:
            say(f"\nwrote {output}")
    end_of(recording.scored, config, arguments)
    return 0


def _refuse(config: Config, arguments: argparse.Namespace) -> None:
    """Raise ``ConfigurationError`` for what cannot come to a good end."""
    search_space(config.detector.kind)
    if config.labels is None:
        raise ConfigurationError(
            "tune needs labels, in the section `labels` or with --label: without them nothing "
            "says which parameters are better"
        )
    if not Path(arguments.data).is_file():
        raise ConfigurationError(f"--data {arguments.data}: tune needs a file")
    if arguments.trials is not None and arguments.trials < 1:
        raise ConfigurationError("--trials must be at least 1")
    if arguments.jobs is not None and arguments.jobs < 1:
        raise ConfigurationError("--jobs must be at least 1")
    if arguments.seed < 0:
        raise ConfigurationError("--seed must not be negative")
    if not _minutes(arguments) > 0:
        raise ConfigurationError("--minutes must be more than 0")
    if arguments.output and Path(arguments.output).exists() and not arguments.force:
        raise ConfigurationError(f"{arguments.output} is there already; --force replaces it")


def _minutes(arguments: argparse.Namespace) -> float:
    return _DEFAULT_MINUTES if arguments.minutes is None else float(arguments.minutes)


def _search(
    recording: Recording,
    directory: Path,
    arguments: argparse.Namespace,
    started: float,
    reading_seconds: float,
) -> Tuning:
    """Tune under the budget, with a progress bar."""
    events = 0
    jobs = arguments.jobs or min(cores(), BRACKET)
    bracket = BRACKET
    give_up: Callable[[], bool] = lambda: False  # noqa: E731
    if arguments.trials is not None:
        expected = arguments.trials * _EVENTS_A_CANDIDATE * len(recording)

        def fraction() -> float | None:
            return events / expected if expected else None

    else:
        seconds = 60 * _minutes(arguments)
        # Kept back for the last run; without decoding and features it is faster than reading was.
        deadline = started + seconds - reading_seconds
        candidate_seconds = _EVENTS_A_CANDIDATE * reading_seconds / jobs
        left = max(0.0, deadline - time.monotonic())
        bracket = max(2, min(BRACKET, int(left / max(candidate_seconds, 1e-9))))
        give_up = lambda: time.monotonic() >= deadline  # noqa: E731

        def fraction() -> float | None:
            return (time.monotonic() - started) / seconds

    with progress_bar("tuning", fraction) as update:

        def progress(count: int) -> None:
            nonlocal events
            events += count
            update(events)

        with SideBySide(recording, directory, jobs, give_up, progress) as side_by_side:
            return tune(
                recording,
                criterion=arguments.criterion,
                seed=arguments.seed,
                trials=arguments.trials,
                bracket=bracket,
                give_up=give_up,
                progress=progress,
                replays=side_by_side if jobs > 1 else None,
            )


def _rewritten(
    text: str,
    detector: DetectorConfig,
    names: set[str],
    notes: str,
    arguments: argparse.Namespace,
) -> str:
    """The text with ``detector`` in it, of which ``names`` and what ``--set`` gave are written.

    Raises ``ConfigurationError`` where that cannot be done in place.
    """
    given = overrides(arguments)
    fields = detector.model_dump()
    set_there = {key.split(".")[1].split("[")[0] for key in given if key.startswith("detector.")}
    names = set(fields) if "detector" in given else names | set_there
    if "detector" not in parse(text, arguments.config, os.environ).config.model_fields_set:
        names = names | {"kind"}  # the section is left out in the file, so that it has none yet
    values = {name: value for name, value in fields.items() if name in names}
    others = {key: value for key, value in given.items() if key.split(".")[0] != "detector"}
    try:
        new = rewrite_detector(text, values, notes)
    except NotRewritableError as error:
        raise ConfigurationError(
            f"{arguments.config}: {error}; leave --output out, or write the section as a plain "
            "mapping"
        ) from error
    if parse(new, arguments.config, os.environ, others).config.detector != detector:
        raise ConfigurationError(f"{arguments.config}: the section `detector` cannot be rewritten")
    return new


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {error.strerror}") from error
