"""Makes a client; one that cannot start leaves nothing behind.

A client of kafka-python 3.0.12 begins its network loop in its constructor. Where that fails, as it
does while the broker is away, nobody holds what has begun: a consumer and an admin client leave a
thread that runs on, and its sockets, for the life of the process. Sockets of connections that were
refused are left in a cycle of objects besides, and Python's collector runs seldom.
"""

from __future__ import annotations

import gc
from collections.abc import Mapping
from typing import Any

from kafka.net.compat import KafkaNetClient

_failed: list[bool] = []
"""Not empty where a start has failed since the last one: what it left in cycles may be freed now,
since its error is no longer on the way to whoever handles it."""


def start(kind: Any, settings: Mapping[str, Any]) -> Any:
    """A client of this class with these settings. Raises what its constructor raises."""
    if _failed:
        _failed.clear()
        gc.collect()
    begun: list[Any] = []

    def network(**given: Any) -> Any:
        begun.append(KafkaNetClient(**given))
        return begun[-1]

    client = None
    try:
        client = kind(**settings, kafka_client=network)
    finally:
        if client is None:
            _failed.append(True)
            for one in begun:
                one.close()
    return client
