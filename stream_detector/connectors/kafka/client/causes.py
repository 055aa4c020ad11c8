"""The client's warnings while it is called: only there does it tell why a start failed.

kafka-python 3.0.12 says "Unable to bootstrap" of a closed port, a wrong certificate and a wrong
password alike.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

_MOST = 20


class _Collector(logging.Handler):
    """Keeps the last messages of level WARNING and above."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        del self.messages[: 1 - _MOST]
        self.messages.append(record.getMessage())


@contextmanager
def collected_warnings() -> Iterator[list[str]]:
    """The last warnings that any client has logged within the block, the latest at last."""
    collector = _Collector()
    logger = logging.getLogger("kafka")
    logger.addHandler(collector)
    try:
        yield collector.messages
    finally:
        logger.removeHandler(collector)
