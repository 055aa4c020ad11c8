"""Alerts and incidents out of their topics, for one target: a consumer group of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing

from stream_detector.config import Config
from stream_detector.config.models.forward import AnyTarget, ForwardConfig
from stream_detector.config.models.kafka import KafkaConfig
from stream_detector.connectors.kafka.reading.log import KafkaLog
from stream_detector.connectors.kafka.reading.source import KafkaSource
from stream_detector.connectors.registry.alerts import AlertValues
from stream_detector.events import Record, TopicPartition, UnreadableRecord
from stream_detector.formats.errors import PayloadError
from stream_detector.forwarding.message import Message, NoMessageError, read_message
from stream_detector.log_fields import fields

log = logging.getLogger(__name__)

_SHARDS = 64
"""So many workers of a group can share the partitions."""

_MOST_RECORDS = 500
_FETCH_BYTES = 8 * 2**20


def group_of(kafka: KafkaConfig, forward: ForwardConfig, target: str) -> str:
    """Return the consumer group of a target."""
    return f"{forward.group or f'{kafka.group}-forward'}-{target}"


def reading_section(kafka: KafkaConfig, forward: ForwardConfig, target: AnyTarget) -> KafkaConfig:
    """Return the broker's section as a target's consumer needs it."""
    return kafka.model_copy(
        update={
            "topics": sorted(target.topics(kafka)),
            "labels": None,
            "group": group_of(kafka, forward, target.name),
            "instance_id": None,
            # Several targets in one process: none holds more than this of what it has fetched.
            "consumer": {"fetch_max_bytes": _FETCH_BYTES, **kafka.consumer},
        }
    )


class Reader:
    """Reads what a target is to get. State: the group's member, and schemas of alerts.

    Attributes:
        source: the group's member.
    """

    def __init__(
        self,
        config: Config,
        kafka: KafkaConfig,
        target: AnyTarget,
        on_lost: Callable[[int], None],
    ) -> None:
        """Connect.

        Args:
            config: for the registry that has the schemas of alerts.
            kafka: by ``reading_section``.
            target: whose ``start`` counts, where the group is new.
            on_lost: told how many offsets were deleted before they were read.

        Raises ``ConnectorError``.
        """
        self._kafka, self._start, self._on_lost = kafka, target.start, on_lost
        assert config.kafka is not None  # `kafka` is made of it
        self._kinds = target.topics(config.kafka)
        self._values = AlertValues(config)
        self.source = KafkaSource(kafka, shards=_SHARDS, max_poll_records=_MOST_RECORDS)

    def message(self, source: TopicPartition, record: Record) -> Message | None:
        """Return what a record says; None where it says nothing (a tombstone).

        Raises ``NoMessageError``, and ``ConnectorError`` where a schema cannot be had just now.
        """
        if isinstance(record, UnreadableRecord):
            raise NoMessageError(record.problem)
        if record.value is None:
            return None
        if self._kinds[source.topic] == "incidents":
            return read_message("incident", source, record, record.value)
        try:
            text = self._values.json_of(record.value)
        except PayloadError as error:
            raise NoMessageError(f"cannot be read: {error}") from error
        return read_message("alert", source, record, text)

    def begin(self, sources: frozenset[TopicPartition]) -> dict[TopicPartition, int]:
        """Return where to read partitions on from.

        Raises ``ConnectorError``. Partitions that cannot be asked about just now are absent.
        """
        beginnings = self.source.ask_beginnings(sources)
        ends = self.source.ask_ends(sources)
        committed = self.source.committed(sources)
        found: dict[TopicPartition, int] = {}
        for one in beginnings.keys() & ends.keys():
            first, last = beginnings[one], ends[one]
            at = committed.get(one)
            if at is None:
                found[one] = first if self._start == "earliest" else last
            elif at > last:
                log.warning(
                    "%s ends at %d, before where it was read to (%d): it is read anew",
                    one,
                    last,
                    at,
                    extra=fields("forward-anew", stage="forward", partition=str(one)),
                )
                found[one] = first
            else:
                found[one] = self._not_before(one, at, first)
        return found

    def skip_lost(self, sources: frozenset[TopicPartition]) -> None:
        """Go on after what was deleted before it was read. Raises ``ConnectorError``."""
        for one, first in self.source.ask_beginnings(sources).items():
            at = self.source.position(one)
            if 0 <= at < first:
                self.source.seek({one: self._not_before(one, at, first)})

    def _not_before(self, source: TopicPartition, at: int, first: int) -> int:
        if at >= first:
            return at
        self._on_lost(first - at)
        log.error(
            "%s: offsets %d to %d were deleted before they were delivered",
            source,
            at,
            first - 1,
            extra=fields("forward-lost", stage="forward", partition=str(source)),
        )
        return first

    def delivered(self, positions: Mapping[TopicPartition, int]) -> Iterator[Message]:
        """Incidents' messages before these positions, in order. Raises ``ConnectorError``."""
        with closing(KafkaLog(self._kafka)) as history:
            for source, end in positions.items():
                if self._kinds[source.topic] != "incidents":
                    continue
                first, _ = history.bounds(source)
                for records in history.read(source, first, end):
                    for record in records:
                        try:
                            message = self.message(source, record)
                        except NoMessageError:
                            continue  # it went to the dead letters then
                        if message is not None:
                            yield message

    def close(self) -> None:
        """Leave the group."""
        self.source.close()
