"""Members of a consumer group for tests, each with its partitions before it is given out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from kafka import KafkaConsumer

from kafka_broker.clients import TIMEOUT_SECONDS

JOIN_SECONDS = 8.0


def poll_until(
    condition: Callable[[], bool], *consumers: KafkaConsumer, timeout: float = TIMEOUT_SECONDS
) -> None:
    """Poll them in turn until the condition holds; what is read is thrown away.

    Raises:
        TimeoutError: it did not hold in ``timeout`` seconds.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the condition did not come to hold while polling")
        for consumer in consumers:
            consumer.poll(timeout_ms=100)


def join_group(
    bootstrap: str, topics: Sequence[str], group: str, *, listener: Any = None, **settings: Any
) -> KafkaConsumer:
    """A consumer that has been assigned a partition.

    Under load kafka-python now and then joins before it knows the topic, is given nothing, and
    never asks again; then another consumer takes its place.

    Raises:
        TimeoutError: none got a partition.
    """
    for attempt in range(3):
        consumer = KafkaConsumer(
            **{
                "bootstrap_servers": bootstrap,
                "group_id": group,
                "auto_offset_reset": "earliest",
                "enable_auto_commit": False,
                "heartbeat_interval_ms": 200,
                "fetch_max_wait_ms": 50,
                "metadata_max_age_ms": 1000,
                **settings,
            }
        )
        consumer.subscribe(list(topics), listener=listener)
        try:
            poll_until(lambda: bool(consumer.assignment()), consumer, timeout=JOIN_SECONDS)  # noqa: B023 - called at once
        except TimeoutError:
            consumer.close(autocommit=False, timeout_ms=5000)
            if attempt == 2:
                raise
        else:
            return consumer
    raise AssertionError("unreachable")
