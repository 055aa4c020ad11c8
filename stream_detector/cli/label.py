"""``stream-detector label``: say what an alert turned out to be."""

from __future__ import annotations

import argparse
from datetime import datetime
from typing import Any

import msgspec

from stream_detector.cli.common import (
    add_command,
    add_configuration,
    configuration,
    kafka_section,
)
from stream_detector.cli.terminal import say
from stream_detector.config import Config, FieldPlan
from stream_detector.config.models.config import KafkaConfig
from stream_detector.connectors.kafka.reading.lookup import find_value, read_at
from stream_detector.connectors.kafka.writing.labels import write_label
from stream_detector.connectors.registry.alerts import AlertValues
from stream_detector.decoding import Decoder
from stream_detector.decoding.label_words import label_for
from stream_detector.errors import ConfigurationError, InputMissingError
from stream_detector.events import TopicPartition
from stream_detector.formats.errors import PayloadError
from stream_detector.visible import shown

_SEARCH_SECONDS = 60.0

_ABOUT = """\
Say what an alert turned out to be: writes a label to the topic `kafka.labels`, and waits until the
broker has confirmed it.

ALERT_ID is the `id` of an alert, TOPIC-PARTITION-OFFSET of its event. The event's own id is looked
up there, or, where the topic has forgotten it, in the alert. LABEL is `fraud` or `normal`, or one
of the words of `labels.positive` and `labels.negative`. A later label of an event replaces the
earlier one."""


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = add_command(
        subparsers,
        "label",
        run,
        "Say what an alert turned out to be, on the topic of labels.",
        "stream-detector label config.yaml events-0-2703 fraud",
    )
    parser.description = _ABOUT
    add_configuration(parser)
    parser.add_argument("alert", metavar="ALERT_ID", help="as `stream-detector alerts` shows it")
    parser.add_argument("label", metavar="LABEL", help="fraud, normal, or a word of your own")
    parser.add_argument(
        "--event-id", action="store_true", help="ALERT_ID is the event's own id: look nothing up"
    )
    parser.add_argument(
        "--time", metavar="TIME", help="when it became known, ISO 8601 (default: now)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Look up, write, say where."""
    config = configuration(arguments)
    kafka = kafka_section(config, arguments.config)
    if config.labels is None or kafka.labels is None:
        raise ConfigurationError(
            f"{arguments.config}: labels go to the topic `kafka.labels`: name one (and `labels`)"
        )
    if config.labels.format != "json":
        raise ConfigurationError(
            f"{arguments.config}: labels.format is {config.labels.format}; this command writes JSON"
        )
    word = label_for(arguments.label, config.labels)
    when = _time(arguments.time)
    partition: int | None = None
    if arguments.event_id:
        event_id = arguments.alert
    else:
        event_id, partition = event_of(config, kafka, arguments.alert)
    written, offset = write_label(
        kafka,
        event_id,
        word,
        partition=partition,
        shards=config.processing.shards,
        time_text=when,
    )
    say(
        f"event {shown(event_id)} is labelled {shown(word)} "
        f"({kafka.labels}, partition {written}, at {offset})"
    )
    return 0


def event_of(config: Config, kafka: KafkaConfig, alert_id: str) -> tuple[str, int]:
    """Id and partition of an alert's event.

    Raises ``ConfigurationError`` where the id is of no event of these topics, or of one that
    cannot be used; ``InputMissingError`` where neither the event nor its alert is there any more.
    """
    if ":" in alert_id:  # which no topic's name has
        raise ConfigurationError(
            f"{alert_id!r} is a monitor's alert: it is about many events, and has no label"
        )
    topic, _, rest = alert_id.rpartition("-")
    topic, _, number = topic.rpartition("-")
    if topic not in kafka.topics or not (_is_count(number) and _is_count(rest)):
        raise ConfigurationError(
            f"{alert_id!r} is no id of an alert here: expected TOPIC-PARTITION-OFFSET with a topic "
            f"of {', '.join(kafka.topics)} (--event-id where it is the event's own id)"
        )
    source, offset = TopicPartition(topic, int(number)), int(rest)
    record = read_at(kafka, source, offset)
    # In other formats the event would need its schema, and the alert has the id as well.
    if record is not None and config.event.format in ("json", "json_schema"):
        batch = Decoder(config, FieldPlan.of(config)).decode(source, [record])
        rejection = batch.rejection[0]
        if rejection is not None:
            raise ConfigurationError(
                f"{alert_id} is a bad record and never was an alert: {shown(rejection.message)}"
            )
        return str(batch.event_id[0]), source.partition
    return _from_alert(config, kafka, alert_id), source.partition


def _from_alert(config: Config, kafka: KafkaConfig, alert_id: str) -> str:
    needle, values = alert_id.encode(), AlertValues(config)

    def field(value: bytes, name: str) -> Any:
        try:
            return msgspec.json.decode(values.json_of(value))[name]
        except (msgspec.MsgspecError, PayloadError, KeyError, TypeError, UnicodeDecodeError):
            return None

    def wanted(value: bytes) -> bool:
        return needle in value and bool(field(value, "id") == alert_id)

    value = find_value(kafka, kafka.alerts, wanted, _SEARCH_SECONDS)
    if value is None:
        raise InputMissingError(
            f"{alert_id}: its topic has deleted the event, and {kafka.alerts} has no such alert"
        )
    event_id = field(value, "event_id")
    if event_id is None:
        raise InputMissingError(f"{alert_id}: the alert holds no id of its event (`event.id`)")
    return str(event_id)


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19  # noqa: PLR2004 - a Kafka offset


def _time(given: str | None) -> str | None:
    """As the daemon reads it. Raises ``ConfigurationError``."""
    if given is None:
        return None
    try:
        moment = datetime.fromisoformat(given)
    except ValueError as error:
        raise ConfigurationError(f"--time {given}: {error}") from error
    if moment.tzinfo is None:
        raise ConfigurationError(f"--time {given}: say the zone, for UTC with a Z at the end")
    return moment.isoformat()
