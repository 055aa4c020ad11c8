"""What the topics say of rules: acts, alerts, labels, and what time it is in the stream."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from statistics import median_low
from typing import Any

import msgspec
import numpy as np

from stream_detector.alerts import iso_time
from stream_detector.config import Config, FieldPlan
from stream_detector.config.models.config import KafkaConfig
from stream_detector.connectors.kafka.reading.log import KafkaLog
from stream_detector.connectors.registry.alerts import AlertValues
from stream_detector.decoding import Decoder, read_label
from stream_detector.errors import ActError, ConfigurationError, ConnectorError, InputMissingError
from stream_detector.events import Record, TopicPartition
from stream_detector.formats.errors import PayloadError
from stream_detector.rules import Act, read_act, time_ms_of
from stream_detector.units import parse_duration

_SEARCH_SECONDS = 60.0
ALERTS_READ = 20_000
"""The last alerts that a rule is held against."""

_NEWEST = 20
"""Of each partition the time of so many records says what time it is: one may be wrong."""


@dataclass(frozen=True, slots=True)
class WrittenAct:
    """An act on the control topic, with its offset."""

    offset: int
    act: Act


def rules_topic(kafka: KafkaConfig, path: str) -> str:
    """Return the control topic. Raises ``ConfigurationError`` where none is named."""
    if kafka.rules is None:
        raise ConfigurationError(f"{path}: rules go to the topic `kafka.rules`: name one")
    return kafka.rules


def acts_of(kafka: KafkaConfig, topic: str) -> list[WrittenAct]:
    """All acts that the control topic holds; none where it does not exist yet."""
    found: list[WrittenAct] = []
    try:
        for record in _records(kafka, topic):
            try:
                found.append(WrittenAct(record.offset, read_act(record.value or b"")))
            except ActError:
                continue  # the daemon passes it over as well
    except InputMissingError:
        return []
    return found


def alerts_of(config: Config, kafka: KafkaConfig, last: int | None = None) -> list[dict[str, Any]]:
    """The last ``ALERTS_READ`` alerts of the alert topic, by event time.

    ``last``: read so many records of each partition at most.
    """
    values, kept = AlertValues(config), deque[dict[str, Any]](maxlen=ALERTS_READ)
    for record in _records(kafka, kafka.alerts, last):
        try:
            body = msgspec.json.decode(values.json_of(record.value or b""))
        except (msgspec.MsgspecError, PayloadError, UnicodeDecodeError):
            continue
        if is_alert(body):
            kept.append(body)
    return sorted(kept, key=lambda body: str(body["event_time"]))


def is_alert(body: Any) -> bool:
    """Tell whether something has what every alert has."""
    names = ("id", "event_id", "event_time", "rarity", "score", "reasons", "receipt")
    return isinstance(body, dict) and all(name in body for name in names)


def labels_of(config: Config, kafka: KafkaConfig) -> Mapping[str, float]:
    """1 or 0 by the id of an event, the last that was said of it; none without a topic of labels.

    Labels of a format other than JSON are not read.
    """
    if kafka.labels is None or config.labels is None or config.labels.format != "json":
        return {}
    found: dict[str, float] = {}
    for record in _records(kafka, kafka.labels):
        try:
            body = msgspec.json.decode(record.value or b"")
            found[str(body["event_id"])] = read_label(body["label"], config.labels)
        except (msgspec.MsgspecError, UnicodeDecodeError, LookupError, TypeError):
            continue
    return {name: label for name, label in found.items() if not np.isnan(label)}


def stream_time_ms(config: Config, kafka: KafkaConfig, alerts: Sequence[Mapping[str, Any]]) -> int:
    """Return what time it is in the stream, by the newest records and the newest alerts.

    Of each partition the middle one of its last records counts, and of the partitions the latest.
    Formats that need a schema are not read: then the newest alert says it.
    """
    times = [time_ms_of(str(body["event_time"])) for body in alerts[-_NEWEST:]]
    newest = [median_low(times)] if times else []
    if config.event.format in ("json", "json_schema"):
        decoder = Decoder(config, FieldPlan.of(config))
        with closing(KafkaLog(kafka)) as log:
            for topic in kafka.topics:
                for source in log.partitions(topic):
                    newest += _times_of(log, source, decoder)
    return max(newest, default=round(1000 * time.time()))


def end_of(text: str, now_ms: Callable[[], int], expected: str) -> str:
    """Event time, of a duration from now on or of a time with its zone.

    Args:
        text: one of the two.
        now_ms: asked for the stream's time where it is needed.
        expected: begins the message where it is neither.

    Raises ``ConfigurationError`` where it is neither.
    """
    try:
        seconds = parse_duration(text)
    except ValueError:
        pass
    else:
        return iso_time(now_ms() + round(1000 * seconds))
    try:
        return iso_time(time_ms_of(text))
    except ValueError as error:
        raise ConfigurationError(f"{expected}, or a time with its zone: {error}") from error


def _times_of(log: KafkaLog, source: TopicPartition, decoder: Decoder) -> list[int]:
    begin, end = log.bounds(source)
    found: list[int] = []
    for records in log.read(source, max(begin, end - _NEWEST), end):
        batch = decoder.decode(source, records)
        sound = batch.rejection == None  # noqa: E711 - elementwise
        found += batch.time_ms[sound].tolist()
    return [median_low(found)] if found else []


def _records(kafka: KafkaConfig, topic: str, last: int | None = None) -> Iterator[Record]:
    """Records of a topic with a value, partition after partition, as it is now."""
    until = time.monotonic() + _SEARCH_SECONDS
    with closing(KafkaLog(kafka)) as log:
        for source in log.partitions(topic):
            begin, end = log.bounds(source)
            if last is not None:
                begin = max(begin, end - last)
            for records in log.read(source, begin, end):
                yield from (record for record in records if record.value is not None)
                if time.monotonic() > until:
                    raise ConnectorError(f"{topic} is too long to read in {_SEARCH_SECONDS:g} s")
