"""Reads what people write to the control topic, as it comes."""

from __future__ import annotations

import time

from stream_detector.config.models.config import KafkaConfig
from stream_detector.connectors.kafka.client.consumer import Consumer
from stream_detector.connectors.kafka.client.errors import KafkaError
from stream_detector.connectors.kafka.connection.settings import clear_cause, consumer_settings
from stream_detector.errors import ConnectorError
from stream_detector.events import TopicPartition

_MOST = 100
"""Acts at once: each makes a slice of its own."""

_STEP_MS = 100

_ASK_SECONDS = 2.0
"""The worker waits for it: events are more urgent than rules."""


class KafkaActs:
    """The control topic, read without a group from an offset on.

    State: a consumer, connected at the first question; the offset of the next record.
    """

    def __init__(self, kafka: KafkaConfig, topic: str, offset: int) -> None:
        """``offset``: of the first record that is new."""
        self._kafka, self._source = kafka, TopicPartition(topic, 0)
        self._next = offset
        self._consumer: Consumer | None = None

    def _connected(self) -> Consumer:
        if self._consumer is None:
            settings = consumer_settings(self._kafka, max_poll_records=_MOST)
            settings |= {"group_id": None, "group_instance_id": None}
            with clear_cause("connect", self._kafka):
                self._consumer = Consumer(settings)
                begin, end = self._bounds(self._consumer)
                if self._next > end:  # the topic was made anew, or cut
                    self._next = begin
                self._next = max(self._next, begin)
                self._consumer.assign([self._source])
                self._consumer.seek(self._source, self._next)
        return self._consumer

    def _bounds(self, consumer: Consumer) -> tuple[int, int]:
        timeout_ms = int(1000 * min(self._kafka.request_timeout, _ASK_SECONDS))
        begin = consumer.beginning_offsets([self._source], timeout_ms)
        return begin[self._source], consumer.end_offsets([self._source], timeout_ms)[self._source]

    def catch_up(self) -> list[tuple[int, bytes | None]]:
        """Offset and value of what is there as of now, some at a time; waits for it.

        Nothing is left once it gives none. Raises ``ConnectorError`` where the broker is silent for
        ``kafka.request_timeout``.
        """
        until = time.monotonic() + self._kafka.request_timeout
        consumer = self._connected()
        with clear_cause(f"read {self._source}", self._kafka):
            _, end = self._bounds(consumer)
        while self._next < end:
            if time.monotonic() > until:
                self.close()
                raise ConnectorError(f"cannot read {self._source}: the broker is silent")
            if found := self._poll(_STEP_MS):
                return found
        return []

    def poll(self) -> list[tuple[int, bytes | None]]:
        """Offset and value of what has come since. Does not wait. Raises ``ConnectorError``."""
        return self._poll(0)

    def _poll(self, timeout_ms: int) -> list[tuple[int, bytes | None]]:
        consumer = self._connected()
        try:
            with clear_cause(f"read {self._source}", self._kafka):
                records = consumer.poll(timeout_ms).get(self._source, ())
        except (ConnectorError, KafkaError):
            # After an error while unpacking the next poll would never return.
            self.close()
            raise
        # Control records and what is aborted have offsets, and are none.
        self._next = max(self._next, consumer.position(self._source))
        return [(record.offset, record.value) for record in records]

    def close(self) -> None:
        """Disconnect."""
        if self._consumer is not None:
            self._consumer.close(timeout_ms=1000)
            self._consumer = None
