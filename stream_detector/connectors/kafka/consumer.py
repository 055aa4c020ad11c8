"""A ``KafkaConsumer`` as every reader here wants it: quick batches, and no sleep on what is there.

kafka-python 3.0.12's ``fetch_records`` looks what has arrived, asks for more, and waits for what is
under way. An answer that arrives between the first two is forgotten by the second, and the wait is
for others: up to ``fetch_max_wait_ms``, or for ``retry_backoff_ms`` of plain sleep where there are
none. With events coming all the time a poll in a thousand lost 100 ms so, which was most of the
99th percentile of an alert's latency. tests/test_client_contract.py shows it on the bare client.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kafka import KafkaConsumer
from kafka.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    KafkaConnectionError,
    KafkaTimeoutError,
    NodeNotReadyError,
    NotCoordinatorError,
    RequestTimedOutError,
)
from kafka.future import Future

from stream_detector.connectors.kafka import batches
from stream_detector.connectors.kafka.client_habits import never_create
from stream_detector.connectors.kafka.unreadable import Unreadable

BROKER_AWAY = (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    KafkaConnectionError,
    KafkaTimeoutError,
    NodeNotReadyError,
    NotCoordinatorError,
    RequestTimedOutError,
)
"""Errors of a connection, none of them of what was read: the next poll may be made."""


def new_consumer(settings: Mapping[str, Any], *, dead_letter: bool = False, **more: Any) -> Any:
    """Connect with these arguments of ``KafkaConsumer``. Raises the client's errors.

    ``dead_letter``: records that cannot be read do not stop it, something stands in their place.
    """
    consumer = KafkaConsumer(**settings, **more)
    never_create(consumer._client.cluster)  # noqa: SLF001 - there is no public way
    batches.install(consumer, Unreadable(dead_letter=dead_letter))
    look_again(consumer)
    return consumer


def look_again(consumer: Any) -> None:
    """Let a ``KafkaConsumer`` not wait where something has arrived meanwhile."""
    fetcher = consumer._fetcher  # noqa: SLF001 - there is no public way
    ask_for_more = fetcher.send_fetches

    def send_fetches() -> Any:
        futures = ask_for_more()
        if fetcher._completed_fetches:  # noqa: SLF001 - likewise
            # The wait that follows ends at once with a future that is done; the client throws it
            # away when it next asks for more.
            arrived = Future()
            arrived.success(None)
            fetcher._fetch_futures.append(arrived)  # noqa: SLF001 - likewise
        return futures

    fetcher.send_fetches = send_fetches
