"""A topic of the same brokers, for whoever reads ECS or OCSF from Kafka."""

from __future__ import annotations

from collections.abc import Sequence

from stream_detector.config.models.forward import TopicTargetConfig
from stream_detector.connectors.kafka.writing.sink import KafkaSink
from stream_detector.errors import ConnectorError, RefusedError
from stream_detector.forwarding.formats.registry import written
from stream_detector.forwarding.message import Message
from stream_detector.forwarding.outcome import SENT, Outcome
from stream_detector.forwarding.targets.base import Means, Target
from stream_detector.forwarding.targets.webhook import cloud_event
from stream_detector.messages import MAX_MESSAGE_BYTES, Outgoing, size_bytes


class TopicTarget(Target):
    """Writes to a topic. State: the producer, None where there is none just now."""

    batch = 500
    in_order = True

    def __init__(self, config: TopicTargetConfig, means: Means) -> None:
        self._config, self._kafka = config, means.kafka
        self._sink: KafkaSink | None = None

    def deliver(self, messages: Sequence[Message]) -> list[Outcome]:
        """Write all that are small enough, and wait until the broker has confirmed them."""
        made = [self._made(message) for message in messages]
        fitting = [one for one in made if size_bytes(one) <= MAX_MESSAGE_BYTES]
        outcome = self._written(fitting)
        large = Outcome("refused", "refused", f"is larger than {MAX_MESSAGE_BYTES} bytes")
        return [outcome if size_bytes(one) <= MAX_MESSAGE_BYTES else large for one in made]

    def _made(self, message: Message) -> Outgoing:
        headers = [
            (name.lower().replace("ce-", "ce_"), text.encode())
            for name, text in cloud_event(message).items()
        ]
        value = written(message, self._config.format)
        key = message.id.encode("utf-8", "replace")
        return Outgoing(message.source, message.record.offset, key, value, headers, None)

    def _written(self, messages: Sequence[Outgoing]) -> Outcome:
        if not messages:
            return SENT
        try:
            if self._sink is None:
                self._sink = KafkaSink(self._kafka)
            self._sink.send(self._config.topic, messages)
            self._sink.flush()
        except RefusedError as error:
            self.close()
            return Outcome("denied", "denied", str(error))
        except ConnectorError as error:
            self.close()  # what was under way must not come later, behind what is sent next
            return Outcome("away", "unreachable", str(error))
        return SENT

    def close(self) -> None:
        """Disconnect."""
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.close()
