"""Reads the topic of incidents: from its beginning to where it ends now, and on from there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from stream_detector.config.models.config import KafkaConfig
from stream_detector.connectors.kafka.reading.log import KafkaLog
from stream_detector.events import TopicPartition

_Body = Mapping[str, Any]


class IncidentLog:
    """Bodies of incidents' messages, committed ones only, in the order of each incident.

    State: a consumer without a group, and where each partition was read to.

    Attributes:
        foreign: records that are no incident of ours, so far.
    """

    def __init__(self, kafka: KafkaConfig, topic: str) -> None:
        self._topic, self._log = topic, KafkaLog(kafka)
        self._sources: list[TopicPartition] = []
        self._reached: dict[TopicPartition, int] = {}
        self.foreign = 0

    def read(self) -> Iterator[tuple[bytes, _Body]]:
        """Value and body of each message from where was read last to the end as of now.

        Raises ``InputMissingError`` where there is no such topic, ``ConnectorError`` where the
        broker is silent.
        """
        if not self._sources:
            self._sources = self._log.partitions(self._topic)
        for source in self._sources:
            first, end = self._log.bounds(source)
            start = max(self._reached.get(source, first), first)
            for records in self._log.read(source, start, end):
                for record in records:
                    if (body := read_incident(record.value)) is None:
                        self.foreign += record.value is not None
                    else:
                        yield record.value or b"", body
            self._reached[source] = max(start, end)

    def close(self) -> None:
        """Disconnect."""
        self._log.close()


def read_incident(value: bytes | None) -> _Body | None:
    """The body of a message; None for what is none of an incident."""
    try:
        body = msgspec.json.decode(value or b"")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    wanted: tuple[tuple[str, type], ...] = (
        ("id", str),
        ("state", str),
        ("revision", int),
        ("severity", str),
        ("opened", str),
        ("last_seen", str),
    )
    if not isinstance(body, dict):
        return None
    return body if all(isinstance(body.get(name), kind) for name, kind in wanted) else None
