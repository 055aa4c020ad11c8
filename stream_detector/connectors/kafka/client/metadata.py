"""Knowledge of a client about the cluster without asking: brokers, topics, leaders."""

from __future__ import annotations

import logging
import time
from typing import Any, NamedTuple

from stream_detector.connectors.kafka.client.partitions import theirs
from stream_detector.events import TopicPartition

_REPEAT_SECONDS = 60.0
_MOST_MESSAGES = 200


class BrokerAddress(NamedTuple):
    """A broker's number, and where it says that it can be reached."""

    number: int
    host: str
    port: int


class Metadata:
    """The metadata of one client. It holds nothing but the client's ``ClusterMetadata``."""

    def __init__(self, cluster: Any) -> None:
        """Take a client's metadata right after it was made, before it knows any topic.

        kafka-python 3.0.12 takes ``allow_auto_create_topics`` and does not pass it on: its own
        request for metadata makes a topic that was deleted anew, with the broker's default
        settings, where the broker makes topics on demand. And of a topic that is gone it logs a
        line at every request, ten a second.
        """
        self._cluster = cluster
        cluster.config["allow_auto_create_topics"] = False
        logging.getLogger("kafka.cluster").addFilter(_ONCE_A_MINUTE)  # again: changes nothing

    def brokers(self) -> list[BrokerAddress]:
        """The brokers, sorted, as the one that was asked has named them to this listener."""
        return sorted(BrokerAddress(b.node_id, b.host, b.port) for b in self._cluster.brokers())

    def leader(self, source: TopicPartition) -> int | None:
        """The number of a partition's leader; -1 where it has none, None where it is not known."""
        found: int | None = self._cluster.leader_for_partition(theirs(source))
        return found

    def partitions(self, topic: str) -> set[int]:
        """The partitions of a topic; none where it is not known."""
        return set(self._cluster.partitions_for_topic(topic) or ())

    def topic_id(self, topic: str) -> str | None:
        """The brokers' own id of a topic; None where it is not known or they give none."""
        found = self._cluster.topic_id(topic)
        return str(found) if found is not None and found.int else None


class _OnceAMinute(logging.Filter):
    """Lets the same line pass once a minute. State: when each was last let pass, bounded."""

    def __init__(self) -> None:
        super().__init__()
        self._passed: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        text, now = record.getMessage(), time.monotonic()
        if now - self._passed.get(text, -_REPEAT_SECONDS) < _REPEAT_SECONDS:
            return False
        self._passed.pop(text, None)
        self._passed[text] = now
        if len(self._passed) > _MOST_MESSAGES:
            del self._passed[next(iter(self._passed))]
        return True


_ONCE_A_MINUTE = _OnceAMinute()
