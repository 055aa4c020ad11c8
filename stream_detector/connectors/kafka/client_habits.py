"""What every client is taught: to make no topic, and not to repeat itself in the log.

kafka-python 3.0.12 takes ``allow_auto_create_topics`` and does not pass it on: its own request for
metadata makes a topic that was deleted anew, with the broker's default settings, where the broker
makes topics on demand. And of a topic that is gone it logs a line at every request, ten a second.
"""

from __future__ import annotations

import logging
import time
from typing import Any

_REPEAT_SECONDS = 60.0
_MOST_MESSAGES = 200


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


_FILTER = _OnceAMinute()


def never_create(cluster: Any) -> None:
    """Let a client's metadata (``ClusterMetadata``) not make the topics that it asks for.

    Call it right after the client was made, before it knows any topic.
    """
    cluster.config["allow_auto_create_topics"] = False
    logging.getLogger("kafka.cluster").addFilter(_FILTER)  # the same one again changes nothing
