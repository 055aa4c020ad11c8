"""``stream-detector rule add`` and ``rule test``: a rule held against history, and written."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from stream_detector.cli.common import (
    add_command,
    add_configuration,
    agreed,
    configuration,
    kafka_section,
)
from stream_detector.cli.evaluate import close_file, file_source, share_read
from stream_detector.cli.progress import progress_bar
from stream_detector.cli.rule_making import add_box, origins_of, per_day, proposed
from stream_detector.cli.rule_text import coverage_lines, hiding_lines, refusal, rule_lines
from stream_detector.cli.rule_topics import (
    acts_of,
    alerts_of,
    labels_of,
    rules_topic,
    stream_time_ms,
)
from stream_detector.cli.terminal import say
from stream_detector.config import Config
from stream_detector.connectors.kafka.writing.acts import write_act
from stream_detector.errors import ConfigurationError
from stream_detector.evaluation.labelling import with_label
from stream_detector.evaluation.rule_history import AlertReader, coverage, hiding
from stream_detector.rules import Rule, RuleAdd
from stream_detector.rules.proposal import Seen
from stream_detector.visible import shown

_ABOUT = """\
Hide what turned out to be a false alarm, until a time: proposes the smallest readable box around
the alerts of --from, shows what it would have hidden, asks, and writes it to `kafka.rules`.

It is refused where it covers anything that a label calls a hit. A rule disables itself, with an
alert, where it hides a hit later on, or something far rarer than what it was made from."""


def add_parser(actions: Any) -> None:
    """Add ``add`` and ``test``."""
    parser = add_command(
        actions,
        "add",
        run,
        "Hide what turned out to be a false alarm, until a time.",
        "stream-detector rule add config.yaml --from events-0-2703 --expires 30d --owner Ada "
        '--why "rent, paid monthly"',
    )
    parser.description = _ABOUT
    _add_arguments(parser, required=True)
    parser.add_argument("--yes", action="store_true", help="do not ask")
    tested = add_command(
        actions,
        "test",
        test,
        "Show what a rule would have hidden, and write nothing.",
        "stream-detector rule test config.yaml --from events-0-2703 --data history.csv.gz\n"
        "  stream-detector rule test config.yaml 20260301-3f2a1c",
    )
    _add_arguments(tested, required=False)


def _add_arguments(parser: argparse.ArgumentParser, *, required: bool) -> None:
    add_configuration(parser)
    if not required:
        parser.add_argument("rule", nargs="?", metavar="RULE", help="id of one that was added")
    parser.add_argument(
        "--from",
        dest="origins",
        action="append",
        default=[],
        required=required,
        metavar="ALERT",
        help="id of an alert, or a file that holds one; several times for several",
    )
    parser.add_argument(
        "--expires",
        required=required,
        metavar="TIME",
        help="a duration (30d) or a time; a year at most",
    )
    parser.add_argument("--owner", required=required, metavar="NAME", help="who answers for it")
    parser.add_argument("--why", required=required, metavar="TEXT", help="what it is about")
    parser.add_argument("--id", metavar="NAME", help="of the rule (default: made up)")
    add_box(parser)
    parser.add_argument("--data", metavar="FILE", help="back-test it on a file's events, too")
    parser.add_argument("--label", metavar="COLUMN", help="of that file, 1 = anomalous")
    parser.add_argument("--label-delay", metavar="DURATION", help="when a label is known")
    parser.add_argument("--encoding", metavar="NAME", help="of a text file (default: found)")
    parser.add_argument("--limit", type=int, metavar="N", help="read the first N records only")


def run(arguments: argparse.Namespace) -> int:
    """Propose, show, ask, write."""
    config = configuration(arguments)
    kafka = kafka_section(config, arguments.config)
    topic = rules_topic(kafka, arguments.config)
    rule, positives = _held_against_history(arguments, config)
    if positives:
        raise ConfigurationError(f"no rule was written: {refusal(positives)}")
    if not arguments.yes and not agreed("write this rule?"):
        say("nothing was written")
        return 0
    offset = write_act(kafka, RuleAdd(1, rule))
    say(f"rule {rule.id} is written ({topic}, at {offset}); every shard takes it in at once")
    return 0


def test(arguments: argparse.Namespace) -> int:
    """Propose, or look up, and show."""
    config = configuration(arguments)
    if bool(arguments.origins) == (arguments.rule is not None):
        raise ConfigurationError("give one of RULE and --from")
    _, positives = _held_against_history(arguments, config)
    if positives:
        say(f"refused: {refusal(positives)}")
    return 0


def _held_against_history(
    arguments: argparse.Namespace, config: Config
) -> tuple[Rule, Sequence[str]]:
    """Say what a rule covers; the rule, and what it covers that a label calls a hit."""
    kafka = kafka_section(config, arguments.config)
    reader = AlertReader(config)
    bodies = alerts_of(config, kafka)
    history = [reader.seen(body) for body in bodies]
    labels = labels_of(config, kafka)
    if arguments.origins:
        origins = origins_of(arguments.origins, bodies)
        now_ms = stream_time_ms(config, kafka, bodies)
        rule = proposed(arguments, config, reader, origins, history, now_ms)
        history += _others(reader, origins, bodies)
    else:
        rule = _written(config, arguments)
    found = coverage(rule, history, labels)
    busiest = found
    lines = coverage_lines(found)
    positives = list(found.positive)
    most = per_day(busiest)
    if arguments.data is not None:
        tested = _back_test(rule, config, arguments)
        lines += hiding_lines(tested, str(arguments.data))
        positives += tested.positive
        most = max(most, 10 * tested.busiest)
    if arguments.origins:
        rule = msgspec.structs.replace(rule, most_per_day=most)
    say("\n".join([*rule_lines(rule), "", *lines]))
    return rule, positives


def _others(
    reader: AlertReader, origins: Sequence[Mapping[str, Any]], bodies: Sequence[Mapping[str, Any]]
) -> list[Seen]:
    """Alerts of files, which the topic does not hold: what labels say counts for them as well."""
    known = {str(body["id"]) for body in bodies}
    return [reader.seen(body) for body in origins if str(body["id"]) not in known]


def _written(config: Config, arguments: argparse.Namespace) -> Rule:
    kafka = kafka_section(config, arguments.config)
    topic = rules_topic(kafka, arguments.config)
    acts = [one.act for one in acts_of(kafka, topic)]
    rules = [act.rule for act in acts if isinstance(act, RuleAdd) and act.rule.id == arguments.rule]
    if not rules:
        raise ConfigurationError(f"{topic} has no rule {shown(arguments.rule)}")
    return rules[-1]


def _back_test(rule: Rule, config: Config, arguments: argparse.Namespace) -> Any:
    config = with_label(config, arguments.label, arguments.label_delay)
    source = file_source(config, arguments)
    with progress_bar("testing", share_read(source)) as update:
        found = hiding(rule, config, source, update)
    close_file(source)
    return found
