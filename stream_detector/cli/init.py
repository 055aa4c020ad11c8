"""``stream-detector init``: looks at a sample of the data and writes a configuration for it."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from pydantic import ValidationError

from stream_detector.cli.common import add_command
from stream_detector.cli.evaluate import file_source, share_read
from stream_detector.cli.init_formats import read_by_registry, tell_of_schema, with_times
from stream_detector.cli.init_render import Sample, render
from stream_detector.cli.init_sample import parse_values, share_of
from stream_detector.cli.init_summary import summary
from stream_detector.cli.terminal import say
from stream_detector.config import Config, FieldPlan
from stream_detector.config.loading.load import parse
from stream_detector.config.models.config import FilesConfig, KafkaConfig
from stream_detector.connectors.files import FileSource
from stream_detector.connectors.reading.notes import FileOptions
from stream_detector.decoding import Decoder
from stream_detector.errors import ConfigurationError, ConnectorError
from stream_detector.events import NO_TIMESTAMP, PlainRecord, Record, TopicPartition
from stream_detector.formats.outline import FieldOutline
from stream_detector.inference import Proposal, infer
from stream_detector.inference.monitors import MonitorProposal
from stream_detector.pipeline.order import EventOrder
from stream_detector.rejections import RejectionTally
from stream_detector.report.rejected_text import refuse_if_all, table
from stream_detector.visible import shown, visible

SAMPLE_EVENTS = 5000
MOST_FIELDS = 2000
_NOT_FINITE = re.compile(rb"NaN|Infinity")
_KAFKA_WAIT_SECONDS = 15.0
_KAFKA_PAUSE_SECONDS = 2.0
_EXAMPLE = """stream-detector init --data events.csv --output config.yaml
  stream-detector init --kafka localhost:9092 --topic transactions
  stream-detector init --data headerless.csv --columns time,host,bytes,label"""


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = add_command(
        subparsers, "init", run, "Propose a configuration from a sample of the data.", _EXAMPLE
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", metavar="FILE", help="CSV and its kin, JSON, Parquet, Arrow, npz")
    source.add_argument("--kafka", metavar="HOST:PORT", help="brokers to ask first")
    parser.add_argument("--topic", help="topic to sample")
    parser.add_argument(
        "--registry",
        metavar="URL",
        help="with --kafka: the schema registry (Confluent's API) of Avro, Protobuf or JSON Schema",
    )
    parser.add_argument(
        "--columns", help="names of a CSV file's columns where it has no header, with commas"
    )
    parser.add_argument("--encoding", metavar="NAME", help="of a text file (default: found)")
    parser.add_argument(
        "--delimiter", metavar="CHARACTERS", help="of a table of text, or `blanks` (default: found)"
    )
    parser.add_argument(
        "--no-monitors", action="store_true", help="propose none of what is counted in time"
    )
    parser.add_argument("--name", help="name of the detector (default: of the file or topic)")
    parser.add_argument("--output", metavar="FILE", help="where to write (default: on the screen)")
    parser.add_argument("--force", action="store_true", help="replace the file if it is there")


def run(arguments: argparse.Namespace) -> int:
    """Write the proposal. Raises ``ConfigurationError`` or ``ConnectorError``."""
    if arguments.kafka and not arguments.topic:
        raise ConfigurationError("--kafka needs --topic")
    if arguments.registry and not arguments.kafka:
        raise ConfigurationError("--registry needs --kafka")
    output = Path(arguments.output) if arguments.output else None
    if output is not None and output.exists() and not arguments.force:
        raise ConfigurationError(f"{output} is there already; --force replaces it")
    fields: Mapping[str, FieldOutline] = {}
    if arguments.data:
        columns = arguments.columns and arguments.columns.split(",")
        sample = sample_file(arguments.data, columns, _asked_for(arguments))
    else:
        sample, fields = _sample_topic(arguments.kafka, arguments.topic, arguments.registry)
    _refuse_too_wide(sample)
    proposal = infer(sample.events, sample.share)
    if arguments.no_monitors:
        proposal.monitors = MonitorProposal()
    tell_of_schema(proposal, fields)
    _refuse_nothing(proposal, sample)
    text = render(proposal, sample, arguments.name or _detector_name(sample.origin))
    config = parse(text, "proposal", {}).config
    tally, records = _tried(config, sample, arguments)
    # What is read by programs goes to one stream, what is read by people to the other.
    people = sys.stdout if output is not None else sys.stderr
    _tell(proposal, sample, people)
    if rejected := table(tally, records, config):
        say(f"\nunder this configuration of the sample\n{rejected}", file=people)
    refuse_if_all(tally, records, sample.origin)
    if output is None:
        say(text, end="")
        return 0
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"cannot write {output}: {error.strerror}") from error
    say(f"\nwrote {output} from {len(sample.events):,} events of {sample.origin}")
    say(f"next: stream-detector evaluate {output} --data {arguments.data or 'FILE'}")
    return 0


def _refuse_too_wide(sample: Sample) -> None:
    """Raise ``ConfigurationError`` where the events have more fields than can be looked at."""
    names: set[str] = set()
    for event in sample.events:
        names.update(event)
        if len(names) > MOST_FIELDS:
            raise ConfigurationError(
                f"{sample.origin}: its events have more than {MOST_FIELDS:,} fields, and a model "
                "takes a thousand: write a sample with those that matter"
            )


def _refuse_nothing(proposal: Proposal, sample: Sample) -> None:
    """Raise ``ConfigurationError`` where there is nothing that varies to learn from."""
    if proposal.varying or proposal.windows:
        return
    constant = [
        (name, f"is always {next(iter(profile.counts))[:40]!r} in the sample")
        for name, profile in proposal.profiles.items()
        if profile.distinct == 1 and name not in dict(proposal.left_out)
    ]
    given = [*proposal.left_out, *constant]
    reasons = "; ".join(f"{shown(name)} {reason}" for name, reason in given[:10])
    raise ConfigurationError(f"{sample.origin}: no field is fit to be a feature: {reasons}")


def _tell(proposal: Proposal, sample: Sample, people: TextIO) -> None:
    """Say on the screen what was read, and what was taken for what."""
    say(f"read {len(sample.events):,} events of {shown(sample.origin)}", file=people)
    for note in sample.notes:
        say(f"{'file':<12}{visible(note)}", file=people)
    if sample.unreadable:
        say(f"{'unread':<12}{sample.unreadable:,} records are no events", file=people)
    say(summary(proposal), file=people)


def _tried(
    config: Config, sample: Sample, arguments: argparse.Namespace
) -> tuple[RejectionTally, int]:
    """Return what the proposal itself rejects of the sample, and how many records that is of."""
    tally, records = RejectionTally(), 0
    decoder, order = Decoder(config, FieldPlan.of(config)), EventOrder(config.event)
    for source, some in _records(config, sample, arguments):
        batch = decoder.decode(source, some)
        order.judge(batch)
        records += len(batch)
        for row in np.flatnonzero(batch.rejection != None).tolist():  # noqa: E711 - elementwise
            tally.add(batch.rejection[row], f"record {int(batch.offset[row]) + 1:,}")
    return tally, records


def _records(
    config: Config, sample: Sample, arguments: argparse.Namespace
) -> Iterator[tuple[TopicPartition, Sequence[Record]]]:
    """The sample as `evaluate` or the daemon would read it under ``config``."""
    if arguments.data and Path(arguments.data).is_file():
        reading = argparse.Namespace(**{**vars(arguments), "limit": SAMPLE_EVENTS})
        source = file_source(config, reading)
        try:
            while not source.exhausted():
                for fetched in source.poll(60.0):
                    yield fetched.source, fetched.records
        finally:
            source.close()
        return
    place = TopicPartition(sample.origin, 0)
    yield place, [PlainRecord(row, NO_TIMESTAMP, None, v) for row, v in enumerate(sample.values)]


# --- sampling -----------------------------------------------------------------------------------


def _asked_for(arguments: argparse.Namespace) -> dict[str, str]:
    """Members of the section `files` that were given as options. Raises ``ConfigurationError``."""
    given = {"encoding": arguments.encoding, "delimiter": arguments.delimiter}
    given = {name: value for name, value in given.items() if value is not None}
    try:
        return FilesConfig(**given).model_dump(exclude_none=True)
    except ValidationError as error:
        (first, *_) = error.errors()
        raise ConfigurationError(f"--{first['loc'][0]}: {first['msg']}") from error


def sample_file(
    path: str, columns: Sequence[str] | None = None, files: Mapping[str, str] | None = None
) -> Sample:
    """The first events of a file, as ``files`` says. ``ConnectorError`` where there is none."""
    given = files or {}
    options = FileOptions(encoding=given.get("encoding"), delimiter=given.get("delimiter"))
    source = FileSource(path, limit=SAMPLE_EVENTS, columns=columns, options=options)
    values: list[bytes | None] = []
    try:
        while not source.exhausted():
            for fetched in source.poll(60.0):
                values += [record.value for record in fetched.records]
        share = share_of(path, len(values)) or share_read(source)()
    finally:
        source.close()
    said = [note.text for note in source.notes]
    if not values and said:
        raise ConnectorError(f"{path}: no events to look at: {'; '.join(said)}")
    parsed = parse_values(values, path)
    return Sample(
        events=parsed.events,
        values=values,
        unreadable=parsed.unreadable,
        envelope=parsed.envelope,
        # A file without a header is read under the names that its configuration lists.
        columns=source.columns if source.headerless else None,
        origin=Path(path).name if path != "-" else "standard input",
        notes=[*said, *parsed.notes],
        files=given,
        share=share,
    )


def _sample_topic(
    bootstrap_servers: str, topic: str, registry: str | None
) -> tuple[Sample, Mapping[str, FieldOutline]]:
    """The first events of a topic, and what their schemas say of the fields."""
    from stream_detector.connectors.kafka.reading.follow import follow  # noqa: PLC0415 - slow to import

    kafka = KafkaConfig(
        bootstrap_servers=bootstrap_servers,
        topics=[topic],
        group="stream-detector-init",
        alerts="unused-alerts",
        dead_letters="unused-dead-letters",
    )
    values: list[bytes | None] = []
    last = time.monotonic()

    def stopping() -> bool:
        return time.monotonic() - last > (_KAFKA_PAUSE_SECONDS if values else _KAFKA_WAIT_SECONDS)

    for value in follow(kafka, from_beginning=True, stopping=stopping, topic=topic):
        values.append(value)
        last = time.monotonic()
        if len(values) == SAMPLE_EVENTS:
            break
    described = read_by_registry(registry, values)
    parsed = parse_values(described.values, topic)
    sample = Sample(
        events=[with_times(event, described.fields) for event in parsed.events],
        values=described.values,
        unreadable=parsed.unreadable + described.unreadable,
        columns=None,
        origin=topic,
        topic=topic,
        bootstrap_servers=bootstrap_servers,
        notes=[*described.notes, *parsed.notes],
        envelope=parsed.envelope,
        format=described.kind,
        registry=registry if described.kind is not None else None,
    )
    return sample, described.fields


def _detector_name(origin: str) -> str:
    stem = re.sub(r"(\.(csv|jsonl|json|npz|tsv|txt|gz))+$", "", origin)
    return re.sub(r"[^a-zA-Z0-9._-]+", "-", stem).strip("-")[:64] or "detector"
