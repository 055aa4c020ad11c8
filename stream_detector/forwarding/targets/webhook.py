"""A webhook: a request for each message, with a body of our own form or of the user's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from stream_detector.config.models.forward import WebhookConfig
from stream_detector.errors import ConfigurationError
from stream_detector.forwarding.formats.registry import written
from stream_detector.forwarding.message import Message
from stream_detector.forwarding.outcome import Outcome
from stream_detector.forwarding.placeholders import filled, mistakes
from stream_detector.forwarding.targets.base import Means
from stream_detector.forwarding.targets.http import HttpTarget
from stream_detector.forwarding.wording import text_of, title_of


class WebhookTarget(HttpTarget):
    """Sends to a webhook. State: its client's."""

    def __init__(self, config: WebhookConfig, means: Means) -> None:
        """Raises ``ConfigurationError``."""
        self._config = config
        self.concurrency = config.concurrency
        wrong = mistakes(config.body, config.secrets)
        if wrong:
            raise ConfigurationError(f"{means.section}.body: {'; '.join(wrong)}")
        self._secrets = {name: one.get_secret_value() for name, one in config.secrets.items()}
        self._headers = {name: one.get_secret_value() for name, one in config.headers.items()}
        for secret in (*self._secrets.values(), *self._headers.values()):
            means.on_secret(secret)
        super().__init__(config, means)

    def deliver(self, messages: Sequence[Message]) -> list[Outcome]:
        """Send each message by a request of its own."""
        return [self._sent(message) for message in messages]

    def _sent(self, message: Message) -> Outcome:
        body = self._body(message)
        headers = {**cloud_event(message), **self._headers}
        return self._asked(self._config.method, body, headers)

    def _body(self, message: Message) -> bytes:
        if self._config.body is None:
            return written(message, self._config.format)
        return msgspec.json.encode(filled(self._config.body, self._values(message)))

    def _values(self, message: Message) -> dict[str, Any]:
        values: dict[str, Any] = {
            "id": message.id,
            "key": message.key,
            "type": message.kind,
            "state": message.state or "alert",
            "severity": message.severity,
            "detector": message.body.get("detector"),
            "time": message.body.get("event_time" if message.kind == "alert" else "last_seen"),
            "title": title_of(message),
            "text": text_of(message),
        }
        for name, words in self._config.words.items():
            if name in values:
                values[name] = words.get(str(values[name]), values[name])
        return {**values, "message": message.body, "secrets": self._secrets}


def cloud_event(message: Message) -> dict[str, str]:
    """Headers of a message: the key against doubles, and CloudEvents' binary mode over HTTP."""
    detector = quote(str(message.body.get("detector")), safe="-._~")
    return {
        "Content-Type": "application/json",
        "Idempotency-Key": message.key,
        "ce-specversion": "1.0",
        "ce-id": message.key,
        "ce-type": f"io.stream-detector.{message.kind}.v1",
        "ce-source": f"/stream-detector/{detector}",
    }
