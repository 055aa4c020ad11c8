"""``stream-detector promote``: let the challenger take the champion's place."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stream_detector.cli.common import (
    add_command,
    add_configuration,
    agreed,
    configuration,
    write_whole,
)
from stream_detector.cli.state_store import inspect, shards
from stream_detector.cli.terminal import say
from stream_detector.commits.stores import snapshot_stores
from stream_detector.config import Config
from stream_detector.config.derived.fingerprint import state_shape
from stream_detector.config.derived.promotion import before_promotion
from stream_detector.config.derived.rewrite import NotRewritableError, exchange_models
from stream_detector.config.loading.load import parse
from stream_detector.errors import ConfigurationError, StateError
from stream_detector.pipeline import PipelineCore, PipelineFigures

_ABOUT = """\
Let the challenger take the champion's place: writes the configuration with the two exchanged.

Shows first how both have done, by the newest snapshot of each shard. The workers take the new
configuration at their next start: each shard goes on where it stopped, with the challenger as it is
by then, trained and with a threshold of its own. The former champion becomes the challenger, unless
--drop is given. Stop all workers before the first starts with the new file. The journal tells which
events were whose, so a crash at any moment costs nothing; `promote` once more goes back."""


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = add_command(
        subparsers,
        "promote",
        run,
        "Let the challenger take the champion's place, trained as it is.",
        "stream-detector promote config.yaml --output promoted.yaml",
    )
    parser.description = _ABOUT
    add_configuration(parser)
    parser.add_argument(
        "--output", metavar="FILE", help="write it there (default: in place of the file)"
    )
    parser.add_argument("--drop", action="store_true", help="keep no challenger")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def run(arguments: argparse.Namespace) -> int:
    """Show, ask, write."""
    config = configuration(arguments)
    if config.challenger is None:
        raise ConfigurationError(f"{arguments.config} has no section challenger")
    if arguments.set:
        raise ConfigurationError("promote changes the file: say nothing with --set")
    path = Path(arguments.config)
    text = _promoted_text(config, path, drop=arguments.drop)
    for number in shards(config, None):
        for line in _verdict(config, number):
            say(line)
    target = Path(arguments.output) if arguments.output else path
    if arguments.output and target.exists():
        raise ConfigurationError(f"--output {target} exists already")
    detector, challenger = config.detector.kind, config.challenger.detector.kind
    if not arguments.yes and not agreed(f"promote {challenger} in place of {detector}?"):
        return 0
    write_whole(target, text.encode())
    say(f"{target}: {challenger} alerts from the next start of the workers on")
    return 0


def _promoted_text(config: Config, path: Path, *, drop: bool) -> str:
    """The file's text with the roles exchanged, and known to do what it should."""
    try:
        text = exchange_models(path.read_text("utf-8-sig"), drop=drop)
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error}") from error
    except NotRewritableError as error:
        raise ConfigurationError(
            f"{path} cannot be rewritten: {error}. Exchange `detector` and `challenger.detector` "
            "by hand; the workers take it up all the same"
        ) from error
    promoted = parse(text, str(path), dict(os.environ)).config
    if before_promotion(promoted, state_shape(config)) is None:
        raise ConfigurationError(
            f"{path}: the challenger's state would not fit the configuration that it is promoted by"
        )
    return text


def _verdict(config: Config, number: int) -> Iterator[str]:
    """Describe how both models have done, by the newest sound snapshot."""
    store = snapshot_stores(config, config.kafka, make=False)(number)
    for position in store.positions():
        found = inspect(config, store, number, position)
        if found.snapshot is None:
            continue
        if found.differences:
            raise StateError(
                f"shard {number}: the newest snapshot is of another configuration: "
                + "; ".join(found.differences)
            )
        pipeline = PipelineCore(config, "")
        pipeline.restore(found.snapshot.state)
        yield from _comparison(number, pipeline.figures())
        return
    raise StateError(f"shard {number} has no sound snapshot: let the daemon run first")


def _comparison(number: int, figures: PipelineFigures) -> Iterator[str]:
    challenger = figures.challenger
    assert challenger is not None
    counts = challenger.decisions
    events = sum(counts.values())
    if not events:
        raise StateError(
            f"shard {number}: its newest snapshot holds nothing of this challenger yet. Let "
            "the daemon run with it first"
        )
    yield f"shard {number}, the last {events:,} events of {figures.sequence:,}"
    yield f"  {'':<22}{'champion':>14}{'challenger':>14}"
    raised = (
        counts[True, False] + counts[True, True],
        counts[False, True] + counts[True, True],
    )
    yield f"  {'raised':<22}{raised[0]:>14,}{raised[1]:>14,}"
    yield f"  {'raised by both':<22}{counts[True, True]:>28,}"
    both = (figures.champion.ranking, challenger.model.ranking)
    if all(both):
        for name in ("auc", "average_precision"):
            values = "".join(f"{getattr(each, name):>14.4f}" for each in both)
            yield f"  {name.replace('_', ' '):<22}{values}"
    else:
        yield "  no labels yet that would say which is better"
