"""Questions to the broker before anything runs: is it there, do the topics exist, may we?"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from kafka import KafkaAdminClient
from kafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    TopicAuthorizationFailedError,
)

from stream_detector.config.models import Kafka
from stream_detector.connectors.kafka.settings import clear_cause, connection_settings
from stream_detector.errors import ConnectorError, InputMissingError

log = logging.getLogger(__name__)

_FATAL_WORDS = ("authentication", "certificate", "sasl", "authoriz")


@contextmanager
def admin_client(kafka: Kafka) -> Iterator[Any]:
    """An admin client, closed afterwards. Raises ``ConnectorError`` with the cause."""
    timeout_ms = max(1, int(kafka.request_timeout * 1000))
    with clear_cause("reach the broker", kafka):
        client = KafkaAdminClient(
            client_id="stream-detector-admin",
            request_timeout_ms=timeout_ms,
            bootstrap_timeout_ms=timeout_ms,
            **connection_settings(kafka),
        )
    try:
        yield client
    finally:
        client.close()


def partition_counts(kafka: Kafka, topics: list[str]) -> dict[str, int]:
    """Partitions of each topic that exists. Never creates one: it asks by the admin protocol.

    Raises ``ConnectorError`` where the broker cannot be reached or refuses.
    """
    with admin_client(kafka) as client, clear_cause("list the topics", kafka):
        try:
            existing = set(client.list_topics())
            known = [topic for topic in topics if topic in existing]
            described = client.describe_topics(known) if known else []
        except (
            TopicAuthorizationFailedError,
            GroupAuthorizationFailedError,
            ClusterAuthorizationFailedError,
        ) as error:
            raise ConnectorError(f"not authorised: {error}") from error
    return {entry["name"]: len(entry["partitions"]) for entry in described}


def wait_for_topics(
    kafka: Kafka,
    *,
    waiting: Callable[[str], None],
    stopping: Callable[[], bool],
    poll_seconds: float = 2.0,
) -> dict[str, int]:
    """Wait until the broker answers and every topic exists.

    Args:
        kafka: broker, topics and ``wait_for_input``, the limit.
        waiting: called with what is missing, each time that changes; for log and metric.
        stopping: asked between two attempts; ends the waiting.
        poll_seconds: pause between two attempts.

    Returns:
        Partitions of each topic; empty where ``stopping`` said so.

    Raises:
        InputMissingError: the limit has passed; the message names what is missing.
        ConnectorError: at once, where waiting cannot help (credentials, certificates).
    """
    wanted = [*kafka.topics, kafka.alerts, kafka.dead_letters]
    deadline = time.monotonic() + kafka.wait_for_input
    told = ""
    while not stopping():
        try:
            counts = partition_counts(kafka, wanted)
            missing = [topic for topic in wanted if topic not in counts]
            reason = f"missing topics: {', '.join(missing)}" if missing else ""
            if not missing:
                return counts
        except ConnectorError as error:
            reason = str(error)
            if any(word in reason.lower() for word in _FATAL_WORDS):
                raise
        if reason != told:
            told = reason
            waiting(reason)
        if time.monotonic() >= deadline:
            raise InputMissingError(f"gave up after {kafka.wait_for_input:g} s: {reason}")
        _sleep_unless(stopping, min(poll_seconds, max(deadline - time.monotonic(), 0.05)))
    return {}


def _sleep_unless(stopping: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not stopping() and (left := end - time.monotonic()) > 0:
        time.sleep(min(left, 0.1))
