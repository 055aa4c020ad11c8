"""Dead letters of delivery: records whole, with Kafka Connect's headers that say why."""

from __future__ import annotations

import logging
import threading

from stream_detector.alerts import letter_of
from stream_detector.config.models.kafka import KafkaConfig
from stream_detector.connectors.kafka.writing.sink import KafkaSink
from stream_detector.errors import ConnectorError
from stream_detector.events import Record, Rejection, TopicPartition
from stream_detector.log_fields import fields
from stream_detector.telemetry.logs import redact

log = logging.getLogger(__name__)

_LONGEST_SAID = 1000


class DeadLetters:
    """Writes what a target refuses; thread-safe. State: the producer, None before the first."""

    def __init__(self, kafka: KafkaConfig, topic: str, connector: str) -> None:
        """``connector``: the detector's and the target's name."""
        self._kafka, self._topic, self._connector = kafka, topic, connector
        self._lock = threading.Lock()
        self._sink: KafkaSink | None = None

    def write(self, source: TopicPartition, record: Record, reason: str, said: str) -> bool:
        """Write a letter and wait until it is safe; False where it is not (then: try again)."""
        why = Rejection("forward", reason, redact(said)[:_LONGEST_SAID])
        letter = letter_of(source, record, why, self._connector, "stream_detector.forwarding")
        with self._lock:
            try:
                if self._sink is None:
                    self._sink = KafkaSink(self._kafka)
                self._sink.send(self._topic, [letter])
                self._sink.flush()
            except ConnectorError as error:
                self._close()
                log.error(  # noqa: TRY400 - the message says it all
                    "a dead letter cannot be written to %s: %s",
                    self._topic,
                    error,
                    extra=fields("forward-letter", stage="forward"),
                )
                return False
        return True

    def _close(self) -> None:
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.close()

    def close(self) -> None:
        """Disconnect."""
        with self._lock:
            self._close()
